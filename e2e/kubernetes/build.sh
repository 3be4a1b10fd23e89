#!/usr/bin/env bash
# build.sh [helm]: builds Kubernetes, helm and coredns from Go modules into the cache: about 6 minutes cold on 2 cores, nothing when they are there.
# With `helm`, only that. Prints the folder that holds the programs.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

main() {
  if [ "${1:-}" = helm ]; then
    [ -x "$PROGRAMS/helm" ] || helm >&2
  elif [ ! -e "$PROGRAMS/complete" ]; then
    build >&2
  fi
  say "$PROGRAMS"
}

build() {
  command -v gcc > /dev/null || debian_packages gcc libc6-dev
  go_is_here
  mkdir -p "$PROGRAMS"
  kubernetes
  [ -x "$PROGRAMS/helm" ] || helm
  say "building coredns $COREDNS_VERSION"
  (cd "$REPOSITORY/e2e/kubernetes/coredns" && go build -ldflags '-s -w' -o "$PROGRAMS/coredns" .)
  gcc -static -O2 -o "$PROGRAMS/pause" "$REPOSITORY/e2e/kubernetes/components/pause.c"
  # Written last, so that an interrupted build is not taken for a whole one.
  touch "$PROGRAMS/complete"
}

helm() {
  local stamp=helm.sh/helm/v3/pkg
  go_is_here
  mkdir -p "$PROGRAMS"
  say "building helm $HELM_VERSION"
  # Without the stamps, `helm template` and `helm lint` think of a Kubernetes 1.20.
  GOBIN=$PROGRAMS go install \
    -ldflags "-s -w -X $stamp/chartutil.k8sVersionMajor=1 -X $stamp/chartutil.k8sVersionMinor=34 -X $stamp/lint/rules.k8sVersionMajor=1 -X $stamp/lint/rules.k8sVersionMinor=34" \
    "helm.sh/helm/v3/cmd/helm@v$HELM_VERSION"
}

kubernetes() {
  local program stamp=k8s.io/component-base/version
  say "building Kubernetes $KUBERNETES_VERSION"
  (
    cd "$REPOSITORY/e2e/kubernetes/components"
    go build -ldflags "-s -w -X $stamp.gitVersion=v$KUBERNETES_VERSION -X $stamp.gitMajor=1 -X $stamp.gitMinor=34" -o "$PROGRAMS/kubernetes" .
  )
  for program in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
    ln -sf kubernetes "$PROGRAMS/$program"
  done
}

main "$@"
