# shellcheck shell=bash
#
# The programs that scripts/bench.sh measures beside tallykeep, found or installed. Source this file
# after toolchain.sh.

# The npm package that holds workerd, from which the one of this platform follows.
WORKERD_VERSION=1.20261117.1

# How long an installation may take.
install_timeout_s=300

# Installs Debian packages; fails where that is not possible.
install_debian() {
  have apt-get && can_be_root || return 1
  say "Installing: apt-get install $*"
  # Old lists fail on files that are gone; a failed update may still leave usable ones.
  as_root timeout "$install_timeout_s" apt-get update -qq >&2 ||
    say "apt-get update failed; trying with the lists at hand"
  as_root env DEBIAN_FRONTEND=noninteractive timeout "$install_timeout_s" \
    apt-get install -y -qq --no-install-recommends "$@" >&2
}

# Debian starts what it installs. Nobody here asked for a server $1 on its usual ports.
quieten() {
  [ ! -d /run/systemd/system ] || as_root systemctl disable --quiet --now "$1" >&2 || true
}

ensure_wrk() {
  have wrk && return 0
  install_debian wrk && have wrk && return 0
  say "error: no wrk, which makes the load, and it could not be installed from here."
  say "The package is called wrk, of Debian and of Homebrew."
  return 1
}

ensure_redis() {
  have redis-server && return 0
  install_debian redis-server && have redis-server || return 1
  quieten redis-server
}

ensure_etcd() {
  have etcd && return 0
  install_debian etcd-server && have etcd || return 1
  quieten etcd
}

workerd_folder() { printf '%s/workerd-%s\n' "$(tools_dir)" "$WORKERD_VERSION"; }

# Prints where workerd is, the program itself and not npm's wrapper; fails if it is not there.
workerd_program() {
  local program
  for program in "$(workerd_folder)"/node_modules/@cloudflare/workerd-*/bin/workerd; do
    if [ -x "$program" ]; then
      printf '%s\n' "$program"
      return 0
    fi
  done
  return 1
}

ensure_workerd() {
  workerd_program >/dev/null && return 0
  have npm || return 1
  say "Installing: npm install workerd@$WORKERD_VERSION, into $(workerd_folder)"
  mkdir -p "$(workerd_folder)"
  timeout "$install_timeout_s" npm install --prefix "$(workerd_folder)" --ignore-scripts --no-save \
    --no-audit --no-fund --loglevel=error "workerd@$WORKERD_VERSION" >&2 || return 1
  workerd_program >/dev/null
}

# Where the load generator for peers that do not speak HTTP is built.
generator_program() { printf '%s/peers/release/tallykeep-peers\n' "$(target_dir)"; }

ensure_generator() {
  cargo build --release --locked --quiet --manifest-path benches/peers/Cargo.toml \
    --target-dir "$(target_dir)/peers" >&2
}

# Makes system $1 ready to be started. Where that cannot be, prints why, in a line, and fails.
prepare() {
  local cannot="is not there, and cannot be installed from here"
  case $1 in
    redis) ensure_redis || { echo "redis-server (Debian: redis-server) $cannot" && return 1; } ;;
    etcd) ensure_etcd || { echo "etcd (Debian: etcd-server) $cannot" && return 1; } ;;
    workerd) ensure_workerd || { echo "workerd (npm: workerd) $cannot" && return 1; } ;;
  esac
  case $1 in
    redis | etcd) ensure_generator || { echo "benches/peers does not build" && return 1; } ;;
  esac
}
