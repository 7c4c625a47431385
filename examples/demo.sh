#!/usr/bin/env bash
# Shows the main use of the command-line tool, on a key store that it creates itself: encrypts a real
# file, inspects the message, decrypts it, and checks that the result was verified and is the same.
#
#     examples/demo.sh FILE
set -euo pipefail
file=${1:?which file? say its path}
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cargo build --quiet --release --locked --package sealwax-cli --manifest-path "$project/Cargo.toml"
sealwax=${CARGO_TARGET_DIR:-$project/target}/release/sealwax
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
# Do not touch the user's own key store.
export SEALWAX_STORE=$place/keys
indented() { sed "s|$place/||g; s/^/                /"; }

echo "1. encrypt:     sealwax encrypt --create-store --context purpose=demo -o sealed $file"
"$sealwax" encrypt --create-store --context purpose=demo -o "$place/sealed" "$file" 2>&1 | indented
echo "2. inspect:     sealwax inspect sealed"
"$sealwax" inspect "$place/sealed" | indented
echo "3. decrypt:     sealwax decrypt --context purpose=demo -o back sealed"
"$sealwax" decrypt --context purpose=demo -o "$place/back" "$place/sealed"
cmp "$file" "$place/back"
echo "                verified: key commitment, every frame, and the signature over all; the same $(wc -c <"$place/back") bytes came back"
echo "4. rotation:    sealwax keys rotate default; what was encrypted before opens still"
"$sealwax" keys rotate default | indented
"$sealwax" verify "$place/sealed" 2>&1 | indented
echo "5. tampering:   one bit changed in the middle"
python3 - "$place/sealed" <<'PYTHON' 2>/dev/null || { echo "                (skipped: no python3)"; exit 0; }
import sys
path = sys.argv[1]
message = bytearray(open(path, "rb").read())
message[len(message) // 2] ^= 1
open(path, "wb").write(message)
PYTHON
if "$sealwax" decrypt -o "$place/never" "$place/sealed" 2>"$place/line"; then
    echo "a changed message was accepted" >&2
    exit 1
fi
indented <"$place/line"
test ! -e "$place/never"
