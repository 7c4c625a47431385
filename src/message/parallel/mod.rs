//! Processing one message on several threads, with the same output and the same errors as on one
//! thread.
//!
//! Regular frames are sealed and opened independently of each other, so any idle thread can process
//! a batch of them. The digest for the signature covers all bytes in order. It processes one batch
//! after another, on one thread at a time, while other batches are sealed and opened. Header, final
//! frame, footer and unframed bodies stay on the calling thread.
//!
//! ```text
//! filling -> Line: waiting -> sealed or opened (any order) -> digested (in order) -> output
//! ```
//!
//! - **A queue keeps the order** ([`Line`]). Batches leave it in the order in which they were
//!   added, and the first failure in that order is the one that is reported, as on one thread.
//! - **The calling thread is one of the workers.** Instead of waiting for the oldest batch, it
//!   processes a waiting one itself. A message on two threads therefore starts one thread, and if
//!   the system cannot start any, the message is still processed, only more slowly.
//! - **Memory is bounded** by the number of batches in flight. Buffers are reused.
//! - **Threads start only for long messages**, after a first stretch on the calling thread. They
//!   stop with the machine. Dropping it waits only for the batches that are being processed.
//! - **Panics of a provider are caught** per batch and become the error of that batch.
//!
//! The threads come from the standard library. A process-wide pool, such as rayon's, would save the
//! cost of starting them, which is some tens of microseconds per message and only for long
//! messages. But it steals work in its own order, while this queue has a stage that must keep the
//! order. It would also mix one message's panics and waits with the batches of others, and a
//! machine that waits inside such a pool could wait for work that only its own thread would do.

mod batch;
mod crew;
mod line;
mod memory;
mod opening;
mod sealing;
#[cfg(all(test, feature = "rustcrypto"))]
mod tests;

pub(super) use memory::{open_regular_frames, seal_regular_frames};
pub(super) use opening::SpreadOpener;
pub(super) use sealing::SpreadSealer;

use crate::format::FRAME_OVERHEAD;

/// The number of bytes of sealed frames per batch. A longer frame is a batch of its own. The value
/// is large enough to make the cost of a hand-over negligible, and small enough that all batches in
/// flight fit into a cache. Measurements with 64, 128 and 256 KiB favored 64 KiB.
const BATCH: usize = 64 * 1024;

/// The maximum total size in bytes of the buffers of all batches in flight.
const BUDGET: usize = 16 << 20;

/// A plan for processing messages on several threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The number of threads, including the calling one.
    threads: usize,
    /// The number of bytes of sealed frames per batch, unless a single frame is longer.
    batch: usize,
    /// The minimum length for which other threads are worth starting: of a message in memory, or of
    /// the first stretch of a stream.
    pays_from: usize,
}

impl Plan {
    /// Creates a plan. `threads` includes the calling thread; 1 disables workers.
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads, batch: BATCH, pays_from: 4 * BATCH }
    }

    /// Returns `true` if the plan uses more than the calling thread.
    pub(super) fn is_parallel(self) -> bool {
        self.threads > 1
    }

    /// Returns whether to use other threads for this many bytes that are in memory.
    pub(super) fn pays_for(self, length: usize) -> bool {
        self.is_parallel() && length >= self.pays_from
    }

    /// Returns how to cut a body with this frame length, or `None` if several threads cannot
    /// process it within `budget` bytes of buffers.
    fn cut(self, frame_length: usize, budget: usize) -> Option<Cut> {
        let sealed = frame_length.checked_add(FRAME_OVERHEAD)?;
        let frames = (self.batch / sealed).max(1);
        let size = sealed.saturating_mul(frames).saturating_mul(2);
        // Use three batches per thread and three more. Then the calling thread can be woken for
        // several completed batches at a time while the other threads still have work. Long frames
        // do not stay in a cache, so for them use only enough batches to keep all threads busy.
        let threads = self.threads.saturating_add(1);
        let in_flight =
            (threads.saturating_mul(6 * BATCH) / size).clamp(threads, threads.saturating_mul(3)).min(budget / size);
        let helpers = self.threads.min(in_flight).saturating_sub(1);
        (helpers > 0).then_some(Cut { frame_length, frames, in_flight, helpers })
    }

    /// Returns how to cut the rest of a body after `frames` frames, or `None` if it is too early or
    /// not worth it.
    fn cut_after(self, frames: u32, frame_length: usize) -> Option<Cut> {
        let done = (frames as usize).saturating_mul(frame_length);
        if done < self.pays_from { None } else { self.cut(frame_length, BUDGET) }
    }
}

impl Default for Plan {
    /// Returns a plan for the calling thread alone.
    fn default() -> Self {
        Self::new(1)
    }
}

/// The parameters for cutting a body into batches.
#[derive(Clone, Copy)]
struct Cut {
    /// The plaintext length of a frame in bytes.
    frame_length: usize,
    /// The number of frames per batch.
    frames: usize,
    /// The maximum number of batches in flight.
    in_flight: usize,
    /// The number of worker threads besides the calling thread.
    helpers: usize,
}
