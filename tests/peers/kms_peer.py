"""AWS KMS on loopback (moto), and the official Python SDK over it, for the interoperability tests.

Starts the server on a free port of 127.0.0.1. Reads one JSON object per line from stdin and answers each with one JSON object on stdout,
until stdin ends. Binary values are base64. As in peer.py, what fails answers {"ok":false,"error":"ClassName: text"}.

    {"op":"hello"}
        -> {"ok":true,"port":..,"version":..,"moto":..}
    {"op":"call","service":"kms","region":"us-east-1","method":"create_key","arguments":{..}}
        a call of boto3, with its names -> {"ok":true,"answer":{..}}
    {"op":"object","bucket":..,"key":..}
        -> {"ok":true,"bytes":..}
    {"op":"put_object","bucket":..,"key":..,"bytes":..}
        -> {"ok":true}
    {"op":"enforce"}
        from here on every request needs credentials that a policy allows -> {"ok":true}
    {"op":"encrypt","way":"provider"|"mpl"|"mpl-multi","keys":[ARN,..],"suite":"0x0478","frame_length":4096,"context":{..},"plaintext":..}
        -> {"ok":true,"message":..}
    {"op":"decrypt","way":"provider"|"provider-discovery"|"mpl"|"mpl-discovery","keys":[ARN,..],"context":{..},"message":..}
        -> {"ok":true,"plaintext":..,"context":{..},"suite":..}

    {"op":"kms_decrypt","key":ARN,"ciphertext":..,"context":{..}}
        -> {"ok":true,"key":ARN,"plaintext":..}
    {"op":"s3ec_put","key":ARN,"format":2|3,"bucket":..,"name":..,"body":..,"parts":null|bytes,"context":{..}}
        the official S3 Encryption Client, at once or in parts -> {"ok":true}
    {"op":"s3ec_get","key":ARN,"bucket":..,"name":..,"context":{..}}
        reads every format and wrapping -> {"ok":true,"body":..}

"provider" is the SDK's own KMS master key provider, "mpl" are the AWS KMS keyrings of the material providers library; the discovery
ones take the account and partition of the first key as their filter, and with "mpl" its region.

    {"op":"branch-keys","do":"create-table"|"create"|"version"|"active"|"of-version"|"beacon","store":{"table":..,"logical":..},
     "keys":[ARN],"id":..,"version":..,"context":{..}}
        -> {"ok":true,"id":..} or {"ok":true,"key":..,"version":..,"context":{..}}

With the way "hierarchy", "encrypt" and "decrypt" use the hierarchical keyring over that store: under "branch_key", or under the branch
key whose id is the value of the context key "supplier".
"""

import base64
import io
import json
import os
import sys
import urllib.request

# The protocol has this process's standard output for itself.
PROTOCOL, sys.stdout = sys.stdout, sys.stderr

import threading

from moto.dynamodb.models import DynamoDBBackend
from moto.server import ThreadedMotoServer

# A transaction that fails puts back the tables as they were before it, and with them what others wrote meanwhile. DynamoDB does not.
transact_write_items, TRANSACTION = DynamoDBBackend.transact_write_items, threading.Lock()


def one_transaction_at_a_time(*arguments, **named):
    with TRANSACTION:
        return transact_write_items(*arguments, **named)


DynamoDBBackend.transact_write_items = one_transaction_at_a_time

SERVER = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
SERVER.start()
PORT = SERVER.get_host_and_port()[1]
ENDPOINT = "http://127.0.0.1:%d" % PORT

# Nothing here may reach anything else, or read anyone's configuration.
for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
    del os.environ[name]
os.environ.update(
    AWS_ENDPOINT_URL=ENDPOINT,
    AWS_ACCESS_KEY_ID="AKIDPEER",
    AWS_SECRET_ACCESS_KEY="peer",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    AWS_EC2_METADATA_DISABLED="true",
)

import aws_encryption_sdk
import boto3
import moto
from aws_cryptographic_material_providers.keystore import KeyStore
from aws_cryptographic_material_providers.keystore import models as keystore
from aws_cryptographic_material_providers.keystore.config import KeyStoreConfig
import s3_encryption
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders, models
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.references import IBranchKeyIdSupplier
from aws_encryption_sdk import (
    CommitmentPolicy,
    DiscoveryAwsKmsMasterKeyProvider,
    EncryptionSDKClient,
    StrictAwsKmsMasterKeyProvider,
)
from aws_encryption_sdk.identifiers import AlgorithmSuite
from aws_encryption_sdk.key_providers.kms import DiscoveryFilter
from s3_encryption.materials import kms_keyring as s3_kms
from s3_encryption.materials import materials as s3_materials

NON_COMMITTING = EncryptionSDKClient(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
COMMITTING = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)
MPL = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())


class BadRequest(Exception):
    pass


_clients = {}


def client(service, region):
    if (service, region) not in _clients:
        _clients[service, region] = boto3.client(service, region_name=region)
    return _clients[service, region]


def kms_of(arn):
    return client("kms", arn.split(":")[3])


class Supplier(IBranchKeyIdSupplier):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def get_branch_key_id(self, param):
        return models.GetBranchKeyIdOutput(branch_key_id=param.encryption_context[self.name])


def store_of(request):
    arn, store = request["keys"][0], request["store"]
    return KeyStore(
        config=KeyStoreConfig(
            ddb_table_name=store["table"],
            logical_key_store_name=store["logical"],
            kms_configuration=keystore.KMSConfigurationKmsKeyArn(arn),
            ddb_client=client("dynamodb", "us-east-1"),
            kms_client=kms_of(arn),
        )
    )


def hierarchy(request):
    which = {"branch_key_id": request["branch_key"]} if "branch_key" in request else {"branch_key_id_supplier": Supplier(request["supplier"])}
    one = models.CreateAwsKmsHierarchicalKeyringInput(key_store=store_of(request), ttl_seconds=600, **which)
    return MPL.create_aws_kms_hierarchical_keyring(input=one)


def branch_keys(request):
    store, do, name = store_of(request), request["do"], request.get("id")
    if do == "create-table":
        return {"id": store.create_key_store(keystore.CreateKeyStoreInput()).table_arn}
    if do == "create":
        made = keystore.CreateKeyInput(branch_key_identifier=name, encryption_context=request.get("context"))
        return {"id": store.create_key(made).branch_key_identifier}
    if do == "version":
        store.version_key(keystore.VersionKeyInput(branch_key_identifier=name))
        return {"id": name}
    if do == "beacon":
        found = store.get_beacon_key(keystore.GetBeaconKeyInput(branch_key_identifier=name)).beacon_key_materials
        return {"key": to_base64(found.beacon_key), "version": None, "context": found.encryption_context}
    if do == "active":
        found = store.get_active_branch_key(keystore.GetActiveBranchKeyInput(branch_key_identifier=name))
    else:
        asked = keystore.GetBranchKeyVersionInput(branch_key_identifier=name, branch_key_version=request["version"])
        found = store.get_branch_key_version(asked)
    found = found.branch_key_materials
    return {
        "key": to_base64(found.branch_key),
        "version": found.branch_key_version,
        "context": found.encryption_context,
    }


def materials(request):
    keys, way = request["keys"], request["way"]
    _, partition, _, _, account, _ = keys[0].split(":")
    if way == "provider":
        return {"key_provider": StrictAwsKmsMasterKeyProvider(key_ids=keys)}
    if way == "provider-discovery":
        found = DiscoveryFilter(account_ids=[account], partition=partition)
        return {"key_provider": DiscoveryAwsKmsMasterKeyProvider(discovery_filter=found)}
    if way == "mpl":
        one = models.CreateAwsKmsKeyringInput(kms_key_id=keys[0], kms_client=kms_of(keys[0]))
        return {"keyring": MPL.create_aws_kms_keyring(input=one)}
    if way == "mpl-multi":
        several = models.CreateAwsKmsMultiKeyringInput(generator=keys[0], kms_key_ids=keys[1:])
        return {"keyring": MPL.create_aws_kms_multi_keyring(input=several)}
    if way == "mpl-discovery":
        found = models.DiscoveryFilter(account_ids=[account], partition=partition)
        any_key = models.CreateAwsKmsDiscoveryKeyringInput(kms_client=kms_of(keys[0]), discovery_filter=found)
        return {"keyring": MPL.create_aws_kms_discovery_keyring(input=any_key)}
    if way == "hierarchy":
        return {"keyring": hierarchy(request)}
    raise BadRequest("way %r" % way)


def encrypt(request):
    suite = AlgorithmSuite.get_by_id(int(request["suite"], 16))
    message, _ = (COMMITTING if suite.is_committing() else NON_COMMITTING).encrypt(
        source=unbase64(request["plaintext"]),
        encryption_context=request["context"],
        algorithm=suite,
        frame_length=request["frame_length"],
        **materials(request),
    )
    return {"message": to_base64(message)}


def decrypt(request):
    arguments = materials(request)
    if "keyring" in arguments and request["context"]:
        arguments["encryption_context"] = request["context"]
    plaintext, header = COMMITTING.decrypt(source=unbase64(request["message"]), **arguments)
    return {
        "plaintext": to_base64(plaintext),
        "context": dict(header.encryption_context),
        "suite": "0x%04x" % header.algorithm.algorithm_id,
    }


def call(request):
    method = getattr(client(request.get("service", "kms"), request.get("region", "us-east-1")), request["method"])
    answer = method(**request.get("arguments", {}))
    answer.pop("ResponseMetadata", None)
    return {"answer": answer}


def read_object(request):
    answer = client("s3", "us-east-1").get_object(Bucket=request["bucket"], Key=request["key"])
    return {"bytes": to_base64(answer["Body"].read())}


def put_object(request):
    body = unbase64(request["bytes"])
    client("s3", "us-east-1").put_object(Bucket=request["bucket"], Key=request["key"], Body=body)
    return {}


def kms_decrypt(request):
    answer = kms_of(request["key"]).decrypt(
        KeyId=request["key"], CiphertextBlob=unbase64(request["ciphertext"]), EncryptionContext=request["context"]
    )
    return {"key": answer["KeyId"], "plaintext": to_base64(answer["Plaintext"])}


def s3ec(request, **options):
    key = request["key"]
    keyring = s3_kms.KmsKeyring(kms_client=kms_of(key), kms_key_id=key, enable_legacy_wrapping_algorithms=True)
    config = s3_encryption.S3EncryptionClientConfig(keyring=keyring, **options)
    # It changes the client that it wraps, so that is one of its own.
    return s3_encryption.S3EncryptionClient(boto3.client("s3", region_name=key.split(":")[3]), config)


def s3ec_put(request):
    suites, policies = s3_materials.AlgorithmSuite, s3_materials.CommitmentPolicy
    suite, policy = {
        2: (suites.ALG_AES_256_GCM_IV12_TAG16_NO_KDF, policies.FORBID_ENCRYPT_ALLOW_DECRYPT),
        3: (suites.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY, policies.REQUIRE_ENCRYPT_REQUIRE_DECRYPT),
    }[request["format"]]
    s3, body = s3ec(request, encryption_algorithm=suite, commitment_policy=policy), unbase64(request["body"])
    bucket, name, context = request["bucket"], request["name"], request["context"]
    if request["parts"]:
        s3.upload_fileobj(io.BytesIO(body), bucket, name, request["parts"], EncryptionContext=context)
    else:
        s3.put_object(Bucket=bucket, Key=name, Body=body, EncryptionContext=context)
    return {}


def s3ec_get(request):
    policy = s3_materials.CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT
    s3 = s3ec(request, commitment_policy=policy, enable_legacy_unauthenticated_modes=True)
    answer = s3.get_object(Bucket=request["bucket"], Key=request["name"], EncryptionContext=request["context"])
    return {"body": to_base64(answer["Body"].read())}


def enforce(_request):
    # A call of moto's own: how many requests more are let through without a look at who asks.
    headers = {"Content-Type": "text/plain"}
    with urllib.request.urlopen(urllib.request.Request(ENDPOINT + "/moto-api/reset-auth", b"0", headers)):
        return {}


def hello(_request):
    return {"port": PORT, "version": aws_encryption_sdk.__version__, "moto": moto.__version__}


OPERATIONS = {
    "hello": hello,
    "call": call,
    "object": read_object,
    "put_object": put_object,
    "enforce": enforce,
    "encrypt": encrypt,
    "decrypt": decrypt,
    "branch-keys": branch_keys,
    "kms_decrypt": kms_decrypt,
    "s3ec_put": s3ec_put,
    "s3ec_get": s3ec_get,
}


def unbase64(text):
    return base64.b64decode(text, validate=True)


def to_base64(data):
    return base64.b64encode(data).decode("ascii")


def plain(value):
    return to_base64(value) if isinstance(value, bytes) else str(value)


def answer(line):
    try:
        request = json.loads(line)
        if request.get("op") not in OPERATIONS:
            raise BadRequest("op %r" % request.get("op"))
        return {"ok": True, **OPERATIONS[request["op"]](request)}
    except Exception as error:
        return {"ok": False, "error": "%s: %s" % (type(error).__name__, error)}


def main():
    for line in sys.stdin:
        PROTOCOL.write(json.dumps(answer(line), default=plain) + "\n")
        PROTOCOL.flush()


if __name__ == "__main__":
    main()
