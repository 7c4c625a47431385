//! The table of operations.

use serde_json::Value;

use super::{
    aliases,
    call::{Call, Operation},
    cipher, grants, keys, policies, rotation, tags,
};
use crate::server::error::Result;

pub(super) fn find(name: &str) -> Option<&'static Operation> {
    ALL.iter().find(|operation| operation.name == name)
}

/// An operation that only reads, on keys of the caller's account or of any.
const fn read(name: &'static str, cross_account: bool, run: fn(&mut Call<'_>) -> Result<Value>) -> Operation {
    Operation { name, changes: false, cross_account, run }
}

const fn change(name: &'static str, cross_account: bool, run: fn(&mut Call<'_>) -> Result<Value>) -> Operation {
    Operation { name, changes: true, cross_account, run }
}

static ALL: &[Operation] = &[
    change("CreateKey", false, keys::create_key),
    read("DescribeKey", true, keys::describe_key),
    read("ListKeys", false, keys::list_keys),
    change("EnableKey", false, keys::enable_key),
    change("DisableKey", false, keys::disable_key),
    change("ScheduleKeyDeletion", false, keys::schedule_key_deletion),
    change("CancelKeyDeletion", false, keys::cancel_key_deletion),
    change("UpdateKeyDescription", false, keys::update_key_description),
    change("CreateAlias", false, aliases::create_alias),
    change("UpdateAlias", false, aliases::update_alias),
    change("DeleteAlias", false, aliases::delete_alias),
    read("ListAliases", false, aliases::list_aliases),
    read("Encrypt", true, cipher::encrypt),
    read("Decrypt", true, cipher::decrypt),
    read("ReEncrypt", true, cipher::re_encrypt),
    read("GenerateDataKey", true, cipher::generate_data_key),
    read("GenerateDataKeyWithoutPlaintext", true, cipher::generate_data_key_without_plaintext),
    read("GenerateRandom", false, cipher::generate_random),
    read("GenerateMac", true, cipher::generate_mac),
    read("VerifyMac", true, cipher::verify_mac),
    read("GetKeyPolicy", false, policies::get_key_policy),
    change("PutKeyPolicy", false, policies::put_key_policy),
    read("ListKeyPolicies", false, policies::list_key_policies),
    change("CreateGrant", true, grants::create_grant),
    read("ListGrants", true, grants::list_grants),
    read("ListRetirableGrants", false, grants::list_retirable_grants),
    change("RetireGrant", true, grants::retire_grant),
    change("RevokeGrant", true, grants::revoke_grant),
    change("EnableKeyRotation", false, rotation::enable_key_rotation),
    change("DisableKeyRotation", false, rotation::disable_key_rotation),
    read("GetKeyRotationStatus", true, rotation::get_key_rotation_status),
    change("RotateKeyOnDemand", false, rotation::rotate_key_on_demand),
    read("ListKeyRotations", false, rotation::list_key_rotations),
    change("TagResource", false, tags::tag_resource),
    change("UntagResource", false, tags::untag_resource),
    read("ListResourceTags", false, tags::list_resource_tags),
];
