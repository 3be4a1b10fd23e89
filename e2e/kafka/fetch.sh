#!/usr/bin/env bash
# fetch.sh [VERSION]: brings Apache Kafka's jars (default 4.3.0) from Maven Central into the cache, once, and prints their folder.
# Run a tool with: java -cp "$(e2e/kafka/fetch.sh)/*" org.apache.kafka.tools.ConsoleProducer ...
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
VERSION=${1:-4.3.0}
CACHE=${BARNABAS_CACHE:-$HERE/../../.cache}
OUT=$CACHE/kafka-$VERSION
if [ ! -f "$OUT/.complete" ]; then
  for tool in java mvn; do
    command -v $tool > /dev/null || { echo "$tool is missing: install a JDK 17 and Maven (Debian: apt-get install openjdk-17-jdk-headless maven)" >&2; exit 1; }
  done
  mkdir -p "$OUT"
  mvn --batch-mode --quiet -f "$HERE/pom.xml" -Dkafka.version="$VERSION" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DoutputDirectory="$(cd "$OUT" && pwd)" -DincludeScope=runtime >&2
  touch "$OUT/.complete"
fi
cd "$OUT" && pwd
