//! The core of the data-key cache under a model of threads: the actual sources of the flights, the
//! map and the usage counts, over locks whose every interleaving the model chooses, ten thousand
//! times at random and by priorities.
//!
//! `SEALWAX_MODEL_ROUNDS` sets the number of rounds.

use std::{
    collections::HashMap,
    env,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
};

use shuttle::{Config, Runner, future, scheduler::PctScheduler, scheduler::RandomScheduler};

/// Replaces the module of the same name with locks of the model.
mod sync {
    pub(super) use shuttle::sync::{Mutex, MutexGuard};

    pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }
}

#[allow(dead_code, reason = "the model needs a part of it")]
#[path = "../src/materials/cache/flight.rs"]
mod flight;
#[allow(dead_code, reason = "the model needs a part of it")]
#[path = "../src/materials/cache/lru.rs"]
mod lru;
#[path = "../src/materials/cache/usage.rs"]
mod usage;

use flight::{Flights, Taken};
use lru::Lru;
use sync::{Mutex, lock};
use usage::{Usage, UsageLimits};

const LIMITS: UsageLimits = UsageLimits { messages: 2, bytes: 10 };
const MAX_AGE: u64 = 5;

/// An entry of the model: a number in place of a key, with its age and usage.
struct Entry {
    key: u64,
    created: u64,
    usage: Usage,
}

/// A minimal manager, which uses its parts as the real one does.
struct Model {
    flights: Flights<u8, Result<Arc<Entry>, u64>>,
    cache: Mutex<Lru<u8, Arc<Entry>>>,
    /// The time, and the calls made so far; reading and setting them is not a step of the model.
    now: AtomicU64,
    calls: AtomicU64,
    /// The number of calls in progress for each id.
    flying: [AtomicUsize; 2],
    /// Whether every second call fails.
    failing: bool,
    /// How often, and for how many bytes, each key was returned.
    used: std::sync::Mutex<HashMap<u64, (u64, u64)>>,
}

impl Model {
    fn new(capacity: usize, failing: bool) -> Arc<Self> {
        Arc::new(Self {
            flights: Flights::new(),
            cache: Mutex::new(Lru::new(capacity)),
            now: AtomicU64::new(1),
            calls: AtomicU64::new(0),
            flying: Default::default(),
            failing,
            used: Default::default(),
        })
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    fn find(&self, id: u8, bytes: u64) -> Option<u64> {
        let now = self.now();
        let entry = {
            let mut cache = lock(&self.cache);
            let expired = |entry: &Arc<Entry>| now >= entry.created + MAX_AGE;
            cache.remove_if(&id, expired);
            cache.remove_oldest_if(expired);
            cache.get(&id).cloned()
        }?;
        let found = self.take(&entry, bytes);
        if found.is_none() {
            lock(&self.cache).remove_if(&id, |other| Arc::ptr_eq(other, &entry));
        }
        found
    }

    fn take(&self, entry: &Entry, bytes: u64) -> Option<u64> {
        (self.now() < entry.created + MAX_AGE && entry.usage.reserve(bytes, LIMITS)).then_some(entry.key)
    }

    async fn load(&self, id: u8, bytes: u64) -> (Result<u64, u64>, Result<Arc<Entry>, u64>) {
        let flying = &self.flying[usize::from(id)];
        let guard = Flying(flying, flying.fetch_add(1, Ordering::SeqCst));
        assert_eq!(guard.1, 0, "one call for an id at a time");
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        // The call lets other threads run first.
        future::yield_now().await;
        drop(guard);
        if self.failing && call % 2 == 1 {
            return (Err(call), Err(call));
        }
        let entry = Arc::new(Entry { key: call, created: self.now(), usage: Usage::default() });
        assert!(entry.usage.reserve(bytes, LIMITS));
        let put = lock(&self.cache).put(id, entry.clone());
        drop((put.replaced, put.evicted));
        (Ok(call), Ok(entry))
    }

    async fn get(&self, id: u8, bytes: u64) -> Result<u64, u64> {
        let asked = self.now();
        let outcome = match self.find(id, bytes) {
            Some(key) => Ok(key),
            None => {
                let find = || self.find(id, bytes).map(Ok);
                let take = |outcome: Result<Arc<Entry>, u64>| match outcome {
                    Ok(entry) => self.take(&entry, bytes).map_or(Taken::AskAgain, |key| Taken::This(Ok(key))),
                    Err(call) => Taken::This(Err(call)),
                };
                self.flights.get(&id, find, || self.load(id, bytes), take, || true).await
            }
        };
        if let Ok(key) = outcome {
            let mut used = self.used.lock().unwrap();
            let (messages, sum) = used.entry(key).or_default();
            (*messages, *sum) = (*messages + 1, *sum + bytes);
            assert!(*messages <= LIMITS.messages && *sum <= LIMITS.bytes, "a key served more than it may");
        }
        assert!(asked <= self.now());
        outcome
    }
}

struct Flying<'a>(&'a AtomicUsize, usize);

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Runs a scenario in many interleavings, half of them at random and half by changing priorities. A
/// lost wake-up is a deadlock, which the model detects.
fn explore(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    let rounds = env::var("SEALWAX_MODEL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5_000);
    Runner::new(RandomScheduler::new(rounds), Config::default()).run(scenario.clone());
    Runner::new(PctScheduler::new(3, rounds), Config::default()).run(scenario);
}

/// Polls a future this many times, then drops it.
async fn poll_times<F: Future>(future: F, times: usize) {
    let (mut future, mut left) = (Box::pin(future), times);
    poll_fn(|context| {
        if left == 0 || future.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn one_call_serves_all_who_ask_at_the_same_time() {
    explore(|| {
        let model = Model::new(2, false);
        let asking: Vec<_> = (0..2)
            .map(|_| {
                let model = model.clone();
                shuttle::thread::spawn(move || future::block_on(model.get(0, 1)))
            })
            .collect();
        let keys: Vec<_> = asking.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect();
        assert_eq!(keys, [1, 1]);
        assert_eq!(model.calls.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn no_key_serves_more_than_it_may() {
    explore(|| {
        let model = Model::new(2, false);
        let asking: Vec<_> = [3, 7, 4, 6]
            .map(|bytes| {
                let model = model.clone();
                shuttle::thread::spawn(move || future::block_on(model.get(0, bytes)))
            })
            .into();
        for thread in asking {
            thread.join().unwrap().unwrap();
        }
        let used = model.used.lock().unwrap();
        assert_eq!(used.values().map(|(messages, _)| messages).sum::<u64>(), 4);
        assert!((2..=4).contains(&used.len()));
    });
}

#[test]
fn expiry_and_eviction_go_with_everything_else() {
    explore(|| {
        // Room for one entry, two ids, and a clock that advances.
        let model = Model::new(1, false);
        let mut threads: Vec<_> = [(0, 1), (1, 1), (0, 2)]
            .map(|(id, bytes)| {
                let model = model.clone();
                shuttle::thread::spawn(move || {
                    for _ in 0..2 {
                        future::block_on(model.get(id, bytes)).unwrap();
                    }
                })
            })
            .into();
        let clock = model.clone();
        threads.push(shuttle::thread::spawn(move || {
            for _ in 0..2 {
                clock.now.fetch_add(MAX_AGE, Ordering::SeqCst);
                shuttle::thread::yield_now();
            }
        }));
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(lock(&model.cache).len() <= 1);
    });
}

#[test]
fn nobody_is_left_waiting_when_the_first_gives_up() {
    explore(|| {
        let model = Model::new(2, false);
        // Two give up after any number of polls; two do not.
        let quitters = [0, 1].map(|times| {
            let model = model.clone();
            shuttle::thread::spawn(move || future::block_on(poll_times(model.get(0, 1), times)))
        });
        let others = [0, 1].map(|_| {
            let model = model.clone();
            shuttle::thread::spawn(move || future::block_on(model.get(0, 1)))
        });
        for thread in others {
            thread.join().unwrap().unwrap();
        }
        for thread in quitters {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_failure_reaches_all_who_waited_and_nobody_after() {
    explore(|| {
        let model = Model::new(2, true);
        let asking = [0, 1, 2].map(|_| {
            let model = model.clone();
            shuttle::thread::spawn(move || future::block_on(model.get(0, 1)))
        });
        let outcomes = asking.map(|thread| thread.join().unwrap());
        assert!(outcomes.contains(&Err(1)), "the first call fails: {outcomes:?}");
        assert!(outcomes.iter().all(|outcome| [Err(1), Ok(2), Err(3)].contains(outcome)), "{outcomes:?}");
        assert!(model.calls.load(Ordering::SeqCst) <= 3);
    });
}

#[test]
fn the_map_forgets_what_was_used_least_recently() {
    // Without threads, compared with a list that is simple enough to be right.
    let (mut lru, mut list) = (Lru::new(4), Vec::<(u8, u32)>::new());
    let mut state = 1_u32;
    for round in 0..20_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (key, what) = ((state >> 16) as u8 % 7, (state >> 24) % 5);
        let place = list.iter().position(|(other, _)| *other == key);
        match what {
            0 => {
                assert_eq!(lru.remove(&key), place.map(|place| list.remove(place).1));
            }
            1 | 2 => {
                let put = lru.put(key, round);
                assert_eq!(put.replaced, place.map(|place| list.remove(place).1));
                assert_eq!(put.evicted, (list.len() == 4).then(|| list.remove(0).1));
                list.push((key, round));
            }
            3 => {
                let goes = list.first().is_some_and(|(_, value)| value % 2 == 0);
                assert_eq!(lru.remove_oldest_if(|value| value % 2 == 0), goes.then(|| list.remove(0).1));
            }
            _ => {
                let found = place.map(|place| list.remove(place));
                list.extend(found);
                assert_eq!(lru.get(&key).copied(), found.map(|(_, value)| value));
            }
        }
        assert_eq!(lru.len(), list.len());
    }
    assert_eq!(lru.take_all(|_| true).len(), list.len());
}
