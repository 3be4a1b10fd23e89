#!/usr/bin/env bash
# broker.sh standalone --data-dir DIR --listen HOST:PORT [...]: Apache Kafka behind the options of our own broker, with the values of its quick start.
# A test that takes a broker program takes this one too, so that one sees what the original does: BARNABAS_BROKER=e2e/kafka/broker.sh e2e/run-interop.sh
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DATA=./data LISTEN=127.0.0.1:9092 MORE=
while [ $# -gt 0 ]; do
  case $1 in
    --data-dir) DATA=$2; shift ;;
    --listen) LISTEN=$2; shift ;;
    --config) MORE+=$2$'\n'; shift ;;
    --metrics) shift ;;
  esac
  shift
done
JARS=$("$HERE/fetch.sh")
mkdir -p "$DATA"
SETTINGS=$DATA.properties
if [ ! -e "$SETTINGS" ]; then
  CONTROLLER=$(python3 "$HERE/../clients/addresses.py")
  cat > "$SETTINGS" <<PROPERTIES
process.roles=broker,controller
node.id=0
controller.quorum.voters=0@$CONTROLLER
listeners=PLAINTEXT://$LISTEN,CONTROLLER://$CONTROLLER
advertised.listeners=PLAINTEXT://$LISTEN
controller.listener.names=CONTROLLER
log.dirs=$DATA
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=100
$MORE
PROPERTIES
  java -cp "$JARS/*" kafka.tools.StorageTool format --cluster-id 4L6g3nShT-eMCtK--X86sw --config "$SETTINGS" > /dev/null
fi
exec java -Xms512m -Xmx1g -XX:+UseG1GC -cp "$JARS/*" kafka.Kafka "$SETTINGS"
