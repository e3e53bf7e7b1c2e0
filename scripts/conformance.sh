#!/usr/bin/env bash
#
# Compares tallykeep with the guide's two objects, answer by answer. See --help.
#
# This file prepares: it installs and builds, and looks at the command line. clients/js/conformance/
# does it.

set -euo pipefail

caller=$0
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh
# shellcheck source=scripts/lib/clients.sh
source scripts/lib/clients.sh

usage() {
  cat <<'USAGE'
usage: scripts/conformance.sh [OPTION]...

Starts the guide's RateLimiter and AuditLogger in workerd, and three tallykeep nodes. Sends the same
calls to both, through stubs of the same form, and compares status, headers and bodies. Ids and times
are compared by what they refer to. Takes under a minute.

  --seed N      the calls of the run with this seed; each run prints its own
  --calls N     at least N calls instead of 3000
  --episode N   the calls of this episode alone, by the number that a difference was reported with
  --objects F   instead of the guide's objects these: a JavaScript module with both classes
  --document    write the summary into docs/compatibility.md
  --help        this

Each difference has to be one that a row of docs/compatibility.md promises. Exits 1 if one is not, if
a row of that page has no rule in clients/js/conformance/rules.js or none of its own, or, with 3000
calls or more, if a rule explained nothing.

  TALLYKEEP_BIN     a tallykeep binary to ask instead of target/release/tallykeep, which is built if
                    it is missing
USAGE
}

# Ends with the usage error $1.
misuse() {
  say "error: $1"
  say "Try: $caller --help"
  exit 2
}

options=()
while [ $# -gt 0 ]; do
  option=$1
  shift
  case $option in
    --help | -h)
      usage
      exit 0
      ;;
    --document) options+=("$option") ;;
    --seed | --calls | --episode)
      [[ ${1:-} =~ ^[0-9]{1,9}$ ]] || misuse "$option: '${1:-}' is no number"
      options+=("$option" "$1")
      shift
      ;;
    --objects)
      [ -r "${1:-}" ] || misuse "$option: there is no file '${1:-}'"
      options+=("$option" "$(realpath "$1")")
      shift
      ;;
    *) misuse "there is no option '$option'" ;;
  esac
done

ensure_node && ensure_binary && build_js_client || exit 1
cd clients/js
exec node conformance/main.js "${options[@]}"
