//! AES-256-CBC with PKCS#7 padding, for legacy objects.

use aes::{
    Aes256,
    cipher::{Array, BlockModeDecrypt, InnerIvInit, KeyInit},
};
use sealwax::SecretBytes;

use super::S3EncryptionError;

/// The length of a block in bytes.
pub(super) const BLOCK: usize = 16;

/// The key and IV of a message.
pub(crate) struct Cbc {
    aes: Aes256,
    iv: [u8; BLOCK],
}

impl Cbc {
    /// Creates a cipher from a key of 32 bytes.
    pub(super) fn new(key: &SecretBytes, iv: [u8; BLOCK]) -> Result<Self, S3EncryptionError> {
        let aes = Aes256::new_from_slice(key.as_bytes()).map_err(|_| S3EncryptionError::NotAuthentic)?;
        Ok(Self { aes, iv })
    }

    pub(super) fn iv(&self) -> [u8; BLOCK] {
        self.iv
    }

    /// Decrypts whole blocks in place. `previous` is the ciphertext block before them, or the IV.
    pub(super) fn decrypt(&self, previous: [u8; BLOCK], text: &mut [u8]) {
        let (blocks, _) = Array::slice_as_chunks_mut(text);
        ::cbc::Decryptor::inner_iv_init(self.aes.clone(), &previous.into()).decrypt_blocks(blocks);
    }
}

/// Returns the length of a decrypted last block without its padding.
pub(super) fn unpadded(block: &[u8]) -> Result<usize, S3EncryptionError> {
    let count = block.last().copied().map_or(0, usize::from);
    let rest = block.len().checked_sub(count).filter(|_| (1..=BLOCK).contains(&count));
    let padding = rest
        .and_then(|rest| block.get(rest..))
        .filter(|padding| padding.iter().all(|&byte| usize::from(byte) == count));
    rest.filter(|_| padding.is_some()).ok_or(S3EncryptionError::NotAuthentic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_padding_is_removed() {
        for count in 1..=16_u8 {
            let mut block = [0xaa; 16];
            block[16 - usize::from(count)..].fill(count);
            assert_eq!(unpadded(&block).unwrap(), 16 - usize::from(count));
            if count > 1 {
                block[16 - usize::from(count)] = 0;
                assert!(unpadded(&block).is_err());
            }
        }
        assert!(unpadded(&[0; 16]).is_err() && unpadded(&[17; 16]).is_err() && unpadded(&[]).is_err());
    }
}
