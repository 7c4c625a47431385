//! Key files that name their key: one line, `sealwax-key-1 NAMESPACE NAME KEY`, where the names are
//! percent-encoded and the key is in base64.

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use sealwax::SecretBytes;
use zeroize::Zeroizing;

/// The longest key file that is read, in bytes.
pub(crate) const MAX_KEY_FILE: usize = 4096;

const MAGIC: &[u8] = b"sealwax-key-1";

/// The characters of a name that are encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/');

/// The content of a key file.
pub(crate) struct KeyFile {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) material: SecretBytes,
}

impl KeyFile {
    /// Parses a key file; returns `None` if it is something else.
    pub(crate) fn parse(content: &SecretBytes) -> Option<Self> {
        let line = content.as_bytes().strip_suffix(b"\n").unwrap_or(content.as_bytes());
        let mut parts = line.split(|byte| *byte == b' ');
        let (magic, namespace, name, key) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if magic != MAGIC || parts.next().is_some() {
            return None;
        }
        let text = |part| percent_decode(part).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        let mut material = Zeroizing::new(vec![0; base64::decoded_len_estimate(key.len())]);
        let length = BASE64_STANDARD.decode_slice(key, &mut material).ok()?;
        let material = SecretBytes::from(&material[..length]);
        Some(Self { namespace: text(namespace)?, name: text(name)?, material })
    }

    /// Returns the content of the file.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let names = [&self.namespace, &self.name].map(|name| utf8_percent_encode(name, ENCODED).to_string());
        let key = Zeroizing::new(BASE64_STANDARD.encode(self.material.as_bytes()));
        let mut out = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE));
        for part in [MAGIC, b" ", names[0].as_bytes(), b" ", names[1].as_bytes(), b" ", key.as_bytes(), b"\n"] {
            out.extend_from_slice(part);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_has_its_names_and_nothing_else_passes_for_one() {
        for (namespace, name) in [("sealwax", "my"), ("a b/c", "n%é\n"), ("-", "x.y_z")] {
            let material = SecretBytes::from([7; 32]);
            let file = KeyFile { namespace: namespace.into(), name: name.into(), material };
            let bytes = file.encode();
            assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
            let parsed = KeyFile::parse(&SecretBytes::from(&**bytes)).unwrap();
            assert_eq!((&*parsed.namespace, &*parsed.name), (namespace, name));
            assert!(parsed.material.ct_eq(&[7; 32]));
        }
        for other in [&[7; 32][..], b"", b"sealwax-key-1 a b", b"sealwax-key-2 a b AAAA", b"sealwax-key-1 a b AAAA c"] {
            assert!(KeyFile::parse(&SecretBytes::from(other)).is_none());
        }
    }
}
