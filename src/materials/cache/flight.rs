//! Single-flight calls: the leader makes the call, the followers await its result.
//!
//! Nothing runs in the background. The leader drives its own future; if that is dropped, one of the
//! followers becomes the leader. No lock is held across an await.
//!
//! This file imports nothing from the crate, so that `tests/caching_model.rs` can run it under a
//! model checker.

use std::{
    collections::HashMap,
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::sync::{Mutex, lock};

/// The calls in progress, by key.
pub(super) struct Flights<K, O> {
    in_progress: Mutex<HashMap<K, Arc<Flight<O>>>>,
}

/// The outcome of a call, as the followers see it.
#[derive(Clone)]
pub(super) enum Outcome<O> {
    /// The call ended with this result.
    Done(O),
    /// The leader was dropped before it finished; each follower joins again.
    Abandoned,
}

struct Flight<O> {
    state: Mutex<State<O>>,
}

struct State<O> {
    outcome: Option<Outcome<O>>,
    /// One slot for each follower.
    wakers: Vec<Option<Waker>>,
}

/// The caller's role in a call.
pub(super) enum Joined<'a, K: Eq + Hash, O> {
    Leader(Leader<'a, K, O>),
    Follower(Follower<O>),
}

impl<K: Eq + Hash + Clone, O: Clone> Flights<K, O> {
    pub(super) fn new() -> Self {
        Self { in_progress: Mutex::new(HashMap::new()) }
    }

    /// Joins the call for this key: as the leader if there is none yet, otherwise as a follower.
    pub(super) fn join(&self, key: &K) -> Joined<'_, K, O> {
        let mut in_progress = lock(&self.in_progress);
        if let Some(flight) = in_progress.get(key) {
            return Joined::Follower(Follower { flight: flight.clone(), place: None });
        }
        let flight = Arc::new(Flight { state: Mutex::new(State { outcome: None, wakers: Vec::new() }) });
        in_progress.insert(key.clone(), flight.clone());
        Joined::Leader(Leader { flights: self, key: key.clone(), flight, outcome: None })
    }

    /// Returns the result of a single-flight call of `load`, for a caller whose own lookup found
    /// nothing.
    ///
    /// `load` returns the leader's own result and the one to share; `take` turns the latter into a
    /// follower's result. `load` must store whatever is to be kept where `find` finds it. A caller
    /// for which `may_wait` returns false never becomes a follower.
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
                Joined::Leader(leader) => {
                    // An earlier call may have ended since the caller's lookup. Its result was
                    // stored before it was removed from the calls in progress, so this lookup finds
                    // it.
                    if let Some(found) = find() {
                        return found;
                    }
                    let (own, shared) = load().await;
                    leader.finish(shared);
                    return own;
                }
                // A caller that cannot wait makes its own call and shares nothing.
                Joined::Follower(_) if !may_wait() => return load().await.0,
                Joined::Follower(follower) => {
                    let Outcome::Done(outcome) = follower.await else { continue };
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

/// A follower's use of a shared outcome.
pub(super) enum Taken<T> {
    This(T),
    AskAgain,
    /// The outcome cannot be shared: each follower makes its own call.
    AskAlone,
}

/// The leader of a call. If it is dropped before it finishes, it wakes the followers to try
/// themselves.
pub(super) struct Leader<'a, K: Eq + Hash, O> {
    flights: &'a Flights<K, O>,
    key: K,
    flight: Arc<Flight<O>>,
    outcome: Option<Outcome<O>>,
}

impl<K: Eq + Hash, O> Leader<'_, K, O> {
    /// Ends the call and gives the followers its outcome.
    pub(super) fn finish(mut self, outcome: O) {
        self.outcome = Some(Outcome::Done(outcome));
    }
}

impl<K: Eq + Hash, O> Drop for Leader<'_, K, O> {
    fn drop(&mut self) {
        // Before any waker runs, or a woken follower could find this call again.
        lock(&self.flights.in_progress).remove(&self.key);
        let wakers = {
            let mut state = lock(&self.flight.state);
            state.outcome = Some(self.outcome.take().unwrap_or(Outcome::Abandoned));
            std::mem::take(&mut state.wakers)
        };
        // A waker that panics must not keep the other followers from being woken.
        let mut panicked = None;
        for waker in wakers.into_iter().flatten() {
            panicked = catch_unwind(AssertUnwindSafe(|| waker.wake())).err().or(panicked);
        }
        if let Some(payload) = panicked
            && !std::thread::panicking()
        {
            resume_unwind(payload);
        }
    }
}

/// A future for the outcome of another caller's call.
pub(super) struct Follower<O> {
    flight: Arc<Flight<O>>,
    place: Option<usize>,
}

impl<O: Clone> Future for Follower<O> {
    type Output = Outcome<O>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<O>> {
        let flight = self.flight.clone();
        let mut state = lock(&flight.state);
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        let place = *self.place.get_or_insert_with(|| {
            // Places of followers that have gone are used again.
            state.wakers.iter().position(Option::is_none).unwrap_or(state.wakers.len())
        });
        if place == state.wakers.len() {
            state.wakers.push(None);
        }
        let replaced = state.wakers.get_mut(place).and_then(|place| place.replace(context.waker().clone()));
        // Dropped without the lock: dropping a waker can run any code.
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl<O> Drop for Follower<O> {
    fn drop(&mut self) {
        let waker = self.place.and_then(|place| lock(&self.flight.state).wakers.get_mut(place)?.take());
        drop(waker);
    }
}
