//! Grants.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::call::{Call, Facts, granted_to, page};
use crate::{
    seal::random_hex,
    server::{
        error::{ApiError, Result},
        record::{Constraint, Grant, Key, KeyName, Spec, retirable_by},
    },
};

const OPERATIONS: &[&str] = &[
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "Sign",
    "Verify",
    "GetPublicKey",
    "CreateGrant",
    "RetireGrant",
    "DescribeKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateMac",
    "VerifyMac",
    "DeriveSharedSecret",
    "Encapsulate",
    "Decapsulate",
];
const MOST_ON_A_KEY: usize = 50_000;
const MOST_PAIRS: usize = 8;

/// Returns whether a key of this spec can do an operation of a grant.
fn is_possible(spec: Spec, operation: &str) -> bool {
    match operation {
        "CreateGrant" | "RetireGrant" | "DescribeKey" => true,
        "GenerateMac" | "VerifyMac" => spec != Spec::Symmetric,
        "Decrypt" | "Encrypt" | "ReEncryptFrom" | "ReEncryptTo" => spec == Spec::Symmetric,
        _ => spec == Spec::Symmetric && operation.starts_with("GenerateDataKey"),
    }
}

pub(super) fn create_grant(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let key_id = params.key_id();
    let grantee = params.required("GranteePrincipal", 1, 256);
    let retiring = params.text("RetiringPrincipal", 1, 256);
    let name = params.text("Name", 1, 256).unwrap_or_default();
    if !params.has("Operations") {
        params.required("Operations", 1, 1);
    }
    let mut operations = params.texts("Operations");
    let constraint = Constraint {
        equals: params.inner_pairs("Constraints", "EncryptionContextEquals"),
        subset: params.inner_pairs("Constraints", "EncryptionContextSubset"),
    };
    params.check()?;
    if let Some(unknown) = operations.iter().find(|operation| !OPERATIONS.contains(operation)) {
        return Err(ApiError::validation(format!(
            "1 validation error detected: Value '[{unknown}]' at 'operations' failed to satisfy constraint: Member must \
             satisfy constraint: [Member must satisfy enum value set: [{}]]",
            OPERATIONS.join(", ")
        )));
    }
    operations.sort_unstable();
    operations.dedup();
    let key = call.key(key_id)?;
    let pairs = constraint.equals.as_ref().or(constraint.subset.as_ref()).cloned().unwrap_or_default();
    let mut facts = Facts::of(&pairs).with("kms:GranteePrincipal", grantee).with("kms:GrantIsForAWSResource", "false");
    facts.context.set_all("kms:GrantOperations", operations.iter().copied());
    if let Some(retiring) = retiring {
        facts = facts.with("kms:RetiringPrincipal", retiring);
    }
    if let Some(kind) = constraint.json().as_object().and_then(|kinds| kinds.keys().next().cloned()) {
        facts = facts.with("kms:GrantConstraintType", kind);
    }
    call.authorize("kms:CreateGrant", &key, facts)?;
    key.usable()?;
    check_grant(call, &key, &operations, &constraint, [Some(grantee), retiring].into_iter().flatten())?;
    call.stop_if_dry()?;
    let owned = |text: &str| text.to_owned();
    let mut grant = Grant {
        id: random_hex::<32>()?,
        key: key.name.clone(),
        name: owned(name),
        created: call.now,
        grantee: owned(grantee),
        retiring: retiring.map(owned),
        operations: operations.iter().copied().map(owned).collect(),
        constraint,
        issuer: owned(call.caller.account()),
        tokens: Vec::new(),
    };
    let prefix = granted_to(&key.name, grantee);
    if !name.is_empty() {
        // A named grant that exists already is not made twice.
        for id in call.snapshot.names(&prefix, "", usize::MAX)? {
            let Some(known) = call.snapshot.get::<Grant>(&key.name.grant(&id))? else { continue };
            let (issuer, created) = (known.issuer.clone(), known.created);
            let same = Grant { id: id.clone(), tokens: known.tokens.clone(), issuer, created, ..grant.clone() };
            if same == known {
                grant = known;
                break;
            }
        }
    } else if call.snapshot.names(&key.name.grants(), "", MOST_ON_A_KEY)?.len() >= MOST_ON_A_KEY {
        return Err(ApiError::new("LimitExceededException", format!("{} has too many grants.", key.name.arn())));
    }
    let name = key.name.grant(&grant.id);
    let token = format!("{}/{}", name.trim_start_matches("grant/"), random_hex::<32>()?);
    let token = BASE64_URL_SAFE_NO_PAD.encode(token);
    grant.tokens.push(token.clone());
    call.changes.put(key.name.grant(&grant.id), &grant)?;
    call.changes.put(format!("{prefix}{}", grant.id), &())?;
    if let Some(retiring) = &grant.retiring {
        call.changes.put(retirable(call.region, retiring, &grant), &())?;
    }
    Ok(json!({ "GrantId": grant.id, "GrantToken": token }))
}

/// Fails if a grant asks for what its key cannot do, names a principal that does not exist, or gives
/// away more than the grant by which its issuer makes it.
fn check_grant<'a>(
    call: &Call<'_>,
    key: &Key,
    operations: &[&str],
    constraint: &Constraint,
    mut principals: impl Iterator<Item = &'a str>,
) -> Result<()> {
    if !constraint.is_none() && key.spec != Spec::Symmetric {
        let why = "Encryption context constraints are only supported by symmetric encryption keys.";
        return Err(ApiError::validation(why));
    }
    if let Some(operation) = operations.iter().find(|operation| !is_possible(key.spec, operation)) {
        let why = format!("Grant operation {operation} is not supported by a key with spec {}.", key.spec.name());
        return Err(ApiError::validation(why));
    }
    let too_many = |pairs: &std::collections::BTreeMap<String, String>| {
        pairs.len() > MOST_PAIRS || pairs.values().any(|value| value.chars().count() > 384)
    };
    if [&constraint.equals, &constraint.subset].into_iter().flatten().any(too_many) {
        return Err(ApiError::validation(
            "A grant constraint must have at most 8 pairs with values of at most 384 characters.",
        ));
    }
    let identities = call.engine.identities();
    let is_valid = |principal: &str| {
        identities.has_principal(principal) || principal.starts_with("arn:aws:iam::") && principal.ends_with(":root")
    };
    if let Some(principal) = principals.find(|principal| !is_valid(principal)) {
        return Err(ApiError::new("InvalidArnException", format!("Invalid principal {principal}")));
    }
    let Some(by) = &call.by_grant else { return Ok(()) };
    let Some(parent) = call.snapshot.get::<Grant>(&key.name.grant(by))? else { return Ok(()) };
    let is_more = |operation: &&str| !parent.operations.iter().any(|allowed| allowed == operation);
    if operations.iter().any(is_more) || !constraint.implies(&parent.constraint) {
        let why = "A grant cannot allow more than the grant by which it is made.";
        return Err(ApiError::new("AccessDeniedException", why));
    }
    Ok(())
}

fn retirable(region: &str, principal: &str, grant: &Grant) -> String {
    format!("{}{region}|{}|{}", retirable_by(principal), grant.id, grant.key.arn())
}

/// Removes a grant and what refers to it.
pub(super) fn remove(call: &mut Call<'_>, grant: &Grant) {
    call.changes.remove(grant.key.grant(&grant.id));
    call.changes.remove(format!("{}{}", granted_to(&grant.key, &grant.grantee), grant.id));
    if let Some(retiring) = &grant.retiring {
        call.changes.remove(retirable(&grant.key.region, retiring, grant));
    }
}

pub(super) fn list_grants(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let (marker, limit) = params.page(100, 50);
    let (id, grantee) = (params.text("GrantId", 1, 128), params.text("GranteePrincipal", 1, 256));
    params.check()?;
    let key = call.key(name)?;
    call.authorize("kms:ListGrants", &key, Facts::default().with("kms:GrantIsForAWSResource", "false"))?;
    let names = match (id, grantee) {
        (Some(id), None) => vec![id.to_owned()],
        (id, Some(grantee)) => {
            let mut names = call.snapshot.names(&granted_to(&key.name, grantee), &marker, limit + 1)?;
            names.retain(|found| id.is_none_or(|id| id == found));
            names
        }
        (None, None) => call.snapshot.names(&key.name.grants(), &marker, limit + 1)?,
    };
    let mut answer = page("Grants", &names, limit, |id| {
        Ok(call.snapshot.get::<Grant>(&key.name.grant(id))?.map_or(Value::Null, |grant| grant.json()))
    })?;
    if let Some(grants) = answer["Grants"].as_array_mut() {
        grants.retain(|grant| !grant.is_null());
    }
    Ok(answer)
}

pub(super) fn list_retirable_grants(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let principal = params.required("RetiringPrincipal", 1, 256);
    let (marker, limit) = params.page(100, 50);
    params.check()?;
    call.authorize_without_key("kms:ListRetirableGrants", None, Facts::default())?;
    let prefix = format!("{}{}|", retirable_by(principal), call.region);
    let names = call.snapshot.names(&prefix, &marker, limit + 1)?;
    page("Grants", &names, limit, |name| {
        let (id, arn) = name.split_once('|').unwrap_or_default();
        let grant = key_of(arn).map(|key| call.snapshot.get::<Grant>(&key.grant(id))).transpose()?.flatten();
        Ok(grant.map_or(Value::Null, |grant| grant.json()))
    })
}

fn key_of(arn: &str) -> Option<KeyName> {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let [_, _, _, region, account, resource] = parts[..] else { return None };
    Some(KeyName { account: account.into(), region: region.into(), id: resource.strip_prefix("key/")?.into() })
}

fn missing_grant(id: &str) -> ApiError {
    ApiError::not_found(format!("Grant ID {id} not found"))
}

pub(super) fn revoke_grant(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let id = params.required("GrantId", 1, 128);
    params.check()?;
    let key = call.key(name)?;
    call.authorize("kms:RevokeGrant", &key, Facts::default().with("kms:GrantIsForAWSResource", "false"))?;
    let grant: Grant = call.snapshot.get(&key.name.grant(id))?.ok_or_else(|| missing_grant(id))?;
    call.stop_if_dry()?;
    remove(call, &grant);
    Ok(Value::Null)
}

pub(super) fn retire_grant(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let token = params.text("GrantToken", 1, 8192);
    let (key_id, id) = (params.text("KeyId", 1, 2048), params.text("GrantId", 1, 128));
    params.check()?;
    let grant = match (token, key_id, id) {
        (None, Some(key_id), Some(id)) => {
            let key = call.key(key_id)?;
            call.snapshot.get::<Grant>(&key.name.grant(id))?.ok_or_else(|| missing_grant(id))?
        }
        (Some(token), None, None) => {
            let found = find_by_token(call, token)?;
            found.ok_or_else(|| ApiError::new("InvalidGrantTokenException", "Invalid grant token."))?
        }
        _ => return Err(ApiError::validation("You must specify either a GrantToken, or a KeyId and a GrantId.")),
    };
    let caller = call.caller;
    let retires = grant
        .retiring
        .as_deref()
        .is_some_and(|retiring| caller.is(retiring) || retiring == format!("arn:aws:iam::{}:root", caller.account()));
    let is_grantee = caller.is(&grant.grantee) && grant.operations.iter().any(|operation| operation == "RetireGrant");
    if !retires && !is_grantee {
        // The account that issued the grant can let its users retire it.
        let key = call.named(grant.key.clone())?;
        if grant.issuer != caller.account() {
            return Err(ApiError::new(
                "AccessDeniedException",
                format!(
                    "User: {} is not authorized to perform: kms:RetireGrant on resource: {}",
                    caller.arn(),
                    key.name.arn()
                ),
            ));
        }
        call.authorize_without_key("kms:RetireGrant", Some(&key.name.arn()), Facts::default())?;
    }
    call.stop_if_dry()?;
    if !call.keys.contains(&grant.key) {
        call.keys.push(grant.key.clone());
    }
    remove(call, &grant);
    Ok(Value::Null)
}

/// Finds the grant of a token, which starts with the name of its key and the id of the grant.
fn find_by_token(call: &Call<'_>, token: &str) -> Result<Option<Grant>> {
    let Some(name) = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|name| String::from_utf8(name).ok()) else {
        return Ok(None);
    };
    let name = name.rsplit_once('/').map(|(name, _)| format!("grant/{name}")).unwrap_or_default();
    let grant = call.snapshot.get::<Grant>(&name)?;
    Ok(grant.filter(|grant| grant.tokens.iter().any(|known| known == token)))
}
