#!/usr/bin/env bash
#
# The alert rules of cluster/prometheus: scripts/test-monitoring.sh
#
# promtool checks the scrape configuration and the rules, and tests that each alert comes where it has to and
# none where all is well. It is Debian's package `prometheus`; where it is missing and can be installed it is,
# and where not, a line says that nothing was checked.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/toolchain.sh
source scripts/lib/toolchain.sh
# shellcheck source=scripts/lib/debian.sh
source scripts/lib/debian.sh

promtool=$(debian_program prometheus usr/bin/promtool) || {
  echo "monitoring: NOT checked: promtool is not installed (Debian: prometheus)"
  exit 0
}

"$promtool" check config cluster/prometheus/prometheus.yml
"$promtool" check rules cluster/prometheus/rules.yml
"$promtool" test rules cluster/prometheus/rules_test.yml
