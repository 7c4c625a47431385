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

use crate::error::Result;

mod buffer;
mod decrypt;
mod decryptor;
mod encrypt;
mod encryptor;
mod key;
mod output;
mod parallel;
mod random_access;

pub(crate) use decrypt::{OpenParameters, VerifiedHeader, open_all, verify_header};
pub use decryptor::{Decryptor, Finished};
pub(crate) use encrypt::{StartParameters, Started, seal_all, start};
pub use encryptor::Encryptor;
pub(crate) use parallel::Plan;
pub(crate) use random_access::{FinalFrameSearch, RandomAccess};

/// The number of bytes that the I/O adapters move at a time. It is large enough to make the
/// overhead per call negligible.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The interface of [`Encryptor`] and [`Decryptor`] for the I/O adapters, which can read into the
/// machine and write out of it without a copy.
pub(crate) trait Machine: Sized {
    /// The result of the stream, which includes the rest of the output.
    type End: AsRef<[u8]>;

    /// Returns a buffer to read input into. Call [`advance`](Self::advance) after writing to it.
    fn spare(&mut self) -> &mut [u8];

    /// Processes `count` bytes of input that were written to [`spare`](Self::spare).
    fn advance(&mut self, count: usize) -> Result<()>;

    /// Returns the first part of the output that is ready. More can follow it. If it is empty,
    /// nothing is ready.
    fn output(&self) -> &[u8];

    /// Removes bytes from the front of the output.
    fn consume(&mut self, count: usize);

    /// Waits for the other threads, so that all output that can be ready is ready.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Completes the stream.
    fn finish(self) -> Result<Self::End>;
}
