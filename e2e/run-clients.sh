#!/usr/bin/env bash
# run-clients.sh: a standalone broker and the clients that people have: kcat, confluent-kafka for Python, Java's console tools.
#   BARNABAS_BROKER   the program; else broker in BARNABAS_BIN; else it is built
#   BARNABAS_RECORDS  records that each client writes and reads back (100000; the long form is 1000000)
#   ONLY              a pattern; only verdicts whose name matches are tried
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/kubernetes/lib.sh"
# How full this machine's disk is, is not what is tested here.
export BARNABAS_DISK_LIMIT=${BARNABAS_DISK_LIMIT:-100}
source "$HERE/verdicts.sh"

RECORDS=${BARNABAS_RECORDS:-100000}
WORK=$(mktemp -d /tmp/barnabas-clients.XXXXXX)
BROKER_PID=
IDLE_PID=
trap 'stop_brokers; rm -rf "$WORK"' EXIT

main() {
  tools || exit 1
  start_broker || exit 1
  start_idle_broker
  try "kcat writes and reads back $RECORDS records bit for bit" kcat_round_trip
  try "confluent-kafka for Python writes and reads back $RECORDS records bit for bit" python "$HERE/clients/python_client.py" "$ADDRESS" python "$RECORDS"
  try "Java console producer and consumer write and read back $RECORDS records bit for bit" java_round_trip
  try "what one client wrote, the others read" cross_reading
  try "a consumer group shares a topic, loses a member and goes on from its commits" python "$HERE/clients/group.py" "$ADDRESS" 20000
  try "members of the new group protocol and of the classic one share a group through kill -9 of the broker" python "$HERE/clients/new_groups.py" "$BROKER"
  try "what groups commit is kept and its log stays bounded, through kill -9" python "$HERE/clients/offsets_bound.py" "$BROKER"
  try "Java's console consumer reads in a group, and kafka-consumer-groups shows no lag" java_group
  try "hostile bytes cost only their own connection" python "$HERE/clients/hostile.py" "$ADDRESS" "$BROKER_PID"
  try "no acknowledgement before fdatasync with flush.messages=1" python "$HERE/clients/durable.py" "$ADDRESS" "$BROKER_PID"
  try "SIGINT stops the broker in under 2 s" interrupt
  try "kafka-dump-log reads every segment and index" dump_log
  try "every acknowledged record survives 20 kill -9 under load, offsets without gap" python "$HERE/clients/crash.py" "$BROKER" 20
  try "exec to first acknowledged write" python "$HERE/clients/first_write.py" "$BROKER" 20 100
  try "resident memory 60 s after the start is at most 20 MiB" idle_memory
  try "the program is at most 20 MB" program_size
  closing_line
}

tools() {
  debian_packages kcat strace || return 1
  BROKER=${BARNABAS_BROKER:-${BARNABAS_BIN:+$BARNABAS_BIN/broker}}
  if [ -z "$BROKER" ]; then
    cargo build --quiet --locked --release --manifest-path "$REPOSITORY/Cargo.toml" --package broker || return 1
    BROKER=${CARGO_TARGET_DIR:-$REPOSITORY/target}/release/broker
  fi
  PYTHON=$("$HERE/clients/python.sh") || return 1
  KAFKA=$("$HERE/kafka/fetch.sh") || return 1
}

python() { "$PYTHON" "$@"; }
java_tool() { java -Xmx512m -cp "$KAFKA/*" "$@"; }

start_broker() {
  ADDRESS=$(python3 "$HERE/clients/addresses.py")
  "$BROKER" standalone --data-dir "$WORK/data" --listen "$ADDRESS" --metrics off --config log.segment.bytes=1048576 > "$WORK/broker.log" 2>&1 &
  BROKER_PID=$!
  wait_for 20 "a broker at $ADDRESS" kcat -b "$ADDRESS" -L -m 2 || { cat "$WORK/broker.log" >&2; return 1; }
}

# Nobody talks to this one; its memory is looked at after a minute.
start_idle_broker() {
  "$BROKER" standalone --data-dir "$WORK/idle" --listen "$(python3 "$HERE/clients/addresses.py")" --metrics off > "$WORK/idle.log" 2>&1 &
  IDLE_PID=$! IDLE_SINCE=$SECONDS
}

stop_brokers() {
  local pid
  for pid in $BROKER_PID $IDLE_PID; do
    kill -9 "$pid" 2> /dev/null
    wait "$pid" 2> /dev/null
  done
}

# Lines of many lengths, each different; with TOPIC in them so that no two files are alike.
lines() {
  awk -v count="$RECORDS" -v topic="$1" 'BEGIN { for (i = 0; i < count; i++) printf "%s %d %s\n", topic, i, substr("the castle hill was hidden, veiled in mist and darkness; nor was there even a glimmer of light", 1, i % 90) }'
}

kcat_round_trip() {
  lines kcat > "$WORK/kcat.in"
  kcat -b "$ADDRESS" -P -t kcat -X enable.idempotence=true -X linger.ms=5 -l "$WORK/kcat.in"
  kcat -b "$ADDRESS" -C -t kcat -o beginning -e -q > "$WORK/kcat.out"
  same kcat
}

java_round_trip() {
  lines java > "$WORK/java.in"
  java_tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$ADDRESS" --topic java \
    --command-property enable.idempotence=true --command-property acks=all < "$WORK/java.in"
  java_tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$ADDRESS" --topic java --partition 0 --offset earliest \
    --max-messages "$RECORDS" --timeout-ms 60000 > "$WORK/java.out"
  same java
}

same() {
  cmp "$WORK/$1.in" "$WORK/$1.out"
  printf '%s records, %s bytes\n' "$(wc -l < "$WORK/$1.out")" "$(stat -c %s "$WORK/$1.out")"
}

cross_reading() {
  kcat -b "$ADDRESS" -C -t java -o beginning -e -q | cmp - "$WORK/java.in"
  java_tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$ADDRESS" --topic kcat --partition 0 --offset earliest \
    --max-messages "$RECORDS" --timeout-ms 60000 | cmp - "$WORK/kcat.in"
  echo "kcat reads Java's, Java reads kcat's"
}

java_group() {
  java_tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$ADDRESS" --topic java --group java-readers --from-beginning \
    --max-messages "$RECORDS" --timeout-ms 60000 | cmp - "$WORK/java.in"
  java_tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$ADDRESS" --describe --group java-readers 2> /dev/null > "$WORK/group.txt"
  awk -v records="$RECORDS" '$2 == "java" { print $4 " of " $5 " committed, lag " $6; found = $4 == records && $6 == 0 } END { exit !found }' "$WORK/group.txt"
}

interrupt() {
  local start end
  start=$(date +%s%N)
  kill -INT "$BROKER_PID"
  while is_running "$BROKER_PID"; do
    [ $((($(date +%s%N) - start) / 1000000)) -lt 5000 ] || { echo "still there after 5 s"; return 1; }
    sleep 0.01
  done
  end=$((($(date +%s%N) - start) / 1000000))
  echo "$end ms"
  [ "$end" -lt 2000 ]
}

dump_log() {
  local file files=() output=$WORK/dump.txt
  # The broker of the earlier verdicts has stopped; its files are as it left them.
  for file in "$WORK"/data/*-0/*.{log,index,timeindex,snapshot}; do
    [ ! -s "$file" ] || files+=("$file")
  done
  [ ${#files[@]} -ge 10 ] || { echo "only ${#files[@]} files in $WORK/data"; return 1; }
  java_tool org.apache.kafka.tools.DumpLogSegments --deep-iteration --files "$(IFS=,; echo "${files[*]}")" > "$output" 2>&1 || { grep -m 1 Exception "$output"; return 1; }
  if grep -iE 'mismatch|corrupt|out of order|isvalid: false|Exception|Found timestamp' "$output" | head -n 3 | grep .; then return 1; fi
  echo "${#files[@]} files of $(find "$WORK/data" -name '*.log' -size +0 | wc -l) segments, $(grep -c '^| offset' "$output") records"
}

idle_memory() {
  local resident
  while [ $((SECONDS - IDLE_SINCE)) -lt 60 ]; do sleep 1; done
  resident=$(awk '/^VmRSS/ { print $2 }' "/proc/$IDLE_PID/status")
  echo "$resident KiB"
  [ "$resident" -le 20480 ]
}

program_size() {
  local size
  size=$(stat -L -c %s "$BROKER")
  echo "$size bytes"
  [ "$size" -le 20000000 ]
}

main
