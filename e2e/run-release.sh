#!/usr/bin/env bash
# run-release.sh: a release as the workflow makes it, from the programs of BARNABAS_BIN. The long form also publishes it to a registry of its own on
# loopback and looks at it from the other end; it builds tools that take minutes.
#   BARNABAS_BIN    folder with the static programs; else they are built
#   BARNABAS_LONG   set: the long form
#   ONLY            a pattern; of the verdicts after the build, only those whose name matches are tried
set -uo pipefail
source "$(dirname "$0")/../release/lib.sh"
E2E=$REPOSITORY/e2e
source "$E2E/verdicts.sh"

ACTIONLINT_VERSION=1.7.7
REGISTRY_VERSION=3.0.0
VERSION=$(workspace_version)
RUN=$(mktemp -d /tmp/barnabas-release.XXXXXX)
DIST=$RUN/dist
# This machine has one architecture. The other image holds the same programs under another name: what is tried with it is that two become one.
OTHER=arm64
[ "$(architecture)" = amd64 ] || OTHER=amd64

main() {
  trap clean_up EXIT
  [ -n "${BARNABAS_LONG:-}" ] || export BARNABAS_BILLS=no
  verdict_or_end "archives and images are built" builds
  verdict_or_end "charts, manifests and checksums are put beside them" assembles
  try "a second build of the same programs gives the same bytes" reproducible
  try "a version that the sources do not have is refused" other_version
  try "an archive holds a program that runs and says its version" archives_run
  try "the packaged charts install the images of their release" charts_name_images
  try "the manifest for kubectl is complete and has no hooks" manifest_is_whole
  if [ "$(id -u)" = 0 ]; then
    try "the broker's image, in its own file system and as its own user, takes a record and gives it back" image_serves
  else
    skip "the broker's image serves in its own file system" "needs root"
  fi
  [ -z "${BARNABAS_LONG:-}" ] || long_form
  closing_line
}

long_form() {
  try "the workflows are what GitHub takes" workflows_lint
  try "the bill of materials names what is inside, with licences" materials_are_told
  verdict_or_end "images and charts are published to a registry" publishes
  try "one tag leads to an image for each architecture, which holds the program" image_of_each_architecture
  try "the charts that are pulled are those that were pushed" charts_are_pulled
}

clean_up() {
  stop broker
  stop registry
  rm -rf "$RUN"
}

workflows_lint() {
  local actionlint
  actionlint=$(go_tool github.com/rhysd/actionlint/cmd/actionlint "$ACTIONLINT_VERSION")
  cd "$REPOSITORY"
  # -shellcheck= and -pyflakes=: not needed, whether they are there or not.
  "$actionlint" -no-color -shellcheck= -pyflakes= .github/workflows/*.yaml
}

builds() {
  "$REPOSITORY/release/build.sh" "$VERSION" "$DIST"
  BARNABAS_ARCH=$OTHER "$REPOSITORY/release/build.sh" "$VERSION" "$DIST" > /dev/null
  [ "$(find "$DIST" -name 'image-*.tar' | wc -l)" = 4 ]
}

# The registry's address is part of the charts.
assembles() {
  local address
  address=$(python3 "$E2E/clients/addresses.py")
  printf '%s\n' "$address" > "$RUN/address"
  IMAGE_REGISTRY=$address/barnabas "$REPOSITORY/release/assemble.sh" "$VERSION" "$DIST"
  (cd "$DIST" && sha256sum --check --quiet SHA256SUMS)
  printf '%s files with a checksum\n' "$(wc -l < "$DIST/SHA256SUMS")"
}

reproducible() {
  "$REPOSITORY/release/build.sh" "$VERSION" "$RUN/again" > /dev/null
  local file
  for file in "$RUN"/again/*.tar "$RUN"/again/*.tar.gz; do
    cmp "$file" "$DIST/$(basename "$file")"
  done
}

other_version() {
  local said
  if said=$("$REPOSITORY/release/build.sh" 99.0.0 "$RUN/never" 2>&1); then echo "99.0.0 was built"; return 1; fi
  [ ! -e "$RUN/never" ]
  echo "$said"
}

archives_run() {
  local program said
  for program in broker operator; do
    mkdir "$RUN/$program"
    tar -xzf "$DIST/barnabas-$program-$VERSION-linux-$(architecture).tar.gz" -C "$RUN/$program"
    said=$("$RUN/$program/barnabas-$program" --version)
    [ "$said" = "$program $VERSION" ] || { echo "it says '$said'"; return 1; }
  done
  [ -e "$RUN/broker/barnabas.service" ] && [ -e "$RUN/broker/LICENSE" ]
}

materials_are_told() {
  python3 - "$DIST/barnabas-broker-$VERSION-linux-$(architecture).cdx.json" "$REPOSITORY/Cargo.lock" <<'PY'
import json, re, sys
bill = json.load(open(sys.argv[1], encoding="utf-8"))
assert bill["bomFormat"] == "CycloneDX", bill["bomFormat"]
parts = {(c["name"], c["version"]): c for c in bill["components"]}
locked = set(re.findall(r'name = "(.*)"\nversion = "(.*)"', open(sys.argv[2], encoding="utf-8").read()))
assert set(parts) <= locked, f"not in Cargo.lock: {set(parts) - locked}"
for name in ("bytes", "tokio", "rustls", "broker-log"):
    assert any(part[0] == name for part in parts), f"{name} is in the broker and not in its bill"
unlicensed = [part for part in parts if not parts[part].get("licenses")]
assert not unlicensed, f"without a licence: {unlicensed}"
print(f"{len(parts)} crates in the broker")
PY
}

publishes() {
  local registry address
  address=$(cat "$RUN/address")
  registry=$(go_tool github.com/distribution/distribution/v3/cmd/registry "$REGISTRY_VERSION")
  cat > "$RUN/registry.yaml" <<YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $RUN/registry}}
http: {addr: $address}
YAML
  OTEL_TRACES_EXPORTER=none start registry "$registry" serve "$RUN/registry.yaml"
  wait_for 20 "the registry (see $RUN/registry.log)" curl -sf "http://$address/v2/"
  PLAIN_HTTP=yes IMAGE_REGISTRY=$address/barnabas "$REPOSITORY/release/publish.sh" "$VERSION" "$DIST"
}

image_of_each_architecture() {
  local program name platforms
  for program in "${RELEASED[@]}"; do
    name=$(cat "$RUN/address")/barnabas/barnabas-$program:$VERSION
    platforms=$(crane manifest --insecure "$name" | python3 -c 'import json, sys; print(*sorted(m["platform"]["os"] + "/" + m["platform"]["architecture"] for m in json.load(sys.stdin)["manifests"]))')
    [ "$platforms" = "linux/amd64 linux/arm64" ] || { echo "$name is for $platforms"; return 1; }
    crane export --insecure --platform "linux/$(architecture)" "$name" - | tar -xO "$program" | cmp - "$RUN/$program/barnabas-$program"
    crane config --insecure --platform "linux/$(architecture)" "$name" | python3 -c '
import json, sys
config = json.load(sys.stdin)["config"]
assert config["User"] == "65532:65532" and config["Labels"]["org.opencontainers.image.version"] == sys.argv[1], config' "$VERSION"
  done
  echo "$platforms"
}

# What `docker run -v barnabas:/data` begins with.
image_serves() {
  local address pid root=$RUN/root
  address=$(python3 "$E2E/clients/addresses.py")
  mkdir "$root"
  tar -xOf "$DIST/image-barnabas-broker-$VERSION-$(architecture).tar" layer.tar | tar -xp --numeric-owner -C "$root"
  # What every container has.
  mkdir "$root/dev"
  mknod -m 666 "$root/dev/urandom" c 1 9
  start broker chroot --userspec 65532:65532 "$root" /broker standalone --listen "$address" --metrics off
  # chroot becomes the broker: that is the name by which it can be stopped.
  sed -i 's| .*| /broker|' "$RUN/broker.pid"
  pid=$(cut -d ' ' -f 1 "$RUN/broker.pid")
  wait_for 20 "the broker (see $RUN/broker.log)" "$RUN/broker/barnabas-broker" check --bootstrap "$address"
  stop broker
  if is_running "$pid"; then echo "it does not stop"; return 1; fi
  [ -n "$(ls "$root/data")" ]
}

charts_are_pulled() {
  local helm chart
  helm=$("$E2E/kubernetes/build.sh" helm)/helm
  mkdir "$RUN/pulled"
  for chart in barnabas-operator barnabas-cluster; do
    "$helm" pull "oci://$(cat "$RUN/address")/barnabas/charts/$chart" --version "$VERSION" --plain-http --destination "$RUN/pulled"
    cmp "$RUN/pulled/$chart-$VERSION.tgz" "$DIST/$chart-$VERSION.tgz"
  done
}

charts_name_images() {
  local address helm chart
  address=$(cat "$RUN/address")
  helm=$("$E2E/kubernetes/build.sh" helm)/helm
  for chart in barnabas-operator barnabas-cluster; do
    "$helm" template castle "$DIST/$chart-$VERSION.tgz" > "$RUN/$chart.yaml"
    if grep -nE 'localhost/|:dev' "$RUN/$chart.yaml"; then return 1; fi
  done
  grep -q "image: $address/barnabas/barnabas-operator:$VERSION" "$RUN/barnabas-operator.yaml"
  grep -q "value: \"$address/barnabas/barnabas-broker:$VERSION\"" "$RUN/barnabas-operator.yaml"
  grep -q "image: \"$address/barnabas/barnabas-broker:$VERSION\"" "$RUN/barnabas-cluster.yaml"
}

manifest_is_whole() {
  local kind
  for kind in Namespace ServiceAccount ClusterRole ClusterRoleBinding Role RoleBinding Service Deployment PodDisruptionBudget; do
    grep -q "^kind: $kind\$" "$DIST/barnabas-operator.yaml" || { echo "no $kind"; return 1; }
  done
  if grep -n 'helm.sh/hook' "$DIST/barnabas-operator.yaml"; then return 1; fi
  [ "$(grep -c '^kind: CustomResourceDefinition' "$DIST/barnabas-crds.yaml")" = 4 ]
}

main
