# shellcheck shell=bash
#
# What the clients' tests need, found, installed or built. Source it after toolchain.sh, from the
# repository's root.

# Node, for the client and all that runs in it.
ensure_node() {
  if ! have node || ! have npm; then
    say "error: node and npm are needed, version 20.10 or later: https://nodejs.org"
    return 1
  fi
  if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 10) ? 0 : 1)'; then
    say "error: node is $(node --version); 20.10 or later is needed"
    return 1
  fi
}

# The nodes' program: TALLYKEEP_BIN, which is absolute afterwards, or target/release/tallykeep, which
# is built if it is missing.
ensure_binary() {
  local binary=${TALLYKEEP_BIN:-$(target_dir)/release/tallykeep}
  if [ ! -x "$binary" ]; then
    if [ -n "${TALLYKEEP_BIN:-}" ]; then
      say "error: TALLYKEEP_BIN is $binary, which is no program"
      return 1
    fi
    ensure_toolchain || return 1
    cargo build --release --locked --bins
  fi
  case $binary in /*) ;; *) binary=$PWD/$binary ;; esac
  export TALLYKEEP_BIN=$binary
}

# The JavaScript client, built, and the packages of its tests.
build_js_client() {
  # No package's own scripts are run: what is needed works without them.
  (cd clients/js && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm run --silent build)
}

# Reads the summary at the end of what node's TAP reporter wrote to $1 ("# pass 7", "# fail 0",
# "# cancelled 0", "# skipped 1", "# todo 0"). Prints "N passed, N failed, N skipped", or nothing if
# there is none.
count_node_tests() {
  awk '
    /^# pass [0-9]+$/ { summaries = 1; passed = $3 }
    /^# (fail|cancelled) [0-9]+$/ { failed += $3 }
    /^# (skipped|todo) [0-9]+$/ { skipped += $3 }
    END { if (summaries) printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }
  ' "$1"
}
