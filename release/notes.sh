#!/usr/bin/env bash
# notes.sh VERSION: what CHANGELOG.md says of that version.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

VERSION=${1:?a version}
notes=$(awk -v version="$VERSION" '/^## / { inside = index($0, "## " version) == 1 || index($0, "## [" version "]") == 1; next } inside' "$REPOSITORY/CHANGELOG.md")
[ -n "${notes//[[:space:]]/}" ] || die "CHANGELOG.md says nothing of $VERSION: head what is under \"Unreleased\" with it"
say "$notes"
