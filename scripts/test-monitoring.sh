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

# Gets promtool alone out of the package, so that no Prometheus is started on this machine.
fetch_promtool() {
  have apt-get && have dpkg-deb || return 1
  local folder
  folder=$(tools_dir)/promtool
  mkdir -p "$folder"
  (
    cd "$folder"
    apt-get download -qq prometheus >/dev/null 2>&1 || exit 1
    dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
    rm -f prometheus_*.deb
  )
}

promtool=promtool
if ! have promtool; then
  promtool=$(tools_dir)/promtool/usr/bin/promtool
  if [ ! -x "$promtool" ] && ! fetch_promtool; then
    echo "monitoring: NOT checked: promtool is not installed (Debian: prometheus)"
    exit 0
  fi
fi

"$promtool" check config cluster/prometheus/prometheus.yml
"$promtool" check rules cluster/prometheus/rules.yml
"$promtool" test rules cluster/prometheus/rules_test.yml
