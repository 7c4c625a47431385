//! One call for many who wait for its outcome.
//!
//! Whoever asks first flies; the others wait for the landing. Nothing runs in the background: the first drives its own
//! future, and if that is dropped, one of those who wait goes first in its place. No lock is held while anything is
//! awaited.
//!
//! This file imports nothing from the crate, so that `tests/caching_model.rs` can run it under a model of threads.

use std::{
    collections::HashMap,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::sync::{Mutex, lock};

/// The calls that are under way, each under its key.
pub(super) struct Flights<K, O> {
    flying: Mutex<HashMap<K, Arc<Flight<O>>>>,
}

/// What those who waited are told.
#[derive(Clone)]
pub(super) enum Landing<O> {
    /// How the call ended.
    Done(O),
    /// The first gave up: whoever waited asks again.
    Abandoned,
}

struct Flight<O> {
    state: Mutex<State<O>>,
}

struct State<O> {
    landing: Option<Landing<O>>,
    /// One place for each who waits.
    wakers: Vec<Option<Waker>>,
}

/// Who asked, in the order of asking.
pub(super) enum Joined<'a, K: Eq + Hash, O> {
    First(First<'a, K, O>),
    Other(Other<O>),
}

impl<K: Eq + Hash + Clone, O: Clone> Flights<K, O> {
    pub(super) fn new() -> Self {
        Self { flying: Mutex::new(HashMap::new()) }
    }

    /// Takes part in the call under this key, as the first if there is none.
    pub(super) fn join(&self, key: &K) -> Joined<'_, K, O> {
        let mut flying = lock(&self.flying);
        if let Some(flight) = flying.get(key) {
            return Joined::Other(Other { flight: flight.clone(), place: None });
        }
        let flight = Arc::new(Flight { state: Mutex::new(State { landing: None, wakers: Vec::new() }) });
        flying.insert(key.clone(), flight.clone());
        Joined::First(First { flights: self, key: key.clone(), flight, landing: None })
    }

    /// What one call of `load` brings for all who ask at the same time, for those whose own search was in vain.
    ///
    /// `load` gives its own answer and what the others are told; `take` is what each of the others makes of that. What is
    /// to be kept, `load` must put where `find` finds it. A caller for which `may_wait` is false is never made to wait for
    /// another.
    pub(super) async fn get<T, F: Future<Output = (T, O)>>(
        &self,
        key: &K,
        find: impl Fn() -> Option<T>,
        load: impl Fn() -> F,
        take: impl Fn(O) -> Taken<T>,
        may_wait: impl Fn() -> bool,
    ) -> T {
        loop {
            match self.join(key) {
                Joined::First(first) => {
                    // An earlier call may have landed since the search: its result was there before it stopped flying.
                    if let Some(found) = find() {
                        return found;
                    }
                    let (own, others) = load().await;
                    first.land(others);
                    return own;
                }
                // A caller that cannot wait loads for itself, and shares nothing.
                Joined::Other(_) if !may_wait() => return load().await.0,
                Joined::Other(other) => {
                    let Landing::Done(outcome) = other.await else { continue };
                    match take(outcome) {
                        Taken::This(answer) => return answer,
                        Taken::AskAgain => {}
                        Taken::AskAlone => return load().await.0,
                    }
                }
            }
        }
    }
}

/// What one who waited makes of the outcome of another's call.
pub(super) enum Taken<T> {
    This(T),
    AskAgain,
    /// Nobody can share: each makes a call of its own.
    AskAlone,
}

/// The one who makes the call. Dropped without landing, it wakes the others to try.
pub(super) struct First<'a, K: Eq + Hash, O> {
    flights: &'a Flights<K, O>,
    key: K,
    flight: Arc<Flight<O>>,
    landing: Option<Landing<O>>,
}

impl<K: Eq + Hash, O> First<'_, K, O> {
    /// Tells the others how the call ended.
    pub(super) fn land(mut self, outcome: O) {
        self.landing = Some(Landing::Done(outcome));
    }
}

impl<K: Eq + Hash, O> Drop for First<'_, K, O> {
    fn drop(&mut self) {
        // Whoever is woken must not find this flight again.
        lock(&self.flights.flying).remove(&self.key);
        let wakers = {
            let mut state = lock(&self.flight.state);
            state.landing = Some(self.landing.take().unwrap_or(Landing::Abandoned));
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// One who waits for the landing.
pub(super) struct Other<O> {
    flight: Arc<Flight<O>>,
    place: Option<usize>,
}

impl<O: Clone> Future for Other<O> {
    type Output = Landing<O>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Landing<O>> {
        let flight = self.flight.clone();
        let mut state = lock(&flight.state);
        if let Some(landing) = &state.landing {
            return Poll::Ready(landing.clone());
        }
        let waker = Some(context.waker().clone());
        match self.place.and_then(|place| state.wakers.get_mut(place)) {
            Some(place) => *place = waker,
            None => {
                self.place = Some(state.wakers.len());
                state.wakers.push(waker);
            }
        }
        Poll::Pending
    }
}

impl<O> Drop for Other<O> {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && let Some(place) = lock(&self.flight.state).wakers.get_mut(place)
        {
            *place = None;
        }
    }
}
