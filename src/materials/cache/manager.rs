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
    metrics,
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

/// The upper limit for the number of messages under one data key.
const MAX_MESSAGES: u64 = 1 << 32;
/// The upper limit for the number of plaintext bytes under one data key.
const MAX_BYTES: u64 = (1 << 63) - 1;

/// A manager that uses a data key for several messages, to make fewer calls to a key service.
///
/// It stores the materials that another manager makes in a [`Cache`] and returns them again for
/// equal requests, until they reach a limit: an age, a number of messages or a number of bytes. The
/// limits on messages and bytes are exact for any number of threads. They apply to encryption; an
/// unwrapped data key is limited by age only.
///
/// Caching is a trade-off: fewer calls, but a data key that opens more than one message. Each
/// message still has its own encryption key, derived from the data key and the message id.
///
/// # Which entry answers which request
///
/// An encryption request is answered by an entry with the same algorithm suite (or none requested),
/// encryption context and required context keys. A decryption request is answered by an entry with
/// the same suite, encrypted data keys, stored context and expected context. Managers share entries
/// if they share both the cache and the [partition](CachingManagerBuilder::partition), which is
/// random by default.
///
/// At every hit, the suite must be the requested one and the commitment policy must allow it;
/// otherwise new materials replace the entry. Clients that request no suite and have different
/// policies should therefore use different partitions.
///
/// # What is not cached
///
/// - Suites without key derivation, because their messages would share one key, and their IVs would
///   collide.
/// - Encryption of an unknown plaintext length. Set a
///   [bound](crate::Encrypt::plaintext_length_bound), which is then counted.
/// - Messages longer than [`max_bytes`](CachingManagerBuilder::max_bytes).
///
/// # Signed messages
///
/// With a signed suite, the signing key is cached with the data key. All messages under one entry
/// have the same public key, so they can be linked to each other. The signatures are as strong as
/// with one key per message, and cost half as much because no key is generated.
///
/// # Concurrent requests
///
/// Calls are single-flight: when several requests to one manager miss the same entry, the leader
/// calls the inner manager and the followers await its result. If the call fails, every one of them
/// gets an error of the same kind. If the leader is dropped, a follower takes its place. Requests
/// for other entries do not wait.
///
/// Nothing runs in the background, so the leader's future must be polled to completion or dropped.
/// While an operation is kept but not polled, its followers wait.
///
/// # Metrics
///
/// With the feature `metrics`, the manager and [`MemoryCache`](super::MemoryCache) report to the
/// recorder that the program installs for the `metrics` crate:
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
/// Every request is a hit, a miss or a bypass. A miss that waits for another request's call makes
/// none itself. A [`ValueCache`](super::ValueCache) reports the same with the operation
/// `wrapping-key`.
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

/// The outcome of a call of the inner manager, for the followers.
#[derive(Clone)]
enum Outcome {
    Entry(Arc<CacheEntry>),
    /// The materials are for one message only.
    NotShared,
    Failed(Error),
}

/// A builder for a [`CachingManager`], made by [`CachingManager::builder`].
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
    /// Returns a builder for a manager that caches the materials of `inner` for `max_age`, from
    /// when they were made.
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
    /// Sets the maximum number of messages that one data key encrypts: 2^32 by default and at most.
    pub fn max_messages(mut self, messages: u64) -> Self {
        self.limits.messages = messages;
        self
    }

    /// Sets the maximum number of plaintext bytes that one data key encrypts: 2^63 - 1 by default
    /// and at most.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Caches a data key that some keyrings of a quorum failed to wrap, for this time after it was
    /// made.
    ///
    /// By default such a data key encrypts one message and is not cached: every message encrypted
    /// with it would lack the key that failed, for as long as it is cached, even after that key is
    /// available again. With this option a temporary failure of a key service does not cost one
    /// call per message. Choose a few seconds.
    pub fn max_age_incomplete(mut self, age: Duration) -> Self {
        self.max_age_incomplete = Some(age);
        self
    }

    /// Sets the cache partition. By default a manager has a partition of its own.
    ///
    /// Managers with the same partition and cache share entries. Give them the same partition only
    /// if their inner managers are interchangeable, and then the same [`clock`](Self::clock).
    pub fn partition(mut self, partition: impl Into<String>) -> Self {
        self.partition = Some(partition.into());
        self
    }

    /// Sets the clock by which entries age; [`MonotonicClock`] by default.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Builds the manager.
    ///
    /// # Errors
    /// [`Error::Configuration`] if a limit is zero or too high, or if the partition is empty or
    /// contains a zero byte.
    pub fn build(self) -> Result<CachingManager<M>> {
        let Self { inner, cache, clock, partition, max_age, max_age_incomplete, limits } = self;
        let refuse = |why: String| Err(Error::Configuration(why));
        if max_age.is_zero() {
            return refuse("max_age must be greater than zero".into());
        }
        if max_age_incomplete.is_some_and(|age| age.is_zero()) {
            return refuse("max_age_incomplete must be greater than zero".into());
        }
        if !(1..=MAX_MESSAGES).contains(&limits.messages) {
            let found = limits.messages;
            return refuse(format!("max_messages must be 1 to 2^32, not {found}"));
        }
        if !(1..=MAX_BYTES).contains(&limits.bytes) {
            let found = limits.bytes;
            return refuse(format!("max_bytes must be 1 to 2^63 - 1, not {found}"));
        }
        let partition = partition.unwrap_or_else(unique_partition);
        if partition.is_empty() || partition.contains('\0') {
            return refuse("the cache partition must not be empty or contain a zero byte".into());
        }
        let flights = Flights::new();
        Ok(CachingManager { inner, cache, clock, partition, max_age, max_age_incomplete, limits, flights })
    }
}

/// Returns a partition that no other manager of this process has and that no caller can have
/// chosen.
fn unique_partition() -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}-{}", random(), random(), MADE.fetch_add(1, Ordering::Relaxed))
}

/// Returns whether each message under a data key has a key of its own.
fn derives_keys(suite: AlgorithmSuite) -> bool {
    !matches!(suite.derivation(), KeyDerivation::Identity)
}

/// Returns whether materials with this suite may answer an encryption request, whichever manager
/// made them.
fn suits(suite: AlgorithmSuite, request: &EncryptionRequest<'_>) -> bool {
    request.policy.allows_encrypt(suite) && request.suite.is_none_or(|wanted| wanted == suite)
}

impl<M: MaterialsManager> CachingManager<M> {
    /// Returns the length to count, or `None` if the request must not be answered from the cache.
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
        // Boxed, so that a hit does not move the state that only a miss needs.
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

    /// Counts one more message of this length and returns the entry's materials, if the entry may
    /// serve it.
    fn take_encryption(
        &self,
        entry: &CacheEntry,
        identity: &Identity,
        request: &EncryptionRequest<'_>,
        length: u64,
    ) -> Option<EncryptionMaterials> {
        let Content::Encryption { materials, usage } = &entry.content else { return None };
        // By this manager's own limits: another one may share the entry and allow more.
        let max_age = self.age_of(materials, request)?;
        let serves = entry.is_for(identity, self.clock.now(), max_age);
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
            // Later requests will use the materials for other lengths.
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
            // The policy is the leader's own.
            Outcome::Failed(Error::Commitment { .. }) => Taken::AskAlone,
            Outcome::Failed(error) => Taken::This(Err(error)),
        };
        self.flights.get(identity, find, load, take, may_wait).await
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
        // The same encrypted data keys can be in another order.
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
                Ok(materials)
                    if materials.suite == request.suite
                        && materials.check(request.encrypted_data_keys.len()).is_ok() =>
                {
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
            // The policy is the leader's own.
            Outcome::Failed(Error::Commitment { .. }) => Taken::AskAlone,
            Outcome::Failed(error) => Taken::This(Err(error)),
        };
        self.flights.get(identity, find, load, take, may_wait).await
    }

    /// Returns how long the materials may be cached, or `None` if they may serve one message only.
    fn age_of(&self, materials: &EncryptionMaterials, request: &EncryptionRequest<'_>) -> Option<Duration> {
        // What no message can be written with is not kept: a keyring that failed once may be well
        // by the next request.
        if !derives_keys(materials.suite) || !suits(materials.suite, request) || materials.check().is_err() {
            return None;
        }
        if materials.key_report.failed().is_empty() {
            return Some(self.max_age);
        }
        // Caching these for long would leave that many more messages without the key that failed.
        self.max_age_incomplete.map(|age| age.min(self.max_age))
    }

    /// Stores materials in the cache for the time `age`.
    fn keep(&self, identity: &Identity, content: Content, age: Duration) -> Arc<CacheEntry> {
        let created = self.clock.now();
        let expires = created.saturating_add(age);
        let entry = Arc::new(CacheEntry { identity: *identity, created, expires, content });
        self.cache.put(identity.id, entry.clone());
        entry
    }
}

/// Returns whether the caller can wait for another's call. Inside `wait` on a thread of a runtime
/// it cannot.
fn may_wait() -> bool {
    !is_polled_once()
}

fn failed<T>(error: Error) -> (Result<T>, Outcome) {
    (Err(error.clone()), Outcome::Failed(error))
}

fn taken<T>(materials: Option<T>) -> Taken<Result<T>> {
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
