#!/usr/bin/env bash
# Runs every fuzz target for a short time, starting from the seeds. Fails on any crash.
#
#   fuzz/smoke.sh                      10 seconds a target
#   SECONDS_EACH=60 fuzz/smoke.sh      longer
#   fuzz/smoke.sh decrypt              only these targets
set -euo pipefail

CARGO_FUZZ_VERSION=0.13.2
SECONDS_EACH=${SECONDS_EACH:-10}

fuzz=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$fuzz/.."
# The sanitizer needs unstable compiler flags; this lets a stable compiler accept them.
export RUSTC_BOOTSTRAP=1

if [[ $(cargo fuzz --version 2>/dev/null || true) != "cargo-fuzz $CARGO_FUZZ_VERSION" ]]; then
    cargo install cargo-fuzz --version "$CARGO_FUZZ_VERSION" --locked
fi

targets=("$@")
if ((${#targets[@]} == 0)); then
    targets=(header decrypt round_trip providers s3ec)
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

failed=0
for target in "${targets[@]}"; do
    cargo fuzz build --fuzz-dir "$fuzz" "$target"
    # libFuzzer adds what it finds to its corpus: that is a copy of the seeds.
    cp -r "$fuzz/seeds/$target" "$scratch/$target"
    log=$scratch/$target.log
    # A small bound on single allocations: no length that a message declares is believed before its bytes are there.
    if cargo fuzz run --fuzz-dir "$fuzz" "$target" "$scratch/$target" -- \
        -max_total_time="$SECONDS_EACH" -max_len=8192 -timeout=10 -malloc_limit_mb=8 -print_final_stats=1 \
        >"$log" 2>&1; then
        executions=$(awk '/stat::number_of_executed_units/ { print $2 }' "$log")
        coverage=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1)
        echo "$target: ok, ${executions:?} executions in $SECONDS_EACH seconds, $coverage"
    else
        cat "$log" >&2
        echo "$target: FAILED; the input is in fuzz/artifacts/$target" >&2
        failed=1
    fi
done
exit "$failed"
