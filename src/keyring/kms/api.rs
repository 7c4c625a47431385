//! The seam to key management services: what one is asked, and what it answers.

use std::{fmt, sync::Arc};

use super::KmsError;
use crate::{context::EncryptionContext, keyring::BoxFuture, secret::SecretBytes};

/// A key management service: what a keyring asks of it.
///
/// The operations bear the names they have in AWS KMS, and mean the same. `decrypt`, `encrypt` and `generate_data_key` are
/// what [`KmsKeyring`](super::KmsKeyring) needs; the others are for keys in pairs, and a service without them leaves them
/// out. Time-outs and retries are the service's own business; a future that is dropped must leave nothing behind.
///
/// Who implements it returns the id of the key that was really used with every answer, whatever alias was asked for:
/// keyrings compare it.
///
/// ```
/// use sealwax::{
///     Client, SecretBytes,
///     crypto::{CryptoProvider, RustCrypto},
///     keyring::{
///         BoxFuture, GenerateDataKey, GeneratedDataKey, KmsApi, KmsCiphertext, KmsDecrypt, KmsEncrypt, KmsError,
///         KmsErrorKind, KmsKeyring, KmsOperation, KmsPlaintext,
///     },
/// };
///
/// /// "Encrypts" by exclusive-or with a fixed pattern: an example of the interface, not of cryptography.
/// struct Toy;
///
/// fn mix(bytes: &[u8]) -> Vec<u8> {
///     bytes.iter().map(|byte| byte ^ 0x55).collect()
/// }
///
/// impl KmsApi for Toy {
///     fn generate_data_key<'a>(
///         &'a self,
///         request: GenerateDataKey<'a>,
///     ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
///         Box::pin(async move {
///             let failed = |error| KmsError::new(KmsOperation::GenerateDataKey, KmsErrorKind::Other).caused_by(error);
///             let plaintext = RustCrypto.random_key(request.length).map_err(failed)?;
///             let ciphertext = mix(plaintext.as_bytes());
///             Ok(GeneratedDataKey { key_id: "toy-1".into(), plaintext, ciphertext })
///         })
///     }
///
///     fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
///         Box::pin(async move { Ok(KmsCiphertext { key_id: "toy-1".into(), ciphertext: mix(request.plaintext) }) })
///     }
///
///     fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
///         Box::pin(async move {
///             Ok(KmsPlaintext { key_id: "toy-1".into(), plaintext: SecretBytes::from(mix(request.ciphertext)) })
///         })
///     }
/// }
///
/// let keyring = KmsKeyring::new("toy-kms", "toy-1", std::sync::Arc::new(Toy))?;
/// let client = Client::new();
/// let sealed = client.encrypt(&keyring).bytes(b"text").wait()?;
/// assert_eq!(sealed.header.encrypted_data_keys()[0].provider_id(), "toy-kms");
/// assert_eq!(client.decrypt(&keyring).bytes(&sealed.message).wait()?.plaintext, b"text");
/// # Ok::<(), sealwax::Error>(())
/// ```
pub trait KmsApi: Send + Sync {
    /// Makes a data key and encrypts it under a key of the service.
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>>;

    /// Encrypts a few bytes under a key of the service.
    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>>;

    /// Decrypts what a key of the service encrypted.
    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>>;

    /// The public half of a key pair.
    fn get_public_key<'a>(&'a self, request: GetPublicKey<'a>) -> BoxFuture<'a, Result<KmsPublicKey, KmsError>> {
        unsupported(KmsOperation::GetPublicKey, request.key_id)
    }

    /// The secret that a key pair of the service shares with another's public key.
    fn derive_shared_secret<'a>(
        &'a self,
        request: DeriveSharedSecret<'a>,
    ) -> BoxFuture<'a, Result<KmsSharedSecret, KmsError>> {
        unsupported(KmsOperation::DeriveSharedSecret, request.key_id)
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: KmsApi + ?Sized> KmsApi for $pointer {
            fn generate_data_key<'a>(
                &'a self,
                request: GenerateDataKey<'a>,
            ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
                (**self).generate_data_key(request)
            }

            fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
                (**self).encrypt(request)
            }

            fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
                (**self).decrypt(request)
            }

            fn get_public_key<'a>(
                &'a self,
                request: GetPublicKey<'a>,
            ) -> BoxFuture<'a, Result<KmsPublicKey, KmsError>> {
                (**self).get_public_key(request)
            }

            fn derive_shared_secret<'a>(
                &'a self,
                request: DeriveSharedSecret<'a>,
            ) -> BoxFuture<'a, Result<KmsSharedSecret, KmsError>> {
                (**self).derive_shared_secret(request)
            }
        }
    )*};
}

forward!(&S, Box<S>, Arc<S>);

fn unsupported<'a, T: Send + 'a>(operation: KmsOperation, key_id: &str) -> BoxFuture<'a, Result<T, KmsError>> {
    let error = KmsError::new(operation, super::KmsErrorKind::Unsupported).key(key_id);
    Box::pin(std::future::ready(Err(error)))
}

/// An operation of a key management service, for reports and errors.
///
/// ```
/// assert_eq!(sealwax::keyring::KmsOperation::GenerateDataKey.to_string(), "GenerateDataKey");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KmsOperation {
    /// [`KmsApi::generate_data_key`]
    GenerateDataKey,
    /// [`KmsApi::encrypt`]
    Encrypt,
    /// [`KmsApi::decrypt`]
    Decrypt,
    /// [`KmsApi::get_public_key`]
    GetPublicKey,
    /// [`KmsApi::derive_shared_secret`]
    DeriveSharedSecret,
}

impl fmt::Display for KmsOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How a key of the service encrypts.
///
/// ```
/// assert_eq!(sealwax::keyring::KmsAlgorithm::default(), sealwax::keyring::KmsAlgorithm::Symmetric);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KmsAlgorithm {
    /// A symmetric key, `SYMMETRIC_DEFAULT`.
    #[default]
    Symmetric,
    /// An RSA key, `RSAES_OAEP_SHA_1`. There is no encryption context.
    RsaOaepSha1,
    /// An RSA key, `RSAES_OAEP_SHA_256`. There is no encryption context.
    RsaOaepSha256,
}

/// What [`KmsApi::generate_data_key`] is asked. [`KmsApi`] has an example.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct GenerateDataKey<'a> {
    /// The key to encrypt under: an id, an ARN, or an alias.
    pub key_id: &'a str,
    /// The number of bytes of the data key.
    pub length: usize,
    /// The encryption context.
    pub context: &'a EncryptionContext,
    /// Grants that may not have spread through the service yet.
    pub grant_tokens: &'a [String],
}

impl<'a> GenerateDataKey<'a> {
    /// A question without grant tokens, for those who test a service or call one from code of their own.
    ///
    /// ```
    /// use sealwax::{EncryptionContext, keyring::GenerateDataKey};
    ///
    /// let context = EncryptionContext::from([("tenant", "blue")]);
    /// let tokens = ["a-grant-token".to_owned()];
    /// let request = GenerateDataKey::new("alias/orders", 32, &context).with_grant_tokens(&tokens);
    /// assert_eq!((request.length, request.grant_tokens.len()), (32, 1));
    /// ```
    #[must_use]
    pub fn new(key_id: &'a str, length: usize, context: &'a EncryptionContext) -> Self {
        Self { key_id, length, context, grant_tokens: &[] }
    }

    /// The same question with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }
}

/// What [`KmsApi::encrypt`] is asked. [`KmsApi`] has an example.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct KmsEncrypt<'a> {
    /// The key to encrypt under: an id, an ARN, or an alias.
    pub key_id: &'a str,
    /// The plaintext.
    pub plaintext: &'a [u8],
    /// The encryption context.
    pub context: &'a EncryptionContext,
    /// Grants that may not have spread through the service yet.
    pub grant_tokens: &'a [String],
    /// How to encrypt.
    pub algorithm: KmsAlgorithm,
}

impl<'a> KmsEncrypt<'a> {
    /// A question to a symmetric key, without grant tokens.
    ///
    /// ```
    /// use sealwax::{EncryptionContext, keyring::{KmsAlgorithm, KmsEncrypt}};
    ///
    /// let context = EncryptionContext::new();
    /// let request = KmsEncrypt::new("alias/orders", &[7; 32], &context);
    /// assert_eq!(request.algorithm, KmsAlgorithm::Symmetric);
    /// ```
    #[must_use]
    pub fn new(key_id: &'a str, plaintext: &'a [u8], context: &'a EncryptionContext) -> Self {
        Self { key_id, plaintext, context, grant_tokens: &[], algorithm: KmsAlgorithm::Symmetric }
    }

    /// The same question with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }

    /// The same question to a key of another kind.
    #[must_use]
    pub fn with_algorithm(self, algorithm: KmsAlgorithm) -> Self {
        Self { algorithm, ..self }
    }
}

/// What [`KmsApi::decrypt`] is asked. [`KmsApi`] has an example.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct KmsDecrypt<'a> {
    /// The key that it must have been encrypted under.
    pub key_id: &'a str,
    /// The ciphertext.
    pub ciphertext: &'a [u8],
    /// The encryption context.
    pub context: &'a EncryptionContext,
    /// Grants that may not have spread through the service yet.
    pub grant_tokens: &'a [String],
    /// How it was encrypted.
    pub algorithm: KmsAlgorithm,
}

impl<'a> KmsDecrypt<'a> {
    /// A question to a symmetric key, without grant tokens.
    ///
    /// ```
    /// use sealwax::{EncryptionContext, keyring::{KmsAlgorithm, KmsDecrypt}};
    ///
    /// let context = EncryptionContext::new();
    /// let request = KmsDecrypt::new("key-1", &[7; 256], &context).with_algorithm(KmsAlgorithm::RsaOaepSha256);
    /// assert!(request.grant_tokens.is_empty());
    /// ```
    #[must_use]
    pub fn new(key_id: &'a str, ciphertext: &'a [u8], context: &'a EncryptionContext) -> Self {
        Self { key_id, ciphertext, context, grant_tokens: &[], algorithm: KmsAlgorithm::Symmetric }
    }

    /// The same question with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }

    /// The same question to a key of another kind.
    #[must_use]
    pub fn with_algorithm(self, algorithm: KmsAlgorithm) -> Self {
        Self { algorithm, ..self }
    }
}

/// What [`KmsApi::get_public_key`] is asked.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct GetPublicKey<'a> {
    /// The key pair: an id, an ARN, or an alias.
    pub key_id: &'a str,
    /// Grants that may not have spread through the service yet.
    pub grant_tokens: &'a [String],
}

impl<'a> GetPublicKey<'a> {
    /// A question without grant tokens.
    ///
    /// ```
    /// assert_eq!(sealwax::keyring::GetPublicKey::new("alias/orders").key_id, "alias/orders");
    /// ```
    #[must_use]
    pub fn new(key_id: &'a str) -> Self {
        Self { key_id, grant_tokens: &[] }
    }

    /// The same question with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }
}

/// What [`KmsApi::derive_shared_secret`] is asked.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct DeriveSharedSecret<'a> {
    /// The key pair: an id, an ARN, or an alias.
    pub key_id: &'a str,
    /// The other's public key, in DER (SubjectPublicKeyInfo).
    pub public_key: &'a [u8],
    /// Grants that may not have spread through the service yet.
    pub grant_tokens: &'a [String],
}

impl<'a> DeriveSharedSecret<'a> {
    /// A question without grant tokens.
    ///
    /// ```
    /// assert_eq!(sealwax::keyring::DeriveSharedSecret::new("key-1", &[0x30, 0x59]).key_id, "key-1");
    /// ```
    #[must_use]
    pub fn new(key_id: &'a str, public_key: &'a [u8]) -> Self {
        Self { key_id, public_key, grant_tokens: &[] }
    }

    /// The same question with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }
}

/// The answer of [`KmsApi::generate_data_key`], which has an example.
pub struct GeneratedDataKey {
    /// The id of the key that was used; in AWS KMS its ARN.
    pub key_id: String,
    /// The data key.
    pub plaintext: SecretBytes,
    /// The data key, encrypted.
    pub ciphertext: Vec<u8>,
}

/// The answer of [`KmsApi::encrypt`]. [`KmsApi`] has an example.
pub struct KmsCiphertext {
    /// The id of the key that was used; in AWS KMS its ARN.
    pub key_id: String,
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
}

/// The answer of [`KmsApi::decrypt`]. [`KmsApi`] has an example.
pub struct KmsPlaintext {
    /// The id of the key that was used; in AWS KMS its ARN.
    pub key_id: String,
    /// The plaintext.
    pub plaintext: SecretBytes,
}

/// The answer of [`KmsApi::get_public_key`].
pub struct KmsPublicKey {
    /// The id of the key; in AWS KMS its ARN.
    pub key_id: String,
    /// The public key, in DER (SubjectPublicKeyInfo).
    pub public_key: Vec<u8>,
    /// What the key pair may be used for, if the service says.
    pub usage: Option<KmsKeyUsage>,
}

/// What a key pair of the service may be used for.
///
/// ```
/// assert_ne!(sealwax::keyring::KmsKeyUsage::KeyAgreement, sealwax::keyring::KmsKeyUsage::EncryptDecrypt);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KmsKeyUsage {
    /// `ENCRYPT_DECRYPT`: for [`KmsApi::encrypt`] and [`KmsApi::decrypt`].
    EncryptDecrypt,
    /// `KEY_AGREEMENT`: for [`KmsApi::derive_shared_secret`].
    KeyAgreement,
    /// Anything else, such as signing.
    Other,
}

/// The answer of [`KmsApi::derive_shared_secret`].
pub struct KmsSharedSecret {
    /// The id of the key that was used; in AWS KMS its ARN.
    pub key_id: String,
    /// The shared secret.
    pub shared_secret: SecretBytes,
}
