#!/usr/bin/env python3
"""The ways to encrypt an object in S3, side by side, on a server that this script starts itself.

    tests/peers/setup.sh python
    cargo build --package sealwax-cli
    target/peers/py/bin/python examples/workshop/workshop.py target/debug/sealwax

Needs moto, boto3 and the command-line tool of this project, and touches nothing outside of a
temporary directory: not the account, the configuration or the key store of the user.
"""

import hashlib
import logging
import os
import pathlib
import subprocess
import sys
import tempfile

from moto.server import ThreadedMotoServer

BUCKET, NAME = "workshop", "payroll.csv"
SECRET = b"alice,120000"
TEXT = b"name,salary\n" + SECRET + b"\nbob,90000\n"
WAYS = ["SSE-S3", "SSE-KMS", "SSE-C", "client-side"]

# What each way protects against. docs/CHOOSING.md has the long form.
TABLE = [
    ("a stolen disk", "yes", "yes", "yes", "yes"),
    ("a bucket that is open by mistake", "no", "yes", "yes", "yes"),
    ("the provider, and who compels it", "no", "no", "not during requests", "yes"),
    ("an object that was changed", "no", "no", "no", "yes, refused"),
    ("two objects that were exchanged", "no", "no", "no", "yes, by its context"),
    ("an older version of an object", "no", "no", "no", "no"),
    ("loss of the key", "not yours", "until deleted", "no: lost", "keep a second key"),
]


def step(text):
    print("\n" + text)


def say(way, text):
    print("   %-12s %s" % (way, text))


class Tool:
    """The command-line tool, with a key store of its own."""

    def __init__(self, program, store):
        self.program = program
        self.environment = {**os.environ, "SEALWAX_STORE": str(store)}

    def run(self, *arguments, fails=False):
        done = subprocess.run([self.program, *map(str, arguments)], env=self.environment, capture_output=True)
        if fails != (done.returncode != 0):
            sys.exit("sealwax %s: %s" % (" ".join(map(str, arguments)), done.stderr.decode()))
        if not fails:
            return done.stdout
        # What it says, without the program and the path.
        return done.stderr.decode().strip().splitlines()[0].split(": ", 2)[-1]


def main():
    program = os.path.abspath(sys.argv[1])
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    # Nothing here may reach anything else, or read anyone's configuration.
    for name in [name for name in os.environ if name.startswith(("AWS_", "SEALWAX_"))]:
        del os.environ[name]
    os.environ.update(
        AWS_ENDPOINT_URL="http://127.0.0.1:%d" % server.get_host_and_port()[1],
        AWS_ACCESS_KEY_ID="workshop",
        AWS_SECRET_ACCESS_KEY="workshop",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
    )
    try:
        with tempfile.TemporaryDirectory() as place:
            workshop(program, pathlib.Path(place))
    finally:
        server.stop()


def workshop(program, place):
    import boto3
    from moto.s3.models import s3_backends

    s3, kms = boto3.client("s3"), boto3.client("kms")
    s3.create_bucket(Bucket=BUCKET)

    step("1. A key, with a name that can later stand for another one")
    key = kms.create_key(Description="workshop")["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/workshop", TargetKeyId=key)
    say("KMS", "alias/workshop is %s" % key)
    mine = Tool(program, place / "my-keys")
    (place / NAME).write_bytes(TEXT)
    # The first encryption makes the key store; then it gets a key of its own for this.
    mine.run("encrypt", "--create-store", "-o", place / "first", place / NAME)
    mine.run("keys", "create", "--alias", "workshop")
    say("sealwax", "local:workshop is in a directory of mine")

    step("2. The same file, put in four ways")
    customer_key = hashlib.sha256(b"a key that I keep").digest()
    with_key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": customer_key}
    context = "path=%s/client-side/%s" % (BUCKET, NAME)
    sealed = place / "sealed"
    mine.run("encrypt", "--key", "local:workshop", "--context", context, "-o", sealed, place / NAME)
    for way, body, options in [
        ("SSE-S3", TEXT, {"ServerSideEncryption": "AES256"}),
        ("SSE-KMS", TEXT, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/workshop"}),
        ("SSE-C", TEXT, with_key),
        ("client-side", sealed.read_bytes(), {}),
    ]:
        s3.put_object(Bucket=BUCKET, Key="%s/%s" % (way, NAME), Body=body, **options)
        say(way, "sent %s bytes, %s" % (len(body), "the plaintext" if SECRET in body else "a message"))

    def get(way):
        options = with_key if way == "SSE-C" else {}
        return s3.get_object(Bucket=BUCKET, Key="%s/%s" % (way, NAME), **options)

    step("3. What the provider has: the metadata, and the bytes that its own programs work with")
    stored = s3_backends["123456789012"]["aws"].buckets[BUCKET].keys
    for way in WAYS:
        answer = get(way)
        named = answer.get("ServerSideEncryption") or answer.get("SSECustomerAlgorithm") or "nothing"
        sees = SECRET in stored["%s/%s" % (way, NAME)].value
        assert sees == (way != "client-side")
        say(way, "metadata names %-8s the provider %s" % (named, "reads the salaries" if sees else "sees only a message"))
    print("   (The server of this workshop keeps plaintext where S3 would write it encrypted to its disks,")
    print("   with a key that S3 can use. Its operators, and a request that is allowed to, get plaintext.)")

    step("4. Read back and compared")
    for way in WAYS:
        body = get(way)["Body"].read()
        if way == "client-side":
            sealed.write_bytes(body)
            body = mine.run("decrypt", "--context", context, "-o", "-", sealed)
        assert body == TEXT, way
        say(way, "the same %d bytes" % len(body))

    step("5. A second user, who may read the bucket but has no key")
    say("SSE-S3", "reads it: permission for the bucket is all it takes")
    say("SSE-KMS", "S3 would ask for permission for the key; the server of this workshop does not")
    say("SSE-C", "S3 would ask for the key; the server of this workshop does not")
    theirs = Tool(program, place / "their-keys")
    theirs.run("encrypt", "--create-store", "-o", place / "theirs", place / NAME)
    say("client-side", "refused: " + theirs.run("decrypt", "--context", context, "-o", "-", sealed, fails=True))
    other = "path=%s/client-side/other.csv" % BUCKET
    say("client-side", "under another name: " + mine.run("decrypt", "--context", other, "-o", "-", sealed, fails=True))
    altered = bytearray(sealed.read_bytes())
    altered[-130] ^= 1
    (place / "altered").write_bytes(altered)
    refused = mine.run("decrypt", "--context", context, "-o", "-", place / "altered", fails=True)
    say("client-side", "one bit changed: " + refused)

    step("6. Rotated: new objects get new key material, old ones still open")
    kms.enable_key_rotation(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    say("SSE-KMS", "rotates once a year by itself")
    mine.run("keys", "rotate", "workshop")
    assert mine.run("decrypt", "--context", context, "-o", "-", sealed) == TEXT
    say("client-side", "rotated now; the object still opens")

    step("7. Cleaned up")
    for way in WAYS:
        s3.delete_object(Bucket=BUCKET, Key="%s/%s" % (way, NAME))
    s3.delete_bucket(Bucket=BUCKET)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    say("S3, KMS", "no objects; the key is deleted in seven days, and can be kept until then")

    step("What each way protects against")
    widths = [max(map(len, column)) for column in zip(("", *WAYS), *TABLE)]
    for row in [("", *WAYS), *TABLE]:
        print("   " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


if __name__ == "__main__":
    main()
