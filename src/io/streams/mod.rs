//! I/O adapters around the machines for the asynchronous readers, writers and streams of Tokio and
//! the `futures` crates.
//!
//! There is one implementation for both families. It is written over a common interface of sources
//! and sinks ([`poll`]), and the traits of each family are a thin layer over it. Every poll does a
//! bounded amount of work and never blocks the thread. All progress is kept in the adapter, so
//! dropping the future of a call loses nothing.

mod poll;
mod reader;
mod stream;
mod writer;

#[cfg(feature = "futures")]
pub(crate) use poll::Futures;
#[cfg(feature = "tokio")]
pub(crate) use poll::Tokio;
pub(crate) use reader::await_header;
pub use reader::{AsyncDecryptingReader, AsyncEncryptingReader};
pub(crate) use stream::next_header;
pub use stream::{DecryptingStream, EncryptingStream};
pub use writer::{AsyncDecryptingWriter, AsyncEncryptingWriter};
