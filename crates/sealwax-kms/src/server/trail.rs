//! Audit records in the form of CloudTrail.

use serde_json::{Map, Value, json};

use super::{
    engine::{Call, Operation},
    error::Result,
    params::camel,
    record::KeyName,
};
use crate::keys::uuid;

/// Members of requests and answers that no record may contain: plaintexts, ciphertexts and tokens.
const SECRET: &[&str] = &[
    "Plaintext",
    "CiphertextBlob",
    "Message",
    "Mac",
    "Signature",
    "GrantToken",
    "GrantTokens",
    "EncryptedKeyMaterial",
    "ImportToken",
    "PublicKey",
    "PrivateKeyPlaintext",
    "PrivateKeyCiphertextBlob",
    "SharedSecret",
];

fn visible(members: &Map<String, Value>) -> Map<String, Value> {
    let shown = members.iter().filter(|(name, _)| !SECRET.contains(&name.as_str()));
    shown.map(|(name, value)| (camel(name), value.clone())).collect()
}

fn date(milliseconds: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(milliseconds / 1000);
    humantime::format_rfc3339_seconds(time).to_string()
}

fn base(event: &str, time: u64, region: &str, account: &str, keys: &[KeyName]) -> Value {
    let resource = |key: &KeyName| json!({"accountId": key.account, "type": "AWS::KMS::Key", "ARN": key.arn()});
    json!({
        "eventVersion": "1.08",
        "eventTime": date(time),
        "eventSource": "kms.amazonaws.com",
        "eventName": event,
        "awsRegion": region,
        "eventID": uuid().unwrap_or_default(),
        "resources": keys.iter().map(resource).collect::<Vec<_>>(),
        "managementEvent": true,
        "recipientAccountId": account,
        "eventCategory": "Management",
    })
}

/// Returns the record of a call and its outcome.
pub(crate) fn of_call(call: &Call<'_>, operation: &Operation, result: &Result<Value>) -> Value {
    let Call { caller, source, .. } = call;
    let mut record = base(operation.name, call.now, call.region, caller.account(), &call.keys);
    let kind = if caller.session.is_some() { "AssumedRole" } else { "IAMUser" };
    let mut identity = json!({
        "type": kind,
        "principalId": caller.user_id(),
        "arn": caller.arn(),
        "accountId": caller.account(),
        "accessKeyId": caller.access_key,
    });
    match &caller.session {
        None => identity["userName"] = caller.identity.name.as_str().into(),
        Some(session) => {
            let role = &caller.identity;
            let issuer = json!({
                "type": "Role", "principalId": role.unique_id, "arn": role.arn, "accountId": role.account,
                "userName": role.name,
            });
            let attributes = json!({"creationDate": date(session.created), "mfaAuthenticated": "false"});
            identity["sessionContext"] = json!({"sessionIssuer": issuer, "attributes": attributes});
        }
    }
    let mut request = visible(call.members);
    if matches!(operation.name, "Encrypt" | "Decrypt") {
        request.entry("encryptionAlgorithm").or_insert_with(|| "SYMMETRIC_DEFAULT".into());
    }
    record["userIdentity"] = identity;
    record["sourceIPAddress"] = source.address.as_str().into();
    record["userAgent"] = source.user_agent.as_str().into();
    record["requestID"] = source.request_id.as_str().into();
    record["eventType"] = "AwsApiCall".into();
    record["readOnly"] = (!operation.changes).into();
    record["requestParameters"] = if request.is_empty() { Value::Null } else { request.into() };
    record["responseElements"] = Value::Null;
    match result {
        Err(error) => {
            let code = error.code.strip_suffix("Exception").filter(|_| error.code == "AccessDeniedException");
            record["errorCode"] = code.unwrap_or(error.code).into();
            if let Some(message) = &error.message {
                record["errorMessage"] = message.as_str().into();
            }
        }
        Ok(Value::Object(answer)) if operation.changes => record["responseElements"] = visible(answer).into(),
        Ok(_) => {}
    }
    record
}

/// Returns the record of what the service did by itself.
pub(crate) fn of_service(call: &Call<'_>, event: &str) -> Value {
    let account = call.keys.first().map_or("", |key| &key.account);
    let mut record = base(event, call.now, call.region, account, &call.keys);
    let key = call.keys.first().map(|key| key.id.as_str());
    record["userIdentity"] = json!({"accountId": account, "invokedBy": "AWS Internal"});
    record["eventType"] = "AwsServiceEvent".into();
    record["readOnly"] = false.into();
    record["serviceEventDetails"] = json!({ "keyId": key });
    record["requestParameters"] = Value::Null;
    record["responseElements"] = Value::Null;
    record
}
