//! The cache in memory.

use std::{sync::Arc, time::Duration};

use super::{
    Cache, CacheEntry, CacheId,
    lru::{Lru, Put},
    metrics,
    sync::{Mutex, lock},
};
use crate::error::{Error, Result};

/// How many of the least recently used entries are looked at for expired ones at each access.
const PRUNED: usize = 2;

/// A bounded cache in memory, which forgets what was used least recently.
///
/// Any number of threads and managers share it. It is locked for the time of a look-up, never while anything is waited for.
///
/// Expired entries go when they are asked for, when they have become the least recently used, or with
/// [`remove_expired`](Self::remove_expired); their keys are overwritten then. There is no thread in the background.
///
/// Specification: framework/local-cryptographic-materials-cache, framework/synchronized-local-cryptographic-materials-cache.
///
/// ```
/// use sealwax::materials::MemoryCache;
///
/// let cache = MemoryCache::new(100)?;
/// assert_eq!(cache.len(), 0);
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct MemoryCache {
    entries: Mutex<Lru<CacheId, Arc<CacheEntry>>>,
}

impl MemoryCache {
    /// A cache for so many entries.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a capacity of zero.
    ///
    /// ```
    /// use sealwax::materials::MemoryCache;
    ///
    /// assert!(MemoryCache::new(1).is_ok());
    /// assert!(MemoryCache::new(0).is_err());
    /// ```
    pub fn new(capacity: usize) -> Result<Self> {
        if capacity == 0 {
            return Err(Error::Configuration("the capacity of a cache must be at least 1".into()));
        }
        Ok(Self { entries: Mutex::new(Lru::new(capacity)) })
    }

    /// How many entries there are, expired ones included.
    ///
    /// ```
    /// # use sealwax::materials::MemoryCache;
    /// assert_eq!(MemoryCache::new(1)?.len(), 0);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Whether there are no entries at all.
    ///
    /// ```
    /// # use sealwax::materials::MemoryCache;
    /// assert!(MemoryCache::new(1)?.is_empty());
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything.
    ///
    /// ```
    /// # use sealwax::materials::MemoryCache;
    /// MemoryCache::new(1)?.clear();
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn clear(&self) {
        let gone = lock(&self.entries).take_all(|_| true);
        drop(gone);
    }

    /// Forgets all that is expired at this time. To be called now and then where keys must not stay in memory after their
    /// time although nobody asks for anything.
    ///
    /// ```
    /// use sealwax::materials::{Clock, MemoryCache, MonotonicClock};
    ///
    /// let cache = MemoryCache::new(100)?;
    /// cache.remove_expired(MonotonicClock.now());
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn remove_expired(&self, now: Duration) {
        let gone = lock(&self.entries).take_all(|entry| entry.is_expired(now));
        metrics::evicted("age", gone.len());
    }
}

// What is forgotten is dropped after the lock: a signing key may be anyone's.
impl Cache for MemoryCache {
    fn get(&self, id: &CacheId, now: Duration) -> Option<Arc<CacheEntry>> {
        let expired = |entry: &Arc<CacheEntry>| entry.is_expired(now);
        let mut gone = [const { None }; PRUNED + 1];
        let found = {
            let mut entries = lock(&self.entries);
            gone[0] = entries.remove_if(id, expired);
            for place in &mut gone[1..] {
                *place = entries.remove_oldest_if(expired);
            }
            entries.get(id).cloned()
        };
        metrics::evicted("age", gone.iter().flatten().count());
        found
    }

    fn put(&self, id: CacheId, entry: Arc<CacheEntry>) {
        let Put { replaced, evicted } = lock(&self.entries).put(id, entry);
        metrics::evicted("capacity", usize::from(evicted.is_some()));
        drop((replaced, evicted));
    }

    fn remove(&self, id: &CacheId, entry: &Arc<CacheEntry>) {
        let gone = lock(&self.entries).remove_if(id, |found| Arc::ptr_eq(found, entry));
        drop(gone);
    }
}
