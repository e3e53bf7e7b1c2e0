#!/usr/bin/env bash
#
# The tests of the clients: scripts/test-clients.sh [js|python|rust [ARGUMENT...]]
#
# Installs what each client's tests need, checks its types and its style, and runs its tests: against
# real nodes, and against servers that fail in chosen ways; the JavaScript client's in workerd too.
# Without an argument all clients have their turn. With the name of one, further arguments go to its
# runner: node's (a file like test/transport.test.js, or `--test-name-pattern=…` before it), pytest
# (`tests/test_call.py`, `-k NAME`), or the test program of cargo (a part of a test's name). The last
# line counts the tests; the exit status is 0 only if none failed and no check found anything.
#
# Needs node 20.10 or later, Python 3.10 or later with pip, and Rust. What is installed stays under
# clients/js/node_modules and target/. The nodes are of target/release/tallykeep, which is built if it
# is missing, or of TALLYKEEP_BIN.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh
# shellcheck source=scripts/lib/clients.sh
source scripts/lib/clients.sh
# shellcheck source=scripts/lib/python.sh
source scripts/lib/python.sh

clients=(js python rust)
if [ $# != 0 ]; then
  case $1 in
    js | python | rust) clients=("$1") ;;
    *)
      say "error: there is no client $1: js, python or rust"
      exit 2
      ;;
  esac
  shift
fi

output=$(mktemp)
trap 'rm -f "$output"' EXIT

# What the tests of all clients came to. A check that finds something is a failure without a test.
passed=0 failed=0 skipped=0 code=0

step() { printf '\n== %s\n' "$*"; }

# Runs a check, and goes on whatever it finds.
check() {
  step "$1"
  shift
  "$@" || code=1
}

# Adds "N passed, N failed, N skipped" of a client, as its count function printed it.
add() {
  local name=$1 counts=$2
  if ! [[ $counts =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
    say "error: the tests of the $name client did not run"
    code=1
    return
  fi
  passed=$((passed + BASH_REMATCH[1]))
  failed=$((failed + BASH_REMATCH[2]))
  skipped=$((skipped + BASH_REMATCH[3]))
  echo "$name: $counts"
}

test_js() {
  local files=("$@")
  build_js_client
  cd clients/js
  [ $# != 0 ] || files=(test/*.test.js)
  step "tests of the JavaScript client"
  # One file at a time: tests that start real nodes are not to run beside each other.
  node --test --test-concurrency=1 \
    --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="$output" \
    "${files[@]}" || code=1
  cd ../..
  add JavaScript "$(count_node_tests "$output")"
}

# The tools of the tests, in the versions of clients/python/requirements.txt, and the package as it
# is built from the tree.
install_python() {
  install_requirements clients/python/requirements.txt
  in_environment install --no-deps --no-build-isolation --force-reinstall clients/python
}

test_python() {
  local environment bin
  environment=$(target_dir)/clients/python
  bin=$environment/bin
  install_python
  cd clients/python
  check "format of the Python client" "$bin/ruff" format --check --quiet .
  check "style of the Python client" "$bin/ruff" check --quiet .
  check "types of the Python client" "$bin/mypy"
  step "tests of the Python client"
  : >"$output"
  "$bin/python" -m pytest --junit-xml="$output" --override-ini=junit_family=xunit2 "$@" || code=1
  cd ../..
  add Python "$(count_python "$bin/python")"
}

# Reads pytest's report. Prints "N passed, N failed, N skipped", or nothing if there is none.
count_python() {
  "$1" - "$output" <<'END'
import sys
import xml.etree.ElementTree as tree

try:
    suites = list(tree.parse(sys.argv[1]).getroot().iter("testsuite"))
except tree.ParseError:
    sys.exit(0)
total = {name: sum(int(suite.get(name, 0)) for suite in suites)
         for name in ("tests", "failures", "errors", "skipped")}
failed = total["failures"] + total["errors"]
passed = max(0, total["tests"] - failed - total["skipped"])
if total["tests"] + total["errors"]:
    print(f"{passed} passed, {failed} failed, {total['skipped']} skipped")
END
}

test_rust() {
  # Apart from the server's, whose profile and whose features are others.
  local target
  target=$(target_dir)/clients/rust
  local -x CARGO_TARGET_DIR=$target
  cd clients/rust
  check "format of the Rust client" cargo fmt --check
  check "clippy of the Rust client" cargo clippy --all-targets --locked --quiet -- -D warnings
  RUSTDOCFLAGS="-D warnings" check "documentation of the Rust client" \
    cargo doc --no-deps --locked --quiet
  step "tests of the Rust client"
  # One test at a time: those that start real nodes are not to run beside others.
  RUST_TEST_THREADS=1 cargo test --locked --no-fail-fast -- "$@" 2>&1 | tee "$output" || code=1
  cd ../..
  add Rust "$(count_rust)"
}

# Reads the summary of each test program ("test result: ok. 3 passed; 0 failed; 1 ignored; …"). A test
# that leaves itself out says so in a line, and passes. Prints "N passed, N failed, N skipped", or
# nothing if there is none.
count_rust() {
  awk '
    function number_before(word) {
      return match($0, "[0-9]+ " word) ? substr($0, RSTART, RLENGTH) + 0 : 0
    }
    /^skipped: / { left++ }
    /^test result: / {
      summaries = 1
      passed += number_before("passed")
      failed += number_before("failed")
      skipped += number_before("ignored") + number_before("filtered out")
    }
    END {
      if (summaries) printf "%d passed, %d failed, %d skipped\n", passed - left, failed, skipped + left
    }
  ' "$output"
}

for client in "${clients[@]}"; do
  case $client in
    js) ensure_node ;;
    python) ensure_python ;;
    rust)
      ensure_rust
      ensure_component rustfmt fmt
      ensure_component clippy clippy
      ;;
  esac || exit 1
done

ensure_binary || exit 1

for client in "${clients[@]}"; do
  "test_$client" "$@"
done

if [ $((passed + failed + skipped)) = 0 ]; then
  say "error: no test ran"
  exit 1
fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
exit "$code"
