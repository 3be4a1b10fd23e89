#!/usr/bin/env bash
# run-interop.sh: Java 4, 3 and 2.8, librdkafka new and old, franz-go and KafkaJS against one broker and against each other. See clients/README.md.
#   BARNABAS_BROKER  the program (kafka/broker.sh for Apache Kafka itself); else broker in BARNABAS_BIN; else it is built
#   ONLY             a pattern; only verdicts whose name matches are tried
#   BARNABAS_LONG=1  the long form
#   BARNABAS_KEEP=1  leaves the folder with logs and data
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/kubernetes/lib.sh"
# How full this machine's disk is, is not what is tested here.
export BARNABAS_DISK_LIMIT=${BARNABAS_DISK_LIMIT:-100}

BROKER=${BARNABAS_BROKER:-${BARNABAS_BIN:+$BARNABAS_BIN/broker}}
if [ -z "$BROKER" ]; then
  cargo build --quiet --locked --release --manifest-path "$REPOSITORY/Cargo.toml" --package broker || exit 1
  BROKER=${CARGO_TARGET_DIR:-$REPOSITORY/target}/release/broker
fi
INSTALLED=$(mktemp /tmp/barnabas-interop.XXXXXX)
trap 'rm -f "$INSTALLED"' EXIT
"$HERE/clients/install.sh" > "$INSTALLED"
python3 -B "$HERE/clients/suite" "$BROKER" "$INSTALLED"
