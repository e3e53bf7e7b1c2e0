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

if ! have node || ! have npm; then
  say "error: node and npm are needed, version 20.10 or later: https://nodejs.org"
  exit 1
fi
if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 10) ? 0 : 1)'; then
  say "error: node is $(node --version); 20.10 or later is needed"
  exit 1
fi

binary=${TALLYKEEP_BIN:-$(target_dir)/release/tallykeep}
if [ ! -x "$binary" ]; then
  if [ -n "${TALLYKEEP_BIN:-}" ]; then
    say "error: TALLYKEEP_BIN is $binary, which is no program"
    exit 1
  fi
  ensure_toolchain || exit 1
  cargo build --release --locked --bins
fi
case $binary in /*) ;; *) binary=$PWD/$binary ;; esac
export TALLYKEEP_BIN=$binary

cd clients/js
# No package's own scripts are run: what is needed works without them.
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
npm run --silent build

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
