//! Wrapping of a data key under a shared secret. The raw ECDH keyring and the AWS KMS ECDH keyring
//! share it, so each opens what the other wrapped.
//!
//! Specification: framework/raw-ecdh-keyring and framework/key-agreement-schemas, "Key Derivation".

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha384;
use zeroize::Zeroize;

use super::EcdhCurve;
use crate::{
    crypto::{CryptoProvider, IV_LENGTH, Iv, TAG_LENGTH, Tag},
    error::{Error, Result},
    format::EncryptedDataKey,
    secret::SecretBytes,
};

/// The key provider id that the raw keyring writes.
pub(in crate::keyring) const RAW_ECDH: &str = "raw-ecdh";
/// The key provider id that the AWS KMS keyring writes.
pub(in crate::keyring) const AWS_KMS_ECDH: &str = "aws-kms-ecdh";
/// The first byte of the provider information, also an input of the key derivation.
const VERSION: u8 = 1;

/// The length of the random nonce that makes every derivation different.
const NONCE_LENGTH: usize = 32;
const COMMITMENT_LENGTH: usize = 32;
const WRAPPING_KEY_LENGTH: usize = 32;
/// Fixed, because every wrapping key is derived for one data key only.
const IV: Iv = [0; IV_LENGTH];

/// The two compressed public keys of an encrypted data key.
#[derive(Clone, Copy)]
pub(in crate::keyring) struct Parties<'a> {
    pub(in crate::keyring) sender: &'a [u8],
    pub(in crate::keyring) recipient: &'a [u8],
}

impl<'a> Parties<'a> {
    /// Returns the parties of an encrypted data key that either keyring wrote for this curve.
    pub(in crate::keyring) fn of(curve: EcdhCurve, key: &'a EncryptedDataKey) -> Option<Self> {
        let is_ours = [RAW_ECDH, AWS_KMS_ECDH].contains(&key.provider_id());
        is_ours.then(|| Self::from_provider_info(curve, key.provider_info())).flatten()
    }

    /// Returns whether these two keys are the parties, in either order.
    pub(in crate::keyring) fn are(self, one: &[u8], other: &[u8]) -> bool {
        [(one, other), (other, one)].contains(&(self.sender, self.recipient))
    }

    /// Returns the provider information: the version, then the recipient and the sender, each
    /// preceded by its length.
    fn provider_info(self) -> Vec<u8> {
        let mut info = vec![VERSION];
        for key in [self.recipient, self.sender] {
            info.extend_from_slice(&(key.len() as u32).to_be_bytes());
            info.extend_from_slice(key);
        }
        info
    }

    /// Parses exactly what [`provider_info`](Self::provider_info) writes for this curve.
    fn from_provider_info(curve: EcdhCurve, info: &'a [u8]) -> Option<Self> {
        let length = curve.public_key_length();
        let take = |info: &'a [u8]| info.strip_prefix(&(length as u32).to_be_bytes())?.split_at_checked(length);
        let (recipient, rest) = take(info.strip_prefix(&[VERSION])?)?;
        let (sender, rest) = take(rest)?;
        rest.is_empty().then_some(Self { sender, recipient })
    }

    /// Returns the fixed information of the derivation, which is also the AAD of the data key.
    fn fixed_info(self, curve: EcdhCurve, context: &[u8]) -> Vec<u8> {
        let keys = [self.sender, self.recipient].concat();
        let parts = [b"ecdh-key-derivation", curve.spec().as_bytes(), b"HMAC_SHA384", &keys, &[VERSION], context];
        parts.join(&0)
    }
}

/// The parties of a key agreement and the secret that they share.
pub(in crate::keyring) struct Agreement<'a> {
    pub(in crate::keyring) curve: EcdhCurve,
    pub(in crate::keyring) parties: Parties<'a>,
    pub(in crate::keyring) shared_secret: SecretBytes,
    /// The serialized encryption context.
    pub(in crate::keyring) context: &'a [u8],
}

impl Agreement<'_> {
    pub(in crate::keyring) fn wrap(
        &self,
        provider: &dyn CryptoProvider,
        provider_id: &str,
        data_key: &[u8],
    ) -> Result<EncryptedDataKey> {
        let fixed_info = self.parties.fixed_info(self.curve, self.context);
        let mut nonce = [0; NONCE_LENGTH];
        provider.random(&mut nonce)?;
        let derived = Derived::new(&self.shared_secret, &fixed_info, &nonce)?;
        let mut encrypted = vec![0; data_key.len()];
        let tag = provider.aes_gcm(derived.wrapping_key())?.seal(&IV, &fixed_info, data_key, &mut encrypted)?;
        let ciphertext = [&nonce, derived.commitment(), &encrypted, &tag].concat();
        Ok(EncryptedDataKey::new(provider_id, self.parties.provider_info(), ciphertext))
    }

    /// # Errors
    /// [`Error::Integrity`] if the data key does not open.
    pub(in crate::keyring) fn unwrap(
        &self,
        provider: &dyn CryptoProvider,
        wrapped: WrappedKey<'_>,
    ) -> Result<SecretBytes> {
        // The parties are in the message's order, whichever of them we are.
        let fixed_info = self.parties.fixed_info(self.curve, self.context);
        let derived = Derived::new(&self.shared_secret, &fixed_info, wrapped.nonce)?;
        if !derived.commits_to(wrapped.commitment) {
            return Err(Error::Integrity);
        }
        let mut data_key = SecretBytes::zeroed(wrapped.ciphertext.len());
        let wrapping_key = provider.aes_gcm(derived.wrapping_key())?;
        wrapping_key.open(&IV, &fixed_info, wrapped.ciphertext, wrapped.tag, data_key.as_mut())?;
        Ok(data_key)
    }
}

/// The parts of an encrypted data key's ciphertext.
#[derive(Clone, Copy)]
pub(in crate::keyring) struct WrappedKey<'a> {
    nonce: &'a [u8; NONCE_LENGTH],
    commitment: &'a [u8; COMMITMENT_LENGTH],
    ciphertext: &'a [u8],
    tag: &'a Tag,
}

impl<'a> WrappedKey<'a> {
    pub(in crate::keyring) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let (nonce, rest) = bytes.split_first_chunk().ok_or(Error::Integrity)?;
        let (commitment, rest) = rest.split_first_chunk().ok_or(Error::Integrity)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LENGTH>().ok_or(Error::Integrity)?;
        Ok(Self { nonce, commitment, ciphertext, tag })
    }
}

/// The keys derived from a shared secret: first the commitment key, then the wrapping key.
struct Derived(SecretBytes);

impl Derived {
    /// Derives the keys with the counter-mode KDF of NIST SP 800-108 and HMAC-SHA-384.
    fn new(shared_secret: &SecretBytes, fixed_info: &[u8], nonce: &[u8; NONCE_LENGTH]) -> Result<Self> {
        const BITS: u32 = 8 * (COMMITMENT_LENGTH + WRAPPING_KEY_LENGTH) as u32;
        let mut derived = SecretBytes::zeroed(COMMITMENT_LENGTH + WRAPPING_KEY_LENGTH);
        let keyed = Hmac::<Sha384>::new_from_slice(shared_secret.as_bytes())
            .map_err(|_| Error::Provider("HMAC rejected the shared secret"))?;
        for (counter, block) in (1_u32..).zip(derived.as_mut().chunks_mut(48)) {
            let mut mac = keyed.clone();
            for part in [&counter.to_be_bytes(), fixed_info, &[0], nonce, &BITS.to_be_bytes()] {
                mac.update(part);
            }
            let mut output = mac.finalize().into_bytes();
            block.copy_from_slice(&output[..block.len()]);
            output.as_mut_slice().zeroize();
        }
        Ok(Self(derived))
    }

    fn commitment(&self) -> &[u8] {
        &self.0.as_bytes()[..COMMITMENT_LENGTH]
    }

    fn commits_to(&self, commitment: &[u8; COMMITMENT_LENGTH]) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.commitment(), commitment.as_slice()).into()
    }

    fn wrapping_key(&self) -> &[u8] {
        &self.0.as_bytes()[COMMITMENT_LENGTH..]
    }
}
