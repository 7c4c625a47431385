//! Rotation of symmetric keys.

use serde_json::{Value, json};

use super::{
    call::{Call, Facts, page},
    keys::add_material,
};
use crate::server::{
    error::{ApiError, Result},
    record::{DAY, Key, Rotation, Spec, State, seconds},
};

const MOST_ON_DEMAND: u32 = 25;

/// Puts a key on the agenda, at the time when it is to be deleted or rotated.
pub(super) fn schedule(call: &mut Call<'_>, key: &Key) -> Result<()> {
    for time in [key.deletion, key.rotation.as_ref().map(|rotation| rotation.next)].into_iter().flatten() {
        call.changes.put(key.name.due(time), &())?;
    }
    Ok(())
}

/// Fails unless the key can be rotated. The state comes before the kind of key.
fn rotatable(key: &Key) -> Result<()> {
    key.usable()?;
    if key.spec == Spec::Symmetric { Ok(()) } else { Err(ApiError::bare("UnsupportedOperationException")) }
}

pub(super) fn enable_key_rotation(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let days = params.number("RotationPeriodInDays", 90, 2560);
    params.check()?;
    let mut key = call.key(name)?;
    let mut facts = Facts::default();
    if let Some(days) = days {
        facts = facts.with("kms:RotationPeriodInDays", days.to_string());
    }
    call.authorize("kms:EnableKeyRotation", &key, facts)?;
    rotatable(&key)?;
    let kept = key.rotation.take().filter(|rotation| days.is_none_or(|days| days == rotation.days));
    let days = days.unwrap_or(365);
    key.rotation = Some(kept.unwrap_or(Rotation { days, next: call.now + u64::from(days) * DAY }));
    schedule(call, &key)?;
    call.put_key(&key)?;
    Ok(Value::Null)
}

pub(super) fn disable_key_rotation(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    params.check()?;
    let mut key = call.key(name)?;
    call.authorize("kms:DisableKeyRotation", &key, Facts::default())?;
    rotatable(&key)?;
    key.rotation = None;
    call.put_key(&key)?;
    Ok(Value::Null)
}

pub(super) fn get_key_rotation_status(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    params.check()?;
    let key = call.key(name)?;
    call.authorize("kms:GetKeyRotationStatus", &key, Facts::default())?;
    key.has_material()?;
    let rotation = key.rotation.as_ref().filter(|_| key.state != State::PendingDeletion);
    let mut answer = json!({ "KeyId": key.name.arn(), "KeyRotationEnabled": rotation.is_some() });
    if let Some(rotation) = rotation {
        answer["RotationPeriodInDays"] = rotation.days.into();
        answer["NextRotationDate"] = seconds(rotation.next);
    }
    Ok(answer)
}

pub(super) fn rotate_key_on_demand(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    params.check()?;
    let mut key = call.key(name)?;
    call.authorize("kms:RotateKeyOnDemand", &key, Facts::default())?;
    rotatable(&key)?;
    if key.on_demand_rotations >= MOST_ON_DEMAND {
        return Err(ApiError::new(
            "LimitExceededException",
            format!(
                "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be \
                 performed for this key: {}",
                key.name.arn()
            ),
        ));
    }
    add_material(call, &mut key, Some(true))?;
    key.on_demand_rotations += 1;
    call.put_key(&key)?;
    Ok(json!({ "KeyId": key.name.arn() }))
}

pub(super) fn list_key_rotations(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let all = params.one_of("IncludeKeyMaterial", &["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"]) == Some("ALL_KEY_MATERIAL");
    let (marker, limit) = params.page(1000, 100);
    params.check()?;
    let key = call.key(name)?;
    call.authorize("kms:ListKeyRotations", &key, Facts::default())?;
    key.has_material()?;
    if key.spec != Spec::Symmetric {
        return Err(ApiError::bare("UnsupportedOperationException"));
    }
    let listed = key.material.iter().enumerate().filter(|(_, material)| all || material.on_demand.is_some());
    let names: Vec<_> = listed.map(|(number, _)| format!("{number:06}")).filter(|name| *name > marker).collect();
    page("Rotations", &names, limit, |name| {
        let number: usize = name.parse().unwrap_or_default();
        let Some(material) = key.material.get(number) else { return Ok(Value::Null) };
        let is_current = number + 1 == key.material.len();
        let mut entry = json!({
            "KeyId": key.name.arn(),
            "KeyMaterialId": material.id,
            "KeyMaterialState": if is_current { "CURRENT" } else { "NON_CURRENT" },
        });
        if let Some(on_demand) = material.on_demand {
            entry["RotationDate"] = seconds(material.created);
            entry["RotationType"] = if on_demand { "ON_DEMAND" } else { "AUTOMATIC" }.into();
        }
        Ok(entry)
    })
}
