#!/usr/bin/env bash
#
# All tests: scripts/test.sh [ARGUMENT...]
#
# Arguments go to the test runner: a part of a test's name, `--test NAME`, `-E 'test(…)'`. The
# runner is cargo-nextest where it is installed, else `cargo test`. The last line counts the tests;
# the exit status is 0 only if none failed.
#
# The release profile is the only one in use, so that RocksDB is compiled once. The runner builds
# the binary too, for the tests that start real nodes.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh

ensure_toolchain || exit 1

output=$(mktemp)
trap 'rm -f "$output"' EXIT

# The output is copied to be counted, so the runner does not see the terminal itself.
if [ -t 1 ]; then
  export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-always}"
fi

code=0
if cargo nextest --version >/dev/null 2>&1; then
  # See .config/nextest.toml. A --profile among the arguments would win.
  export NEXTEST_PROFILE="${NEXTEST_PROFILE:-ci}"
  cargo nextest run --release --locked "$@" 2>&1 | tee "$output" || code=$?
else
  # Tests that start real nodes are not to run beside each other; nextest has a group for them,
  # here one test at a time runs of everything.
  export RUST_TEST_THREADS="${RUST_TEST_THREADS:-1}"
  cargo test --release --locked --no-fail-fast "$@" 2>&1 | tee "$output" || code=$?
fi

# Reads the runner's own summaries: nextest's one line ("Summary [ 0.1s] 9 tests run: 7 passed,
# 1 failed, 1 timed out, 2 skipped"), or those of cargo test, one for each test binary ("test
# result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out"). Prints "N passed,
# N failed, N skipped", or fails if there is no summary.
count() {
  sed $'s/\x1b\\[[0-9;]*m//g' "$output" | awk '
    function number_before(word) {
      return match($0, "[0-9]+ " word) ? substr($0, RSTART, RLENGTH) + 0 : 0
    }
    /^ *Summary \[/ {
      summaries = 1
      # The last summary counts: a run that was interrupted may print two.
      passed = number_before("passed")
      failed = number_before("failed") + number_before("exec failed") + number_before("timed out")
      skipped = number_before("skipped")
    }
    /^test result: / {
      summaries = 1
      passed += number_before("passed")
      failed += number_before("failed")
      skipped += number_before("ignored") + number_before("filtered out")
    }
    END {
      if (!summaries) exit 1
      printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    }'
}

if ! counts=$(count); then
  say "error: the tests did not run"
  [ "$code" != 0 ] || code=1
  exit "$code"
fi
echo "$counts"
exit "$code"
