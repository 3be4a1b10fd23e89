#!/usr/bin/env bash
# run-kubernetes.sh: both charts on a real Kubernetes (the one of KUBECONFIG, else three nodes on this machine), and what must hold there.
#   BARNABAS_BIN     folder with the static programs; else they are built
#   BARNABAS_OUTAGE  seconds that the operators, then the API server, are away (15; the long form is 60)
#   BARNABAS_OUTAGE_WITH_RESTART  the same for the API server while a broker restarts (15; the long form is 300)
#   BARNABAS_KEEP    set: leave cluster and namespaces as they are in the end, as is done with a local cluster that was up before
#   ONLY             a pattern; of the verdicts after the installation, only those whose name matches are tried
set -uo pipefail
source "$(dirname "$0")/barnabas.sh"
source "$E2E/verdicts.sh"

OUTAGE=${BARNABAS_OUTAGE:-15}
# Its own scratch and names.
RUN=$(mktemp -d /tmp/barnabas-e2e.XXXXXX)
NAMESPACE=e2e
CLUSTER=e2e
OPERATOR_NAMESPACE=e2e-system
BEGUN=
RESTART_OUTAGE=${BARNABAS_OUTAGE_WITH_RESTART:-15}

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
  verdict_or_end "nobody else's operator is in the cluster" nobody_else "$OPERATOR_NAMESPACE"
  BEGUN=yes
  verdict_or_end "the images are built and loaded" images
  [ -n "${BARNABAS_BIN:-}" ] || BARNABAS_BIN=$(programs_built)
  PYTHON=$("$E2E/clients/python.sh") || exit 1
  try "both charts lint" helm lint --quiet "$REPOSITORY/charts/barnabas-operator" "$REPOSITORY/charts/barnabas-cluster"
  verdict_or_end "both namespaces enforce restricted Pod Security" restricted_namespaces
  verdict_or_end "the operator's chart installs with two replicas" operator_installs
  verdict_or_end "three brokers are Ready, and the first message is read, within 60 s of helm install" cluster_installs
  k get pods -o wide >&2

  try "a Topic with 12 partitions has 4 leaders on each broker" leaders_are_spread
  client_pod
  try "kcat from a pod and from outside see each other's messages" kcat_inside_and_outside
  java_outside
  try "examples/mail moves 200 e-mails with attachments bit for bit" mail_round_trip 200
  try "a consumer group across the brokers shares a topic and goes on from its commits" group_shares
  try "Prometheus scrapes and answers kafka_server_brokertopicmetrics_messagesin_total" prometheus_answers
  try "kubectl get topics and clusters show true columns" columns_are_true
  try "a Topic that cannot be is refused or conditioned in one sentence" bad_topics
  try "helm test writes and reads a record" helm_test
  try "kill -9 of the active operator: the next Topic is Ready within 15 s, epoch +1, clients notice nothing" operator_killed
  try "graceful stop of the active operator: the next Topic is Ready within 2 s, epoch +1, clients notice nothing" operator_stopped
  try "both operators away for $OUTAGE s: clients notice nothing" operators_away
  try "kubectl drain of a node under load: the budget lets one broker go at a time, and no delivery fails" drain
  try "a broker's pod deleted by force under load: the gap is at most 12 s, and no delivery fails" pod_forced
  try "the API server away for $OUTAGE s: clients notice nothing" apiserver_away
  try "the API server away for $RESTART_OUTAGE s, and a broker restarts meanwhile: what needs no new leader goes on" apiserver_away_and_restart
  try "a metadata log restored from before a topic: it is made anew from the brokers' images, and clients go on" log_regressed
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
  stop alone KILL
  prometheus_down
  if [ -z "${BARNABAS_KEEP:-}" ]; then
    if cluster_is_ours; then
      "$E2E/kubernetes/down.sh"
    elif [ -n "$BEGUN" ]; then
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
  local since=$SECONDS ready
  install_cluster
  wait_ready "clusters.barnabas.dev/$CLUSTER" 60 > /dev/null
  ready=$((SECONDS - since))
  wait_ready topics.barnabas.dev/orders 60 > /dev/null
  wait_for 60 "the first message" first_message
  echo "Ready after $ready s, a message read after $((SECONDS - since)) s"
  [ "$((SECONDS - since))" -le 60 ]
  # The StatefulSet's own status may follow its pods by a moment.
  wait_for 15 "three Ready brokers: the Cluster says it has them" brokers_are_ready 3
}

first_message() { echo first | kcat -b "$(bootstrap external)" -P -t orders -p 11 && [ "$(kcat -b "$(bootstrap external)" -C -t orders -p 11 -o -1 -c 1 -q)" = first ]; }

brokers_are_ready() { [ "$(k get statefulset "$CLUSTER" -o jsonpath='{.status.readyReplicas}')" = "$1" ]; }

# --- topics and clients ---

leaders_are_spread() {
  wait_ready topics.barnabas.dev/orders 30 > /dev/null
  wait_for 30 "the node ports" kcat -b "$(bootstrap external)" -L -m 2
  # A broker that is asked may be a moment behind the controller.
  wait_for 15 "4 leaders on each broker" leaders_are 0:4 1:4 2:4 || { leaders orders; return 1; }
  leaders orders
}

leaders_are() { [ "$(leaders orders)" = "$*" ]; }

kcat_inside_and_outside() {
  local outside inside=$CLUSTER-bootstrap:9092
  outside=$(bootstrap external)
  seq 1000 | in_pod kcat -b "$inside" -P -t orders -p 1 -X enable.idempotence=true
  seq 1001 2000 | kcat -b "$outside" -P -t orders -p 1 -X enable.idempotence=true
  [ "$(kcat -b "$outside" -C -t orders -p 1 -o beginning -e -q | sha256sum)" = "$(seq 2000 | sha256sum)" ] || { echo "outside reads something else"; return 1; }
  [ "$(in_pod kcat -b "$inside" -C -t orders -p 1 -o beginning -e -q | sha256sum)" = "$(seq 2000 | sha256sum)" ] || { echo "a pod reads something else"; return 1; }
  echo "outside at $outside"
}

# A verdict of its own, because there may be no JDK.
java_outside() {
  local java what="a Java client outside writes and reads through every broker's node port"
  [[ "$what" =~ ${ONLY:-.} ]] || return 0
  java=$("$E2E/clients/install.sh" java-4.3 | cut -f2,3)
  case "$java" in
    -*) if [ "${CI:-}" = true ]; then verdict "$what" false "$java"; else skip "$what" "${java#-}"; fi ;;
    # shellcheck disable=SC2086 # a command and its arguments
    *) verdict "$what" "$PYTHON" "$E2E/clients/outside.py" "$(bootstrap external)" orders $java ;;
  esac
}

prometheus_answers() {
  local before
  prometheus_up
  wait_for 60 "three scraped brokers" three_are_up
  before=$(prometheus_query 'sum(kafka_server_brokertopicmetrics_messagesin_total{topic="orders"})')
  seq 500 | kcat -b "$(bootstrap external)" -P -t orders
  wait_for 60 "500 messages more in Prometheus" counted "$before" 500
  echo "from $before by 500"
}

three_are_up() { [ "$(prometheus_query 'sum(up{job="barnabas"})')" = 3 ] && [ -n "$(prometheus_query 'sum(kafka_server_brokertopicmetrics_messagesin_total{topic="orders"})')" ]; }
counted() { [ "$(prometheus_query 'sum(kafka_server_brokertopicmetrics_messagesin_total{topic="orders"})')" = "$(($1 + $2))" ]; }

group_shares() {
  "$PYTHON" "$E2E/clients/group.py" "$(bootstrap external)" 10000
}

# The columns are of a status, which follows the facts by a moment.
columns_are_true() {
  wait_for 30 "true columns" columns || { columns; return 1; }
  cat "$RUN/clusters.txt" "$RUN/topics.txt"
  echo "$(wc -l < "$RUN/topics.txt") lines of topics"
}

# Joined by hand: what is waited for is called where bash ignores `set -e`.
columns() {
  local topics
  k get clusters.barnabas.dev > "$RUN/clusters.txt" && k get topics.barnabas.dev > "$RUN/topics.txt" || return
  # The count on the Cluster is that of the Topics, internal ones included.
  topics=$(kcat -b "$(bootstrap external)" -L -J | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["topics"]))') || return
  column "$RUN/clusters.txt" "$CLUSTER" BROKERS 3 \
    && column "$RUN/clusters.txt" "$CLUSTER" AVAILABLE 3 \
    && column "$RUN/clusters.txt" "$CLUSTER" READY True \
    && column "$RUN/clusters.txt" "$CLUSTER" OFFLINE 0 \
    && column "$RUN/topics.txt" orders CLUSTER "$CLUSTER" \
    && column "$RUN/topics.txt" orders PARTITIONS 12 \
    && column "$RUN/topics.txt" orders RF 3 \
    && column "$RUN/topics.txt" orders READY True \
    && column "$RUN/clusters.txt" "$CLUSTER" TOPICS "$topics"
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
  if refusal=$(topic bad-factor 'replicationFactor: 0' 2>&1); then echo "replicationFactor: 0 was taken"; return 1; fi
  echo "$refusal" | grep -q 'replication' || { echo "unclear: $refusal"; return 1; }
  if refusal=$(topic orders 'partitions: 3' 2>&1); then echo "fewer partitions were taken"; return 1; fi
  topic bad-config 'config: {cleanup.policy: compact}' > /dev/null
  k wait topics.barnabas.dev/bad-config --for=condition=Ready=False --timeout=60s > /dev/null
  refusal=$(k get topics.barnabas.dev/bad-config -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}')
  k delete topics.barnabas.dev/bad-config --timeout=60s > /dev/null
  topic astray 'clusterRef: {name: nobody}' > /dev/null
  k wait topics.barnabas.dev/astray --for=condition=Ready=False --timeout=60s > /dev/null
  k delete topics.barnabas.dev/astray --timeout=60s > /dev/null
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
  wait_for 30 "an epoch" epoch_is_at_least "$1"
  [ "$(epoch)" = "$1" ] || { echo "the epoch is $(epoch), not $1"; return 1; }
}
epoch_is_at_least() { [ "$(epoch)" -ge "$1" ]; }

active_operator() { k get "leases.coordination.k8s.io/$CLUSTER-controller" -o jsonpath='{.spec.holderIdentity}' | cut -d_ -f1; }

# load_begins [NAME TOPIC [OPTION...]]: one of e2e/clients/load.py, of any name; by default that of the topic `orders`.
load_begins() {
  local name=${1:-load}
  stop "$name" KILL # one that a failed verdict left behind
  rm -f "$RUN/$name.report" "$RUN/$name.log"
  start "$name" "$PYTHON" "$E2E/clients/load.py" "$(bootstrap external)" "${2:-orders}" "$RUN/$name.report" "${@:3}"
  wait_for 60 "a load" load_moves "$name" 100 || { tail -n 8 "$RUN/$name.log"; brokers_at_a_glance; echo "no load within 60 s: $(tail -n 1 "$RUN/$name.log")"; return 1; }
}

# What stands between a client and the brokers, and what the brokers say, for a failure to be understood.
brokers_at_a_glance() {
  k get pods,endpointslices -o wide
  timeout 20 kcat -b "$(bootstrap external)" -L -t orders
}

load_moves() { [ "$(cut -d' ' -f2 "$RUN/$1.report")" -ge "$2" ]; }

# load_goes_on [NAME]: it has to go on after all that happened, not only to have survived it.
load_goes_on() {
  local name=${1:-load}
  wait_for 60 "the load to go on" load_moves "$name" $(($(cut -d' ' -f2 "$RUN/$name.report") + 500))
}

# The load's own last line: how many records, how many errors.
load_ends() {
  local name=${1:-load} pid
  read -r pid _ < "$RUN/$name.pid"
  kill -TERM "$pid"
  wait_for 120 "the load's end" gone "$pid"
  rm -f "$RUN/$name.pid"
  tail -n 3 "$RUN/$name.log"
  tail -n 1 "$RUN/$name.log" | grep -q ' 0 errors'
}

# The longest that an acknowledgement took, in ms, by that line.
slowest() { sed -nE '$s/.*slowest acknowledgement ([0-9]+) ms.*/\1/p' "$RUN/${1:-load}.log"; }

gone() { ! is_running "$1"; }

# next_topic_ready SECONDS: applies a new Topic now, and says how long it took to become Ready.
next_topic_ready() {
  local name=after-$RANDOM$RANDOM start
  start=$(date +%s%N)
  # An API server that has just come back may refuse the first word.
  wait_for 30 "the API server to take a Topic" topic "$name"
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
  if cluster_is_ours; then
    process_of "$1" "$2"
    kill -9 "$PROCESS"
  else
    kubectl --namespace "$1" delete pod "$2" --force --grace-period=0 > /dev/null
  fi
}

# process_of NAMESPACE POD: its process on this machine, in PROCESS.
process_of() {
  local id node
  id=$(kubectl --namespace "$1" get pod "$2" -o jsonpath='{.status.containerStatuses[0].containerID}')
  node=$(kubectl --namespace "$1" get pod "$2" -o jsonpath='{.spec.nodeName}')
  PROCESS=$(ctr --address "$STATE/$node/containerd.sock" --namespace k8s.io tasks list | awk -v id="${id#containerd://}" '$1 == id { print $2 }')
}

operator_stopped() {
  local before usual
  wait_for 60 "two operators" operators 2
  # What kubectl itself takes here, with an operator that stays.
  next_topic_ready 10
  usual=$TOOK
  load_begins
  before=$(epoch)
  kubectl --namespace "$OPERATOR_NAMESPACE" delete pod "$(active_operator)" --wait=false > /dev/null
  next_topic_ready 10
  epoch_goes_to $((before + 1))
  load_ends
  echo "Ready after $TOOK ms, where it takes $usual ms without a stop, epoch $before to $((before + 1)), $(tail -n 1 "$RUN/load.log")"
  [ "$TOOK" -le $((2000 + usual)) ]
}

operators() { [ "$(kubectl --namespace "$OPERATOR_NAMESPACE" get deployment barnabas-operator -o jsonpath='{.status.readyReplicas}')" = "$1" ]; }

operators_away() {
  wait_for 60 "two operators" operators 2
  load_begins
  kubectl --namespace "$OPERATOR_NAMESPACE" scale deployment barnabas-operator --replicas 0 > /dev/null
  wait_for 90 "no operator" operators ""
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

# --- brokers go away ---

node_of() { k get pod "$1" -o jsonpath='{.spec.nodeName}'; }

# Evicts as kubectl drain does, and says what the API server answers.
evict() {
  k create --raw "/api/v1/namespaces/$NAMESPACE/pods/$1/eviction" -f - 2>&1 <<JSON
{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "$1", "namespace": "$NAMESPACE"}}
JSON
}

cluster_is_whole() {
  wait_for 120 "three Ready brokers" brokers_are_ready 3
  k wait "clusters.barnabas.dev/$CLUSTER" --for=condition=InSync --timeout=120s > /dev/null
  wait_ready "clusters.barnabas.dev/$CLUSTER" 60 > /dev/null
  wait_for 60 "an address of each broker" has_addresses 3
}

has_addresses() { [ "$(bootstrap external | tr ',' '\n' | grep -c ':')" -eq "$1" ]; }

drain() {
  local node said
  cluster_is_whole
  load_begins load orders restarts
  node=$(node_of "$CLUSTER-1")
  kubectl drain "$node" --ignore-daemonsets --delete-emptydir-data --force --timeout=90s > "$RUN/drain.txt" 2>&1 || { tail -n 1 "$RUN/drain.txt"; return 1; }
  grep -q "pod/$CLUSTER-1 evicted" "$RUN/drain.txt"
  # Its volume is of that node, so it waits; and while it is away no other broker may go.
  if said=$(evict "$CLUSTER-0"); then echo "a second broker may go while one is away"; return 1; fi
  echo "$said" | grep -q 'disruption budget' || { echo "$said"; return 1; }
  kubectl uncordon "$node" > /dev/null
  cluster_is_whole
  wait_for 120 "the budget to let one go again" budget_allows 1
  load_goes_on
  load_ends
  # The name server may have been on that node: nobody waits for its next one (a resolver tries again after five seconds).
  [ "$(slowest)" -le 4000 ] || { echo "a gap of $(slowest) ms"; return 1; }
  echo "$node empty and back, $(tail -n 1 "$RUN/load.log")"
}

budget_allows() { [ "$(k get poddisruptionbudget "$CLUSTER" -o jsonpath='{.status.disruptionsAllowed}')" = "$1" ]; }

pod_forced() {
  cluster_is_whole
  load_begins load orders restarts
  k delete pod "$CLUSTER-2" --force --grace-period=0 > /dev/null 2>&1
  cluster_is_whole
  load_goes_on
  load_ends
  [ "$(slowest)" -le 12000 ] || { echo "a gap of $(slowest) ms"; return 1; }
}

# Nobody can register a broker that starts while the API server is away, nor take it out of an in-sync set. What only it holds it serves from
# its disk, and it follows what others lead, in its old registration; what it led waits (METADATA 18).
apiserver_away_and_restart() {
  cluster_is_ours || { echo "not tried: the API server is not ours to stop"; return 0; }
  local restarts="jsonpath={.status.containerStatuses[0].restartCount}" before
  wait_for 60 "two operators" operators 2
  cluster_is_whole
  topic alone $'partitions: 12\n  replicationFactor: 1' > /dev/null
  wait_ready topics.barnabas.dev/alone 60 > /dev/null
  before=$(k get pod "$CLUSTER-1" -o "$restarts")
  load_begins alone alone restarts
  load_begins followed orders restarts not-led-by=1
  process_of "$NAMESPACE" "$CLUSTER-1"
  "$E2E/kubernetes/apiserver.sh" stop
  kill -9 "$PROCESS"
  sleep "$RESTART_OUTAGE" # the outage itself
  "$E2E/kubernetes/apiserver.sh" start
  cluster_is_whole
  next_topic_ready 60
  load_goes_on alone
  load_goes_on followed
  load_ends alone
  load_ends followed
  wait_for 30 "a restart in the pod's status" restarted_since "$before"
  [ "$(slowest alone)" -le 10000 ] && [ "$(slowest followed)" -le 10000 ] || { echo "gaps of $(slowest alone) and $(slowest followed) ms"; return 1; }
  k delete topics.barnabas.dev/alone --timeout=60s > /dev/null
}

restarted_since() { [ "$(k get pod "$CLUSTER-1" -o jsonpath='{.status.containerStatuses[0].restartCount}')" -gt "$1" ]; }

# What restoring an old backup of etcd does to a cluster: the log is made anew from what the brokers know.
log_regressed() {
  local before log=metadatalogs.barnabas.dev/$CLUSTER
  cluster_is_whole
  load_begins
  before=$(epoch)
  backup "$log" > "$RUN/older.json"
  topic between > /dev/null
  wait_ready topics.barnabas.dev/between 60 > /dev/null
  k replace --force -f "$RUN/older.json" > /dev/null
  # The controller finds out with its next append, here for this topic.
  topic decided-later > /dev/null
  wait_for 90 "an epoch above all that was seen" epoch_is_at_least $((before + 1048576))
  wait_ready topics.barnabas.dev/decided-later 60 > /dev/null
  next_topic_ready 60
  load_ends
  echo "epoch $before to $(epoch), $(tail -n 1 "$RUN/load.log")"
  k delete topics.barnabas.dev/decided-later topics.barnabas.dev/between --timeout=60s > /dev/null
  wait_for 30 "the end of the condition" nothing_regressed
}

nothing_regressed() {
  local status
  status=$(k get "clusters.barnabas.dev/$CLUSTER" -o jsonpath='{.status.conditions[?(@.type=="MetadataRegressed")].status}') && [ "$status" != True ]
}

# backup OBJECT: it, without what the API server writes.
backup() {
  k get "$1" -o json | python3 -c '
import json, sys
object = json.load(sys.stdin)
for key in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
    object["metadata"].pop(key, None)
print(json.dumps(object))'
}

# --- everything goes, and comes back ---

digest() { kcat -b "$(bootstrap external)" -C -t orders -o beginning -e -q -f '%p %o %s\n' | sort | sha256sum; }

# in_time COMMAND...: uninstalling never hangs.
in_time() { timeout 120 "$@" || { echo "not done within 120 s: $*"; return 1; }; }

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

# After an outage of the API server, Kubernetes' own garbage collector takes about as long again before it deletes what
# lost its owner (its informers back off, and it rediscovers the API every 30 s), whoever the owner was. What follows is about us:
# an owner and a dependent that we have no part in say when the collector is back.
collector_is_back() {
  local uid
  k create configmap collected-owner > /dev/null
  uid=$(k get configmap collected-owner -o jsonpath='{.metadata.uid}')
  k apply -f - > /dev/null <<YAML
apiVersion: v1
kind: ConfigMap
metadata:
  name: collected-dependent
  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: collected-owner, uid: $uid}]
YAML
  k delete configmap collected-owner > /dev/null
  wait_for $((OUTAGE * 2 + 60)) "the garbage collector of Kubernetes" no_dependent
}
no_dependent() {
  local found
  found=$(k get configmap collected-dependent --ignore-not-found -o name) && [ -z "$found" ]
}

# Nothing of the cluster runs any more, so what comes back comes from disk.
nothing_runs() {
  local pods
  pods=$(k get pods -l "barnabas.dev/cluster=$CLUSTER" -o name) && [ -z "$pods" ]
}

uninstall_cluster_first() {
  local before
  before=$(digest)
  collector_is_back
  in_time helm uninstall "$CLUSTER" --namespace "$NAMESPACE" > /dev/null
  wait_for 120 "the brokers' end" nothing_runs
  in_time helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" > /dev/null
  back_again "$before"
}

uninstall_operator_first() {
  local before
  before=$(digest)
  in_time helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" > /dev/null
  in_time helm uninstall "$CLUSTER" --namespace "$NAMESPACE" > /dev/null
  wait_for 120 "the brokers' end" nothing_runs
  back_again "$before"
}

delete_cluster_then_topics() {
  local before
  before=$(digest)
  in_time kubectl --namespace "$NAMESPACE" delete clusters.barnabas.dev "$CLUSTER" > /dev/null
  in_time kubectl --namespace "$NAMESPACE" delete topics.barnabas.dev --all > /dev/null
  wait_for 120 "the brokers' end" nothing_runs
  in_time helm uninstall "$CLUSTER" --namespace "$NAMESPACE" > /dev/null
  in_time helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" > /dev/null
  back_again "$before"
}

topic_deletion() {
  local bootstrap
  bootstrap=$(bootstrap external)
  topic goes 'partitions: 1' > /dev/null
  topic stays 'deletionPolicy: Retain' > /dev/null
  wait_ready topics.barnabas.dev/goes 60 > /dev/null
  wait_ready topics.barnabas.dev/stays 60 > /dev/null
  echo kept | kcat -b "$bootstrap" -P -t stays -p 0
  in_time kubectl --namespace "$NAMESPACE" delete topics.barnabas.dev goes stays > /dev/null
  wait_for 60 "the end of topic goes" topic_is_gone goes
  topic stays 'deletionPolicy: Retain' > /dev/null
  wait_ready topics.barnabas.dev/stays 60 > /dev/null
  [ "$(kcat -b "$bootstrap" -C -t stays -p 0 -o beginning -e -q)" = kept ] || { echo "what was retained is gone"; return 1; }
}

topic_is_gone() {
  local all
  all=$(kcat -b "$(bootstrap external)" -L -J) && [[ "$all" != *"\"topic\":\"$1\""* ]]
}

main
