//! Shells around the machines, for the readers and writers of the standard library.
//!
//! They hold a few frames, whatever the length of the message. They read and write on the calling thread: in an
//! asynchronous program, drive the machines directly or move the work to a thread that may block.

mod copy;
mod outline;
#[cfg(feature = "fs")]
mod pending_file;
mod range;
mod read;
mod verified;
mod write;

#[cfg(feature = "fs")]
pub(crate) use copy::copy_verified;
pub(crate) use copy::{copy_decrypting, copy_encrypting};
pub use outline::{BodyOutline, Outline};
#[cfg(feature = "fs")]
pub use pending_file::{Overwrite, PendingFile};
pub use range::{AsyncRangeReader, GetRange, RangeReader, ReadAt, Seekable};
pub(crate) use range::{Frames, Ready, fetch, fetch_header};
pub(crate) use read::read_header;
pub use read::{DecryptingReader, EncryptingReader};
pub(crate) use verified::verify_source;
pub use verified::{Verified, VerifiedReader};
pub use write::{DecryptingWriter, EncryptingWriter, Written};

use std::io::{self, Read};

/// Reads once, and again where a signal came in between.
fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
