#!/usr/bin/env bash
# Builds the fuzz program with coverage and lets libFuzzer drive each target.
#
#   fuzz/run.sh                         every target, 10,000,000 executions each
#   RUNS=0 SECONDS_EACH=5 fuzz/run.sh   every target for five seconds (the form of `make test`)
#   fuzz/run.sh request batch           only these
#
# The stable toolchain is enough: libFuzzer needs coverage, which is a pass of LLVM, and no sanitizer, since the code
# under test is safe Rust; memory is bounded by the targets themselves and by the limit on the process.
# The corpus starts from seeds that the targets make, and grows in .cache/fuzz; what broke a promise lies there, too.
set -uo pipefail
cd "$(dirname "$0")/.."
RUNS=${RUNS:-10000000}
SECONDS_EACH=${SECONDS_EACH:-0}
RSS_LIMIT_MIB=256
# Seconds that one input may take, by the clock of the wall: more where others take the machine.
TIMEOUT=${TIMEOUT:-10}
HOST=$(rustc -vV | sed -n 's/^host: //p')
TARGET_DIR=${CARGO_TARGET_DIR:-target}/fuzz
CACHE=${BARNABAS_CACHE:-.cache}/fuzz
COVERAGE="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"

echo "building the fuzz program"
if ! CARGO_TARGET_DIR=$TARGET_DIR RUSTFLAGS="--cfg fuzzing $COVERAGE" \
  cargo build --locked --quiet --profile fuzz --target "$HOST" -p fuzz --features libfuzzer; then
  echo "not ok - the fuzz program does not build"
  exit 1
fi
PROGRAM=$TARGET_DIR/$HOST/fuzz/fuzz
if [ $# -eq 0 ]; then
  # Without a target it names them all.
  read -r -a targets <<< "$(FUZZ_TARGET='' "$PROGRAM" 2>&1 | sed -n 's/.*one of: //p')"
else
  targets=("$@")
fi

failed=0
for target in "${targets[@]}"; do
  corpus=$CACHE/corpus/$target findings=$CACHE/findings/$target log=$CACHE/$target.log
  mkdir -p "$corpus" "$findings" "$CACHE/seeds/$target"
  export FUZZ_TARGET=$target
  limits=(-rss_limit_mb=$RSS_LIMIT_MIB -max_len=4096 -timeout="$TIMEOUT" -artifact_prefix="$findings/" -print_final_stats=1)
  [ "$RUNS" -gt 0 ] && limits+=(-runs="$RUNS")
  [ "$SECONDS_EACH" -gt 0 ] && limits+=(-max_total_time="$SECONDS_EACH")
  if FUZZ_SEEDS=$CACHE/seeds/$target "$PROGRAM" 2> "$log" &&
    "$PROGRAM" "${limits[@]}" "$corpus" "$CACHE/seeds/$target" > "$log" 2>&1; then
    verdict=ok
  else
    verdict="not ok" failed=1
    grep -aE 'panicked|assertion|ERROR|^  (left|right)' "$log" | head -n 5
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  rss=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
  echo "$verdict - fuzz $target: ${runs:-?} executions, peak ${rss:-?} MiB"
done
exit $failed
