#!/usr/bin/env bash
# hollow.sh up|down: a Kubernetes without nodes: etcd, the API server and the controllers that make pods of StatefulSets, on free
# ports of loopback. Up in seconds, needs no root. `BARNABAS_KUBERNETES_STATE` names the folder that it writes to; there may be many.
# Prints its KUBECONFIG. e2e/operator runs pods there as processes.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/lib.sh"
source "$HERE/certificates.sh"
source "$HERE/control-plane.sh"
[ -n "${BARNABAS_KUBERNETES_STATE:-}" ] || die "say in BARNABAS_KUBERNETES_STATE where it may write"

up() {
  debian_packages etcd-server openssl
  "$HERE/build.sh" > /dev/null
  mkdir -p "$STATE"
  CONTROL_PLANE_ADDRESS=127.0.0.1
  read -r API_PORT ETCD_PORT ETCD_PEER_PORT < <(free_ports)
  certificates
  start_etcd --unsafe-no-fsync --log-level error
  # Loopback is no endpoint of the Service `kubernetes`, so it gets none.
  start_apiserver --endpoint-reconciler-type=none --audit-policy-file <(audit_policy) --audit-log-path "$STATE/audit.log"
  # No node controller: the nodes are not real, and nobody says that they live.
  start_controllers --controllers statefulset-controller,disruption-controller,garbage-collector-controller,namespace-controller,serviceaccount-controller,persistentvolumeclaim-protection-controller
}

# Three that are free now.
free_ports() {
  PYTHONPATH=$REPOSITORY/e2e/clients python3 -c '
import addresses
ports = set()
while len(ports) < 3:
    ports.add(addresses.free().rpartition(":")[2])
print(*ports)'
}

# Who wrote what.
audit_policy() {
  printf '%s\n' 'apiVersion: audit.k8s.io/v1' 'kind: Policy' 'omitStages: [RequestReceived]' 'rules:' \
    '- {level: None, verbs: [get, list, watch]}' '- {level: Metadata}'
}

down() {
  stop controller-manager
  stop apiserver KILL
  stop etcd
  rm -rf "$STATE"
}

case ${1:-} in
  up) up >&2; say "$STATE/admin.kubeconfig" ;;
  down) down ;;
  *) die "usage: hollow.sh up|down" ;;
esac
