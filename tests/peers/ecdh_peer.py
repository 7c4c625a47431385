"""Serves the raw ECDH keyring of the official Python SDK over JSON lines, for the interoperability tests.

Reads one JSON object per line from stdin and answers each with one JSON
object on stdout, until stdin ends. Binary values are base64, private keys PEM.

    {"op":"hello"}
        -> {"ok":true,"sdk":..,"library":..}
    {"op":"encrypt","keyring":KEYRING,"suite":"0x0478","context":{..},"plaintext":..}
        -> {"ok":true,"message":..}
    {"op":"decrypt","keyring":KEYRING,"message":..}
        -> {"ok":true,"plaintext":..}
    anything that fails
        -> {"ok":false,"error":"ClassName: text"}

    KEYRING is {"curve":"P-256","schema":"static","private":..,"public":..},
    "public" (DER) the recipient's; "ephemeral" has no "private", and
    "discovery" no "public".

With the argument "vectors" it writes tests/vectors/ecdh.json instead, with new
keys: messages of alice for bob. Carol is someone else.
"""

import base64
import json
import logging
import os
import sys
from importlib.metadata import version

from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl import models
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptography_primitives.smithygenerated.aws_cryptography_primitives.models import ECDHCurveSpec
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

CURVES = {
    "P-256": (ECDHCurveSpec.ECC_NIST_P256, ec.SECP256R1()),
    "P-384": (ECDHCurveSpec.ECC_NIST_P384, ec.SECP384R1()),
    "P-521": (ECDHCurveSpec.ECC_NIST_P521, ec.SECP521R1()),
}

NON_COMMITTING = EncryptionSDKClient(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
COMMITTING = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)
LIBRARY = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())


def keyring(description):
    schema = description["schema"]
    if schema == "static":
        configuration = models.RawEcdhStaticConfigurationsRawPrivateKeyToStaticPublicKey(
            models.RawPrivateKeyToStaticPublicKeyInput(
                sender_static_private_key=description["private"].encode("ascii"),
                recipient_public_key=unbase64(description["public"]),
            )
        )
    elif schema == "ephemeral":
        configuration = models.RawEcdhStaticConfigurationsEphemeralPrivateKeyToStaticPublicKey(
            models.EphemeralPrivateKeyToStaticPublicKeyInput(recipient_public_key=unbase64(description["public"]))
        )
    elif schema == "discovery":
        configuration = models.RawEcdhStaticConfigurationsPublicKeyDiscovery(
            models.PublicKeyDiscoveryInput(recipient_static_private_key=description["private"].encode("ascii"))
        )
    else:
        raise ValueError("schema %r" % schema)
    return LIBRARY.create_raw_ecdh_keyring(
        input=models.CreateRawEcdhKeyringInput(
            key_agreement_scheme=configuration, curve_spec=CURVES[description["curve"]][0]
        )
    )


def encrypt(request):
    suite = AlgorithmSuite.get_by_id(int(request["suite"], 16))
    message, _ = (COMMITTING if suite.is_committing() else NON_COMMITTING).encrypt(
        source=unbase64(request["plaintext"]),
        keyring=keyring(request["keyring"]),
        encryption_context=request["context"],
        algorithm=suite,
    )
    return {"ok": True, "message": to_base64(message)}


def decrypt(request):
    plaintext, _ = COMMITTING.decrypt(source=unbase64(request["message"]), keyring=keyring(request["keyring"]))
    return {"ok": True, "plaintext": to_base64(plaintext)}


def hello(_request):
    return {
        "ok": True,
        "sdk": version("aws-encryption-sdk"),
        "library": version("aws-cryptographic-material-providers"),
    }


OPERATIONS = {"hello": hello, "encrypt": encrypt, "decrypt": decrypt}


def unbase64(text):
    return base64.b64decode(text, validate=True)


def to_base64(data):
    return base64.b64encode(data).decode("ascii")


def answer(line):
    try:
        request = json.loads(line)
        return OPERATIONS[request["op"]](request)
    except Exception as error:
        return {"ok": False, "error": "%s: %s" % (type(error).__name__, error)}


def new_key(curve):
    private = ec.generate_private_key(CURVES[curve][1])
    encoding, formats = serialization.Encoding, serialization
    pem = private.private_bytes(encoding.PEM, formats.PrivateFormat.PKCS8, formats.NoEncryption())
    der = private.public_key().public_bytes(encoding.DER, formats.PublicFormat.SubjectPublicKeyInfo)
    return {"private": pem.decode("ascii"), "public": to_base64(der)}


def write_vectors():
    contexts = [{}, {"purpose": "test"}, {"purpose": "unicode", "\u540d\u524d": "\u305f\u308d\u3046", "A": "\U0001f31e"}]
    keys, vectors = {}, []
    for curve in CURVES:
        alice, bob, carol = new_key(curve), new_key(curve), new_key(curve)
        keys[curve] = {"alice": alice, "bob": bob, "carol": carol}
        static = {"curve": curve, "schema": "static", "private": alice["private"], "public": bob["public"]}
        ephemeral = {"curve": curve, "schema": "ephemeral", "public": bob["public"]}
        discovery = {"curve": curve, "schema": "discovery", "private": bob["private"]}
        for sender, suite, context in (
            (static, "0x0478", contexts[1]),
            (static, "0x0578", contexts[2]),
            (static, "0x0146", contexts[0]),
            (ephemeral, "0x0478", contexts[0]),
            (ephemeral, "0x0578", contexts[1]),
            (ephemeral, "0x0114", contexts[2]),
        ):
            plaintext = to_base64(("%s, %s, %s" % (curve, sender["schema"], suite)).encode("ascii"))
            request = {"keyring": sender, "suite": suite, "context": context, "plaintext": plaintext}
            message = encrypt(request)["message"]
            assert decrypt({"keyring": discovery, "message": message})["plaintext"] == plaintext
            vectors.append(
                {
                    "curve": curve,
                    "schema": sender["schema"],
                    "suite": suite,
                    "context": context,
                    "plaintext": plaintext,
                    "message": message,
                }
            )
    source = "aws-encryption-sdk %(sdk)s with aws-cryptographic-material-providers %(library)s" % hello(None)
    text = '{\n"source": %s,\n"made_with": "tests/peers/ecdh_peer.py vectors",\n"keys": %s,\n"vectors": [\n%s\n]\n}\n' % (
        json.dumps(source),
        json.dumps(keys),
        ",\n".join(json.dumps(vector) for vector in vectors),
    )
    json.loads(text)
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "..", "vectors", "ecdh.json"), "w", encoding="ascii") as file:
        file.write(text)
    print("ecdh.json: %d vectors, %d bytes" % (len(vectors), len(text)))


def main():
    # The SDK logs a traceback for each message it refuses; the answer says it.
    logging.getLogger("aws_encryption_sdk").setLevel(logging.CRITICAL)
    if sys.argv[1:] == ["vectors"]:
        write_vectors()
        return
    # Keep the real stdout for the answers: whatever else is printed, by
    # anything loaded here, goes to stderr.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        if line.strip():
            answers.write(json.dumps(answer(line)).encode("ascii") + b"\n")
            answers.flush()


if __name__ == "__main__":
    main()
