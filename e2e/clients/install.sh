#!/usr/bin/env bash
# install.sh [NAME]: brings the clients of this folder into the cache and prints, a line each: name, a tab, the command that runs it.
# What cannot be had is a line `name`, a tab, `-`, a tab, the reason. Everything comes by a package manager: Maven, pip, Go modules, npm, apt.
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/../kubernetes/lib.sh"
JAVA_VERSIONS=(4.3.0 3.9.1 2.8.2)
LOG=$(mktemp /tmp/barnabas-install.XXXXXX)
trap 'rm -f "$LOG"' EXIT

WANTED=${1:-}

main() {
  local version
  for version in "${JAVA_VERSIONS[@]}"; do
    client "java-${version%.*}" java_client "$version"
  done
  client librdkafka python_client
  client kcat kcat_client
  client franz-go go_client
  client kafkajs javascript_client
}

# client NAME COMMAND...: COMMAND prints how to run the client; its last line of errors is the reason if it cannot.
client() {
  local name=$1 command
  [ "${WANTED:-$name}" = "$name" ] || return 0
  shift
  if command=$("$@" 2> "$LOG"); then
    printf '%s\t%s\n' "$name" "$command"
  else
    sed 's/^/    /' "$LOG" >&2
    printf '%s\t-\t%s\n' "$name" "$(grep -v '^[[:space:]]*$' "$LOG" | tail -n 1)"
  fi
}

hash_of() { cat "$@" | sha256sum | cut -c1-8; }
needs() { command -v "$1" > /dev/null || { echo "$1 is missing: $2" >&2; return 1; }; }

java_client() {
  local version=$1 out
  out=$CACHE/java-client-$version-$(hash_of "$HERE"/java/*)
  if [ ! -e "$out/complete" ]; then
    needs javac "install a JDK 17 or later" && needs mvn "install Maven" || return 1
    mvn --batch-mode --quiet -f "$HERE/java/pom.xml" -Dkafka.version="$version" \
      org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DoutputDirectory="$out" -DincludeScope=runtime >&2 || return 1
    javac -nowarn -Xlint:none -cp "$out/*" -d "$out/classes" "$HERE"/java/*.java >&2 || return 1
    touch "$out/complete"
  fi
  say "java -Xmx512m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp $out/classes:$out/* Client"
}

python_client() {
  local python
  python=$("$HERE/python.sh") || return 1
  say "$python $HERE/python/client.py"
}

kcat_client() {
  debian_packages kcat >&2 || return 1
  say "python3 $HERE/kcat/client.py"
}

go_client() {
  local out
  out=$CACHE/go-client-$(hash_of "$HERE"/go/*)
  if [ ! -x "$out/client" ]; then
    needs go "install Go 1.24 or later" || return 1
    (cd "$HERE/go" && go build -o "$out/client" .) >&2 || return 1
  fi
  say "$out/client"
}

# Native parts of the packages come as packages of their own; no install script runs.
javascript_client() {
  local out
  out=$CACHE/javascript-client-$(hash_of "$HERE/javascript/package-lock.json")
  needs node "install Node 20 or later" || return 1
  if [ ! -e "$out/complete" ]; then
    needs npm "install Node 20 or later with npm" || return 1
    mkdir -p "$out"
    cp "$HERE"/javascript/package*.json "$out/"
    (cd "$out" && npm ci --ignore-scripts --no-audit --no-fund) >&2 || return 1
    touch "$out/complete"
  fi
  say "env KAFKAJS_NO_PARTITIONER_WARNING=1 NODE_PATH=$out/node_modules node $HERE/javascript/client.js"
}

main
