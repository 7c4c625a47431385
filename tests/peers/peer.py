"""Serves the official Python SDK over JSON lines, for the interoperability tests.

Reads one JSON object per line from stdin and answers each with one JSON
object on stdout, until stdin ends. Binary values are base64.

    {"op":"hello"}
        -> {"ok":true,"name":"python","version":..,"suites":["0x0014",..],
            "frame_multiple":128}
    {"op":"encrypt","keys":[{"namespace":..,"name":..,"key":..},..],
     "suite":"0x0478","frame_length":4096,"context":{..},"plaintext":..,
     "keyring":"raw"|"mpl","required":[..]}
        -> {"ok":true,"message":..}
    {"op":"decrypt","keys":[..],"message":..,"keyring":..,"context":{..},
     "required":[..]}
        -> {"ok":true,"plaintext":..,"context":{..},"suite":"0x0478"}
    anything that fails
        -> {"ok":false,"error":"ClassName: text"}

An RSA key has "padding":"pkcs1"|"oaep-sha1"|"oaep-sha256"|"oaep-sha384"|
"oaep-sha512" and, as PEM text, "public" and "private" instead of "key".

"suite" defaults to 0x0578, "frame_length" to 4096, "context" to none and
"keyring" to "raw". The first key generates the data key, the others wrap it.

"raw" means the SDK's own raw master keys, "mpl" the keyrings of the material
providers library. "context" on decrypt means the expected pairs: with "mpl"
the SDK reproduces and checks them, with "raw" (where the SDK refuses the
argument) this server compares them with the message's header. "required"
works with "mpl" only, and means the keys of its required encryption context
CMM: on encrypt those which are authenticated but not stored in the message,
on decrypt those which the expected pairs must have. The "context" of an answer
is what the message's header stores, aws-crypto-public-key included.

What this SDK does, as measured:

* Frame lengths must be multiples of 128 up to 2^31-128. The SDK asks for a
  multiple of the cipher's block size, and takes it in bits. Frame length 0
  means non-framed content, which it writes and reads with every suite.
* A plaintext that is an exact multiple of the frame length is written as full
  regular frames and then an additional, empty final frame. An empty plaintext
  is a single empty final frame.
* The context is sorted by the UTF-8 bytes of its keys.
* Its signatures always have 71 bytes (0x0214) or 103 (the others).
* Whatever follows the end of a message is ignored.
* The encrypted data keys of several wrapping keys come in no fixed order.
* "raw" gives up with InvalidTag at an encrypted data key which has the name of
  one of its keys but does not open with it; "mpl" goes on to the next one.
"""

import base64
import io
import json
import logging
import os
import sys

import aws_encryption_sdk
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey, RawMasterKeyProvider

# Data above this size goes through the SDK's streams in pieces: its one-shot
# calls take 8 KiB at a time, several times slower with large frames.
STREAM_ABOVE = 256 * 1024
PIECE = 256 * 1024

RAW_WRAPPING = {
    16: WrappingAlgorithm.AES_128_GCM_IV12_TAG16_NO_PADDING,
    24: WrappingAlgorithm.AES_192_GCM_IV12_TAG16_NO_PADDING,
    32: WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
}

# Both SDK APIs call them so, one with RSA_ before it.
PADDINGS = {
    "pkcs1": "PKCS1",
    "oaep-sha1": "OAEP_SHA1_MGF1",
    "oaep-sha256": "OAEP_SHA256_MGF1",
    "oaep-sha384": "OAEP_SHA384_MGF1",
    "oaep-sha512": "OAEP_SHA512_MGF1",
}

NON_COMMITTING = EncryptionSDKClient(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
COMMITTING = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)


class BadRequest(Exception):
    pass


class ContextMismatch(Exception):
    pass


class KeySet(RawMasterKeyProvider):
    """A list of raw master keys, the first of which generates."""

    provider_id = "sealwax-test-key-set"

    def _get_raw_key(self, key_id):
        raise BadRequest("no such key")


class Key:
    """A key of a request: AES, or RSA if it has a padding."""

    def __init__(self, record):
        self.namespace, self.name = record["namespace"], record["name"]
        self.padding = record.get("padding")
        if self.padding is None:
            self.bytes = unbase64(record["key"])
            if len(self.bytes) not in RAW_WRAPPING:
                raise BadRequest("a key of %d bytes" % len(self.bytes))
        else:
            if self.padding not in PADDINGS:
                raise BadRequest("padding %r" % self.padding)
            self.public, self.private = (record[half].encode("ascii") for half in ("public", "private"))

    def wrapping_key(self, encrypts):
        if self.padding is None:
            return WrappingKey(
                wrapping_algorithm=RAW_WRAPPING[len(self.bytes)],
                wrapping_key=self.bytes,
                wrapping_key_type=EncryptionKeyType.SYMMETRIC,
            )
        return WrappingKey(
            wrapping_algorithm=getattr(WrappingAlgorithm, "RSA_" + PADDINGS[self.padding]),
            wrapping_key=self.public if encrypts else self.private,
            wrapping_key_type=EncryptionKeyType.PUBLIC if encrypts else EncryptionKeyType.PRIVATE,
        )

    def mpl_keyring(self, mpl, models):
        if self.padding is None:
            return mpl.create_raw_aes_keyring(
                input=models.CreateRawAesKeyringInput(
                    key_namespace=self.namespace,
                    key_name=self.name,
                    wrapping_key=self.bytes,
                    wrapping_alg=getattr(models.AesWrappingAlg, "ALG_AES%d_GCM_IV12_TAG16" % (len(self.bytes) * 8)),
                )
            )
        return mpl.create_raw_rsa_keyring(
            input=models.CreateRawRsaKeyringInput(
                key_namespace=self.namespace,
                key_name=self.name,
                padding_scheme=getattr(models.PaddingScheme, PADDINGS[self.padding]),
                public_key=self.public,
                private_key=self.private,
            )
        )


def unpack_keys(request):
    keys = [Key(record) for record in request["keys"]]
    if not keys:
        raise BadRequest("no keys")
    return keys


def raw_materials(request):
    keys = KeySet()
    for key in unpack_keys(request):
        keys.add_master_key_provider(
            RawMasterKey(
                key_id=key.name.encode("utf-8"),
                provider_id=key.namespace,
                wrapping_key=key.wrapping_key(encrypts=request["op"] == "encrypt"),
            )
        )
    return {"key_provider": keys}


_mpl = None


def mpl_materials(request, required=()):
    global _mpl
    from aws_cryptographic_material_providers.mpl import models

    if _mpl is None:
        from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
        from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig

        _mpl = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())

    keyrings = [key.mpl_keyring(_mpl, models) for key in unpack_keys(request)]
    keyring = keyrings[0]
    if len(keyrings) > 1:
        keyring = _mpl.create_multi_keyring(
            input=models.CreateMultiKeyringInput(generator=keyrings[0], child_keyrings=keyrings[1:])
        )
    if not required:
        return {"keyring": keyring}
    default = _mpl.create_default_cryptographic_materials_manager(
        input=models.CreateDefaultCryptographicMaterialsManagerInput(keyring=keyring)
    )
    return {
        "materials_manager": _mpl.create_required_encryption_context_cmm(
            input=models.CreateRequiredEncryptionContextCMMInput(
                underlying_cmm=default, required_encryption_context_keys=list(required)
            )
        )
    }


def is_mpl(request):
    kind = request.get("keyring") or "raw"
    if kind not in ("raw", "mpl"):
        raise BadRequest("keyring %r" % kind)
    return kind == "mpl"


def run(client, mode, data, **arguments):
    """One encryption or decryption: (output, message header)."""
    if len(data) <= STREAM_ABOVE:
        return (client.encrypt if mode == "e" else client.decrypt)(source=data, **arguments)
    pieces = []
    with client.stream(mode=mode, source=io.BytesIO(data), source_length=len(data), **arguments) as stream:
        while True:
            piece = stream.read(PIECE)
            if not piece:
                break
            pieces.append(piece)
        return b"".join(pieces), stream.header


def find_suite(name):
    try:
        return AlgorithmSuite.get_by_id(int(name, 16))
    except (KeyError, ValueError):
        raise BadRequest("suite %r" % name) from None


def encrypt(request):
    suite = find_suite(request.get("suite") or "0x0578")
    required = request.get("required") or []
    if is_mpl(request):
        materials = mpl_materials(request, required)
    elif required:
        raise BadRequest("required context keys need the mpl keyring")
    else:
        materials = raw_materials(request)
    frame_length = request.get("frame_length")
    message, _ = run(
        COMMITTING if suite.is_committing() else NON_COMMITTING,
        "e",
        unbase64(request["plaintext"]),
        encryption_context=request.get("context") or {},
        algorithm=suite,
        frame_length=4096 if frame_length is None else frame_length,
        **materials,
    )
    return {"ok": True, "message": to_base64(message)}


def decrypt(request):
    expected = request.get("context") or {}
    required = request.get("required") or []
    arguments = {}
    if is_mpl(request):
        materials = mpl_materials(request, required)
        if expected:
            arguments["encryption_context"] = expected
    elif required:
        raise BadRequest("required context keys need the mpl keyring")
    else:
        materials = raw_materials(request)
    plaintext, header = run(COMMITTING, "d", unbase64(request["message"]), **arguments, **materials)
    context = dict(header.encryption_context)
    if not is_mpl(request):
        for name, value in expected.items():
            if context.get(name) != value:
                raise ContextMismatch("the message's context has not the expected %r" % name)
    return {
        "ok": True,
        "plaintext": to_base64(plaintext),
        "context": context,
        "suite": "0x%04x" % header.algorithm.algorithm_id,
    }


def works(suite):
    """Whether a small message of this suite makes the round trip."""
    keys = [{"namespace": "probe", "name": "probe", "key": to_base64(bytes(32))}]
    try:
        sealed = encrypt({"op": "encrypt", "keys": keys, "suite": suite, "plaintext": to_base64(b"probe")})
        opened = decrypt({"op": "decrypt", "keys": keys, "message": sealed["message"]})
        return unbase64(opened["plaintext"]) == b"probe" and opened["suite"] == suite
    except Exception as error:  # whatever it is, the suite does not work
        print("suite %s: %s" % (suite, describe(error)), file=sys.stderr)
        return False


_hello = None


def hello(_request):
    global _hello
    if _hello is None:
        suites = ["0x%04x" % suite.algorithm_id for suite in AlgorithmSuite]
        _hello = {
            "ok": True,
            "name": "python",
            "version": aws_encryption_sdk.__version__,
            "suites": [suite for suite in sorted(suites) if works(suite)],
            "frame_multiple": 128,
        }
    return _hello


OPERATIONS = {"hello": hello, "encrypt": encrypt, "decrypt": decrypt}


def unbase64(text):
    return base64.b64decode(text, validate=True)


def to_base64(data):
    return base64.b64encode(data).decode("ascii")


def describe(error):
    return "%s: %s" % (type(error).__name__, error)


def answer(line):
    try:
        request = json.loads(line)
        operation = OPERATIONS.get(request.get("op"))
        if operation is None:
            raise BadRequest("op %r" % request.get("op"))
        return operation(request)
    except Exception as error:
        return {"ok": False, "error": describe(error)}


def main():
    # Keep the real stdout for the answers: whatever else is printed, by
    # anything loaded here, goes to stderr.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # The SDK logs a traceback for each message it refuses; the answer says it.
    logging.getLogger("aws_encryption_sdk").setLevel(logging.CRITICAL)
    for line in sys.stdin.buffer:
        if line.strip():
            answers.write(json.dumps(answer(line)).encode("ascii") + b"\n")
            answers.flush()


if __name__ == "__main__":
    main()
