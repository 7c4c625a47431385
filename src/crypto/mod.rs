//! The seam to the cryptographic primitives.
//!
//! A [`CryptoProvider`] is a value given to the [client](crate::Client::builder_with_provider); everything a message needs
//! comes from it: random bytes, AES-GCM, HKDF, digests and signatures. The feature `rustcrypto` (on by default) brings
//! `RustCrypto`, in pure Rust; the feature `aws-lc-rs` brings `AwsLcRs`, which is faster and takes a C compiler. They read
//! each other's messages, and choose nothing by themselves: a client has the provider that it was given. A provider of
//! one's own takes the same six methods.

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{error::Result, secret::SecretBytes};

pub use crate::suite::{HashAlgorithm, SignatureAlgorithm};

#[cfg(feature = "aws-lc-rs")]
mod aws_lc_rs;
#[cfg(feature = "rustcrypto")]
mod rustcrypto;

#[cfg(feature = "aws-lc-rs")]
pub use self::aws_lc_rs::AwsLcRs;

#[cfg(feature = "rustcrypto")]
pub use rustcrypto::RustCrypto;

/// The length in bytes of every initialization vector of AES-GCM here.
pub const IV_LENGTH: usize = 12;
/// The length in bytes of every authentication tag.
pub const TAG_LENGTH: usize = 16;

/// An initialization vector.
pub type Iv = [u8; IV_LENGTH];
/// An authentication tag.
pub type Tag = [u8; TAG_LENGTH];

/// The primitives that messages are made of.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use sealwax::crypto::{CryptoProvider, RustCrypto};
///
/// let mut id = [0; 16];
/// RustCrypto.random(&mut id)?;
/// let key = RustCrypto.aes_gcm(&[0; 32])?;
/// let mut text = *b"plain";
/// let tag = key.seal_in_place(&[0; 12], b"authenticated", &mut text)?;
/// key.open_in_place(&[0; 12], b"authenticated", &mut text, &tag)?;
/// assert_eq!(&text, b"plain");
/// # }
/// # Ok::<(), sealwax::Error>(())
/// ```
pub trait CryptoProvider: fmt::Debug + Send + Sync {
    /// Fills `out` with bytes from a cryptographically secure source.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) if the source fails.
    fn random(&self, out: &mut [u8]) -> Result<()>;

    /// A new random key of a length in bytes.
    ///
    /// # Errors
    /// As [`random`](Self::random).
    ///
    /// ```
    /// # #[cfg(feature = "rustcrypto")] {
    /// use sealwax::crypto::{CryptoProvider, RustCrypto};
    ///
    /// assert_eq!(RustCrypto.random_key(32)?.len(), 32);
    /// # }
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    fn random_key(&self, length: usize) -> Result<SecretBytes> {
        let mut key = SecretBytes::zeroed(length);
        self.random(key.as_mut())?;
        Ok(key)
    }

    /// Expands an AES key of 16, 24 or 32 bytes for AES-GCM.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) for another length.
    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>>;

    /// HKDF: one extraction, then one expansion for each of `outputs`. An empty salt is one of zeros.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) for an output that HKDF cannot make.
    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()>;

    /// A digest, to be fed in parts.
    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest>;

    /// A new signing key.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) if the source of randomness fails.
    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>>;

    /// The key that verifies, from its compressed SEC1 form and from no other.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) for anything that is not the compressed form of a point of the
    /// curve other than infinity.
    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>>;
}

/// One output of [`CryptoProvider::hkdf`].
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use sealwax::crypto::{CryptoProvider, Expand, HashAlgorithm, RustCrypto};
///
/// let mut key = [0; 32];
/// let output = Expand { info: [b"label", b"context"], out: &mut key };
/// RustCrypto.hkdf(HashAlgorithm::Sha256, b"salt", b"input key", &mut [output])?;
/// assert_ne!(key, [0; 32]);
/// # }
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct Expand<'a> {
    /// The info, in two parts that are joined.
    pub info: [&'a [u8]; 2],
    /// Where the output goes; its length is the length that is derived.
    pub out: &'a mut [u8],
}

/// An expanded AES-GCM key. Sealing and opening keep no state: who calls says which IV, and may call from any thread.
///
/// [`CryptoProvider`] has an example.
pub trait AeadKey: Send + Sync {
    /// Encrypts `text` where it lies and gives the tag.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) for a text longer than AES-GCM carries.
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag>;

    /// Decrypts `text` where it lies.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) if the tag does not hold; what `text` then contains is unspecified.
    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()>;

    /// Encrypts from one place to another of the same length. A provider that can do so without a copy overrides this.
    ///
    /// # Errors
    /// As [`seal_in_place`](Self::seal_in_place).
    fn seal(&self, iv: &Iv, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> Result<Tag> {
        out.copy_from_slice(plaintext);
        self.seal_in_place(iv, aad, out)
    }

    /// Decrypts from one place to another of the same length. A provider that can do so without a copy overrides this.
    ///
    /// # Errors
    /// As [`open_in_place`](Self::open_in_place).
    fn open(&self, iv: &Iv, aad: &[u8], ciphertext: &[u8], tag: &Tag, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(ciphertext);
        self.open_in_place(iv, aad, out, tag)
    }
}

/// A digest being fed.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use sealwax::crypto::{CryptoProvider, HashAlgorithm, RustCrypto};
///
/// let mut digest = RustCrypto.digest(HashAlgorithm::Sha256);
/// digest.update(b"in ");
/// digest.update(b"parts");
/// assert_eq!(digest.finish().len(), 32);
/// # }
/// ```
pub trait Digest: Send {
    /// Takes more bytes.
    fn update(&mut self, bytes: &[u8]);

    /// The digest of all bytes.
    fn finish(self: Box<Self>) -> Vec<u8>;
}

/// The private half of a signature key pair.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use sealwax::crypto::{CryptoProvider, RustCrypto, SignatureAlgorithm};
///
/// let algorithm = SignatureAlgorithm::EcdsaP384;
/// let key = RustCrypto.generate_signing_key(algorithm)?;
/// let mut digest = RustCrypto.digest(algorithm.hash());
/// digest.update(b"message");
/// let digest = digest.finish();
/// let signature = key.sign_digest(&digest)?;
/// assert_eq!(signature.len(), algorithm.signature_length());
/// RustCrypto.verifying_key(algorithm, key.public_key())?.verify_digest(&digest, &signature)?;
/// # }
/// # Ok::<(), sealwax::Error>(())
/// ```
pub trait SigningKey: Send + Sync {
    /// The algorithm the key is for.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// The public half: the compressed point of SEC1, [`SignatureAlgorithm::public_key_length`] bytes.
    fn public_key(&self) -> &[u8];

    /// Signs a digest made with the algorithm's own hash. The signature is DER and has the
    /// [constant length](SignatureAlgorithm::signature_length) that the other SDKs write.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) if signing fails.
    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>>;
}

/// The public half of a signature key pair. [`SigningKey`] has an example.
pub trait VerifyingKey: Send + Sync {
    /// The algorithm the key is for.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Verifies a DER signature over a digest made with the algorithm's own hash.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) if it does not hold: malformed DER, r or s of zero or not below
    /// the order of the curve, or not this key's signature over this digest.
    fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> Result<()>;
}

impl dyn SigningKey + '_ {
    /// The value that the public half has in an encryption context.
    pub(crate) fn public_key_entry(&self) -> String {
        BASE64_STANDARD.encode(self.public_key())
    }
}

impl<P: CryptoProvider + ?Sized> CryptoProvider for Arc<P> {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        (**self).random(out)
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        (**self).aes_gcm(key)
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        (**self).hkdf(hash, salt, key, outputs)
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        (**self).digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        (**self).generate_signing_key(algorithm)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        (**self).verifying_key(algorithm, compressed)
    }
}
