//! The records of keys, aliases and grants, and their names in the database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::{ApiError, Result};

/// One day in milliseconds.
pub(crate) const DAY: u64 = 24 * 60 * 60 * 1000;

/// The name of a key in the database: its account, Region and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct KeyName {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) id: String,
}

impl KeyName {
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:kms:{}:{}:key/{}", self.region, self.account, self.id)
    }

    fn path(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }

    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let mut parts = path.split('/').map(str::to_owned);
        Some(Self { account: parts.next()?, region: parts.next()?, id: parts.next()? })
    }

    pub(crate) fn record(&self) -> String {
        format!("key/{}", self.path())
    }

    pub(crate) fn policy(&self) -> String {
        format!("policy/{}", self.path())
    }

    pub(crate) fn material(&self, id: &str) -> String {
        format!("material/{}/{id}", self.path())
    }

    pub(crate) fn grants(&self) -> String {
        format!("grant/{}/", self.path())
    }

    pub(crate) fn grant(&self, id: &str) -> String {
        format!("{}{id}", self.grants())
    }

    /// The prefix of the aliases that point to the key.
    pub(crate) fn aliases(&self) -> String {
        format!("alias-of/{}/", self.path())
    }

    /// The name of the entry of the agenda that asks for the key to be looked at.
    pub(crate) fn due(&self, time: u64) -> String {
        format!("{AGENDA}{time:016x}/{}", self.path())
    }
}

pub(crate) const AGENDA: &str = "due/";

/// The prefix of the keys of an account in a Region.
pub(crate) fn keys_of(account: &str, region: &str) -> String {
    format!("key/{account}/{region}/")
}

/// The prefix of the aliases of an account in a Region.
pub(crate) fn aliases_of(account: &str, region: &str) -> String {
    format!("alias/{account}/{region}/")
}

/// The prefix of the grants that a principal may retire.
pub(crate) fn retirable_by(principal: &str) -> String {
    format!("retirable/{principal}|")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    AwsKms,
    External,
}

impl Origin {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AwsKms => "AWS_KMS",
            Self::External => "EXTERNAL",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Enabled,
    Disabled,
    PendingDeletion,
    PendingImport,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::PendingImport => "PendingImport",
        }
    }
}

/// What a key is: its specification, which decides what it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Spec {
    Symmetric,
    Hmac224,
    Hmac256,
    Hmac384,
    Hmac512,
}

impl Spec {
    pub(crate) const ALL: [(&'static str, Self); 5] = [
        ("SYMMETRIC_DEFAULT", Self::Symmetric),
        ("HMAC_224", Self::Hmac224),
        ("HMAC_256", Self::Hmac256),
        ("HMAC_384", Self::Hmac384),
        ("HMAC_512", Self::Hmac512),
    ];

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, spec)| *spec)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, spec)| *spec == self).map_or("", |(name, _)| name)
    }

    pub(crate) fn usage(self) -> &'static str {
        if self == Self::Symmetric { "ENCRYPT_DECRYPT" } else { "GENERATE_VERIFY_MAC" }
    }

    /// Returns the length of the material in bytes.
    pub(crate) fn length(self) -> usize {
        match self {
            Self::Symmetric | Self::Hmac256 => 32,
            Self::Hmac224 => 28,
            Self::Hmac384 => 48,
            Self::Hmac512 => 64,
        }
    }

    /// Returns the member of the metadata that lists the algorithms, and the algorithm.
    pub(crate) fn algorithm(self) -> (&'static str, &'static str) {
        match self {
            Self::Symmetric => ("EncryptionAlgorithms", "SYMMETRIC_DEFAULT"),
            Self::Hmac224 => ("MacAlgorithms", "HMAC_SHA_224"),
            Self::Hmac256 => ("MacAlgorithms", "HMAC_SHA_256"),
            Self::Hmac384 => ("MacAlgorithms", "HMAC_SHA_384"),
            Self::Hmac512 => ("MacAlgorithms", "HMAC_SHA_512"),
        }
    }
}

/// Automatic rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    pub(crate) days: u32,
    pub(crate) next: u64,
}

/// One generation of material, whose bytes are a record of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Material {
    pub(crate) id: String,
    pub(crate) created: u64,
    /// Whether the rotation that made it was on demand; `None` for the first.
    pub(crate) on_demand: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) name: KeyName,
    pub(crate) created: u64,
    pub(crate) description: String,
    pub(crate) spec: Spec,
    pub(crate) origin: Origin,
    pub(crate) multi_region: bool,
    pub(crate) state: State,
    pub(crate) deletion: Option<u64>,
    pub(crate) rotation: Option<Rotation>,
    pub(crate) on_demand_rotations: u32,
    /// Oldest first. The last encrypts, all decrypt.
    pub(crate) material: Vec<Material>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Key {
    /// Returns the `KeyMetadata` of AWS.
    pub(crate) fn metadata(&self) -> Value {
        let (member, algorithm) = self.spec.algorithm();
        let mut metadata = json!({
            "AWSAccountId": self.name.account,
            "Arn": self.name.arn(),
            "CreationDate": seconds(self.created),
            "CustomerMasterKeySpec": self.spec.name(),
            "Description": self.description,
            "Enabled": self.state == State::Enabled,
            "KeyId": self.name.id,
            "KeyManager": "CUSTOMER",
            "KeySpec": self.spec.name(),
            "KeyState": self.state.name(),
            "KeyUsage": self.spec.usage(),
            "MultiRegion": self.multi_region,
            "Origin": self.origin.name(),
            member: [algorithm],
        });
        if let (Spec::Symmetric, Some(current)) = (self.spec, self.material.last()) {
            metadata["CurrentKeyMaterialId"] = current.id.as_str().into();
        }
        if let Some(date) = self.deletion {
            metadata["DeletionDate"] = seconds(date);
        }
        if self.multi_region {
            let primary = json!({"Arn": self.name.arn(), "Region": self.name.region});
            metadata["MultiRegionConfiguration"] =
                json!({"MultiRegionKeyType": "PRIMARY", "PrimaryKey": primary, "ReplicaKeys": []});
        }
        metadata
    }

    /// Fails unless the key may be used.
    pub(crate) fn usable(&self) -> Result<()> {
        self.not_pending_deletion()?;
        self.has_material()?;
        match self.state {
            State::Disabled => Err(ApiError::new("DisabledException", format!("{} is disabled.", self.name.arn()))),
            _ => Ok(()),
        }
    }

    pub(crate) fn not_pending_deletion(&self) -> Result<()> {
        match self.state {
            State::PendingDeletion => Err(ApiError::invalid_state(format!("{} is pending deletion.", self.name.arn()))),
            _ => Ok(()),
        }
    }

    pub(crate) fn has_material(&self) -> Result<()> {
        match self.state {
            State::PendingImport => Err(ApiError::invalid_state(format!("{} is pending import.", self.name.arn()))),
            _ => Ok(()),
        }
    }
}

/// A grant, whose id is the end of its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) id: String,
    pub(crate) key: KeyName,
    pub(crate) name: String,
    pub(crate) created: u64,
    pub(crate) grantee: String,
    pub(crate) retiring: Option<String>,
    pub(crate) operations: Vec<String>,
    pub(crate) constraint: Constraint,
    pub(crate) issuer: String,
    /// Whether several grants with these parameters were asked for, whose tokens are all valid.
    pub(crate) tokens: Vec<String>,
}

/// What an encryption context must be or contain for a grant to count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Constraint {
    pub(crate) equals: Option<BTreeMap<String, String>>,
    pub(crate) subset: Option<BTreeMap<String, String>>,
}

impl Constraint {
    pub(crate) fn is_none(&self) -> bool {
        self.equals.is_none() && self.subset.is_none()
    }

    pub(crate) fn holds(&self, context: &BTreeMap<String, String>) -> bool {
        let has = |pairs: &BTreeMap<String, String>| pairs.iter().all(|(key, value)| context.get(key) == Some(value));
        self.equals.as_ref().is_none_or(|pairs| pairs == context) && self.subset.as_ref().is_none_or(has)
    }

    /// Returns whether every context that satisfies this also satisfies `other`.
    pub(crate) fn implies(&self, other: &Self) -> bool {
        let certain = match (&self.equals, &self.subset) {
            (Some(pairs), _) => return other.holds(pairs),
            (None, Some(pairs)) => pairs.clone(),
            (None, None) => BTreeMap::new(),
        };
        other.equals.is_none() && other.holds(&certain)
    }

    pub(crate) fn json(&self) -> Value {
        let mut value = json!({});
        if let Some(pairs) = &self.equals {
            value["EncryptionContextEquals"] = json!(pairs);
        }
        if let Some(pairs) = &self.subset {
            value["EncryptionContextSubset"] = json!(pairs);
        }
        value
    }
}

impl Grant {
    /// Returns the entry of `ListGrants`.
    pub(crate) fn json(&self) -> Value {
        let mut value = json!({
            "KeyId": self.key.arn(),
            "GrantId": self.id,
            "Name": self.name,
            "CreationDate": seconds(self.created),
            "GranteePrincipal": self.grantee,
            "IssuingAccount": format!("arn:aws:iam::{}:root", self.issuer),
            "Operations": self.operations,
        });
        if let Some(retiring) = &self.retiring {
            value["RetiringPrincipal"] = retiring.as_str().into();
        }
        if !self.constraint.is_none() {
            value["Constraints"] = self.constraint.json();
        }
        value
    }
}

/// Returns a time as AWS JSON has it: seconds since 1970 with a fraction.
#[allow(clippy::cast_precision_loss, reason = "milliseconds of the next thousands of years are exact")]
pub(crate) fn seconds(milliseconds: u64) -> Value {
    json!(milliseconds as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> BTreeMap<String, String> {
        text.chars().map(|letter| (letter.to_string(), "1".to_owned())).collect()
    }

    #[test]
    fn constraints_hold_and_imply_each_other() {
        let equals = |text| Constraint { equals: Some(pairs(text)), subset: None };
        let subset = |text| Constraint { equals: None, subset: Some(pairs(text)) };
        let none = Constraint::default;
        for (constraint, context, expected) in [
            (none(), "", true),
            (equals("ab"), "ab", true),
            (equals("ab"), "abc", false),
            (equals("ab"), "a", false),
            (equals(""), "", true),
            (subset("ab"), "abc", true),
            (subset("ab"), "a", false),
        ] {
            assert_eq!(constraint.holds(&pairs(context)), expected, "{constraint:?} {context}");
        }
        let all = [none(), equals("a"), equals("ab"), subset("a"), subset("ab"), subset("")];
        let contexts = ["", "a", "b", "ab", "abc", "ac"].map(pairs);
        for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
            let expected = contexts.iter().all(|context| !one.holds(context) || other.holds(context));
            assert_eq!(one.implies(other), expected, "{one:?} {other:?}");
        }
    }
}
