#!/usr/bin/env bash
# run-operator.sh: the operator against a real API server without nodes: its pods are processes of this machine (e2e/operator). Needs no root.
#   BARNABAS_BIN  folder with the programs; else they are built
#   BARNABAS_LONG set: also a cluster at rest, and the operator killed after each write of a creation and of a scale-up
#   BARNABAS_REST seconds at rest (75)
#   ONLY          a pattern: of the verdicts, only those whose name matches are tried
set -uo pipefail
source "$(dirname "$0")/kubernetes/lib.sh"

RUN=$(mktemp -d /tmp/barnabas-operator.XXXXXX)
export WORK=$RUN/work BARNABAS_KUBERNETES_STATE=$RUN/kubernetes AUDIT=$RUN/kubernetes/audit.log
mkdir -p "$WORK"
trap clean_up EXIT
clean_up() {
  local status=$?
  "$REPOSITORY/e2e/kubernetes/hollow.sh" down
  # What went wrong is in the logs.
  if [ "$status" = 0 ] && [ -z "${BARNABAS_KEEP:-}" ]; then rm -rf "$RUN"; else echo "logs are in $WORK"; fi
}

if [ -z "${BARNABAS_BIN:-}" ]; then
  cargo build --locked --manifest-path "$REPOSITORY/Cargo.toml" -p operator -p broker || exit 1
  BARNABAS_BIN=${CARGO_TARGET_DIR:-$REPOSITORY/target}/debug
fi
export BARNABAS_BIN
PYTHON=$("$REPOSITORY/e2e/clients/python.sh") || exit 1
export PYTHON
KUBECONFIG=$("$REPOSITORY/e2e/kubernetes/hollow.sh" up) || exit 1
export KUBECONFIG PATH=$PROGRAMS:$PATH
# The definitions and the rights of the chart, and nothing that runs; twice, for what happens by mistake.
for namespace in barnabas-system barnabas-two; do
  kubectl create namespace "$namespace" > /dev/null || exit 1
  helm template barnabas "$REPOSITORY/charts/barnabas-operator" --namespace "$namespace" --include-crds \
    | python3 "$REPOSITORY/e2e/operator/rights.py" | kubectl apply --server-side -f - > /dev/null || exit 1
done
kubectl wait --for=condition=Established crd --all --timeout=30s > /dev/null || exit 1
python3 "$REPOSITORY/e2e/operator/suite.py"
