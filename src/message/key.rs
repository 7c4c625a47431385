//! The message encryption key.

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

/// The commit key of a message.
pub(super) type CommitKey = [u8; COMMIT_KEY_LENGTH];

/// The derived data key, expanded for AES-GCM, and the message ID, which is part of every body AAD.
///
/// The key keeps no frame counter. The caller supplies the sequence numbers, and may seal and open
/// frames in any order.
pub(super) struct MessageKey {
    aead: Box<dyn AeadKey>,
    message_id: MessageId,
}

impl MessageKey {
    /// Derives the message key from the data key, and also the commit key if the suite is
    /// committing.
    ///
    /// Specification: framework/transitive-requirements, "HKDF Encryption Key" and "HKDF Commit
    /// Key".
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

    /// Computes the tag of a header. The IV is zero.
    pub(super) fn seal_header(&self, aad: &[u8]) -> Result<Tag> {
        self.aead.seal_in_place(&[0; IV_LENGTH], aad, &mut [])
    }

    /// Verifies the tag of a header.
    pub(super) fn open_header(&self, iv: &Iv, aad: &[u8], tag: &Tag) -> Result<()> {
        self.aead.open_in_place(iv, aad, &mut [], tag)
    }

    /// Seals a frame with all its fields into the front of `out` and returns its length.
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

    /// Seals consecutive regular frames, each with `frame_length` bytes of plaintext, into `out`,
    /// which must be as long as the sealed frames. The sequence numbers, starting with `first`,
    /// must be in range.
    pub(super) fn seal_regular_frames(
        &self,
        first: u32,
        frame_length: usize,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        let sealed = out.chunks_exact_mut(frame_length + FRAME_OVERHEAD);
        // The sequence numbers come last in the zip, so that none is requested after the last
        // frame. That request could overflow.
        for ((frame, out), number) in plaintext.chunks_exact(frame_length).zip(sealed).zip(first..) {
            self.seal_frame(FrameKind::Regular, number, frame, out)?;
        }
        Ok(())
    }

    /// Opens consecutive regular frames, each with `frame_length` bytes of content, into `out`,
    /// which must be as long as their content. Fails unless their sequence numbers are consecutive,
    /// starting with `first`. If a frame fails, its part of `out` is overwritten.
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

    /// Opens a frame or an unframed body into `out`, which must be as long as its content. If this
    /// fails, `out` is overwritten.
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

    /// A provider that decrypts before it verifies, and then fails: it may leave the plaintext
    /// behind.
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
