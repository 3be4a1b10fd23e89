#!/usr/bin/env bash
# build.sh VERSION FOLDER: what a release has for the architecture of this machine: archives of both programs, their images, their bills of materials.
# A release is built on one machine of each architecture; `assemble.sh` puts the rest beside it.
#   BARNABAS_BIN    folder with static programs to take; without it they are built
#   BARNABAS_ARCH   amd64 or arm64, instead of this machine's
#   BARNABAS_BILLS  no: without bills of materials, whose tool takes minutes to install
set -euo pipefail
source "$(dirname "$0")/lib.sh"

VERSION=${1:?a version}
OUTPUT=${2:?a folder}
ARCH=${BARNABAS_ARCH:-$(architecture)}

main() {
  is_the_version "$VERSION"
  mkdir -p "$OUTPUT"
  OUTPUT=$(cd "$OUTPUT" && pwd)
  [ -n "${BARNABAS_BIN:-}" ] || compile
  local program
  for program in "${RELEASED[@]}"; do
    binary "$program"
    image "$program"
    [ "${BARNABAS_BILLS:-}" = no ] || materials "$program"
  done
  ls -l "$OUTPUT"
}

compile() {
  export BARNABAS_VERSION=$VERSION
  make --no-print-directory --directory "$REPOSITORY" build
  BARNABAS_BIN=${CARGO_TARGET_DIR:-$REPOSITORY/target}/$(rustc -vV | sed -n 's/^host: //p')/release
}

binary() {
  local work
  work=$(mktemp -d)
  install -m 755 "$BARNABAS_BIN/$1" "$work/barnabas-$1"
  install -m 644 "$REPOSITORY/LICENSE" "$REPOSITORY/README.md" "$REPOSITORY/CHANGELOG.md" "$work"
  [ "$1" != broker ] || install -m 644 "$REPOSITORY/contrib/systemd/barnabas.service" "$work"
  chmod 755 "$work"
  archive "$OUTPUT/barnabas-$1-$VERSION-linux-$ARCH.tar.gz" "$work"
  rm -rf "$work"
}

image() {
  local folders=()
  # As in e2e/images/build.sh: what `docker run` mounts a volume on.
  [ "$1" != broker ] || folders=(--folder data)
  "$REPOSITORY/e2e/images/pack.py" --output "$OUTPUT/image-barnabas-$1-$VERSION-$ARCH.tar" --name "barnabas-$1:$VERSION" --architecture "$ARCH" \
    --user 65532:65532 --entrypoint "/$1" "${folders[@]}" \
    --label "org.opencontainers.image.title=barnabas-$1" --label "org.opencontainers.image.version=$VERSION" \
    --label "org.opencontainers.image.source=https://github.com/barnabas-dev/barnabas" --label "org.opencontainers.image.licenses=Apache-2.0" \
    "$BARNABAS_BIN/$1=/$1"
}

# The crates that are in the program, with their licences and checksums, as CycloneDX.
materials() {
  command -v cargo-cyclonedx > /dev/null || cargo install --locked --quiet cargo-cyclonedx --version "$CYCLONEDX_VERSION"
  # It writes beside every Cargo.toml of the workspace.
  (cd "$REPOSITORY/$1" && cargo cyclonedx --quiet --format json --spec-version 1.5 --target all --override-filename released)
  mv "$REPOSITORY/$1/released.json" "$OUTPUT/barnabas-$1-$VERSION-linux-$ARCH.cdx.json"
  find "$REPOSITORY" -name released.json -not -path '*/target/*' -delete
}

main
