#!/usr/bin/env bash
# apiserver.sh stop|start: takes the local cluster's API server away, or brings it back, while everything else goes on.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/lib.sh"
source "$HERE/control-plane.sh"

case ${1:-} in
  # KILL: told to end, it would first wait for each open watch.
  stop) stop apiserver KILL ;;
  start) start_apiserver ;;
  *) die "usage: apiserver.sh stop|start" ;;
esac
