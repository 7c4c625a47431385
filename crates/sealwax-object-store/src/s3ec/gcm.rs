//! AES-256-GCM over a single message of any length, in parts.

use aes::{
    Aes256,
    cipher::{Array, BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher, StreamCipherSeek},
};
use ctr::{Ctr32BE, CtrCore};
use ghash::{GHash, universal_hash::UniversalHash};
use sealwax::{
    SecretBytes,
    crypto::{Iv, TAG_LENGTH},
};

use super::S3EncryptionError;

/// The length of a block in bytes.
const BLOCK: usize = 16;
/// The maximum length of a plaintext in bytes: as many blocks as the counter has values, less the
/// one for the tag and the one before it.
const MAX_LENGTH: u64 = (1 << 36) - 32;

/// The key, IV and additional data of a message.
pub(crate) struct Gcm {
    aes: Aes256,
    /// The hash with its key and no input.
    ghash: GHash,
    /// The first counter block.
    first: [u8; BLOCK],
    aad: &'static [u8],
}

impl Gcm {
    /// Creates a cipher from a key of 32 bytes.
    pub(crate) fn new(key: &SecretBytes, iv: &Iv, aad: &'static [u8]) -> Result<Self, S3EncryptionError> {
        let aes = Aes256::new_from_slice(key.as_bytes()).map_err(|_| S3EncryptionError::NotAuthentic)?;
        let mut hash_key = Array::default();
        aes.encrypt_block(&mut hash_key);
        let ghash = GHash::new(&hash_key);
        let mut first = [0; BLOCK];
        first[..iv.len()].copy_from_slice(iv);
        first[BLOCK - 1] = 1;
        Ok(Self { aes, ghash, first, aad })
    }

    /// Returns the length of the plaintext of an object.
    pub(crate) fn plaintext_length(object: u64) -> Result<u64, S3EncryptionError> {
        let length = object.checked_sub(TAG_LENGTH as u64).filter(|length| *length <= MAX_LENGTH);
        length.ok_or(S3EncryptionError::NotAuthentic)
    }

    /// Applies the keystream from this counter block and byte on.
    fn apply(&self, at: u64, text: &mut [u8]) -> Result<(), S3EncryptionError> {
        let mut keystream = Ctr32BE::from_core(CtrCore::inner_iv_init(self.aes.clone(), &self.first.into()));
        let applied = keystream.try_seek(at).and_then(|()| keystream.try_apply_keystream(text));
        applied.map_err(|_| S3EncryptionError::NotAuthentic)
    }

    /// Decrypts the part of the ciphertext at an offset in place. It is not authenticated here.
    pub(crate) fn decrypt(&self, at: u64, text: &mut [u8]) -> Result<(), S3EncryptionError> {
        // The first block of the keystream is for the tag.
        self.apply(at.saturating_add(BLOCK as u64), text)
    }

    /// Starts to authenticate an object with a plaintext of this length.
    pub(crate) fn authenticator(&self, length: u64) -> Result<Authenticator, S3EncryptionError> {
        let mut ghash = self.ghash.clone();
        ghash.update_padded(self.aad);
        let mut mask = [0; TAG_LENGTH];
        self.apply(0, &mut mask)?;
        let lengths = [(self.aad.len() as u64 * 8).to_be_bytes(), (length * 8).to_be_bytes()];
        Ok(Authenticator {
            ghash,
            mask,
            lengths: lengths.concat(),
            left: length,
            partial: Vec::with_capacity(BLOCK),
            tag: Vec::with_capacity(TAG_LENGTH),
        })
    }
}

/// Computes the tag of an object as its bytes arrive, and compares it at the end.
pub(crate) struct Authenticator {
    ghash: GHash,
    mask: [u8; TAG_LENGTH],
    lengths: Vec<u8>,
    /// How much ciphertext must still come.
    left: u64,
    /// The beginning of a block.
    partial: Vec<u8>,
    /// What has come of the tag.
    tag: Vec<u8>,
}

impl Authenticator {
    /// Takes the next bytes of the object. Returns those that are ciphertext, which the tag may
    /// follow.
    pub(crate) fn update<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], S3EncryptionError> {
        let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let (ciphertext, tag) = bytes.split_at(count);
        self.left -= count as u64;
        if tag.len() > TAG_LENGTH - self.tag.len() {
            return Err(S3EncryptionError::NotAuthentic);
        }
        self.tag.extend_from_slice(tag);
        let mut rest = ciphertext;
        if !self.partial.is_empty() {
            let (more, after) = rest.split_at(rest.len().min(BLOCK - self.partial.len()));
            self.partial.extend_from_slice(more);
            rest = after;
            if self.partial.len() == BLOCK {
                self.ghash.update_padded(&self.partial);
                self.partial.clear();
            }
        }
        let (blocks, partial) = rest.split_at(rest.len() / BLOCK * BLOCK);
        self.ghash.update_padded(blocks);
        self.partial.extend_from_slice(partial);
        Ok(ciphertext)
    }

    /// Compares the tag, in constant time.
    pub(crate) fn verify(mut self) -> Result<(), S3EncryptionError> {
        self.ghash.update_padded(&self.partial);
        self.ghash.update_padded(&self.lengths);
        let mut tag: [u8; TAG_LENGTH] = self.ghash.finalize().into();
        for (byte, mask) in tag.iter_mut().zip(self.mask) {
            *byte ^= mask;
        }
        let same = self.left == 0 && SecretBytes::from(tag).ct_eq(&self.tag);
        if same { Ok(()) } else { Err(S3EncryptionError::NotAuthentic) }
    }
}

#[cfg(test)]
mod tests {
    use sealwax::crypto::{CryptoProvider, RustCrypto};

    use super::*;

    /// Compared with the one-shot interface, over every length around blocks, in pieces of any
    /// length, and from any offset.
    #[test]
    fn parts_are_as_the_whole() {
        let (key, iv) = (SecretBytes::from(vec![7; 32]), [9; 12]);
        let one_shot = RustCrypto.aes_gcm(key.as_bytes()).unwrap();
        for aad in [&b""[..], b"\x00\x73", &[5; 40]] {
            let gcm = Gcm::new(&key, &iv, aad).unwrap();
            for length in (0..70).chain([1000, 4096]) {
                let text: Vec<u8> = (0..length).map(|at| at as u8).collect();
                let mut object = text.clone();
                let tag = one_shot.seal_in_place(&iv, aad, &mut object).unwrap();
                object.extend(tag);
                for piece in [1, 3, 15, 16, 17, 31, 5000] {
                    let mut authenticator = gcm.authenticator(length).unwrap();
                    let mut ciphertext = Vec::new();
                    for bytes in object.chunks(piece) {
                        ciphertext.extend_from_slice(authenticator.update(bytes).unwrap());
                    }
                    authenticator.verify().unwrap();
                    for (at, bytes) in ciphertext.chunks_mut(piece).enumerate() {
                        gcm.decrypt((at * piece) as u64, bytes).unwrap();
                    }
                    assert!(ciphertext == text);
                }
                for at in 0..object.len() {
                    let mut altered = object.clone();
                    altered[at] ^= 1;
                    let mut authenticator = gcm.authenticator(length).unwrap();
                    authenticator.update(&altered).unwrap();
                    assert!(authenticator.verify().is_err(), "{at} of {length}");
                }
            }
        }
    }

    #[test]
    fn another_length_is_refused() {
        let gcm = Gcm::new(&SecretBytes::from(vec![7; 32]), &[9; 12], b"").unwrap();
        let one_shot = RustCrypto.aes_gcm(&[7; 32]).unwrap();
        let mut object = vec![1; 20];
        let tag = one_shot.seal_in_place(&[9; 12], b"", &mut object).unwrap();
        object.extend(tag);
        for (length, bytes) in [(20, &object[..35]), (19, &object[..]), (21, &object[..]), (20, &object[..20])] {
            let mut authenticator = gcm.authenticator(length).unwrap();
            assert!(authenticator.update(bytes).is_err() || authenticator.verify().is_err());
        }
        let mut longer = object.clone();
        longer.push(0);
        assert!(gcm.authenticator(20).unwrap().update(&longer).is_err());
        let mut authenticator = gcm.authenticator(20).unwrap();
        authenticator.update(&object).unwrap();
        assert!(authenticator.update(b"x").is_err());
        assert!(Gcm::plaintext_length(15).is_err());
        assert_eq!(Gcm::plaintext_length(MAX_LENGTH + 16).unwrap(), MAX_LENGTH);
        assert!(Gcm::plaintext_length(MAX_LENGTH + 17).is_err());
    }

    /// The keystream at the end of the longest message still has a counter.
    #[test]
    fn the_last_block_of_the_longest_message_is_decrypted() {
        let gcm = Gcm::new(&SecretBytes::from(vec![7; 32]), &[9; 12], b"").unwrap();
        let mut block = [0; BLOCK];
        gcm.decrypt(MAX_LENGTH - BLOCK as u64, &mut block).unwrap();
        assert_ne!(block, [0; BLOCK]);
    }
}
