//! Aliases. They are allowed by policies of identities alone, and their keys by either kind.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{Call, Facts, page};
use crate::server::{
    error::{ApiError, Result},
    record::{Key, KeyName, aliases_of, seconds},
};

/// When an alias was made and last changed.
#[derive(Serialize, Deserialize)]
struct Dates {
    created: u64,
    updated: u64,
}

/// Reads and checks the name of an alias that is made, changed or deleted.
fn alias_name<'a>(call: &Call<'a>) -> Result<&'a str> {
    let mut params = call.params();
    let name = params.required("AliasName", 1, 256);
    params.check()?;
    let Some(rest) = name.strip_prefix("alias/").filter(|rest| !rest.is_empty()) else {
        return Err(ApiError::validation(
            "Alias must start with the prefix \"alias/\". Please see \
             https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
        ));
    };
    if name.starts_with("alias/aws/") {
        return Err(ApiError::new("NotAuthorizedException", ""));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    if !rest.bytes().all(allowed) {
        let why = "Alias names can only contain alphanumeric characters, forward slashes, underscores and dashes";
        return Err(ApiError::new("InvalidAliasNameException", why));
    }
    Ok(name)
}

fn alias_arn(call: &Call<'_>, alias: &str) -> String {
    format!("arn:aws:kms:{}:{}:{alias}", call.region, call.caller.account())
}

fn alias_record(call: &Call<'_>, alias: &str) -> String {
    format!("{}{alias}", aliases_of(call.caller.account(), call.region))
}

fn point(call: &mut Call<'_>, alias: &str, key: &Key, dates: &Dates) -> Result<()> {
    let record = alias_record(call, alias);
    call.changes.put(record, &key.name.id)?;
    call.changes.put(format!("{}{alias}", key.name.aliases()), dates)?;
    Ok(())
}

pub(super) fn create_alias(call: &mut Call<'_>) -> Result<Value> {
    let alias = alias_name(call)?;
    let mut params = call.params();
    let target = params.required("TargetKeyId", 1, 2048);
    params.check()?;
    let key = call.key(target)?;
    let arn = alias_arn(call, alias);
    call.authorize_without_key("kms:CreateAlias", Some(&arn), Facts::default())?;
    call.authorize("kms:CreateAlias", &key, Facts::default())?;
    if call.snapshot.get::<String>(&alias_record(call, alias))?.is_some() {
        return Err(ApiError::new("AlreadyExistsException", format!("An alias with the name {arn} already exists")));
    }
    key.not_pending_deletion()?;
    let dates = Dates { created: call.now, updated: call.now };
    point(call, alias, &key, &dates)?;
    Ok(Value::Null)
}

/// Returns the key that an alias points to.
fn target_of(call: &mut Call<'_>, alias: &str) -> Result<Key> {
    let missing = || ApiError::not_found(format!("Alias {} is not found.", alias_arn(call, alias)));
    let id: String = call.snapshot.get(&alias_record(call, alias))?.ok_or_else(missing)?;
    call.named(KeyName { account: call.caller.account().into(), region: call.region.into(), id })
}

pub(super) fn update_alias(call: &mut Call<'_>) -> Result<Value> {
    let alias = alias_name(call)?;
    let mut params = call.params();
    let target = params.required("TargetKeyId", 1, 2048);
    params.check()?;
    let (old, new) = (target_of(call, alias)?, call.key(target)?);
    let arn = alias_arn(call, alias);
    call.authorize_without_key("kms:UpdateAlias", Some(&arn), Facts::default())?;
    call.authorize("kms:UpdateAlias", &old, Facts::default())?;
    call.authorize("kms:UpdateAlias", &new, Facts::default())?;
    new.not_pending_deletion()?;
    if old.spec.usage() != new.spec.usage() {
        let why = format!(
            "Alias {arn} cannot be changed from a key with usage {} to a key with usage {}.",
            old.spec.usage(),
            new.spec.usage()
        );
        return Err(ApiError::validation(why));
    }
    let entry = format!("{}{alias}", old.name.aliases());
    let created = call.snapshot.get::<Dates>(&entry)?.map_or(call.now, |dates| dates.created);
    call.changes.remove(entry);
    let dates = Dates { created, updated: call.now };
    point(call, alias, &new, &dates)?;
    Ok(Value::Null)
}

pub(super) fn delete_alias(call: &mut Call<'_>) -> Result<Value> {
    let alias = alias_name(call)?;
    let key = target_of(call, alias)?;
    let arn = alias_arn(call, alias);
    call.authorize_without_key("kms:DeleteAlias", Some(&arn), Facts::default())?;
    call.authorize("kms:DeleteAlias", &key, Facts::default())?;
    call.changes.remove(alias_record(call, alias));
    call.changes.remove(format!("{}{alias}", key.name.aliases()));
    Ok(Value::Null)
}

pub(super) fn list_aliases(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let target = params.text("KeyId", 1, 2048);
    let (marker, limit) = params.page(100, 50);
    params.check()?;
    call.authorize_without_key("kms:ListAliases", None, Facts::default())?;
    let prefix = match target {
        Some(target) => call.key(target)?.name.aliases(),
        None => aliases_of(call.caller.account(), call.region),
    };
    let names = call.snapshot.names(&prefix, &marker, limit + 1)?;
    page("Aliases", &names, limit, |alias| {
        let id: String = call.snapshot.get(&alias_record(call, alias))?.unwrap_or_default();
        let name = KeyName { account: call.caller.account().into(), region: call.region.into(), id };
        let dates: Option<Dates> = call.snapshot.get(&format!("{}{alias}", name.aliases()))?;
        let mut entry = json!({ "AliasName": alias, "AliasArn": alias_arn(call, alias), "TargetKeyId": name.id });
        if let Some(dates) = dates {
            entry["CreationDate"] = seconds(dates.created);
            entry["LastUpdatedDate"] = seconds(dates.updated);
        }
        Ok(entry)
    })
}
