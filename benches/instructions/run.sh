#!/usr/bin/env bash
# Counts the instructions of the hot paths and compares them with the stored figures. Installs the counter's runner below
# target/tools; valgrind must be there (Debian: valgrind).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=$(cd "$here/../.." && pwd)/target/tools
version=0.20.0

command -v valgrind >/dev/null || { echo "valgrind is missing: install it first" >&2; exit 1; }
if ! "$tools/bin/gungraun-runner" --version 2>/dev/null | grep -q "$version"; then
    cargo install --quiet --locked --root "$tools" --version "$version" gungraun-runner
fi
cd "$here"
GUNGRAUN_RUNNER="$tools/bin/gungraun-runner" CARGO_TARGET_DIR="$tools/instructions" \
    cargo bench --locked --bench instructions -- "$@"
