#!/usr/bin/env bash
# down.sh: ends the local cluster and takes away all that up.sh made: processes, containers, mounts, cgroups, rules, bridge, files.
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/lib.sh"

main() {
  [ -d "$STATE" ] || return 0
  [ "$(id -u)" = 0 ] || die "only root can take the local Kubernetes down"
  local node
  stop volumes
  # The kubelets go before their containers, or they would start them again.
  for node in "$STATE"/node?; do stop "$(basename "$node")/kubelet"; done
  for node in "$STATE"/node?; do containers "$node" & done
  wait
  for node in "$STATE"/node?; do stop "$(basename "$node")/containerd"; done
  shims
  stop kube-proxy
  stop scheduler
  stop controller-manager
  stop apiserver KILL
  stop etcd
  mounts
  cgroups
  rules
  rm -f /var/lib/cni/results/barnabas-node*
  find /var/log/containers -maxdepth 1 -type l -lname "$STATE/*" -delete 2> /dev/null
  rm -rf "$STATE"
}

containers() {
  [ -S "$1/containerd.sock" ] || return 0
  local ctr=(ctr --address "$1/containerd.sock" --namespace k8s.io) task
  for task in $(timeout 10 "${ctr[@]}" tasks list --quiet 2> /dev/null); do
    timeout 10 "${ctr[@]}" tasks delete --force "$task" > /dev/null 2>&1 &
  done
  wait
}

# A shim outlives its containerd, by design. Ours are told apart by the socket they were given.
shims() {
  local process
  for process in /proc/[0-9]*; do
    # Processes come and go meanwhile.
    if { tr '\0' ' ' < "$process/cmdline"; } 2> /dev/null | grep -q "^[^ ]*containerd-shim.* -address $STATE/"; then
      kill -s KILL "${process#/proc/}" 2> /dev/null
    fi
  done
}

mounts() {
  local mount
  awk -v prefix="$STATE/" 'index($2, prefix) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
    umount --lazy "$mount"
  done
}

cgroups() {
  local group
  for group in $(find /sys/fs/cgroup -depth -type d -path '/sys/fs/cgroup/*/barnabas-node*' 2> /dev/null); do
    rmdir "$group" 2> /dev/null
  done
}

rules() {
  nft delete table ip kube-proxy 2> /dev/null
  nft delete table ip6 kube-proxy 2> /dev/null
  ip link delete "$BRIDGE" 2> /dev/null
  [ ! -s "$STATE/ip_forward.before" ] || sysctl -qw "net.ipv4.ip_forward=$(cat "$STATE/ip_forward.before")"
}

main
exit 0
