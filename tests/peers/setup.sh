#!/usr/bin/env bash
# Installs what the test peers need: the official Python and Node SDKs, and
# servers that stand in for AWS KMS (moto, with the Python one; fakecloud, with
# cargo).
#
#   tests/peers/setup.sh            all of them
#   tests/peers/setup.sh python     just the Python one, with moto
#   tests/peers/setup.sh node       just the Node one
#   tests/peers/setup.sh fakecloud  just fakecloud (see tests/fakecloud)
#
# Everything goes below ${SEALWAX_PEERS_DIR:-<repository>/target/peers}, in
# py/, js/ and fakecloud/. A peer whose pins have not changed since is left as
# it is.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${SEALWAX_PEERS_DIR:-$root/target/peers}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# Runs a command with its output in a log, shown only if the command fails.
quietly() {
    local log=$1
    shift
    if ! "$@" >>"$log" 2>&1; then
        echo "failed: $*" >&2
        cat "$log" >&2
        exit 1
    fi
}

setup_python() {
    local to=$dir/py log=$dir/python.log
    if [ -x "$to/bin/python" ] && cmp -s "$here/requirements.txt" "$to/.stamp"; then
        echo "python peer: ready"
        return
    fi
    : >"$log"
    rm -rf "$to"
    quietly "$log" "${PYTHON:-python3}" -m venv "$to"
    quietly "$log" "$to/bin/python" -m pip install --disable-pip-version-check -r "$here/requirements.txt"
    quietly "$log" "$to/bin/python" -c 'import aws_encryption_sdk, moto.server, s3_encryption'
    cp "$here/requirements.txt" "$to/.stamp"
    echo "python peer: installed"
}

setup_node() {
    local to=$dir/js log=$dir/node.log
    if [ -d "$to/node_modules" ] && cmp -s "$here/package.json" "$to/.stamp"; then
        echo "node peer: ready"
        return
    fi
    : >"$log"
    rm -rf "$to"
    mkdir -p "$to"
    cp "$here/package.json" "$to/package.json"
    quietly "$log" npm install --prefix "$to" --no-audit --no-fund
    quietly "$log" node -e "require(process.argv[1])" "$to/node_modules/@aws-crypto/client-node"
    cp "$here/package.json" "$to/.stamp"
    echo "node peer: installed"
}

setup_fakecloud() {
    local log=$dir/fakecloud.log
    : >"$log"
    quietly "$log" cargo build --locked --manifest-path "$root/tests/fakecloud/Cargo.toml" --target-dir "$dir/fakecloud"
    echo "fakecloud: ready"
}

case ${1:-all} in
    all)
        setup_python
        setup_node
        setup_fakecloud
        ;;
    python) setup_python ;;
    node) setup_node ;;
    fakecloud) setup_fakecloud ;;
    *)
        echo "usage: setup.sh [python|node|fakecloud]" >&2
        exit 2
        ;;
esac
