//! Materials managers, which assemble the keys and the encryption context for each message.
//!
//! A client that is given a keyring uses [`DefaultMaterialsManager`]. [`CachingManager`] reuses a
//! data key for several messages, and [`RequiredContextManager`] keeps values of the encryption
//! context out of the message. A custom manager can add to the encryption context or choose the
//! keyring.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    context::EncryptionContext,
    crypto::{CryptoProvider, SigningKey, VerifyingKey},
    error::{Error, Result},
    format::EncryptedDataKey,
    keyring::{BoxFuture, KeyReport},
    secret::SecretBytes,
    suite::{AlgorithmSuite, CommitmentPolicy},
};

mod cache;
mod default;
mod required_context;

pub use cache::{
    Cache, CacheEntry, CacheId, CachingManager, CachingManagerBuilder, Clock, MemoryCache, MonotonicClock, ValueCache,
};
pub use default::DefaultMaterialsManager;
pub use required_context::RequiredContextManager;

/// A source of the cryptographic materials for messages.
///
/// Specification: framework/cmm-interface.
///
/// ```
/// use sealwax::{
///     Client, Result,
///     keyring::{BoxFuture, RawAesKeyring},
///     materials::{
///         DecryptionMaterials, DecryptionRequest, DefaultMaterialsManager, EncryptionMaterials, EncryptionRequest,
///         MaterialsManager,
///     },
/// };
///
/// /// Adds the name of the service to the context of every message.
/// struct Stamped(DefaultMaterialsManager<RawAesKeyring>);
///
/// impl MaterialsManager for Stamped {
///     fn encryption_materials<'a>(&'a self, request: EncryptionRequest<'a>) -> BoxFuture<'a, Result<EncryptionMaterials>> {
///         Box::pin(async move {
///             let mut context = request.context.clone();
///             context.insert("service", "billing");
///             self.0.encryption_materials(request.with_context(&context)).await
///         })
///     }
///
///     fn decryption_materials<'a>(&'a self, request: DecryptionRequest<'a>) -> BoxFuture<'a, Result<DecryptionMaterials>> {
///         self.0.decryption_materials(request)
///     }
/// }
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let manager = Stamped(DefaultMaterialsManager::new(keyring));
/// let sealed = Client::new().encrypt_with(&manager).bytes(b"text").wait()?;
/// assert_eq!(sealed.header.context().get("service"), Some("billing"));
/// # Ok::<(), sealwax::Error>(())
/// ```
pub trait MaterialsManager: Send + Sync {
    /// Returns the materials to encrypt a message with.
    fn encryption_materials<'a>(&'a self, request: EncryptionRequest<'a>)
    -> BoxFuture<'a, Result<EncryptionMaterials>>;

    /// Returns the materials to decrypt a message with.
    fn decryption_materials<'a>(&'a self, request: DecryptionRequest<'a>)
    -> BoxFuture<'a, Result<DecryptionMaterials>>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<M: MaterialsManager + ?Sized> MaterialsManager for $pointer {
            fn encryption_materials<'a>(
                &'a self,
                request: EncryptionRequest<'a>,
            ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
                (**self).encryption_materials(request)
            }

            fn decryption_materials<'a>(
                &'a self,
                request: DecryptionRequest<'a>,
            ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
                (**self).decryption_materials(request)
            }
        }
    )*};
}

forward!(&M, Box<M>, Arc<M>);

/// A request for the materials to encrypt a message.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct EncryptionRequest<'a> {
    /// The client's cryptographic primitives.
    pub provider: &'a dyn CryptoProvider,
    /// The client's commitment policy.
    pub policy: CommitmentPolicy,
    /// The algorithm suite the caller asked for, if any.
    pub suite: Option<AlgorithmSuite>,
    /// The caller's encryption context.
    pub context: &'a EncryptionContext,
    /// The keys of the context entries that are authenticated but not stored in the message.
    pub required_context_keys: &'a BTreeSet<String>,
    /// The plaintext length in bytes, or an upper bound on it, if known.
    pub max_plaintext_length: Option<u64>,
}

static NO_KEYS: BTreeSet<String> = BTreeSet::new();

impl<'a> EncryptionRequest<'a> {
    /// Creates a request without a suite or a length, for testing managers or calling one from
    /// another.
    #[must_use]
    pub fn new(provider: &'a dyn CryptoProvider, policy: CommitmentPolicy, context: &'a EncryptionContext) -> Self {
        Self { provider, policy, suite: None, context, required_context_keys: &NO_KEYS, max_plaintext_length: None }
    }

    /// Returns this request with other required context keys.
    #[must_use]
    pub fn with_required_context_keys<'b>(self, keys: &'b BTreeSet<String>) -> EncryptionRequest<'b>
    where
        'a: 'b,
    {
        EncryptionRequest { required_context_keys: keys, ..self }
    }

    /// Returns this request with another encryption context.
    #[must_use]
    pub fn with_context<'b>(self, context: &'b EncryptionContext) -> EncryptionRequest<'b>
    where
        'a: 'b,
    {
        EncryptionRequest { context, ..self }
    }
}

/// The materials that a message is encrypted with.
///
/// Specification: framework/structures, "Encryption Materials".
pub struct EncryptionMaterials {
    /// The algorithm suite.
    pub suite: AlgorithmSuite,
    /// The whole encryption context, including the public key of a signed message.
    pub context: EncryptionContext,
    /// The keys of the context entries that are authenticated but not stored in the message.
    pub required_context_keys: BTreeSet<String>,
    /// The data key.
    pub data_key: SecretBytes,
    /// The wrapped data key, at least once.
    pub encrypted_data_keys: Vec<EncryptedDataKey>,
    /// The signing key, if the suite signs.
    pub signing_key: Option<Arc<dyn SigningKey>>,
    /// Which keyrings wrapped the data key.
    pub key_report: KeyReport,
}

impl EncryptionMaterials {
    /// Checks what holds for all materials a message can be written with, whichever keyring or
    /// manager they come from.
    pub(crate) fn check(&self) -> Result<()> {
        if self.encrypted_data_keys.is_empty() {
            return Err(Error::Materials("there is no encrypted data key"));
        }
        check_data_key(&self.data_key, self.suite)
    }

    /// Returns a copy, for materials that serve several messages.
    fn duplicate(&self) -> Self {
        Self {
            suite: self.suite,
            context: self.context.clone(),
            required_context_keys: self.required_context_keys.clone(),
            data_key: self.data_key.duplicate(),
            encrypted_data_keys: self.encrypted_data_keys.clone(),
            signing_key: self.signing_key.clone(),
            key_report: self.key_report.clone(),
        }
    }
}

/// A request for the materials to decrypt a message.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct DecryptionRequest<'a> {
    /// The client's cryptographic primitives.
    pub provider: &'a dyn CryptoProvider,
    /// The client's commitment policy.
    pub policy: CommitmentPolicy,
    /// The message's algorithm suite.
    pub suite: AlgorithmSuite,
    /// The encryption context stored in the message.
    pub context: &'a EncryptionContext,
    /// The message's encrypted data keys.
    pub encrypted_data_keys: &'a [EncryptedDataKey],
    /// The context that the caller expects. It must match what the message stores, and supplies
    /// what was authenticated but not stored.
    pub reproduced_context: &'a EncryptionContext,
}

impl<'a> DecryptionRequest<'a> {
    /// Creates a request, for testing managers or calling one from another.
    #[must_use]
    pub fn new(
        provider: &'a dyn CryptoProvider,
        policy: CommitmentPolicy,
        suite: AlgorithmSuite,
        context: &'a EncryptionContext,
        encrypted_data_keys: &'a [EncryptedDataKey],
        reproduced_context: &'a EncryptionContext,
    ) -> Self {
        Self { provider, policy, suite, context, encrypted_data_keys, reproduced_context }
    }
}

/// The materials that a message is decrypted with.
///
/// Specification: framework/structures, "Decryption Materials".
pub struct DecryptionMaterials {
    /// The algorithm suite, which must be the message's.
    pub suite: AlgorithmSuite,
    /// The whole encryption context: what the message stores and what the caller supplied.
    pub context: EncryptionContext,
    /// The keys of the context entries that the caller supplied and the message does not store.
    pub required_context_keys: BTreeSet<String>,
    /// The data key.
    pub data_key: SecretBytes,
    /// The key that verifies the signature, if the suite signs.
    pub verifying_key: Option<Arc<dyn VerifyingKey>>,
    /// The encrypted data key that the data key came from, and the keyring that unwrapped it.
    pub opened_by: OpenedBy,
}

impl DecryptionMaterials {
    /// Checks what holds for all materials that can open a message with this number of encrypted
    /// data keys, whichever keyring or manager they come from.
    pub(crate) fn check(&self, encrypted_data_keys: usize) -> Result<()> {
        if self.opened_by.encrypted_data_key >= encrypted_data_keys {
            return Err(Error::Materials(
                "the data key comes from an encrypted data key that the message does not have",
            ));
        }
        check_data_key(&self.data_key, self.suite)
    }

    /// Returns a copy, for materials that serve several messages.
    fn duplicate(&self) -> Self {
        Self {
            suite: self.suite,
            context: self.context.clone(),
            required_context_keys: self.required_context_keys.clone(),
            data_key: self.data_key.duplicate(),
            verifying_key: self.verifying_key.clone(),
            opened_by: self.opened_by.clone(),
        }
    }
}

/// The encrypted data key that opened a message, and the keyring that unwrapped it.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let sealed = client.encrypt(&keyring).bytes(b"text").wait()?;
/// let opened = client.decrypt(&keyring).bytes(&sealed.message).wait()?;
/// assert_eq!(&*opened.opened_by.keyring, "raw-aes://example/key-1");
/// assert_eq!(opened.opened_by.encrypted_data_key, 0);
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedBy {
    /// The keyring's label.
    pub keyring: Arc<str>,
    /// The index of the encrypted data key in the message, from 0.
    pub encrypted_data_key: usize,
}

fn check_data_key(data_key: &SecretBytes, suite: AlgorithmSuite) -> Result<()> {
    if data_key.len() != suite.data_key_length() {
        return Err(Error::Materials("the data key has the wrong length for the algorithm suite"));
    }
    Ok(())
}
