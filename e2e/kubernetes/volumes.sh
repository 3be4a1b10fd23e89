#!/usr/bin/env bash
# volumes.sh: makes a PersistentVolume for each claim of class `local` once the scheduler has chosen a node for its pod. Runs until it is ended.
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/lib.sh"
export KUBECONFIG=$STATE/admin.kubeconfig

CLAIM='{.metadata.namespace} {.metadata.name} {.metadata.uid} {.spec.resources.requests.storage} {.spec.storageClassName} {.metadata.annotations.volume\.kubernetes\.io/selected-node} {.spec.volumeName}{"\n"}'

main() {
  # The watch ends with the API server's process; a new one begins with all claims there are.
  while true; do
    "$PROGRAMS/kubectl" get persistentvolumeclaims --all-namespaces --watch --output jsonpath="$CLAIM" | while read -r claim; do
      # shellcheck disable=SC2086 # seven words, none of which may contain a blank
      provision $claim
    done
    sleep 1
  done
}

# provision NAMESPACE NAME UID SIZE CLASS [NODE [VOLUME]]
provision() {
  local namespace=$1 name=$2 uid=$3 size=$4 class=$5 node=${6:-} volume=${7:-}
  [ "$class" = local ] && [ -n "$node" ] && [ -z "$volume" ] || return 0
  local folder=$STATE/$node/volumes/$namespace-$name-$uid
  mkdir -p "$folder"
  # `local`, not `hostPath`: the kubelet gives its files to the pod's fsGroup, so that a broker need not be root.
  "$PROGRAMS/kubectl" apply -f - <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: local-$uid}
spec:
  capacity: {storage: $size}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: local
  claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: $namespace, name: $name, uid: $uid}
  local: {path: $folder}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$node]}]
YAML
}

main
