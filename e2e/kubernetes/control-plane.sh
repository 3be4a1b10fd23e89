# Sourced by up.sh and apiserver.sh: etcd, the API server, the controllers and the scheduler.
# shellcheck shell=bash

ETCD=http://127.0.0.1:23790

control_plane() {
  start etcd etcd --data-dir "$STATE/etcd" --listen-client-urls "$ETCD" --advertise-client-urls "$ETCD" \
    --listen-peer-urls http://127.0.0.1:23800 --initial-advertise-peer-urls http://127.0.0.1:23800 --initial-cluster default=http://127.0.0.1:23800
  start_apiserver
  start controller-manager "$PROGRAMS/kube-controller-manager" --kubeconfig "$STATE/controller-manager.kubeconfig" --leader-elect=false \
    --secure-port 0 --use-service-account-credentials --service-account-private-key-file "$STATE/service-account.key" \
    --root-ca-file "$STATE/ca.crt" --cluster-signing-cert-file "$STATE/ca.crt" --cluster-signing-key-file "$STATE/ca.key"
  start scheduler "$PROGRAMS/kube-scheduler" --kubeconfig "$STATE/scheduler.kubeconfig" --leader-elect=false --secure-port 0
}

start_apiserver() {
  start apiserver "$PROGRAMS/kube-apiserver" --etcd-servers "$ETCD" --bind-address "$CONTROL_PLANE_ADDRESS" \
    --advertise-address "$CONTROL_PLANE_ADDRESS" --secure-port 6443 --service-cluster-ip-range "$SERVICE_RANGE" --allow-privileged \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --client-ca-file "$STATE/ca.crt" \
    --tls-cert-file "$STATE/apiserver.crt" --tls-private-key-file "$STATE/apiserver.key" \
    --kubelet-client-certificate "$STATE/kubelet-client.crt" --kubelet-client-key "$STATE/kubelet-client.key" \
    --kubelet-certificate-authority "$STATE/ca.crt" --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc.cluster.local --service-account-key-file "$STATE/service-account.pub" \
    --service-account-signing-key-file "$STATE/service-account.key"
  wait_for 60 "the API server (see $STATE/apiserver.log)" "$PROGRAMS/kubectl" --kubeconfig "$STATE/admin.kubeconfig" get --raw /readyz
  export KUBECONFIG=$STATE/admin.kubeconfig
}
