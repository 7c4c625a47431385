//! Objects that are read twice: the first pass authenticates, and digests bind the second to it.

use std::{ops::Range, sync::Arc};

use sealwax::crypto::{CryptoProvider, Digest, HashAlgorithm, RustCrypto};

use super::{
    Content, S3EncryptionError,
    gcm::{Authenticator, Gcm},
};

const DIGEST: HashAlgorithm = HashAlgorithm::Sha256;
/// The minimum length of a segment, which is the least that a range reads.
const MIN_SEGMENT: u64 = 64 << 10;

/// The digests of all segments of the ciphertext of an object that is authentic.
///
/// The length of a segment keeps the digests of the longest object, of 64 GiB, at 1.5 MiB.
pub(crate) struct Digests {
    segment: u64,
    length: u64,
    digests: Vec<Vec<u8>>,
}

impl Digests {
    /// Returns the whole segments that have a range of plaintext.
    pub(crate) fn segments(&self, range: &Range<u64>) -> Range<u64> {
        let start = range.start / self.segment * self.segment;
        start..range.end.next_multiple_of(self.segment).min(self.length)
    }

    /// Returns the length of whole segments, at least one and at most this many bytes.
    pub(crate) fn whole_segments(&self, bytes: u64) -> u64 {
        (bytes / self.segment).max(1) * self.segment
    }

    /// Returns whether this is what the first pass read at this offset, which starts a segment.
    pub(crate) fn are_of(&self, at: u64, bytes: &[u8]) -> bool {
        let expected = self.digests.iter().skip((at / self.segment) as usize);
        let segments = bytes.chunks(self.segment as usize);
        segments.len() <= expected.len() && segments.zip(expected).all(|(bytes, expected)| digest(bytes) == *expected)
    }
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    let mut digest = RustCrypto.digest(DIGEST);
    digest.update(bytes);
    digest.finish()
}

/// A first pass over an object.
pub(crate) struct FirstPass {
    authenticator: Authenticator,
    digest: Box<dyn Digest>,
    /// How much of the current segment must still come.
    left: u64,
    done: Digests,
}

impl FirstPass {
    /// Starts a pass over an object with a plaintext of this length. Returns `None` if its content
    /// cannot be authenticated.
    pub(crate) fn new(content: &Content, length: u64) -> Result<Option<Self>, S3EncryptionError> {
        let Content::Gcm(gcm) = content else { return Ok(None) };
        Self::of(gcm, length).map(Some)
    }

    fn of(gcm: &Gcm, length: u64) -> Result<Self, S3EncryptionError> {
        let segment = length.saturating_mul(32).isqrt().max(MIN_SEGMENT);
        let done = Digests { segment, length, digests: Vec::new() };
        let authenticator = gcm.authenticator(length)?;
        Ok(Self { authenticator, digest: RustCrypto.digest(DIGEST), left: segment, done })
    }

    /// Takes the next bytes of the object.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), S3EncryptionError> {
        let mut ciphertext = self.authenticator.update(bytes)?;
        while !ciphertext.is_empty() {
            let count = ciphertext.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (now, after) = ciphertext.split_at(count);
            self.digest.update(now);
            self.left -= count as u64;
            ciphertext = after;
            if self.left == 0 {
                self.end_segment();
            }
        }
        Ok(())
    }

    fn end_segment(&mut self) {
        let digest = std::mem::replace(&mut self.digest, RustCrypto.digest(DIGEST));
        self.done.digests.push(digest.finish());
        self.left = self.done.segment;
    }

    /// Verifies the tag of the object.
    pub(crate) fn finish(mut self) -> Result<Arc<Digests>, S3EncryptionError> {
        if self.left < self.done.segment {
            self.end_segment();
        }
        self.authenticator.verify()?;
        Ok(Arc::new(self.done))
    }
}
