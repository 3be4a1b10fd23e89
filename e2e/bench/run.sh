#!/usr/bin/env bash
# make bench: brings Apache Kafka's jars and runs the comparison with the released broker.
set -euo pipefail
cd "$(dirname "$0")/../.."
BIN=${BARNABAS_BIN:-${CARGO_TARGET_DIR:-target}/$(rustc -vV | sed -n 's/^host: //p')/release}
exec "$BIN/bench" compare --barnabas "$BIN/broker" --kafka "$(e2e/kafka/fetch.sh)" "$@"
