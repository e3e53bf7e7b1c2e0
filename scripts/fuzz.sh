#!/usr/bin/env bash
#
# Looks for inputs that a decoder, or the state machine, does not bear:
#   scripts/fuzz.sh [--minutes N] [TARGET...]
#
# Runs libFuzzer for N minutes (5) on each target, all of them if none is named, one after the other
# on one core. It begins with fuzz/corpus; what it finds beyond that is kept in target/fuzz/corpus, so
# that the next run goes on from there. An input on which a target fails is kept in
# target/fuzz/findings, and the exit status is then 1: add it to fuzz/corpus with the fix, and
# scripts/test.sh will try it for ever.
#
# The first build takes about four minutes beside that of the product. It needs no nightly toolchain:
# without sanitizers the instrumentation is stable, and the targets count memory themselves.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh

# Built with the toolchain that rust-toolchain.toml names; takes about half a minute, once.
cargo_fuzz_version=0.13.2

usage() {
  sed -n 's/^# \{0,1\}//; 3,14p' "${BASH_SOURCE[0]}"
}

minutes=5
targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --minutes)
      minutes=${2:-}
      shift
      ;;
    -h | --help | help)
      usage
      exit 0
      ;;
    -*)
      say "error: unknown option $1"
      usage >&2
      exit 2
      ;;
    *) targets+=("$1") ;;
  esac
  shift
done
case $minutes in
  '' | *[!0-9]* | 0)
    say "error: --minutes takes a whole number from 1"
    exit 2
    ;;
esac
if [ ${#targets[@]} = 0 ]; then
  for file in fuzz/fuzz_targets/*.rs; do
    targets+=("$(basename "$file" .rs)")
  done
fi
for target in "${targets[@]}"; do
  if ! [ -f "fuzz/fuzz_targets/$target.rs" ]; then
    say "error: no target $target; there are:"
    for file in fuzz/fuzz_targets/*.rs; do say "  $(basename "$file" .rs)"; done
    exit 2
  fi
done

ensure_toolchain || exit 1
# `cargo install` looks at what the root has, and does nothing if it is this version.
cargo install cargo-fuzz --version "$cargo_fuzz_version" --locked --quiet \
  --root "$(tools_dir)" --target-dir "$(tools_dir)/build"
PATH="$(tools_dir)/bin:$PATH"
export PATH

# The product's build has compiled RocksDB, which is not instrumented anyway: it is taken from there.
library=$(find "$(target_dir)/release/build" -path '*/librocksdb-sys-*/out/librocksdb.a' \
  -print -quit 2>/dev/null || true)
if [ -z "$library" ]; then
  cargo build --release --locked --lib
  library=$(find "$(target_dir)/release/build" -path '*/librocksdb-sys-*/out/librocksdb.a' \
    -print -quit)
fi
ROCKSDB_LIB_DIR=$(dirname "$library")
export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1

folder="$(target_dir)/fuzz"
mkdir -p "$folder/findings"
options=(--sanitizer none --target-dir "$folder/build")
for target in "${targets[@]}"; do
  cargo fuzz build "${options[@]}" "$target" >&2
done

failed=()
for target in "${targets[@]}"; do
  say "== $target, $minutes min"
  mkdir -p "$folder/corpus/$target" "$folder/findings/$target"
  log="$folder/$target.log"
  code=0
  # The first folder takes what is new.
  cargo fuzz run "${options[@]}" "$target" "$folder/corpus/$target" "fuzz/corpus/$target" -- \
    -max_total_time=$((minutes * 60)) -print_final_stats=1 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="$folder/findings/$target/" >"$log" 2>&1 || code=$?
  if [ "$code" != 0 ]; then
    failed+=("$target")
    tail -40 "$log" >&2
  fi
  # libFuzzer's own words: executions, and edges and features that are covered.
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
  covered=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 edges, \2 features/p' "$log" | tail -1)
  printf '%-18s %12s runs  %s  %s\n' "$target" "${runs:-?}" "${covered:-?}" \
    "$([ "$code" = 0 ] && echo 'no finding' || echo "FINDING in $folder/findings/$target")"
done
[ ${#failed[@]} = 0 ]
