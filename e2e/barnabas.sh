# Sourced by demo.sh, run-kubernetes.sh and run-upgrade.sh: the steps that they take with a cluster.
# shellcheck shell=bash

E2E=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$E2E/kubernetes/lib.sh"

NAMESPACE=demo
CLUSTER=demo
OPERATOR_NAMESPACE=barnabas-system
# What runs beside the cluster, on this machine: logs, process ids, scratch.
RUN=${BARNABAS_DEMO_STATE:-/tmp/barnabas-demo}

# The user's cluster if there is a KUBECONFIG, else our own.
use_cluster() {
  mkdir -p "$RUN"
  PATH=$("$E2E/kubernetes/build.sh"):$PATH
  export PATH
  KUBECONFIG=${KUBECONFIG:-$("$E2E/kubernetes/up.sh")} || return 1
  export KUBECONFIG
  debian_packages kcat prometheus curl
}

cluster_is_ours() { [ "$KUBECONFIG" = "$STATE/admin.kubeconfig" ]; }

k() { kubectl --namespace "$NAMESPACE" "$@"; }

images() {
  [ -n "${BARNABAS_BIN:-}" ] || build_programs
  "$E2E/images/build.sh" broker operator client
}

build_programs() {
  make --no-print-directory --directory "$REPOSITORY" build
  BARNABAS_BIN=$(programs_built)
  export BARNABAS_BIN
}

programs_built() { say "${CARGO_TARGET_DIR:-$REPOSITORY/target}/$(uname -m)-unknown-linux-gnu/release"; }

# nobody_else RELEASE_NAMESPACE: no operator of anybody's is in the cluster but one that an earlier run of the same test has left there. What
# a test takes away, or two operators would disagree on, must not be a user's.
nobody_else() {
  local there
  there=$(helm list --all-namespaces --output json | python3 -c '
import json, sys
print(*("{name} in {namespace}".format(**r) for r in json.load(sys.stdin) if r["chart"].startswith("barnabas-operator-") and r["namespace"] != sys.argv[1]))' "$1") || return
  [ -z "$there" ] || { echo "the operator is installed in this cluster already ($there): tests want one without it"; return 1; }
}

image() { printf '%s/barnabas-%s' "${IMAGE_REGISTRY:-localhost}" "$1"; }

# Whatever runs in them from here on, test pods too, is judged by the strictest standard.
restricted_namespaces() {
  local namespace
  for namespace in "$NAMESPACE" "$OPERATOR_NAMESPACE"; do
    kubectl create namespace "$namespace" --dry-run=client -o yaml | kubectl apply -f - > /dev/null
    kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted --overwrite > /dev/null
  done
}

install_operator() {
  helm upgrade --install barnabas "$REPOSITORY/charts/barnabas-operator" --namespace "$OPERATOR_NAMESPACE" --create-namespace \
    --set image.repository="$(image operator)" --set image.tag="${IMAGE_TAG:-dev}" \
    --set brokerImage.repository="$(image broker)" --set brokerImage.tag="${IMAGE_TAG:-dev}" --wait --timeout 90s > /dev/null
}

install_cluster() {
  helm upgrade --install "$CLUSTER" "$REPOSITORY/charts/barnabas-cluster" --namespace "$NAMESPACE" --create-namespace \
    --values "$E2E/demo/cluster.yaml" --set image.repository="$(image broker)" --set image.tag="${IMAGE_TAG:-dev}" > /dev/null
}

# wait_ready KIND/NAME SECONDS
wait_ready() {
  k wait "$1" --for=condition=Ready --timeout="$2s"
}

bootstrap() {
  k get "clusters.barnabas.dev/$CLUSTER" -o jsonpath="{.status.listeners[?(@.name==\"$1\")].bootstrapServers}"
}

# A pod with kcat and a shell.
client_pod() {
  k apply -f - > /dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: client
      image: $(image client):${IMAGE_TAG:-dev}
      imagePullPolicy: IfNotPresent
      args: ["exec sleep 1000000"]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
YAML
  wait_ready pod/client 60 > /dev/null
}

in_pod() { k exec -i client -- "$@"; }

# prometheus_up: Debian's Prometheus on a free port of this machine; its address goes to $RUN/prometheus.address.
prometheus_up() {
  prometheus_down
  local proxy address
  proxy=$(python3 "$E2E/clients/addresses.py")
  address=$(python3 "$E2E/clients/addresses.py")
  start kubectl-proxy kubectl proxy --port "${proxy#*:}"
  cp "$E2E/demo/prometheus.yaml" "$RUN/prometheus.yaml"
  scrape_targets "$proxy" > "$RUN/targets.json"
  rm -rf "$RUN/prometheus"
  start prometheus prometheus --config.file "$RUN/prometheus.yaml" --storage.tsdb.path "$RUN/prometheus" --web.listen-address "$address" --log.level warn
  printf '%s\n' "$address" > "$RUN/prometheus.address"
  wait_for 20 "Prometheus (see $RUN/prometheus.log)" curl -sf "http://$address/-/ready"
}

# scrape_targets PROXY: the brokers' pods as Prometheus' targets. Their names do not change, so the list is made once.
scrape_targets() {
  k get pods -l "app.kubernetes.io/name=barnabas-broker" -o json | python3 -c '
import json, sys
proxy = sys.argv[1]
pods = [pod["metadata"] for pod in json.load(sys.stdin)["items"]]
path = "/api/v1/namespaces/{}/pods/{}:9404/proxy/metrics"
print(json.dumps([
    {"targets": [proxy], "labels": {"pod": pod["name"], "__metrics_path__": path.format(pod["namespace"], pod["name"])}}
    for pod in pods
]))' "$1"
}

prometheus_down() {
  stop prometheus
  stop kubectl-proxy
}

# prometheus_query QUERY: the value of the first sample, nothing if there is none.
prometheus_query() {
  curl -sfG "http://$(cat "$RUN/prometheus.address")/api/v1/query" --data-urlencode "query=$1" \
    | python3 -c 'import json, sys; r = json.load(sys.stdin)["data"]["result"]; print(r[0]["value"][1] if r else "")'
}

# leaders TOPIC: how many partitions each broker leads, as "0:4 1:4 2:4".
leaders() {
  kcat -b "$(bootstrap external)" -L -J -t "$1" | python3 -c '
import collections, json, sys
topic = json.load(sys.stdin)["topics"][0]
count = collections.Counter(p["leader"] for p in topic["partitions"])
print(" ".join(f"{broker}:{count[broker]}" for broker in sorted(count)))'
}

# mail_round_trip COUNT: generated e-mails through the topic `mail`, and their attachments compared bit for bit.
mail_round_trip() {
  local count=$1 mail=$BARNABAS_BIN/mail work=$RUN/mail
  rm -rf "$work"
  "$mail" generate --count "$count" --dir "$work/letters" --attachments "$work/attached"
  "$mail" watch --once --dir "$work/letters" --bootstrap "$(bootstrap external)" > "$work/sent.txt"
  [ "$(wc -l < "$work/sent.txt")" = "$count" ] || { echo "$(wc -l < "$work/sent.txt") of $count e-mails were sent"; return 1; }
  "$mail" read --bootstrap "$(bootstrap external)" --out "$work/all" > "$work/read.txt"
  # Only what was sent just now: the topic may hold e-mails of an earlier run.
  mkdir "$work/out"
  sed -E 's/.* partition ([0-9]+) offset ([0-9]+),.*/\1-\2/' "$work/sent.txt" | while read -r place; do
    find "$work/all" -name "$place-*" -exec mv -t "$work/out" {} +
  done
  diff <(sums "$work/attached") <(sums "$work/out") || { echo "attachments differ"; return 1; }
  echo "$count e-mails, $(find "$work/out" -type f | wc -l) attachments of $(du -sh --apparent-size "$work/out" | cut -f1), bit for bit"
}

# What a folder's files hold, whatever their names.
sums() { find "$1" -type f -exec sha256sum {} + | cut -d' ' -f1 | sort; }
