//! Shells around the machines, for the asynchronous readers, writers and streams of Tokio and of the `futures` crates.
//!
//! There is one implementation for both: it is written over what a source or sink can be asked for ([`poll`]), and each
//! family of traits is a few lines in front of it. Every poll does a bounded amount of work, and keeps all it has
//! done in the shell, so that a future that is dropped loses nothing.

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
