#!/usr/bin/env bash
# python.sh: prints a Python that has confluent-kafka; makes it in the cache when it is not there.
set -euo pipefail
source "$(dirname "$0")/../kubernetes/lib.sh"
VERSION=2.16.1
HOME_OF=$CACHE/python-confluent-kafka-$VERSION

if [ ! -e "$HOME_OF/complete" ]; then
  command -v python3 > /dev/null && python3 -c 'import ensurepip' 2> /dev/null || debian_packages python3 python3-venv >&2
  python3 -m venv "$HOME_OF"
  "$HOME_OF/bin/pip" install --quiet --disable-pip-version-check "confluent-kafka==$VERSION" >&2
  touch "$HOME_OF/complete"
fi
say "$HOME_OF/bin/python"
