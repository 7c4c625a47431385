#!/usr/bin/env bash
# The main job with the command-line tool, on a key it makes itself: encrypt a real file, look at the message, decrypt it,
# and see that what came back was verified and is the same.
#
#     examples/demo.sh FILE
set -euo pipefail
file=${1:?which file? say its path}
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cargo build --quiet --release --locked --features cli --bin sealwax --manifest-path "$project/Cargo.toml"
sealwax=${CARGO_TARGET_DIR:-$project/target}/release/sealwax
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

echo "1. a key:       sealwax keygen my.key"
key=$("$sealwax" keygen "$place/my.key")
echo "                $key"
echo "2. encrypt:     sealwax encrypt --key KEY --context purpose=demo -o sealed $file"
"$sealwax" encrypt --key "$key" --context purpose=demo -o "$place/sealed" "$file"
echo "3. inspect:     sealwax inspect sealed"
"$sealwax" inspect "$place/sealed" | sed 's/^/                /'
echo "4. decrypt:     sealwax decrypt --key KEY --context purpose=demo -o back sealed"
"$sealwax" decrypt --key "$key" --context purpose=demo -o "$place/back" "$place/sealed"
cmp "$file" "$place/back"
echo "                verified: key commitment, every frame, and the signature over all; the same $(wc -c <"$place/back") bytes came back"
echo "5. tampering:   one bit changed in the middle"
python3 - "$place/sealed" <<'PYTHON' 2>/dev/null || { echo "                (skipped: no python3)"; exit 0; }
import sys
path = sys.argv[1]
message = bytearray(open(path, "rb").read())
message[len(message) // 2] ^= 1
open(path, "wb").write(message)
PYTHON
if "$sealwax" decrypt --key "$key" -o "$place/never" "$place/sealed" 2>"$place/line"; then
    echo "a changed message was accepted" >&2
    exit 1
fi
sed "s|$place/||; s/^/                /" "$place/line"
test ! -e "$place/never"
