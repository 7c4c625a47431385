"""Serves the AWS KMS RSA and ECDH keyrings of the official Python SDK over JSON lines, for the interoperability tests.

The service behind them is a client of boto3 whose operations compute with keys that each request brings: nothing
goes over the network. What it answers has the form and the names that AWS KMS documents.

Reads one JSON object per line from stdin and answers each with one JSON
object on stdout, until stdin ends. Binary values are base64, private keys PEM.

    {"op":"hello"}
        -> {"ok":true,"sdk":..,"library":..}
    {"op":"encrypt","keyring":KEYRING,"suite":"0x0478","context":{..},"plaintext":..}
        -> {"ok":true,"message":..,"calls":["DeriveSharedSecret"]}
    {"op":"decrypt","keyring":KEYRING,"message":..}
        -> {"ok":true,"plaintext":..,"calls":[..]}
    anything that fails
        -> {"ok":false,"error":"ClassName: text"}

    KEYRING is {"kind":"rsa","arn":..,"algorithm":"RSAES_OAEP_SHA_256"} with
    "public" (PEM) to encrypt, "private" to decrypt, or
    {"kind":"ecdh","arn":..,"curve":"P-256","private":..} with "public" (DER),
    the recipient's, for two static keys, and without for discovery.
"""

import base64
import json
import logging
import os
import sys
from importlib.metadata import version

import boto3
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl import models
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptography_primitives.smithygenerated.aws_cryptography_primitives.models import ECDHCurveSpec
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

CURVES = {
    "P-256": ECDHCurveSpec.ECC_NIST_P256,
    "P-384": ECDHCurveSpec.ECC_NIST_P384,
    "P-521": ECDHCurveSpec.ECC_NIST_P521,
}
HASHES = {"RSAES_OAEP_SHA_1": hashes.SHA1, "RSAES_OAEP_SHA_256": hashes.SHA256}

NON_COMMITTING = EncryptionSDKClient(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
COMMITTING = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)
LIBRARY = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())


def service(description):
    """A client that knows one key pair, and the list of what it was asked."""
    client = boto3.client(
        "kms",
        region_name=description["arn"].split(":")[3],
        aws_access_key_id="none",
        aws_secret_access_key="none",
        endpoint_url="http://127.0.0.1:9",
    )
    arn, calls = description["arn"], []
    private = description.get("private")
    if private is not None:
        private = serialization.load_pem_private_key(private.encode("ascii"), password=None)

    def decrypt(KeyId, CiphertextBlob, EncryptionAlgorithm, **rest):
        calls.append("Decrypt")
        assert KeyId == arn and not rest.get("EncryptionContext")
        digest = HASHES[EncryptionAlgorithm]
        oaep = padding.OAEP(mgf=padding.MGF1(digest()), algorithm=digest(), label=None)
        plaintext = private.decrypt(CiphertextBlob, oaep)
        return {"KeyId": arn, "Plaintext": plaintext, "EncryptionAlgorithm": EncryptionAlgorithm}

    def get_public_key(KeyId, **_rest):
        calls.append("GetPublicKey")
        assert KeyId == arn
        encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        return {
            "KeyId": arn,
            "PublicKey": private.public_key().public_bytes(encoding, form),
            "KeySpec": "ECC_NIST_" + description["curve"].replace("-", ""),
            "KeyUsage": "KEY_AGREEMENT",
            "KeyAgreementAlgorithms": ["ECDH"],
        }

    def derive_shared_secret(KeyId, PublicKey, KeyAgreementAlgorithm, **_rest):
        calls.append("DeriveSharedSecret")
        assert KeyId == arn
        public = serialization.load_der_public_key(PublicKey)
        secret = private.exchange(ec.ECDH(), public)
        return {"KeyId": arn, "SharedSecret": secret, "KeyAgreementAlgorithm": KeyAgreementAlgorithm}

    client.decrypt = decrypt
    client.get_public_key = get_public_key
    client.derive_shared_secret = derive_shared_secret
    return client, calls


def keyring(description):
    client, calls = service(description)
    if description["kind"] == "rsa":
        public = description.get("public")
        made = LIBRARY.create_aws_kms_rsa_keyring(
            input=models.CreateAwsKmsRsaKeyringInput(
                kms_key_id=description["arn"],
                encryption_algorithm=description["algorithm"],
                public_key=None if public is None else public.encode("ascii"),
                kms_client=client,
            )
        )
        return made, calls
    if description.get("public") is None:
        configuration = models.KmsEcdhStaticConfigurationsKmsPublicKeyDiscovery(
            models.KmsPublicKeyDiscoveryInput(recipient_kms_identifier=description["arn"])
        )
    else:
        configuration = models.KmsEcdhStaticConfigurationsKmsPrivateKeyToStaticPublicKey(
            models.KmsPrivateKeyToStaticPublicKeyInput(
                sender_kms_identifier=description["arn"], recipient_public_key=unbase64(description["public"])
            )
        )
    made = LIBRARY.create_aws_kms_ecdh_keyring(
        input=models.CreateAwsKmsEcdhKeyringInput(
            key_agreement_scheme=configuration, curve_spec=CURVES[description["curve"]], kms_client=client
        )
    )
    return made, calls


def encrypt(request):
    suite = AlgorithmSuite.get_by_id(int(request["suite"], 16))
    made, calls = keyring(request["keyring"])
    message, _ = (COMMITTING if suite.is_committing() else NON_COMMITTING).encrypt(
        source=unbase64(request["plaintext"]),
        keyring=made,
        encryption_context=request["context"],
        algorithm=suite,
    )
    return {"ok": True, "message": to_base64(message), "calls": calls}


def decrypt(request):
    made, calls = keyring(request["keyring"])
    plaintext, _ = COMMITTING.decrypt(source=unbase64(request["message"]), keyring=made)
    return {"ok": True, "plaintext": to_base64(plaintext), "calls": calls}


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


def main():
    # The SDK logs a traceback for each message it refuses; the answer says it.
    logging.getLogger("aws_encryption_sdk").setLevel(logging.CRITICAL)
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
