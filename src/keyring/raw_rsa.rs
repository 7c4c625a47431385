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

/// How a data key is padded before RSA encrypts it. Writer and reader must use the same; the message does not say which.
///
/// ```
/// use sealwax::keyring::RsaPadding;
///
/// let for_new_messages = RsaPadding::OaepSha256;
/// # assert_ne!(for_new_messages, RsaPadding::Pkcs1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RsaPadding {
    /// PKCS#1 v1.5: for messages that exist already, and never where an attacker can have messages read at will. See
    /// [`RawRsaKeyring`].
    Pkcs1,
    /// OAEP, with SHA-1 and MGF1 with SHA-1. Sound as far as is known; for peers that have nothing newer.
    OaepSha1,
    /// OAEP, with SHA-256 and MGF1 with SHA-256. The one to take if nothing asks for another.
    OaepSha256,
    /// OAEP, with SHA-384 and MGF1 with SHA-384.
    OaepSha384,
    /// OAEP, with SHA-512 and MGF1 with SHA-512.
    OaepSha512,
}

impl RsaPadding {
    /// None for PKCS#1.
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

/// Wraps data keys with RSA: with a public key that may be known to all, and unwraps them with its private key.
/// (Feature `raw-rsa`.)
///
/// With a public key alone it encrypts only, with a private key alone it decrypts only; no public key is taken from a
/// private one. Namespace and name say which pair it was, and must be the same on both sides, as must the
/// [padding](RsaPadding). Keys have 2,048 to 8,192 bits, and come as PEM: `PUBLIC KEY` (X.509), `RSA PUBLIC KEY` (PKCS#1),
/// `PRIVATE KEY` (PKCS#8) or `RSA PRIVATE KEY` (PKCS#1).
///
/// RSA is computed by AWS-LC with blinding and with its own random source, whatever the provider of the client. One
/// private operation takes 0.3 to 2 milliseconds, and is not handed to another thread.
///
/// # What to know about it
///
/// - **Whoever has the public key can write messages.** That a message opens says nothing of who wrote it, not even if it
///   is signed: the verifying key is in the message.
/// - RSA wraps the data key alone and **does not bind it to the encryption context**; the header of the message does that.
/// - Every encrypted data key that does not open gives one and the same error, however far it got. But **PKCS#1 v1.5**
///   cannot be made safe by that. Where an attacker can have messages of his own making read, and can tell an encrypted
///   data key that does not open ([`Error::NotUnwrapped`]) from one that opens to a wrong data key
///   ([`Error::Integrity`], or merely more time), his millions of questions add up to a data key of someone else
///   (Bleichenbacher's attack). AWS-LC compares the padding in constant time, but then fails if it is wrong; and to go on
///   with a made-up data key instead would hide the next key, or keyring, that could open the message. Do not answer
///   strangers with [`RsaPadding::Pkcs1`]; the OAEP paddings do not have this weakness.
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
    public_key: Option<PublicKey>,
    private_key: Option<PrivateKey>,
    label: Arc<str>,
}

/// What a [`RawRsaKeyring`] is made of: see [`RawRsaKeyring::builder`], which has an example.
#[must_use = "`build` makes the keyring"]
pub struct RawRsaKeyringBuilder<'a> {
    namespace: String,
    name: String,
    padding: RsaPadding,
    public_key: Option<&'a [u8]>,
    private_key: Option<&'a [u8]>,
}

impl RawRsaKeyring {
    /// The beginning of a keyring, which needs a public key, a private key or both.
    ///
    /// ```
    /// use sealwax::keyring::{RawRsaKeyring, RsaPadding};
    ///
    /// # let public_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa-2048.spki.pem"));
    /// # let private_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa-2048.pkcs8.pem"));
    /// let both_ways = RawRsaKeyring::builder("example", "2026-11", RsaPadding::OaepSha256)
    ///     .public_key_pem(public_pem)
    ///     .private_key_pem(private_pem)
    ///     .build()?;
    /// # let _ = both_ways;
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
    /// The public key, which encrypts, as PEM. [`RawRsaKeyring::builder`] has an example.
    pub fn public_key_pem(mut self, pem: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.public_key = Some(pem.as_ref());
        self
    }

    /// The private key, which decrypts, as PEM that is not encrypted. The text stays the caller's, to be cleared; what is
    /// made of it is cleared here. [`RawRsaKeyring::builder`] has an example.
    pub fn private_key_pem(mut self, pem: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.private_key = Some(pem.as_ref());
        self
    }

    /// The keyring. [`RawRsaKeyring::builder`] has an example.
    ///
    /// # Errors
    /// [`Error::Configuration`], which says what is wrong: without any key; for a PEM that is malformed, encrypted or of
    /// something else than an RSA key; for a key of less than 2,048 or more than 8,192 bits; for a public key that is not
    /// that of the private one; and for an empty or over-long namespace or name, or a namespace that starts with
    /// `aws-kms`.
    pub fn build(self) -> Result<RawRsaKeyring> {
        let Self { namespace, name, padding, public_key, private_key } = self;
        check_names(&namespace, &name)?;
        let refuse = |why: &str| Err(Error::Configuration(why.to_owned()));
        let public_key = public_key.map(read_public_key).transpose()?;
        let private_key = private_key.map(read_private_key).transpose()?;
        match (&public_key, &private_key) {
            (None, None) => return refuse("a raw RSA keyring needs a public key, a private key or both"),
            (Some(public), Some(private)) if !is_pair(public, private)? => {
                return refuse("the public key is not that of the private key");
            }
            _ => {}
        }
        let label = format!("raw-rsa://{namespace}/{name}").into();
        let public_key = public_key.map(|key| PublicKey::new(key, padding)).transpose().map_err(failed)?;
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
        "TooSmall" => Error::Configuration(format!("{what} is too short: RSA keys need 2048 bits or more")),
        "TooLarge" => Error::Configuration(format!("{what} is too long: RSA keys may have 8192 bits at most")),
        _ => pem::malformed(what),
    }
}

fn is_pair(public: &PublicEncryptingKey, private: &PrivateDecryptingKey) -> Result<bool> {
    let (given, matching) = (public.as_der().map_err(failed)?, private.public_key().as_der().map_err(failed)?);
    Ok(given.as_ref() == matching.as_ref())
}

fn failed(_: Unspecified) -> Error {
    Error::Provider("AWS-LC failed at an RSA key")
}

/// A public key and how to pad for it.
pub(super) enum PublicKey {
    Pkcs1(Pkcs1PublicEncryptingKey),
    Oaep(OaepPublicEncryptingKey, &'static OaepAlgorithm),
}

impl PublicKey {
    /// Reads a public key in DER (SubjectPublicKeyInfo) or PEM.
    pub(super) fn read(bytes: &[u8], padding: RsaPadding) -> Result<Self> {
        let key = parse_public_key(&pem::public_key_or_der(bytes)?)?;
        Self::new(key, padding).map_err(failed)
    }

    fn new(key: PublicEncryptingKey, padding: RsaPadding) -> Result<Self, Unspecified> {
        Ok(match padding.oaep() {
            None => Self::Pkcs1(Pkcs1PublicEncryptingKey::new(key)?),
            Some(algorithm) => Self::Oaep(OaepPublicEncryptingKey::new(key)?, algorithm),
        })
    }

    pub(super) fn encrypt(&self, data_key: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let length = match self {
            Self::Pkcs1(key) => key.ciphertext_size(),
            Self::Oaep(key, _) => key.ciphertext_size(),
        };
        let mut ciphertext = vec![0; length];
        let written = match self {
            Self::Pkcs1(key) => key.encrypt(data_key, &mut ciphertext)?.len(),
            Self::Oaep(key, algorithm) => key.encrypt(algorithm, data_key, &mut ciphertext, None)?.len(),
        };
        ciphertext.truncate(written);
        Ok(ciphertext)
    }
}

/// A private key and how it was padded for.
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
            let public_key = self.public_key.as_ref().ok_or_else(|| fail("it has no public key, and only decrypts"))?;
            let key = request.data_key_or_generate()?;
            let ciphertext = public_key.encrypt(key.as_bytes()).map_err(|_| fail("RSA encryption failed"))?;
            Ok(key.wrapped_as(EncryptedDataKey::new(self.namespace.as_str(), self.name.as_bytes(), ciphertext)))
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let mut attempts = request.attempts(self.label());
            for (index, key) in request.candidates(|key| self.is_ours(key)) {
                let outcome = match &self.private_key {
                    // Whatever was wrong: which it was must not be told.
                    Some(private_key) => private_key.decrypt(key.ciphertext()).map_err(|_| UnwrapReason::NotAuthentic),
                    None => Err(UnwrapReason::Failed("the keyring has no private key, and only encrypts".into())),
                };
                if let Some(unwrapped) = attempts.record(index, outcome) {
                    return Ok(unwrapped);
                }
            }
            Err(attempts.into_error())
        })
    }
}
