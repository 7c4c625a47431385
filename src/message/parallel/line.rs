//! The queue between the calling thread and its helpers.

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

/// An ordered queue of batches. Any thread seals or opens a batch. Then the batch is digested, if
/// there is a digest, and removed from the front.
///
/// One thread adds and removes batches. Any number of threads, including that one, process them.
pub(super) struct Line<I, O> {
    key: Arc<MessageKey>,
    state: Mutex<State<I, O>>,
    /// Signaled when a batch is added, when more work becomes available, or when the queue is
    /// closed.
    work: Condvar,
    /// Signaled when as many batches at the front are done as the calling thread waits for, or when
    /// one of them has failed.
    front: Condvar,
}

struct State<I, O> {
    /// The batches that were added and not yet removed.
    places: VecDeque<Place<I, O>>,
    /// The number of batches that were removed.
    taken_out: u64,
    /// The number of places that were started, which are the first ones.
    started: usize,
    /// The number of places that were digested, which are the first ones. Not maintained without a
    /// digest.
    digested: usize,
    digest: DigestState,
    /// The number of batches at the front that must be done before the waiting thread is woken; 0
    /// if no thread waits.
    wanted: usize,
    /// Whether a batch has failed. No further batch is started then.
    failed: bool,
    closed: bool,
    /// Wakes the task that polls for batches, if any.
    waker: Option<Waker>,
}

enum Place<I, O> {
    /// The batch must be sealed or opened.
    Waiting(Batch<I, O>),
    /// A thread is processing the batch.
    Away,
    /// The batch must be digested.
    Worked(Batch<I, O>),
    Done(Batch<I, O>),
    Failed(Error),
}

enum DigestState {
    /// The suite does not sign.
    None,
    /// The digest of everything before the first place that was not digested.
    Here(Box<dyn Digest>),
    /// A thread has the digest, or it was lost in a panic.
    Away,
}

/// The next task of a thread, with everything the task needs.
enum Task<I, O> {
    Work(Batch<I, O>),
    Digest(Batch<I, O>, Box<dyn Digest>),
}

/// A task whose batch was taken out of its place, and the number of that batch.
struct Started<I, O> {
    number: u64,
    task: Task<I, O>,
}

const PANICKED: Error = Error::Provider("a worker thread panicked");

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

    /// No code of a provider runs under the lock, so a panic cannot leave the state inconsistent.
    /// Poisoning can therefore be ignored.
    fn lock(&self) -> MutexGuard<'_, State<I, O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of batches in the queue.
    pub(super) fn in_flight(&self) -> usize {
        self.lock().places.len()
    }

    /// Adds a batch at the end.
    pub(super) fn put_in(&self, batch: Batch<I, O>) {
        self.lock().places.push_back(Place::Waiting(batch));
        self.work.notify_one();
    }

    /// Removes the batch at the front if it is done. A failed batch stays.
    pub(super) fn take_out_done(&self) -> Option<Batch<I, O>> {
        let mut state = self.lock();
        match state.places.front() {
            Some(Place::Done(_)) => state.take_out().and_then(Result::ok),
            _ => None,
        }
    }

    /// Waits until `wanted` batches at the front are done, or one of them has failed. Meanwhile the
    /// calling thread processes other batches.
    ///
    /// Waking a thread takes about as long as processing a small batch, and the waking thread does
    /// nothing else meanwhile. A caller that waits for several batches at a time is woken less
    /// often.
    pub(super) fn wait_for(&self, wanted: usize) {
        let mut state = self.lock();
        while !state.has_done(wanted) {
            // Prefer sealing and opening to digesting. This thread leaves as soon as it can, so the
            // digest should stay with a helper.
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
            // Let another thread do the work that this thread made available and leaves behind.
            self.work.notify_one();
        }
    }

    /// As [`wait_for`](Self::wait_for), for a task: processes at most one batch per poll, and
    /// registers the waker if the other threads have all of them. Never blocks the thread.
    pub(super) fn poll_for(&self, wanted: usize, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.has_done(wanted) {
            let Some(started) = state.start_work().or_else(|| state.start_digest()) else {
                state.wanted = wanted;
                let replaced = state.waker.replace(context.waker().clone());
                // Dropped without the lock: dropping a waker can run any code.
                drop(state);
                drop(replaced);
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
        state.wanted = 0;
        let replaced = state.waker.take();
        if state.can_start() {
            self.work.notify_one();
        }
        drop(state);
        drop(replaced);
        Poll::Ready(())
    }

    /// Removes the batch at the front if it is done or has failed.
    pub(super) fn take_out(&self) -> Option<Result<Batch<I, O>>> {
        let mut state = self.lock();
        if state.has_done(1) { state.take_out() } else { None }
    }

    /// Processes batches until the queue is closed.
    pub(super) fn help(&self) {
        let mut state = self.lock();
        while !state.closed {
            // Prefer digesting: if there is a digest, everything waits for it in the end.
            state = match state.start_digest().or_else(|| state.start_work()) {
                Some(started) => {
                    drop(state);
                    self.finish(started)
                }
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Runs a task and stores its result.
    fn finish(&self, started: Started<I, O>) -> MutexGuard<'_, State<I, O>> {
        let Started { number, task } = started;
        // This is unwind-safe because a batch or digest that was in use during a panic is dropped.
        let done = catch_unwind(AssertUnwindSafe(|| task.run(&self.key))).unwrap_or_else(|_| Done::failed(PANICKED));
        let mut state = self.lock();
        state.put_back(number, done);
        if state.wanted > 0 && state.has_done(state.wanted) {
            self.front.notify_one();
            if let Some(waker) = state.waker.take() {
                // The lock is released first, since a waker can run any code.
                drop(state);
                waker.wake();
                state = self.lock();
            }
        }
        state
    }

    /// Discards the waiting batches and stops the helpers. Each of them first completes its current
    /// batch.
    pub(super) fn close(&self) {
        let left = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.places)
        };
        self.work.notify_all();
        drop(left);
    }

    /// Returns the digest, if there is one, of all batches. All of them must be done.
    pub(super) fn take_digest(&self) -> Option<Box<dyn Digest>> {
        match std::mem::replace(&mut self.lock().digest, DigestState::Away) {
            DigestState::Here(digest) => Some(digest),
            DigestState::None | DigestState::Away => None,
        }
    }
}

/// The result of a task.
struct Done<I, O> {
    place: Place<I, O>,
    /// The digest, if the task used it.
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
    /// Returns `true` if the first `wanted` places are done, or those before a failed one. If there
    /// are fewer places, all of them count.
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

    /// Returns `true` if there is work for another thread.
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
        // The queue may have been closed in the meantime and then has no places.
        let index = number.checked_sub(self.taken_out).and_then(|index| usize::try_from(index).ok());
        if let Some(found) = index.and_then(|index| self.places.get_mut(index)) {
            *found = place;
        }
    }

    /// Removes the batch at the front, which is done or has failed.
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
