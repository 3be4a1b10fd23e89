#!/usr/bin/env bash
# run-charts.sh: what can be said of charts, alerts and the systemd unit without a Kubernetes.
#   ONLY   a pattern; only the verdicts whose name matches are tried
set -uo pipefail
source "$(dirname "$0")/kubernetes/lib.sh"
E2E=$REPOSITORY/e2e
source "$E2E/verdicts.sh"

# Its definitions are in the Go module.
PROMETHEUS_OPERATOR_VERSION=0.85.0

main() {
  verdict_or_end "helm is there" helm_is_there
  BARNABAS_HELM=$("$E2E/kubernetes/build.sh" helm)/helm
  export BARNABAS_HELM
  try "both charts lint with every preset" charts_lint
  try "values refuse a typo in each object, and the rendered charts are those in e2e/charts/rendered" charts_test
  try "an API server takes every object of every rendered chart, in namespaces that enforce restricted" server_takes_all
  try "the alert rules and the scrape configuration are what Prometheus takes" rules_check
  try "each alert fires when it should and says what it should, and no sooner" rules_test
  if command -v systemd-analyze > /dev/null; then
    try "the systemd unit verifies" unit_verifies
  else
    skip "the systemd unit verifies" "there is no systemd-analyze here"
  fi
  closing_line
}

helm_is_there() {
  local programs
  programs=$("$E2E/kubernetes/build.sh" helm)
  "$programs/helm" version --short
}

charts_lint() {
  local chart values
  for chart in "$REPOSITORY"/charts/*; do
    "$BARNABAS_HELM" lint --quiet --strict "$chart"
    for values in "$chart"/values-*.yaml; do
      "$BARNABAS_HELM" lint --quiet --strict "$chart" --values "$values"
    done
  done
}

charts_test() {
  cargo test --locked --quiet --manifest-path "$REPOSITORY/Cargo.toml" -p e2e --test charts 2>&1 | sed 's/^test result:/result:/'
}

# A Kubernetes without nodes, up in seconds; what it is asked for is a dry run.
server_takes_all() {
  local file module count=0 programs
  programs=$("$E2E/kubernetes/build.sh")
  export PATH=$programs:$PATH BARNABAS_KUBERNETES_STATE
  BARNABAS_KUBERNETES_STATE=$(mktemp -d /tmp/barnabas-charts.XXXXXX)
  # shellcheck disable=SC2064
  trap "'$E2E/kubernetes/hollow.sh' down" EXIT
  KUBECONFIG=$("$E2E/kubernetes/hollow.sh" up)
  export KUBECONFIG
  module=$(go mod download -json "github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR_VERSION" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')
  for file in podmonitors prometheusrules; do
    kubectl apply --server-side -f "$module/example/prometheus-operator-crd/monitoring.coreos.com_$file.yaml" > /dev/null
  done
  kubectl apply --server-side -f "$REPOSITORY/charts/barnabas-operator/crds" > /dev/null
  kubectl wait --for=condition=Established --timeout=30s crd --all > /dev/null
  # The namespaces that the rendered charts name.
  for file in letters team-a; do
    kubectl create namespace "$file" > /dev/null
    kubectl label namespace "$file" pod-security.kubernetes.io/enforce=restricted > /dev/null
  done
  for file in "$E2E"/charts/rendered/*.yaml; do
    wait_for 20 "$(basename "$file") to be taken" taken "$file" || { cat "$BARNABAS_KUBERNETES_STATE/said"; return 1; }
    # A warning of Pod Security, or of a field that is on its way out.
    if grep -i '^warning' "$BARNABAS_KUBERNETES_STATE/said"; then return 1; fi
    count=$((count + $(wc -l < "$BARNABAS_KUBERNETES_STATE/said")))
  done
  echo "$count objects in $(find "$E2E/charts/rendered" -name '*.yaml' | wc -l) files"
}
# A definition may be established a moment before it is served.
taken() { kubectl apply --dry-run=server --validate=strict -f "$1" > "$BARNABAS_KUBERNETES_STATE/said" 2>&1; }

rules_check() {
  debian_packages prometheus
  local work
  work=$(mktemp -d)
  promtool check rules "$REPOSITORY/charts/barnabas-operator/files/alerts.yaml"
  cp "$REPOSITORY/docs/operations/prometheus.yaml" "$REPOSITORY/charts/barnabas-operator/files/alerts.yaml" "$work"
  scrape_config_is_taken "$work/prometheus.yaml"
  rm -rf "$work"
}

rules_test() {
  debian_packages prometheus
  # The rules of one file; without an alert in the tests, e2e/tests/operations.rs fails.
  promtool test rules "$E2E/charts/alerts.test.yaml"
  printf '%s expectations\n' "$(grep -c eval_time "$E2E/charts/alerts.test.yaml")"
}

# Debian builds Prometheus without the discovery in Kubernetes; what is left of the file is checked without that line.
scrape_config_is_taken() {
  if promtool check config "$1"; then return; fi
  sed -i 's/kubernetes_sd_configs: .*/file_sd_configs: [{files: [targets.json]}]/' "$1"
  promtool check config "$1"
}

unit_verifies() {
  local work
  work=$(mktemp -d)
  # The program is not installed here; what is verified is the rest.
  sed 's,^ExecStart=[^ ]*,ExecStart=/bin/true,' "$REPOSITORY/contrib/systemd/barnabas.service" > "$work/barnabas.service"
  systemd-analyze verify "$work/barnabas.service" 2>&1 | tee "$work/said"
  # It also speaks of the machine's own units.
  if grep -q 'barnabas' "$work/said"; then return 1; fi
  rm -rf "$work"
}

main
