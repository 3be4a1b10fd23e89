#!/usr/bin/env bash
# publish.sh VERSION FOLDER: pushes the images of all architectures under one tag, and both charts, to a registry. `helm registry login` and
# `crane auth login`, or what docker login left, give it the right to.
#   IMAGE_REGISTRY   registry and path
#   PLAIN_HTTP       set: the registry has no TLS
set -euo pipefail
source "$(dirname "$0")/lib.sh"

VERSION=${1:?a version}
OUTPUT=$(cd "${2:?a folder}" && pwd)
: "${IMAGE_REGISTRY:?registry and path of the images}"
HELM=$("$REPOSITORY/e2e/kubernetes/build.sh" helm)/helm

main() {
  local program
  (cd "$OUTPUT" && sha256sum --check --quiet SHA256SUMS)
  for program in "${RELEASED[@]}"; do
    images "$IMAGE_REGISTRY/barnabas-$program" "image-barnabas-$program-$VERSION"
  done
  "$HELM" push "$OUTPUT/barnabas-operator-$VERSION.tgz" "oci://$IMAGE_REGISTRY/charts" ${PLAIN_HTTP:+--plain-http}
  "$HELM" push "$OUTPUT/barnabas-cluster-$VERSION.tgz" "oci://$IMAGE_REGISTRY/charts" ${PLAIN_HTTP:+--plain-http}
}

# images NAME PREFIX: one image for each architecture, and one name for all of them.
images() {
  local file parts=()
  for file in "$OUTPUT/$2"-*.tar; do
    parts+=(--manifest "$(crane push ${PLAIN_HTTP:+--insecure} "$file" "$1:$VERSION-$(basename "${file##*-}" .tar)")")
  done
  crane index append ${PLAIN_HTTP:+--insecure} "${parts[@]}" --tag "$1:$VERSION"
}

main
