//! What a store keeps: the records, and their form in CBOR.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
};

use super::seal::{KEY_LENGTH, joined, open, random_hex, seal};
use crate::{
    crypto::{CryptoProvider, RustCrypto},
    error::Result,
    secret::SecretBytes,
};

/// The label of sealed key material.
const MATERIAL: &str = "key material";
/// The label of the key of the audit log.
const AUDIT_KEY: &str = "audit key";

/// What is read before there is a root key, and says how to come by it. Not secret; not to be believed before the tag of
/// the whole file has been checked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) store_id: String,
    /// One more at each change.
    pub(super) generation: u64,
    pub(super) root: RootRecord,
    /// A tag under the root key, by which a wrong one is told from a damaged file.
    pub(super) check: Bytes,
}

/// Where the root key comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum RootRecord {
    /// A file of this name in the folder.
    KeyFile { name: String },
    /// A file elsewhere: who opens the store knows where.
    ExternalKeyFile,
    /// Argon2id.
    Passphrase { salt: Bytes, memory_kib: u32, passes: u32, lanes: u32 },
    /// Wrapped by a keyring: provider id, provider information, ciphertext.
    Keyring { encrypted_data_keys: Vec<(String, Bytes, Bytes)> },
}

/// Everything else, as it lies in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// The last line of the audit log that belongs to a change; it is part of the change.
    pub(super) journal: String,
    pub(super) audit_key: Bytes,
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) keys: Vec<TaggedRecord>,
}

/// A [`KeyRecord`] in CBOR, authenticated by itself, so that damage can be named.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaggedRecord {
    pub(super) record: Bytes,
    pub(super) tag: Bytes,
}

/// A key of the store.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRecord {
    pub(super) id: String,
    pub(super) description: String,
    pub(super) created: Timestamp,
    pub(super) imported: bool,
    pub(super) enabled: bool,
    pub(super) deletion: Option<Timestamp>,
    pub(super) rotation_days: Option<u32>,
    /// The material, oldest first; the last encrypts, all decrypt.
    pub(super) backing: Vec<BackingKey>,
}

/// One generation of the material of a key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackingKey {
    pub(super) id: String,
    pub(super) created: Timestamp,
    pub(super) sealed: Bytes,
}

impl BackingKey {
    /// New material, or this one, sealed under the root key for a key.
    pub(super) fn new(
        root: &SecretBytes,
        key_id: &str,
        material: Option<&SecretBytes>,
        created: Timestamp,
    ) -> Result<Self> {
        let random = match material {
            Some(_) => None,
            None => Some(RustCrypto.random_key(KEY_LENGTH)?),
        };
        let mut backing = Self { id: random_hex::<16>()?, created, sealed: Bytes::default() };
        if let Some(material) = material.or(random.as_ref()) {
            backing.seal(root, key_id, material)?;
        }
        Ok(backing)
    }

    pub(super) fn seal(&mut self, root: &SecretBytes, key_id: &str, material: &SecretBytes) -> Result<()> {
        self.sealed = Bytes(seal(root, MATERIAL, &self.aad(key_id), material.as_bytes())?);
        Ok(())
    }

    pub(super) fn open(&self, root: &SecretBytes, key_id: &str) -> Result<SecretBytes> {
        open(root, MATERIAL, &self.aad(key_id), &self.sealed.0)
    }

    fn aad(&self, key_id: &str) -> Vec<u8> {
        joined(&[key_id.as_bytes(), self.id.as_bytes()])
    }
}

/// A store, or a backup, in memory. Key material stays sealed until it is used.
#[derive(Clone)]
pub(super) struct Contents {
    pub(super) header: Header,
    pub(super) journal: String,
    pub(super) audit_key: Bytes,
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) keys: BTreeMap<String, KeyRecord>,
}

impl Contents {
    pub(super) fn seal_audit_key(&mut self, root: &SecretBytes, key: &SecretBytes) -> Result<()> {
        self.audit_key = Bytes(seal(root, AUDIT_KEY, self.header.store_id.as_bytes(), key.as_bytes())?);
        Ok(())
    }

    pub(super) fn open_audit_key(&self, root: &SecretBytes) -> Result<SecretBytes> {
        open(root, AUDIT_KEY, self.header.store_id.as_bytes(), &self.audit_key.0)
    }

    /// Seals everything that one root key sealed under another.
    pub(super) fn reseal(&mut self, from: &SecretBytes, to: &SecretBytes) -> Result<()> {
        for (id, key) in &mut self.keys {
            for backing in &mut key.backing {
                let material = backing.open(from, id)?;
                backing.seal(to, id, &material)?;
            }
        }
        Ok(())
    }

    /// When the first key is to be destroyed.
    pub(super) fn next_deletion(&self) -> Option<Timestamp> {
        self.keys.values().filter_map(|key| key.deletion).min()
    }
}

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Timestamp(pub(super) u64);

impl Timestamp {
    pub(super) fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The last moment that RFC 3339 can write: in the year 9999.
const LAST: Duration = Duration::from_millis(253_402_300_799_999);

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(time.0).min(LAST)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis((*self).into()).fmt(f)
    }
}

/// Bytes that are bytes in CBOR too; serde would make a list of numbers of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;

        impl<'de> Visitor<'de> for Take {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Bytes, A::Error> {
                Err(A::Error::custom("a list where bytes belong"))
            }
        }

        deserializer.deserialize_byte_buf(Take)
    }
}
