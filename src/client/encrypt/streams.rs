//! Encryption with asynchronous readers, writers and streams.

use futures_core::Stream;

use super::Encrypt;
use crate::{
    blocking::Operation,
    error::{BoxError, Result},
    io::{AsyncEncryptingReader, AsyncEncryptingWriter, EncryptingStream},
};

impl<'a> Encrypt<'a> {
    /// Returns a reader as [`reader`](Self::reader) does, over a source of Tokio.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes).
    #[cfg(feature = "tokio")]
    pub fn tokio_reader<R: tokio::io::AsyncRead + Unpin + 'a>(
        self,
        source: R,
    ) -> Operation<impl Future<Output = Result<AsyncEncryptingReader<R>>> + 'a> {
        Operation::new(async move { Ok(AsyncEncryptingReader::new(source, self.start_machine().await?)) })
    }

    /// Returns a reader as [`reader`](Self::reader) does, over a source of the `futures` crates.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes).
    #[cfg(feature = "futures")]
    pub fn futures_reader<R: futures_io::AsyncRead + Unpin + 'a>(
        self,
        source: R,
    ) -> Operation<impl Future<Output = Result<AsyncEncryptingReader<R>>> + 'a> {
        Operation::new(async move { Ok(AsyncEncryptingReader::new(source, self.start_machine().await?)) })
    }

    /// Returns a writer as [`writer`](Self::writer) does, over a sink of Tokio. `shutdown`
    /// completes the message.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes).
    #[cfg(feature = "tokio")]
    pub fn tokio_writer<W: tokio::io::AsyncWrite + Unpin + 'a>(
        self,
        sink: W,
    ) -> Operation<impl Future<Output = Result<AsyncEncryptingWriter<W>>> + 'a> {
        Operation::new(async move { Ok(AsyncEncryptingWriter::new(sink, self.start_machine().await?)) })
    }

    /// Returns a writer as [`writer`](Self::writer) does, over a sink of the `futures` crates.
    /// `close` completes the message.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes).
    #[cfg(feature = "futures")]
    pub fn futures_writer<W: futures_io::AsyncWrite + Unpin + 'a>(
        self,
        sink: W,
    ) -> Operation<impl Future<Output = Result<AsyncEncryptingWriter<W>>> + 'a> {
        Operation::new(async move { Ok(AsyncEncryptingWriter::new(sink, self.start_machine().await?)) })
    }

    /// Returns an [`EncryptingStream`], which encrypts a stream of pieces into another.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes).
    pub fn stream<S, B, E>(self, source: S) -> Operation<impl Future<Output = Result<EncryptingStream<S, B>>> + 'a>
    where
        S: Stream<Item = Result<B, E>> + Unpin + 'a,
        B: AsRef<[u8]> + 'a,
        E: Into<BoxError> + 'a,
    {
        Operation::new(async move { Ok(EncryptingStream::new(source, self.start_machine().await?)) })
    }
}
