#!/usr/bin/env bash
#
# Whether /openapi.json is true: scripts/test-openapi.sh [ARGUMENT...]
#
# Starts three nodes, holds their description to OpenAPI 3.1, and has schemathesis send them what it
# allows and what it does not, the same few thousand requests every time. Arguments go to pytest (`-k NAME`,
# `-s`). The last line counts the tests; the exit status is 0 only if none failed.
#
# Needs Python 3.10 or later with pip. What is installed stays under target/. The nodes are of
# target/release/tallykeep, which is built if it is missing, or of TALLYKEEP_BIN.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh
# shellcheck source=scripts/lib/clients.sh
source scripts/lib/clients.sh
# shellcheck source=scripts/lib/python.sh
source scripts/lib/python.sh

ensure_python || exit 1
ensure_binary || exit 1
environment=$(target_dir)/openapi
install_requirements tests/openapi/requirements.txt
exec "$environment/bin/python" -m pytest -p no:cacheprovider -q tests/openapi "$@"
