#!/usr/bin/env bash
# up.sh: a Kubernetes of three nodes on this machine, for tests. Prints its KUBECONFIG; nothing to do when it is already up.
# It is a real one (API server, scheduler, kubelets, containers), on one kernel, and binds loopback and its own bridge only.
# `BARNABAS_KUBERNETES_STATE` names the folder that holds everything it writes; `down.sh` takes it all away again.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/lib.sh"
source "$HERE/certificates.sh"
source "$HERE/control-plane.sh"
source "$HERE/node.sh"
source "$HERE/addons.sh"

NODES=3

main() {
  if [ -e "$STATE/up" ] && "$PROGRAMS/kubectl" --kubeconfig "$STATE/admin.kubeconfig" get --raw /readyz > /dev/null 2>&1; then
    say "$STATE/admin.kubeconfig"
    return
  fi
  up >&2
  say "$STATE/admin.kubeconfig"
}

up() {
  [ "$(id -u)" = 0 ] || die "a local Kubernetes needs root (containers, a bridge, mounts); set KUBECONFIG to use a cluster that you have"
  debian_packages etcd-server containerd runc containernetworking-plugins iptables nftables conntrack iproute2 openssl
  "$HERE/build.sh" > /dev/null
  export PATH=$PROGRAMS:$PATH
  "$HERE/down.sh" # what an interrupted run has left
  mkdir -p "$STATE"

  bridge
  certificates
  control_plane
  for number in $(seq "$NODES"); do
    node "$number"
  done
  kube_proxy
  addons
  wait_for 90 "$NODES nodes to be Ready" nodes_are_ready
  wait_for 60 "the cluster's DNS" dns_is_ready
  touch "$STATE/up"
  say "$NODES nodes are Ready"
}

# All nodes, pods and the control plane talk over this one bridge. Each node has its own address on it.
bridge() {
  sysctl -n net.ipv4.ip_forward > "$STATE/ip_forward.before"
  sysctl -qw net.ipv4.ip_forward=1
  # Traffic between two pods on one bridge passes the Service rules only so.
  sysctl -qw net.bridge.bridge-nf-call-iptables=1 2> /dev/null || { modprobe br_netfilter && sysctl -qw net.bridge.bridge-nf-call-iptables=1; }
  ip link add "$BRIDGE" type bridge
  ip address add "$CONTROL_PLANE_ADDRESS/16" dev "$BRIDGE"
  for number in $(seq "$NODES"); do
    ip address add "$(node_address "$number")/16" dev "$BRIDGE"
  done
  ip link set "$BRIDGE" up
}

nodes_are_ready() {
  [ "$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" = "$NODES" ]
}

main
