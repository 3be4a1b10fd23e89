#!/usr/bin/env bash
# Runs every test there is and closes with `N passed, N failed, N skipped`.
#
# A section is a command; its output goes to target/test-logs/<section>.log and its verdicts are counted from there:
# cargo's `test result:` lines, or lines that begin with `ok - `, `not ok - ` and `skip - `.
# SECTIONS="rust clients" chooses some of: format rust fuzz programs clients interop tools differential charts operator chaos release kubernetes lints deny.
set -uo pipefail
cd "$(dirname "$0")/.."
TARGET_DIR=${CARGO_TARGET_DIR:-target}
HOST=$(rustc -vV | sed -n 's/^host: //p')
LOGS=$TARGET_DIR/test-logs
mkdir -p "$LOGS"
export BARNABAS_BIN=$(cd "$TARGET_DIR" && pwd)/$HOST/release
passed=0 failed=0 skipped=0
ran=" "

# wanted NAME...: whether one of these sections is chosen.
wanted() {
  local name
  for name in "$@"; do
    case " ${SECTIONS:-$name} " in *" $name "*) return 0 ;; esac
  done
  return 1
}

# What later sections build for themselves first, made while nothing else wants the machine: sections before them wait a lot.
prepare() {
  if wanted charts operator kubernetes; then e2e/kubernetes/build.sh; fi
  if wanted deny; then make --no-print-directory cargo-deny; fi
  if wanted lints; then lints; fi
}

lints() { cargo clippy --locked --workspace --all-targets --quiet -- -D warnings; }

# section NAME SECONDS COMMAND...: runs COMMAND for at most SECONDS, shows its verdict lines, counts them.
section() {
  local name=$1 limit=$2 log=$LOGS/$1.log started=$SECONDS status p f s
  shift 2
  wanted "$name" || return
  ran+="$name "
  echo "== $name: $*"
  timeout --kill-after=30 "$limit" "$@" > "$log" 2>&1 < /dev/null
  status=$?
  grep -E '^(ok|not ok|skip) - |^test result: FAILED|^test .* FAILED$|^panicked|^error(\[|:)' "$log"
  p=$(($(grep -c '^ok - ' "$log") + $(sed -nE 's/^test result: .* ([0-9]+) passed;.*/\1/p' "$log" | paste -sd+ | sed 's/^$/0/')))
  f=$(($(grep -c '^not ok - ' "$log") + $(sed -nE 's/^test result: .* ([0-9]+) failed;.*/\1/p' "$log" | paste -sd+ | sed 's/^$/0/')))
  s=$(($(grep -c '^skip - ' "$log") + $(sed -nE 's/^test result: .* ([0-9]+) ignored;.*/\1/p' "$log" | paste -sd+ | sed 's/^$/0/')))
  if [ "$status" -eq 0 ] && [ $((p + f + s)) -eq 0 ]; then p=1; fi
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
    f=1
    if [ "$status" -eq 124 ]; then echo "not ok - $name: not done within $limit s"; else echo "not ok - $name: exit code $status"; fi
  fi
  if [ "$f" -gt 0 ]; then echo "-- the end of $log:"; tail -n 60 "$log"; fi
  echo "== $name: $p passed, $f failed, $s skipped in $((SECONDS - started)) s"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

section format 120 cargo fmt --all --check
export -f prepare wanted lints
timeout --kill-after=30 3000 nice -n 19 bash -c prepare > "$LOGS/preparations.log" 2>&1 < /dev/null &
preparations=$!
trap 'kill "$preparations" 2> /dev/null' EXIT
section rust 1800 cargo test --locked --workspace --no-fail-fast
section fuzz 900 env RUNS=0 SECONDS_EACH=4 fuzz/run.sh
section programs 1800 make --no-print-directory build
section clients 1200 e2e/run-clients.sh
section interop 1500 e2e/run-interop.sh
section tools 600 e2e/run-tools.sh
section differential 600 e2e/run-differential.sh
# Whatever failed there is tried again, and told, by the section that needs it.
wait "$preparations"
section charts 1500 e2e/run-charts.sh
section operator 1200 e2e/run-operator.sh
section chaos 600 e2e/run-chaos.sh
section release 300 e2e/run-release.sh
section kubernetes 2400 e2e/run-kubernetes.sh
section lints 1500 bash -c lints
section deny 900 make --no-print-directory deny

for name in ${SECTIONS:-}; do
  [[ $ran == *" $name "* ]] || { echo "not ok - there is no section $name"; failed=$((failed + 1)); }
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
