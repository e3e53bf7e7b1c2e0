#!/usr/bin/env bash
#
# Breaks three real nodes and checks what clients saw. See --help.
#
# This file prepares: it builds, and looks at the command line. scripts/chaos/ does it.

set -euo pipefail

caller=$0
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh

usage() {
  cat <<'USAGE'
usage: scripts/chaos.sh [OPTION]...

Runs three nodes, breaks them in one way after the other, and checks every answer that clients got
meanwhile. Without options: each fault once, about 6 minutes.

  --minutes N       go on for N minutes: all faults in a random order, again and again
  --quick           four faults of the leader and of all nodes, under a minute
  --only FAULT,...  these faults alone, once each, or again and again with --minutes
  --seed N          the order of the faults, and whom and how hard they hit, as in the run with this
                    seed; each run prints its own. Moments are the machine's, and never quite the same
  --list            the faults, and what each of them is
  --document FILE   write the table between the marks <!-- chaos --> and <!-- /chaos --> of FILE
  --keep            keep the nodes' data and logs also if nothing is wrong
  --loopback        all nodes on 127.0.0.1, without faults of the network
  --help            this

Each node is in a network namespace of its own, and all packets pass through a program that loses,
delays or cuts them. That takes root, or a system where everybody may make user namespaces, and
/dev/net/tun; no other program. Where it is not permitted the nodes are on loopback (ports 7001 to
7003 and 7101 to 7103), and the table says which faults were skipped, and why. The faults of clocks
and slow disks take a C compiler. Namespaces, mounts and processes end with the run, however it ends.

24 clients check limits, reset them, log entries and query them, on all nodes, all the time. After
each fault it is proved, from every call and the time it took, that
  - each limiter could have given these answers, one after the other, in an order that agrees with
    real time: never one more than the limit, no stale count, no lost reset (linearizability);
  - each acknowledged entry is there once, in order, the same on all nodes, and no refused one is;
  - each query saw the log as it was at some moment between its question and its answer;
  - the nodes' states are equal, by their hashes, and no node panicked.
All nodes have to be back by themselves, and a rolling restart has to fail no request.

The table: the longest pause is the longest time, from the fault's beginning to its end and two
seconds more, in which no client got a good answer from any node; "of changes" leaves out reads and
refused checks. Failed requests changed nothing, and the node said so; unknown ones got no answer.

Exits 1 if anything was not as it should be. Each round: target/chaos/chaos-*.json.

  TALLYKEEP_BIN     a tallykeep binary to break instead of building one
USAGE
}

# Ends with the usage error $1.
misuse() {
  say "error: $1"
  say "Try: $caller --help"
  exit 2
}

# Fails unless each of the words $2, with commas between, is a fault.
check_faults() {
  local word known
  [ -n "$2" ] || misuse "$1 needs a name"
  known=$(python3 -B scripts/chaos --list)
  for word in ${2//,/ }; do
    grep -q "^$word " <<<"$known" || misuse "$1: '$word' is none of the faults of --list"
  done
}

[ -r /proc/self/stat ] || { say "error: this needs Linux"; exit 1; }
have python3 || { say "error: no python3, which scripts/chaos/ is written in"; exit 1; }
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { say "error: python3 is older than 3.11"; exit 1; }

options=()
building=1
while [ $# -gt 0 ]; do
  option=$1
  shift
  case $option in
    --help | -h)
      usage
      exit 0
      ;;
    --quick | --keep | --loopback) options+=("$option") ;;
    --list)
      options+=("$option")
      building=0
      ;;
    --minutes | --seed | --only | --document)
      [ $# -gt 0 ] || misuse "$option needs a value"
      case $option in
        --minutes)
          [[ $1 =~ ^[0-9]{1,5}(\.[0-9]+)?$ ]] || misuse "$option: '$1' is no number of minutes"
          ;;
        --seed) [[ $1 =~ ^[0-9]{1,18}$ ]] || misuse "$option: '$1' is no number" ;;
        --only) check_faults "$option" "$1" ;;
        --document) [ -w "$1" ] || misuse "$option: there is no file $1 that can be written" ;;
      esac
      options+=("$option" "$1")
      shift
      ;;
    *) misuse "there is no option '$option'" ;;
  esac
done

binary=${TALLYKEEP_BIN:-$(target_dir)/release/tallykeep}
if [ "$building" = 1 ]; then
  if [ -z "${TALLYKEEP_BIN:-}" ]; then
    ensure_toolchain || exit 1
    [ -x "$binary" ] ||
      say "Building tallykeep. The first build compiles RocksDB: ten to fifteen minutes on two cores."
    cargo build --release --locked --quiet --bin tallykeep
  fi
  [ -x "$binary" ] || { say "error: $binary is no program"; exit 1; }
fi

exec python3 -B scripts/chaos "${options[@]}" --binary "$binary" --output "$(target_dir)/chaos"
