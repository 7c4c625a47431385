//! The worker threads of a machine.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    thread::{self, JoinHandle},
};

use super::{
    Cut,
    batch::{Batch, Direction},
    line::Line,
};
use crate::{
    crypto::Digest,
    error::{Error, Result},
    message::{
        buffer::{Buffer, Memory},
        key::MessageKey,
        output::Output,
    },
};

/// The name of the worker threads.
pub(super) const THREAD_NAME: &str = "sealwax-worker";

/// The worker threads of a machine, and the input that they process in batches. Dropping it stops
/// the threads and waits for them.
pub(super) struct Crew<I: Memory + 'static, O: Memory + 'static> {
    direction: Direction,
    cut: Cut,
    line: Arc<Line<I, O>>,
    helpers: Vec<JoinHandle<()>>,
    /// The input of the next batch.
    filling: Buffer<I>,
    /// The maximum length of the input in bytes.
    capacity: usize,
    /// Memory of completed batches, for reuse.
    emptied: Vec<I>,
}

impl<I: Memory + From<Vec<u8>> + Default, O: Memory + From<Vec<u8>> + Default> Crew<I, O> {
    /// Creates a crew without starting any threads.
    pub(super) fn new(direction: Direction, cut: Cut, key: Arc<MessageKey>, digest: Option<Box<dyn Digest>>) -> Self {
        // When sealing, keep room for one more byte: it shows that the frame before it is not the
        // final one.
        let more = usize::from(direction == Direction::Seal);
        let capacity = cut.frames * direction.taken(cut.frame_length) + more;
        let filling = Buffer::holding(I::from(vec![0; capacity]), 0);
        let line = Arc::new(Line::new(key, digest, cut.in_flight));
        Self { direction, cut, line, helpers: Vec::new(), filling, capacity, emptied: Vec::new() }
    }

    /// Returns the number of input bytes in a frame.
    pub(super) fn frame(&self) -> usize {
        self.direction.taken(self.cut.frame_length)
    }

    /// Returns a buffer for input. It is empty only if the input has reached its maximum length.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        self.filling.spare(0)
    }

    /// Adds input that was written to [`spare`](Self::spare).
    pub(super) fn advance(&mut self, count: usize) {
        self.filling.advance(count);
    }

    /// Copies as many bytes from the front of `input` as there is space for. Returns how many.
    pub(super) fn take(&mut self, input: &[u8]) -> usize {
        let room = self.spare();
        let count = room.len().min(input.len());
        room[..count].copy_from_slice(&input[..count]);
        self.advance(count);
        count
    }

    /// Returns the input that has not been submitted yet.
    pub(super) fn input(&self) -> &[u8] {
        self.filling.filled()
    }

    pub(super) fn is_full(&self) -> bool {
        self.filling.len() == self.capacity
    }

    /// Submits the first `frames` frames of the input, starting with sequence number `first`. If
    /// enough batches are in flight, waits for the oldest ones first.
    pub(super) fn hand_over(&mut self, first: u32, frames: usize, output: &mut Output<O>) -> Result<()> {
        if frames == 0 {
            return Ok(());
        }
        if self.line.in_flight() >= self.cut.in_flight {
            self.line.wait_for(self.cut.in_flight / 2);
            self.put_out(output)?;
        }
        let memory = self.emptied.pop().unwrap_or_else(|| I::from(vec![0; self.capacity]));
        let mut filling = Buffer::holding(memory, 0);
        filling.extend(&self.filling.filled()[frames * self.frame()..]);
        let input = std::mem::replace(&mut self.filling, filling).into_memory();
        let Cut { frame_length, frames: most, .. } = self.cut;
        let memory = output.memory(most * self.direction.given(frame_length));
        self.line.put_in(Batch { direction: self.direction, frame_length, first, frames, input, output: memory });
        self.hire();
        self.put_out(output)
    }

    /// Makes room for one more batch without blocking the thread, so that the next
    /// [`hand_over`](Self::hand_over) does not wait.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>, output: &mut Output<O>) -> Poll<Result<()>> {
        if self.line.in_flight() >= self.cut.in_flight {
            ready!(self.line.poll_for(self.cut.in_flight / 2, context));
            self.put_out(output)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Starts another thread if there are fewer than planned.
    fn hire(&mut self) {
        if self.helpers.len() < self.cut.helpers {
            let line = self.line.clone();
            let helper = thread::Builder::new().name(THREAD_NAME.into()).spawn(move || line.help());
            // If no thread can be started, the existing ones do the work.
            self.helpers.extend(helper);
        }
    }

    /// Moves completed batches to the output without waiting. Stops at a failed batch, which a
    /// later call of `put_out` reports.
    pub(super) fn collect(&mut self, output: &mut Output<O>) {
        while let Some(batch) = self.line.take_out_done() {
            self.put(batch, output);
        }
    }

    /// Moves completed batches to the output without waiting. Fails if one of them failed.
    fn put_out(&mut self, output: &mut Output<O>) -> Result<()> {
        while let Some(batch) = self.line.take_out() {
            self.put(batch?, output);
        }
        Ok(())
    }

    /// Waits for all submitted batches and moves them to the output.
    pub(super) fn settle(&mut self, output: &mut Output<O>) -> Result<()> {
        self.line.wait_for(usize::MAX);
        self.put_out(output)
    }

    /// As [`settle`](Self::settle), without blocking the thread.
    pub(super) fn poll_settle(&mut self, context: &mut Context<'_>, output: &mut Output<O>) -> Poll<Result<()>> {
        ready!(self.line.poll_for(usize::MAX, context));
        Poll::Ready(self.put_out(output))
    }

    fn put(&mut self, batch: Batch<I, O>, output: &mut Output<O>) {
        let length = batch.output_length();
        self.emptied.push(batch.input);
        output.push(batch.output, length);
    }

    /// Returns the digest, if there is one, of everything that was submitted. Call
    /// [`settle`](Self::settle) first.
    pub(super) fn take_digest(&mut self) -> Option<Box<dyn Digest>> {
        self.line.take_digest()
    }
}

impl<I: Memory, O: Memory> Drop for Crew<I, O> {
    fn drop(&mut self) {
        self.line.close();
        for helper in self.helpers.drain(..) {
            // A waker that runs on a worker can drop the task, and this with it. A thread cannot
            // join itself: that worker ends by itself, since the line is closed.
            if helper.thread().id() != thread::current().id() {
                // Workers catch the panics of a provider. There is no one to report any other panic
                // to.
                let _ = helper.join();
            }
        }
    }
}

/// Combines a key with the digest that was given to the workers. Fails if the digest was lost,
/// because a worker panicked.
pub(super) fn rejoin<K, T>(
    key: Option<K>,
    digest: Option<Box<dyn Digest>>,
    join: impl FnOnce(K, Box<dyn Digest>) -> T,
) -> Result<Option<T>> {
    match (key, digest) {
        (Some(key), Some(digest)) => Ok(Some(join(key, digest))),
        (None, None) => Ok(None),
        _ => Err(Error::Provider("a worker thread panicked")),
    }
}
