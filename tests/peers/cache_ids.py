"""Computes the ids of cache entries apart from sealwax, one JSON request a line, for tests/per_provider/caching/ids.rs.

    {"partition":..,"suite":"0x0478"|null,"context":{..}}                 for encryption
    {"partition":..,"suite":"0x0478","context":{..},"keys":[[..],..]}     for decryption; ciphertexts etc. in base64
        -> {"spec":..,"sdk":..|null,"legacy":..|null}                     in hexadecimal

"spec" is the formula of the specification, framework/caching-cmm 0.4.0, appendix A, with nothing but hashlib: SHA-384
over fields joined by zero bytes.

"sdk" is the same formula over what the official Python SDK and its material providers library serialize, and with their
constants for what the library calls RESOURCE_ID_CACHING_CMM and SCOPE_ID_ENCRYPT or _DECRYPT.

"legacy" is what the caching manager of the Python SDK itself computes: the formula of version 0.3.0 of the specification,
SHA-512 over SHA-512 digests. No release of the Python SDK or the library computes the ids of version 0.4.0.
"""

import base64
import hashlib
import json
import struct
import sys

try:
    from aws_cryptographic_material_providers.internaldafny.generated import CacheConstants
    from aws_encryption_sdk.caches import build_decryption_materials_cache_key, build_encryption_materials_cache_key
    from aws_encryption_sdk.identifiers import AlgorithmSuite
    from aws_encryption_sdk.internal.formatting.encryption_context import serialize_encryption_context
    from aws_encryption_sdk.internal.formatting.serialize import serialize_encrypted_data_key
    from aws_encryption_sdk.materials_managers import DecryptionMaterialsRequest, EncryptionMaterialsRequest
    from aws_encryption_sdk.structures import EncryptedDataKey, MasterKeyInfo
except ImportError:
    AlgorithmSuite = None

NULL = b"\x00"


def context_bytes(context):
    if not context:
        return b""
    pairs = sorted((key.encode(), value.encode()) for key, value in context.items())
    out = struct.pack(">H", len(pairs))
    for pair in pairs:
        for text in pair:
            out += struct.pack(">H", len(text)) + text
    return out


def key_bytes(key):
    return b"".join(struct.pack(">H", len(field)) + field for field in key)


def spec_id(resource, encrypt, decrypt, request, context, keys):
    suite = None if request["suite"] is None else int(request["suite"], 16).to_bytes(2, "big")
    partition = request["partition"].encode()
    if keys is not None:
        fields = [resource, decrypt, partition, suite, b"".join(sorted(keys)), context]
    elif suite is None:
        fields = [resource, encrypt, partition, b"\x00", context]
    else:
        fields = [resource, encrypt, partition, b"\x01", suite, context]
    return hashlib.sha384(NULL.join(fields)).hexdigest()


def sdk_constant(name):
    return bytes(getattr(CacheConstants.default__, name).Elements)


def answer(request):
    keys = request.get("keys")
    keys = None if keys is None else [[base64.b64decode(field) for field in key] for key in keys]
    serialized = None if keys is None else [key_bytes(key) for key in keys]
    spec = spec_id(b"\x01", b"\x01", b"\x02", request, context_bytes(request["context"]), serialized)
    if AlgorithmSuite is None:
        return {"spec": spec, "sdk": None, "legacy": None}

    suite = None if request["suite"] is None else AlgorithmSuite.get_by_id(int(request["suite"], 16))
    sdk_keys = None if keys is None else [
        EncryptedDataKey(key_provider=MasterKeyInfo(provider_id=key[0].decode(), key_info=key[1]), encrypted_data_key=key[2])
        for key in keys
    ]
    names = ("RESOURCE__ID__CACHING__CMM", "SCOPE__ID__ENCRYPT", "SCOPE__ID__DECRYPT")
    serialized = None if keys is None else [serialize_encrypted_data_key(key) for key in sdk_keys]
    context = serialize_encryption_context(request["context"])
    sdk = spec_id(*map(sdk_constant, names), request, context, serialized)
    if keys is None:
        legacy = build_encryption_materials_cache_key(
            request["partition"].encode(),
            EncryptionMaterialsRequest(
                encryption_context=request["context"], frame_length=4096, algorithm=suite, plaintext_length=None
            ),
        )
    else:
        legacy = build_decryption_materials_cache_key(
            request["partition"].encode(),
            DecryptionMaterialsRequest(
                algorithm=suite, encrypted_data_keys=set(sdk_keys), encryption_context=request["context"]
            ),
        )
    return {"spec": spec, "sdk": sdk, "legacy": legacy.hex()}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
