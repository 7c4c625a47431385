//! Threads that work on the frames of a machine.

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

/// What the threads are called.
pub(super) const THREAD_NAME: &str = "sealwax-worker";

/// Input that is cut into batches, and the threads that work on them. Dropping it ends the threads and waits for them.
pub(super) struct Crew<I: Memory + 'static, O: Memory + 'static> {
    direction: Direction,
    cut: Cut,
    line: Arc<Line<I, O>>,
    helpers: Vec<JoinHandle<()>>,
    /// Input of the next batch.
    filling: Buffer<I>,
    /// How many bytes of input may come together.
    capacity: usize,
    /// Memory of batches that are done, for others.
    emptied: Vec<I>,
}

impl<I: Memory + From<Vec<u8>> + Default, O: Memory + From<Vec<u8>> + Default> Crew<I, O> {
    /// Starts no thread yet.
    pub(super) fn new(direction: Direction, cut: Cut, key: Arc<MessageKey>, digest: Option<Box<dyn Digest>>) -> Self {
        // To seal, a byte more: it says that the frame before it is not the final one.
        let more = usize::from(direction == Direction::Seal);
        let capacity = cut.frames * direction.taken(cut.frame_length) + more;
        let filling = Buffer::holding(I::from(vec![0; capacity]), 0);
        let line = Arc::new(Line::new(key, digest, cut.in_flight));
        Self { direction, cut, line, helpers: Vec::new(), filling, capacity, emptied: Vec::new() }
    }

    /// How many bytes of input a frame has.
    pub(super) fn frame(&self) -> usize {
        self.direction.taken(self.cut.frame_length)
    }

    /// Room for input: at least a byte, until there are as many as may come together.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        self.filling.spare(0)
    }

    /// Takes in input that was written to [`spare`](Self::spare).
    pub(super) fn advance(&mut self, count: usize) {
        self.filling.advance(count);
    }

    /// Takes in the first bytes of some input, as many as have room; says how many.
    pub(super) fn take(&mut self, input: &[u8]) -> usize {
        let room = self.spare();
        let count = room.len().min(input.len());
        room[..count].copy_from_slice(&input[..count]);
        self.advance(count);
        count
    }

    /// The input that was not handed over yet.
    pub(super) fn input(&self) -> &[u8] {
        self.filling.filled()
    }

    pub(super) fn is_full(&self) -> bool {
        self.filling.len() == self.capacity
    }

    /// Hands over the first frames of the input, the first of which has this number. Where enough is on the way already, waits for the oldest.
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

    /// Makes room for one more batch without blocking the thread: after this [`hand_over`](Self::hand_over) does not wait.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>, output: &mut Output<O>) -> Poll<Result<()>> {
        if self.line.in_flight() >= self.cut.in_flight {
            ready!(self.line.poll_for(self.cut.in_flight / 2, context));
            self.put_out(output)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Starts another thread, if there are fewer than there should be.
    fn hire(&mut self) {
        if self.helpers.len() < self.cut.helpers {
            let line = self.line.clone();
            let helper = thread::Builder::new().name(THREAD_NAME.into()).spawn(move || line.help());
            // Without it the work is done by those that are there.
            self.helpers.extend(helper);
        }
    }

    /// Puts out what is done, without waiting. A failure is left for the others to tell.
    pub(super) fn collect(&mut self, output: &mut Output<O>) {
        while let Some(batch) = self.line.take_out_done() {
            self.put(batch, output);
        }
    }

    /// Puts out what is done, without waiting.
    fn put_out(&mut self, output: &mut Output<O>) -> Result<()> {
        while let Some(batch) = self.line.take_out() {
            self.put(batch?, output);
        }
        Ok(())
    }

    /// Waits for everything that was handed over, and puts it out.
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

    /// Gives the digest back, if there is one, of all that was handed over; [`settle`](Self::settle) comes first.
    pub(super) fn take_digest(&mut self) -> Option<Box<dyn Digest>> {
        self.line.take_digest()
    }
}

impl<I: Memory, O: Memory> Drop for Crew<I, O> {
    fn drop(&mut self) {
        self.line.close();
        for helper in self.helpers.drain(..) {
            // It catches the panics of a provider; there is nobody to tell of another.
            let _ = helper.join();
        }
    }
}

/// A digest that was given away must have come back, or what it is for cannot go on.
pub(super) fn rejoin<K, T>(
    key: Option<K>,
    digest: Option<Box<dyn Digest>>,
    join: impl FnOnce(K, Box<dyn Digest>) -> T,
) -> Result<Option<T>> {
    match (key, digest) {
        (Some(key), Some(digest)) => Ok(Some(join(key, digest))),
        (None, None) => Ok(None),
        _ => Err(Error::Provider("a worker thread failed")),
    }
}
