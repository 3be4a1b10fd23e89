#!/usr/bin/env bash
# assemble.sh VERSION FOLDER: beside what build.sh made on each architecture, what is the same for all: both charts, the definitions, the rendered operator,
# and the checksums of everything.
#   IMAGE_REGISTRY   registry and path that the charts and the manifests name
set -euo pipefail
source "$(dirname "$0")/lib.sh"

VERSION=${1:?a version}
OUTPUT=$(cd "${2:?a folder}" && pwd)
: "${IMAGE_REGISTRY:?registry and path of the images}"
HELM=$("$REPOSITORY/e2e/kubernetes/build.sh" helm)/helm

main() {
  is_the_version "$VERSION"
  local chart
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
  for chart in barnabas-operator barnabas-cluster; do
    stage "$chart"
    "$HELM" package "$WORK/$chart" --version "$VERSION" --app-version "$VERSION" --destination "$OUTPUT" > /dev/null
  done
  definitions > "$OUTPUT/barnabas-crds.yaml"
  # For those without Helm; hooks, which would be applied with the rest, are Helm's own.
  { namespace; "$HELM" template barnabas "$OUTPUT/barnabas-operator-$VERSION.tgz" --namespace barnabas-system --no-hooks; } > "$OUTPUT/barnabas-operator.yaml"
  cp "$REPOSITORY/charts/barnabas-operator/files/alerts.yaml" "$OUTPUT/barnabas-alerts.yaml"
  cp "$REPOSITORY/charts/barnabas-operator/files/dashboard.json" "$OUTPUT/barnabas-dashboard.json"
  (cd "$OUTPUT" && rm -f SHA256SUMS && find . -type f ! -name 'image-*' ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum > SHA256SUMS)
}

# The chart as it is released: with the images of the release instead of a developer's.
stage() {
  cp -r "$REPOSITORY/charts/$1" "$WORK/$1"
  sed -i -e "s,localhost/barnabas-,$IMAGE_REGISTRY/barnabas-,; s/^\( *\)tag: dev\$/\1tag: \"$VERSION\"/" "$WORK/$1/values.yaml"
  if grep -nE 'localhost|tag: dev' "$WORK/$1/values.yaml"; then die "$1: an image of a developer is left in the values"; fi
}

definitions() {
  local file
  for file in "$REPOSITORY"/charts/barnabas-operator/crds/*.yaml; do
    say ---
    cat "$file"
  done
}

namespace() {
  cat <<YAML
apiVersion: v1
kind: Namespace
metadata:
  name: barnabas-system
  labels: {pod-security.kubernetes.io/enforce: restricted}
YAML
}

main
