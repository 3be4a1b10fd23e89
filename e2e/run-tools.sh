#!/usr/bin/env bash
# run-tools.sh: Apache Kafka's own command line tools against a standalone broker; each verdict reads what the tool printed.
#   BARNABAS_BROKER   the program; else broker in BARNABAS_BIN; else it is built
#   ONLY              a pattern; only verdicts whose name matches are tried
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/kubernetes/lib.sh"
source "$HERE/verdicts.sh"

WORK=$(mktemp -d /tmp/barnabas-tools.XXXXXX)
BROKER_PID=
trap 'end' EXIT

main() {
  prepare || exit 1
  try "kafka-topics creates, describes, alters, lists and deletes" topics
  try "kafka-configs describes and alters a topic" configs_of_a_topic
  try "kafka-configs describes and alters a broker, and the defaults of all" configs_of_brokers
  try "kafka-configs describes and alters a group" configs_of_a_group
  try "kafka-producer-perf-test writes" producer_performance
  try "kafka-consumer-perf-test reads it back" consumer_performance
  try "kafka-verifiable-producer gets every record acknowledged" verifiable_producer
  try "kafka-verifiable-consumer reads and commits in a classic group" verifiable_consumer classic
  try "kafka-verifiable-consumer reads and commits in a new group" verifiable_consumer consumer
  try "kafka-consumer-groups lists and describes a classic group" describe_group classic
  try "kafka-consumer-groups lists and describes a new group" describe_group consumer
  try "kafka-consumer-groups resets offsets of a classic group in every mode" reset_offsets classic
  try "kafka-consumer-groups resets offsets of a new group in every mode" reset_offsets consumer
  try "kafka-consumer-groups deletes offsets and groups" delete_groups
  try "kafka-get-offsets finds the ends, the latest time and a moment" get_offsets
  try "kafka-delete-records moves the beginning" delete_records
  try "kafka-log-dirs tells the sizes of partitions" log_dirs
  try "kafka-broker-api-versions knows every API and version" api_versions
  try "kafka-features describes" features
  try "kafka-metadata-quorum is refused by name: there is no quorum" metadata_quorum
  try "kafka-cluster tells the id" cluster
  try "kafka-dump-log reads what the tools wrote" dump_log
  try "kafka-reassign-partitions moves replicas and kafka-leader-election leaders, among four brokers" moves_of_replicas
  try "a Java consumer reads from the follower in its rack" reads_in_its_rack
  closing_line
}

prepare() {
  BROKER=${BARNABAS_BROKER:-${BARNABAS_BIN:+$BARNABAS_BIN/broker}}
  if [ -z "$BROKER" ]; then
    cargo build --quiet --locked --release --manifest-path "$REPOSITORY/Cargo.toml" --package broker || return 1
    BROKER=${CARGO_TARGET_DIR:-$REPOSITORY/target}/release/broker
  fi
  KAFKA=$("$HERE/kafka/fetch.sh") || return 1
  ADDRESS=$(python3 "$HERE/clients/addresses.py")
  "$BROKER" standalone --data-dir "$WORK/data" --listen "$ADDRESS" --metrics off > "$WORK/broker.log" 2>&1 &
  BROKER_PID=$!
  mkfifo "$WORK/requests" "$WORK/answers"
  java -Xmx512m -XX:TieredStopAtLevel=1 -cp "$KAFKA/*" "$HERE/kafka/Tools.java" < "$WORK/requests" > "$WORK/answers" 2> "$WORK/java.log" &
  JAVA_PID=$!
  exec 7> "$WORK/requests" 8< "$WORK/answers"
  wait_for 60 "a broker at $ADDRESS" tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$ADDRESS" --list ||
    { cat "$WORK/broker.log" "$WORK/java.log" >&2; return 1; }
}

end() {
  local pid
  for pid in $BROKER_PID ${JAVA_PID:-}; do
    kill -9 "$pid" 2> /dev/null
    wait "$pid" 2> /dev/null
  done
  rm -rf "$WORK"
}

# tool CLASS ARGUMENT...: what a tool prints, and its exit code. All run in one JVM. Never before a `grep -q` in a pipe: it would
# end before the answer does, and the rest would be taken for the next one.
tool() {
  local class=$1 line
  shift
  { echo "$class"; echo $#; [ $# = 0 ] || printf '%s\n' "$@"; } >&7
  while IFS= read -r line <&8; do
    case $line in
      $'\x01 '*) return "${line#$'\x01 '}" ;;
      *) printf '%s\n' "$line" ;;
    esac
  done
  echo "the JVM of the tools has ended: $(tail -n 3 "$WORK/java.log")"
  return 1
}

# A JVM of its own, for what says its last words in a shutdown hook.
exec_tool() { exec java -Xmx256m -XX:TieredStopAtLevel=1 -cp "$KAFKA/*" "$@"; }
java_tool() { ( exec_tool "$@" ); }

kafka_topics() { tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$ADDRESS" "$@"; }
kafka_configs() { tool kafka.admin.ConfigCommand --bootstrap-server "$ADDRESS" "$@"; }
kafka_groups() { tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$ADDRESS" "$@"; }
kafka_get_offsets() { tool org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$ADDRESS" "$@"; }

# shows PATTERN COMMAND...: the command prints a line like the pattern.
shows() {
  local pattern=$1 output
  shift
  output=$("$@") || { printf '%s\n' "$output"; echo "exit code of: $*"; return 1; }
  grep -qE -- "$pattern" <<< "$output" || { printf '%s\n' "$output"; echo "no line like '$pattern' from: $*"; return 1; }
}

# hides PATTERN COMMAND...: it does not.
hides() {
  local pattern=$1 output
  shift
  output=$("$@") || { printf '%s\n' "$output"; echo "exit code of: $*"; return 1; }
  ! grep -E -- "$pattern" <<< "$output"
}

# refuses PATTERN COMMAND...: the command fails, and says why.
refuses() {
  local pattern=$1 output
  shift
  if output=$("$@") && ! grep -qE 'Error|Exception' <<< "$output"; then echo "was not refused: $*"; return 1; fi
  grep -qE -- "$pattern" <<< "$output" || { printf '%s\n' "$output"; echo "no line like '$pattern' from: $*"; return 1; }
}

# is_soon SECONDS COMMAND...: the command succeeds within that time.
is_soon() {
  local deadline=$((SECONDS + $1)) output
  shift
  until output=$("$@"); do
    [ "$SECONDS" -lt "$deadline" ] || { printf '%s\n' "$output"; return 1; }
    sleep 0.2
  done
}

topics() {
  shows 'Created topic one' kafka_topics --create --topic one --partitions 3 --config retention.ms=3600000
  refuses 'already exists' kafka_topics --create --topic one
  shows 'Created topic two' kafka_topics --create --topic two
  shows 'Topic: one.*PartitionCount: 3.*ReplicationFactor: 1.*retention.ms=3600000' kafka_topics --describe --topic one
  shows 'Partition: 2.*Leader: 0.*Replicas: 0.*Isr: 0' kafka_topics --describe --topic one
  shows '^two$' kafka_topics --list
  kafka_topics --alter --topic one --partitions 5
  is_soon 10 shows 'Partition: 4.*Leader: 0' kafka_topics --describe --topic one
  refuses 'InvalidPartitions|currently has 5|has 5 partition' kafka_topics --alter --topic one --partitions 2
  hides 'Topic: (one|two)' kafka_topics --describe --unavailable-partitions
  hides 'Topic: (one|two)' kafka_topics --describe --under-replicated-partitions
  shows 'Topic: one' kafka_topics --describe --topics-with-overrides
  hides 'Topic: two' kafka_topics --describe --topics-with-overrides
  refuses 'does not exist' kafka_topics --describe --topic none
  refuses 'a b|nvalid|illegal' kafka_topics --create --topic 'a b'
  kafka_topics --delete --topic two
  is_soon 10 hides '^two$' kafka_topics --list
}

# Brokers of its own, one of which is killed.
moves_of_replicas() {
  local ADDRESS control id
  pids=() # not local: the trap runs after the function has returned
  ADDRESS=$(python3 "$HERE/clients/addresses.py")
  control=$(python3 "$HERE/clients/addresses.py")
  "$BROKER" standalone --data-dir "$WORK/moves-0" --listen "$ADDRESS" --control "$control" --metrics off > "$WORK/moves-0.log" 2>&1 &
  pids[0]=$!
  for id in 1 2 3; do join "$id"; done
  trap 'kill -9 "${pids[@]}" 2> /dev/null || true' EXIT
  is_soon 20 shows 'Created topic moved' kafka_topics --create --topic moved --partitions 2 --replication-factor 3 --config min.insync.replicas=2
  shows '20000 records sent' java_tool org.apache.kafka.tools.ProducerPerformance --topic moved --num-records 20000 --record-size 500 --throughput -1 \
    --producer-props bootstrap.servers="$ADDRESS" acks=all
  echo '{"version":1,"partitions":[{"topic":"moved","partition":0,"replicas":[1,2,3]},{"topic":"moved","partition":1,"replicas":[3,2]}]}' > "$WORK/moves.json"
  shows 'Successfully started partition reassignments for moved-0,moved-1' kafka_reassign --execute --throttle 50000000
  is_soon 30 shows 'moved-1 is completed' kafka_reassign --verify
  is_soon 30 shows 'moved-0 is completed' kafka_reassign --verify
  shows 'No partition reassignments found' tool org.apache.kafka.tools.reassign.ReassignPartitionsCommand --bootstrap-server "$ADDRESS" --list
  is_soon 20 shows 'Partition: 0.*Leader: 1.*Replicas: 1,2,3.*Isr: 1,2,3' kafka_topics --describe --topic moved
  is_soon 20 shows 'Partition: 1.*Replicas: 3,2.*Isr: 3,2' kafka_topics --describe --topic moved
  { kill -9 "${pids[1]}" && wait "${pids[1]}"; } 2> /dev/null || true
  is_soon 30 shows 'Partition: 0.*Leader: 2.*Isr: 2,3' kafka_topics --describe --topic moved --under-replicated-partitions
  join 1
  is_soon 30 shows 'Partition: 0.*Isr: 1,2,3' kafka_topics --describe --topic moved
  # It may lead again by itself meanwhile.
  shows 'completed leader election|Valid replica already elected|No leader election' tool org.apache.kafka.tools.LeaderElectionCommand --bootstrap-server "$ADDRESS" \
    --election-type preferred --topic moved --partition 0
  is_soon 10 shows 'Partition: 0.*Leader: 1' kafka_topics --describe --topic moved
  [ "$(kafka_get_offsets --topic moved | awk -F: '{sum += $3} END {print sum}')" = 20000 ] || { kafka_get_offsets --topic moved; return 1; }
}

# Two brokers in two racks: the leader in one, the reader in the other. A third has the controller.
reads_in_its_rack() {
  local ADDRESS control metrics sent
  pids=() # as above
  ADDRESS=$(python3 "$HERE/clients/addresses.py")
  control=$(python3 "$HERE/clients/addresses.py")
  metrics=$(python3 "$HERE/clients/addresses.py")
  "$BROKER" standalone --data-dir "$WORK/rack-0" --listen "$ADDRESS" --control "$control" --metrics off \
    --config replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector > "$WORK/rack-0.log" 2>&1 &
  pids[0]=$!
  "$BROKER" run --id 1 --controller "$control" --data-dir "$WORK/rack-1" --listen "${ADDRESS%:*}:0" --metrics off --rack west > "$WORK/rack-1.log" 2>&1 &
  pids[1]=$!
  "$BROKER" run --id 2 --controller "$control" --data-dir "$WORK/rack-2" --listen "${ADDRESS%:*}:0" --metrics "$metrics" --rack east > "$WORK/rack-2.log" 2>&1 &
  pids[2]=$!
  trap 'kill -9 "${pids[@]}" 2> /dev/null || true' EXIT
  is_soon 20 shows 'Created topic near' kafka_topics --create --topic near --replica-assignment 1:2
  shows '2000 records sent' java_tool org.apache.kafka.tools.ProducerPerformance --topic near --num-records 2000 --record-size 500 --throughput -1 \
    --producer-props bootstrap.servers="$ADDRESS" acks=all
  shows 'Partition: 0.*Leader: 1.*Isr: 1,2' kafka_topics --describe --topic near
  java_tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$ADDRESS" --topic near --from-beginning --max-messages 2000 --timeout-ms 30000 \
    --command-property client.rack=east > "$WORK/near.txt" 2> "$WORK/near.err" || { tail -n 5 "$WORK/near.err"; return 1; }
  [ "$(grep -c . "$WORK/near.txt")" = 2000 ] || { echo "$(grep -c . "$WORK/near.txt") of 2000 records"; return 1; }
  sent=$(curl -fsS "http://$metrics/metrics" | awk '/^kafka_server_brokertopicmetrics_bytesout_total{.*topic="near"/ { print $2 }')
  [ "${sent%.*}" -ge 1000000 ] || { echo "the follower sent ${sent:-nothing}"; return 1; }
  echo "2000 records, $sent bytes from the follower"
}

# One more broker of `moves_of_replicas`.
join() {
  "$BROKER" run --id "$1" --controller "$control" --data-dir "$WORK/moves-$1" --listen "${ADDRESS%:*}:0" --metrics off >> "$WORK/moves-$1.log" 2>&1 &
  pids[$1]=$!
}

kafka_reassign() {
  tool org.apache.kafka.tools.reassign.ReassignPartitionsCommand --bootstrap-server "$ADDRESS" --reassignment-json-file "$WORK/moves.json" "$@"
}

configs_of_a_topic() {
  kafka_topics --create --if-not-exists --topic configs > /dev/null
  shows 'Completed updating config for topic configs' kafka_configs --alter --entity-type topics --entity-name configs --add-config retention.ms=70000,segment.bytes=2000000
  is_soon 10 shows 'retention.ms=70000' kafka_configs --describe --entity-type topics --entity-name configs
  shows 'segment.bytes=2000000.*DYNAMIC_TOPIC_CONFIG:segment.bytes=2000000' kafka_configs --describe --entity-type topics --entity-name configs
  kafka_configs --alter --entity-type topics --entity-name configs --delete-config retention.ms
  is_soon 10 hides 'retention.ms=70000' kafka_configs --describe --entity-type topics --entity-name configs
  shows 'max.message.bytes=1048588.*DEFAULT_CONFIG' kafka_configs --describe --all --entity-type topics --entity-name configs
  refuses 'no.such.key' kafka_configs --alter --entity-type topics --entity-name configs --add-config no.such.key=1
  refuses 'retention.ms' kafka_configs --alter --entity-type topics --entity-name configs --add-config retention.ms=soon
}

configs_of_brokers() {
  shows 'Completed updating config for broker 0' kafka_configs --alter --entity-type brokers --entity-name 0 --add-config log.retention.ms=123456789
  is_soon 10 shows 'log.retention.ms=123456789.*DYNAMIC_BROKER_CONFIG' kafka_configs --describe --entity-type brokers --entity-name 0
  shows 'Completed updating default config for brokers' kafka_configs --alter --entity-type brokers --entity-default --add-config log.retention.ms=987654321
  is_soon 10 shows 'log.retention.ms=987654321' kafka_configs --describe --entity-type brokers --entity-default
  shows 'num.partitions=1' kafka_configs --describe --all --entity-type brokers --entity-name 0
  kafka_configs --alter --entity-type brokers --entity-name 0 --delete-config log.retention.ms
  kafka_configs --alter --entity-type brokers --entity-default --delete-config log.retention.ms
  is_soon 10 hides 'log.retention.ms=987654321' kafka_configs --describe --entity-type brokers --entity-default
}

configs_of_a_group() {
  shows 'consumer.session.timeout.ms=45000.*DEFAULT_CONFIG' kafka_configs --describe --all --entity-type groups --entity-name configured
  shows 'Completed updating config for group configured' kafka_configs --alter --entity-type groups --entity-name configured \
    --add-config consumer.session.timeout.ms=50000,consumer.heartbeat.interval.ms=6000
  shows 'consumer.session.timeout.ms=50000.*DYNAMIC_GROUP_CONFIG' kafka_configs --describe --entity-type groups --entity-name configured
  refuses 'consumer.session.timeout.ms' kafka_configs --alter --entity-type groups --entity-name configured --add-config consumer.session.timeout.ms=1
  refuses 'no.such.key' kafka_configs --alter --entity-type groups --entity-name configured --add-config no.such.key=1
  kafka_configs --alter --entity-type groups --entity-name configured --delete-config consumer.session.timeout.ms,consumer.heartbeat.interval.ms
  hides 'consumer.session.timeout.ms=50000' kafka_configs --describe --entity-type groups --entity-name configured
}

producer_performance() {
  local output
  kafka_topics --create --topic performance --partitions 2 > /dev/null
  output=$(tool org.apache.kafka.tools.ProducerPerformance --topic performance --num-records 20000 --record-size 100 --throughput -1 \
    --producer-props bootstrap.servers="$ADDRESS" acks=all linger.ms=5)
  grep -E '^20000 records sent' <<< "$output" || { printf '%s\n' "$output"; return 1; }
}

consumer_performance() {
  local output
  output=$(tool org.apache.kafka.tools.ConsumerPerformance --bootstrap-server "$ADDRESS" --topic performance --num-records 20000 --timeout 30000)
  awk -F', ' '/^20[0-9][0-9]-/ { print $5 " records at " $6 "/s"; found = $5 >= 20000 } END { exit !found }' <<< "$output" || { printf '%s\n' "$output"; return 1; }
}

verifiable_producer() {
  local output
  kafka_topics --create --topic verifiable > /dev/null
  output=$(java_tool org.apache.kafka.tools.VerifiableProducer --bootstrap-server "$ADDRESS" --topic verifiable --max-messages 2000 --throughput -1 --acks -1)
  if grep '"name":"producer_send_error"' <<< "$output" | head -n 3 | grep .; then return 1; fi
  echo "$(grep -c '"name":"producer_send_success"' <<< "$output") of 2000 acknowledged"
  [ "$(grep -c '"name":"producer_send_success"' <<< "$output")" = 2000 ]
}

verifiable_consumer() {
  local output
  output=$(java_tool org.apache.kafka.tools.VerifiableConsumer --bootstrap-server "$ADDRESS" --topic verifiable --group-id "verifiable-$1" --group-protocol "$1" \
    --max-messages 2000 --reset-policy earliest)
  grep -q '"name":"partitions_assigned"' <<< "$output" || { printf '%s\n' "$output"; return 1; }
  grep -q '"name":"offsets_committed".*"success":true' <<< "$output" || { printf '%s\n' "$output"; return 1; }
  awk -F'"count":' '/"name":"records_consumed"/ { split($2, part, ","); count += part[1] } END { print count " records"; exit count < 2000 }' <<< "$output"
}

# A member of the group reads on while the command looks at it.
describe_group() {
  local group=described-$1 protocol=$1 pid status=0
  exec_tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$ADDRESS" \
    --topic verifiable --group "$group" --command-property group.protocol="$protocol" --command-property client.id=looked-at \
    --command-property auto.offset.reset=earliest --command-property auto.commit.interval.ms=100 > /dev/null 2>&1 &
  pid=$!
  look_at_group "$group" "$protocol" || status=1
  kill "$pid"
  wait "$pid" || true
  [ "$status" = 0 ]
  is_soon 40 shows "^$group +.*Empty +0 *$" kafka_groups --describe --group "$group" --state
  kafka_groups --describe --all-groups > "$WORK/groups.txt"
  echo "$(grep -cE '^(described|verifiable)-' "$WORK/groups.txt") lines"
}

# In a chain, because bash ignores `set -e` in a function whose failure is looked at.
look_at_group() {
  local group=$1 protocol=$2
  is_soon 40 shows "^$group +verifiable +0 +[0-9]+ +[0-9]+ +0 .*looked-at" kafka_groups --describe --group "$group" &&
    shows "^$group$" kafka_groups --list &&
    shows "^$group +Stable" kafka_groups --list --state &&
    shows "^$group +.*$protocol" tr A-Z a-z <<< "$(kafka_groups --list --type)" &&
    shows "^$group +.*Stable +1 *$" kafka_groups --describe --group "$group" --state &&
    shows "^$group +.*looked-at" kafka_groups --describe --group "$group" --members &&
    shows "verifiable(\(0\)|:0|-0)" kafka_groups --describe --group "$group" --members --verbose &&
    refuses 'not empty|non-empty|NonEmpty' kafka_groups --delete --group "$group"
}

# reset GROUP OFFSET ARGUMENT...: after it, partition 0 stands at the offset.
reset() {
  local group=$1 offset=$2
  shift 2
  shows "^$group +verifiable +0 +$offset" kafka_groups --reset-offsets --group "$group" --topic verifiable:0 --execute "$@"
  shows "^$group +verifiable +0 +$offset " kafka_groups --describe --group "$group"
}

reset_offsets() {
  local group=described-$1 end now
  end=$(kafka_get_offsets --topic-partitions verifiable:0 | awk -F: '/^verifiable:0:/ { print $3 }')
  reset "$group" 0 --to-earliest
  reset "$group" "$end" --to-latest
  reset "$group" 5 --to-offset 5
  reset "$group" 8 --shift-by 3
  reset "$group" 8 --to-current
  reset "$group" 0 --to-datetime 2020-01-01T00:00:00.000
  reset "$group" 0 --by-duration PT24H
  reset "$group" "$end" --to-offset 999999999
  shows "\"?verifiable\"?,0,$end" kafka_groups --reset-offsets --group "$group" --topic verifiable:0 --to-current --export --dry-run
  echo "verifiable,0,7" > "$WORK/offsets.csv"
  reset_from_file "$group"
  shows "^$group +verifiable +0 +0" kafka_groups --reset-offsets --group "$group" --topic verifiable:0 --to-earliest --dry-run
  shows "^$group +verifiable +0 +7 " kafka_groups --describe --group "$group"
  echo "end at $end"
}

reset_from_file() {
  shows "^$1 +verifiable +0 +7" kafka_groups --reset-offsets --group "$1" --from-file "$WORK/offsets.csv" --execute
}

delete_groups() {
  shows 'verifiable +0 +Successful' kafka_groups --delete-offsets --group described-classic --topic verifiable:0
  hides '^described-classic +verifiable +0 ' kafka_groups --describe --group described-classic
  shows 'Deletion of requested consumer groups .* was successful' kafka_groups --delete --group described-classic --group described-consumer
  hides '^described-' kafka_groups --list
  refuses 'does not exist|GroupIdNotFound|not found' kafka_groups --delete --group described-classic
}

get_offsets() {
  local before
  kafka_topics --create --topic moments > /dev/null
  produce_moments 1
  before=$(date +%s%3N)
  sleep 0.05
  produce_moments 2
  shows '^moments:0:2$' kafka_get_offsets --topic moments
  shows '^moments:0:2$' kafka_get_offsets --topic moments --time latest
  shows '^moments:0:0$' kafka_get_offsets --topic moments --time earliest
  shows '^moments:0:1$' kafka_get_offsets --topic moments --time max-timestamp
  shows '^moments:0:1$' kafka_get_offsets --topic moments --time "$before"
  shows '^moments:0:0$' kafka_get_offsets --topic moments --time 1
  hides '^moments:0:[0-9]' kafka_get_offsets --topic moments --time $((before + 3600000))
  hides '^__consumer_offsets' kafka_get_offsets --exclude-internal-topics
}

produce_moments() {
  tool org.apache.kafka.tools.ProducerPerformance --topic moments --num-records 1 --record-size 10 --throughput -1 \
    --producer-props bootstrap.servers="$ADDRESS" > /dev/null
}

delete_records() {
  printf '{"version":1,"partitions":[{"topic":"performance","partition":0,"offset":100},{"topic":"performance","partition":1,"offset":-1}]}' > "$WORK/delete.json"
  local output end
  end=$(kafka_get_offsets --topic-partitions performance:1 | awk -F: '/^performance:1:/ { print $3 }')
  output=$(tool org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server "$ADDRESS" --offset-json-file "$WORK/delete.json")
  grep -q 'performance-0.*low_watermark: 100' <<< "$output" || { printf '%s\n' "$output"; return 1; }
  grep -q "performance-1.*low_watermark: $end" <<< "$output" || { printf '%s\n' "$output"; return 1; }
  shows '^performance:0:100$' kafka_get_offsets --topic-partitions performance:0 --time earliest
  shows "^performance:1:$end\$" kafka_get_offsets --topic-partitions performance:1 --time earliest
  printf '{"version":1,"partitions":[{"topic":"performance","partition":0,"offset":99999999}]}' > "$WORK/delete.json"
  shows 'error.*OffsetOutOfRange' tool org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server "$ADDRESS" --offset-json-file "$WORK/delete.json"
}

log_dirs() {
  local output
  output=$(tool org.apache.kafka.tools.LogDirsCommand --bootstrap-server "$ADDRESS" --describe --topic-list performance,verifiable)
  grep '^{' <<< "$output" | python3 -c '
import json, sys
brokers = json.load(sys.stdin)["brokers"]
assert [broker["broker"] for broker in brokers] == [0], brokers
(directory,) = brokers[0]["logDirs"]
assert directory["error"] is None, directory
sizes = {part["partition"]: part["size"] for part in directory["partitions"]}
assert set(sizes) == {"performance-0", "performance-1", "verifiable-0"}, sizes
# All records of performance-1 were deleted before.
assert sizes["performance-0"] > 0 and sizes["verifiable-0"] > 0, sizes
print(sum(sizes.values()), "bytes in", len(sizes), "partitions")
' || { printf '%s\n' "$output"; return 1; }
}

api_versions() {
  local output
  output=$(tool org.apache.kafka.tools.BrokerApiVersionsCommand --bootstrap-server "$ADDRESS")
  grep -qE "^$ADDRESS \(id: 0 " <<< "$output" || { printf '%s\n' "$output"; return 1; }
  grep -qE 'Produce\(0\): 0 to 13 \[usable: 13\]' <<< "$output" || { printf '%s\n' "$output"; return 1; }
  if grep 'UNKNOWN' <<< "$output"; then return 1; fi
  echo "$(grep -c 'usable: [0-9]' <<< "$output") APIs usable"
}

features() {
  shows 'Feature: metadata.version.*FinalizedVersionLevel: [0-9]' tool org.apache.kafka.tools.FeatureCommand --bootstrap-server "$ADDRESS" describe
}

metadata_quorum() {
  refuses 'UnsupportedVersion|does not support' tool org.apache.kafka.tools.MetadataQuorumCommand --bootstrap-server "$ADDRESS" describe --status
}

cluster() {
  shows 'Cluster ID: [A-Za-z0-9_-]{22}' tool org.apache.kafka.tools.ClusterTool cluster-id --bootstrap-server "$ADDRESS"
}

dump_log() {
  local file files=() output=$WORK/dump.txt
  kill -INT "$BROKER_PID"
  wait "$BROKER_PID" || true
  for file in "$WORK"/data/{performance,verifiable}-*/*.{log,index,timeindex,snapshot}; do
    [ ! -s "$file" ] || files+=("$file")
  done
  [ ${#files[@]} -ge 3 ] || { echo "only ${#files[@]} files in $WORK/data"; return 1; }
  tool org.apache.kafka.tools.DumpLogSegments --deep-iteration --files "$(IFS=,; echo "${files[*]}")" > "$output"
  if grep -iE 'mismatch|corrupt|out of order|isvalid: false|Exception|Found timestamp' "$output" | head -n 3 | grep .; then return 1; fi
  file=$(printf '%s\n' "$WORK"/data/__consumer_offsets-*/*.log | xargs ls -S | head -n 1)
  shows 'key: ."type":"[0-9]+","data":."group"' tool org.apache.kafka.tools.DumpLogSegments --offsets-decoder --files "$file"
  echo "${#files[@]} files, $(grep -c '^| offset' "$output") records; $(basename "$(dirname "$file")") decoded"
}

main
