//! I/O adapters around the machines of [`message`](crate::message): readers and writers of the
//! standard library, of Tokio and of the `futures` crates, streams of pieces, and access to parts
//! of a message.
//!
//! There is one implementation for all families, over a common interface of sources ([`Source`])
//! and sinks ([`Sink`]). An asynchronous source or sink is wrapped in the type of its family, and
//! the readers and writers over it then implement the traits of that family:
//!
//! | family | wrapper | feature |
//! |---|---|---|
//! | the standard library | none | |
//! | Tokio | `Tokio` | `tokio` |
//! | the `futures` crates | `Futures` | `futures` |
//! | streams of pieces, such as HTTP bodies | `Pieces` | either |
//!
//! The adapters hold a few frames, whatever the length of the message. Those of the standard
//! library read and write on the calling thread. In the asynchronous ones, every poll does a bounded
//! amount of work and never blocks the thread, and dropping the future of a read or write of a
//! reader, a writer or a range loses nothing.

#[cfg(any(feature = "tokio", feature = "futures"))]
mod families;
mod opened;
mod outline;
#[cfg(feature = "fs")]
mod pending_file;
mod pump;
mod range;
mod reader;
mod sink;
mod source;
mod spool;
mod verified;
mod writer;

#[cfg(feature = "futures")]
pub use families::Futures;
#[cfg(any(feature = "tokio", feature = "futures"))]
pub use families::Pieces;
#[cfg(feature = "tokio")]
pub use families::Tokio;
pub(crate) use opened::{Body, Release};
pub use opened::{Message, RemoteMessage, Sequential, StoredMessage};
pub use outline::{BodyOutline, Outline};
#[cfg(feature = "fs")]
pub use pending_file::{Overwrite, PendingFile};
pub use range::{AsyncRangeReader, Ends, GetRange, RangeReader, ReadAt, Seekable};
pub(crate) use range::{RemoteEnds, fetch_ends, read_header_at};
pub use reader::{DecryptingReader, EncryptingReader};
pub use sink::Sink;
pub use source::{AsyncSource, Source};
pub(crate) use source::{await_header, read_header};
pub use verified::Verified;
pub(crate) use writer::Opening;
pub use writer::{DecryptingWriter, EncryptingWriter};

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
