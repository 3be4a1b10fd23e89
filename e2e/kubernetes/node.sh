# Sourced by up.sh: one node, that is a containerd, a kubelet and their corner of the machine; and the one kube-proxy that serves all nodes.
# Nodes share the kernel, so each needs its own address, cgroup, socket, folder and range of pod addresses.
# shellcheck shell=bash

node() {
  local number=$1 name=node$1 folder=$STATE/node$1
  mkdir -p "$folder/cni"
  containerd_config "$folder" > "$folder/containerd.toml"
  cni_config "$number" > "$folder/cni/10-bridge.conflist"
  kubelet_config "$number" > "$folder/kubelet.yaml"
  (
    cd "$STATE"
    identity "$name" "/O=system:nodes/CN=system:node:$name"
    certificate "$name-serving" "/O=system:nodes/CN=system:node:$name" "subjectAltName=DNS:$name,IP:$(node_address "$number")"
  )
  cgroup "$name"
  : > "$STATE/resolv.conf" # nothing outside the cluster can be resolved

  start "$name/containerd" containerd --config "$folder/containerd.toml"
  wait_for 30 "containerd of $name (see $folder/containerd.log)" ctr --address "$folder/containerd.sock" version
  "$REPOSITORY/e2e/images/pack.py" --output "$STATE/pause.tar" --name localhost/pause:1 --entrypoint /pause "$PROGRAMS/pause=/pause"
  ctr --address "$folder/containerd.sock" --namespace k8s.io images import "$STATE/pause.tar" > /dev/null
  start "$name/kubelet" "$PROGRAMS/kubelet" --config "$folder/kubelet.yaml" --kubeconfig "$STATE/$name.kubeconfig" \
    --hostname-override "$name" --node-ip "$(node_address "$number")" --root-dir "$folder/kubelet" --cert-dir "$folder/certificates" \
    --node-labels "topology.kubernetes.io/zone=zone-$number"
}

containerd_config() {
  cat <<TOML
version = 2
root = "$1/containerd"
state = "$1/run"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]

[grpc]
  address = "$1/containerd.sock"

[ttrpc]
  address = "$1/containerd.sock.ttrpc"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_tcp_service = true
  # A sandboxed root may lack CAP_SYS_RESOURCE; runc would fail to lower a score.
  restrict_oom_score_adj = true
  # Under our own folder, so that taking the cluster down finds every one.
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$1/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
TOML
}

cni_config() {
  cat <<JSON
{
  "cniVersion": "1.0.0",
  "name": "barnabas-node$1",
  "plugins": [{
    "type": "bridge",
    "bridge": "$BRIDGE",
    "hairpinMode": true,
    "ipam": {
      "type": "host-local",
      "dataDir": "$STATE/node$1/addresses",
      "ranges": [[{"subnet": "$POD_RANGE", "rangeStart": "10.88.$1.10", "rangeEnd": "10.88.$1.250", "gateway": "$CONTROL_PLANE_ADDRESS"}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
JSON
}

kubelet_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $(node_address "$1")
healthzBindAddress: $(node_address "$1")
tlsCertFile: $STATE/node$1-serving.crt
tlsPrivateKeyFile: $STATE/node$1-serving.key
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $STATE/ca.crt}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$STATE/node$1/containerd.sock
podLogsDir: $STATE/node$1/logs
cgroupDriver: cgroupfs
cgroupRoot: /barnabas-node$1
failCgroupV1: false
failSwapOn: false
clusterDNS: [$DNS_ADDRESS]
clusterDomain: cluster.local
resolvConf: $STATE/resolv.conf
# The nodes' disk is the developer's own: it may be nearly full, and its images are not ours to collect.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
YAML
}

# On cgroup v1 a new group may run nothing before it has processors and memory nodes.
cgroup() {
  local hierarchy
  [ -d /sys/fs/cgroup/cpuset ] || return 0
  for hierarchy in blkio cpu cpuacct cpuset devices freezer memory pids systemd; do
    [ -d "/sys/fs/cgroup/$hierarchy" ] || continue
    mkdir -p "/sys/fs/cgroup/$hierarchy/barnabas-$1"
  done
  cat /sys/fs/cgroup/cpuset/cpuset.cpus > "/sys/fs/cgroup/cpuset/barnabas-$1/cpuset.cpus"
  cat /sys/fs/cgroup/cpuset/cpuset.mems > "/sys/fs/cgroup/cpuset/barnabas-$1/cpuset.mems"
}

# One for all nodes: they share the kernel's tables. NodePorts answer at each node's address.
kube_proxy() {
  start kube-proxy "$PROGRAMS/kube-proxy" --kubeconfig "$STATE/admin.kubeconfig" --hostname-override node1 --proxy-mode nftables \
    --cluster-cidr "$POD_RANGE" --nodeport-addresses 10.88.0.0/24 --conntrack-max-per-core 0 \
    --healthz-bind-address 127.0.0.1:23756 --metrics-bind-address 127.0.0.1:23749
}
