#!/usr/bin/env bash
# build.sh [broker] [operator] [client]: builds the images (all of them when none is named), loads them into the nodes of the local Kubernetes
# if it is up, and pushes them when IMAGE_REGISTRY is set. Needs no Docker but for a push (docker or skopeo).
#   IMAGE_REGISTRY   registry and path to push to, and the names' prefix; without it the names begin with localhost/
#   IMAGE_TAG        dev
#   BARNABAS_BIN     folder with static `broker` and `operator` to take; without it they are built
#   BARNABAS_PROFILE release: the cargo profile they are then built with
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/../kubernetes/lib.sh"

PREFIX=${IMAGE_REGISTRY:-localhost}
TAG=${IMAGE_TAG:-dev}
PROFILE=${BARNABAS_PROFILE:-release}
TRIPLE=$(uname -m)-unknown-linux-gnu
case $(uname -m) in aarch64) ARCHITECTURE=arm64 ;; *) ARCHITECTURE=amd64 ;; esac
TARGET=${CARGO_TARGET_DIR:-$REPOSITORY/target}
OUTPUT=$CACHE/images

main() {
  local image images=("$@") programs=()
  [ ${#images[@]} -gt 0 ] || images=(broker operator client)
  command -v python3 > /dev/null || debian_packages python3
  mkdir -p "$OUTPUT"
  for image in "${images[@]}"; do
    case $image in
      broker | operator) programs+=(--package "$image") ;;
      client) ;;
      *) die "there is no image $image; there are broker, operator and client" ;;
    esac
  done
  [ ${#programs[@]} -eq 0 ] || compile "${programs[@]}"
  for image in "${images[@]}"; do
    "pack_$image"
    load "$image"
    push "$image"
  done
}

# Static, with the C library inside: such a program runs in an image that holds nothing else.
compile() {
  [ -z "${BARNABAS_BIN:-}" ] || return 0
  RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --locked --manifest-path "$REPOSITORY/Cargo.toml" \
    --profile "$PROFILE" --target "$TRIPLE" --target-dir "$TARGET" --bins "$@"
}

# Standalone, a broker keeps its data in ./data: a volume of Docker that is mounted there is the user's own.
pack_broker() { pack_program broker --folder data; }
pack_operator() { pack_program operator; }

pack_program() {
  # 65532: the number that images without a user list call `nonroot`; it passes Kubernetes' restricted Pod Security Standard.
  # --libraries: a static program has none; a debug build that someone puts into BARNABAS_BIN brings its own.
  local program=$1
  shift
  "$HERE/pack.py" --output "$(file_of "$program")" --name "$(name_of "$program")" "$@" --architecture "$ARCHITECTURE" --user 65532:65532 --libraries --entrypoint "/$program" \
    "${BARNABAS_BIN:-$TARGET/$TRIPLE/$PROFILE}/$program=/$program"
}

# What a person has in a pod to look around: kcat, and a shell.
pack_client() {
  debian_packages kcat busybox-static
  "$HERE/pack.py" --output "$(file_of client)" --name "$(name_of client)" --architecture "$ARCHITECTURE" --user 65532:65532 --libraries --entrypoint=/bin/sh --entrypoint=-c \
    --link bin/sh=busybox --link bin/sleep=busybox --link bin/cat=busybox --link bin/seq=busybox --link bin/wget=busybox --link bin/nslookup=busybox \
    "$(command -v kcat)=/bin/kcat" /bin/busybox=/bin/busybox
}

load() {
  local socket
  for socket in "$STATE"/node?/containerd.sock; do
    [ -S "$socket" ] || continue
    ctr --address "$socket" --namespace k8s.io images import "$(file_of "$1")" > /dev/null
  done
  say "$(name_of "$1"): $(du -h --apparent-size "$(file_of "$1")" | cut -f1)"
}

push() {
  [ -n "${IMAGE_REGISTRY:-}" ] || return 0
  if command -v skopeo > /dev/null; then
    skopeo copy --quiet "docker-archive:$(file_of "$1")" "docker://$(name_of "$1")"
  elif docker info > /dev/null 2>&1; then
    docker load --quiet --input "$(file_of "$1")" && docker push --quiet "$(name_of "$1")"
  else
    die "IMAGE_REGISTRY is $IMAGE_REGISTRY, and a push needs skopeo (apt-get install skopeo) or a running Docker; neither is here"
  fi
}

file_of() { printf '%s/barnabas-%s.tar' "$OUTPUT" "$1"; }
name_of() { printf '%s/barnabas-%s:%s' "$PREFIX" "$1" "$TAG"; }

main "$@"
