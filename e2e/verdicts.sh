# Sourced by the tests that are scripts: one line for each thing that was tried, and a count at the end.
# shellcheck shell=bash

PASSED=0 FAILED=0 SKIPPED=0

# verdict WHAT COMMAND...: runs the command apart, with `set -e`; its last line becomes the figure or the reason.
# Call it as a plain command: after `if`, or before `||`, bash ignores `set -e` in all that is called from there. VERDICT is its exit code.
verdict() {
  local what=$1 output status last
  shift
  output=$(mktemp)
  ( set -euo pipefail; "$@" ) > "$output" 2>&1
  status=$?
  sed 's/^/    /' "$output" >&2
  last=$(grep -v '^[[:space:]]*$' "$output" | tail -n 1)
  rm -f "$output"
  if [ "$status" -eq 0 ]; then
    PASSED=$((PASSED + 1))
    printf 'ok - %s%s\n' "$what" "${last:+ ($last)}"
  else
    FAILED=$((FAILED + 1))
    printf 'not ok - %s: %s\n' "$what" "${last:-exit code $status}"
  fi
  VERDICT=$status
}

# verdict_or_end WHAT COMMAND...: what follows makes no sense without it.
verdict_or_end() {
  verdict "$@"
  [ "$VERDICT" -eq 0 ] || { closing_line; exit 1; }
}

# try WHAT COMMAND...: a verdict, if its name matches the pattern ONLY.
try() {
  [[ "$1" =~ ${ONLY:-.} ]] || return 0
  verdict "$@"
}

skip() {
  SKIPPED=$((SKIPPED + 1))
  printf 'skip - %s: %s\n' "$1" "$2"
}

closing_line() {
  printf '%s passed, %s failed, %s skipped\n' "$PASSED" "$FAILED" "$SKIPPED"
  [ "$FAILED" -eq 0 ]
}
