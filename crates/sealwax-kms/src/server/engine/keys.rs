//! Keys: creation, states and deletion.

use std::collections::BTreeMap;

use sealwax::crypto::{CryptoProvider as _, RustCrypto};
use serde_json::{Value, json};

use super::{
    call::{Call, Facts, default_policy, page},
    policies::check_policy,
    rotation::schedule,
    tags::check_tags,
};
use crate::{
    keys::uuid,
    seal::{hex, random_hex, tag},
    server::{
        error::{ApiError, Result},
        record::{DAY, Key, KeyName, Material, Origin, Spec, State, keys_of, seconds},
    },
};

/// The key specs of AWS that the endpoint does not have yet.
const OTHER_SPECS: &[&str] = &[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "ECC_NIST_EDWARDS25519",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
    "SM2",
];
const USAGES: &[&str] =
    &["SIGN_VERIFY", "ENCRYPT_DECRYPT", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT", "ENCAPSULATE_DECAPSULATE"];

pub(super) fn create_key(call: &mut Call<'_>) -> Result<Value> {
    let specs: Vec<_> = Spec::ALL.iter().map(|(name, _)| *name).chain(OTHER_SPECS.iter().copied()).collect();
    let mut params = call.params();
    let spec = params.one_of("KeySpec", &specs).or(params.one_of("CustomerMasterKeySpec", &specs));
    let spec_name = spec.unwrap_or("SYMMETRIC_DEFAULT");
    let usage = params.one_of("KeyUsage", USAGES);
    let origin = params.one_of("Origin", &["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"]);
    let description = params.text("Description", 0, 8192).unwrap_or_default().to_owned();
    let tags = params.tags("Tags");
    let policy = params.text("Policy", 1, 131_072);
    let (multi_region, bypass) = (params.flag("MultiRegion"), params.flag("BypassPolicyLockoutSafetyCheck"));
    params.check()?;
    check_tags(&BTreeMap::new(), &tags)?;
    let mut facts = Facts::default()
        .with("kms:KeySpec", spec_name)
        .with("kms:KeyOrigin", origin.unwrap_or("AWS_KMS"))
        .with("kms:MultiRegion", multi_region.to_string())
        .with("kms:BypassPolicyLockoutSafetyCheck", bypass.to_string());
    if let Some(usage) = usage.or_else(|| Spec::of(spec_name).filter(|spec| *spec == Spec::Symmetric).map(Spec::usage))
    {
        facts = facts.with("kms:KeyUsage", usage);
    }
    for (key, value) in &tags {
        facts = facts.with(&format!("aws:RequestTag/{key}"), *value);
    }
    facts.context.set_all("aws:TagKeys", tags.iter().map(|(key, _)| *key));
    call.authorize_without_key("kms:CreateKey", None, facts)?;
    if !matches!(origin, None | Some("AWS_KMS")) {
        return Err(ApiError::unsupported(format!("Origin {} is not supported.", origin.unwrap_or_default())));
    }
    let spec = Spec::of(spec_name);
    let spec = spec.ok_or_else(|| ApiError::unsupported(format!("KeySpec {spec_name} is not supported.")))?;
    if multi_region {
        return Err(ApiError::unsupported("Multi-Region keys are not supported."));
    }
    match usage {
        None if spec != Spec::Symmetric => {
            return Err(ApiError::validation(
                "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
            ));
        }
        Some(usage) if usage != spec.usage() => {
            let why = format!("KeyUsage {usage} is not compatible with KeySpec {spec_name}");
            return Err(ApiError::validation(why));
        }
        _ => {}
    }
    let name = KeyName { account: call.caller.account().into(), region: call.region.into(), id: uuid()? };
    let mut key = Key {
        name,
        created: call.now,
        description,
        spec,
        origin: Origin::AwsKms,
        multi_region,
        state: State::Enabled,
        deletion: None,
        rotation: None,
        on_demand_rotations: 0,
        material: Vec::new(),
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    if let Some(policy) = policy {
        check_policy(call, &key, policy, bypass)?;
        call.changes.put(key.name.policy(), &policy)?;
    } else {
        check_policy(call, &key, &default_policy(&key.name.account), true)?;
    }
    add_material(call, &mut key, None)?;
    call.put_key(&key)?;
    call.keys.push(key.name.clone());
    Ok(json!({ "KeyMetadata": key.metadata() }))
}

/// Generates new material for a key.
pub(super) fn add_material(call: &mut Call<'_>, key: &mut Key, on_demand: Option<bool>) -> Result<()> {
    let material = RustCrypto.random_key(key.spec.length())?;
    let id = match key.spec {
        // The id depends on the key and its material, so that the same material is recognized.
        Spec::Symmetric => hex(tag(&material, "key material id", key.name.id.as_bytes())?.as_bytes()),
        _ => random_hex::<32>()?,
    };
    call.changes.0.push((key.name.material(&id), Some(material)));
    key.material.push(Material { id, created: call.now, on_demand });
    Ok(())
}

pub(super) fn describe_key(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    params.check()?;
    let key = call.key_or_alias(name)?;
    call.authorize("kms:DescribeKey", &key, Facts::default())?;
    Ok(json!({ "KeyMetadata": key.metadata() }))
}

pub(super) fn list_keys(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let (marker, limit) = params.page(1000, 100);
    params.check()?;
    call.authorize_without_key("kms:ListKeys", None, Facts::default())?;
    let (account, region) = (call.caller.account().to_owned(), call.region.to_owned());
    let ids = call.snapshot.names(&keys_of(&account, &region), &marker, limit + 1)?;
    let entry = |id: &String| {
        let name = KeyName { account: account.clone(), region: region.clone(), id: id.clone() };
        Ok(json!({ "KeyId": id, "KeyArn": name.arn() }))
    };
    page("Keys", &ids, limit, entry)
}

/// Finds the key of an operation that only has a key, and authorizes the operation.
fn authorized(call: &mut Call<'_>, action: &str) -> Result<Key> {
    let mut params = call.params();
    let name = params.key_id();
    params.check()?;
    let key = call.key(name)?;
    call.authorize(action, &key, Facts::default())?;
    Ok(key)
}

pub(super) fn enable_key(call: &mut Call<'_>) -> Result<Value> {
    let mut key = authorized(call, "kms:EnableKey")?;
    key.not_pending_deletion()?;
    key.has_material()?;
    key.state = State::Enabled;
    // A rotation that fell due while the key was disabled happens now.
    schedule(call, &key)?;
    call.put_key(&key)?;
    Ok(Value::Null)
}

pub(super) fn disable_key(call: &mut Call<'_>) -> Result<Value> {
    let mut key = authorized(call, "kms:DisableKey")?;
    key.not_pending_deletion()?;
    key.has_material()?;
    key.state = State::Disabled;
    call.put_key(&key)?;
    Ok(Value::Null)
}

pub(super) fn schedule_key_deletion(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let days = params.number("PendingWindowInDays", 7, 30).unwrap_or(30);
    params.check()?;
    let mut key = call.key(name)?;
    let facts = Facts::default().with("kms:ScheduleKeyDeletionPendingWindowInDays", days.to_string());
    call.authorize("kms:ScheduleKeyDeletion", &key, facts)?;
    key.not_pending_deletion()?;
    let date = call.now + u64::from(days) * DAY;
    (key.state, key.deletion) = (State::PendingDeletion, Some(date));
    schedule(call, &key)?;
    call.put_key(&key)?;
    Ok(json!({
        "KeyId": key.name.arn(),
        "DeletionDate": seconds(date),
        "KeyState": key.state.name(),
        "PendingWindowInDays": days,
    }))
}

pub(super) fn cancel_key_deletion(call: &mut Call<'_>) -> Result<Value> {
    let mut key = authorized(call, "kms:CancelKeyDeletion")?;
    if key.state != State::PendingDeletion {
        return Err(ApiError::invalid_state(format!("{} is not pending deletion.", key.name.arn())));
    }
    (key.state, key.deletion) = (State::Disabled, None);
    call.put_key(&key)?;
    Ok(json!({ "KeyId": key.name.arn() }))
}

pub(super) fn update_key_description(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let description = params.required("Description", 0, 8192);
    params.check()?;
    let mut key = call.key(name)?;
    call.authorize("kms:UpdateKeyDescription", &key, Facts::default())?;
    key.not_pending_deletion()?;
    key.description = description.to_owned();
    call.put_key(&key)?;
    Ok(Value::Null)
}
