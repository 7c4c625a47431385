//! Wrapping of a data key under a shared secret. The raw ECDH keyring and the AWS KMS ECDH keyring
//! of `sealwax-aws` share it, so each opens what the other wrapped.
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
pub(super) const RAW_ECDH: &str = "raw-ecdh";
/// The key provider id that the AWS KMS keyring writes.
const AWS_KMS_ECDH: &str = "aws-kms-ecdh";
/// The first byte of the provider information, also an input of the key derivation.
const VERSION: u8 = 1;

/// The length of the random nonce that makes every derivation different.
const NONCE_LENGTH: usize = 32;
const COMMITMENT_LENGTH: usize = 32;
const WRAPPING_KEY_LENGTH: usize = 32;
/// Fixed, because every wrapping key is derived for one data key only.
const IV: Iv = [0; IV_LENGTH];

/// The two compressed public keys of an encrypted data key that ECDH wrapped.
#[derive(Clone, Copy)]
pub struct EcdhParties<'a> {
    /// The key of the party that wrapped the data key.
    pub sender: &'a [u8],
    /// The key of the party that it is for.
    pub recipient: &'a [u8],
}

impl<'a> EcdhParties<'a> {
    /// Returns the parties of an encrypted data key on this curve, or `None` if neither the raw
    /// ECDH keyring nor the AWS KMS ECDH keyring wrote it for this curve.
    #[must_use]
    pub fn of(curve: EcdhCurve, key: &'a EncryptedDataKey) -> Option<Self> {
        let is_ours = [RAW_ECDH, AWS_KMS_ECDH].contains(&key.provider_id());
        is_ours.then(|| Self::from_provider_info(curve, key.provider_info())).flatten()
    }

    /// Returns whether these two keys are the parties, in either order.
    #[must_use]
    pub fn are(self, one: &[u8], other: &[u8]) -> bool {
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

/// A key agreement: two parties and the secret that they share.
///
/// For keyrings whose private key is in a service or device, which computes the shared secret: what
/// they wrap, a [`RawEcdhKeyring`](super::RawEcdhKeyring) of the other party opens, and the
/// reverse.
///
/// ```
/// use sealwax::{
///     EncryptionContext, SecretBytes,
///     crypto::RustCrypto,
///     keyring::{EcdhAgreement, EcdhCurve, EcdhParties, EcdhWrappedKey},
/// };
///
/// # let (alice, bob, from_device) = ([2; 33], [3; 33], [7; 32]);
/// let context = EncryptionContext::from([("tenant", "blue")]).serialize()?;
/// let agreement = EcdhAgreement {
///     curve: EcdhCurve::P256,
///     parties: EcdhParties { sender: &alice, recipient: &bob },
///     shared_secret: SecretBytes::from(from_device),
///     context: &context,
/// };
/// let wrapped = agreement.wrap(&RustCrypto, "raw-ecdh", &[9; 32])?;
///
/// let parties = EcdhParties::of(EcdhCurve::P256, &wrapped).expect("the parties above");
/// assert!(parties.are(&bob, &alice));
/// let data_key = agreement.unwrap(&RustCrypto, EcdhWrappedKey::parse(wrapped.ciphertext())?)?;
/// assert!(data_key.ct_eq(&[9; 32]));
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct EcdhAgreement<'a> {
    /// The curve of all keys.
    pub curve: EcdhCurve,
    /// The parties, the sender first.
    pub parties: EcdhParties<'a>,
    /// The shared secret, of [`EcdhCurve::shared_secret_length`] bytes.
    pub shared_secret: SecretBytes,
    /// The serialized encryption context.
    pub context: &'a [u8],
}

impl EcdhAgreement<'_> {
    /// Wraps a data key under a new wrapping key. The encrypted data key has this provider id.
    ///
    /// # Errors
    /// [`Error::Provider`] if the random source or a primitive fails.
    pub fn wrap(&self, provider: &dyn CryptoProvider, provider_id: &str, data_key: &[u8]) -> Result<EncryptedDataKey> {
        let fixed_info = self.parties.fixed_info(self.curve, self.context);
        let mut nonce = [0; NONCE_LENGTH];
        provider.random(&mut nonce)?;
        let derived = Derived::new(&self.shared_secret, &fixed_info, &nonce)?;
        let mut encrypted = vec![0; data_key.len()];
        let tag = provider.aes_gcm(derived.wrapping_key())?.seal(&IV, &fixed_info, data_key, &mut encrypted)?;
        let ciphertext = [&nonce, derived.commitment(), &encrypted, &tag].concat();
        Ok(EncryptedDataKey::new(provider_id, self.parties.provider_info(), ciphertext))
    }

    /// Unwraps a data key.
    ///
    /// # Errors
    /// [`Error::Integrity`] if it does not open.
    pub fn unwrap(&self, provider: &dyn CryptoProvider, wrapped: EcdhWrappedKey<'_>) -> Result<SecretBytes> {
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

/// The parts of the ciphertext of an encrypted data key, for [`EcdhAgreement::unwrap`].
#[derive(Clone, Copy)]
pub struct EcdhWrappedKey<'a> {
    nonce: &'a [u8; NONCE_LENGTH],
    commitment: &'a [u8; COMMITMENT_LENGTH],
    ciphertext: &'a [u8],
    tag: &'a Tag,
}

impl<'a> EcdhWrappedKey<'a> {
    /// Parses a ciphertext. A keyring does so before it has the shared secret computed.
    ///
    /// # Errors
    /// [`Error::Integrity`] if it is too short.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
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
