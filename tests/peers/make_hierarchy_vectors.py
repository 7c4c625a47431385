"""Known answers for the hierarchical keyring, written to tests/vectors/hierarchy.json.

Computed from the specification with hashlib, hmac and the AES of `cryptography`, apart from the library and from the official SDKs:

    target/peers/py/bin/python tests/peers/make_hierarchy_vectors.py

"wrapped" are data keys wrapped under a branch key: salt, IV and everything else are fixed. "cache_ids" are identities of cache entries.
"""

import hashlib
import hmac
import json
import pathlib
import random
import struct
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LABEL = b"aws-kms-hierarchy"
OUT = pathlib.Path(__file__).parent.parent / "vectors" / "hierarchy.json"

# The same file every time.
SOURCE = random.Random("sealwax hierarchy")


def serialize(context):
    """The encryption context as structures.md has it, without a total length; nothing for an empty one."""
    if not context:
        return b""
    pairs = sorted((key.encode(), value.encode()) for key, value in context.items())
    out = struct.pack(">H", len(pairs))
    for key, value in pairs:
        out += struct.pack(">H", len(key)) + key + struct.pack(">H", len(value)) + value
    return out


def derive(branch_key, salt):
    """SP 800-108 in counter mode: [1] || label || 00 || salt || [256], one block of HMAC-SHA-256."""
    message = struct.pack(">I", 1) + LABEL + b"\0" + salt + struct.pack(">I", 256)
    return hmac.new(branch_key, message, hashlib.sha256).digest()


def wrapped(branch_key_id, length, context):
    branch_key, salt, iv = SOURCE.randbytes(32), SOURCE.randbytes(16), SOURCE.randbytes(12)
    version, data_key = uuid.UUID(bytes=SOURCE.randbytes(16), version=4), SOURCE.randbytes(length)
    key = derive(branch_key, salt)
    aad = LABEL + branch_key_id.encode() + version.bytes + serialize(context)
    sealed = salt + iv + version.bytes + AESGCM(key).encrypt(iv, data_key, aad)
    return {
        "branch_key_id": branch_key_id,
        "branch_key": branch_key.hex(),
        "version": str(version),
        "context": context,
        "data_key": data_key.hex(),
        "derived_key": key.hex(),
        "wrapped": sealed.hex(),
    }


def cache_id(partition, logical_name, branch_key_id, version):
    fields = [b"\x02", b"\x01" if version is None else b"\x02", partition.encode(), logical_name.encode(), branch_key_id.encode()]
    if version is not None:
        fields.append(version.encode())
    return {
        "partition": partition,
        "logical_name": logical_name,
        "branch_key_id": branch_key_id,
        "version": version,
        "id": hashlib.sha384(b"\0".join(fields)).hexdigest(),
    }


CONTEXTS = [
    {},
    {"tenant": "blue"},
    {"\U00010002": "astral", "\uff61": "bmp", "a": "", "aws-crypto-public-key": "AhS3"},
]
IDS = ["orders", "b", "ключ \U0001f511 / 1", "x" * 2048]
VERSION = "0f8fad5b-d9cb-469f-a165-70867728950e"

vectors = {
    "wrapped": [wrapped(name, length, context) for name in IDS for length in (16, 24, 32) for context in CONTEXTS],
    "cache_ids": [
        cache_id(partition, logical, name, version)
        for partition in ("partition", "ü")
        for logical in ("orders", "a longer logical name")
        for name in IDS
        for version in (None, VERSION)
    ],
}
OUT.write_text(json.dumps(vectors, indent=1) + "\n")
print("%d wrapped data keys, %d cache ids" % (len(vectors["wrapped"]), len(vectors["cache_ids"])))
