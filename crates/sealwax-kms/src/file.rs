//! The format of a store, or of a backup: a header in the clear, records, and a tag over every
//! byte.
//!
//! ```text
//! "sealwax store 1\n" || u32 length of the header || header (CBOR) || body (CBOR) || tag (32 bytes)
//! ```
//!
//! The whole store is one file because replacing one file is the only transaction that file systems
//! offer. The tag binds the records to each other and to the generation, so it detects a record
//! that was removed, added, or replaced by an older one.

use std::{collections::BTreeMap, path::Path};

use sealwax::{Error, Result, SecretBytes};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    LocalKmsError,
    keys::is_key_id,
    record::{Body, Bytes, Contents, Header, KeyRecord, RootRecord, TaggedRecord},
    seal::{MAC_LENGTH, joined, tag},
};

const MAGIC: &[u8; 16] = b"sealwax store 1\n";
/// The common prefix of all versions.
const FAMILY: &[u8] = b"sealwax store ";
const WHOLE: &str = "store file";
const RECORD: &str = "key record";
const ROOT_CHECK: &str = "root check";

/// Serializes contents as a file.
pub(super) fn encode(contents: &Contents, root: &SecretBytes) -> Result<Vec<u8>> {
    let Contents { header, journal, audit_key, aliases, keys } = contents;
    let mut body = Body {
        journal: journal.clone(),
        audit_key: audit_key.clone(),
        aliases: aliases.clone(),
        keys: Vec::with_capacity(keys.len()),
    };
    for key in keys.values() {
        let record = cbor(key)?;
        let tag = record_tag(root, &header.store_id, &record)?;
        body.keys.push(TaggedRecord { record: Bytes(record), tag: Bytes(tag.as_bytes().to_vec()) });
    }
    let (head, body) = (cbor(header)?, cbor(&body)?);
    let length = u32::try_from(head.len()).map_err(|_| Error::Provider("the header of a key store is too long"))?;
    let mut out = [MAGIC.as_slice(), &length.to_be_bytes(), &head, &body].concat();
    let whole = tag(root, WHOLE, &out)?;
    out.extend_from_slice(whole.as_bytes());
    Ok(out)
}

/// Returns the tag in the header by which a wrong root key is recognized.
pub(super) fn root_check(root: &SecretBytes, store_id: &str, record: &RootRecord) -> Result<Bytes> {
    Ok(Bytes(tag(root, ROOT_CHECK, &joined(&[store_id.as_bytes(), &cbor(record)?]))?.as_bytes().to_vec()))
}

fn record_tag(root: &SecretBytes, store_id: &str, record: &[u8]) -> Result<SecretBytes> {
    tag(root, RECORD, &joined(&[store_id.as_bytes(), record]))
}

/// A parsed file whose tag has not been checked.
pub(super) struct Unverified<'a> {
    path: &'a Path,
    pub(super) header: Header,
    signed: &'a [u8],
    body: &'a [u8],
    tag: &'a [u8; MAC_LENGTH],
}

impl<'a> Unverified<'a> {
    /// Splits a file into its parts.
    ///
    /// # Errors
    /// [`LocalKmsError::Damaged`] if this is not such a file, is truncated, or has a later version.
    pub(super) fn parse(path: &'a Path, bytes: &'a [u8]) -> Result<Self, LocalKmsError> {
        let damaged = |what: &str| LocalKmsError::damaged(path, what);
        let cut_off = || damaged("it is truncated");
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(match bytes.strip_prefix(FAMILY) {
                Some(_) if bytes.len() >= MAGIC.len() => damaged("its format version is not supported"),
                _ => damaged("it is not a key store"),
            });
        };
        let (signed, tag) = bytes.split_last_chunk().ok_or_else(cut_off)?;
        let (length, rest) = rest.split_first_chunk().ok_or_else(cut_off)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut_off())?;
        let without_tag = rest.len().checked_sub(MAC_LENGTH).and_then(|end| rest.get(..end)).ok_or_else(cut_off)?;
        let (head, body) = without_tag.split_at_checked(length).ok_or_else(cut_off)?;
        let header = from_cbor(head).ok_or_else(|| damaged("its header is malformed"))?;
        Ok(Self { path, header, signed, body, tag })
    }

    /// Checks the root key, then the tag over all bytes, and only then parses the records.
    ///
    /// # Errors
    /// [`LocalKmsError::WrongRoot`], or [`LocalKmsError::Damaged`] with the invalid record.
    pub(super) fn open(self, root: &SecretBytes) -> Result<Contents, LocalKmsError> {
        let Self { path, header, signed, body, tag: found } = self;
        let check = root_check(root, &header.store_id, &header.root).map_err(LocalKmsError::Crypto)?;
        if !SecretBytes::from(check.0).ct_eq(&header.check.0) {
            return Err(LocalKmsError::WrongRoot { path: path.to_owned() });
        }
        let whole = tag(root, WHOLE, signed).map_err(LocalKmsError::Crypto)?;
        if !whole.ct_eq(found) {
            return Err(LocalKmsError::damaged(path, diagnose(root, &header, body)));
        }
        let malformed = || LocalKmsError::damaged(path, "its records are malformed");
        let Body { journal, audit_key, aliases, keys: records } = from_cbor(body).ok_or_else(malformed)?;
        let mut keys = BTreeMap::new();
        for TaggedRecord { record, .. } in records {
            let key: KeyRecord = from_cbor(&record.0).ok_or_else(malformed)?;
            // One of two records with the same id would disappear.
            if !is_key_id(&key.id) || keys.insert(key.id.clone(), key).is_some() {
                return Err(malformed());
            }
        }
        Ok(Contents { header, journal, audit_key, aliases, keys })
    }
}

/// Describes what is wrong with a file whose tag is invalid. Nothing in it can be trusted: this
/// only finds the first record whose own tag is invalid.
fn diagnose(root: &SecretBytes, header: &Header, body: &[u8]) -> String {
    let Some(Body { keys, .. }) = from_cbor::<Body>(body) else {
        return "its records are malformed".into();
    };
    for (position, TaggedRecord { record, tag: found }) in keys.iter().enumerate() {
        if record_tag(root, &header.store_id, &record.0).is_ok_and(|tag| tag.ct_eq(&found.0)) {
            continue;
        }
        let id = from_cbor::<KeyRecord>(&record.0).map(|key| key.id).filter(|id| is_key_id(id));
        let name = id.map_or_else(String::new, |id| format!(", which claims to be {id},"));
        return format!("the record of key {} of {}{name} was altered", position + 1, keys.len());
    }
    "every key record is authentic, but the file is not: the header, an alias or the tag was altered, or a record was \
     removed, added, or replaced by an older one"
        .into()
}

fn cbor(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).map_err(|_| Error::Provider("a record cannot be serialized"))?;
    Ok(out)
}

/// Parses a value that must take up all of the bytes.
fn from_cbor<T: DeserializeOwned>(mut bytes: &[u8]) -> Option<T> {
    let value = ciborium::from_reader(&mut bytes).ok()?;
    bytes.is_empty().then_some(value)
}
