//! State machines that encrypt and decrypt messages. They take bytes and return bytes, without any
//! I/O, and start threads only if the client is [configured to](crate::ClientBuilder::threads).
//!
//! Every step of a message is a type of its own that is consumed by the next step, so no check can
//! be skipped. Only a verified header yields a value that can open frames, and only the last check
//! returns the value that marks a message as verified.
//!
//! ```text
//! encrypt   materials -> start -> FrameSealer -> (regular frames) -> final frame and footer
//! decrypt   ReceivedHeader + materials -> verify_header -> BodyOpener -> (frames)
//!           -> FooterVerifier -> Verified
//! ```
//!
//! [`Encryptor`] and [`Decryptor`] add buffers to these steps, for input that arrives in pieces of
//! any size. The I/O adapters of this crate are thin wrappers around them. Applications can build
//! their own.

use std::task::{Context, Poll};

use crate::error::Result;

mod buffer;
mod decrypt;
mod decryptor;
mod encrypt;
mod encryptor;
mod key;
mod outcome;
mod output;
mod parallel;
mod random_access;

pub(crate) use decrypt::{OpenParameters, VerifiedHeader, open_all, verify_header};
pub use decryptor::Decryptor;
pub(crate) use decryptor::{Finished, SecondPass};
pub(crate) use encrypt::{StartParameters, Started, seal_all, start};
pub use encryptor::Encryptor;
pub use outcome::{Decrypted, Encrypted};
pub(crate) use parallel::Plan;
pub(crate) use random_access::{FinalFrameSearch, RandomAccess};

/// The number of bytes that the I/O adapters move at a time. It is large enough to make the
/// overhead per call negligible.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The interface of [`Encryptor`] and [`Decryptor`] for the I/O adapters, which can read into the
/// machine and write out of it without a copy.
///
/// With several threads a machine may have to wait for them. [`make_ready`](Self::make_ready) and
/// [`settle`](Self::settle) block the calling thread until they are done;
/// [`poll_ready`](Self::poll_ready) and [`poll_settle`](Self::poll_settle) register a waker
/// instead. The step that follows either of them does not wait.
pub(crate) trait Machine: Sized {
    /// The result of the stream, which includes the rest of the output.
    type End: AsRef<[u8]>;

    /// Returns a buffer to read input into. Call [`advance`](Self::advance) after writing to it.
    /// The machine must be ready.
    fn spare(&mut self) -> &mut [u8];

    /// Processes `count` bytes of input that were written to [`spare`](Self::spare).
    fn advance(&mut self, count: usize) -> Result<()>;

    /// Processes at most [`CHUNK`] bytes from the front of `input`. Returns how many. The machine
    /// must be ready.
    fn accept(&mut self, input: &[u8]) -> Result<usize>;

    /// Returns the first part of the output that is ready. More can follow it. If it is empty,
    /// nothing is ready.
    fn output(&self) -> &[u8];

    /// Removes bytes from the front of the output.
    fn consume(&mut self, count: usize);

    /// Blocks until input can be processed.
    fn make_ready(&mut self) -> Result<()>;

    /// As [`make_ready`](Self::make_ready), without blocking the thread.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<()>>;

    /// Blocks until all output that can be ready is ready.
    fn settle(&mut self) -> Result<()>;

    /// As [`settle`](Self::settle), without blocking the thread.
    fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<Result<()>>;

    /// Completes the stream. Does not wait if everything is settled.
    fn finish(self) -> Result<Self::End>;
}
