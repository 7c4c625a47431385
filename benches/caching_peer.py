"""Times the official Python SDK without and with its caching materials manager, for benches/caching.rs.

Takes a number of messages; prints one line of JSON: messages a second for each case. The plaintext has 1 KiB and the
key is a raw AES key in memory, as there.
"""

import json
import sys
import time

from aws_encryption_sdk import (
    CachingCryptoMaterialsManager,
    CommitmentPolicy,
    EncryptionSDKClient,
    LocalCryptoMaterialsCache,
)
from aws_encryption_sdk.identifiers import AlgorithmSuite, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey
from aws_encryption_sdk.materials_managers.default import DefaultCryptoMaterialsManager

COUNT = int(sys.argv[1])
PLAINTEXT = bytes(1024)
CLIENT = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
SUITES = {
    "0x0478": AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    "0x0578": AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
}


def key():
    wrapping_key = WrappingKey(WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING, bytes([7] * 32), EncryptionKeyType.SYMMETRIC)
    return RawMasterKey(provider_id="bench", key_id="key", wrapping_key=wrapping_key)


def caching():
    cache = LocalCryptoMaterialsCache(100)
    return CachingCryptoMaterialsManager(master_key_provider=key(), cache=cache, max_age=600.0)


def rate(work):
    work()
    start = time.perf_counter()
    for _ in range(COUNT):
        work()
    return COUNT / (time.perf_counter() - start)


def encrypt(manager, suite):
    return CLIENT.encrypt(source=PLAINTEXT, materials_manager=manager, algorithm=suite)[0]


def decrypt(manager, message):
    CLIENT.decrypt(source=message, materials_manager=manager)


rates = {}
for name, suite in SUITES.items():
    for how, manager in (("uncached", DefaultCryptoMaterialsManager(key())), ("cached", caching())):
        rates[f"{name} encrypt, {how}"] = rate(lambda: encrypt(manager, suite))
        message = encrypt(manager, suite)
        rates[f"{name} decrypt, {how}"] = rate(lambda: decrypt(manager, message))
print(json.dumps(rates))
