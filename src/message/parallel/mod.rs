//! One message on several threads: the same bytes, and the same errors, as on one.
//!
//! Regular frames are sealed and opened independently of each other, so batches of them go to whichever thread is free. The
//! digest that a signature covers is of all bytes in their order: it takes the batches one after the other, on one thread at a time,
//! beside the sealing and opening of others. Header, final frame, footer, and bodies without frames stay on the
//! calling thread.
//!
//! ```text
//! filling -> Line: waiting -> sealed or opened (any order) -> digested (in order) -> output
//! ```
//!
//! - **The order is kept by a queue** ([`Line`]): batches leave it as they came, and the first failure in that
//!   order is the one that is reported, as it would be on one thread.
//! - **The calling thread is one of the threads.** Where it would have to wait for the oldest batch it does a waiting one itself. So a
//!   message on two threads starts one, and where the system gives no threads everything still comes out, only slower.
//! - **Memory is bounded** by the number of batches on the way; buffers go round.
//! - **Threads start with the work**, after a first stretch on the calling thread: a short message starts none.
//!   They end with the machine: whoever drops it waits for the batches that are being worked on, and no longer.
//! - **A panic** of a provider is caught where a batch is worked on, and becomes that batch's error.
//!
//! The threads are those of the standard library. A pool for the whole process, such as rayon's, would spare their start (some tens of
//! microseconds a message, and only for messages that are long enough), but it steals work in an order of its own, where this is a queue with
//! a stage that must keep the order; it would run one message's panic and waiting among the batches of others; and a machine
//! that waits inside such a pool can wait for work that only its own thread would do.

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

/// How many bytes of sealed frames go to a thread at a time, or one frame if that is longer. Long enough that handing them over does not
/// count, short enough that all batches on the way stay in a cache: 64 KiB measured best, beside 128 and 256.
const BATCH: usize = 64 * 1024;

/// How many bytes the buffers of all batches on the way may have together.
const BUDGET: usize = 16 << 20;

/// On how many threads messages are written and read, and in which pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How many threads work on a message, the calling one included.
    threads: usize,
    /// How many bytes of sealed frames make a batch, if a frame is not longer.
    batch: usize,
    /// The length of a message in memory, or of its first stretch in a stream, below which other threads do not pay.
    pays_from: usize,
}

impl Plan {
    /// So many threads, the calling one included: one is none beside it.
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads, batch: BATCH, pays_from: 4 * BATCH }
    }

    /// Whether it is for more than the calling thread.
    pub(super) fn is_parallel(self) -> bool {
        self.threads > 1
    }

    /// How a body with frames of this length is cut, if several threads can work on it with so much for buffers.
    fn cut(self, frame_length: usize, budget: usize) -> Option<Cut> {
        let sealed = frame_length.checked_add(FRAME_OVERHEAD)?;
        let frames = (self.batch / sealed).max(1);
        let size = sealed.saturating_mul(frames).saturating_mul(2);
        // Three for each thread and three more, so that the calling one is woken for several at a time while the others still have some;
        // of long frames only as many as keep all threads busy, since they stay in no cache.
        let threads = self.threads.saturating_add(1);
        let in_flight =
            (threads.saturating_mul(6 * BATCH) / size).clamp(threads, threads.saturating_mul(3)).min(budget / size);
        let helpers = self.threads.min(in_flight).saturating_sub(1);
        (helpers > 0).then_some(Cut { frame_length, frames, in_flight, helpers })
    }

    /// How the rest of a body is cut, of which so many frames are done: none before the first stretch is.
    fn cut_after(self, frames: u32, frame_length: usize) -> Option<Cut> {
        let done = (frames as usize).saturating_mul(frame_length);
        if done < self.pays_from { None } else { self.cut(frame_length, BUDGET) }
    }
}

impl Default for Plan {
    /// The calling thread alone.
    fn default() -> Self {
        Self::new(1)
    }
}

/// How a body is cut into batches.
#[derive(Clone, Copy)]
struct Cut {
    /// The plaintext of a frame in bytes.
    frame_length: usize,
    /// The frames of a batch.
    frames: usize,
    /// How many batches may be on the way.
    in_flight: usize,
    /// How many threads work on them beside the calling one.
    helpers: usize,
}
