# Sourced by up.sh, hollow.sh and apiserver.sh: etcd, the API server, the controllers and the scheduler.
# shellcheck shell=bash

control_plane() {
  start_etcd
  start_apiserver
  start_controllers
  start scheduler "$PROGRAMS/kube-scheduler" --kubeconfig "$STATE/scheduler.kubeconfig" --leader-elect=false --secure-port 0
}

# start_etcd OPTION...
start_etcd() {
  local client=http://127.0.0.1:$ETCD_PORT peer=http://127.0.0.1:$ETCD_PEER_PORT
  start etcd etcd --data-dir "$STATE/etcd" --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" "$@"
}

# start_controllers OPTION...
start_controllers() {
  start controller-manager "$PROGRAMS/kube-controller-manager" --kubeconfig "$STATE/controller-manager.kubeconfig" --leader-elect=false \
    --secure-port 0 --use-service-account-credentials --service-account-private-key-file "$STATE/service-account.key" \
    --root-ca-file "$STATE/ca.crt" --cluster-signing-cert-file "$STATE/ca.crt" --cluster-signing-key-file "$STATE/ca.key" "$@"
}

# start_apiserver OPTION...
start_apiserver() {
  start apiserver "$PROGRAMS/kube-apiserver" --etcd-servers "http://127.0.0.1:$ETCD_PORT" --bind-address "$CONTROL_PLANE_ADDRESS" \
    --advertise-address "$CONTROL_PLANE_ADDRESS" --secure-port "$API_PORT" --service-cluster-ip-range "$SERVICE_RANGE" --allow-privileged \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --client-ca-file "$STATE/ca.crt" \
    --tls-cert-file "$STATE/apiserver.crt" --tls-private-key-file "$STATE/apiserver.key" \
    --kubelet-client-certificate "$STATE/kubelet-client.crt" --kubelet-client-key "$STATE/kubelet-client.key" \
    --kubelet-certificate-authority "$STATE/ca.crt" --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc.cluster.local --service-account-key-file "$STATE/service-account.pub" \
    --service-account-signing-key-file "$STATE/service-account.key" "$@"
  wait_for 60 "the API server (see $STATE/apiserver.log)" "$PROGRAMS/kubectl" --kubeconfig "$STATE/admin.kubeconfig" get --raw /readyz
  export KUBECONFIG=$STATE/admin.kubeconfig
}
