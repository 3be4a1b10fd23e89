#!/usr/bin/env bash
# run-chaos.sh: three brokers and a controller, each on a host of its own (network namespaces), and what goes wrong in a data centre.
#   BARNABAS_BROKER       the program; else broker in BARNABAS_BIN; else it is built
#   BARNABAS_CHAOS        seconds of faults (60; the long form is hours)
#   BARNABAS_RATE         records a second that the producers write meanwhile (900)
#   BARNABAS_ROUNDS       kills of the leader of 1,000 partitions (3)
#   BARNABAS_GAP          seconds that a record may wait around such a kill, in the median and at worst ("1 3")
#   BARNABAS_KAFKA_TOO    not empty: Apache Kafka under the same kills, after ours
#   BARNABAS_MOVED        MiB of the topic whose replicas are added and taken away (64; the long form is 1024)
#   BARNABAS_SEED         which faults, in which order
#   ONLY                  a pattern; only verdicts whose name matches are tried
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/kubernetes/lib.sh"
source "$HERE/verdicts.sh"
SECONDS_OF_CHAOS=${BARNABAS_CHAOS:-60}
RATE=${BARNABAS_RATE:-900}
ROUNDS=${BARNABAS_ROUNDS:-3}
MOVED=${BARNABAS_MOVED:-64}

main() {
  if [ "$(id -u)" -ne 0 ]; then
    skip "replication under faults" "network namespaces need root"
    closing_line
    return
  fi
  tools || exit 1
  forget_the_dead
  try "kill -9 of the broker that leads 1,000 partitions: nothing is lost, and no record waits long" chaos failover.py "$BROKER" "$JARS" "$ROUNDS" 1000 ${BARNABAS_GAP:-1 3}
  if [ -n "${BARNABAS_KAFKA_TOO:-}" ]; then
    try "for comparison, Apache Kafka under the same kills" chaos failover.py kafka "$JARS" "$ROUNDS" 1000 60 180
  fi
  try "a stopped leader is succeeded, and commits nothing when it wakes" chaos silent.py "$BROKER" "$JARS" stopped
  try "a leader whose host vanishes is succeeded, and commits nothing when it returns" chaos silent.py "$BROKER" "$JARS" unplugged
  try "a sole replica whose volume is lost is led by nobody, until its empty log is wanted" chaos lost_volume.py "$BROKER" "$JARS"
  try "replicas are added under a throttle and taken away, under load" chaos moves.py "$BROKER" "$JARS" "$MOVED"
  try "$SECONDS_OF_CHAOS s of faults lose nothing that was acknowledged" chaos soak.py "$BROKER" "$JARS" "$SECONDS_OF_CHAOS" "$RATE" ${BARNABAS_SEED:+"$BARNABAS_SEED"}
  closing_line
}

tools() {
  debian_packages iproute2 nftables || return 1
  BROKER=${BARNABAS_BROKER:-${BARNABAS_BIN:+$BARNABAS_BIN/broker}}
  if [ -z "$BROKER" ]; then
    cargo build --quiet --locked --release --manifest-path "$REPOSITORY/Cargo.toml" --package broker || return 1
    BROKER=${CARGO_TARGET_DIR:-$REPOSITORY/target}/release/broker
  fi
  PYTHON=$("$HERE/clients/python.sh") || return 1
  JARS=$("$HERE/kafka/fetch.sh") || return 1
}

chaos() {
  local script=$1
  shift
  "$PYTHON" "$HERE/chaos/$script" "$@"
}

# Namespaces of a run that was killed itself.
forget_the_dead() {
  local name pid
  ip netns list | awk '/^barnabas-/ { print $1 }' | while read -r name; do
    pid=${name#barnabas-}
    [ -e "/proc/${pid%-*}" ] || ip netns del "$name"
  done
}

main
