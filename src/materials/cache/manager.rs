//! The caching materials manager.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    Cache, CacheEntry, Clock, Content, MonotonicClock, Usage, UsageLimits,
    flight::{Flights, Taken},
    identity::Identity,
    metrics, shared_error,
};
use crate::{
    blocking::is_polled_once,
    error::{Direction, Error, Result},
    keyring::BoxFuture,
    materials::{
        DecryptionMaterials, DecryptionRequest, EncryptionMaterials, EncryptionRequest, MaterialsManager, OpenedBy,
    },
    suite::{AlgorithmSuite, KeyDerivation},
};

/// The most messages that one data key may encrypt.
const MAX_MESSAGES: u64 = 1 << 32;
/// The most bytes that one data key may encrypt.
const MAX_BYTES: u64 = (1 << 63) - 1;

/// Uses a data key for several messages, so that a key service is asked less often.
///
/// Materials that another manager makes are kept in a [`Cache`] and handed out again to requests that say the same, until one
/// of the limits is met: an age, a number of messages, a number of bytes. The limits on messages and bytes are exact, whatever
/// the number of threads; they are for encryption, while a data key that was unwrapped serves up to its age.
///
/// Caching is a compromise: fewer calls, for a data key that opens more than one message. Each message still has an encryption
/// key of its own, derived from the data key with the message's id.
///
/// # What answers what
///
/// A request to encrypt is answered by an entry for the same algorithm suite (or none asked for), the same encryption
/// context, and the same keys of it that are not to be stored; a request to decrypt by one for the same suite, encrypted
/// data keys, stored context, and expected context. Managers answer from each other's entries if they share both the cache
/// and the [partition](CachingManagerBuilder::partition), which otherwise is a random one.
///
/// At every hit the suite must be what is asked for and what the commitment policy allows, or other materials are made, which
/// take the entry's place. So clients with different policies, who ask for no suite, should have different partitions.
///
/// # What is not cached
///
/// - Suites without key derivation, which would use one key with colliding IVs.
/// - Encryption of a length that is not known: say a
///   [bound](crate::Encrypt::plaintext_length_bound), which is counted.
/// - Messages longer than [`max_bytes`](CachingManagerBuilder::max_bytes).
///
/// # Signed messages
///
/// With a signed suite the signing key is cached with the data key, so that all messages under one entry carry the same public
/// key and can be told to belong together. Signatures are as good as with a key for each; they cost half, since no key is
/// generated.
///
/// # Many at the same time
///
/// However many ask one manager for what is not in the cache, one of them calls the inner manager and all get what it brings, or an
/// error of the same kind. If the one goes away before that, another calls. Requests for other entries wait for
/// nobody. Nothing runs in the background, so that whoever calls must go on being polled, or be dropped: an operation that is
/// polled once and then kept makes the others wait with it.
///
/// # What is counted
///
/// With the feature `metrics`, for the recorder of the `metrics` crate that the program installs:
///
/// | name | kind | labels |
/// |---|---|---|
/// | `sealwax_cache_hits_total` | counter | `operation`: `encrypt`, `decrypt` |
/// | `sealwax_cache_misses_total` | counter | `operation` |
/// | `sealwax_cache_bypasses_total` | counter | `operation` |
/// | `sealwax_cache_inner_calls_total` | counter | `operation`; `outcome`: `ok`, `error` |
/// | `sealwax_cache_inner_call_seconds` | histogram | `operation` |
/// | `sealwax_cache_evictions_total` | counter | `cause`: `capacity`, `age` |
///
/// Hits, misses and bypasses are together the requests; a miss that waits for another's call makes none.
///
/// Specification: framework/caching-cmm.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use sealwax::{
///     Client,
///     keyring::RawAesKeyring,
///     materials::{CachingManager, DefaultMaterialsManager, MemoryCache},
/// };
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let cache = Arc::new(MemoryCache::new(100)?);
/// let manager = CachingManager::builder(DefaultMaterialsManager::new(keyring), cache, Duration::from_secs(300))
///     .max_messages(1_000)
///     .max_bytes(1 << 30)
///     .build()?;
///
/// let client = Client::new();
/// let first = client.encrypt_with(&manager).bytes(b"one").wait()?;
/// let second = client.encrypt_with(&manager).bytes(b"two").wait()?;
/// assert_eq!(first.header.encrypted_data_keys(), second.header.encrypted_data_keys());
/// assert_eq!(client.decrypt_with(&manager).bytes(&second.message).wait()?.plaintext, b"two");
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct CachingManager<M> {
    inner: M,
    cache: Arc<dyn Cache>,
    clock: Box<dyn Clock>,
    partition: String,
    max_age: Duration,
    max_age_incomplete: Option<Duration>,
    limits: UsageLimits,
    flights: Flights<Identity, Outcome>,
}

/// What a call of the inner manager brings for those who wait for it.
#[derive(Clone)]
enum Outcome {
    Entry(Arc<CacheEntry>),
    /// Materials that only one message may use.
    NotShared,
    Failed(Arc<Error>),
}

/// Configures a [`CachingManager`].
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use sealwax::{
///     keyring::RawAesKeyring,
///     materials::{CachingManager, DefaultMaterialsManager, MemoryCache},
/// };
///
/// let inner = DefaultMaterialsManager::new(RawAesKeyring::new("example", "key-1", vec![7; 32])?);
/// let cache = Arc::new(MemoryCache::new(100)?);
/// let refused = CachingManager::builder(inner, cache, Duration::ZERO).build();
/// assert!(refused.is_err());
/// # Ok::<(), sealwax::Error>(())
/// ```
#[must_use = "nothing is cached until the manager is built and used"]
pub struct CachingManagerBuilder<M> {
    inner: M,
    cache: Arc<dyn Cache>,
    clock: Box<dyn Clock>,
    partition: Option<String>,
    max_age: Duration,
    max_age_incomplete: Option<Duration>,
    limits: UsageLimits,
}

impl<M: MaterialsManager> CachingManager<M> {
    /// Configures a manager that keeps the materials of another for a time, from when they were made.
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    /// use sealwax::{
    ///     keyring::RawAesKeyring,
    ///     materials::{CachingManager, DefaultMaterialsManager, MemoryCache},
    /// };
    ///
    /// let inner = DefaultMaterialsManager::new(RawAesKeyring::new("example", "key-1", vec![7; 32])?);
    /// let cache = Arc::new(MemoryCache::new(100)?);
    /// let manager = CachingManager::builder(inner, cache, Duration::from_secs(60)).build()?;
    /// # let _ = manager;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn builder(inner: M, cache: Arc<dyn Cache>, max_age: Duration) -> CachingManagerBuilder<M> {
        CachingManagerBuilder {
            inner,
            cache,
            clock: Box::new(MonotonicClock),
            partition: None,
            max_age,
            max_age_incomplete: None,
            limits: UsageLimits { messages: MAX_MESSAGES, bytes: MAX_BYTES },
        }
    }
}

impl<M: MaterialsManager> CachingManagerBuilder<M> {
    /// How many messages one data key encrypts: 2^32 by default and at most.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use sealwax::{keyring::RawAesKeyring, materials::*};
    /// # let inner = DefaultMaterialsManager::new(RawAesKeyring::new("example", "key-1", vec![7; 32])?);
    /// # let cache = Arc::new(MemoryCache::new(100)?);
    /// let builder = CachingManager::builder(inner, cache, Duration::from_secs(60)).max_messages(1_000);
    /// # builder.build()?;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn max_messages(mut self, messages: u64) -> Self {
        self.limits.messages = messages;
        self
    }

    /// How many bytes of plaintext one data key encrypts: 2^63 - 1 by default and at most.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use sealwax::{keyring::RawAesKeyring, materials::*};
    /// # let inner = DefaultMaterialsManager::new(RawAesKeyring::new("example", "key-1", vec![7; 32])?);
    /// # let cache = Arc::new(MemoryCache::new(100)?);
    /// let builder = CachingManager::builder(inner, cache, Duration::from_secs(60)).max_bytes(1 << 30);
    /// # builder.build()?;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Caches a data key that not every keyring of a quorum could wrap, for this time after it was made.
    ///
    /// By default such a data key serves one message and is not cached: every message written under it would lack the
    /// key that failed, for as long as it is cached, even after that key is available again. With this option a key
    /// service that fails for a while does not cost a call per message; choose seconds.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use sealwax::{keyring::RawAesKeyring, materials::*};
    /// # let inner = DefaultMaterialsManager::new(RawAesKeyring::new("example", "key-1", vec![7; 32])?);
    /// # let cache = Arc::new(MemoryCache::new(100)?);
    /// let builder = CachingManager::builder(inner, cache, Duration::from_secs(300));
    /// let manager = builder.max_age_incomplete(Duration::from_secs(5)).build()?;
    /// # let _ = manager;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn max_age_incomplete(mut self, age: Duration) -> Self {
        self.max_age_incomplete = Some(age);
        self
    }

    /// The partition of the cache, without which it is one that no other manager has. Managers with the same partition and
    /// cache answer from each other's entries: give them the same only if their inner managers could stand in for each other,
    /// and the same [`clock`](Self::clock).
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use sealwax::{keyring::RawAesKeyring, materials::*};
    /// # let inner = DefaultMaterialsManager::new(RawAesKeyring::new("example", "key-1", vec![7; 32])?);
    /// # let cache = Arc::new(MemoryCache::new(100)?);
    /// let builder = CachingManager::builder(inner, cache, Duration::from_secs(60)).partition("invoices");
    /// # builder.build()?;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn partition(mut self, partition: impl Into<String>) -> Self {
        self.partition = Some(partition.into());
        self
    }

    /// The clock by which entries age, otherwise [`MonotonicClock`].
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use sealwax::{keyring::RawAesKeyring, materials::*};
    /// # let inner = DefaultMaterialsManager::new(RawAesKeyring::new("example", "key-1", vec![7; 32])?);
    /// # let cache = Arc::new(MemoryCache::new(100)?);
    /// let builder = CachingManager::builder(inner, cache, Duration::from_secs(60)).clock(|| Duration::from_secs(7));
    /// # builder.build()?;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// The manager.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a limit of zero, one that is above the most there is, or a partition that is empty or has a
    /// zero byte in it.
    pub fn build(self) -> Result<CachingManager<M>> {
        let Self { inner, cache, clock, partition, max_age, max_age_incomplete, limits } = self;
        let refuse = |why: String| Err(Error::Configuration(why));
        if max_age.is_zero() {
            return refuse("the age of a cached data key (max_age) must be more than zero".into());
        }
        if max_age_incomplete.is_some_and(|age| age.is_zero()) {
            return refuse("the age of an incomplete data key (max_age_incomplete) must be more than zero".into());
        }
        if !(1..=MAX_MESSAGES).contains(&limits.messages) {
            let found = limits.messages;
            return refuse(format!("a cached data key encrypts 1 to 2^32 messages (max_messages); not {found}"));
        }
        if !(1..=MAX_BYTES).contains(&limits.bytes) {
            let found = limits.bytes;
            return refuse(format!("a cached data key encrypts 1 to 2^63 - 1 bytes (max_bytes); not {found}"));
        }
        let partition = partition.unwrap_or_else(unique_partition);
        if partition.is_empty() || partition.contains('\0') {
            return refuse("the partition of a cache must not be empty, nor contain a zero byte".into());
        }
        let flights = Flights::new();
        Ok(CachingManager { inner, cache, clock, partition, max_age, max_age_incomplete, limits, flights })
    }
}

/// A partition that no other manager of this process has, and that nobody has chosen.
fn unique_partition() -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}-{}", random(), random(), MADE.fetch_add(1, Ordering::Relaxed))
}

/// Whether messages under the same data key have keys of their own.
fn derives_keys(suite: AlgorithmSuite) -> bool {
    !matches!(suite.derivation(), KeyDerivation::Identity)
}

/// Whether materials of a suite may answer a request to encrypt, whoever made them.
fn suits(suite: AlgorithmSuite, request: &EncryptionRequest<'_>) -> bool {
    request.policy.allows_encrypt(suite) && request.suite.is_none_or(|wanted| wanted == suite)
}

impl<M: MaterialsManager> CachingManager<M> {
    /// The length to count, if the request may be answered from the cache.
    fn length_to_count(&self, request: &EncryptionRequest<'_>) -> Option<u64> {
        request
            .max_plaintext_length
            .filter(|length| *length <= self.limits.bytes && request.suite.is_none_or(derives_keys))
    }

    async fn for_encryption(&self, request: EncryptionRequest<'_>) -> Result<EncryptionMaterials> {
        let EncryptionRequest { policy, suite, .. } = request;
        if let Some(suite) = suite
            && !policy.allows_encrypt(suite)
        {
            return Err(Error::Commitment { suite, policy, operation: Direction::Encrypt });
        }
        let Some(length) = self.length_to_count(&request) else {
            metrics::bypass(Direction::Encrypt);
            return metrics::inner_call(Direction::Encrypt, self.inner.encryption_materials(request)).await;
        };
        let identity = Identity::of_encryption(&self.partition, &request)?;
        if let Some(materials) = self.find_encryption(&identity, &request, length) {
            metrics::hit(Direction::Encrypt);
            return Ok(materials);
        }
        metrics::miss(Direction::Encrypt);
        // On the heap, so that a hit does not move what only a miss needs.
        Box::pin(self.load_encryption(identity, request, length)).await
    }

    fn find_encryption(
        &self,
        identity: &Identity,
        request: &EncryptionRequest<'_>,
        length: u64,
    ) -> Option<EncryptionMaterials> {
        let entry = self.cache.get(&identity.id, self.clock.now())?;
        let found = self.take_encryption(&entry, identity, request, length);
        if found.is_none() {
            self.cache.remove(&identity.id, &entry);
        }
        found
    }

    /// The materials of an entry, if it may serve one more message of this length; which is counted.
    fn take_encryption(
        &self,
        entry: &CacheEntry,
        identity: &Identity,
        request: &EncryptionRequest<'_>,
        length: u64,
    ) -> Option<EncryptionMaterials> {
        let Content::Encryption { materials, usage } = &entry.content else { return None };
        let serves = entry.is_for(identity, self.clock.now(), self.max_age) && suits(materials.suite, request);
        (serves && usage.reserve(length, self.limits)).then(|| materials.duplicate())
    }

    async fn load_encryption(
        &self,
        identity: Identity,
        request: EncryptionRequest<'_>,
        length: u64,
    ) -> Result<EncryptionMaterials> {
        let (identity, request) = (&identity, &request);
        let find = || self.find_encryption(identity, request, length).map(Ok);
        let load = || async {
            // Others will encrypt other lengths with it.
            let inner = EncryptionRequest { max_plaintext_length: None, ..*request };
            match metrics::inner_call(Direction::Encrypt, self.inner.encryption_materials(inner)).await {
                Err(error) => failed(error),
                Ok(materials) => {
                    let Some(age) = self.age_of(&materials, request) else {
                        return (Ok(materials), Outcome::NotShared);
                    };
                    let (own, usage) = (materials.duplicate(), Usage::default());
                    usage.reserve(length, self.limits);
                    let entry = self.keep(identity, Content::Encryption { materials, usage }, age);
                    (Ok(own), Outcome::Entry(entry))
                }
            }
        };
        let take = |outcome| match outcome {
            Outcome::Entry(entry) => taken(self.take_encryption(&entry, identity, request, length)),
            Outcome::NotShared => Taken::AskAlone,
            Outcome::Failed(error) => Taken::This(Err(error)),
        };
        self.flights.get(identity, find, load, take, may_wait).await.map_err(shared_error::own)
    }

    async fn for_decryption(&self, request: DecryptionRequest<'_>) -> Result<DecryptionMaterials> {
        let DecryptionRequest { policy, suite, .. } = request;
        if !policy.allows_decrypt(suite) {
            return Err(Error::Commitment { suite, policy, operation: Direction::Decrypt });
        }
        if !derives_keys(suite) {
            metrics::bypass(Direction::Decrypt);
            return metrics::inner_call(Direction::Decrypt, self.inner.decryption_materials(request)).await;
        }
        let identity = Identity::of_decryption(&self.partition, &request)?;
        if let Some(materials) = self.find_decryption(&identity, &request) {
            metrics::hit(Direction::Decrypt);
            return Ok(materials);
        }
        metrics::miss(Direction::Decrypt);
        Box::pin(self.load_decryption(identity, request)).await
    }

    fn find_decryption(&self, identity: &Identity, request: &DecryptionRequest<'_>) -> Option<DecryptionMaterials> {
        let entry = self.cache.get(&identity.id, self.clock.now())?;
        let found = self.take_decryption(&entry, identity, request);
        if found.is_none() {
            self.cache.remove(&identity.id, &entry);
        }
        found
    }

    fn take_decryption(
        &self,
        entry: &CacheEntry,
        identity: &Identity,
        request: &DecryptionRequest<'_>,
    ) -> Option<DecryptionMaterials> {
        let Content::Decryption { materials, opened } = &entry.content else { return None };
        if !entry.is_for(identity, self.clock.now(), self.max_age) || materials.suite != request.suite {
            return None;
        }
        let mut materials = materials.duplicate();
        let OpenedBy { encrypted_data_key: at, .. } = &mut materials.opened_by;
        // The same encrypted data keys can stand in another order.
        if let Some(opened) = opened
            && request.encrypted_data_keys.get(*at) != Some(opened)
        {
            *at = request.encrypted_data_keys.iter().position(|key| key == opened)?;
        }
        Some(materials)
    }

    async fn load_decryption(&self, identity: Identity, request: DecryptionRequest<'_>) -> Result<DecryptionMaterials> {
        let (identity, request) = (&identity, &request);
        let find = || self.find_decryption(identity, request).map(Ok);
        let load = || async {
            match metrics::inner_call(Direction::Decrypt, self.inner.decryption_materials(*request)).await {
                Err(error) => failed(error),
                Ok(materials) if materials.suite == request.suite => {
                    let own = materials.duplicate();
                    let opened = request.encrypted_data_keys.get(own.opened_by.encrypted_data_key).cloned();
                    let entry = self.keep(identity, Content::Decryption { materials, opened }, self.max_age);
                    (Ok(own), Outcome::Entry(entry))
                }
                Ok(materials) => (Ok(materials), Outcome::NotShared),
            }
        };
        let take = |outcome| match outcome {
            Outcome::Entry(entry) => taken(self.take_decryption(&entry, identity, request)),
            Outcome::NotShared => Taken::AskAlone,
            Outcome::Failed(error) => Taken::This(Err(error)),
        };
        self.flights.get(identity, find, load, take, may_wait).await.map_err(shared_error::own)
    }

    /// Returns for how long materials may be cached that were made for a request; none if they serve one message only.
    fn age_of(&self, materials: &EncryptionMaterials, request: &EncryptionRequest<'_>) -> Option<Duration> {
        if !derives_keys(materials.suite) || !suits(materials.suite, request) {
            return None;
        }
        if materials.key_report.failed().is_empty() {
            return Some(self.max_age);
        }
        // Materials made while a key was down must not be served for long: messages would go on lacking that key.
        self.max_age_incomplete.map(|age| age.min(self.max_age))
    }

    /// Puts what was brought into the cache, for this time.
    fn keep(&self, identity: &Identity, content: Content, age: Duration) -> Arc<CacheEntry> {
        let created = self.clock.now();
        let expires = created.saturating_add(age);
        let entry = Arc::new(CacheEntry { identity: *identity, created, expires, content });
        self.cache.put(identity.id, entry.clone());
        entry
    }
}

/// Whether the caller can wait for the call of another: not inside of `wait` on a thread of a runtime.
fn may_wait() -> bool {
    !is_polled_once()
}

fn failed<T>(error: Error) -> (Result<T, Arc<Error>>, Outcome) {
    let error = Arc::new(error);
    (Err(error.clone()), Outcome::Failed(error))
}

fn taken<T>(materials: Option<T>) -> Taken<Result<T, Arc<Error>>> {
    materials.map_or(Taken::AskAgain, |materials| Taken::This(Ok(materials)))
}

impl<M: MaterialsManager> MaterialsManager for CachingManager<M> {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(self.for_encryption(request))
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        Box::pin(self.for_decryption(request))
    }
}
