//! The encryption context: key-value pairs that are authenticated with a message.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
};

use crate::error::{ContextError, FormatError, Result};

/// The prefix of the keys that are reserved for the library.
pub(crate) const RESERVED_PREFIX: &str = "aws-crypto-";

/// The key under which a signed message stores the signer's public key.
pub const PUBLIC_KEY_ENTRY: &str = "aws-crypto-public-key";

/// The maximum length in bytes of a serialized context that every SDK can read.
pub(crate) const MAX_WRITTEN_LENGTH: usize = 32_767;

/// Key-value pairs that are authenticated with a message and stored in its header **in plaintext**.
///
/// Keys are unique, and iterate in the order of their UTF-8 bytes, which is also the order in which
/// they are serialized. An encryption context must not contain secrets. Even so, its `Debug` output
/// shows only the number of pairs, so that values do not end up in logs by accident.
///
/// Specification: framework/structures, "Encryption Context".
///
/// ```
/// use sealwax::EncryptionContext;
///
/// let context = EncryptionContext::from([("tenant", "blue"), ("purpose", "backup")]);
/// assert_eq!(context.get("tenant"), Some("blue"));
/// assert_eq!(context.iter().next(), Some(("purpose", "backup")));
/// assert_eq!(format!("{context:?}"), "EncryptionContext(2 pairs)");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// Creates an empty context.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Inserts a pair and returns the previous value of the key, if any.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.0.insert(key.into(), value.into())
    }

    /// Removes a key and returns its value, if any.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Returns `true` if the context contains the key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if the context has no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns an iterator over the pairs, in the order of the UTF-8 bytes of their keys.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.0.iter())
    }

    /// Serializes the context into the form that keyrings authenticate: the number of pairs, then
    /// the pairs. An empty context serializes to no bytes at all.
    ///
    /// # Errors
    /// [`ContextError::TooLong`] if the serialization is longer than 65,535 bytes.
    ///
    /// Specification: framework/structures, "Encryption Context", "Serialization".
    ///
    /// ```
    /// let context = sealwax::EncryptionContext::from([("a", "xyz")]);
    /// assert_eq!(context.serialize()?, b"\x00\x01\x00\x01a\x00\x03xyz");
    /// assert!(sealwax::EncryptionContext::new().serialize()?.is_empty());
    /// # Ok::<(), sealwax::ContextError>(())
    /// ```
    pub fn serialize(&self) -> Result<Vec<u8>, ContextError> {
        serialize(self.0.iter())
    }

    /// Parses the output of [`serialize`](Self::serialize). The pairs may be in any order.
    ///
    /// # Errors
    /// [`FormatError::Context`] if the count is zero, a key is duplicated, a text is not UTF-8, or
    /// bytes are missing or left over.
    pub(crate) fn deserialize(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.is_empty() {
            return Ok(Self::new());
        }
        let mut rest = bytes;
        let count = take_u16(&mut rest)?;
        if count == 0 {
            return Err(FormatError::Context("the number of pairs is zero"));
        }
        let mut pairs = BTreeMap::new();
        for _ in 0..count {
            let key = take_text(&mut rest)?;
            let value = take_text(&mut rest)?;
            if pairs.insert(key, value).is_some() {
                return Err(FormatError::Context("a key is duplicated"));
            }
        }
        if !rest.is_empty() {
            return Err(FormatError::Context("unexpected bytes after the last pair"));
        }
        Ok(Self(pairs))
    }

    /// Checks that a caller's context can be written: no key is reserved, and no key or value is
    /// empty, because not every SDK can read empty ones.
    pub(crate) fn check_writable(&self) -> Result<(), ContextError> {
        for (key, value) in self.iter() {
            if key.starts_with(RESERVED_PREFIX) {
                return Err(ContextError::ReservedPrefix);
            }
            if key.is_empty() || value.is_empty() {
                return Err(ContextError::Empty);
            }
        }
        Ok(())
    }
}

fn serialize<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)> + Clone) -> Result<Vec<u8>, ContextError> {
    let count = pairs.clone().count();
    if count == 0 {
        return Ok(Vec::new());
    }
    let length = 2 + pairs.clone().map(|(key, value)| 4 + key.len() + value.len()).sum::<usize>();
    let too_long = ContextError::TooLong { limit: MAX_WRITTEN_LENGTH, found: length };
    // If the total length fits into 16 bits, then so do the count and the individual lengths.
    if length > usize::from(u16::MAX) {
        return Err(too_long);
    }
    let mut out = Vec::with_capacity(length);
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    let size = |length: usize| u16::try_from(length).map(u16::to_be_bytes).map_err(|_| too_long.clone());
    put(&size(count)?);
    for (key, value) in pairs {
        for text in [key, value] {
            put(&size(text.len())?);
            put(text.as_bytes());
        }
    }
    Ok(out)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], FormatError> {
    let (taken, after) = rest.split_at_checked(length).ok_or(FormatError::Context("it is truncated"))?;
    *rest = after;
    Ok(taken)
}

fn take_u16(rest: &mut &[u8]) -> Result<u16, FormatError> {
    let bytes = take(rest, 2)?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn take_text(rest: &mut &[u8]) -> Result<String, FormatError> {
    let length = take_u16(rest)?;
    let bytes = take(rest, length.into())?;
    let text = std::str::from_utf8(bytes).map_err(|_| FormatError::Context("a key or value is not UTF-8"))?;
    Ok(text.to_owned())
}

impl fmt::Debug for EncryptionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionContext({} pairs)", self.len())
    }
}

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for EncryptionContext {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for EncryptionContext {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl<K: Into<String>, V: Into<String>> Extend<(K, V)> for EncryptionContext {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        self.0.extend(pairs.into_iter().map(|(key, value)| (key.into(), value.into())));
    }
}

impl<'a> IntoIterator for &'a EncryptionContext {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// An iterator over the pairs of an encryption context, in the order of the UTF-8 bytes of their
/// keys.
///
/// Created by [`EncryptionContext::iter`].
#[derive(Clone)]
pub struct Iter<'a>(btree_map::Iter<'a, String, String>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_their_utf8_bytes() {
        // In UTF-16, the surrogate pair of U+10002 sorts before U+FF61. In UTF-8, it sorts after
        // it.
        let context = EncryptionContext::from([("\u{10002}", "astral"), ("\u{ff61}", "bmp"), ("a", "ascii")]);
        let keys: Vec<_> = context.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "\u{ff61}", "\u{10002}"]);
    }

    #[test]
    fn serialization_reads_back_in_any_order() {
        let context = EncryptionContext::from([("b", "2"), ("a", "1")]);
        assert_eq!(EncryptionContext::deserialize(&context.serialize().unwrap()), Ok(context.clone()));
        let unsorted = b"\x00\x02\x00\x01b\x00\x012\x00\x01a\x00\x011";
        assert_eq!(EncryptionContext::deserialize(unsorted), Ok(context));
    }

    #[test]
    fn malformed_serializations_are_refused() {
        for (bytes, why) in [
            (&b"\x00"[..], "it is truncated"),
            (b"\x00\x00", "the number of pairs is zero"),
            (b"\x00\x01\x00\x01a", "it is truncated"),
            (b"\x00\x01\x00\x01a\x00\x02b", "it is truncated"),
            (b"\x00\x01\x00\x01a\x00\x01bX", "unexpected bytes after the last pair"),
            (b"\x00\x01\x00\x01\xff\x00\x01b", "a key or value is not UTF-8"),
            (b"\x00\x02\x00\x01a\x00\x01b\x00\x01a\x00\x01c", "a key is duplicated"),
        ] {
            assert_eq!(EncryptionContext::deserialize(bytes), Err(FormatError::Context(why)), "{bytes:?}");
        }
    }

    #[test]
    fn a_context_over_64_kib_does_not_serialize() {
        let fits = EncryptionContext::from([("k", "v".repeat(65_535 - 7))]);
        assert_eq!(fits.serialize().unwrap().len(), 65_535);
        let context = EncryptionContext::from([("k", "v".repeat(65_535 - 6))]);
        assert!(matches!(context.serialize(), Err(ContextError::TooLong { .. })));
    }
}
