#!/usr/bin/env bash
#
# The tests of the clients: scripts/test-clients.sh [ARGUMENT...]
#
# Installs what the JavaScript client's tests need, builds it, and runs them with node's own runner:
# against real nodes, against servers that fail in chosen ways, and in workerd. The declarations are
# checked by tests too. Arguments go to the runner: a file like test/transport.test.js, or
# `--test-name-pattern=…` before it. The last line counts the tests; the exit status is 0 only if none
# failed.
#
# Needs node 20.10 or later. The nodes are of target/release/tallykeep, which is built if it is
# missing, or of TALLYKEEP_BIN.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh
# shellcheck source=scripts/lib/clients.sh
source scripts/lib/clients.sh

ensure_client || exit 1

output=$(mktemp)
trap 'rm -f "$output"' EXIT

files=("$@")
[ $# != 0 ] || files=(test/*.test.js)
code=0
# One file at a time: tests that start real nodes are not to run beside each other.
node --test --test-concurrency=1 \
  --test-reporter=spec --test-reporter-destination=stdout \
  --test-reporter=tap --test-reporter-destination="$output" \
  "${files[@]}" || code=$?

# Reads the summary at the end ("# pass 7", "# fail 0", "# cancelled 0", "# skipped 1", "# todo 0").
# Prints "N passed, N failed, N skipped", or fails if there is none.
count() {
  awk '
    /^# pass [0-9]+$/ { summaries = 1; passed = $3 }
    /^# (fail|cancelled) [0-9]+$/ { failed += $3 }
    /^# (skipped|todo) [0-9]+$/ { skipped += $3 }
    END {
      if (!summaries) exit 1
      printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    }' "$output"
}

if ! counts=$(count); then
  say "error: the tests did not run"
  [ "$code" != 0 ] || code=1
  exit "$code"
fi
echo "$counts"
exit "$code"
