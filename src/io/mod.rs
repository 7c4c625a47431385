//! I/O adapters around the machines of [`message`](crate::message): readers and writers of the
//! standard library, access to parts of a message, and the asynchronous readers, writers and
//! streams of Tokio and the `futures` crates (features `tokio` and `futures`).
//!
//! The adapters hold a few frames, whatever the length of the message. Those of the standard
//! library read and write on the calling thread.

mod copy;
mod outline;
#[cfg(feature = "fs")]
mod pending_file;
mod pump;
mod range;
mod read;
#[cfg(any(feature = "tokio", feature = "futures"))]
mod streams;
mod verified;
mod write;

#[cfg(feature = "fs")]
pub(crate) use copy::copy_verified;
pub(crate) use copy::{copy_decrypting, copy_encrypting};
pub use outline::{BodyOutline, Outline};
#[cfg(feature = "fs")]
pub use pending_file::{Overwrite, PendingFile};
#[cfg(any(feature = "tokio", feature = "futures"))]
pub(crate) use pump::PollRead;
pub use range::{AsyncRangeReader, GetRange, RangeReader, ReadAt, Seekable};
pub(crate) use range::{Frames, Ready, fetch, fetch_header};
pub(crate) use read::read_header;
pub use read::{DecryptingReader, EncryptingReader};
#[cfg(feature = "futures")]
pub(crate) use streams::Futures;
#[cfg(feature = "tokio")]
pub(crate) use streams::Tokio;
#[cfg(any(feature = "tokio", feature = "futures"))]
pub use streams::{
    AsyncDecryptingReader, AsyncDecryptingWriter, AsyncEncryptingReader, AsyncEncryptingWriter, DecryptingStream,
    EncryptingStream,
};
#[cfg(any(feature = "tokio", feature = "futures"))]
pub(crate) use streams::{await_header, next_header};
pub(crate) use verified::verify_source;
pub use verified::{Verified, VerifiedReader};
pub use write::{DecryptingWriter, EncryptingWriter, Written};

use std::io::{self, Read};

/// Reads once. Retries if a signal interrupts the read.
fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
