//! Keyrings: what wraps the data key of a message, and unwraps it again.
//!
//! [`RawAesKeyring`] holds a wrapping key in memory, `RawRsaKeyring` and `RawEcdhKeyring` (features `raw-rsa` and `raw-ecdh`)
//! take pairs of keys, [`MultiKeyring`] wraps under several keyrings at once, and anything
//! else (a hardware module, a vault) is an implementation of [`Keyring`], a page of code.
//!
//! # Key management services
//!
//! A [`KmsApi`] says how a service is asked; the keyrings over it do not know how it is reached.
//!
//! | keys | keyring |
//! |---|---|
//! | a symmetric key of AWS KMS, alone or in several regions | [`AwsKmsKeyring`] |
//! | whatever symmetric key of AWS KMS a message names, to decrypt | [`AwsKmsDiscoveryKeyring`] |
//! | several of either, in several regions | [`AwsKmsMultiKeyrings`] makes them |
//! | an RSA pair in AWS KMS: encrypts without asking (feature `raw-rsa`) | `AwsKmsRsaKeyring` |
//! | an elliptic-curve pair in AWS KMS (feature `raw-ecdh`) | `AwsKmsEcdhKeyring` |
//! | a key of another service | [`KmsKeyring`] |

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

#[cfg(feature = "raw-rsa")]
pub use kms::AwsKmsRsaKeyring;
pub use kms::{
    AwsKmsDiscoveryKeyring, AwsKmsKeyring, AwsKmsMultiKeyrings, DeriveSharedSecret, DiscoveryFilter, GenerateDataKey,
    GeneratedDataKey, GetPublicKey, KmsAlgorithm, KmsApi, KmsArn, KmsCiphertext, KmsClientSupplier, KmsDecrypt,
    KmsEncrypt, KmsError, KmsErrorKind, KmsKeyUsage, KmsKeyring, KmsOperation, KmsPlaintext, KmsPublicKey,
    KmsSharedSecret,
};
#[cfg(feature = "raw-ecdh")]
pub use kms::{AwsKmsEcdhKeyring, AwsKmsEcdhKeyringBuilder};
#[cfg(feature = "aws-kms")]
pub use kms::{AwsSdkKms, AwsSdkKmsSupplier};
pub use multi::MultiKeyring;
pub use raw_aes::RawAesKeyring;
#[cfg(feature = "raw-ecdh")]
pub use raw_ecdh::{EcdhCurve, RawEcdhKeyring};
#[cfg(feature = "raw-rsa")]
pub use raw_rsa::{RawRsaKeyring, RawRsaKeyringBuilder, RsaPadding};
pub use report::{KeyReport, WrapFailure, WrappedBy};

/// A future on the heap, so that a trait with asynchronous methods can be used as `dyn`.
///
/// ```
/// let future: sealwax::keyring::BoxFuture<'_, u8> = Box::pin(async { 1 });
/// # drop(future);
/// ```
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Wraps and unwraps data keys.
///
/// A keyring returns what it adds and changes nothing it is given; what it returns on failure is an error that says
/// why and contains no secret. It needs no particular executor: a local keyring is ready at once, a remote one brings
/// what it needs.
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
/// /// Wraps by exclusive-or with a fixed pattern: an example of the interface, not of cryptography.
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
    /// A short name for reports and errors, such as `raw-aes://namespace/name`. No secrets.
    fn label(&self) -> Arc<str>;

    /// Generates a data key if there is none yet, and wraps it.
    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>>;

    /// Unwraps one of the encrypted data keys, trying those that are its own in their order.
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

/// What a keyring is asked when a message is written. [`Keyring`] has an example.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct WrapRequest<'a> {
    /// The primitives of the client.
    pub provider: &'a dyn CryptoProvider,
    /// The suite of the message, which says how long the data key is.
    pub suite: AlgorithmSuite,
    /// The encryption context, whole: a keyring binds the wrapped key to it.
    pub context: &'a EncryptionContext,
    /// The data key to wrap, if another keyring has generated it already.
    pub data_key: Option<&'a SecretBytes>,
}

impl<'a> WrapRequest<'a> {
    /// A request, for those who test keyrings or call them from one of their own.
    ///
    /// ```
    /// use sealwax::{AlgorithmSuite, EncryptionContext, crypto::RustCrypto, keyring::WrapRequest};
    ///
    /// let context = EncryptionContext::new();
    /// let request = WrapRequest::new(&RustCrypto, AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, &context);
    /// assert!(request.data_key.is_none());
    /// ```
    #[must_use]
    pub fn new(provider: &'a dyn CryptoProvider, suite: AlgorithmSuite, context: &'a EncryptionContext) -> Self {
        Self { provider, suite, context, data_key: None }
    }

    /// The same request for a data key that exists already.
    ///
    /// ```
    /// # use sealwax::{AlgorithmSuite, EncryptionContext, SecretBytes, crypto::RustCrypto, keyring::WrapRequest};
    /// # let context = EncryptionContext::new();
    /// # let request = WrapRequest::new(&RustCrypto, AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, &context);
    /// let key = SecretBytes::zeroed(32);
    /// assert!(request.for_key(&key).data_key.is_some());
    /// ```
    #[must_use]
    pub fn for_key<'b>(self, data_key: &'b SecretBytes) -> WrapRequest<'b>
    where
        'a: 'b,
    {
        WrapRequest { data_key: Some(data_key), ..self }
    }

    /// The data key to wrap: the one that exists already, or a new one, random and as long as the suite needs.
    /// [`Keyring`] has an example.
    ///
    /// # Errors
    /// [`Error::Provider`] without randomness.
    pub fn data_key_or_generate(&self) -> Result<PlaintextDataKey<'a>> {
        Ok(match self.data_key {
            Some(key) => PlaintextDataKey::Existing(key),
            None => PlaintextDataKey::Generated(self.provider.random_key(self.suite.data_key_length())?),
        })
    }
}

/// The data key that a keyring is to wrap: see [`WrapRequest::data_key_or_generate`]. [`Keyring`] has an example.
pub enum PlaintextDataKey<'a> {
    /// It existed already.
    Existing(&'a SecretBytes),
    /// It was generated for this message.
    Generated(SecretBytes),
}

impl PlaintextDataKey<'_> {
    /// The data key itself. [`Keyring`] has an example.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Existing(key) => key.as_bytes(),
            Self::Generated(key) => key.as_bytes(),
        }
    }

    /// What the keyring returns, once it has the wrapped form. [`Keyring`] has an example.
    #[must_use]
    pub fn wrapped_as(self, encrypted: EncryptedDataKey) -> Wrapped {
        match self {
            Self::Existing(_) => Wrapped::existing(encrypted),
            Self::Generated(key) => Wrapped::generated(key, encrypted),
        }
    }
}

/// What a keyring adds to a message that is written.
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
    /// The data key in wrapped form, once or several times.
    pub encrypted_data_keys: Vec<EncryptedDataKey>,
    /// Which keyrings wrote them. Only a keyring that asks others fills it in; that of any other is its own.
    pub report: KeyReport,
}

impl Wrapped {
    /// The report, which without one of its own says that all is the work of the keyring of this label.
    pub(crate) fn take_report(&mut self, label: impl FnOnce() -> Arc<str>) -> KeyReport {
        if self.report.is_empty() {
            self.report.add_wrapped(&label(), self.encrypted_data_keys.len());
        }
        std::mem::take(&mut self.report)
    }

    /// A data key that was generated, and its wrapped form.
    ///
    /// ```
    /// # use sealwax::{EncryptedDataKey, SecretBytes, keyring::Wrapped};
    /// let wrapped = Wrapped::generated(SecretBytes::zeroed(32), EncryptedDataKey::new("my-hsm", "slot-1", []));
    /// assert!(wrapped.data_key.is_some());
    /// ```
    #[must_use]
    pub fn generated(data_key: SecretBytes, encrypted: EncryptedDataKey) -> Self {
        Self { data_key: Some(data_key), encrypted_data_keys: vec![encrypted], report: KeyReport::default() }
    }

    /// The wrapped form of a data key that existed already.
    ///
    /// ```
    /// # use sealwax::{EncryptedDataKey, keyring::Wrapped};
    /// assert!(Wrapped::existing(EncryptedDataKey::new("my-hsm", "slot-1", [])).data_key.is_none());
    /// ```
    #[must_use]
    pub fn existing(encrypted: EncryptedDataKey) -> Self {
        Self { data_key: None, encrypted_data_keys: vec![encrypted], report: KeyReport::default() }
    }
}

/// What a keyring is asked when a message is read. [`Keyring`] has an example.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct UnwrapRequest<'a> {
    /// The primitives of the client.
    pub provider: &'a dyn CryptoProvider,
    /// The suite of the message, which says how long the data key is.
    pub suite: AlgorithmSuite,
    /// The encryption context, whole: what the message stores and what the caller reproduced.
    pub context: &'a EncryptionContext,
    /// The encrypted data keys of the message, in their order.
    pub encrypted_data_keys: &'a [EncryptedDataKey],
}

impl<'a> UnwrapRequest<'a> {
    /// A request, for those who test keyrings or call them from one of their own.
    ///
    /// ```
    /// use sealwax::{AlgorithmSuite, EncryptionContext, crypto::RustCrypto, keyring::UnwrapRequest};
    ///
    /// let context = EncryptionContext::new();
    /// let request = UnwrapRequest::new(&RustCrypto, AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, &context, &[]);
    /// assert!(request.encrypted_data_keys.is_empty());
    /// ```
    #[must_use]
    pub fn new(
        provider: &'a dyn CryptoProvider,
        suite: AlgorithmSuite,
        context: &'a EncryptionContext,
        encrypted_data_keys: &'a [EncryptedDataKey],
    ) -> Self {
        Self { provider, suite, context, encrypted_data_keys }
    }

    /// The encrypted data keys that `is_ours` accepts, with their positions. [`Keyring`] has an example.
    pub fn candidates(
        &self,
        is_ours: impl Fn(&EncryptedDataKey) -> bool,
    ) -> impl Iterator<Item = (usize, &'a EncryptedDataKey)> {
        self.encrypted_data_keys.iter().enumerate().filter(move |(_, key)| is_ours(key))
    }

    /// A record of what the keyring of this label tries. [`Keyring`] has an example.
    #[must_use]
    pub fn attempts(&self, keyring: Arc<str>) -> UnwrapAttempts {
        let data_key_length = self.suite.data_key_length();
        UnwrapAttempts { keyring, data_key_length, failure: UnwrapFailure::default() }
    }
}

/// The record of a keyring's attempts: see [`UnwrapRequest::attempts`]. [`Keyring`] has an example.
pub struct UnwrapAttempts {
    keyring: Arc<str>,
    data_key_length: usize,
    failure: UnwrapFailure,
}

impl UnwrapAttempts {
    /// Takes the outcome of one attempt. A data key of the right length ends the search; one of another length counts as
    /// no match, and the next is to be tried. [`Keyring`] has an example.
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

    /// The error when every attempt has failed, or there was none. [`Keyring`] has an example.
    #[must_use]
    pub fn into_error(mut self) -> Error {
        if self.failure.attempts().is_empty() {
            self.failure.add(self.keyring, None, UnwrapReason::NoMatch);
        }
        self.failure.into()
    }
}

/// The data key that a keyring unwrapped, and which of the encrypted data keys it came from.
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
    /// The position of the encrypted data key in the message, from 0.
    pub encrypted_data_key: usize,
    /// The label of the keyring that unwrapped it.
    pub keyring: Arc<str>,
}
