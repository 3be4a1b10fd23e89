# Sourced by the scripts of this folder: where things are, and a few words they share.
# shellcheck shell=bash

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${BARNABAS_CACHE:-$REPOSITORY/.cache}

# Of Kubernetes and CoreDNS also in the go.mod of components and of coredns.
KUBERNETES_VERSION=1.34.4
HELM_VERSION=3.18.6
COREDNS_VERSION=1.12.4

# The programs of one set of versions live in one folder, so a changed version or source builds beside the old one.
PROGRAMS=$CACHE/kubernetes/$KUBERNETES_VERSION-helm$HELM_VERSION-coredns$COREDNS_VERSION-$(
  cd "$REPOSITORY/e2e/kubernetes" && cat components/{main.go,go.mod,pause.c} coredns/{main.go,go.mod} | sha256sum | cut -c1-8
)

# The state of the one local cluster: certificates, etcd, containers, logs, volumes.
STATE=${BARNABAS_KUBERNETES_STATE:-/tmp/barnabas-kubernetes}

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# wait_for SECONDS WHAT COMMAND...: runs the command until it succeeds.
wait_for() {
  local seconds=$1 what=$2 deadline
  shift 2
  deadline=$((SECONDS + seconds))
  until "$@" > /dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { printf 'waited %s s in vain for %s\n' "$seconds" "$what" >&2; return 1; }
    sleep 0.2
  done
}

# debian_packages PACKAGE...: installs the ones that are missing.
debian_packages() {
  local missing=() package
  for package; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get > /dev/null || die "these packages are needed, and there is no apt-get to install them: ${missing[*]}"
  [ "$(id -u)" = 0 ] || die "these packages are needed, and only root may install them: ${missing[*]}"
  say "installing ${missing[*]}"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } > /tmp/barnabas-apt.log 2>&1 \
    || { tail -5 /tmp/barnabas-apt.log >&2; die "apt-get could not install ${missing[*]}"; }
}

go_is_here() {
  command -v go > /dev/null || debian_packages golang-go
  export GOFLAGS="-buildvcs=false -trimpath" CGO_ENABLED=0
}

# go_tool MODULE VERSION: a program from the Go modules, built once; prints its path.
go_tool() {
  local name=${1##*/} folder
  folder=$CACHE/go-tools/$name-$2
  if [ ! -x "$folder/$name" ]; then
    go_is_here
    mkdir -p "$folder"
    GOBIN=$folder go install -ldflags '-s -w' "$1@v$2" >&2
  fi
  say "$folder/$name"
}

# The cluster's addresses: everything lies on one bridge of this machine.
BRIDGE=barnabas0
CONTROL_PLANE_ADDRESS=10.88.0.1
API_PORT=6443
ETCD_PORT=23790
ETCD_PEER_PORT=23800
SERVICE_RANGE=10.96.0.0/16
POD_RANGE=10.88.0.0/16
DNS_ADDRESS=10.96.0.10
node_address() { printf '10.88.0.1%s' "$1"; }

# start NAME PROGRAM...: runs a program apart from this shell; its log and process id are NAME.log and NAME.pid in $RUN, else $STATE.
start() {
  local name=${RUN:-$STATE}/$1
  shift
  setsid "$@" >> "$name.log" 2>&1 < /dev/null &
  printf '%s %s\n' "$!" "$1" > "$name.pid"
}

# stop NAME [SIGNAL]: ends what `start` began, if the process is still that program, and waits until it is gone.
stop() {
  local name=${RUN:-$STATE}/$1 signal=${2:-TERM} pid program attempt
  [ -e "$name.pid" ] || return 0
  read -r pid program < "$name.pid"
  if tr '\0' '\n' < "/proc/$pid/cmdline" 2> /dev/null | grep -qxF -- "$program"; then
    kill -s "$signal" "$pid" 2> /dev/null || true
    for attempt in $(seq 50); do
      is_running "$pid" || break
      [ "$attempt" -lt 50 ] || kill -s KILL "$pid" 2> /dev/null || true
      sleep 0.1
    done
  fi
  rm -f "$name.pid"
}

# is_running PID: a zombie has ended, however late its parent looks.
is_running() { grep -q '^State:.[^Z]' "/proc/$1/status" 2> /dev/null; }
