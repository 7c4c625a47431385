//! Items of the storage: their attributes, and the checks before a key service is called.
//!
//! Specification: framework/branch-key-store, "Record Format" and "Encryption Context".

use std::{borrow::Cow, collections::BTreeMap};

use sealwax::EncryptionContext;
use uuid::Uuid;

use super::BranchKeyError;

pub(super) const ID: &str = "branch-key-id";
pub(super) const TYPE: &str = "type";
pub(super) const VERSION: &str = "version";
pub(super) const CIPHERTEXT: &str = "enc";
pub(super) const KMS_ARN: &str = "kms-arn";
pub(super) const CREATED: &str = "create-time";
pub(super) const HIERARCHY: &str = "hierarchy-version";
/// The prefix of the attributes with the custom encryption context.
pub(super) const CONTEXT: &str = "aws-crypto-ec:";
/// The name under which the logical key store name is authenticated. It is never stored.
const TABLE: &str = "tablename";

pub(super) const ACTIVE: &str = "branch:ACTIVE";
pub(super) const BEACON: &str = "beacon:ACTIVE";
pub(super) const VERSION_PREFIX: &str = "branch:version:";
/// The hierarchy version of this library.
const HIERARCHY_VERSION: &str = "1";
/// The longest ciphertext in bytes that AWS KMS returns.
pub(super) const MAX_CIPHERTEXT: usize = 6144;

/// An item of a [`BranchKeyStorage`](super::BranchKeyStorage): attributes by name.
///
/// ```
/// use sealwax_aws::{BranchKeyItem, ItemValue};
///
/// let mut item = BranchKeyItem::new("tenant-1", "branch:ACTIVE");
/// item.insert("hierarchy-version", ItemValue::Number("1".into()));
/// assert_eq!((item.id(), item.kind()), ("tenant-1", "branch:ACTIVE"));
/// assert_eq!(item.iter().count(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchKeyItem(BTreeMap<String, ItemValue>);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemValue {
    /// Text.
    Text(String),
    /// A number, as it is written.
    Number(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A value of another type, which no valid item has.
    Other,
}

impl BranchKeyItem {
    /// Creates an item with the id of a branch key and a type.
    pub fn new(id: impl Into<String>, kind: impl Into<String>) -> Self {
        let (id, kind) = (ItemValue::Text(id.into()), ItemValue::Text(kind.into()));
        Self(BTreeMap::from([(ID.to_owned(), id), (TYPE.to_owned(), kind)]))
    }

    /// Returns the id of the branch key, or an empty text if the item has none.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text(ID).unwrap_or_default()
    }

    /// Returns the type of the item, or an empty text if it has none.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text(TYPE).unwrap_or_default()
    }

    /// Returns the value of an attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ItemValue> {
        self.0.get(name)
    }

    /// Sets an attribute, and returns its previous value.
    pub fn insert(&mut self, name: impl Into<String>, value: ItemValue) -> Option<ItemValue> {
        self.0.insert(name.into(), value)
    }

    /// Removes an attribute, and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<ItemValue> {
        self.0.remove(name)
    }

    /// Returns an iterator over the attributes, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ItemValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the bytes of the attribute `enc`.
    pub(super) fn ciphertext(&self) -> Option<&Vec<u8>> {
        match self.get(CIPHERTEXT) {
            Some(ItemValue::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(ItemValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns the custom encryption context.
    pub(super) fn custom_context(&self) -> EncryptionContext {
        let pairs = self.iter().filter_map(|(name, value)| match value {
            ItemValue::Text(value) => Some((name.strip_prefix(CONTEXT)?, value.as_str())),
            _ => None,
        });
        pairs.collect()
    }

    /// Returns the encryption context that authenticates the item: all its attributes but the
    /// ciphertext, and the logical key store name.
    pub(super) fn context(&self, logical_name: &str) -> EncryptionContext {
        let pairs = self.iter().filter_map(|(name, value)| match value {
            ItemValue::Text(value) | ItemValue::Number(value) => Some((name, value.as_str())),
            _ => None,
        });
        pairs.chain([(TABLE, logical_name)]).collect()
    }
}

impl FromIterator<(String, ItemValue)> for BranchKeyItem {
    fn from_iter<I: IntoIterator<Item = (String, ItemValue)>>(attributes: I) -> Self {
        Self(attributes.into_iter().collect())
    }
}

/// Returns the item of a new version of a branch key, which has no ciphertext yet.
pub(super) fn version_item(
    id: &str,
    version: Uuid,
    kms_arn: &str,
    created: &str,
    context: &EncryptionContext,
) -> BranchKeyItem {
    let mut item = BranchKeyItem::new(id, version_type(version));
    item.insert(KMS_ARN, ItemValue::Text(kms_arn.to_owned()));
    item.insert(CREATED, ItemValue::Text(created.to_owned()));
    item.insert(HIERARCHY, ItemValue::Number(HIERARCHY_VERSION.to_owned()));
    for (name, value) in context {
        item.insert(format!("{CONTEXT}{name}"), ItemValue::Text(value.to_owned()));
    }
    item
}

/// Returns the item that makes this version the active one.
pub(super) fn active_item(version: &BranchKeyItem) -> BranchKeyItem {
    let mut item = version.clone();
    item.insert(VERSION, ItemValue::Text(version.kind().to_owned()));
    item.insert(TYPE, ItemValue::Text(ACTIVE.to_owned()));
    item
}

/// Returns the beacon item that is created with this version.
pub(super) fn beacon_item(version: &BranchKeyItem) -> BranchKeyItem {
    let mut item = version.clone();
    item.insert(TYPE, ItemValue::Text(BEACON.to_owned()));
    item
}

pub(super) fn version_type(version: Uuid) -> String {
    format!("{VERSION_PREFIX}{version}")
}

/// Returns the UUID in the type of a version, which must be written in the one way that all
/// libraries write it.
pub(super) fn parse_version(text: &str) -> Option<Uuid> {
    let text = text.strip_prefix(VERSION_PREFIX)?;
    Uuid::try_parse(text).ok().filter(|version| version.to_string() == text)
}

/// A checked item.
pub(super) struct Record<'a> {
    pub(super) kms_arn: &'a str,
    pub(super) ciphertext: &'a [u8],
    /// The version, unless this is a beacon key.
    pub(super) version: Option<Uuid>,
}

impl<'a> Record<'a> {
    /// Checks the item that a storage returned for this branch key and type.
    pub(super) fn check(item: &'a BranchKeyItem, id: &str, kind: &str) -> Result<Self, BranchKeyError> {
        let refuse = |why: Cow<'static, str>| {
            Err(BranchKeyError::InvalidItem { id: id.to_owned(), item: kind.to_owned(), why: why.into_owned() })
        };
        if item.text(ID) != Some(id) {
            return refuse("attribute branch-key-id is not the id that was requested".into());
        }
        if item.text(TYPE) != Some(kind) {
            return refuse("attribute type is not the one that was requested".into());
        }
        match item.get(HIERARCHY) {
            Some(ItemValue::Number(version)) if version == HIERARCHY_VERSION => {}
            Some(ItemValue::Number(version)) => {
                return Err(BranchKeyError::HierarchyVersion {
                    id: id.to_owned(),
                    item: kind.to_owned(),
                    version: version.clone(),
                });
            }
            _ => return refuse("attribute hierarchy-version is missing or not a number".into()),
        }
        let Some(ciphertext) = item.ciphertext().filter(|bytes| (1..=MAX_CIPHERTEXT).contains(&bytes.len())) else {
            return refuse("attribute enc is missing or not a ciphertext of 1 to 6,144 bytes".into());
        };
        let Some(kms_arn) = item.text(KMS_ARN) else {
            return refuse("attribute kms-arn is missing or not text".into());
        };
        if item.text(CREATED).is_none() {
            return refuse("attribute create-time is missing or not text".into());
        }
        let version = match (kind, item.get(VERSION)) {
            (ACTIVE, Some(ItemValue::Text(version))) => match parse_version(version) {
                Some(version) => Some(version),
                None => return refuse("attribute version is not branch:version: and a UUID in lower case".into()),
            },
            (ACTIVE, _) => return refuse("attribute version is missing or not text".into()),
            (_, Some(_)) => return refuse("attribute version is only allowed in the item branch:ACTIVE".into()),
            (_, None) => parse_version(kind),
        };
        for (name, value) in item.iter() {
            if name == TABLE {
                return refuse("attribute tablename is not allowed".into());
            }
            if !matches!(value, ItemValue::Text(_)) && name != CIPHERTEXT && name != HIERARCHY {
                return refuse(format!("attribute {} is not text", sealwax::Escaped(name)).into());
            }
        }
        Ok(Self { kms_arn, ciphertext, version })
    }
}
