# shellcheck shell=bash
#
# What a build needs, found or installed. Source this file, then call `ensure_toolchain`.
#
# A build needs Rust (rustup fetches the version that rust-toolchain.toml names), a C and C++20
# compiler for RocksDB, and libclang, from which bindgen makes RocksDB's bindings. Rust and the
# compiler are yours to install, and the messages say how; libclang is installed here where that is
# possible.
#
# Cargo rebuilds RocksDB, ten minutes on two cores, when LIBCLANG_PATH or BINDGEN_EXTRA_CLANG_ARGS
# change. So neither is touched when the system has a libclang, and where they are needed every
# script sets them to the same values. For plain cargo commands on such a machine:
#   source scripts/lib/toolchain.sh && ensure_toolchain

toolchain_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# The PyPI wheel of libclang that is taken where no package can be installed.
LIBCLANG_WHEEL_VERSION=18.1.1

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# The folder that cargo builds into, absolute.
target_dir() {
  local target="${CARGO_TARGET_DIR:-target}"
  case $target in
    /*) printf '%s\n' "$target" ;;
    *) printf '%s\n' "$toolchain_root/$target" ;;
  esac
}

# The folder for tools that belong to this checkout and to nobody else.
tools_dir() { printf '%s/tools\n' "$(target_dir)"; }

# The system's package manager, by its command; fails where none is known.
package_manager() {
  local manager
  for manager in apt-get dnf apk pacman brew; do
    if have "$manager"; then
      printf '%s\n' "$manager"
      return 0
    fi
  done
  return 1
}

# The command that installs package $2 with package manager $1, as one types it.
install_command() {
  case $1 in
    apt-get) printf 'apt-get install -y %s\n' "$2" ;;
    dnf) printf 'dnf install -y %s\n' "$2" ;;
    apk) printf 'apk add %s\n' "$2" ;;
    pacman) printf 'pacman -S %s\n' "$2" ;;
    brew) printf 'brew install %s\n' "$2" ;;
  esac
}

# What holds libclang, its headers included, for package manager $1.
libclang_package() {
  case $1 in
    apt-get) echo libclang-dev ;;
    dnf) echo clang-devel ;;
    apk) echo clang-dev ;;
    pacman) echo clang ;;
    brew) echo llvm ;;
  esac
}

# What holds a C++ compiler for package manager $1.
compiler_package() {
  case $1 in
    apt-get) echo g++ ;;
    dnf) echo gcc-c++ ;;
    apk) echo g++ ;;
    pacman) echo gcc ;;
    brew) echo gcc ;;
  esac
}

ensure_rust() {
  if ! have cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    # Installed, but this shell is older than the installation.
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
  fi
  have cargo && return 0
  say "error: no cargo. Install Rust with rustup, then run this again in a new shell:"
  say "  https://rustup.rs"
  return 1
}

# RocksDB is C++20, so an old compiler, or one without its library, fails only after minutes and
# with pages of errors. A line of C++20 tells at once.
compiles_cpp20() {
  printf '#include <version>\n#include <concepts>\nstatic_assert(std::integral<int>);\n' |
    "${CXX:-c++}" -std=c++20 -x c++ -fsyntax-only - >/dev/null 2>&1
}

ensure_compiler() {
  if have "${CC:-cc}" && have "${CXX:-c++}"; then
    compiles_cpp20 && return 0
    say "error: ${CXX:-c++} does not compile C++20, which RocksDB needs."
    say "GCC 11 or Clang 14, or newer, does."
    return 1
  fi
  say "error: no C++ compiler (${CC:-cc} and ${CXX:-c++}). Install one:"
  local manager
  if [ "$(uname -s)" = Darwin ]; then
    say "  xcode-select --install"
  elif manager=$(package_manager); then
    say "  $(install_command "$manager" "$(compiler_package "$manager")")"
  else
    say "  GCC 11 or Clang 14, or newer, from your system's packages"
  fi
  return 1
}

# Prints the first libclang in folder $1; fails where there is none. The names are those that the
# crate clang-sys looks for.
libclang_in() {
  local file
  for file in "$1"/libclang.so "$1"/libclang-*.so "$1"/libclang.so.* "$1"/libclang-*.so.* \
    "$1"/libclang.dylib; do
    if [ -e "$file" ]; then
      printf '%s\n' "$file"
      return 0
    fi
  done
  return 1
}

# Prints a libclang of the system. It has to be one that clang-sys finds by itself, so the folders
# are clang-sys's own.
system_libclang() {
  local prefix folder
  if have "${LLVM_CONFIG_PATH:-llvm-config}"; then
    prefix=$("${LLVM_CONFIG_PATH:-llvm-config}" --prefix 2>/dev/null || true)
    if [ -n "$prefix" ]; then
      for folder in "$prefix"/lib "$prefix"/lib64; do
        libclang_in "$folder" && return 0
      done
    fi
  fi
  for folder in /usr/lib/llvm-*/lib /usr/lib/llvm*/lib /usr/lib*/*-linux-* /usr/lib64 /usr/lib \
    /usr/local/lib* /usr/local/llvm*/lib* \
    /Library/Developer/CommandLineTools/usr/lib \
    /Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib \
    /usr/local/opt/llvm*/lib; do
    libclang_in "$folder" && return 0
  done
  return 1
}

# A libclang that the system has, but where clang-sys does not look: Homebrew on Apple silicon, and
# folders that only the dynamic linker knows.
hidden_libclang() {
  local folder file ldconfig=ldconfig
  for folder in /opt/homebrew/opt/llvm*/lib /home/linuxbrew/.linuxbrew/opt/llvm*/lib; do
    libclang_in "$folder" && return 0
  done
  have ldconfig || ldconfig=/sbin/ldconfig
  while read -r file; do
    [ -e "$file" ] && printf '%s\n' "$file" && return 0
  done < <("$ldconfig" -p 2>/dev/null | sed -n 's/^[[:space:]]*libclang[-.][^=]*=> //p')
  return 1
}

# Whether a libclang at $1 has its own headers (stddef.h and the like). The library alone, as
# runtime packages and the wheel bring it, parses nothing that includes them.
has_own_headers() {
  local folder header
  folder=$(dirname "$(readlink -f "$1" 2>/dev/null || printf '%s' "$1")")
  for header in "$folder"/clang/*/include/stddef.h "${folder%64}"/clang/*/include/stddef.h \
    /usr/lib/llvm*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h; do
    [ -e "$header" ] && return 0
  done
  return 1
}

# RocksDB's header includes stdbool.h and stddef.h, which come with a compiler. A libclang without
# its own is shown the C compiler's.
lend_compiler_headers() {
  local headers
  headers=-I$("${CC:-cc}" -print-file-name=include)
  case ${BINDGEN_EXTRA_CLANG_ARGS:-} in
    *"$headers"*) ;;
    "") export BINDGEN_EXTRA_CLANG_ARGS="$headers" ;;
    *) export BINDGEN_EXTRA_CLANG_ARGS="$BINDGEN_EXTRA_CLANG_ARGS $headers" ;;
  esac
}

# Takes the system's libclang at $1, which clang-sys would not find.
point_at_libclang() {
  export LIBCLANG_PATH="$1"
  has_own_headers "$1" || lend_compiler_headers
}

# Runs a command as root: as it is, or through a sudo that asks nothing.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

can_be_root() { [ "$(id -u)" = 0 ] || { have sudo && sudo -n true >/dev/null 2>&1; }; }

# Installs libclang with the system's packages; fails where that is not possible.
install_libclang_package() {
  local manager package
  manager=$(package_manager) || return 1
  package=$(libclang_package "$manager")
  # Homebrew refuses root and needs none; the others need it.
  if [ "$manager" != brew ] && ! can_be_root; then
    return 1
  fi
  say "libclang is missing: installing it ($(install_command "$manager" "$package"))"
  case $manager in
    apt-get)
      # Old lists fail on files that are gone; a failed update may still leave usable ones.
      as_root apt-get update -qq >&2 || say "apt-get update failed; trying with the lists at hand"
      as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$package" >&2
      ;;
    dnf) as_root dnf install -y -q "$package" >&2 ;;
    apk) as_root apk add --quiet "$package" >&2 ;;
    pacman) as_root pacman -Sy --noconfirm --needed "$package" >&2 ;;
    brew) brew install --quiet "$package" >&2 ;;
  esac
}

# Takes the libclang of the wheel, if it is there; it has no headers, and looks for none elsewhere.
take_libclang_wheel() {
  local library
  library=$(libclang_in "$(tools_dir)/libclang/clang/native") || return 1
  export LIBCLANG_PATH="$library"
  lend_compiler_headers
}

# Puts the libclang wheel into target/tools; touches nothing else. Fails without python3 and pip.
install_libclang_wheel() {
  have python3 && python3 -m pip --version >/dev/null 2>&1 || return 1
  say "libclang is missing: taking the PyPI wheel into $(tools_dir)/libclang"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
    --no-deps --upgrade --target "$(tools_dir)/libclang" "libclang==$LIBCLANG_WHEEL_VERSION" >&2
}

# Fails when LIBCLANG_PATH points at nothing; clang-sys would then look elsewhere without a word.
check_libclang_path() {
  if [ -f "$LIBCLANG_PATH" ] || libclang_in "$LIBCLANG_PATH" >/dev/null; then
    return 0
  fi
  say "error: LIBCLANG_PATH is $LIBCLANG_PATH, and no libclang is there. Correct it, or unset it."
  return 1
}

ensure_libclang() {
  local library manager
  if [ -n "${LIBCLANG_PATH:-}" ]; then
    check_libclang_path
    return
  fi
  if library=$(system_libclang) && has_own_headers "$library"; then
    return 0
  fi
  # Before anything is installed: once a machine builds with one of these it stays with it.
  if library=$(hidden_libclang) && has_own_headers "$library"; then
    point_at_libclang "$library"
    return 0
  fi
  if take_libclang_wheel; then
    return 0
  fi
  if install_libclang_package; then
    if library=$(system_libclang) && has_own_headers "$library"; then
      return 0
    fi
    if library=$(hidden_libclang); then
      point_at_libclang "$library"
      return 0
    fi
  fi
  # The library may be there without its headers: the compiler's do.
  if library=$(system_libclang); then
    lend_compiler_headers
    return 0
  fi
  if install_libclang_wheel && take_libclang_wheel; then
    return 0
  fi
  say "error: no libclang, which the build needs for RocksDB's bindings, and it could not be"
  say "installed from here. Install it, then run this again:"
  if manager=$(package_manager); then
    case $manager in
      brew) say "  $(install_command "$manager" "$(libclang_package "$manager")")" ;;
      *) say "  sudo $(install_command "$manager" "$(libclang_package "$manager")")" ;;
    esac
  else
    say "  libclang with its headers (Debian: libclang-dev, Fedora: clang-devel, Alpine: clang-dev)"
  fi
  say "or set LIBCLANG_PATH to the folder that holds libclang.so."
  return 1
}

# Adds a rustup component (rustfmt, clippy) if its cargo command $2 is not there.
ensure_component() {
  cargo "$2" --version >/dev/null 2>&1 && return 0
  if ! have rustup; then
    say "error: no cargo $2. Install your system's package of $1, or Rust with rustup."
    return 1
  fi
  rustup component add "$1"
}

# Everything that a build needs is there afterwards, or a message says what to install and this
# fails.
ensure_toolchain() {
  ensure_rust && ensure_compiler && ensure_libclang
}
