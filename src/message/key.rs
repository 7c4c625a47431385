//! The key that a message is sealed with.

use crate::{
    crypto::{AeadKey, CryptoProvider, Expand, IV_LENGTH, Iv, TAG_LENGTH, Tag},
    error::{Error, Result},
    format::{
        BodyAad, BodyPart, FRAME_OVERHEAD, Frame, FrameKind, MessageId, Parsed, parse_frame_prefix, parse_piece,
        write_frame_prefix,
    },
    secret::SecretBytes,
    suite::{AlgorithmSuite, COMMIT_KEY_LENGTH, KeyDerivation},
};

/// What the commit key of a message is.
pub(super) type CommitKey = [u8; COMMIT_KEY_LENGTH];

/// The derived data key, expanded once, with the message id that goes into everything it seals.
///
/// It keeps no count: the caller says which sequence number, and may seal and open frames in any order.
pub(super) struct MessageKey {
    aead: Box<dyn AeadKey>,
    message_id: MessageId,
}

impl MessageKey {
    /// Derives the key of a message from its data key, and the commit key if the suite commits.
    ///
    /// Specification: framework/transitive-requirements, "HKDF Encryption Key" and "HKDF Commit Key".
    pub(super) fn derive(
        provider: &dyn CryptoProvider,
        suite: AlgorithmSuite,
        data_key: &SecretBytes,
        message_id: MessageId,
    ) -> Result<(Self, Option<CommitKey>)> {
        let (suite_id, id) = (suite.id().to_be_bytes(), message_id.as_bytes());
        let mut derived = SecretBytes::zeroed(suite.data_key_length());
        let mut commit_key = None;
        let key = match suite.derivation() {
            KeyDerivation::Identity => data_key,
            KeyDerivation::Hkdf(hash) => {
                let mut outputs = [Expand { info: [&suite_id, id], out: derived.as_mut() }];
                provider.hkdf(hash, &[], data_key.as_bytes(), &mut outputs)?;
                &derived
            }
            KeyDerivation::HkdfCommitting(hash) => {
                let commit_key = commit_key.insert([0; COMMIT_KEY_LENGTH]);
                let mut outputs = [
                    Expand { info: [&suite_id, b"DERIVEKEY"], out: derived.as_mut() },
                    Expand { info: [b"COMMITKEY", b""], out: commit_key },
                ];
                provider.hkdf(hash, id, data_key.as_bytes(), &mut outputs)?;
                &derived
            }
        };
        let aead = provider.aes_gcm(key.as_bytes())?;
        Ok((Self { aead, message_id }, commit_key))
    }

    /// The tag of a header, whose IV is zero.
    pub(super) fn seal_header(&self, aad: &[u8]) -> Result<Tag> {
        self.aead.seal_in_place(&[0; IV_LENGTH], aad, &mut [])
    }

    /// Checks the tag of a header.
    pub(super) fn open_header(&self, iv: &Iv, aad: &[u8], tag: &Tag) -> Result<()> {
        self.aead.open_in_place(iv, aad, &mut [], tag)
    }

    /// Seals one frame, all its fields, into the front of `out`; says how long it is.
    pub(super) fn seal_frame(
        &self,
        kind: FrameKind,
        sequence_number: u32,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        let part = match kind {
            FrameKind::Regular => BodyPart::RegularFrame,
            FrameKind::Final => BodyPart::FinalFrame,
        };
        let mut iv = Iv::default();
        iv[IV_LENGTH - 4..].copy_from_slice(&sequence_number.to_be_bytes());
        let aad = BodyAad::new(&self.message_id, part, sequence_number, plaintext.len() as u64);
        let prefix = write_frame_prefix(out, kind, sequence_number, &iv, plaintext.len() as u32);
        let (content, rest) = out[prefix..].split_at_mut(plaintext.len());
        let tag = self.aead.seal(&iv, aad.as_bytes(), plaintext, content)?;
        rest[..TAG_LENGTH].copy_from_slice(&tag);
        Ok(prefix + plaintext.len() + TAG_LENGTH)
    }

    /// Seals regular frames that follow each other, whose plaintext is so long each, into `out`, which is as long as they are.
    /// The numbers from the first on must exist.
    pub(super) fn seal_regular_frames(
        &self,
        first: u32,
        frame_length: usize,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        let sealed = out.chunks_exact_mut(frame_length + FRAME_OVERHEAD);
        // The numbers come last: none is asked for after the last frame.
        for ((frame, out), number) in plaintext.chunks_exact(frame_length).zip(sealed).zip(first..) {
            self.seal_frame(FrameKind::Regular, number, frame, out)?;
        }
        Ok(())
    }

    /// Opens regular frames that follow each other, whose content is so long each, into `out`, which is as long as their content.
    /// Their numbers must have been checked. If one fails, its part of `out` is cleared.
    pub(super) fn open_regular_frames(
        &self,
        first: u32,
        frame_length: usize,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        let sealed = sealed.chunks_exact(frame_length + FRAME_OVERHEAD);
        for ((frame, out), number) in sealed.zip(out.chunks_exact_mut(frame_length)).zip(first..) {
            let length = u32::try_from(frame_length).map_err(|_| Error::Integrity)?;
            let Parsed::Whole(prefix) = parse_frame_prefix(frame, length)? else { return Err(Error::Integrity) };
            let Parsed::Whole(frame) = parse_piece(frame, &prefix) else { return Err(Error::Integrity) };
            if frame.kind != FrameKind::Regular || frame.sequence_number != number {
                return Err(Error::Integrity);
            }
            self.open(BodyPart::RegularFrame, &frame, out)?;
        }
        Ok(())
    }

    /// Opens one piece of a body into `out`, which is as long as its content. If it fails, `out` is cleared.
    pub(super) fn open(&self, part: BodyPart, frame: &Frame<'_>, out: &mut [u8]) -> Result<()> {
        let aad = BodyAad::new(&self.message_id, part, frame.sequence_number, frame.content.len() as u64);
        self.aead
            .open(frame.iv, aad.as_bytes(), frame.content, frame.tag, out)
            .inspect_err(|_| zeroize::Zeroize::zeroize(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A provider that decrypts before it verifies, and then fails: it may leave the plaintext behind.
    struct Hasty;

    impl AeadKey for Hasty {
        fn seal_in_place(&self, _: &Iv, _: &[u8], _: &mut [u8]) -> Result<Tag> {
            Ok(Tag::default())
        }

        fn open_in_place(&self, _: &Iv, _: &[u8], text: &mut [u8], _: &Tag) -> Result<()> {
            text.fill(b'p');
            Err(Error::Integrity)
        }
    }

    #[test]
    fn attack_16_what_a_provider_leaves_of_a_frame_that_fails_is_cleared() {
        let message_id = MessageId::from_slice(&[7; 32]).unwrap();
        let key = MessageKey { aead: Box::new(Hasty), message_id };
        let mut sealed = [0; 2 * (10 + FRAME_OVERHEAD)];
        key.seal_regular_frames(1, 10, b"0123456789abcdefghij", &mut sealed).unwrap();

        let Ok(Parsed::Whole(prefix)) = parse_frame_prefix(&sealed, 10) else { panic!("no prefix") };
        let Parsed::Whole(frame) = parse_piece(&sealed, &prefix) else { panic!("no frame") };
        for part in [BodyPart::RegularFrame, BodyPart::FinalFrame, BodyPart::Unframed] {
            let mut out = [0xee; 10];
            assert!(matches!(key.open(part, &frame, &mut out), Err(Error::Integrity)));
            assert_eq!(out, [0; 10]);
        }
        // Several frames at once, of which the first fails.
        let mut out = [0xee; 20];
        assert!(matches!(key.open_regular_frames(1, 10, &sealed, &mut out), Err(Error::Integrity)));
        assert_eq!(out[..10], [0; 10]);
        assert_eq!(out[10..], [0xee; 10], "the next is not opened");
    }
}
