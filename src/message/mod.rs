//! The machines that write and read messages. They take bytes and give bytes: they read, write and await nothing, and
//! start threads only for a client that [asks for them](crate::ClientBuilder::threads).
//!
//! Every step of a message is a type of its own that is moved into the next, so that a check cannot be left out: frames
//! are opened by what only a verified header turns into, and a message counts as verified by a value that only the
//! last check returns.
//!
//! ```text
//! encrypt   materials -> start -> FrameSealer -> (regular frames) -> final frame and footer
//! decrypt   ReceivedHeader + materials -> verify_header -> BodyOpener -> (frames) -> FooterVerifier -> Verified
//! ```
//!
//! [`Encryptor`] and [`Decryptor`] put buffers around those steps, for bytes that come in pieces of any size. The
//! adaptors of this crate are thin shells over them; so can others be.

use std::task::{Context, Poll};

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

/// How many bytes the shells move at a time: enough that the calls beside the cryptography do not count.
pub(crate) const CHUNK: usize = 64 * 1024;

/// What both machines are to the shells around them: bytes are read into them and written out of them without a copy.
///
/// With several threads a machine may have to wait for them. [`make_ready`](Self::make_ready) and
/// [`settle`](Self::settle) wait on the calling thread; [`poll_ready`](Self::poll_ready) and
/// [`poll_settle`](Self::poll_settle) have a task woken instead. After either, the step that follows does not wait.
pub(crate) trait Machine: Sized {
    /// What the end of the stream gives: the last of the output.
    type End: AsRef<[u8]>;

    /// Returns room to read input into; [`advance`](Self::advance) takes it in. The machine must be ready.
    fn spare(&mut self) -> &mut [u8];

    /// Takes in input that was written to [`spare`](Self::spare), and works on it.
    fn advance(&mut self, count: usize) -> Result<()>;

    /// Takes in bytes from the front of `input`, at most [`CHUNK`]; returns how many. The machine must be ready.
    fn accept(&mut self, input: &[u8]) -> Result<usize>;

    /// Returns the first of the output that is ready. There may be more behind it: nothing is ready where this is empty.
    fn output(&self) -> &[u8];

    /// Drops output that was taken away.
    fn consume(&mut self, count: usize);

    /// Waits until input can be taken in.
    fn make_ready(&mut self) -> Result<()>;

    /// As [`make_ready`](Self::make_ready), without blocking the thread.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<()>>;

    /// Waits for what other threads still work on, so that everything that can be ready is.
    fn settle(&mut self) -> Result<()>;

    /// As [`settle`](Self::settle), without blocking the thread.
    fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<Result<()>>;

    /// Ends the stream. Does not wait if everything is settled.
    fn finish(self) -> Result<Self::End>;
}
