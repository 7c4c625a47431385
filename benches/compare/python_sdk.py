"""The official Python SDK as a participant of run.py."""

import io
import json
import sys
import time

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey

SIZE = int(sys.argv[1])
PLAINTEXT = bytes(at * 31 % 251 for at in range(1 << 12)) * (SIZE >> 12)
CLIENT = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
KEY = RawMasterKey(
    provider_id="bench",
    key_id="key",
    wrapping_key=WrappingKey(WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING, bytes([7] * 32), EncryptionKeyType.SYMMETRIC),
)
SUITES = {
    "unsigned": AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    "signed": AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
}


def encrypt(suite, frame):
    return CLIENT.encrypt(source=PLAINTEXT, key_provider=KEY, algorithm=suite, frame_length=frame)[0]


def stream(mode, source, **options):
    with CLIENT.stream(mode=mode, source=io.BytesIO(source), key_provider=KEY, **options) as pieces:
        for _ in pieces:
            pass


def cases():
    for kib in (4, 64):
        for name, suite in SUITES.items():
            frame, what = kib << 10, f"{name}, {kib} KiB"
            message = encrypt(suite, frame)
            options = {"algorithm": suite, "frame_length": frame, "source_length": SIZE}
            yield "official Python SDK", f"encrypt {what}", lambda s=suite, f=frame: encrypt(s, f)
            yield "official Python SDK", f"decrypt {what}", lambda m=message: CLIENT.decrypt(source=m, key_provider=KEY)
            yield "official Python SDK, stream", f"encrypt {what}", lambda o=options: stream("e", PLAINTEXT, **o)
            if name == "unsigned":
                yield "official Python SDK, stream", f"decrypt {what}", lambda m=message: stream("d", m)


CASES = list(cases())
for who, what, _ in CASES:
    print(json.dumps({"who": who, "what": what, "bytes": SIZE, "bound": False}))
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    CASES[int(line)][2]()
    print(time.perf_counter() - start, flush=True)
