//! The cipher of an object's content.

use std::ops::Range;

use sealwax::{
    SecretBytes,
    crypto::{CryptoProvider, Expand, HashAlgorithm, RustCrypto},
};

use super::{
    S3EncryptionError,
    cbc::{self, BLOCK, Cbc},
    gcm::Gcm,
    metadata::Suite,
};

/// The maximum length of an object that is kept in memory until it is authenticated. A longer one
/// is read twice.
pub(crate) const READ_AT_ONCE: u64 = 8 << 20;

/// The id of the committing suite, which is the beginning of the labels of its key derivation, and
/// the additional data of its content.
const SUITE_ID: &[u8] = &[0x00, 0x73];
/// The IV of the committing suite, whose keys are used once.
const COMMITTING_IV: [u8; 12] = [1; 12];

/// The cipher of an object's content, with its key.
pub(crate) enum Content {
    Gcm(Gcm),
    Cbc(Cbc),
}

impl Content {
    /// Creates a cipher from a data key. A commitment is compared before the key is used.
    pub(super) fn new(suite: Suite, data_key: &SecretBytes) -> Result<Self, S3EncryptionError> {
        match suite {
            Suite::Cbc { iv } => Ok(Self::Cbc(Cbc::new(data_key, iv)?)),
            Suite::Gcm { iv } => Ok(Self::Gcm(Gcm::new(data_key, &iv, b"")?)),
            Suite::Committing { message_id, commitment } => {
                let (key, found) = derive(data_key, &message_id)?;
                if !found.ct_eq(&commitment) {
                    return Err(S3EncryptionError::NotAuthentic);
                }
                Ok(Self::Gcm(Gcm::new(&key, &COMMITTING_IV, SUITE_ID)?))
            }
        }
    }

    /// Decrypts a part of an object: what [`sealed`](Self::sealed) returned for a range of
    /// plaintext. The last block of CBC still has its padding. Returns the range.
    pub(crate) fn decrypt(&self, range: &Range<u64>, mut bytes: Vec<u8>) -> Result<Vec<u8>, S3EncryptionError> {
        match self {
            Self::Gcm(gcm) => gcm.decrypt(range.start, &mut bytes)?,
            Self::Cbc(cbc) => {
                let skipped = range.start as usize % BLOCK;
                let (previous, text) = if range.start < BLOCK as u64 {
                    (cbc.iv(), &mut bytes[..])
                } else {
                    let (previous, text) =
                        bytes.split_first_chunk_mut::<BLOCK>().ok_or(S3EncryptionError::NotAuthentic)?;
                    (*previous, text)
                };
                cbc.decrypt(previous, text);
                let start = skipped + if range.start < BLOCK as u64 { 0 } else { BLOCK };
                bytes.drain(..start);
                bytes.truncate((range.end - range.start) as usize);
            }
        }
        Ok(bytes)
    }

    /// Returns the part of an object that is needed for a range of its plaintext.
    pub(crate) fn sealed(&self, range: &Range<u64>) -> Range<u64> {
        const BLOCKS: u64 = BLOCK as u64;
        match self {
            Self::Gcm(_) => range.clone(),
            Self::Cbc(_) => {
                let start = range.start / BLOCKS * BLOCKS;
                start.saturating_sub(BLOCKS)..range.end.next_multiple_of(BLOCKS)
            }
        }
    }

    /// Returns the part of an object that has the length of its plaintext, if its own length does
    /// not.
    pub(crate) fn end(&self, object: u64) -> Result<Option<Range<u64>>, S3EncryptionError> {
        const BLOCKS: u64 = BLOCK as u64;
        match self {
            Self::Gcm(_) => Ok(None),
            Self::Cbc(_) if object == 0 || !object.is_multiple_of(BLOCKS) => Err(S3EncryptionError::NotAuthentic),
            Self::Cbc(_) => Ok(Some(object.saturating_sub(2 * BLOCKS)..object)),
        }
    }

    /// Returns the length of the plaintext of an object. `end` is what [`end`](Self::end) asks for.
    pub(crate) fn length(&self, object: u64, end: Vec<u8>) -> Result<u64, S3EncryptionError> {
        const BLOCKS: u64 = BLOCK as u64;
        match self {
            Self::Gcm(_) => Gcm::plaintext_length(object),
            Self::Cbc(_) => {
                let last = object - BLOCKS;
                let block = self.decrypt(&(last..object), end)?;
                Ok(last + cbc::unpadded(&block)? as u64)
            }
        }
    }
}

/// Derives the key of the content and its commitment.
fn derive(data_key: &SecretBytes, message_id: &[u8; 28]) -> Result<(SecretBytes, SecretBytes), S3EncryptionError> {
    let (mut key, mut commitment) = (SecretBytes::zeroed(32), SecretBytes::zeroed(28));
    let mut outputs = [
        Expand { info: [SUITE_ID, b"DERIVEKEY"], out: key.as_mut() },
        Expand { info: [SUITE_ID, b"COMMITKEY"], out: commitment.as_mut() },
    ];
    let derived = RustCrypto.hkdf(HashAlgorithm::Sha512, message_id, data_key.as_bytes(), &mut outputs);
    derived.map_err(|_| S3EncryptionError::NotAuthentic)?;
    Ok((key, commitment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// The known answers that the official clients share: data key, message id, key, commitment.
    #[test]
    fn keys_are_derived_as_the_official_clients_do() {
        for [data_key, message_id, key, commitment] in [
            [
                "80d90dc4cc7e77d8a6332efa44eba56230a7fe7b89af37d1e501ab2e07c0a163",
                "b8ea76bed24c7b85382a148cb9dcd1cfdfb765f55ded4dfa6e0c4c79",
                "6dd14f546cc006e639126e83f5d4d1b118576bb5df97f38c6fb3a1db87bbc338",
                "f89818bc0a346d3a3426b68e9509b6b2ae5fe1f904aa329fb73625db",
            ],
            [
                "501afb8227d22e75e68010414b8abdaf3064c081e8e922dafef4992036394d60",
                "61a00b4981a5aacfd136c55cb726e32d2a547dc7600a7d4675c69127",
                "e14786a714748d1d2c3a4a6816dec56ddf1881bbeabb4f39420ffb9f63700b2f",
                "5c1e73e47f6fe3a70d6d094283aceaa76d2975feb829212d88f0afc1",
            ],
        ] {
            let message_id = bytes(message_id).try_into().unwrap();
            let (found, committed) = derive(&SecretBytes::from(bytes(data_key)), &message_id).unwrap();
            assert!(found.ct_eq(&bytes(key)) && committed.ct_eq(&bytes(commitment)));
        }
    }
}
