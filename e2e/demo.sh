#!/usr/bin/env bash
# demo.sh [down]: a real Kubernetes (the one of KUBECONFIG, else three nodes on this machine), both charts, Topics, messages, metrics, e-mails.
set -euo pipefail
source "$(dirname "$0")/barnabas.sh"

main() {
  if [ "${1:-}" = down ]; then
    down
    return
  fi
  if [ -z "${KUBECONFIG:-}" ] && [ "$(id -u)" != 0 ]; then
    die "make demo needs a Kubernetes: set KUBECONFIG, or run it as root to get three nodes on this machine"
  fi

  step "Kubernetes"
  use_cluster
  kubectl get nodes -o custom-columns='NODE:.metadata.name,VERSION:.status.nodeInfo.kubeletVersion,ZONE:.metadata.labels.topology\.kubernetes\.io/zone'

  step "Images"
  images

  step "helm install: the operator, then a cluster of three brokers with its topics"
  install_operator
  local since=$SECONDS
  install_cluster
  wait_ready "clusters.barnabas.dev/$CLUSTER" 120 > /dev/null
  say "the cluster is Ready after $((SECONDS - since)) s"
  wait_ready topics.barnabas.dev/orders 60 > /dev/null
  wait_ready topics.barnabas.dev/mail 60 > /dev/null

  step "A Topic by kubectl apply"
  k apply -f - <<YAML
apiVersion: barnabas.dev/v1alpha1
kind: Topic
metadata: {name: letters}
spec: {clusterRef: {name: $CLUSTER}, partitions: 3}
YAML
  wait_ready topics.barnabas.dev/letters 60 > /dev/null
  # A node's port answers a moment after its Service is there, which is kube-proxy's to do.
  wait_for 10 "the node ports" kcat -b "$(bootstrap external)" -L -m 2
  say "leaders of the 12 partitions of orders, by broker: $(leaders orders)"

  step "kcat: a message from a pod, read outside; a message from outside, read in a pod"
  client_pod
  echo "from a pod" | in_pod kcat -b "$CLUSTER-bootstrap:9092" -P -t letters -p 0
  kcat -b "$(bootstrap external)" -C -t letters -p 0 -o -1 -c 1 -q
  echo "from outside" | kcat -b "$(bootstrap external)" -P -t letters -p 1
  in_pod kcat -b "$CLUSTER-bootstrap:9092" -C -t letters -p 1 -o -1 -c 1 -q

  step "examples/mail: 200 e-mails with attachments"
  mail_round_trip 200
  "$BARNABAS_BIN/mail" read --bootstrap "$(bootstrap external)" --out "$RUN/mail/again" | tail -n 3

  step "Prometheus: kafka_server_brokertopicmetrics_messagesin_total"
  prometheus_up
  wait_for 30 "three scraped brokers" three_are_scraped
  say "messages taken in, all brokers: $(prometheus_query 'sum(kafka_server_brokertopicmetrics_messagesin_total{topic=""})')"

  step "What kubectl shows"
  k get clusters.barnabas.dev -o wide
  k get topics.barnabas.dev -o wide
  k get pods,persistentvolumeclaims
  k get leases.coordination.k8s.io

  say
  say "It goes on running. Look around with:  export KUBECONFIG=$KUBECONFIG PATH=$(dirname "$(command -v helm)"):\$PATH"
  say "Clients outside begin with $(bootstrap external). Prometheus: http://$(cat "$RUN/prometheus.address")"
  say "Stop it with:  make demo-down"
}

step() { printf '\n== %s\n' "$*"; }

three_are_scraped() { [ "$(prometheus_query 'count(kafka_server_brokertopicmetrics_messagesin_total{topic=""} > 0)')" -ge 1 ] && [ "$(prometheus_query 'sum(up{job="barnabas"})')" = 3 ]; }

down() {
  prometheus_down
  if [ -z "${KUBECONFIG:-}" ] || [ "$KUBECONFIG" = "$STATE/admin.kubeconfig" ]; then
    "$E2E/kubernetes/down.sh"
  else
    PATH=$("$E2E/kubernetes/build.sh"):$PATH
    helm uninstall "$CLUSTER" --namespace "$NAMESPACE" --ignore-not-found
    k delete topics.barnabas.dev --all
    k delete pod client --ignore-not-found
    helm uninstall barnabas --namespace "$OPERATOR_NAMESPACE" --ignore-not-found
    say "volumes and metadata of the cluster are kept: kubectl --namespace $NAMESPACE get persistentvolumeclaims"
  fi
  rm -rf "$RUN"
  say "the demo is gone"
}

main "$@"
