"""Drives an endpoint with boto3 and the AWS Encryption SDK, and fails on the first surprise."""

import sys

import boto3
import botocore
from botocore.config import Config

url = sys.argv[1]
config = Config(retries={"total_max_attempts": 1})


def client(service, key, secret, token=None):
    return boto3.client(service, endpoint_url=url, region_name="us-east-1", aws_access_key_id=key,
                        aws_secret_access_key=secret, aws_session_token=token, config=config)


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code, f"{found} instead of {code}"
        return found.get("Message", "")
    raise AssertionError(f"{code} expected of {call} {arguments}")


admin = client("kms", "AKIAADMIN", "admin-secret")
alice = client("kms", "AKIAALICE", "alice-secret")
assert client("sts", "AKIAADMIN", "admin-secret").get_caller_identity()["Arn"] == "arn:aws:iam::111122223333:user/admin"
refused("InvalidSignatureException", client("kms", "AKIAADMIN", "other").list_keys)
refused("UnrecognizedClientException", client("kms", "AKIANOBODY", "other").list_keys)

key = admin.create_key(Description="first", Tags=[{"TagKey": "a", "TagValue": "b"}])["KeyMetadata"]
arn, key_id = key["Arn"], key["KeyId"]
assert admin.describe_key(KeyId=key_id)["KeyMetadata"] == key
admin.create_alias(AliasName="alias/one", TargetKeyId=key_id)
assert admin.list_aliases()["Aliases"][0]["TargetKeyId"] == key_id
context = {"tenant": "blue"}
sealed = admin.encrypt(KeyId="alias/one", Plaintext=b"text", EncryptionContext=context)
assert sealed["KeyId"] == arn
blob = sealed["CiphertextBlob"]
opened = admin.decrypt(CiphertextBlob=blob, EncryptionContext=context)
assert (opened["Plaintext"], opened["KeyMaterialId"]) == (b"text", key["CurrentKeyMaterialId"])
assert refused("InvalidCiphertextException", admin.decrypt, CiphertextBlob=blob) == ""

# A user without a policy is refused, until the key policy, a grant or an identity policy allows it.
why = refused("AccessDeniedException", alice.decrypt, CiphertextBlob=blob, EncryptionContext=context)
assert why.startswith("User: arn:aws:iam::111122223333:user/alice is not authorized to perform: kms:Decrypt"), why
grant = admin.create_grant(KeyId=key_id, GranteePrincipal="arn:aws:iam::111122223333:user/alice",
                           Operations=["Decrypt"], Constraints={"EncryptionContextEquals": context})
assert alice.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"text"
refused("AccessDeniedException", alice.generate_data_key, KeyId=arn, KeySpec="AES_256", EncryptionContext=context)
assert admin.list_grants(KeyId=key_id)["Grants"][0]["GrantId"] == grant["GrantId"]
admin.revoke_grant(KeyId=key_id, GrantId=grant["GrantId"])
refused("AccessDeniedException", alice.decrypt, CiphertextBlob=blob, EncryptionContext=context)

message = refused("MalformedPolicyDocumentException", admin.put_key_policy, KeyId=key_id, Policy='{"Version":"2012-10-17",'
                  '"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},'
                  '"Action":"kms:*","Resource":"*"}]}')
assert message == "The new key policy will not allow you to update the key policy in the future."

admin.rotate_key_on_demand(KeyId=key_id)
assert admin.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"text"
moved = admin.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext=context, DestinationKeyId=key_id)
assert moved["SourceKeyMaterialId"] == key["CurrentKeyMaterialId"] != moved["DestinationKeyMaterialId"]
admin.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=90)
assert admin.get_key_rotation_status(KeyId=key_id)["RotationPeriodInDays"] == 90

admin.disable_key(KeyId=key_id)
assert refused("DisabledException", admin.encrypt, KeyId=key_id, Plaintext=b"x") == f"{arn} is disabled."
assert admin.schedule_key_deletion(KeyId=key_id)["KeyId"] == arn
message = refused("KMSInvalidStateException", admin.encrypt, KeyId=key_id, Plaintext=b"x")
assert message == f"{arn} is pending deletion."
admin.cancel_key_deletion(KeyId=key_id)
admin.enable_key(KeyId=key_id)

mac = admin.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
tag = admin.generate_mac(KeyId=mac, Message=b"m", MacAlgorithm="HMAC_SHA_256")["Mac"]
assert admin.verify_mac(KeyId=mac, Message=b"m", MacAlgorithm="HMAC_SHA_256", Mac=tag)["MacValid"]
refused("KMSInvalidMacException", admin.verify_mac, KeyId=mac, Message=b"n", MacAlgorithm="HMAC_SHA_256", Mac=tag)
refused("DryRunOperationException", admin.encrypt, KeyId=key_id, Plaintext=b"x", DryRun=True)
refused("NotFoundException", admin.describe_key, KeyId="alias/none")

role = client("sts", "AKIAADMIN", "admin-secret").assume_role(
    RoleArn="arn:aws:iam::111122223333:role/app", RoleSessionName="one")["Credentials"]
app = client("kms", role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"])
assert app.encrypt(KeyId=arn, Plaintext=b"x")["KeyId"] == arn
refused("AccessDeniedException", app.disable_key, KeyId=arn)
refused("UnrecognizedClientException", client("kms", role["AccessKeyId"], role["SecretAccessKey"], "AA==").list_keys)

import aws_encryption_sdk
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import CreateAwsKmsKeyringInput

providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
keyring = providers.create_aws_kms_keyring(CreateAwsKmsKeyringInput(kms_key_id=arn, kms_client=admin))
sdk = aws_encryption_sdk.EncryptionSDKClient()
text, _ = sdk.encrypt(source=b"message", keyring=keyring, encryption_context=context)
assert sdk.decrypt(source=text, keyring=keyring)[0] == b"message"
print("done")
