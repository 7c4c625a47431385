//! The cache of data keys: where entries are kept, and what they are.
//!
//! [`CachingManager`] decides what is cached, for how long and for how much; a [`Cache`] only keeps it.
//!
//! The crates for concurrent caches are not used. Theirs is the part that is small here, a bounded map; what is not small they
//! do not have: a usage that is counted with the hit, and exactly; an age by a clock that tests set; waiters that need no
//! executor, and a waiter that takes over from one who has gone; keys that are overwritten at the eviction and not at some later
//! maintenance. A hit holds the one lock for some hundred nanoseconds, beside a message that takes microseconds.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use self::{
    identity::Identity,
    usage::{Usage, UsageLimits},
};
use super::{DecryptionMaterials, EncryptionMaterials};
use crate::format::EncryptedDataKey;

mod flight;
mod identity;
mod lru;
mod manager;
mod memory;
mod metrics;
mod shared_error;
mod sync;
mod usage;

pub use manager::{CachingManager, CachingManagerBuilder};
pub use memory::MemoryCache;

/// Keeps entries for one or several [`CachingManager`]s.
///
/// A cache is a map that may forget anything at any time; it need not know what an entry is. The managers check again whatever
/// it gives them: age, usage, suite, and that the entry is the one asked for.
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
/// /// Never forgets but what has expired. Right where there are few different contexts.
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
    /// The entry with this id, if there is one that is not expired at this time.
    fn get(&self, id: &CacheId, now: Duration) -> Option<Arc<CacheEntry>>;

    /// Keeps an entry, in the place of any other with this id.
    fn put(&self, id: CacheId, entry: Arc<CacheEntry>);

    /// Forgets this very entry; another that has taken its place by now stays.
    fn remove(&self, id: &CacheId, entry: &Arc<CacheEntry>);
}

/// The id of an entry: a SHA-384 digest of all that a request for materials says. [`Cache`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheId([u8; 48]);

impl CacheId {
    /// The digest.
    ///
    /// ```
    /// use sealwax::materials::CacheId;
    ///
    /// fn shard(id: &CacheId) -> u8 {
    ///     id.as_bytes()[0] % 16
    /// }
    /// # let _ = shard;
    /// ```
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

/// Materials in a cache, with their age and usage. The key in it is overwritten when the cache and the last of those who look
/// at it have dropped it. [`Cache`] has an example.
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
        /// The encrypted data key that was opened: in another message it can have another place.
        opened: Option<EncryptedDataKey>,
    },
}

impl CacheEntry {
    /// Whether it must no longer be used at this time, which is that of the managers' [`Clock`].
    #[must_use]
    pub fn is_expired(&self, now: Duration) -> bool {
        now >= self.expires
    }

    /// Whether it can serve a request at this time, for a manager whose entries may be so old.
    fn is_for(&self, identity: &Identity, now: Duration, max_age: Duration) -> bool {
        self.identity == *identity && !self.is_expired(now) && now.saturating_sub(self.created) < max_age
    }
}

/// Tells the time to a [`CachingManager`].
///
/// Only differences count: the time since some moment, which must be the same for all managers that share entries. It must not go
/// backwards. A closure is a clock.
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
    /// The time since that moment.
    fn now(&self) -> Duration;
}

impl<F: Fn() -> Duration + Send + Sync> Clock for F {
    fn now(&self) -> Duration {
        self()
    }
}

/// The clock that is used if no other is given: [`Instant`], which nobody can set.
///
/// On Linux and macOS it stands still while the machine is suspended, so that entries live that much longer. Where that
/// matters, give the manager a clock of another kind.
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
