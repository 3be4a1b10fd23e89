#!/usr/bin/env bash
# run-upgrade.sh: the charts as an API server takes them, and releases that follow each other under load, on a real Kubernetes
# (the one of KUBECONFIG, else three nodes on this machine).
#   BARNABAS_BIN       folder with the static programs; else they are built
#   BARNABAS_NEXT_BIN  the same, of the release that follows; else they are built: the same sources under another version
#   BARNABAS_KEEP      set: leave the local cluster as it is in the end, as is done with one that was up before
#   ONLY               a pattern; of the verdicts after the images, only those whose name matches are tried
set -uo pipefail
source "$(dirname "$0")/barnabas.sh"
source "$E2E/verdicts.sh"

PROMETHEUS_OPERATOR_VERSION=0.85.0
NEXT=99.0.0-next
RUN=$(mktemp -d /tmp/barnabas-upgrade.XXXXXX)
NAMESPACE=upgrade
OPERATOR_NAMESPACE=upgrade-system
BEGUN=
LOAD=$RUN/load.report
DEFINITIONS=(clusters.barnabas.dev topics.barnabas.dev metadatalogs.barnabas.dev metadatasnapshots.barnabas.dev)

main() {
  if [ -z "${KUBECONFIG:-}" ] && [ "$(id -u)" != 0 ]; then
    if [ "${CI:-}" = true ]; then
      echo "not ok - upgrade: CI must run it, and it has neither root nor KUBECONFIG"
      exit 1
    fi
    skip upgrade "needs root for three nodes of its own, or KUBECONFIG; neither is here"
    closing_line
    exit
  fi
  [ ! -e "$STATE/up" ] || BARNABAS_KEEP=yes
  trap clean_up EXIT

  verdict_or_end "both releases are built" both_releases
  # `verdict` runs apart: what it found is found again here.
  [ -n "${BARNABAS_BIN:-}" ] || BARNABAS_BIN=$(programs_built)
  NOW=$("$BARNABAS_BIN/operator" --version | cut -d' ' -f2)
  verdict_or_end "three nodes are Ready" use_cluster
  use_cluster > /dev/null || exit 1
  verdict_or_end "the cluster has no definitions of ours yet: this takes them away" no_definitions
  BEGUN=yes
  verdict_or_end "the images of both releases are loaded" both_images
  PYTHON=$("$E2E/clients/python.sh") || exit 1
  verdict_or_end "two namespaces enforce restricted Pod Security" restricted_namespaces

  try "the API server takes every object of every rendered chart" server_takes_all
  verdict_or_end "the operator's chart installs, and its Job has made the definitions" operator_installs
  try "the Job had rights for the four definitions and no others" rights_of_the_job
  verdict_or_end "a cluster whose brokers come from the operator's release is Ready" cluster_installs
  try "helm test writes and reads a record" helm_test
  try "release $NOW to $NEXT under load: definitions, operators and brokers are the next, no delivery failed" upgrade
  try "release $NEXT back to $NOW by helm rollback under load: all are the former, no delivery failed" rollback
  try "definitions that are gone or damaged are made whole by an upgrade" definitions_are_mended
  try "with one namespace to watch, the operator works there without a cluster-wide right" one_namespace
  closing_line
}

clean_up() {
  [ "$FAILED" -eq 0 ] || [ -z "${KUBECONFIG:-}" ] || diagnose > "${TMPDIR:-/tmp}/barnabas-upgrade-diagnosis.txt" 2>&1
  stop load KILL
  if [ -z "${BARNABAS_KEEP:-}" ] && { [ -z "${KUBECONFIG:-}" ] || cluster_is_ours; }; then
    "$E2E/kubernetes/down.sh"
  elif [ -n "$BEGUN" ]; then
    helm uninstall "$CLUSTER" --namespace "$NAMESPACE" --ignore-not-found
    helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" --ignore-not-found
    kubectl delete namespace "$NAMESPACE" "$OPERATOR_NAMESPACE" --ignore-not-found
  fi > /dev/null 2>&1
  rm -rf "$RUN"
}

diagnose() {
  kubectl get pods,jobs,clusters.barnabas.dev,topics.barnabas.dev --all-namespaces -o wide
  kubectl get events --all-namespaces --sort-by=.lastTimestamp | tail -n 60
  k get clusters.barnabas.dev,topics.barnabas.dev -o yaml
  kubectl --namespace "$OPERATOR_NAMESPACE" logs -l app.kubernetes.io/part-of=barnabas --prefix --tail 100
  k logs -l app.kubernetes.io/name=barnabas-broker --prefix --tail 60
  cat "$RUN/load.log"
}

# --- two releases ---

both_releases() {
  local bin=${BARNABAS_BIN:-${CARGO_TARGET_DIR:-$REPOSITORY/target}/$(uname -m)-unknown-linux-gnu/release} program
  [ -n "${BARNABAS_BIN:-}" ] || build_programs > /dev/null
  if [ -z "${BARNABAS_NEXT_BIN:-}" ]; then
    # In the same folder, so that only what names the version is compiled again; the programs of before come back.
    mkdir -p "$RUN/now" "$RUN/next"
    cp -p "$bin/broker" "$bin/operator" "$RUN/now"
    BARNABAS_VERSION=$NEXT make --no-print-directory --directory "$REPOSITORY" build > "$RUN/build.log" 2>&1
    cp -p "${CARGO_TARGET_DIR:-$REPOSITORY/target}/$(uname -m)-unknown-linux-gnu/release/"{broker,operator} "$RUN/next"
    cp -p "$RUN/now/"{broker,operator} "$bin"
  else
    mkdir -p "$RUN/next"
    cp -p "$BARNABAS_NEXT_BIN/"{broker,operator} "$RUN/next"
  fi
  for program in broker operator; do
    [ "$("$RUN/next/$program" --version)" = "$program $NEXT" ] || { echo "the next $program says $("$RUN/next/$program" --version)"; return 1; }
    "$bin/$program" --version
  done
}

both_images() {
  images
  BARNABAS_BIN=$RUN/next IMAGE_TAG=next "$E2E/images/build.sh" broker operator
}

# Whoever deletes a definition deletes every Cluster, Topic and metadata log there is.
no_definitions() {
  local there
  there=$(kubectl get crd --ignore-not-found -o name "${DEFINITIONS[@]}")
  [ -z "$there" ] || { echo "Barnabas is in this cluster already, and its definitions would be deleted with all that they define: use another cluster"; return 1; }
}

# --- what the API server says to the charts ---

server_takes_all() {
  local crds file count=0
  crds=$(go mod download -json "github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR_VERSION" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')/example/prometheus-operator-crd
  kubectl apply --server-side -f "$crds/monitoring.coreos.com_podmonitors.yaml" -f "$crds/monitoring.coreos.com_prometheusrules.yaml" > /dev/null
  kubectl apply --server-side -f "$REPOSITORY/charts/barnabas-operator/crds" > /dev/null
  kubectl wait --for=condition=Established --timeout=30s crd "${DEFINITIONS[@]}" podmonitors.monitoring.coreos.com prometheusrules.monitoring.coreos.com > /dev/null
  # The namespaces that the rendered charts name.
  for file in letters team-a; do
    kubectl create namespace "$file" > /dev/null
    kubectl label namespace "$file" pod-security.kubernetes.io/enforce=restricted > /dev/null
  done
  for file in "$E2E"/charts/rendered/*.yaml; do
    kubectl apply --dry-run=server --validate=strict -f "$file" > "$RUN/said" 2>&1 || { cat "$RUN/said"; echo "$(basename "$file") is refused: $(tail -n 1 "$RUN/said")"; return 1; }
    # A warning of Pod Security or of a field that is on its way out.
    if grep -i '^warning' "$RUN/said"; then echo "$(basename "$file"): $(grep -i '^warning' "$RUN/said" | head -n 1)"; return 1; fi
    count=$((count + $(wc -l < "$RUN/said")))
  done
  kubectl delete namespace letters team-a --wait=false > /dev/null
  # What follows begins without definitions.
  kubectl delete crd "${DEFINITIONS[@]}" > /dev/null
  echo "$count objects in $(find "$E2E/charts/rendered" -name '*.yaml' | wc -l) files"
}

# --- the operator and its definitions ---

operator_release() {
  helm upgrade --install barnabas "$REPOSITORY/charts/barnabas-operator" --namespace "$OPERATOR_NAMESPACE" \
    --set image.repository="$(image operator)" --set image.tag="$1" \
    --set brokerImage.repository="$(image broker)" --set brokerImage.tag="$1" --wait --timeout 120s "${@:2}" > /dev/null
}

# The release that each definition is of.
definitions_are_of() {
  local definition release
  for definition in "${DEFINITIONS[@]}"; do
    release=$(kubectl get crd "$definition" -o jsonpath='{.metadata.annotations.barnabas\.dev/release}')
    [ "$release" = "$1" ] || { echo "$definition is of release '$release', not $1"; return 1; }
  done
}

# The Job makes them, although Helm could: what is tried is that its rights suffice for creation.
operator_installs() {
  operator_release dev --skip-crds
  definitions_are_of "$NOW"
  [ "$(kubectl --namespace "$OPERATOR_NAMESPACE" get deployment barnabas-operator -o jsonpath='{.status.readyReplicas}')" = 2 ]
  [ -z "$(kubectl --namespace "$OPERATOR_NAMESPACE" get jobs,serviceaccounts -o name | grep crds)" ] || { echo "the Job or its account stays"; return 1; }
}

rights_of_the_job() {
  local may="kubectl auth can-i --as system:serviceaccount:$OPERATOR_NAMESPACE:job" verb resource
  kubectl --namespace "$OPERATOR_NAMESPACE" create serviceaccount job > /dev/null
  helm get hooks barnabas --namespace "$OPERATOR_NAMESPACE" | python3 -c '
import sys
for document in sys.stdin.read().split("\n---\n"):
    if "kind: ClusterRole\n" in document and "-crds-" in document:
        print("---", document, sep="\n")' | kubectl apply -f - > /dev/null
  kubectl create clusterrolebinding barnabas-job --clusterrole "barnabas-operator-crds-$OPERATOR_NAMESPACE" --serviceaccount "$OPERATOR_NAMESPACE:job" > /dev/null
  for verb in get create patch; do
    $may "$verb" customresourcedefinitions.apiextensions.k8s.io/clusters.barnabas.dev > /dev/null || { echo "may not $verb a definition"; return 1; }
  done
  for resource in customresourcedefinitions.apiextensions.k8s.io/podmonitors.monitoring.coreos.com secrets pods configmaps clusters.barnabas.dev topics.barnabas.dev clusterroles.rbac.authorization.k8s.io; do
    for verb in get list watch create update patch delete; do
      if $may "$verb" "$resource" --all-namespaces > /dev/null 2>&1; then echo "may $verb $resource"; return 1; fi
    done
  done
  for verb in list watch update delete deletecollection; do
    if $may "$verb" customresourcedefinitions.apiextensions.k8s.io > /dev/null 2>&1; then echo "may $verb all definitions"; return 1; fi
  done
  kubectl delete clusterrolebinding barnabas-job > /dev/null
  kubectl delete clusterrole "barnabas-operator-crds-$OPERATOR_NAMESPACE" > /dev/null
  kubectl --namespace "$OPERATOR_NAMESPACE" delete serviceaccount job > /dev/null
}

cluster_installs() {
  cat > "$RUN/values.yaml" <<YAML
replicas: 3
storage: {size: 1Gi}
listeners:
  - {name: internal, port: 9092}
  - {name: external, port: 9094, type: NodePort}
topics:
  orders: {partitions: 12}
YAML
  helm upgrade --install "$CLUSTER" "$REPOSITORY/charts/barnabas-cluster" --namespace "$NAMESPACE" --values "$RUN/values.yaml" \
    --set check.image.repository="$(image broker)" --set check.image.tag=dev > /dev/null
  wait_ready "clusters.barnabas.dev/$CLUSTER" 90 > /dev/null
  wait_ready topics.barnabas.dev/orders 30 > /dev/null
  wait_for 30 "the node ports" kcat -b "$(bootstrap external)" -L -m 2
}

helm_test() { helm test "$CLUSTER" --namespace "$NAMESPACE" --timeout 60s | grep Phase; }

# --- under load ---

load_begins() {
  stop load KILL
  rm -f "$LOAD" "$RUN/load.log"
  start load "$PYTHON" "$E2E/clients/load.py" "$(bootstrap external)" orders "$LOAD" restarts
  wait_for 60 "a load (see $RUN/load.log)" load_moves 100
}

load_moves() { [ "$(cut -d' ' -f1 "$LOAD")" -ge "$1" ]; }

load_ends() {
  local pid moved
  # It has to go on after all that, not only to have survived it.
  moved=$(cut -d' ' -f1 "$LOAD")
  wait_for 60 "the load to go on" load_moves $((moved + 500))
  read -r pid _ < "$RUN/load.pid"
  kill -TERM "$pid"
  wait_for 90 "the load's end" gone "$pid"
  rm -f "$RUN/load.pid"
  tail -n 3 "$RUN/load.log"
  tail -n 1 "$RUN/load.log" | grep -q ' 0 errors'
}

gone() { ! is_running "$1"; }

# everything_is_of VERSION TAG: by what the programs themselves say.
everything_is_of() {
  definitions_are_of "$1"
  # A pod of the former release may still be ending.
  wait_for 60 "operators of $1" pods_are_of "$OPERATOR_NAMESPACE" app.kubernetes.io/name=barnabas-operator "$1" 2
  pods_are_of "$NAMESPACE" "barnabas.dev/cluster=$CLUSTER" "$1" 3
}

# pods_are_of NAMESPACE SELECTOR VERSION COUNT
pods_are_of() {
  local pod count=0 metrics
  for pod in $(kubectl --namespace "$1" get pods -l "$2" -o 'jsonpath={range .items[?(@.status.phase=="Running")]}{.metadata.name}{"\n"}{end}'); do
    metrics=$(kubectl get --raw "/api/v1/namespaces/$1/pods/$pod:9404/proxy/metrics") || { echo "$pod says nothing"; return 1; }
    [[ "$metrics" == *"barnabas_build_info{version=\"$3\"} 1"* ]] || { echo "$pod is not of $3"; return 1; }
    count=$((count + 1))
  done
  [ "$count" = "$4" ] || { echo "$count pods of $4"; return 1; }
}

# Conditions are joined by hand: whatever is waited for is called where bash ignores `set -e`.
brokers_have_rolled() {
  pods_are_of "$NAMESPACE" "barnabas.dev/cluster=$CLUSTER" "$1" 3 && [ "$(k get statefulset "$CLUSTER" -o jsonpath='{.status.readyReplicas}')" = 3 ]
}

topic_follows() {
  local name=after-$RANDOM$RANDOM
  k apply -f - > /dev/null <<YAML
apiVersion: barnabas.dev/v1alpha1
kind: Topic
metadata: {name: $name}
spec: {clusterRef: {name: $CLUSTER}, partitions: 3}
YAML
  wait_ready "topics.barnabas.dev/$name" 30 > /dev/null
}

upgrade() {
  local since=$SECONDS
  load_begins
  operator_release next
  wait_for 180 "the brokers to be of $NEXT" brokers_have_rolled "$NEXT"
  wait_ready "clusters.barnabas.dev/$CLUSTER" 60 > /dev/null
  everything_is_of "$NEXT"
  topic_follows
  echo "all of $NEXT after $((SECONDS - since)) s"
  load_ends
}

rollback() {
  load_begins
  helm rollback barnabas --namespace "$OPERATOR_NAMESPACE" --wait --timeout 120s > /dev/null
  wait_for 180 "the brokers to be of $NOW" brokers_have_rolled "$NOW"
  wait_ready "clusters.barnabas.dev/$CLUSTER" 60 > /dev/null
  everything_is_of "$NOW"
  topic_follows
  load_ends
}

# A definition of another shape, as an older release would have left it, and one that is missing.
definitions_are_mended() {
  kubectl patch crd topics.barnabas.dev --type json -p '[{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}, {"op": "remove", "path": "/spec/names/shortNames"}]' > /dev/null
  kubectl annotate crd topics.barnabas.dev barnabas.dev/release=0.0.1 --overwrite > /dev/null
  operator_release dev
  definitions_are_of "$NOW"
  [[ "$(k get bt orders --no-headers)" == *True* ]]
  [ "$(kubectl get crd topics.barnabas.dev -o jsonpath='{.spec.versions[0].additionalPrinterColumns[0].name}')" = Cluster ]
}

# --- one namespace ---

one_namespace() {
  local name
  helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" > /dev/null
  operator_release dev --set watchNamespace="$NAMESPACE"
  for name in $(kubectl get clusterroles,clusterrolebindings -o name | grep barnabas-operator || true); do
    echo "$name is cluster-wide"
    return 1
  done
  topic_follows
  wait_ready "clusters.barnabas.dev/$CLUSTER" 30 > /dev/null
  helm_test
  # Elsewhere nobody looks.
  kubectl create namespace upgrade-elsewhere > /dev/null
  kubectl --namespace upgrade-elsewhere apply -f - > /dev/null <<YAML
apiVersion: barnabas.dev/v1alpha1
kind: Cluster
metadata: {name: nobodys}
spec: {replicas: 1}
YAML
  for name in pods secrets clusters.barnabas.dev; do
    if kubectl --namespace upgrade-elsewhere auth can-i list "$name" --as "system:serviceaccount:$OPERATOR_NAMESPACE:barnabas-operator" > /dev/null; then echo "may list $name elsewhere"; return 1; fi
  done
  topic_follows
  [ "$(kubectl --namespace upgrade-elsewhere get cluster.barnabas.dev nobodys -o jsonpath='{.status.conditions[0].reason}')" = Pending ]
  kubectl delete namespace upgrade-elsewhere --wait=false > /dev/null
  helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" > /dev/null
}

main
