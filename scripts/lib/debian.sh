# shellcheck shell=bash
#
# Programs of Debian packages, got alone out of them: nothing is installed, and no service is started.
# Sourced, after toolchain.sh.

# Prints how the program /$2 of the package $1 is called: by its name, if it is on the PATH; else where it is in
# target/tools, to which it is fetched once. Fails if it cannot be.
debian_program() {
  local package=$1 path=$2 name=${2##*/} folder
  if have "$name"; then
    printf '%s\n' "$name"
    return
  fi
  folder=$(tools_dir)/$name
  if [ ! -x "$folder/$path" ]; then
    have apt-get && have dpkg-deb || return 1
    mkdir -p "$folder"
    (
      cd "$folder"
      apt-get download -qq "$package" >/dev/null 2>&1 || exit 1
      dpkg-deb --fsys-tarfile "${package}"_*.deb | tar -x "./$path"
      rm -f "${package}"_*.deb
    ) || return 1
  fi
  printf '%s\n' "$folder/$path"
}
