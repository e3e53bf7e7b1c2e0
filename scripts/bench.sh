#!/usr/bin/env bash
#
# Measures tallykeep beside its peers, in one run on this machine. See --help.
#
# This file prepares: it finds or installs what a run needs, and builds. scripts/bench/ measures:
# it starts, loads and stops the systems in turn, and makes the tables. With --scale, it is tallykeep
# alone, with many rows, that scripts/bench/scale.py measures.

set -euo pipefail

caller=$0
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh
# shellcheck source=scripts/lib/peers.sh
source scripts/lib/peers.sh

usage() {
  cat <<'USAGE'
usage: scripts/bench.sh [OPTION]...

Measures requests/s, latency and CPU time of three tallykeep nodes and of what they are compared
with, one after the other, in rounds. Prints a table and writes it to docs/benchmarks.md. What is
missing is installed where that is possible, or left out, and the table says so. About 15 minutes.

  --quick              one round of short rows, under 3 minutes once all is built; prints alone
  --only NAME,...      these systems: tallykeep, echo, redis, workerd, etcd; prints alone
  --loads NAME,...     these loads: check, refused, log; prints alone
  --connections N,...  these numbers of connections (1,16,64,256)
  --rounds N           rounds (3, or 1 with --quick)
  --seconds N          seconds a row (6, or 2 with --quick)
  --document FILE      write the table between the marks of this file, whatever else is said
  --scale              how tallykeep bears 10^4 to 10^7 identifiers and as many entries, instead:
                       about an hour, up to 32 GiB of disk; --quick: to 10^5, in 4 minutes
  --rows N,...         with --scale: so many identifiers and entries, one after the other
  --help               this

Exits 1 if tallykeep could not be measured. Each row of each round: target/bench/*.json, and of
--scale: target/bench/scale/*.json.

  TALLYKEEP_BIN        a tallykeep binary to measure instead of building one
USAGE
}

# Ends with the usage error $1.
misuse() {
  say "error: $1"
  say "Try: $caller --help"
  exit 2
}

# Fails unless each of the words $2, with commas between, is among $3...
check_words() {
  local option=$1 words=$2 word known
  shift 2
  [ -n "$words" ] || misuse "$option needs a name"
  for word in ${words//,/ }; do
    for known in "$@"; do
      [ "$word" != "$known" ] || continue 2
    done
    misuse "$option: '$word' is none of: $*"
  done
}

check_number() { [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || misuse "$1: '$2' is no number from 1 to 99999"; }

check_rows() {
  local number
  for number in ${2//,/ }; do
    [[ $number =~ ^[1-9][0-9]{3,7}$ ]] ||
      misuse "$1: '$number' is no number from 1000 to 99999999"
  done
}

check_numbers() {
  local number
  [ -n "$2" ] || misuse "$1 needs a number"
  for number in ${2//,/ }; do check_number "$1" "$number"; done
}

all_systems=(tallykeep echo redis workerd etcd)
all_loads=(check refused log)
systems=$(IFS=,; echo "${all_systems[*]}")
loads=$(IFS=,; echo "${all_loads[*]}")
connections=1,16,64,256
quick=0
scale=0
rows=
rounds=
seconds=
document=
# A run that leaves something out is not for the document, unless that is asked for.
whole=1

while [ $# -gt 0 ]; do
  option=$1
  shift
  case $option in
    --quick)
      quick=1
      continue
      ;;
    --scale)
      scale=1
      continue
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    --only | --loads | --connections | --rounds | --seconds | --document | --rows)
      [ $# -gt 0 ] || misuse "$option needs a value"
      ;;
    *) misuse "there is no option '$option'" ;;
  esac
  case $option in
    --only) systems=$1 whole=0 && check_words "$option" "$1" "${all_systems[@]}" ;;
    --loads) loads=$1 whole=0 && check_words "$option" "$1" "${all_loads[@]}" ;;
    --connections) connections=$1 whole=0 && check_numbers "$option" "$1" ;;
    --rounds) rounds=$1 && check_number "$option" "$1" ;;
    --seconds) seconds=$1 && check_number "$option" "$1" ;;
    --document) document=$1 ;;
    --rows) rows=$1 && check_rows "$option" "$1" ;;
  esac
  shift
done

if [ "$scale" = 1 ]; then
  [ "$whole" = 1 ] || misuse "--only, --loads and --connections are not for --scale"
  if [ -n "$rows" ]; then whole=0; fi
elif [ -n "$rows" ]; then
  misuse "--rows is for --scale"
fi
if [ "$quick" = 1 ]; then
  whole=0
  rows=${rows:-10000,100000}
  measure=(--quick --rounds "${rounds:-1}" --seconds "${seconds:-2}" --warm-up 1)
else
  measure=(--rounds "${rounds:-3}" --seconds "${seconds:-6}" --warm-up 2)
fi
if [ -z "$document" ] && [ "$whole" = 1 ]; then
  document=docs/benchmarks.md
fi

[ -r /proc/self/stat ] || { say "error: CPU time is read from /proc, which Linux has"; exit 1; }
have python3 || { say "error: no python3, which scripts/bench/ is written in"; exit 1; }
ensure_toolchain || exit 1

binary=${TALLYKEEP_BIN:-$(target_dir)/release/tallykeep}
if [ -z "${TALLYKEEP_BIN:-}" ]; then
  [ -x "$binary" ] ||
    say "Building tallykeep. The first build compiles RocksDB: ten to fifteen minutes on two cores."
  cargo build --release --locked --quiet --bin tallykeep
fi
# The yardstick is built as tallykeep is, in the same profile.
cargo build --release --locked --quiet --example echo

if [ "$scale" = 1 ]; then
  have cc || { say "error: no cc, which compiles the nodes' clock of the past"; exit 1; }
  # The peers' own part of what was said above.
  [ "${measure[0]}" != --quick ] || measure=("${measure[@]:1}")
  exec python3 -B scripts/bench/scale.py --rows "${rows:-10000,100000,1000000,10000000}" \
    "${measure[@]}" --binary "$binary" --echo "$(target_dir)/release/examples/echo" \
    --output "$(target_dir)/bench/scale" ${document:+--document "$document"}
fi
ensure_wrk || exit 1

# Leaves out what cannot be had, and tells why.
ready=
skipped=()
for system in ${systems//,/ }; do
  if why=$(prepare "$system"); then
    ready=$ready${ready:+,}$system
  else
    say "Skipped: $system: $why"
    skipped+=(--skipped "$system: $why")
  fi
done

workerd=$(workerd_program || true)
exec python3 -B scripts/bench --systems "$ready" --loads "$loads" --connections "$connections" \
  "${measure[@]}" "${skipped[@]}" --binary "$binary" \
  --echo "$(target_dir)/release/examples/echo" --generator "$(generator_program)" \
  ${workerd:+--workerd "$workerd"} --output "$(target_dir)/bench" \
  ${document:+--document "$document"}
