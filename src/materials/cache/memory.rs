//! The in-memory cache.

use std::{sync::Arc, time::Duration};

use super::{
    Cache, CacheEntry, CacheId,
    lru::{Lru, Put},
    metrics,
    sync::{Mutex, lock},
};
use crate::error::{Error, Result};

/// The number of least recently used entries that each lookup checks for expiry.
const PRUNED: usize = 2;

/// A bounded in-memory cache that evicts the least recently used entry.
///
/// Any number of threads and managers can share it. It is locked only during a lookup or a change,
/// never across an await.
///
/// An expired entry is removed when it is requested, when it has become the least recently used, or
/// by [`remove_expired`](Self::remove_expired). Its key is overwritten at that point. There is no
/// background thread.
///
/// Specification: framework/local-cryptographic-materials-cache,
/// framework/synchronized-local-cryptographic-materials-cache.
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
    /// Creates a cache for at most `capacity` entries.
    ///
    /// # Errors
    /// [`Error::Configuration`] if `capacity` is zero.
    pub fn new(capacity: usize) -> Result<Self> {
        if capacity == 0 {
            return Err(Error::Configuration("the cache capacity must be at least 1".into()));
        }
        Ok(Self { entries: Mutex::new(Lru::new(capacity)) })
    }

    /// Returns the number of entries, including expired ones.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Returns whether the cache has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all entries.
    pub fn clear(&self) {
        let gone = lock(&self.entries).take_all(|_| true);
        drop(gone);
    }

    /// Removes all entries that have expired at the time `now`.
    ///
    /// Call this periodically if keys must not stay in memory past their age while no requests
    /// arrive.
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

// Removed entries are dropped after the lock is released: dropping one may run a signing key's
// foreign code.
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
