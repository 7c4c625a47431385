//! Materials managers: they assemble the keys and the context that a message is written or read with.
//!
//! [`DefaultMaterialsManager`] is what a client uses when it is given a keyring. [`CachingManager`] uses a data key for several
//! messages. A manager of one's own can add to the encryption context, or choose the keyring.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    context::EncryptionContext,
    crypto::{CryptoProvider, SigningKey, VerifyingKey},
    error::Result,
    format::EncryptedDataKey,
    keyring::{BoxFuture, KeyReport},
    secret::SecretBytes,
    suite::{AlgorithmSuite, CommitmentPolicy},
};

mod cache;
mod default;
mod required_context;

pub use cache::{
    Cache, CacheEntry, CacheId, CachingManager, CachingManagerBuilder, Clock, MemoryCache, MonotonicClock,
};
pub use default::DefaultMaterialsManager;
pub use required_context::RequiredContextManager;

/// Assembles materials.
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
/// /// Writes the name of the service into the context of every message.
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
    /// The materials to write a message with.
    fn encryption_materials<'a>(&'a self, request: EncryptionRequest<'a>)
    -> BoxFuture<'a, Result<EncryptionMaterials>>;

    /// The materials to read a message with.
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

/// What a materials manager is asked when a message is written. [`MaterialsManager`] has an example.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct EncryptionRequest<'a> {
    /// The primitives of the client.
    pub provider: &'a dyn CryptoProvider,
    /// The commitment policy of the client.
    pub policy: CommitmentPolicy,
    /// The suite the caller asks for, if any.
    pub suite: Option<AlgorithmSuite>,
    /// The caller's encryption context.
    pub context: &'a EncryptionContext,
    /// The keys of those context pairs that are to be authenticated but not stored in the message.
    pub required_context_keys: &'a BTreeSet<String>,
    /// The length of the plaintext in bytes, or a bound on it, if either is known.
    pub max_plaintext_length: Option<u64>,
}

static NO_KEYS: BTreeSet<String> = BTreeSet::new();

impl<'a> EncryptionRequest<'a> {
    /// A request without a suite or a length, for those who test managers.
    ///
    /// ```
    /// use sealwax::{CommitmentPolicy, EncryptionContext, crypto::RustCrypto, materials::EncryptionRequest};
    ///
    /// let context = EncryptionContext::new();
    /// let request = EncryptionRequest::new(&RustCrypto, CommitmentPolicy::default(), &context);
    /// assert!(request.suite.is_none());
    /// ```
    #[must_use]
    pub fn new(provider: &'a dyn CryptoProvider, policy: CommitmentPolicy, context: &'a EncryptionContext) -> Self {
        Self { provider, policy, suite: None, context, required_context_keys: &NO_KEYS, max_plaintext_length: None }
    }

    /// The same request for other keys that are not to be stored.
    ///
    /// ```
    /// use sealwax::{CommitmentPolicy, EncryptionContext, crypto::RustCrypto, materials::EncryptionRequest};
    ///
    /// let (context, keys) = (EncryptionContext::from([("tenant", "blue")]), ["tenant".to_owned()].into());
    /// let request = EncryptionRequest::new(&RustCrypto, CommitmentPolicy::default(), &context);
    /// assert_eq!(request.with_required_context_keys(&keys).required_context_keys.len(), 1);
    /// ```
    #[must_use]
    pub fn with_required_context_keys<'b>(self, keys: &'b BTreeSet<String>) -> EncryptionRequest<'b>
    where
        'a: 'b,
    {
        EncryptionRequest { required_context_keys: keys, ..self }
    }

    /// The same request for another context. [`MaterialsManager`] has an example.
    #[must_use]
    pub fn with_context<'b>(self, context: &'b EncryptionContext) -> EncryptionRequest<'b>
    where
        'a: 'b,
    {
        EncryptionRequest { context, ..self }
    }
}

/// What a message is written with. [`MaterialsManager`] has an example.
///
/// Specification: framework/structures, "Encryption Materials".
pub struct EncryptionMaterials {
    /// The suite.
    pub suite: AlgorithmSuite,
    /// The whole encryption context, with the public key of a signed message.
    pub context: EncryptionContext,
    /// The keys of those context pairs that are authenticated but not stored in the message.
    pub required_context_keys: BTreeSet<String>,
    /// The data key.
    pub data_key: SecretBytes,
    /// The data key in wrapped form, at least once.
    pub encrypted_data_keys: Vec<EncryptedDataKey>,
    /// The key that signs, if the suite signs.
    pub signing_key: Option<Arc<dyn SigningKey>>,
    /// Which keyrings wrapped the data key.
    pub key_report: KeyReport,
}

impl EncryptionMaterials {
    /// Another copy, for what is handed out several times.
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

/// What a materials manager is asked when a message is read. [`MaterialsManager`] has an example.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct DecryptionRequest<'a> {
    /// The primitives of the client.
    pub provider: &'a dyn CryptoProvider,
    /// The commitment policy of the client.
    pub policy: CommitmentPolicy,
    /// The suite of the message.
    pub suite: AlgorithmSuite,
    /// The context stored in the message.
    pub context: &'a EncryptionContext,
    /// The encrypted data keys of the message.
    pub encrypted_data_keys: &'a [EncryptedDataKey],
    /// The context the caller expects: what the message must carry, and what was authenticated but not stored.
    pub reproduced_context: &'a EncryptionContext,
}

impl<'a> DecryptionRequest<'a> {
    /// A request, for those who test managers.
    ///
    /// ```
    /// use sealwax::{
    ///     AlgorithmSuite, CommitmentPolicy, EncryptionContext, crypto::RustCrypto, materials::DecryptionRequest,
    /// };
    ///
    /// let (suite, context) = (AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, EncryptionContext::new());
    /// let request = DecryptionRequest::new(&RustCrypto, CommitmentPolicy::default(), suite, &context, &[], &context);
    /// assert!(request.encrypted_data_keys.is_empty());
    /// ```
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

/// What a message is read with. [`MaterialsManager`] has an example.
///
/// Specification: framework/structures, "Decryption Materials".
pub struct DecryptionMaterials {
    /// The suite, which must be that of the message.
    pub suite: AlgorithmSuite,
    /// The whole encryption context: what the message stores and what the caller reproduced.
    pub context: EncryptionContext,
    /// The keys of those context pairs that the caller reproduced and the message does not store.
    pub required_context_keys: BTreeSet<String>,
    /// The data key.
    pub data_key: SecretBytes,
    /// The key that verifies the signature, if the suite signs.
    pub verifying_key: Option<Arc<dyn VerifyingKey>>,
    /// Which encrypted data key the data key came from, and which keyring opened it.
    pub opened_by: OpenedBy,
}

impl DecryptionMaterials {
    /// Another copy, for what is handed out several times.
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

/// Which encrypted data key opened a message, and which keyring unwrapped it.
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
    /// The label of the keyring.
    pub keyring: Arc<str>,
    /// The position of the encrypted data key in the message, from 0.
    pub encrypted_data_key: usize,
}
