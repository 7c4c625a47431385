//! Cryptographic primitives.
//!
//! A [`CryptoProvider`] supplies all primitives that messages need: random bytes, AES-GCM, HKDF,
//! digests and signatures. It is chosen per [client](crate::Client::builder_with_provider). The
//! `rustcrypto` feature (on by default) adds `RustCrypto`, which is pure Rust. The `aws-lc-rs`
//! feature adds `AwsLcRs`, which is faster but requires a C compiler. Both can read each other's
//! messages. Enabling a feature does not change the provider of any client. To use other
//! primitives, implement the six required methods of [`CryptoProvider`].

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

/// The length in bytes of every AES-GCM initialization vector in the message format.
pub const IV_LENGTH: usize = 12;
/// The length in bytes of every authentication tag.
pub const TAG_LENGTH: usize = 16;

/// An initialization vector.
pub type Iv = [u8; IV_LENGTH];
/// An authentication tag.
pub type Tag = [u8; TAG_LENGTH];

/// An implementation of the cryptographic primitives that messages need.
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
    /// Fills `out` with random bytes from a cryptographically secure generator.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) if the generator fails.
    fn random(&self, out: &mut [u8]) -> Result<()>;

    /// Generates a random key of `length` bytes.
    ///
    /// # Errors
    /// As for [`random`](Self::random).
    fn random_key(&self, length: usize) -> Result<SecretBytes> {
        let mut key = SecretBytes::zeroed(length);
        self.random(key.as_mut())?;
        Ok(key)
    }

    /// Creates an AES-GCM key from an AES key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) if the key has any other length.
    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>>;

    /// Derives keys with HKDF: one extraction, then one expansion for each of `outputs`. An empty
    /// salt is equivalent to a salt of zeros.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) if an output is too long for HKDF.
    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()>;

    /// Creates a digest, which accepts its input in parts.
    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest>;

    /// Generates a signing key.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) if the random number generator fails.
    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>>;

    /// Creates a verifying key from a compressed SEC1 point. No other encoding is accepted.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) if `compressed` is not the compressed encoding
    /// of a point on the curve. The point at infinity is rejected.
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
    /// The info, as two parts that are concatenated.
    pub info: [&'a [u8]; 2],
    /// The buffer for the output, which determines its length.
    pub out: &'a mut [u8],
}

/// An expanded AES-GCM key.
///
/// Sealing and opening keep no state. The caller supplies each IV, **and must never seal twice with
/// the same one**. The methods may be called from several threads.
pub trait AeadKey: Send + Sync {
    /// Encrypts `text` in place and returns the tag.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) if `text` is too long for AES-GCM.
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag>;

    /// Decrypts `text` in place.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) if the tag does not verify. The contents of
    /// `text` are then unspecified.
    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()>;

    /// Encrypts `plaintext` into `out`, which has the same length.
    ///
    /// The default implementation copies the plaintext first. Providers that can avoid the copy
    /// override it.
    ///
    /// # Errors
    /// As for [`seal_in_place`](Self::seal_in_place).
    fn seal(&self, iv: &Iv, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> Result<Tag> {
        out.copy_from_slice(plaintext);
        self.seal_in_place(iv, aad, out)
    }

    /// Decrypts `ciphertext` into `out`, which has the same length.
    ///
    /// The default implementation copies the ciphertext first. Providers that can avoid the copy
    /// override it.
    ///
    /// # Errors
    /// As for [`open_in_place`](Self::open_in_place).
    fn open(&self, iv: &Iv, aad: &[u8], ciphertext: &[u8], tag: &Tag, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(ciphertext);
        self.open_in_place(iv, aad, out, tag)
    }
}

/// A digest in progress.
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
    /// Adds bytes to the digest.
    fn update(&mut self, bytes: &[u8]);

    /// Returns the digest of all bytes added.
    fn finish(self: Box<Self>) -> Vec<u8>;
}

/// The private key of a signature key pair.
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
    /// Returns the algorithm of the key.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Returns the public key: a compressed SEC1 point of [`SignatureAlgorithm::public_key_length`]
    /// bytes.
    fn public_key(&self) -> &[u8];

    /// Signs a digest that was computed with the algorithm's own hash function.
    ///
    /// The signature is DER-encoded and has the [constant
    /// length](SignatureAlgorithm::signature_length) that the other SDKs write.
    ///
    /// # Errors
    /// [`Error::Provider`](crate::Error::Provider) if signing fails.
    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>>;
}

/// The public key of a signature key pair.
pub trait VerifyingKey: Send + Sync {
    /// Returns the algorithm of the key.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Returns the public key, as the compressed point that the key was made from.
    fn public_key(&self) -> &[u8];

    /// Verifies a DER-encoded signature of a digest that was computed with the algorithm's own hash
    /// function.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) if the signature is malformed, if r or s is
    /// zero or not less than the order of the curve, or if this key did not sign this digest.
    fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> Result<()>;
}

impl dyn SigningKey + '_ {
    /// Returns the public key as it is stored in an encryption context.
    pub(crate) fn public_key_entry(&self) -> String {
        BASE64_STANDARD.encode(self.public_key())
    }
}

impl dyn VerifyingKey + '_ {
    /// Returns the public key as it is stored in an encryption context.
    pub(crate) fn public_key_entry(&self) -> String {
        BASE64_STANDARD.encode(self.public_key())
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        // Every method, those with a default included: a provider that overrides one is asked for
        // it.
        impl<P: CryptoProvider + ?Sized> CryptoProvider for $pointer {
            fn random(&self, out: &mut [u8]) -> Result<()> {
                (**self).random(out)
            }

            fn random_key(&self, length: usize) -> Result<SecretBytes> {
                (**self).random_key(length)
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

            fn verifying_key(
                &self,
                algorithm: SignatureAlgorithm,
                compressed: &[u8],
            ) -> Result<Arc<dyn VerifyingKey>> {
                (**self).verifying_key(algorithm, compressed)
            }
        }
    )*};
}

forward!(&P, Box<P>, Arc<P>);

#[cfg(all(test, feature = "rustcrypto"))]
mod tests {
    use super::*;

    /// RustCrypto, with keys of its own making.
    #[derive(Debug)]
    struct Keys;

    impl CryptoProvider for Keys {
        fn random(&self, out: &mut [u8]) -> Result<()> {
            RustCrypto.random(out)
        }

        fn random_key(&self, length: usize) -> Result<SecretBytes> {
            Ok(SecretBytes::from(vec![9; length]))
        }

        fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
            RustCrypto.aes_gcm(key)
        }

        fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
            RustCrypto.hkdf(hash, salt, key, outputs)
        }

        fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
            RustCrypto.digest(hash)
        }

        fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
            RustCrypto.generate_signing_key(algorithm)
        }

        fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
            RustCrypto.verifying_key(algorithm, compressed)
        }
    }

    #[test]
    fn pointers_to_a_provider_forward_what_it_overrides() {
        let made = |provider: &dyn CryptoProvider| provider.random_key(16).unwrap().as_bytes().to_vec();
        assert_eq!(made(&Keys), [9; 16]);
        assert_eq!(made(&&Keys), [9; 16]);
        assert_eq!(made(&Box::new(Keys)), [9; 16]);
        assert_eq!(made(&Arc::new(Keys)), [9; 16]);
        assert_eq!(made(&(Arc::new(Keys) as Arc<dyn CryptoProvider>)), [9; 16]);
    }
}
