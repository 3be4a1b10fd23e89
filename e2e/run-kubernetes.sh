#!/usr/bin/env bash
# run-kubernetes.sh: both charts on a real Kubernetes (the one of KUBECONFIG, else three nodes on this machine), and what must hold there.
#   BARNABAS_BIN     folder with the static programs; else they are built
#   BARNABAS_OUTAGE  seconds that the operators, then the API server, are away (15; the long form is 60)
#   BARNABAS_KEEP    set: leave cluster and namespaces as they are in the end, as is done with a local cluster that was up before
#   ONLY             a pattern; of the verdicts after the installation, only those whose name matches are tried
set -uo pipefail
source "$(dirname "$0")/barnabas.sh"
source "$E2E/verdicts.sh"

OUTAGE=${BARNABAS_OUTAGE:-15}
# Its own scratch and namespace, so that a demo may go on beside it in a cluster of the user's.
RUN=$(mktemp -d /tmp/barnabas-e2e.XXXXXX)
NAMESPACE=${BARNABAS_NAMESPACE:-demo}
LOAD=$RUN/load.report

main() {
  if [ -z "${KUBECONFIG:-}" ] && [ "$(id -u)" != 0 ]; then
    if [ "${CI:-}" = true ]; then
      echo "not ok - kubernetes: CI must run it, and it has neither root nor KUBECONFIG"
      exit 1
    fi
    skip kubernetes "needs root for three nodes of its own, or KUBECONFIG; neither is here"
    closing_line
    exit
  fi
  # A cluster that is up already is somebody's: it stays.
  [ ! -e "$STATE/up" ] || BARNABAS_KEEP=yes
  trap clean_up EXIT

  verdict_or_end "three nodes are Ready" use_a_cluster
  use_cluster > /dev/null || exit 1
  verdict_or_end "the images are built and loaded" images
  [ -n "${BARNABAS_BIN:-}" ] || BARNABAS_BIN=${CARGO_TARGET_DIR:-$REPOSITORY/target}/x86_64-unknown-linux-gnu/release
  PYTHON=$("$E2E/clients/python.sh") || exit 1
  try "both charts lint" helm lint --quiet "$REPOSITORY/charts/barnabas-operator" "$REPOSITORY/charts/barnabas-cluster"
  verdict_or_end "the operator's chart installs with two replicas" operator_installs
  verdict_or_end "three brokers are Ready within 60 s of helm install" cluster_installs
  k get pods -o wide >&2

  try "a Topic with 12 partitions has 4 leaders on each broker" leaders_are_spread
  client_pod
  try "kcat from a pod and from outside see each other's messages" kcat_inside_and_outside
  try "examples/mail moves 200 e-mails with attachments bit for bit" mail_round_trip 200
  try "a consumer group across the brokers shares a topic and goes on from its commits" group_shares
  try "Prometheus scrapes and answers kafka_server_brokertopicmetrics_messagesin_total" prometheus_answers
  try "kubectl get topics and clusters show true columns" columns_are_true
  try "a Topic that cannot be is refused or conditioned in one sentence" bad_topics
  try "helm test writes and reads a record" helm_test
  try "kill -9 of the active operator: the next Topic is Ready within 15 s, epoch +1, clients notice nothing" operator_killed
  try "graceful stop of the active operator: the next Topic is Ready within 2 s, epoch +1, clients notice nothing" operator_stopped
  try "both operators away for $OUTAGE s: clients notice nothing" operators_away
  try "the API server away for $OUTAGE s: clients notice nothing" apiserver_away
  try "helm uninstall, cluster first: nothing hangs, and the data is there again" uninstall_cluster_first
  try "helm uninstall, operator first: nothing hangs, and the data is there again" uninstall_operator_first
  try "kubectl delete of Cluster, then Topics: nothing hangs, and the data is there again" delete_cluster_then_topics
  try "kubectl delete of a Topic under Delete takes its data, and under Retain leaves it" topic_deletion
  closing_line
}

clean_up() {
  local log
  if [ "$FAILED" -gt 0 ] && [ -n "${KUBECONFIG:-}" ]; then diagnose > "${TMPDIR:-/tmp}/barnabas-e2e-diagnosis.txt" 2>&1; fi
  stop load KILL
  prometheus_down
  if [ -z "${BARNABAS_KEEP:-}" ]; then
    if cluster_is_ours; then
      "$E2E/kubernetes/down.sh"
    else
      helm uninstall "$CLUSTER" --namespace "$NAMESPACE" --ignore-not-found
      helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" --ignore-not-found
      kubectl delete namespace "$NAMESPACE" "$OPERATOR_NAMESPACE" --ignore-not-found
    fi > /dev/null 2>&1
  fi
  rm -rf "$RUN"
}

# What one would look at first, kept after the cluster is gone.
diagnose() {
  kubectl get pods,clusters.barnabas.dev,topics.barnabas.dev,leases.coordination.k8s.io --all-namespaces -o wide
  kubectl get events --all-namespaces --sort-by=.lastTimestamp | tail -n 60
  k get clusters.barnabas.dev,topics.barnabas.dev -o yaml
  for log in $(kubectl --namespace "$OPERATOR_NAMESPACE" get pods -o name); do
    echo "== $log"
    kubectl --namespace "$OPERATOR_NAMESPACE" logs "$log" --tail 100
  done
  for log in 0 1 2; do
    echo "== $CLUSTER-$log"
    k logs "$CLUSTER-$log" --tail 60
  done
}

use_a_cluster() {
  use_cluster
  echo "$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l) nodes, Kubernetes $(kubectl version -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["serverVersion"]["gitVersion"])')"
  [ "$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" -ge 3 ]
}

# --- installation ---

operator_installs() {
  install_operator
  [ "$(kubectl --namespace "$OPERATOR_NAMESPACE" get deployment barnabas-operator -o jsonpath='{.status.readyReplicas}')" = 2 ]
}

cluster_installs() {
  local since=$SECONDS
  install_cluster
  wait_ready "clusters.barnabas.dev/$CLUSTER" 60 > /dev/null
  [ "$(k get statefulset "$CLUSTER" -o jsonpath='{.status.readyReplicas}')" = 3 ] || { echo "the Cluster is Ready and its brokers are not"; return 1; }
  echo "$((SECONDS - since)) s"
}

# --- topics and clients ---

leaders_are_spread() {
  wait_ready topics.barnabas.dev/orders 30 > /dev/null
  wait_for 10 "the node ports" kcat -b "$(bootstrap external)" -L -m 2
  leaders orders
  [ "$(leaders orders)" = "0:4 1:4 2:4" ]
}

kcat_inside_and_outside() {
  local outside inside=$CLUSTER-bootstrap:9092
  outside=$(bootstrap external)
  seq 1000 | in_pod kcat -b "$inside" -P -t orders -p 1 -X enable.idempotence=true
  seq 1001 2000 | kcat -b "$outside" -P -t orders -p 1 -X enable.idempotence=true
  [ "$(kcat -b "$outside" -C -t orders -p 1 -o beginning -e -q | sha256sum)" = "$(seq 2000 | sha256sum)" ] || { echo "outside reads something else"; return 1; }
  [ "$(in_pod kcat -b "$inside" -C -t orders -p 1 -o beginning -e -q | sha256sum)" = "$(seq 2000 | sha256sum)" ] || { echo "a pod reads something else"; return 1; }
  echo "outside at $outside"
}

prometheus_answers() {
  local before
  prometheus_up
  wait_for 30 "three scraped brokers" three_are_up
  before=$(prometheus_query 'sum(kafka_server_brokertopicmetrics_messagesin_total{topic="orders"})')
  seq 500 | kcat -b "$(bootstrap external)" -P -t orders
  wait_for 30 "500 messages more in Prometheus" counted "$before" 500
  echo "from $before by 500"
}

three_are_up() { [ "$(prometheus_query 'sum(up{job="barnabas"})')" = 3 ] && [ -n "$(prometheus_query 'sum(kafka_server_brokertopicmetrics_messagesin_total{topic="orders"})')" ]; }
counted() { [ "$(prometheus_query 'sum(kafka_server_brokertopicmetrics_messagesin_total{topic="orders"})')" = "$(($1 + $2))" ]; }

group_shares() {
  "$PYTHON" "$E2E/clients/group.py" "$(bootstrap external)" 10000
}

columns_are_true() {
  k get clusters.barnabas.dev | tee "$RUN/clusters.txt"
  k get topics.barnabas.dev | tee "$RUN/topics.txt"
  column "$RUN/clusters.txt" "$CLUSTER" BROKERS 3
  column "$RUN/clusters.txt" "$CLUSTER" AVAILABLE 3
  column "$RUN/clusters.txt" "$CLUSTER" READY True
  column "$RUN/clusters.txt" "$CLUSTER" OFFLINE 0
  column "$RUN/topics.txt" orders CLUSTER "$CLUSTER"
  column "$RUN/topics.txt" orders PARTITIONS 12
  column "$RUN/topics.txt" orders RF 1
  column "$RUN/topics.txt" orders READY True
  # The count on the Cluster is that of the Topics, internal ones included.
  local topics
  topics=$(kcat -b "$(bootstrap external)" -L -J | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["topics"]))')
  column "$RUN/clusters.txt" "$CLUSTER" TOPICS "$topics"
  echo "$topics topics"
}

# column FILE ROW COLUMN VALUE: a cell of what kubectl printed, found by where its head begins: cells may be empty.
column() {
  local got
  got=$(python3 - "$1" "$2" "$3" <<'PY'
import re, sys
file, row, name = sys.argv[1:]
lines = open(file, encoding="utf-8").read().splitlines()
heads = [(m.group(), m.start()) for m in re.finditer(r"\S+(?: \S+)*", lines[0])]
line = next(line for line in lines[1:] if line.split()[0] == row)
at = [head for head, _ in heads].index(name)
end = heads[at + 1][1] if at + 1 < len(heads) else None
print(line[heads[at][1]:end].strip())
PY
  )
  [ "$got" = "$4" ] || { echo "$2: $3 is '$got', not '$4'"; return 1; }
}

bad_topics() {
  local refusal
  if refusal=$(topic bad-partitions 'partitions: 0' 2>&1); then echo "partitions: 0 was taken"; return 1; fi
  if refusal=$(topic bad-factor 'replicationFactor: 3' 2>&1); then echo "replicationFactor: 3 was taken"; return 1; fi
  echo "$refusal" | grep -q 'replication' || { echo "unclear: $refusal"; return 1; }
  if refusal=$(topic orders 'partitions: 3' 2>&1); then echo "fewer partitions were taken"; return 1; fi
  topic bad-config 'config: {cleanup.policy: compact}' > /dev/null
  k wait topics.barnabas.dev/bad-config --for=condition=Ready=False --timeout=20s > /dev/null
  refusal=$(k get topics.barnabas.dev/bad-config -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}')
  k delete topics.barnabas.dev/bad-config --timeout=20s > /dev/null
  topic astray 'clusterRef: {name: nobody}' > /dev/null
  k wait topics.barnabas.dev/astray --for=condition=Ready=False --timeout=20s > /dev/null
  k delete topics.barnabas.dev/astray --timeout=20s > /dev/null
  echo "$refusal"
}

# topic NAME FIELDS: applies a Topic of the cluster.
topic() {
  local reference="clusterRef: {name: $CLUSTER}"
  case "${2:-}" in *clusterRef*) reference= ;; esac
  k apply -f - <<YAML
apiVersion: barnabas.dev/v1alpha1
kind: Topic
metadata: {name: $1}
spec:
  ${2:-partitions: 3}
  $reference
YAML
}

helm_test() { helm test "$CLUSTER" --namespace "$NAMESPACE" --timeout 60s | grep Phase; }

# --- the operator goes away ---

epoch() { k get "clusters.barnabas.dev/$CLUSTER" -o jsonpath='{.status.controller.epoch}'; }

# The status may follow the first decision of a new controller by a moment.
epoch_goes_to() {
  wait_for 10 "an epoch" epoch_is_at_least "$1"
  [ "$(epoch)" = "$1" ] || { echo "the epoch is $(epoch), not $1"; return 1; }
}
epoch_is_at_least() { [ "$(epoch)" -ge "$1" ]; }

active_operator() { k get "leases.coordination.k8s.io/$CLUSTER-controller" -o jsonpath='{.spec.holderIdentity}' | cut -d_ -f1; }

load_begins() {
  stop load KILL # one that a failed verdict left behind
  rm -f "$LOAD" "$RUN/load.log"
  start load "$PYTHON" "$E2E/clients/load.py" "$(bootstrap external)" orders "$LOAD"
  wait_for 30 "a load (see $RUN/load.log)" load_moves 100
}

load_moves() { [ "$(cut -d' ' -f2 "$LOAD")" -ge "$1" ]; }

# The load's own last line: how many records, how many errors.
load_ends() {
  local pid
  read -r pid _ < "$RUN/load.pid"
  kill -TERM "$pid"
  wait_for 80 "the load's end" gone "$pid"
  rm -f "$RUN/load.pid"
  tail -n 3 "$RUN/load.log"
  tail -n 1 "$RUN/load.log" | grep -q ' 0 errors'
}

gone() { ! is_running "$1"; }

# next_topic_ready SECONDS: applies a new Topic now, and says how long it took to become Ready.
next_topic_ready() {
  local name=after-$RANDOM$RANDOM start
  start=$(date +%s%N)
  topic "$name" > /dev/null
  wait_ready "topics.barnabas.dev/$name" "$1" > /dev/null || { echo "the next Topic is not Ready within $1 s"; return 1; }
  TOOK=$((($(date +%s%N) - start) / 1000000))
}

operator_killed() {
  local before pod
  load_begins
  before=$(epoch)
  pod=$(active_operator)
  kill_pod "$OPERATOR_NAMESPACE" "$pod"
  next_topic_ready 15
  epoch_goes_to $((before + 1))
  load_ends
  echo "Ready after $TOOK ms, epoch $before to $((before + 1)), $(tail -n 1 "$RUN/load.log")"
}

# kill -9 of a pod's process, where we can reach it; else a deletion without grace.
kill_pod() {
  local id pid node
  if cluster_is_ours; then
    id=$(kubectl --namespace "$1" get pod "$2" -o jsonpath='{.status.containerStatuses[0].containerID}')
    node=$(kubectl --namespace "$1" get pod "$2" -o jsonpath='{.spec.nodeName}')
    pid=$(ctr --address "$STATE/$node/containerd.sock" --namespace k8s.io tasks list | awk -v id="${id#containerd://}" '$1 == id { print $2 }')
    kill -9 "$pid"
  else
    kubectl --namespace "$1" delete pod "$2" --force --grace-period=0 > /dev/null
  fi
}

operator_stopped() {
  local before
  wait_for 60 "two operators" operators 2
  load_begins
  before=$(epoch)
  kubectl --namespace "$OPERATOR_NAMESPACE" delete pod "$(active_operator)" --wait=false > /dev/null
  next_topic_ready 10
  epoch_goes_to $((before + 1))
  load_ends
  echo "Ready after $TOOK ms, epoch $before to $((before + 1)), $(tail -n 1 "$RUN/load.log")"
  [ "$TOOK" -le 2000 ]
}

operators() { [ "$(kubectl --namespace "$OPERATOR_NAMESPACE" get deployment barnabas-operator -o jsonpath='{.status.readyReplicas}')" = "$1" ]; }

operators_away() {
  wait_for 60 "two operators" operators 2
  load_begins
  kubectl --namespace "$OPERATOR_NAMESPACE" scale deployment barnabas-operator --replicas 0 > /dev/null
  wait_for 40 "no operator" operators ""
  sleep "$OUTAGE" # the outage itself
  kubectl --namespace "$OPERATOR_NAMESPACE" scale deployment barnabas-operator --replicas 2 > /dev/null
  next_topic_ready 60
  load_ends
}

apiserver_away() {
  cluster_is_ours || { echo "not tried: the API server is not ours to stop"; return 0; }
  wait_for 60 "two operators" operators 2
  load_begins
  "$E2E/kubernetes/apiserver.sh" stop
  sleep "$OUTAGE" # the outage itself
  "$E2E/kubernetes/apiserver.sh" start
  next_topic_ready 60
  load_ends
  for pod in $(k get pods -l "barnabas.dev/cluster=$CLUSTER" -o name); do
    [ "$(k get "$pod" -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ] || { echo "$pod restarted"; return 1; }
  done
  tail -n 1 "$RUN/load.log"
}

# --- everything goes, and comes back ---

digest() { kcat -b "$(bootstrap external)" -C -t orders -o beginning -e -q -f '%p %o %s\n' | sort | sha256sum; }

# in_time COMMAND...: uninstalling never hangs.
in_time() { timeout 60 "$@" || { echo "not done within 60 s: $*"; return 1; }; }

back_again() {
  local before=$1
  install_operator
  install_cluster
  # The status is of the Cluster before, until the operator has seen the new one.
  wait_ready "clusters.barnabas.dev/$CLUSTER" 90 > /dev/null
  wait_ready topics.barnabas.dev/orders 60 > /dev/null
  wait_for 30 "the messages from before" same_digest "$before"
  echo "$(kcat -b "$(bootstrap external)" -C -t orders -o beginning -e -q | wc -l) messages, the same as before"
}

same_digest() { [ "$(digest)" = "$1" ]; }

# Nothing of the cluster runs any more, so what comes back comes from disk.
nothing_runs() { [ -z "$(k get pods -l "barnabas.dev/cluster=$CLUSTER" -o name)" ]; }

uninstall_cluster_first() {
  local before
  before=$(digest)
  in_time helm uninstall "$CLUSTER" --namespace "$NAMESPACE" > /dev/null
  wait_for 60 "the brokers' end" nothing_runs
  in_time helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" > /dev/null
  back_again "$before"
}

uninstall_operator_first() {
  local before
  before=$(digest)
  in_time helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" > /dev/null
  in_time helm uninstall "$CLUSTER" --namespace "$NAMESPACE" > /dev/null
  wait_for 60 "the brokers' end" nothing_runs
  back_again "$before"
}

delete_cluster_then_topics() {
  local before
  before=$(digest)
  in_time kubectl --namespace "$NAMESPACE" delete clusters.barnabas.dev "$CLUSTER" > /dev/null
  in_time kubectl --namespace "$NAMESPACE" delete topics.barnabas.dev --all > /dev/null
  wait_for 60 "the brokers' end" nothing_runs
  in_time helm uninstall "$CLUSTER" --namespace "$NAMESPACE" > /dev/null
  in_time helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" > /dev/null
  back_again "$before"
}

topic_deletion() {
  local bootstrap
  bootstrap=$(bootstrap external)
  topic goes 'partitions: 1' > /dev/null
  topic stays 'deletionPolicy: Retain' > /dev/null
  wait_ready topics.barnabas.dev/goes 30 > /dev/null
  wait_ready topics.barnabas.dev/stays 30 > /dev/null
  echo kept | kcat -b "$bootstrap" -P -t stays -p 0
  in_time kubectl --namespace "$NAMESPACE" delete topics.barnabas.dev goes stays > /dev/null
  wait_for 20 "the end of topic goes" topic_is_gone goes
  topic stays 'deletionPolicy: Retain' > /dev/null
  wait_ready topics.barnabas.dev/stays 30 > /dev/null
  [ "$(kcat -b "$bootstrap" -C -t stays -p 0 -o beginning -e -q)" = kept ] || { echo "what was retained is gone"; return 1; }
}

topic_is_gone() { ! kcat -b "$(bootstrap external)" -L -J | grep -q "\"topic\":\"$1\""; }

main
