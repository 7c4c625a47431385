//! The data key cache: its entries and where they are stored.
//!
//! [`CachingManager`] decides what is cached, for how long and for how much; a [`Cache`] only
//! stores it.
//!
//! The crates for concurrent caches are not used: they bring the bounded map, which is the easy
//! part. They lack exact usage counts that are updated with the hit, ages by a clock that tests can
//! set, followers that need no executor and can take over from a leader that is dropped, and keys
//! that are overwritten at eviction and not during some later maintenance. A hit holds the one lock
//! for a few hundred nanoseconds, while a message takes microseconds.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use self::{
    identity::Identity,
    usage::{Usage, UsageLimits},
    values::Value,
};
use super::{DecryptionMaterials, EncryptionMaterials};
use crate::format::EncryptedDataKey;

mod flight;
mod identity;
mod lru;
mod manager;
mod memory;
mod metrics;
mod sync;
mod usage;
mod values;

pub use manager::{CachingManager, CachingManagerBuilder};
pub use memory::MemoryCache;
pub use values::ValueCache;

/// A store of entries for one or more [`CachingManager`]s and [`ValueCache`]s.
///
/// A cache is a map that may drop any entry at any time and need not know what an entry is. The
/// managers check everything it returns: age, usage, suite, and that the entry is the requested
/// one.
///
/// Specification: framework/cryptographic-materials-cache.
///
/// ```
/// use std::{collections::HashMap, sync::{Arc, Mutex}, time::Duration};
/// use sealwax::{
///     Client,
///     keyring::RawAesKeyring,
///     materials::{Cache, CacheEntry, CacheId, CachingManager, DefaultMaterialsManager},
/// };
///
/// /// Drops expired entries only. Suitable if there are few different contexts.
/// #[derive(Default)]
/// struct Unbounded(Mutex<HashMap<CacheId, Arc<CacheEntry>>>);
///
/// impl Cache for Unbounded {
///     fn get(&self, id: &CacheId, now: Duration) -> Option<Arc<CacheEntry>> {
///         let mut entries = self.0.lock().unwrap();
///         entries.retain(|_, entry| !entry.is_expired(now));
///         entries.get(id).cloned()
///     }
///
///     fn put(&self, id: CacheId, entry: Arc<CacheEntry>) {
///         self.0.lock().unwrap().insert(id, entry);
///     }
///
///     fn remove(&self, id: &CacheId, entry: &Arc<CacheEntry>) {
///         let mut entries = self.0.lock().unwrap();
///         if entries.get(id).is_some_and(|found| Arc::ptr_eq(found, entry)) {
///             entries.remove(id);
///         }
///     }
/// }
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let cache = Arc::new(Unbounded::default());
/// let manager =
///     CachingManager::builder(DefaultMaterialsManager::new(keyring), cache.clone(), Duration::from_secs(60)).build()?;
/// Client::new().encrypt_with(&manager).bytes(b"text").wait()?;
/// assert_eq!(cache.0.lock().unwrap().len(), 1);
/// # Ok::<(), sealwax::Error>(())
/// ```
pub trait Cache: Send + Sync {
    /// Returns the entry with this id, unless it has expired at the time `now`.
    fn get(&self, id: &CacheId, now: Duration) -> Option<Arc<CacheEntry>>;

    /// Stores an entry, replacing any other with this id.
    fn put(&self, id: CacheId, entry: Arc<CacheEntry>);

    /// Removes this very entry. An entry that has replaced it stays.
    fn remove(&self, id: &CacheId, entry: &Arc<CacheEntry>);
}

/// The id of a cache entry: a SHA-384 digest of everything in a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheId([u8; 48]);

impl CacheId {
    /// Creates the id of a value in a [`ValueCache`] from a digest of everything that determines
    /// it.
    #[must_use]
    pub const fn new(digest: [u8; 48]) -> Self {
        Self(digest)
    }

    /// Returns the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 48] {
        &self.0
    }
}

impl fmt::Debug for CacheId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Cached materials, or another cached value, with their age and usage.
///
/// The key is overwritten once the cache and everyone else that holds the entry have dropped it.
pub struct CacheEntry {
    identity: Identity,
    created: Duration,
    expires: Duration,
    content: Content,
}

enum Content {
    Encryption {
        materials: EncryptionMaterials,
        usage: Usage,
    },
    Decryption {
        materials: DecryptionMaterials,
        /// The encrypted data key that was unwrapped. Its index can differ in another message.
        opened: Option<EncryptedDataKey>,
    },
    Value(Value),
}

impl CacheEntry {
    /// Returns whether the entry has expired at the time `now`, read from the managers' [`Clock`].
    #[must_use]
    pub fn is_expired(&self, now: Duration) -> bool {
        now >= self.expires
    }

    /// Returns whether the entry can answer the request at the time `now`, for a manager with this
    /// maximum age.
    fn is_for(&self, identity: &Identity, now: Duration, max_age: Duration) -> bool {
        self.identity == *identity && !self.is_expired(now) && now.saturating_sub(self.created) < max_age
    }
}

/// A source of time for a [`CachingManager`] or a [`ValueCache`].
///
/// Only differences matter: the clock returns the time since a fixed origin, which must be the same
/// for all managers that share entries. It must not go backwards. Any closure that returns a
/// [`Duration`] is a clock.
///
/// ```
/// use std::{sync::atomic::{AtomicU64, Ordering}, time::Duration};
/// use sealwax::materials::Clock;
///
/// static SECONDS: AtomicU64 = AtomicU64::new(0);
/// let clock = || Duration::from_secs(SECONDS.load(Ordering::Relaxed));
/// SECONDS.store(60, Ordering::Relaxed);
/// assert_eq!(clock.now(), Duration::from_secs(60));
/// ```
pub trait Clock: Send + Sync {
    /// Returns the time since the clock's origin.
    fn now(&self) -> Duration;
}

impl<F: Fn() -> Duration + Send + Sync> Clock for F {
    fn now(&self) -> Duration {
        self()
    }
}

/// The default clock: [`Instant`], which cannot be set.
///
/// On Linux and macOS it stops while the machine is suspended, so entries live that much longer. If
/// that matters, give the manager another clock.
///
/// ```
/// use sealwax::materials::{Clock, MonotonicClock};
///
/// let before = MonotonicClock.now();
/// assert!(MonotonicClock.now() >= before);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        START.elapsed()
    }
}
