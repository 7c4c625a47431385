//! The hierarchical keyring.

use std::{sync::Arc, time::Duration};

use sealwax::{
    BoxError, Cause, EncryptedDataKey, EncryptionContext, Error, Escaped, Result, UnwrapReason,
    keyring::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped as WrappedKey},
    materials::{CacheId, MemoryCache, ValueCache},
};
use uuid::Uuid;

use super::{
    BranchKey, BranchKeyStore,
    identity::cache_id,
    item::{ACTIVE, version_type},
    wrapping::{PROVIDER_ID, Wrapped, wrap},
};

/// A cache of branch keys, which several [`AwsKmsHierarchicalKeyring`]s can share.
pub type BranchKeyCache = ValueCache<BranchKey>;

/// The number of branch keys that the cache of a keyring holds by default.
const CAPACITY: usize = 1000;

/// The longest time before the end of its age in which a branch key is refreshed.
const REFRESH: Duration = Duration::from_secs(10);

/// A source of branch key ids, for keyrings that use several branch keys.
///
/// Any closure from an encryption context to an id is one.
pub trait BranchKeyIdSupplier: Send + Sync {
    /// Returns the id of the branch key for a message with this encryption context.
    ///
    /// To decrypt, this is called **before** anything of the message is authenticated. The context
    /// contains the public key of a signed message.
    ///
    /// # Errors
    /// Any error, which fails the operation.
    fn branch_key_id(&self, context: &EncryptionContext) -> Result<String, BoxError>;
}

impl<F: Fn(&EncryptionContext) -> Result<String, BoxError> + Send + Sync> BranchKeyIdSupplier for F {
    fn branch_key_id(&self, context: &EncryptionContext) -> Result<String, BoxError> {
        self(context)
    }
}

/// A keyring that wraps data keys locally, under branch keys of a [`BranchKeyStore`] that it caches.
///
/// The key service is called once per branch key version and age, however many messages there are.
/// Each message has its own data key, wrapped under a key that is derived from the branch key with
/// a random salt.
///
/// The age is also the time for which a branch key can be used after access to its KMS key is
/// withdrawn, and for which messages are encrypted under the earlier version after a rotation.
/// Messages of either version decrypt at any time. In the last tenth of the age, and at most 10
/// seconds, one caller at a time refreshes a branch key; if that fails, the cached one is used until
/// the end of its age.
///
/// Specification: framework/aws-kms/aws-kms-hierarchical-keyring.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use sealwax::{Client, EncryptionContext};
/// use sealwax_aws::{AwsKmsHierarchicalKeyring, BranchKeyStore};
///
/// # fn example(store: Arc<BranchKeyStore>) -> sealwax::Result<()> {
/// let hour = Duration::from_secs(3600);
/// let keyring = AwsKmsHierarchicalKeyring::new(store.clone(), "orders", hour)?;
/// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
///
/// // A branch key for each tenant.
/// let of_tenant = |context: &EncryptionContext| Ok(context.get("tenant").ok_or("no tenant")?.to_owned());
/// let keyring = AwsKmsHierarchicalKeyring::with_supplier(store, of_tenant, hour)?;
/// let sealed = Client::new().encrypt(&keyring).context([("tenant", "blue")]).bytes(b"text").wait()?;
/// # let _ = sealed;
/// # Ok(())
/// # }
/// ```
pub struct AwsKmsHierarchicalKeyring {
    store: Arc<BranchKeyStore>,
    branch_key: Choice,
    max_age: Duration,
    partition: Vec<u8>,
    /// The cache id of the active version, for a keyring with one branch key.
    active: Option<CacheId>,
    cache: Arc<BranchKeyCache>,
    label: Arc<str>,
}

enum Choice {
    Id(String),
    Supplier(Box<dyn BranchKeyIdSupplier>),
}

impl AwsKmsHierarchicalKeyring {
    /// Creates a keyring for one branch key, which is cached for `max_age`.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the id is empty or longer than 65,535 bytes, or if `max_age` is
    /// zero.
    pub fn new(store: Arc<BranchKeyStore>, id: impl Into<String>, max_age: Duration) -> Result<Self> {
        let id = id.into();
        check_id(&id).map_err(|why| Error::Configuration(why.to_owned()))?;
        let label = format!("{PROVIDER_ID}:{store}&branch-key={}", Escaped(&id)).into();
        Self::build(store, Choice::Id(id), max_age, label)
    }

    /// Creates a keyring that chooses a branch key by the encryption context. Each is cached for
    /// `max_age`.
    ///
    /// # Errors
    /// [`Error::Configuration`] if `max_age` is zero.
    pub fn with_supplier(
        store: Arc<BranchKeyStore>,
        supplier: impl BranchKeyIdSupplier + 'static,
        max_age: Duration,
    ) -> Result<Self> {
        let label = format!("{PROVIDER_ID}:{store}").into();
        Self::build(store, Choice::Supplier(Box::new(supplier)), max_age, label)
    }

    fn build(store: Arc<BranchKeyStore>, branch_key: Choice, max_age: Duration, label: Arc<str>) -> Result<Self> {
        if max_age.is_zero() {
            return Err(Error::Configuration("the age of branch keys must be greater than zero".to_owned()));
        }
        let cache = Arc::new(BranchKeyCache::new(Arc::new(MemoryCache::new(CAPACITY)?)));
        let partition = Uuid::new_v4().into_bytes().to_vec();
        Ok(Self { store, branch_key, max_age, partition: Vec::new(), active: None, cache, label }.within(partition))
    }

    fn within(mut self, partition: Vec<u8>) -> Self {
        self.active = match &self.branch_key {
            Choice::Id(id) => Some(cache_id(&partition, self.store.logical_name(), id, None)),
            Choice::Supplier(_) => None,
        };
        Self { partition, ..self }
    }

    /// Sets the cache; by default a keyring has one of its own, for 1,000 branch keys.
    #[must_use]
    pub fn cache(self, cache: Arc<BranchKeyCache>) -> Self {
        Self { cache, ..self }
    }

    /// Sets the cache partition; by default a keyring has one of its own. Keyrings with the same
    /// cache, partition and logical key store name share branch keys. Then they also share what one
    /// of them may not be allowed to read.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the partition is empty or contains a zero byte.
    pub fn partition(self, partition: &str) -> Result<Self> {
        if partition.is_empty() || partition.contains('\0') {
            return Err(Error::Configuration(
                "the cache partition must not be empty or contain a zero byte".to_owned(),
            ));
        }
        Ok(self.within(partition.as_bytes().to_vec()))
    }

    fn id(&self, context: &EncryptionContext) -> Result<std::borrow::Cow<'_, str>, BoxError> {
        match &self.branch_key {
            Choice::Id(id) => Ok(id.into()),
            Choice::Supplier(supplier) => {
                let id = supplier.branch_key_id(context)?;
                check_id(&id)?;
                Ok(id.into())
            }
        }
    }

    /// Returns a branch key, from the cache if it is there: a version or, without one, the active
    /// one.
    async fn branch_key(&self, id: &str, version: Option<Uuid>) -> Result<Arc<BranchKey>, Cause> {
        let cache_id = match self.active {
            Some(active) if version.is_none() => active,
            _ => cache_id(&self.partition, self.store.logical_name(), id, version),
        };
        let load = || async {
            let kind = version.map_or_else(|| ACTIVE.to_owned(), version_type);
            Ok(self.store.read(id, kind).await?)
        };
        self.cache.get(cache_id, self.max_age, REFRESH.min(self.max_age / 10), load).await
    }

    async fn wrap(&self, request: WrapRequest<'_>) -> Result<WrappedKey> {
        let failed = |source| Error::Keyring { keyring: self.label.to_string(), source };
        let id = self.id(request.context).map_err(|error| failed(error.into()))?;
        let branch_key = self.branch_key(&id, None).await.map_err(failed)?;
        let data_key = request.data_key_or_generate()?;
        let wrapped = wrap(request.provider, &branch_key, request.context, data_key.as_bytes())?;
        Ok(data_key.wrapped_as(EncryptedDataKey::new(PROVIDER_ID, id.as_bytes(), wrapped)))
    }

    async fn unwrap(&self, request: UnwrapRequest<'_>) -> Result<Unwrapped> {
        let mut attempts = request.attempts(self.label.clone());
        let id = match self.id(request.context) {
            Ok(id) => id,
            Err(error) => {
                let mut failure = sealwax::UnwrapFailure::default();
                failure.add(self.label.clone(), None, UnwrapReason::Failed(error.into()));
                return Err(failure.into());
            }
        };
        let is_ours = |key: &EncryptedDataKey| key.provider_id() == PROVIDER_ID && key.provider_info() == id.as_bytes();
        for (index, key) in request.candidates(is_ours) {
            let outcome = match Wrapped::parse(key.ciphertext(), request.suite.data_key_length()) {
                None => Err(UnwrapReason::NotAuthentic),
                Some(wrapped) => match self.branch_key(&id, Some(Uuid::from_bytes(*wrapped.version))).await {
                    Err(cause) => Err(UnwrapReason::Failed(cause)),
                    Ok(key) => wrapped.open(request.provider, &key, request.context).map_err(|error| match error {
                        Error::Integrity => UnwrapReason::NotAuthentic,
                        other => UnwrapReason::Failed(other.into()),
                    }),
                },
            };
            if let Some(unwrapped) = attempts.record(index, outcome) {
                return Ok(unwrapped);
            }
        }
        Err(attempts.into_error())
    }
}

/// Checks an id, which a message contains as the provider information.
fn check_id(id: &str) -> Result<(), &'static str> {
    if (1..=usize::from(u16::MAX)).contains(&id.len()) {
        return Ok(());
    }
    Err("the id of a branch key must have 1 to 65,535 bytes")
}

impl Keyring for AwsKmsHierarchicalKeyring {
    fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<WrappedKey>> {
        Box::pin(self.wrap(request))
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(self.unwrap(request))
    }
}
