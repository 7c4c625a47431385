//! The raw RSA keyring.

use std::sync::Arc;

use aws_lc_rs::{
    encoding::AsDer,
    error::{KeyRejected, Unspecified},
    rsa::{
        OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512, OaepAlgorithm,
        OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey,
        PrivateDecryptingKey, PublicEncryptingKey,
    },
};

use super::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped, pem, raw_aes::check_names};
use crate::{
    error::{Error, Result, UnwrapReason},
    format::EncryptedDataKey,
    secret::SecretBytes,
};

/// The padding of a data key before RSA encryption.
///
/// Encryption and decryption must use the same padding; the message does not record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RsaPadding {
    /// PKCS#1 v1.5. Use it for existing messages only, and never where an attacker can have
    /// messages decrypted at will: see [`RawRsaKeyring`].
    Pkcs1,
    /// OAEP with SHA-1 and MGF1 with SHA-1. No weakness is known; for peers that support nothing
    /// newer.
    OaepSha1,
    /// OAEP with SHA-256 and MGF1 with SHA-256. The recommended choice.
    OaepSha256,
    /// OAEP with SHA-384 and MGF1 with SHA-384.
    OaepSha384,
    /// OAEP with SHA-512 and MGF1 with SHA-512.
    OaepSha512,
}

impl RsaPadding {
    /// Returns the OAEP parameters, or `None` for PKCS#1 v1.5.
    fn oaep(self) -> Option<&'static OaepAlgorithm> {
        match self {
            Self::Pkcs1 => None,
            Self::OaepSha1 => Some(&OAEP_SHA1_MGF1SHA1),
            Self::OaepSha256 => Some(&OAEP_SHA256_MGF1SHA256),
            Self::OaepSha384 => Some(&OAEP_SHA384_MGF1SHA384),
            Self::OaepSha512 => Some(&OAEP_SHA512_MGF1SHA512),
        }
    }
}

/// A keyring that wraps data keys with an RSA public key and unwraps them with its private key.
/// (Feature `raw-rsa`.)
///
/// With a public key the keyring can only encrypt. With a private key it can do both, because the
/// private key contains the public one. The namespace and name identify the key pair. They must be
/// the same for encryption and decryption, as must the [padding](RsaPadding). Keys have 2,048 to
/// 8,192 bits and are given as PEM: `PUBLIC KEY` (X.509), `RSA PUBLIC KEY` (PKCS#1), `PRIVATE KEY`
/// (PKCS#8) or `RSA PRIVATE KEY` (PKCS#1).
///
/// AWS-LC computes RSA, with blinding and with its own random source, whichever provider the client
/// has. A private-key operation takes 0.3 to 2 milliseconds and runs on the calling thread.
///
/// # Security
///
/// - **Anyone with the public key can write messages.** That a message opens does not prove who
///   wrote it, not even if it is signed, because the verifying key is in the message.
/// - RSA wraps only the data key and **does not bind it to the encryption context**; the message
///   header does that.
/// - Every encrypted data key that does not open gives the same error, wherever it failed. That
///   does not make **PKCS#1 v1.5** safe. If an attacker can have chosen messages decrypted, and can
///   distinguish an encrypted data key that does not open ([`Error::NotUnwrapped`]) from one that
///   opens to a wrong data key ([`Error::Integrity`], or just a longer time), millions of queries
///   recover another message's data key (Bleichenbacher's attack). AWS-LC checks the padding in
///   constant time but then reports whether it was valid. Continuing with a made-up data key
///   instead would hide the next encrypted data key, or keyring, that could open the message. Do
///   not decrypt messages from untrusted senders with [`RsaPadding::Pkcs1`]; the OAEP paddings do
///   not have this weakness.
///
/// Specification: framework/raw-rsa-keyring.
///
/// ```
/// use sealwax::{Client, keyring::{RawRsaKeyring, RsaPadding}};
///
/// # let public_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa-2048.spki.pem"));
/// # let private_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa-2048.pkcs8.pem"));
/// let writer = RawRsaKeyring::builder("example", "2026-11", RsaPadding::OaepSha256).public_key_pem(public_pem).build()?;
/// let sealed = Client::new().encrypt(&writer).bytes(b"text").wait()?;
///
/// let reader = RawRsaKeyring::builder("example", "2026-11", RsaPadding::OaepSha256).private_key_pem(private_pem).build()?;
/// assert_eq!(Client::new().decrypt(&reader).bytes(&sealed.message).wait()?.plaintext, b"text");
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct RawRsaKeyring {
    namespace: String,
    name: String,
    public_key: RsaPublicKey,
    private_key: Option<PrivateKey>,
    label: Arc<str>,
}

/// A builder for a [`RawRsaKeyring`], made by [`RawRsaKeyring::builder`].
#[must_use = "`build` makes the keyring"]
pub struct RawRsaKeyringBuilder<'a> {
    namespace: String,
    name: String,
    padding: RsaPadding,
    public_key: Option<&'a [u8]>,
    private_key: Option<&'a [u8]>,
}

impl RawRsaKeyring {
    /// Returns a builder for a keyring, which needs a public key, a private key or both.
    ///
    /// ```
    /// use sealwax::keyring::{RawRsaKeyring, RsaPadding};
    ///
    /// # let public_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa-2048.spki.pem"));
    /// # let private_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa-2048.pkcs8.pem"));
    /// let keyring = RawRsaKeyring::builder("example", "2026-11", RsaPadding::OaepSha256)
    ///     .public_key_pem(public_pem)
    ///     .private_key_pem(private_pem)
    ///     .build()?;
    /// # let _ = keyring;
    /// assert!(RawRsaKeyring::builder("example", "2026-11", RsaPadding::OaepSha256).build().is_err());
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn builder<'a>(
        namespace: impl Into<String>,
        name: impl Into<String>,
        padding: RsaPadding,
    ) -> RawRsaKeyringBuilder<'a> {
        let (namespace, name) = (namespace.into(), name.into());
        RawRsaKeyringBuilder { namespace, name, padding, public_key: None, private_key: None }
    }

    fn is_ours(&self, key: &EncryptedDataKey) -> bool {
        key.provider_id() == self.namespace && key.provider_info() == self.name.as_bytes()
    }
}

impl<'a> RawRsaKeyringBuilder<'a> {
    /// Sets the public key, as PEM, for encryption.
    pub fn public_key_pem(mut self, pem: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.public_key = Some(pem.as_ref());
        self
    }

    /// Sets the private key, as unencrypted PEM, for decryption.
    ///
    /// The keyring overwrites its own copies of the key. Clearing `pem` is up to the caller.
    pub fn private_key_pem(mut self, pem: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.private_key = Some(pem.as_ref());
        self
    }

    /// Builds the keyring.
    ///
    /// # Errors
    /// [`Error::Configuration`] with the reason: there is no key; a PEM is malformed, encrypted or
    /// not an RSA key; a key has fewer than 2,048 or more than 8,192 bits; the public key does not
    /// belong to the private key; the namespace or name is empty or too long; or the namespace
    /// starts with `aws-kms`.
    pub fn build(self) -> Result<RawRsaKeyring> {
        let Self { namespace, name, padding, public_key, private_key } = self;
        check_names(&namespace, &name)?;
        let refuse = |why: &str| Err(Error::Configuration(why.to_owned()));
        let public_key = public_key.map(read_public_key).transpose()?;
        let private_key = private_key.map(read_private_key).transpose()?;
        let public_key = match (public_key, &private_key) {
            (None, None) => return refuse("a raw RSA keyring needs a public key, a private key or both"),
            (Some(public), Some(private)) if !is_pair(&public, private)? => {
                return refuse("the public key does not belong to the private key");
            }
            (Some(public), _) => public,
            (None, Some(private)) => private.public_key(),
        };
        let label = format!("raw-rsa://{namespace}/{name}").into();
        let public_key = RsaPublicKey::new(public_key, padding).map_err(failed)?;
        let private_key = private_key.map(|key| PrivateKey::new(key, padding)).transpose().map_err(failed)?;
        Ok(RawRsaKeyring { namespace, name, public_key, private_key, label })
    }
}

fn read_public_key(pem: &[u8]) -> Result<PublicEncryptingKey> {
    parse_public_key(&pem::public_key(pem)?)
}

fn parse_public_key(der: &[u8]) -> Result<PublicEncryptingKey> {
    PublicEncryptingKey::from_der(der).map_err(|why| rejected("the public key", &why))
}

fn read_private_key(pem: &[u8]) -> Result<PrivateDecryptingKey> {
    let document = pem::private_key(pem)?;
    PrivateDecryptingKey::from_pkcs8(document.as_bytes()).map_err(|why| rejected("the private key", &why))
}

fn rejected(what: &str, why: &KeyRejected) -> Error {
    match why.to_string().as_str() {
        "TooSmall" => Error::Configuration(format!("{what} is too short: RSA keys must have at least 2048 bits")),
        "TooLarge" => Error::Configuration(format!("{what} is too long: RSA keys must have at most 8192 bits")),
        _ => pem::malformed(what),
    }
}

fn is_pair(public: &PublicEncryptingKey, private: &PrivateDecryptingKey) -> Result<bool> {
    let (given, matching) = (public.as_der().map_err(failed)?, private.public_key().as_der().map_err(failed)?);
    Ok(given.as_ref() == matching.as_ref())
}

fn failed(_: Unspecified) -> Error {
    Error::Provider("AWS-LC could not process an RSA key")
}

/// An RSA public key with its padding, for keyrings whose private key is in a service or device.
///
/// ```
/// use sealwax::keyring::{RsaPadding, RsaPublicKey};
///
/// # let pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa-2048.spki.pem"));
/// let key = RsaPublicKey::read(pem.as_bytes(), RsaPadding::OaepSha256)?;
/// assert_eq!(key.encrypt(&[7; 32])?.len(), 256);
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct RsaPublicKey(PaddedKey);

enum PaddedKey {
    Pkcs1(Pkcs1PublicEncryptingKey),
    Oaep(OaepPublicEncryptingKey, &'static OaepAlgorithm),
}

impl RsaPublicKey {
    /// Reads a public key of 2,048 to 8,192 bits, in DER (SubjectPublicKeyInfo) or PEM.
    ///
    /// # Errors
    /// [`Error::Configuration`] with the reason.
    pub fn read(bytes: &[u8], padding: RsaPadding) -> Result<Self> {
        let key = parse_public_key(&pem::public_key_or_der(bytes)?)?;
        Self::new(key, padding).map_err(failed)
    }

    fn new(key: PublicEncryptingKey, padding: RsaPadding) -> Result<Self, Unspecified> {
        Ok(Self(match padding.oaep() {
            None => PaddedKey::Pkcs1(Pkcs1PublicEncryptingKey::new(key)?),
            Some(algorithm) => PaddedKey::Oaep(OaepPublicEncryptingKey::new(key)?, algorithm),
        }))
    }

    /// Encrypts a short plaintext, such as a data key.
    ///
    /// # Errors
    /// [`Error::Provider`] if the plaintext is too long for the key and padding, or if the random
    /// source fails.
    pub fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>> {
        self.0.encrypt(plaintext).map_err(|_| Error::Provider("RSA encryption failed"))
    }
}

impl PaddedKey {
    fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let length = match self {
            Self::Pkcs1(key) => key.ciphertext_size(),
            Self::Oaep(key, _) => key.ciphertext_size(),
        };
        let mut ciphertext = vec![0; length];
        let written = match self {
            Self::Pkcs1(key) => key.encrypt(plaintext, &mut ciphertext)?.len(),
            Self::Oaep(key, algorithm) => key.encrypt(algorithm, plaintext, &mut ciphertext, None)?.len(),
        };
        ciphertext.truncate(written);
        Ok(ciphertext)
    }
}

/// An RSA private key with its padding, for formats other than messages.
///
/// ```
/// use sealwax::keyring::{RsaPadding, RsaPrivateKey, RsaPublicKey};
///
/// # let public_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa-2048.spki.pem"));
/// # let private_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa-2048.pkcs8.pem"));
/// let public = RsaPublicKey::read(public_pem.as_bytes(), RsaPadding::OaepSha256)?;
/// let private = RsaPrivateKey::read(private_pem.as_bytes(), RsaPadding::OaepSha256)?;
/// assert!(private.decrypt(&public.encrypt(&[7; 32])?)?.ct_eq(&[7; 32]));
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct RsaPrivateKey(PrivateKey);

impl RsaPrivateKey {
    /// Reads a private key of 2,048 to 8,192 bits, in unencrypted PEM.
    ///
    /// # Errors
    /// [`Error::Configuration`] with the reason.
    pub fn read(pem: &[u8], padding: RsaPadding) -> Result<Self> {
        PrivateKey::new(read_private_key(pem)?, padding).map(Self).map_err(failed)
    }

    /// Decrypts a short ciphertext, such as an encrypted data key.
    ///
    /// # Errors
    /// [`Error::Integrity`], the same one wherever it fails. With PKCS#1 v1.5 an attacker must not
    /// learn that it did: see [`RawRsaKeyring`].
    pub fn decrypt(&self, ciphertext: &[u8]) -> Result<SecretBytes> {
        self.0.decrypt(ciphertext).map_err(|_| Error::Integrity)
    }
}

/// A private key with its padding.
enum PrivateKey {
    Pkcs1(Pkcs1PrivateDecryptingKey),
    Oaep(OaepPrivateDecryptingKey, &'static OaepAlgorithm),
}

impl PrivateKey {
    fn new(key: PrivateDecryptingKey, padding: RsaPadding) -> Result<Self, Unspecified> {
        Ok(match padding.oaep() {
            None => Self::Pkcs1(Pkcs1PrivateDecryptingKey::new(key)?),
            Some(algorithm) => Self::Oaep(OaepPrivateDecryptingKey::new(key)?, algorithm),
        })
    }

    fn decrypt(&self, ciphertext: &[u8]) -> Result<SecretBytes, Unspecified> {
        let length = match self {
            Self::Pkcs1(key) => key.min_output_size(),
            Self::Oaep(key, _) => key.min_output_size(),
        };
        let mut buffer = SecretBytes::zeroed(length);
        let data_key: &[u8] = match self {
            Self::Pkcs1(key) => key.decrypt(ciphertext, buffer.as_mut())?,
            Self::Oaep(key, algorithm) => key.decrypt(algorithm, ciphertext, buffer.as_mut(), None)?,
        };
        Ok(SecretBytes::from(data_key))
    }
}

impl Keyring for RawRsaKeyring {
    fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move {
            let fail = |why: &'static str| Error::keyring(&*self.label, why);
            let key = request.data_key_or_generate()?;
            let ciphertext = self.public_key.encrypt(key.as_bytes()).map_err(|_| fail("RSA encryption failed"))?;
            Ok(key.wrapped_as(EncryptedDataKey::new(self.namespace.as_str(), self.name.as_bytes(), ciphertext)))
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let mut attempts = request.attempts(self.label());
            for (index, key) in request.candidates(|key| self.is_ours(key)) {
                let outcome = match &self.private_key {
                    // Every failure has the same reason: the cause must not be distinguishable.
                    Some(private_key) => private_key.decrypt(key.ciphertext()).map_err(|_| UnwrapReason::NotAuthentic),
                    None => Err(UnwrapReason::Failed("the keyring has no private key and can only encrypt".into())),
                };
                if let Some(unwrapped) = attempts.record(index, outcome) {
                    return Ok(unwrapped);
                }
            }
            Err(attempts.into_error())
        })
    }
}

#[cfg(test)]
mod wycheproof;
