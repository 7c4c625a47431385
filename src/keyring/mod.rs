//! Keyrings, which wrap and unwrap the data key of a message.
//!
//! [`RawAesKeyring`] holds a wrapping key in memory, `RawRsaKeyring` and `RawEcdhKeyring` (features
//! `raw-rsa` and `raw-ecdh`) use key pairs, and [`MultiKeyring`] wraps under several keyrings at
//! once. For anything else, such as a hardware module or a vault, implement [`Keyring`], which
//! takes about a page of code.
//!
//! # Key management services
//!
//! A [`KmsApi`] gives access to a service; the keyrings over it do not depend on the transport.
//! [`KmsKeyring`] is the one for any service. The crate `sealwax-aws` has those for AWS KMS, and
//! `sealwax-kms` is a key service in a directory. [`KmsService`] has what they share.

use std::{pin::Pin, sync::Arc};

use crate::{
    context::EncryptionContext,
    crypto::CryptoProvider,
    error::{Error, Result, UnwrapFailure, UnwrapReason},
    format::EncryptedDataKey,
    secret::SecretBytes,
    suite::AlgorithmSuite,
};

mod kms;
mod multi;
#[cfg(feature = "raw-rsa")]
mod pem;
mod raw_aes;
#[cfg(feature = "raw-ecdh")]
mod raw_ecdh;
#[cfg(feature = "raw-rsa")]
mod raw_rsa;
mod report;

pub use kms::{
    DeriveSharedSecret, GenerateDataKey, GeneratedDataKey, GetPublicKey, KmsAlgorithm, KmsApi, KmsCandidate,
    KmsCiphertext, KmsDecrypt, KmsEncrypt, KmsError, KmsErrorKind, KmsKeyUsage, KmsKeyring, KmsOperation, KmsPlaintext,
    KmsPublicKey, KmsReEncrypt, KmsReEncrypted, KmsService, KmsSharedSecret,
};
pub use multi::MultiKeyring;
pub use raw_aes::RawAesKeyring;
#[cfg(feature = "raw-ecdh")]
pub use raw_ecdh::{EcdhAgreement, EcdhCurve, EcdhParties, EcdhWrappedKey, RawEcdhKeyring};
#[cfg(feature = "raw-rsa")]
pub use raw_rsa::{RawRsaKeyring, RawRsaKeyringBuilder, RsaPadding, RsaPrivateKey, RsaPublicKey};
pub use report::{KeyReport, WrapFailure, WrappedBy};

/// A boxed future, which lets a trait with asynchronous methods be used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A keyring, which wraps and unwraps data keys.
///
/// A keyring returns what it adds and does not modify its input. On failure it returns an error
/// that says why and contains no secret. It must not depend on a particular executor: a local
/// keyring completes immediately, a remote one brings whatever it needs.
///
/// Specification: framework/keyring-interface.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{
///     EncryptedDataKey, Result,
///     keyring::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
/// };
///
/// /// Wraps by XOR with a fixed pattern: shows the interface and is not secure.
/// struct Toy;
///
/// impl Keyring for Toy {
///     fn label(&self) -> Arc<str> {
///         "toy".into()
///     }
///
///     fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
///         Box::pin(async move {
///             let key = request.data_key_or_generate()?;
///             let pattern: Vec<u8> = key.as_bytes().iter().map(|byte| byte ^ 0x55).collect();
///             Ok(key.wrapped_as(EncryptedDataKey::new("toy", "1", pattern)))
///         })
///     }
///
///     fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
///         Box::pin(async move {
///             let mut attempts = request.attempts(self.label());
///             for (index, key) in request.candidates(|key| key.provider_id() == "toy") {
///                 let data_key: Vec<u8> = key.ciphertext().iter().map(|byte| byte ^ 0x55).collect();
///                 if let Some(unwrapped) = attempts.record(index, Ok(data_key.into())) {
///                     return Ok(unwrapped);
///                 }
///             }
///             Err(attempts.into_error())
///         })
///     }
/// }
///
/// let client = sealwax::Client::new();
/// let sealed = client.encrypt(&Toy).bytes(b"text").wait()?;
/// assert_eq!(client.decrypt(&Toy).bytes(&sealed.message).wait()?.plaintext, b"text");
/// # Ok::<(), sealwax::Error>(())
/// ```
pub trait Keyring: Send + Sync {
    /// Returns a short name for reports and errors, such as `raw-aes://namespace/name`. It must not
    /// contain secrets.
    fn label(&self) -> Arc<str>;

    /// Wraps the request's data key, or generates one if there is none and wraps that.
    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>>;

    /// Unwraps one of the encrypted data keys, trying this keyring's own in order.
    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<K: Keyring + ?Sized> Keyring for $pointer {
            fn label(&self) -> Arc<str> {
                (**self).label()
            }

            fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
                (**self).on_encrypt(request)
            }

            fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
                (**self).on_decrypt(request)
            }
        }
    )*};
}

forward!(&K, Box<K>, Arc<K>);

/// A request to wrap a data key for a message that is being encrypted.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct WrapRequest<'a> {
    /// The client's cryptographic primitives.
    pub provider: &'a dyn CryptoProvider,
    /// The message's algorithm suite, which determines the length of the data key.
    pub suite: AlgorithmSuite,
    /// The whole encryption context, to which the keyring binds the wrapped key.
    pub context: &'a EncryptionContext,
    /// The data key to wrap, if another keyring has already generated it.
    pub data_key: Option<&'a SecretBytes>,
}

impl<'a> WrapRequest<'a> {
    /// Creates a request without a data key, for testing keyrings or calling one from another.
    #[must_use]
    pub fn new(provider: &'a dyn CryptoProvider, suite: AlgorithmSuite, context: &'a EncryptionContext) -> Self {
        Self { provider, suite, context, data_key: None }
    }

    /// Returns this request with a data key that exists already.
    #[must_use]
    pub fn for_key<'b>(self, data_key: &'b SecretBytes) -> WrapRequest<'b>
    where
        'a: 'b,
    {
        WrapRequest { data_key: Some(data_key), ..self }
    }

    /// Returns the data key to wrap: the existing one, or a new random one of the suite's length.
    ///
    /// # Errors
    /// [`Error::Provider`] if the random source fails.
    pub fn data_key_or_generate(&self) -> Result<PlaintextDataKey<'a>> {
        Ok(match self.data_key {
            Some(key) => PlaintextDataKey::Existing(key),
            None => PlaintextDataKey::Generated(self.provider.random_key(self.suite.data_key_length())?),
        })
    }
}

/// The data key that a keyring is to wrap, from [`WrapRequest::data_key_or_generate`].
pub enum PlaintextDataKey<'a> {
    /// Another keyring generated the key.
    Existing(&'a SecretBytes),
    /// The key was generated for this request.
    Generated(SecretBytes),
}

impl PlaintextDataKey<'_> {
    /// Returns the bytes of the data key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Existing(key) => key.as_bytes(),
            Self::Generated(key) => key.as_bytes(),
        }
    }

    /// Returns the keyring's result, given the wrapped form of the key.
    #[must_use]
    pub fn wrapped_as(self, encrypted: EncryptedDataKey) -> Wrapped {
        match self {
            Self::Existing(_) => Wrapped::existing(encrypted),
            Self::Generated(key) => Wrapped::generated(key, encrypted),
        }
    }
}

/// The result of wrapping a data key.
///
/// ```
/// use sealwax::{EncryptedDataKey, keyring::Wrapped};
///
/// let wrapped = Wrapped::existing(EncryptedDataKey::new("my-hsm", "slot-1", [0; 40]));
/// assert!(wrapped.data_key.is_none());
/// assert_eq!(wrapped.encrypted_data_keys.len(), 1);
/// ```
pub struct Wrapped {
    /// The data key, if the keyring generated it.
    pub data_key: Option<SecretBytes>,
    /// The wrapped data key, once or several times.
    pub encrypted_data_keys: Vec<EncryptedDataKey>,
    /// The keyrings that wrapped the key. Only a keyring that calls others fills this in; if it is
    /// empty, the keyring itself wrapped everything.
    pub report: KeyReport,
}

impl Wrapped {
    /// Takes the report. If it does not name as many encrypted data keys as there are, the keyring
    /// with this label wrapped them, or added to or removed from what others wrapped; it is then
    /// reported for all of them.
    pub(crate) fn take_report(&mut self, label: impl FnOnce() -> Arc<str>) -> KeyReport {
        let mut report = std::mem::take(&mut self.report);
        let count = self.encrypted_data_keys.len();
        if report.wrapped().len() != count {
            report.clear_wrapped();
            report.add_wrapped(&label(), count);
        }
        report
    }

    /// Returns the result for a data key that the keyring generated.
    #[must_use]
    pub fn generated(data_key: SecretBytes, encrypted: EncryptedDataKey) -> Self {
        Self { data_key: Some(data_key), encrypted_data_keys: vec![encrypted], report: KeyReport::default() }
    }

    /// Returns the result for a data key that existed already.
    #[must_use]
    pub fn existing(encrypted: EncryptedDataKey) -> Self {
        Self { data_key: None, encrypted_data_keys: vec![encrypted], report: KeyReport::default() }
    }
}

/// A request to unwrap a data key of a message that is being decrypted.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct UnwrapRequest<'a> {
    /// The client's cryptographic primitives.
    pub provider: &'a dyn CryptoProvider,
    /// The message's algorithm suite, which determines the length of the data key.
    pub suite: AlgorithmSuite,
    /// The whole encryption context: what the message stores and what the caller supplied.
    pub context: &'a EncryptionContext,
    /// The message's encrypted data keys, in order.
    pub encrypted_data_keys: &'a [EncryptedDataKey],
}

impl<'a> UnwrapRequest<'a> {
    /// Creates a request, for testing keyrings or calling one from another.
    #[must_use]
    pub fn new(
        provider: &'a dyn CryptoProvider,
        suite: AlgorithmSuite,
        context: &'a EncryptionContext,
        encrypted_data_keys: &'a [EncryptedDataKey],
    ) -> Self {
        Self { provider, suite, context, encrypted_data_keys }
    }

    /// Returns the encrypted data keys that `is_ours` accepts, with their indices.
    pub fn candidates(
        &self,
        is_ours: impl Fn(&EncryptedDataKey) -> bool,
    ) -> impl Iterator<Item = (usize, &'a EncryptedDataKey)> {
        self.encrypted_data_keys.iter().enumerate().filter(move |(_, key)| is_ours(key))
    }

    /// Returns an empty record of attempts by the keyring with this label.
    #[must_use]
    pub fn attempts(&self, keyring: Arc<str>) -> UnwrapAttempts {
        let data_key_length = self.suite.data_key_length();
        UnwrapAttempts { keyring, data_key_length, failure: UnwrapFailure::default() }
    }
}

/// A record of a keyring's attempts, from [`UnwrapRequest::attempts`].
pub struct UnwrapAttempts {
    keyring: Arc<str>,
    data_key_length: usize,
    failure: UnwrapFailure,
}

impl UnwrapAttempts {
    /// Records the outcome of one attempt.
    ///
    /// A data key of the right length ends the search. One of another length counts as not
    /// authentic, and the next encrypted data key should be tried.
    #[must_use]
    pub fn record(&mut self, index: usize, outcome: Result<SecretBytes, UnwrapReason>) -> Option<Unwrapped> {
        let reason = match outcome {
            Ok(data_key) if data_key.len() == self.data_key_length => {
                return Some(Unwrapped { data_key, encrypted_data_key: index, keyring: self.keyring.clone() });
            }
            Ok(_) => UnwrapReason::NotAuthentic,
            Err(reason) => reason,
        };
        self.failure.add(self.keyring.clone(), Some(index), reason);
        None
    }

    /// Returns the error if every attempt has failed, or if there was nothing to try.
    #[must_use]
    pub fn into_error(mut self) -> Error {
        if self.failure.attempts().is_empty() {
            self.failure.add(self.keyring, None, UnwrapReason::NoMatch);
        }
        self.failure.into()
    }
}

/// An unwrapped data key, and the encrypted data key it came from.
///
/// ```
/// use sealwax::{SecretBytes, keyring::Unwrapped};
///
/// let unwrapped = Unwrapped {
///     data_key: SecretBytes::zeroed(32),
///     encrypted_data_key: 0,
///     keyring: "hsm://slot-1".into(),
/// };
/// assert_eq!(unwrapped.data_key.len(), 32);
/// ```
pub struct Unwrapped {
    /// The data key.
    pub data_key: SecretBytes,
    /// The index of the encrypted data key in the message, from 0.
    pub encrypted_data_key: usize,
    /// The label of the keyring that unwrapped it.
    pub keyring: Arc<str>,
}
