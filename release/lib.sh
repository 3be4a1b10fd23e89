# Sourced by the scripts of this folder.
# shellcheck shell=bash

source "$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/e2e/kubernetes/lib.sh"

CRANE_VERSION=0.20.6
CYCLONEDX_VERSION=0.5.9
# The programs of a release, each with an image of its own.
RELEASED=(broker operator)

# The version that all packages of the workspace have.
workspace_version() {
  sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' "$REPOSITORY/Cargo.toml"
}

# is_the_version VERSION: a tag that says something else than the sources is a mistake, found before anything is published.
is_the_version() {
  [ "$1" = "$(workspace_version)" ] || die "the release is to be $1, and Cargo.toml says $(workspace_version)"
}

# This machine's architecture, as container images call it.
architecture() {
  case $(uname -m) in
    x86_64) say amd64 ;;
    aarch64) say arm64 ;;
    *) die "no release is built on $(uname -m)" ;;
  esac
}

crane() { "$(go_tool github.com/google/go-containerregistry/cmd/crane "$CRANE_VERSION")" "$@"; }

# The same files give the same archive: archive OUTPUT FOLDER.
archive() {
  tar --sort=name --mtime="@${SOURCE_DATE_EPOCH:-0}" --owner=0 --group=0 --numeric-owner -C "$2" -cf - . | gzip -n9 > "$1"
}
