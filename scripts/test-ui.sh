#!/usr/bin/env bash
#
# The tests of the page at /ui: scripts/test-ui.sh [ARGUMENT...]
#
# Opens the page of three real nodes in headless Chromium: every view, by mouse and by keyboard, wide and
# narrow, light and dark, while a leader dies, with audit entries that mean harm, and with API tokens. Pictures
# of what was seen are in target/ui afterwards. Arguments go to node's test runner (tests/ui/audit.test.js,
# `--test-name-pattern=…` before it). The last line counts the tests; the exit status is 0 only if none
# failed, and 69 where there is no Chromium to be had.
#
# Needs node 20.10 or later, and Chromium: CHROMIUM_BIN, the system's, or Debian's, which is installed if it
# is missing. npm's packages stay under tests/ui/node_modules. The nodes are of target/release/tallykeep, which
# is built if it is missing, or of TALLYKEEP_BIN. With TALLYKEEP_UI_FROM_DISK=1 the page's files come from the
# tree and not from the program.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh
# shellcheck source=scripts/lib/clients.sh
source scripts/lib/clients.sh

output=$(mktemp)
trap 'rm -f "$output"' EXIT

# Chromium as CHROMIUM_BIN, with a font that has more than Latin letters.
ensure_chromium() {
  local program
  [ -z "${CHROMIUM_BIN:-}" ] || return 0
  if ! have chromium && have apt-get && can_be_root; then
    say "Installing: apt-get install chromium fonts-dejavu-core"
    as_root apt-get update -qq >&2 || say "apt-get update failed; trying with the lists at hand"
    as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >&2
  fi
  for program in chromium chromium-browser google-chrome; do
    if have "$program"; then
      CHROMIUM_BIN=$(command -v "$program")
      export CHROMIUM_BIN
      return 0
    fi
  done
  say "error: no Chromium, and it could not be installed from here. Install it, or set CHROMIUM_BIN."
  return 1
}

ensure_node || exit 1
ensure_chromium || exit 69
ensure_binary || exit 1
# No package's own scripts are run; playwright-core brings no browser.
(cd tests/ui && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)

files=("$@")
[ $# != 0 ] || files=(tests/ui/*.test.js)
code=0
# One file at a time: each starts nodes and a browser.
node --test --test-concurrency=1 \
  --test-reporter=spec --test-reporter-destination=stdout \
  --test-reporter=tap --test-reporter-destination="$output" \
  "${files[@]}" || code=1

counts=$(count_node_tests "$output")
if [ -z "$counts" ]; then
  say "error: no test ran"
  exit 1
fi
echo
echo "$counts"
exit "$code"
