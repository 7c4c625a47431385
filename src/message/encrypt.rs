//! The steps of encrypting a message.
//!
//! Specification: client-apis/encrypt.

use std::{io, sync::Arc};

use super::{
    key::MessageKey,
    parallel::{Plan, seal_regular_frames},
};
use crate::{
    context::{EncryptionContext, MAX_WRITTEN_LENGTH, PUBLIC_KEY_ENTRY, RESERVED_PREFIX},
    crypto::{CryptoProvider, Digest, IV_LENGTH, SigningKey},
    error::{ContextError, Direction, Error, Result},
    format::{
        ContentType, FINAL_FRAME_OVERHEAD, FRAME_OVERHEAD, FrameKind, Header, HeaderFields, MAX_FRAMES, MessageId,
    },
    keyring::KeyReport,
    limits::Limits,
    materials::EncryptionMaterials,
    suite::{AlgorithmSuite, COMMIT_KEY_LENGTH, CommitmentPolicy, MessageVersion},
};

/// The parameters for starting a message, besides its encryption materials.
pub(crate) struct StartParameters<'a> {
    pub(crate) provider: &'a dyn CryptoProvider,
    pub(crate) policy: CommitmentPolicy,
    pub(crate) limits: Limits,
    pub(crate) frame_length: u32,
}

/// A message whose header has been written.
pub(crate) struct Started {
    pub(crate) header: Header,
    /// The serialized header.
    pub(crate) bytes: Vec<u8>,
    pub(crate) sealer: FrameSealer,
    pub(crate) key_report: KeyReport,
    /// The pairs of the encryption context that are authenticated but not stored.
    pub(crate) hidden: EncryptionContext,
}

/// Writes the header of a message and returns the sealer for its body.
///
/// # Errors
/// [`Error::Materials`], [`Error::Commitment`], [`Error::Limit`] or [`Error::Context`] if the
/// materials cannot be used for a message.
pub(crate) fn start(parameters: &StartParameters<'_>, materials: EncryptionMaterials) -> Result<Started> {
    materials.check()?;
    let EncryptionMaterials {
        suite,
        context,
        required_context_keys,
        data_key,
        encrypted_data_keys,
        signing_key,
        key_report,
    } = materials;
    let StartParameters { provider, policy, limits, frame_length } = *parameters;
    if !policy.allows_encrypt(suite) {
        return Err(Error::Commitment { suite, policy, operation: Direction::Encrypt });
    }
    // This client must be able to read what it writes.
    limits.check_encrypted_data_keys(encrypted_data_keys.len())?;
    if !required_context_keys.iter().all(|key| context.contains_key(key) && !key.starts_with(RESERVED_PREFIX)) {
        return Err(Error::Materials("a required encryption context key is reserved or not in the context"));
    }
    check_signing_key(suite, &context, signing_key.as_ref())?;
    let found = context.serialize()?.len();
    if found > MAX_WRITTEN_LENGTH {
        return Err(ContextError::TooLong { limit: MAX_WRITTEN_LENGTH, found }.into());
    }

    let mut id = [0; 32];
    let id = &mut id[..suite.version().message_id_length()];
    provider.random(id)?;
    let message_id = MessageId::from_slice(id).ok_or(Error::Materials("the message id is too long"))?;
    let (key, commit_key) = MessageKey::derive(provider, suite, &data_key, message_id.clone())?;

    let mut stored_context = context;
    let mut hidden = EncryptionContext::new();
    for key in required_context_keys {
        if let Some(value) = stored_context.remove(&key) {
            hidden.insert(key, value);
        }
    }
    let required = hidden.serialize()?;
    let stored = stored_context.serialize()?;
    let fields = HeaderFields {
        suite,
        message_id,
        context: stored_context,
        encrypted_data_keys,
        content_type: ContentType::Framed { frame_length },
        commit_key: commit_key.unwrap_or([0; COMMIT_KEY_LENGTH]),
    };
    let mut bytes = fields.serialize_body(&stored).map_err(Error::Materials)?;
    let body_length = bytes.len();
    bytes.extend_from_slice(&required);
    let tag = key.seal_header(&bytes)?;
    bytes.truncate(body_length);
    if suite.version() == MessageVersion::V1 {
        bytes.extend_from_slice(&[0; IV_LENGTH]);
    }
    bytes.extend_from_slice(&tag);
    limits.check_header_length(bytes.len())?;

    let signer = signing_key.map(|key| Signer::new(provider, key, &bytes));
    let sealer = FrameSealer { key: Arc::new(key), frame_length: frame_length as usize, next: 1, signer };
    Ok(Started { header: fields.into_header(bytes.len()), bytes, sealer, key_report, hidden })
}

/// Checks that a signing suite has a matching signing key whose public key is in the context, and
/// that any other suite has neither.
fn check_signing_key(
    suite: AlgorithmSuite,
    context: &EncryptionContext,
    key: Option<&Arc<dyn SigningKey>>,
) -> Result<()> {
    let entry = context.get(PUBLIC_KEY_ENTRY);
    let fits = match (suite.signature(), key) {
        (None, None) => entry.is_none(),
        (Some(algorithm), Some(key)) => {
            key.algorithm() == algorithm && entry.is_some_and(|entry| *entry == key.public_key_entry())
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(Error::Materials("the signing key, suite and encryption context do not match")) }
}

/// The digest and key for the signature.
pub(super) struct Signer {
    /// The digest of everything before the next frame.
    pub(super) digest: Box<dyn Digest>,
    pub(super) key: Arc<dyn SigningKey>,
}

impl Signer {
    fn new(provider: &dyn CryptoProvider, key: Arc<dyn SigningKey>, header: &[u8]) -> Self {
        let mut digest = provider.digest(key.algorithm().hash());
        digest.update(header);
        Self { digest, key }
    }
}

/// A sealer for the frames of a body, which are sealed in order.
pub(crate) struct FrameSealer {
    pub(super) key: Arc<MessageKey>,
    pub(super) frame_length: usize,
    /// The sequence number of the next frame.
    pub(super) next: u32,
    pub(super) signer: Option<Signer>,
}

impl FrameSealer {
    /// Returns the number of plaintext bytes in a regular frame.
    pub(super) fn frame_length(&self) -> usize {
        self.frame_length
    }

    /// Returns the length of a sealed regular frame.
    pub(super) fn sealed_frame_length(&self) -> usize {
        self.frame_length + FRAME_OVERHEAD
    }

    /// Returns the maximum length of the footer and a final frame with `plaintext` bytes of
    /// content.
    pub(super) fn max_tail_length(&self, plaintext: usize) -> usize {
        FINAL_FRAME_OVERHEAD
            + plaintext
            + self.signer.as_ref().map_or(0, |signer| 2 + signer.key.algorithm().signature_length())
    }

    /// Seals the next regular frame into the front of `out`. The plaintext must be exactly one
    /// frame long.
    ///
    /// # Errors
    /// [`Error::PlaintextTooLong`] if only a final frame can follow.
    pub(super) fn seal_regular(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize> {
        debug_assert_eq!(plaintext.len(), self.frame_length);
        if self.next == MAX_FRAMES {
            return Err(Self::too_long(self.frame_length));
        }
        let length = self.key.seal_frame(FrameKind::Regular, self.next, plaintext, out)?;
        self.next += 1;
        if let Some(signer) = &mut self.signer {
            signer.digest.update(&out[..length]);
        }
        Ok(length)
    }

    /// Reserves sequence numbers for up to `frames` regular frames. Returns the first number and
    /// how many were reserved, which is fewer than requested if the numbers run out.
    pub(super) fn take_numbers(next: &mut u32, frames: usize) -> (u32, usize) {
        let first = *next;
        let taken = u32::try_from(frames).unwrap_or(u32::MAX).min(MAX_FRAMES - first);
        *next += taken;
        (first, taken as usize)
    }

    /// Returns the error for a plaintext that needs more frames of this length than there are
    /// sequence numbers.
    pub(super) fn too_long(frame_length: usize) -> Error {
        let limit = u64::from(MAX_FRAMES).saturating_mul(frame_length as u64);
        Error::PlaintextTooLong { limit, declared: false }
    }

    /// Seals the final frame and writes the footer, if the suite signs, into the front of `out`.
    /// Returns the length written.
    fn seal_final(self, plaintext: &[u8], out: &mut [u8]) -> Result<usize> {
        debug_assert!(plaintext.len() <= self.frame_length);
        let mut length = self.key.seal_frame(FrameKind::Final, self.next, plaintext, out)?;
        if let Some(Signer { mut digest, key }) = self.signer {
            digest.update(&out[..length]);
            let signature = key.sign_digest(&digest.finish())?;
            let footer_length = u16::try_from(signature.len()).map_err(|_| OVERLONG_SIGNATURE)?;
            let footer = out[length..].get_mut(..2 + signature.len()).ok_or(OVERLONG_SIGNATURE)?;
            footer[..2].copy_from_slice(&footer_length.to_be_bytes());
            footer[2..].copy_from_slice(&signature);
            length += footer.len();
        }
        Ok(length)
    }

    /// Appends the final frame and the footer, if the suite signs, to `out`.
    pub(super) fn seal_final_onto(self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.resize(start + self.max_tail_length(plaintext.len()), 0);
        let length = self.seal_final(plaintext, &mut out[start..])?;
        out.truncate(start + length);
        Ok(())
    }
}

const OVERLONG_SIGNATURE: Error = Error::Provider("the signature is longer than the algorithm suite allows");

/// Seals a plaintext that is entirely in memory. If the plaintext is a nonzero multiple of the
/// frame length, the final frame is full.
pub(crate) fn seal_all(started: Started, plaintext: &[u8], plan: Plan) -> Result<(Header, KeyReport, Vec<u8>)> {
    let Started { header, bytes, sealer, key_report, .. } = started;
    let frame_length = sealer.frame_length();
    let regular = plaintext.len().saturating_sub(1) / frame_length;
    if regular as u64 >= MAX_FRAMES.into() {
        return Err(FrameSealer::too_long(frame_length));
    }
    let (regular_frames, last) = plaintext.split_at(regular * frame_length);
    let length = message_length(bytes.len(), regular, sealer.sealed_frame_length(), sealer.max_tail_length(last.len()));
    let mut message = vec![0; length.ok_or(Error::Io(io::ErrorKind::OutOfMemory.into()))?];
    message[..bytes.len()].copy_from_slice(&bytes);
    let mut at = bytes.len();
    let (mut sealer, sealed) = seal_regular_frames(sealer, regular_frames, &mut message[at..], plan)?;
    at += sealed / frame_length * sealer.sealed_frame_length();
    for frame in regular_frames[sealed..].chunks_exact(frame_length) {
        at += sealer.seal_regular(frame, &mut message[at..])?;
    }
    at += sealer.seal_final(last, &mut message[at..])?;
    message.truncate(at);
    Ok((header, key_report, message))
}

/// Returns the length of a whole message in bytes, or `None` if it exceeds the maximum allocation
/// size. On a 32-bit platform, a plaintext that fits in memory can produce a message that does not:
/// with one-byte frames, the message is 33 times as long.
fn message_length(header: usize, regular_frames: usize, sealed_frame: usize, tail: usize) -> Option<usize> {
    let length = regular_frames.checked_mul(sealed_frame)?.checked_add(tail)?.checked_add(header)?;
    (length <= isize::MAX as usize).then_some(length)
}

#[cfg(all(test, feature = "rustcrypto"))]
pub(super) mod tests {
    use super::*;
    use crate::{crypto::RustCrypto, format::EncryptedDataKey, secret::SecretBytes};

    /// A message of an unsigned suite, whose header is written.
    pub(in crate::message) fn started(frame_length: u32) -> Started {
        let parameters = StartParameters {
            provider: &RustCrypto,
            policy: CommitmentPolicy::default(),
            limits: Limits::default(),
            frame_length,
        };
        let materials = EncryptionMaterials {
            suite: AlgorithmSuite::Aes256GcmHkdfSha512CommitKey,
            context: EncryptionContext::new(),
            required_context_keys: Default::default(),
            data_key: SecretBytes::zeroed(32),
            encrypted_data_keys: vec![EncryptedDataKey::new("test", "key", [])],
            signing_key: None,
            key_report: KeyReport::default(),
        };
        start(&parameters, materials).unwrap()
    }

    #[test]
    fn a_message_longer_than_any_allocation_is_an_error() {
        assert_eq!(message_length(10, 3, 33, 40), Some(149));
        let most = isize::MAX as usize;
        assert_eq!(message_length(1, 0, 33, most - 1), Some(most));
        assert_eq!(message_length(1, 0, 33, most), None);
        assert_eq!(message_length(1, usize::MAX / 33, 33, 40), None);
        assert_eq!(message_length(1, usize::MAX / 32, 33, 0), None);
        assert_eq!(message_length(usize::MAX, 0, 33, 1), None);
    }

    /// ATTACKS, Messages 16: the frame counter stops at 2^32 - 1.
    #[test]
    fn attack_16_the_frame_counter_does_not_wrap() {
        let mut sealer = started(2).sealer;
        sealer.next = MAX_FRAMES - 1;
        let mut out = [0; 64];
        sealer.seal_regular(b"ab", &mut out).unwrap();
        assert_eq!(out[..4], (MAX_FRAMES - 1).to_be_bytes());
        let refused = sealer.seal_regular(b"cd", &mut out);
        assert!(
            matches!(refused, Err(Error::PlaintextTooLong { limit, declared: false }) if limit == 2 * (u32::MAX as u64))
        );
        // The final frame can still have the last sequence number.
        let mut tail = Vec::new();
        sealer.seal_final_onto(b"ef", &mut tail).unwrap();
        assert_eq!(tail[..8], [0xff; 8]);
    }
}
