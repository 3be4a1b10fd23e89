# Sourced by up.sh: the cluster's DNS, and volumes for claims.
# shellcheck shell=bash

addons() {
  "$REPOSITORY/e2e/images/pack.py" --output "$STATE/coredns.tar" --name "localhost/coredns:$COREDNS_VERSION" --entrypoint /coredns \
    "$PROGRAMS/coredns=/coredns"
  for number in $(seq "$NODES"); do
    ctr --address "$STATE/node$number/containerd.sock" --namespace k8s.io images import "$STATE/coredns.tar" > /dev/null
  done
  sed -e "s/@DNS_ADDRESS@/$DNS_ADDRESS/" -e "s/@COREDNS_VERSION@/$COREDNS_VERSION/" "$REPOSITORY/e2e/kubernetes/addons/dns.yaml" | kubectl apply -f - > /dev/null
  kubectl apply -f "$REPOSITORY/e2e/kubernetes/addons/storage.yaml" > /dev/null
  start volumes "$REPOSITORY/e2e/kubernetes/volumes.sh"
}

dns_is_ready() {
  [ "$(kubectl --namespace kube-system get deployment coredns -o jsonpath='{.status.readyReplicas}')" = 1 ]
}
