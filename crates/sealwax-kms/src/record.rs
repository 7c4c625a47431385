//! The records of a store and their form in CBOR.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sealwax::{
    Result, SecretBytes,
    crypto::{CryptoProvider, RustCrypto},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
};

use super::seal::{KEY_LENGTH, joined, open, random_hex, seal};

/// The label of sealed key material.
const MATERIAL: &str = "key material";
/// The label of the sealed key of the audit log.
const AUDIT_KEY: &str = "audit key";

/// The part of the file that is read without the root key and says how to obtain it. It is not
/// secret, and must not be trusted before the tag of the whole file has been checked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) store_id: String,
    /// Incremented at each change.
    pub(super) generation: u64,
    pub(super) root: RootRecord,
    /// A tag under the root key, which distinguishes a wrong root key from a damaged file.
    pub(super) check: Bytes,
}

/// Where the root key comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum RootRecord {
    /// A file with this name in the directory.
    KeyFile { name: String },
    /// A file elsewhere; the caller knows where.
    ExternalKeyFile,
    /// A passphrase, through Argon2id.
    Passphrase { salt: Bytes, memory_kib: u32, passes: u32, lanes: u32 },
    /// Wrapped by a keyring: provider id, provider information, ciphertext.
    Keyring { encrypted_data_keys: Vec<(String, Bytes, Bytes)> },
}

/// The rest of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// The audit log line of the last change, which is part of that change.
    pub(super) journal: String,
    pub(super) audit_key: Bytes,
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) keys: Vec<TaggedRecord>,
}

/// A [`KeyRecord`] in CBOR with its own tag, so that an error can name the damaged record.
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
    /// The material, oldest first. The last encrypts, all of them decrypt.
    pub(super) backing: Vec<BackingKey>,
}

/// One generation of a key's material.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackingKey {
    pub(super) id: String,
    pub(super) created: Timestamp,
    pub(super) sealed: Bytes,
}

impl BackingKey {
    /// Creates a generation with the given material, or with new random material, sealed under the
    /// root key.
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

    /// Reseals everything from one root key to another.
    pub(super) fn reseal(&mut self, from: &SecretBytes, to: &SecretBytes) -> Result<()> {
        for (id, key) in &mut self.keys {
            for backing in &mut key.backing {
                let material = backing.open(from, id)?;
                backing.seal(to, id, &material)?;
            }
        }
        Ok(())
    }

    /// Returns when the next scheduled deletion is due.
    pub(super) fn next_deletion(&self) -> Option<Timestamp> {
        self.keys.values().filter_map(|key| key.deletion).min()
    }
}

/// A time in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Timestamp(pub(super) u64);

impl Timestamp {
    /// Returns whether this is a time that [`fmt::Display`] can show.
    pub(super) fn is_valid(self) -> bool {
        u128::from(self.0) <= LAST.as_millis()
    }

    pub(super) fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The last time that RFC 3339 can express, in the year 9999.
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

/// A byte string in CBOR; serde would serialize a `Vec<u8>` as a list of numbers.
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
