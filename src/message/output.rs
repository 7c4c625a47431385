//! What a machine has ready, in its order.

use std::collections::VecDeque;

use super::buffer::{Buffer, Memory};

/// Output that waits to be taken away: batches that threads have finished, and behind them what the machine itself has written.
#[derive(Default)]
pub(super) struct Output<M> {
    finished: VecDeque<Buffer<M>>,
    own: Buffer<M>,
    /// Memory of batches that were taken away, for others.
    emptied: Vec<M>,
}

/// How much emptied memory is kept: more comes together only where output piles up.
const KEPT: usize = 16;

impl<M: Memory + From<Vec<u8>> + Default> Output<M> {
    /// The first of what is ready; where it is empty nothing is.
    pub(super) fn first(&self) -> &[u8] {
        self.finished.front().unwrap_or(&self.own).filled()
    }

    /// Drops bytes at the front of [`first`](Self::first), which were taken away.
    pub(super) fn consume(&mut self, count: usize) {
        let Some(first) = self.finished.front_mut() else { return self.own.consume(count) };
        first.consume(count);
        if first.is_empty()
            && let Some(emptied) = self.finished.pop_front()
            && self.emptied.len() < KEPT
        {
            self.emptied.push(emptied.into_memory());
        }
    }

    /// All of it.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.finished.iter().chain([&self.own]).map(Buffer::filled)
    }

    /// Where the machine writes: behind everything else.
    pub(super) fn own(&mut self) -> &mut Buffer<M> {
        &mut self.own
    }

    /// Puts what a thread has finished behind everything else.
    pub(super) fn push(&mut self, finished: M, length: usize) {
        if !self.own.is_empty() {
            self.finished.push_back(std::mem::take(&mut self.own));
        }
        if length > 0 {
            self.finished.push_back(Buffer::holding(finished, length));
        }
    }

    /// Memory of so many bytes, used before if there is any.
    pub(super) fn memory(&mut self, length: usize) -> M {
        while let Some(emptied) = self.emptied.pop() {
            if emptied.as_ref().len() == length {
                return emptied;
            }
        }
        M::from(vec![0; length])
    }

    /// Throws everything away and overwrites what overwrites itself.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
