//! The cache for values that are not materials, such as the wrapping keys that a keyring fetches.

use std::{any::Any, sync::Arc, time::Duration};

use super::{
    Cache, CacheEntry, CacheId, Clock, Content, MonotonicClock,
    flight::{Flights, Joined, Taken},
    identity::Identity,
    metrics,
    sync::{Mutex, lock},
};
use crate::{
    blocking::is_polled_once,
    error::{BoxError, Cause},
};

/// The time after a failed refresh before the next one.
const RETRY: Duration = Duration::from_secs(1);

/// A cache of values that are expensive to load, for keyrings that fetch wrapping keys from a
/// service.
///
/// Values are stored in any [`Cache`], which can be one that [`CachingManager`]s use too. Everything
/// that shares this value shares its entries and its calls:
///
/// - Calls are single-flight: of several callers that miss the same id, the leader loads the value
///   and the others await its result. If the leader is dropped, another takes its place.
/// - Towards the end of its age, a value is refreshed by one caller, while the others are served
///   the value. If the refresh fails, that caller is served it too, and the next attempt is made
///   after a second. No value is served after its age.
/// - A failure is reported to every caller that waited for it, and is not stored: the next caller
///   loads again at once.
///
/// Hits, misses and calls are counted like those of a [`CachingManager`], with the operation
/// `wrapping-key`.
///
/// [`CachingManager`]: super::CachingManager
/// [`CachingManager`s]: super::CachingManager
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use sealwax::{Operation, materials::{CacheId, MemoryCache, ValueCache}};
///
/// let keys = ValueCache::new(Arc::new(MemoryCache::new(1000)?));
/// let id = CacheId::new([7; 48]);
/// let get = || keys.get(id, Duration::from_secs(60), Duration::from_secs(6), async || Ok(vec![1, 2, 3]));
/// # let wait = |future| Operation::new(async { Ok::<_, sealwax::Error>(Box::pin(future).await) }).wait().unwrap();
/// let first: Arc<Vec<u8>> = wait(get()).unwrap();
/// let second = wait(get()).unwrap();
/// assert!(Arc::ptr_eq(&first, &second));
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct ValueCache<V> {
    cache: Arc<dyn Cache>,
    clock: Box<dyn Clock>,
    flights: Flights<CacheId, Result<Arc<V>, Cause>>,
}

/// A cached value.
pub(super) struct Value {
    value: Arc<dyn Any + Send + Sync>,
    /// The earliest time of the next refresh.
    refresh: Mutex<Duration>,
}

/// A value that may be served, and its entry.
struct Found<V> {
    value: Arc<V>,
    entry: Arc<CacheEntry>,
    /// Whether it is time to refresh it.
    is_due: bool,
}

/// How long a caller accepts a value.
#[derive(Clone, Copy)]
struct Age {
    max: Duration,
    refresh: Duration,
}

impl<V: Send + Sync + 'static> ValueCache<V> {
    /// Creates a cache that stores its values in `cache`.
    #[must_use]
    pub fn new(cache: Arc<dyn Cache>) -> Self {
        Self { cache, clock: Box::new(MonotonicClock), flights: Flights::new() }
    }

    /// Sets the clock by which values age; [`MonotonicClock`] by default.
    #[must_use]
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        Self { clock: Box::new(clock), ..self }
    }

    /// Returns the value with this id, from the cache if it is younger than `max_age` and otherwise
    /// from `load`. In the last part of that age, `refresh`, one caller at a time loads it again.
    ///
    /// The age counts from the time before `load` was called.
    ///
    /// # Errors
    /// The error of `load`, if there is no value to serve.
    pub async fn get<F>(
        &self,
        id: CacheId,
        max_age: Duration,
        refresh: Duration,
        load: impl Fn() -> F,
    ) -> Result<Arc<V>, Cause>
    where
        F: Future<Output = Result<V, BoxError>>,
    {
        let age = Age { max: max_age, refresh };
        let Some(found) = self.find(&id, age) else {
            metrics::miss(metrics::WRAPPING_KEY);
            // Boxed, so that a hit does not move the state that only a miss needs.
            return Box::pin(self.load_shared(id, age, load)).await;
        };
        metrics::hit(metrics::WRAPPING_KEY);
        // A caller that cannot wait could only fail to refresh it.
        if !found.is_due || is_polled_once() {
            return Ok(found.value);
        }
        Box::pin(self.refresh(id, age, found, load)).await
    }

    /// Returns the value with this id if it may be served.
    fn find(&self, id: &CacheId, age: Age) -> Option<Found<V>> {
        let now = self.clock.now();
        let entry = self.cache.get(id, now)?;
        let found = Self::serve(entry.clone(), id, age, now);
        if found.is_none() {
            self.cache.remove(id, &entry);
        }
        found
    }

    fn serve(entry: Arc<CacheEntry>, id: &CacheId, age: Age, now: Duration) -> Option<Found<V>> {
        let Content::Value(Value { value, refresh }) = &entry.content else { return None };
        // By this caller's own limit: another one may have stored it and allow more.
        if !entry.is_for(&Identity::of_value(*id), now, age.max) {
            return None;
        }
        let value = value.clone().downcast().ok()?;
        let end = entry.expires.min(entry.created.saturating_add(age.max));
        let is_due = end.saturating_sub(now) <= age.refresh && now >= *lock(refresh);
        Some(Found { value, entry, is_due })
    }

    /// Loads a value and stores it.
    async fn load<F: Future<Output = Result<V, BoxError>>>(
        &self,
        id: CacheId,
        age: Age,
        load: impl Fn() -> F,
    ) -> Result<Arc<V>, Cause> {
        let created = self.clock.now();
        let value = Arc::new(metrics::inner_call(metrics::WRAPPING_KEY, load()).await.map_err(Cause::from)?);
        let content = Content::Value(Value { value: value.clone(), refresh: Mutex::new(Duration::ZERO) });
        let (identity, expires) = (Identity::of_value(id), created.saturating_add(age.max));
        self.cache.put(id, Arc::new(CacheEntry { identity, created, expires, content }));
        Ok(value)
    }

    async fn load_shared<F: Future<Output = Result<V, BoxError>>>(
        &self,
        id: CacheId,
        age: Age,
        load: impl Fn() -> F,
    ) -> Result<Arc<V>, Cause> {
        let find = || self.find(&id, age).map(|found| Ok(found.value));
        let load = || async {
            let loaded = self.load(id, age, &load).await;
            (loaded.clone(), loaded)
        };
        self.flights.get(&id, find, load, Taken::This, || !is_polled_once()).await
    }

    async fn refresh<F: Future<Output = Result<V, BoxError>>>(
        &self,
        id: CacheId,
        age: Age,
        found: Found<V>,
        load: impl Fn() -> F,
    ) -> Result<Arc<V>, Cause> {
        let Joined::Leader(leader) = self.flights.join(&id) else { return Ok(found.value) };
        // An earlier refresh may have ended since the caller's lookup.
        if let Some(newer) = self.find(&id, age).filter(|newer| !newer.is_due) {
            return Ok(newer.value);
        }
        let loaded = self.load(id, age, load).await;
        if let (Err(_), Content::Value(value)) = (&loaded, &found.entry.content) {
            *lock(&value.refresh) = self.clock.now().saturating_add(RETRY);
        }
        leader.finish(loaded.clone());
        // The call may have taken so long that the value must not be served any more.
        loaded
            .or_else(|cause| Self::serve(found.entry, &id, age, self.clock.now()).map(|found| found.value).ok_or(cause))
    }
}
