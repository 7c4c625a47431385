//! Content that is decrypted as it arrives.

use std::sync::Arc;

use super::{Content, S3EncryptionError, cbc, cbc::BLOCK, gcm::Authenticator};

/// Decrypts an object in order. **What it returns before the end is not authentic.**
pub(crate) struct Decoder {
    content: Arc<Content>,
    /// None for content that cannot be authenticated.
    authenticator: Option<Authenticator>,
    /// How much plaintext was decrypted.
    at: u64,
    /// Ciphertext that is not decrypted yet: less than a block, or the last one.
    held: Vec<u8>,
    /// The ciphertext block before it.
    previous: [u8; BLOCK],
    length: u64,
}

impl Decoder {
    /// Starts to decrypt an object with a plaintext of this length.
    pub(crate) fn new(content: Arc<Content>, length: u64) -> Result<Self, S3EncryptionError> {
        let (authenticator, previous) = match &*content {
            Content::Gcm(gcm) => (Some(gcm.authenticator(length)?), [0; BLOCK]),
            Content::Cbc(cbc) => (None, cbc.iv()),
        };
        Ok(Self { content, authenticator, at: 0, held: Vec::new(), previous, length })
    }

    /// Decrypts the next bytes of the object.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, S3EncryptionError> {
        let mut text = match &mut self.authenticator {
            Some(authenticator) => authenticator.update(bytes)?.to_vec(),
            None => {
                self.held.extend_from_slice(bytes);
                let blocks = self.held.len().saturating_sub(1) / BLOCK * BLOCK;
                let held = self.held.split_off(blocks);
                std::mem::replace(&mut self.held, held)
            }
        };
        self.decrypt(&mut text)?;
        Ok(text)
    }

    fn decrypt(&mut self, text: &mut [u8]) -> Result<(), S3EncryptionError> {
        match &*self.content {
            Content::Gcm(gcm) => gcm.decrypt(self.at, text)?,
            Content::Cbc(cbc) => {
                let last = text.last_chunk::<BLOCK>().copied();
                cbc.decrypt(self.previous, text);
                self.previous = last.unwrap_or(self.previous);
            }
        }
        self.at += text.len() as u64;
        Ok(())
    }

    /// Returns the last plaintext, and verifies what can be verified.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, S3EncryptionError> {
        if let Some(authenticator) = self.authenticator {
            return authenticator.verify().map(|()| Vec::new());
        }
        let mut last = std::mem::take(&mut self.held);
        if last.len() != BLOCK {
            return Err(S3EncryptionError::NotAuthentic);
        }
        let before = self.at;
        self.decrypt(&mut last)?;
        last.truncate(cbc::unpadded(&last)?);
        // The length was announced.
        if before + last.len() as u64 == self.length { Ok(last) } else { Err(S3EncryptionError::NotAuthentic) }
    }
}
