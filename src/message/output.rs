//! The ordered output of a machine.

use std::collections::VecDeque;

use super::buffer::{Buffer, Memory};

/// Output that has not been taken yet: batches that threads have completed, followed by what the
/// machine itself has written.
#[derive(Default)]
pub(super) struct Output<M> {
    finished: VecDeque<Buffer<M>>,
    own: Buffer<M>,
    /// Memory of batches that were taken, for reuse.
    emptied: Vec<M>,
}

/// The maximum number of emptied buffers to keep. There are more only if output accumulates.
const KEPT: usize = 16;

impl<M: Memory + From<Vec<u8>> + Default> Output<M> {
    /// Returns the first part of the output. If it is empty, so is the whole output.
    pub(super) fn first(&self) -> &[u8] {
        self.finished.front().unwrap_or(&self.own).filled()
    }

    /// Removes bytes from the front of [`first`](Self::first).
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

    /// Returns all parts of the output, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.finished.iter().chain([&self.own]).map(Buffer::filled)
    }

    /// Returns the buffer at the end of the output, which the machine writes to.
    pub(super) fn own(&mut self) -> &mut Buffer<M> {
        &mut self.own
    }

    /// Appends a batch that a thread has completed.
    pub(super) fn push(&mut self, finished: M, length: usize) {
        if !self.own.is_empty() {
            self.finished.push_back(std::mem::take(&mut self.own));
        }
        if length > 0 {
            self.finished.push_back(Buffer::holding(finished, length));
        }
    }

    /// Returns memory of `length` bytes, reused if possible.
    pub(super) fn memory(&mut self, length: usize) -> M {
        while let Some(emptied) = self.emptied.pop() {
            if emptied.as_ref().len() == length {
                return emptied;
            }
        }
        M::from(vec![0; length])
    }

    /// Discards the output. Drops the memory, which overwrites it if its type does so.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Output<Vec<u8>> {
    /// Takes the whole output. It is copied only if it has several parts, or if some of it was
    /// consumed.
    pub(super) fn take(&mut self) -> Vec<u8> {
        if self.finished.is_empty() {
            return std::mem::take(&mut self.own).into_filled();
        }
        let whole = self.parts().collect::<Vec<_>>().concat();
        self.clear();
        whole
    }
}
