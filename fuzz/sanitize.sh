#!/usr/bin/env bash
# Runs the tests of streams, threads and ranges under the address and leak sanitizers. Takes some minutes.
#
#   fuzz/sanitize.sh                          these tests
#   fuzz/sanitize.sh --test all -- ranges::   only some
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
tests=("$@")
if ((${#tests[@]} == 0)); then
    tests=(--lib --test all --test resources -- ranges:: async_streams:: reencrypt:: parallel:: verify_first:: message::)
fi
# The sanitizers need compiler flags that are unstable; this lets a stable compiler take them.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
CARGO_TARGET_DIR=target/sanitize cargo test --locked --target "$target" \
    --features fs,tokio,futures,aws-lc-rs "${tests[@]}"
