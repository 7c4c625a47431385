//! Tags of keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::call::{Call, Facts, page};
use crate::server::error::{ApiError, Result};

const MOST: usize = 50;

/// Fails if these tags cannot be added to those of a key.
pub(super) fn check_tags(present: &BTreeMap<String, String>, added: &[(&str, &str)]) -> Result<()> {
    let refused = |why: &str| Err(ApiError::new("TagException", why));
    for (position, (key, _)) in added.iter().enumerate() {
        if added.iter().skip(position + 1).any(|(other, _)| other == key) {
            return refused("Duplicate tag keys");
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return refused("Tags beginning with aws: are reserved");
        }
    }
    let new = added.iter().filter(|(key, _)| !present.contains_key(*key)).count();
    if present.len() + new > MOST {
        return refused("Too many tags");
    }
    Ok(())
}

pub(super) fn tag_resource(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let tags = params.tags("Tags");
    params.check()?;
    let mut key = call.key(name)?;
    let mut facts = Facts::default();
    for (tag, value) in &tags {
        facts = facts.with(&format!("aws:RequestTag/{tag}"), *value);
    }
    facts.context.set_all("aws:TagKeys", tags.iter().map(|(tag, _)| *tag));
    call.authorize("kms:TagResource", &key, facts)?;
    key.not_pending_deletion()?;
    check_tags(&key.tags, &tags)?;
    key.tags.extend(tags.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())));
    call.put_key(&key)?;
    Ok(Value::Null)
}

pub(super) fn untag_resource(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let tags = params.texts("TagKeys");
    params.check()?;
    let mut key = call.key(name)?;
    let mut facts = Facts::default();
    facts.context.set_all("aws:TagKeys", tags.iter().copied());
    call.authorize("kms:UntagResource", &key, facts)?;
    key.not_pending_deletion()?;
    key.tags.retain(|tag, _| !tags.contains(&tag.as_str()));
    call.put_key(&key)?;
    Ok(Value::Null)
}

pub(super) fn list_resource_tags(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let (marker, limit) = params.page(50, 50);
    params.check()?;
    let key = call.key(name)?;
    call.authorize("kms:ListResourceTags", &key, Facts::default())?;
    let names: Vec<_> = key.tags.keys().filter(|tag| marker.is_empty() || **tag > marker).cloned().collect();
    page("Tags", &names, limit, |tag| Ok(json!({ "TagKey": tag, "TagValue": key.tags.get(tag) })))
}
