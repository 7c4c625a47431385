//! The queue between the calling thread and those that help it.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::batch::Batch;
use crate::{
    crypto::Digest,
    error::{Error, Result},
    message::{buffer::Memory, key::MessageKey},
};

/// Batches in their order, each of which is sealed or opened by any thread, then digested if there is a digest, then taken out at the front.
///
/// One thread puts batches in and takes them out; any number, that one included, work on them.
pub(super) struct Line<I, O> {
    key: Arc<MessageKey>,
    state: Mutex<State<I, O>>,
    /// A batch was put in, or the line was closed.
    work: Condvar,
    /// As many batches at the front are done as are waited for, or one has failed.
    front: Condvar,
}

struct State<I, O> {
    /// The batches that were put in and not taken out.
    places: VecDeque<Place<I, O>>,
    /// How many batches were taken out.
    taken_out: u64,
    /// How many of the places were started: they are the first ones.
    started: usize,
    /// How many of the places were digested: they are the first ones. Not counted without a digest.
    digested: usize,
    digest: DigestState,
    /// How many batches at the front must be done before the thread that waits for them is woken: none if it does not wait.
    wanted: usize,
    /// A batch has failed: none after it is started.
    failed: bool,
    closed: bool,
    /// Wakes the task that polls for batches, if there is one.
    waker: Option<Waker>,
}

enum Place<I, O> {
    /// To be sealed or opened.
    Waiting(Batch<I, O>),
    /// A thread has it.
    Away,
    /// To be digested.
    Worked(Batch<I, O>),
    Done(Batch<I, O>),
    Failed(Error),
}

enum DigestState {
    /// The suite does not sign.
    None,
    /// The digest of everything before the first place that was not digested.
    Here(Box<dyn Digest>),
    /// A thread has it; or it was lost in a panic.
    Away,
}

/// What a thread does next, with everything it needs for it.
enum Task<I, O> {
    Work(Batch<I, O>),
    Digest(Batch<I, O>, Box<dyn Digest>),
}

/// A batch that was taken out of its place, by its number.
struct Started<I, O> {
    number: u64,
    task: Task<I, O>,
}

const PANICKED: Error = Error::Provider("a worker thread failed");

impl<I: AsRef<[u8]>, O: Memory> Line<I, O> {
    pub(super) fn new(key: Arc<MessageKey>, digest: Option<Box<dyn Digest>>, in_flight: usize) -> Self {
        let state = State {
            places: VecDeque::with_capacity(in_flight + 1),
            taken_out: 0,
            started: 0,
            digested: 0,
            digest: digest.map_or(DigestState::None, DigestState::Here),
            wanted: 0,
            failed: false,
            closed: false,
            waker: None,
        };
        Self { key, state: Mutex::new(state), work: Condvar::new(), front: Condvar::new() }
    }

    /// Nothing of a provider runs under the lock, so that a panic cannot leave the state half changed.
    fn lock(&self) -> MutexGuard<'_, State<I, O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many batches are in it.
    pub(super) fn in_flight(&self) -> usize {
        self.lock().places.len()
    }

    /// Puts a batch in at the end.
    pub(super) fn put_in(&self, batch: Batch<I, O>) {
        self.lock().places.push_back(Place::Waiting(batch));
        self.work.notify_one();
    }

    /// Takes the batch at the front out if it is done. One that has failed stays.
    pub(super) fn take_out_done(&self) -> Option<Batch<I, O>> {
        let mut state = self.lock();
        match state.places.front() {
            Some(Place::Done(_)) => state.take_out().and_then(Result::ok),
            _ => None,
        }
    }

    /// Waits until so many batches at the front are done, or one of them has failed. Until then the calling thread works on others.
    ///
    /// Waking a thread takes about as long as a small batch, and the thread that wakes it does nothing else meanwhile: who waits
    /// for several at a time is woken less often.
    pub(super) fn wait_for(&self, wanted: usize) {
        let mut state = self.lock();
        while !state.has_done(wanted) {
            // It comes and goes, and the digest had better stay where it is.
            state = match state.start_work().or_else(|| state.start_digest()) {
                Some(started) => {
                    drop(state);
                    self.finish(started)
                }
                None => {
                    state.wanted = wanted;
                    let mut state = self.front.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.wanted = 0;
                    state
                }
            };
        }
        if state.can_start() {
            // What this thread has made possible and leaves to others.
            self.work.notify_one();
        }
    }

    /// As [`wait_for`](Self::wait_for), for a task: it works on at most one batch, and is woken when what is wanted is
    /// done, or when there may be more to work on. It never blocks the thread.
    pub(super) fn poll_for(&self, wanted: usize, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.has_done(wanted) {
            let Some(started) = state.start_work().or_else(|| state.start_digest()) else {
                state.wanted = wanted;
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            };
            drop(state);
            state = self.finish(started);
            if !state.has_done(wanted) {
                drop(state);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        (state.wanted, state.waker) = (0, None);
        if state.can_start() {
            self.work.notify_one();
        }
        Poll::Ready(())
    }

    /// Takes the batch at the front out, if it is done or has failed.
    pub(super) fn take_out(&self) -> Option<Result<Batch<I, O>>> {
        let mut state = self.lock();
        if state.has_done(1) { state.take_out() } else { None }
    }

    /// Works on batches until the line is closed.
    pub(super) fn help(&self) {
        let mut state = self.lock();
        while !state.closed {
            // The digest goes first: where there is one, everything waits for it in the end.
            state = match state.start_digest().or_else(|| state.start_work()) {
                Some(started) => {
                    drop(state);
                    self.finish(started)
                }
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Does a task and puts its batch back.
    fn finish(&self, started: Started<I, O>) -> MutexGuard<'_, State<I, O>> {
        let Started { number, task } = started;
        // A batch that was left by a panic is not looked at again.
        let done = catch_unwind(AssertUnwindSafe(|| task.run(&self.key))).unwrap_or_else(|_| Done::failed(PANICKED));
        let mut state = self.lock();
        state.put_back(number, done);
        if state.wanted > 0 && state.has_done(state.wanted) {
            self.front.notify_one();
            if let Some(waker) = state.waker.take() {
                // Without the lock: a waker may run anything.
                drop(state);
                waker.wake();
                state = self.lock();
            }
        }
        state
    }

    /// Throws away what is still waiting and lets the helpers go, each when it is done with the batch it has.
    pub(super) fn close(&self) {
        let left = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.places)
        };
        self.work.notify_all();
        drop(left);
    }

    /// The digest of all batches, if every one of them is done and there is a digest.
    pub(super) fn take_digest(&self) -> Option<Box<dyn Digest>> {
        match std::mem::replace(&mut self.lock().digest, DigestState::Away) {
            DigestState::Here(digest) => Some(digest),
            DigestState::None | DigestState::Away => None,
        }
    }
}

/// What has become of a task.
struct Done<I, O> {
    place: Place<I, O>,
    /// The digest, if the task had it.
    digest: Option<Box<dyn Digest>>,
}

impl<I, O> Done<I, O> {
    fn failed(error: Error) -> Self {
        Self { place: Place::Failed(error), digest: None }
    }
}

impl<I: AsRef<[u8]>, O: Memory> Task<I, O> {
    fn run(self, key: &MessageKey) -> Done<I, O> {
        match self {
            Self::Work(mut batch) => match batch.work(key) {
                Ok(()) => Done { place: Place::Worked(batch), digest: None },
                Err(error) => Done::failed(error),
            },
            Self::Digest(batch, mut digest) => {
                digest.update(batch.sealed());
                Done { place: Place::Done(batch), digest: Some(digest) }
            }
        }
    }
}

impl<I, O> State<I, O> {
    /// Whether so many places at the front are done, or all before one that has failed: or all that there are.
    fn has_done(&self, wanted: usize) -> bool {
        for place in self.places.iter().take(wanted) {
            match place {
                Place::Done(_) => {}
                Place::Failed(_) => return true,
                Place::Waiting(_) | Place::Away | Place::Worked(_) => return false,
            }
        }
        true
    }

    /// Whether there is something to do for another thread.
    fn can_start(&self) -> bool {
        let waiting = matches!(self.places.get(self.started), Some(Place::Waiting(_)));
        self.can_start_digest() || waiting && !self.failed
    }

    fn can_start_digest(&self) -> bool {
        let worked = matches!(self.places.get(self.digested), Some(Place::Worked(_)));
        worked && matches!(self.digest, DigestState::Here(_))
    }

    fn start_digest(&mut self) -> Option<Started<I, O>> {
        if !self.can_start_digest() {
            return None;
        }
        let place = self.places.get_mut(self.digested)?;
        let place = std::mem::replace(place, Place::Away);
        let digest = std::mem::replace(&mut self.digest, DigestState::Away);
        match (place, digest) {
            (Place::Worked(batch), DigestState::Here(digest)) => {
                let number = self.taken_out + self.digested as u64;
                Some(Started { number, task: Task::Digest(batch, digest) })
            }
            _ => None,
        }
    }

    fn start_work(&mut self) -> Option<Started<I, O>> {
        if self.failed {
            return None;
        }
        let place = self.places.get_mut(self.started)?;
        match std::mem::replace(place, Place::Away) {
            Place::Waiting(batch) => {
                let number = self.taken_out + self.started as u64;
                self.started += 1;
                Some(Started { number, task: Task::Work(batch) })
            }
            other => {
                *place = other;
                None
            }
        }
    }

    fn put_back(&mut self, number: u64, done: Done<I, O>) {
        let Done { place, digest } = done;
        if let Some(digest) = digest {
            self.digest = DigestState::Here(digest);
            self.digested += 1;
        }
        self.failed |= matches!(place, Place::Failed(_));
        let place = match place {
            Place::Worked(batch) if matches!(self.digest, DigestState::None) => Place::Done(batch),
            place => place,
        };
        // A line that was closed meanwhile has no places any more.
        let index = number.checked_sub(self.taken_out).and_then(|index| usize::try_from(index).ok());
        if let Some(found) = index.and_then(|index| self.places.get_mut(index)) {
            *found = place;
        }
    }

    /// Takes out the front, which is done or has failed.
    fn take_out(&mut self) -> Option<Result<Batch<I, O>>> {
        let outcome = match self.places.pop_front()? {
            Place::Done(batch) => Ok(batch),
            Place::Failed(error) => Err(error),
            Place::Waiting(_) | Place::Away | Place::Worked(_) => Err(PANICKED),
        };
        self.taken_out += 1;
        self.started = self.started.saturating_sub(1);
        self.digested = self.digested.saturating_sub(1);
        Some(outcome)
    }
}
