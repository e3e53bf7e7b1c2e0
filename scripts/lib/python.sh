# shellcheck shell=bash
#
# Environments of Python for tests. Source it after toolchain.sh, from the repository's root.

# Python itself, which is the user's to install.
ensure_python() {
  if ! have python3; then
    say "error: python3 is needed, version 3.10 or later, with pip: https://www.python.org"
    return 1
  fi
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    say "error: $(python3 --version) is there; 3.10 or later is needed"
    return 1
  fi
}

# Makes $environment, a folder, hold what the list $1 names and nothing else.
install_requirements() {
  local wanted
  # pip is asked again when the list or the interpreter is another one.
  wanted=$(python3 --version && cat "$1")
  [ "$wanted" != "$(cat "$environment/installed" 2>/dev/null)" ] || return 0
  rm -rf "$environment"
  # Where the system's Python cannot put pip into it, the system's pip looks after it.
  python3 -m venv "$environment" >/dev/null 2>&1 ||
    python3 -m venv --clear --without-pip "$environment"
  in_environment install --requirement "$1"
  printf '%s\n' "$wanted" >"$environment/installed"
}

# Runs the pip that looks after $environment.
in_environment() {
  if [ -x "$environment/bin/pip" ]; then
    "$environment/bin/python" -m pip --quiet --disable-pip-version-check "$@"
  else
    python3 -m pip --python "$environment/bin/python" --quiet --disable-pip-version-check "$@"
  fi
}
