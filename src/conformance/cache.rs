//! The conformance suite for caches.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::Violation;
use crate::{
    blocking::Operation,
    context::EncryptionContext,
    crypto::RustCrypto,
    error::{Error, Result},
    keyring::RawAesKeyring,
    materials::{
        Cache, CacheEntry, CacheId, CachingManager, DefaultMaterialsManager, EncryptionRequest, MaterialsManager,
    },
    suite::{AlgorithmSuite, CommitmentPolicy},
};

/// Tests a cache against the rules of [`Cache`], also from several threads at once.
///
/// The cache must be empty and must not be used otherwise during the test. `capacity` is the
/// maximum number of entries of a bounded cache, which the suite then enforces.
///
/// # Errors
/// [`Error::Keyring`] with the keyring name `cache` and the [`Violation`] as its source.
///
/// ```
/// use sealwax::{conformance, materials::MemoryCache};
///
/// conformance::cache(&MemoryCache::new(16)?, Some(16))?;
/// # Ok::<(), sealwax::Error>(())
/// ```
pub fn cache(cache: &dyn Cache, capacity: Option<usize>) -> Result<()> {
    let outcome = one_at_a_time(cache).and_then(|()| bounded(cache, capacity)).and_then(|()| at_once(cache));
    outcome.map_err(|violation| Error::keyring("cache", violation))
}

type Outcome<T = ()> = Result<T, Violation>;

fn check(holds: bool, rule: &str) -> Outcome {
    if holds { Ok(()) } else { Err(Violation::new(rule)) }
}

/// The age limit of the suite's entries, which are made at time 0.
const AGE: Duration = Duration::from_secs(60);

/// A cache that records what a manager puts into it, and returns nothing.
#[derive(Default)]
struct Recorder(Mutex<Vec<(CacheId, Arc<CacheEntry>)>>);

impl Cache for Recorder {
    fn get(&self, _: &CacheId, _: Duration) -> Option<Arc<CacheEntry>> {
        None
    }

    fn put(&self, id: CacheId, entry: Arc<CacheEntry>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((id, entry));
    }

    fn remove(&self, _: &CacheId, _: &Arc<CacheEntry>) {}
}

/// Makes `count` real entries at time 0. An entry with an even index has the same id as the next
/// one.
fn entries(count: usize) -> Outcome<Vec<(CacheId, Arc<CacheEntry>)>> {
    let broken = |error: Error| Violation::new(format!("the suite itself failed: {error}"));
    let recorder = Arc::new(Recorder::default());
    let keyring = RawAesKeyring::new("conformance", "key", vec![1; 32]).map_err(broken)?;
    let manager = CachingManager::builder(DefaultMaterialsManager::new(keyring), recorder.clone(), AGE)
        .clock(|| Duration::ZERO)
        .build()
        .map_err(broken)?;
    for number in 0..count {
        let context = EncryptionContext::from([("number", (number / 2).to_string())]);
        let mut request = EncryptionRequest::new(&RustCrypto, CommitmentPolicy::default(), &context);
        request.suite = Some(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey);
        request.max_plaintext_length = Some(1);
        Operation::new(manager.encryption_materials(request)).wait().map_err(broken)?;
    }
    Ok(std::mem::take(&mut recorder.0.lock().unwrap_or_else(PoisonError::into_inner)))
}

fn has(cache: &dyn Cache, id: &CacheId, entry: &Arc<CacheEntry>) -> bool {
    cache.get(id, Duration::ZERO).is_some_and(|found| Arc::ptr_eq(&found, entry))
}

fn one_at_a_time(cache: &dyn Cache) -> Outcome {
    let entries = entries(4)?;
    let [(id, first), (same, second), (other, third), _] = &entries[..] else {
        return Err(Violation::new("the suite itself failed: it made another number of entries"));
    };
    check(id == same && id != other, "the suite itself failed: the ids are wrong")?;

    check(cache.get(id, Duration::ZERO).is_none(), "an entry that was never put must not be found")?;
    cache.put(*id, first.clone());
    check(has(cache, id, first), "an entry that was just put must be found")?;
    check(cache.get(other, Duration::ZERO).is_none(), "an entry must be found under its own id only")?;
    check(cache.get(id, AGE - Duration::from_nanos(1)).is_some(), "an entry must be found until it expires")?;
    check(cache.get(id, AGE).is_none(), "an expired entry must not be found")?;

    cache.put(*id, first.clone());
    cache.put(*id, second.clone());
    check(has(cache, id, second), "an entry must replace another with its id")?;
    cache.remove(id, first);
    check(has(cache, id, second), "an entry that has replaced the one to be removed must stay")?;
    cache.put(*other, third.clone());
    cache.remove(id, second);
    check(cache.get(id, Duration::ZERO).is_none(), "a removed entry must not be found")?;
    cache.remove(id, second);
    cache.remove(other, third);
    check(Arc::strong_count(second) == 1 && Arc::strong_count(third) == 1, "a removed entry must be dropped")
}

fn bounded(cache: &dyn Cache, capacity: Option<usize>) -> Outcome {
    let Some(capacity) = capacity else { return Ok(()) };
    let entries: Vec<_> = entries(2 * (capacity + 8))?.into_iter().step_by(2).collect();
    for (id, entry) in &entries {
        cache.put(*id, entry.clone());
        check(has(cache, id, entry), "an entry that was just put must be found, also in a full cache")?;
        let kept = entries.iter().filter(|(_, entry)| Arc::strong_count(entry) > 1).count();
        check(kept <= capacity, "a cache must not keep more entries than its capacity")?;
    }
    for (id, entry) in &entries {
        cache.remove(id, entry);
    }
    let kept = entries.iter().filter(|(_, entry)| Arc::strong_count(entry) > 1).count();
    check(kept == 0, "a removed entry must be dropped")
}

/// Puts, gets and removes the same few entries from several threads.
fn at_once(cache: &dyn Cache) -> Outcome {
    const THREADS: usize = 4;
    const ROUNDS: usize = 2_000;
    let entries = entries(8)?;
    let mixed_up = AtomicBool::new(false);
    let work = |first: usize| {
        for round in 0..ROUNDS {
            let (id, entry) = &entries[(first + round) % entries.len()];
            match (first + round / 3) % 3 {
                0 => cache.put(*id, entry.clone()),
                1 => cache.remove(id, entry),
                _ => {}
            }
            if let Some(found) = cache.get(id, Duration::ZERO) {
                let ours = entries.iter().any(|(other, entry)| other == id && Arc::ptr_eq(entry, &found));
                mixed_up.fetch_or(!ours, Ordering::Relaxed);
            }
        }
    };
    let finished = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || work(first))).collect();
        threads.into_iter().all(|thread| thread.join().is_ok())
    });
    check(finished, "a cache must not panic when used from several threads")?;
    check(!mixed_up.load(Ordering::Relaxed), "an entry must be found under its own id only, also from several threads")
}
