//! The interface to key management services: requests and responses.

use std::{fmt, sync::Arc};

use super::KmsError;
use crate::{context::EncryptionContext, keyring::BoxFuture, secret::SecretBytes};

/// A key management service, as the keyrings use it.
///
/// The operations have the names and the meaning that they have in AWS KMS.
/// [`KmsKeyring`](super::KmsKeyring) needs `decrypt`, `encrypt` and `generate_data_key`; the others
/// are for key pairs and for key hierarchies, and a service without these need not implement them.
/// Timeouts and retries are up to the implementation. Dropping a future must cancel its call and leave nothing behind.
///
/// An implementation must return the id of the key that was actually used, whichever alias the
/// request named: the keyrings compare it.
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
/// /// "Encrypts" by XOR with a fixed pattern: shows the interface and is not secure.
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
    /// Generates a data key and encrypts it under a key of the service.
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>>;

    /// Encrypts a short plaintext under a key of the service.
    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>>;

    /// Decrypts a ciphertext made under a key of the service.
    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>>;

    /// Returns the public key of a key pair.
    fn get_public_key<'a>(&'a self, request: GetPublicKey<'a>) -> BoxFuture<'a, Result<KmsPublicKey, KmsError>> {
        unsupported(KmsOperation::GetPublicKey, request.key_id)
    }

    /// Returns the secret that a key pair of the service shares with another public key.
    fn derive_shared_secret<'a>(
        &'a self,
        request: DeriveSharedSecret<'a>,
    ) -> BoxFuture<'a, Result<KmsSharedSecret, KmsError>> {
        unsupported(KmsOperation::DeriveSharedSecret, request.key_id)
    }

    /// Generates a data key and returns it only in its encrypted form.
    fn generate_data_key_without_plaintext<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        unsupported(KmsOperation::GenerateDataKeyWithoutPlaintext, request.key_id)
    }

    /// Decrypts a ciphertext and encrypts its plaintext again, which does not leave the service.
    fn re_encrypt<'a>(&'a self, request: KmsReEncrypt<'a>) -> BoxFuture<'a, Result<KmsReEncrypted, KmsError>> {
        unsupported(KmsOperation::ReEncrypt, request.source_key_id)
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

            fn generate_data_key_without_plaintext<'a>(
                &'a self,
                request: GenerateDataKey<'a>,
            ) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
                (**self).generate_data_key_without_plaintext(request)
            }

            fn re_encrypt<'a>(&'a self, request: KmsReEncrypt<'a>) -> BoxFuture<'a, Result<KmsReEncrypted, KmsError>> {
                (**self).re_encrypt(request)
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
    /// [`KmsApi::generate_data_key_without_plaintext`]
    GenerateDataKeyWithoutPlaintext,
    /// [`KmsApi::re_encrypt`]
    ReEncrypt,
}

impl fmt::Display for KmsOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The algorithm that a key of the service encrypts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KmsAlgorithm {
    /// A symmetric key, `SYMMETRIC_DEFAULT`.
    #[default]
    Symmetric,
    /// An RSA key, `RSAES_OAEP_SHA_1`, which takes no encryption context.
    RsaOaepSha1,
    /// An RSA key, `RSAES_OAEP_SHA_256`, which takes no encryption context.
    RsaOaepSha256,
}

/// A request for [`KmsApi::generate_data_key`] or [`KmsApi::generate_data_key_without_plaintext`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct GenerateDataKey<'a> {
    /// The key to encrypt under: an id, an ARN, or an alias.
    pub key_id: &'a str,
    /// The length of the data key in bytes.
    pub length: usize,
    /// The encryption context.
    pub context: &'a EncryptionContext,
    /// Tokens of grants that may not have taken effect throughout the service yet.
    pub grant_tokens: &'a [String],
}

impl<'a> GenerateDataKey<'a> {
    /// Creates a request without grant tokens, for testing a service or calling one directly.
    #[must_use]
    pub fn new(key_id: &'a str, length: usize, context: &'a EncryptionContext) -> Self {
        Self { key_id, length, context, grant_tokens: &[] }
    }

    /// Returns this request with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }
}

/// A request for [`KmsApi::encrypt`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct KmsEncrypt<'a> {
    /// The key to encrypt under: an id, an ARN, or an alias.
    pub key_id: &'a str,
    /// The plaintext.
    pub plaintext: &'a [u8],
    /// The encryption context.
    pub context: &'a EncryptionContext,
    /// Tokens of grants that may not have taken effect throughout the service yet.
    pub grant_tokens: &'a [String],
    /// The encryption algorithm.
    pub algorithm: KmsAlgorithm,
}

impl<'a> KmsEncrypt<'a> {
    /// Creates a request for a symmetric key, without grant tokens.
    #[must_use]
    pub fn new(key_id: &'a str, plaintext: &'a [u8], context: &'a EncryptionContext) -> Self {
        Self { key_id, plaintext, context, grant_tokens: &[], algorithm: KmsAlgorithm::Symmetric }
    }

    /// Returns this request with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }

    /// Returns this request with another algorithm.
    #[must_use]
    pub fn with_algorithm(self, algorithm: KmsAlgorithm) -> Self {
        Self { algorithm, ..self }
    }
}

/// A request for [`KmsApi::decrypt`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct KmsDecrypt<'a> {
    /// The key under which the ciphertext must have been encrypted.
    pub key_id: &'a str,
    /// The ciphertext.
    pub ciphertext: &'a [u8],
    /// The encryption context.
    pub context: &'a EncryptionContext,
    /// Tokens of grants that may not have taken effect throughout the service yet.
    pub grant_tokens: &'a [String],
    /// The encryption algorithm.
    pub algorithm: KmsAlgorithm,
}

impl<'a> KmsDecrypt<'a> {
    /// Creates a request for a symmetric key, without grant tokens.
    #[must_use]
    pub fn new(key_id: &'a str, ciphertext: &'a [u8], context: &'a EncryptionContext) -> Self {
        Self { key_id, ciphertext, context, grant_tokens: &[], algorithm: KmsAlgorithm::Symmetric }
    }

    /// Returns this request with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }

    /// Returns this request with another algorithm.
    #[must_use]
    pub fn with_algorithm(self, algorithm: KmsAlgorithm) -> Self {
        Self { algorithm, ..self }
    }
}

/// A request for [`KmsApi::re_encrypt`], from one symmetric key and encryption context to another.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct KmsReEncrypt<'a> {
    /// The key under which the ciphertext must have been encrypted.
    pub source_key_id: &'a str,
    /// The encryption context of the ciphertext.
    pub source_context: &'a EncryptionContext,
    /// The ciphertext.
    pub ciphertext: &'a [u8],
    /// The key to encrypt under: an id, an ARN, or an alias.
    pub destination_key_id: &'a str,
    /// The encryption context to encrypt with.
    pub destination_context: &'a EncryptionContext,
    /// Tokens of grants that may not have taken effect throughout the service yet.
    pub grant_tokens: &'a [String],
}

impl<'a> KmsReEncrypt<'a> {
    /// Creates a request that keeps the key and changes the encryption context, without grant
    /// tokens.
    #[must_use]
    pub fn new(key_id: &'a str, ciphertext: &'a [u8], from: &'a EncryptionContext, to: &'a EncryptionContext) -> Self {
        Self {
            source_key_id: key_id,
            source_context: from,
            ciphertext,
            destination_key_id: key_id,
            destination_context: to,
            grant_tokens: &[],
        }
    }

    /// Returns this request with another key to encrypt under.
    #[must_use]
    pub fn with_destination(self, destination_key_id: &'a str) -> Self {
        Self { destination_key_id, ..self }
    }

    /// Returns this request with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }
}

/// A request for [`KmsApi::get_public_key`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct GetPublicKey<'a> {
    /// The key pair: an id, an ARN, or an alias.
    pub key_id: &'a str,
    /// Tokens of grants that may not have taken effect throughout the service yet.
    pub grant_tokens: &'a [String],
}

impl<'a> GetPublicKey<'a> {
    /// Creates a request without grant tokens.
    #[must_use]
    pub fn new(key_id: &'a str) -> Self {
        Self { key_id, grant_tokens: &[] }
    }

    /// Returns this request with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }
}

/// A request for [`KmsApi::derive_shared_secret`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct DeriveSharedSecret<'a> {
    /// The key pair: an id, an ARN, or an alias.
    pub key_id: &'a str,
    /// The other party's public key, in DER (SubjectPublicKeyInfo).
    pub public_key: &'a [u8],
    /// Tokens of grants that may not have taken effect throughout the service yet.
    pub grant_tokens: &'a [String],
}

impl<'a> DeriveSharedSecret<'a> {
    /// Creates a request without grant tokens.
    #[must_use]
    pub fn new(key_id: &'a str, public_key: &'a [u8]) -> Self {
        Self { key_id, public_key, grant_tokens: &[] }
    }

    /// Returns this request with grant tokens.
    #[must_use]
    pub fn with_grant_tokens(self, grant_tokens: &'a [String]) -> Self {
        Self { grant_tokens, ..self }
    }
}

/// The response of [`KmsApi::generate_data_key`].
pub struct GeneratedDataKey {
    /// The id of the key that was used; in AWS KMS, its ARN.
    pub key_id: String,
    /// The data key.
    pub plaintext: SecretBytes,
    /// The encrypted data key.
    pub ciphertext: Vec<u8>,
}

/// The response of [`KmsApi::encrypt`] and [`KmsApi::generate_data_key_without_plaintext`].
pub struct KmsCiphertext {
    /// The id of the key that was used; in AWS KMS, its ARN.
    pub key_id: String,
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
}

/// The response of [`KmsApi::decrypt`].
pub struct KmsPlaintext {
    /// The id of the key that was used; in AWS KMS, its ARN.
    pub key_id: String,
    /// The plaintext.
    pub plaintext: SecretBytes,
}

/// The response of [`KmsApi::get_public_key`].
pub struct KmsPublicKey {
    /// The id of the key; in AWS KMS, its ARN.
    pub key_id: String,
    /// The public key, in DER (SubjectPublicKeyInfo).
    pub public_key: Vec<u8>,
    /// The key pair's usage, if the service reports it.
    pub usage: Option<KmsKeyUsage>,
}

/// The usage of a key pair of the service.
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

/// The response of [`KmsApi::derive_shared_secret`].
pub struct KmsSharedSecret {
    /// The id of the key that was used; in AWS KMS, its ARN.
    pub key_id: String,
    /// The shared secret.
    pub shared_secret: SecretBytes,
}

/// The response of [`KmsApi::re_encrypt`].
pub struct KmsReEncrypted {
    /// The id of the key that the ciphertext was under; in AWS KMS, its ARN.
    pub source_key_id: String,
    /// The id of the key that the new ciphertext is under; in AWS KMS, its ARN.
    pub key_id: String,
    /// The new ciphertext.
    pub ciphertext: Vec<u8>,
}
