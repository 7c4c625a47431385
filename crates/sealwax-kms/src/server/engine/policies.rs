//! Key policies.

use serde_json::{Value, json};

use super::call::{Call, Facts};
use crate::server::{
    decision::Decision,
    error::{ApiError, Result},
    policy::{Kind, Policy},
    record::Key,
};

/// The longest policy in bytes.
const MOST: usize = 32 * 1024;

/// Fails if a policy is malformed, names a principal that does not exist, or would lock the caller
/// out of changing it again.
pub(super) fn check_policy(call: &Call<'_>, key: &Key, text: &str, bypass: bool) -> Result<()> {
    if text.len() > MOST {
        return Err(ApiError::new("LimitExceededException", "The key policy is longer than 32768 bytes."));
    }
    let policy = Policy::parse(text, Kind::Key).map_err(ApiError::malformed_policy)?;
    call.engine.identities().check_principals(&policy)?;
    if bypass {
        return Ok(());
    }
    match call.decide("kms:PutKeyPolicy", key, Facts::default(), text)? {
        Decision::Allowed(_) => Ok(()),
        Decision::Refused(_) => Err(ApiError::malformed_policy(
            "The new key policy will not allow you to update the key policy in the future.",
        )),
    }
}

fn policy_name(call: &Call<'_>) -> Result<()> {
    let mut params = call.params();
    let name = params.text("PolicyName", 1, 128);
    params.check()?;
    match name {
        None | Some("default") => Ok(()),
        Some(_) => Err(ApiError::not_found("No such policy exists")),
    }
}

pub(super) fn get_key_policy(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    params.check()?;
    let key = call.key(name)?;
    call.authorize("kms:GetKeyPolicy", &key, Facts::default())?;
    policy_name(call)?;
    Ok(json!({ "Policy": call.policy_of(&key.name)?, "PolicyName": "default" }))
}

pub(super) fn put_key_policy(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let policy = params.required("Policy", 1, 131_072);
    let bypass = params.flag("BypassPolicyLockoutSafetyCheck");
    params.check()?;
    let key = call.key(name)?;
    let facts = Facts::default().with("kms:BypassPolicyLockoutSafetyCheck", bypass.to_string());
    call.authorize("kms:PutKeyPolicy", &key, facts)?;
    policy_name(call)?;
    check_policy(call, &key, policy, bypass)?;
    call.changes.put(key.name.policy(), &policy)?;
    Ok(Value::Null)
}

pub(super) fn list_key_policies(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    params.page(1000, 100);
    params.check()?;
    let key = call.key(name)?;
    call.authorize("kms:ListKeyPolicies", &key, Facts::default())?;
    Ok(json!({ "PolicyNames": ["default"], "Truncated": false }))
}
