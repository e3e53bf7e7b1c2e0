#!/usr/bin/env bash
#
# The Debian package: scripts/package.sh
#
# Builds the binary and makes target/debian/tallykeep_VERSION_ARCH.deb of it, with manual pages and completions. cargo-deb
# is built into target/tools, once, for a few minutes.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh

cargo_deb_version=3.8.0

ensure_toolchain || exit 1
have dpkg-deb || { say "error: dpkg-deb is needed, and Debian or its like"; exit 1; }

cargo build --release --locked --bin tallykeep
binary=$(target_dir)/release/tallykeep

# cargo-deb looks for these below target/, wherever that is.
made=target/package
rm -rf "$made"
mkdir -p "$made/completions"
"$binary" man --to "$made/man"
"$binary" completions bash >"$made/completions/tallykeep.bash"
"$binary" completions zsh >"$made/completions/_tallykeep"

cargo install cargo-deb --version "$cargo_deb_version" --locked --quiet \
  --root "$(tools_dir)" --target-dir "$(tools_dir)/build"
"$(tools_dir)/bin/cargo-deb" --no-build
