#!/usr/bin/env bash
# run-differential.sh [OPTION...]: the same scripted requests to Apache Kafka and to us, compared field by field: e2e/differential/README.md.
#   BARNABAS_BROKER   the program; else broker in BARNABAS_BIN; else it is built
set -euo pipefail
cd "$(dirname "$0")/.."
BROKER=${BARNABAS_BROKER:-${BARNABAS_BIN:+$BARNABAS_BIN/broker}}
if [ -z "$BROKER" ]; then
  cargo build --quiet --locked --release --package broker
  BROKER=${CARGO_TARGET_DIR:-target}/release/broker
fi
exec cargo run --quiet --locked --package differential -- --barnabas "$BROKER" --kafka "$(e2e/kafka/fetch.sh)" "$@"
