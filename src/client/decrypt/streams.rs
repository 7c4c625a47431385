//! Decryption with asynchronous readers, writers and streams.

use std::pin::Pin;

use futures_core::Stream;

use super::Decrypt;
#[cfg(feature = "futures")]
use crate::io::Futures;
#[cfg(feature = "tokio")]
use crate::io::Tokio;
use crate::{
    blocking::Operation,
    error::{BoxError, Result},
    io::{AsyncDecryptingReader, AsyncDecryptingWriter, DecryptingStream, PollRead, await_header, next_header},
    message::Decryptor,
};

impl<'a> Decrypt<'a> {
    /// Returns a reader as [`reader`](Self::reader) does, over a source of Tokio. The future reads
    /// the header. If it is dropped before it completes, the bytes read so far are lost.
    ///
    /// # Errors
    /// The errors of [`reader`](Self::reader).
    #[cfg(feature = "tokio")]
    pub fn tokio_reader<R: tokio::io::AsyncRead + Unpin + 'a>(
        self,
        mut source: R,
    ) -> Operation<impl Future<Output = Result<AsyncDecryptingReader<R>>> + 'a> {
        Operation::new(async move {
            let (machine, ahead) = self.start_polled(Tokio(&mut source)).await?;
            AsyncDecryptingReader::new(source, machine, &ahead)
        })
    }

    /// Returns a reader as [`reader`](Self::reader) does, over a source of the `futures` crates.
    /// The future reads the header. If it is dropped before it completes, the bytes read so far are
    /// lost.
    ///
    /// # Errors
    /// The errors of [`reader`](Self::reader).
    #[cfg(feature = "futures")]
    pub fn futures_reader<R: futures_io::AsyncRead + Unpin + 'a>(
        self,
        mut source: R,
    ) -> Operation<impl Future<Output = Result<AsyncDecryptingReader<R>>> + 'a> {
        Operation::new(async move {
            let (machine, ahead) = self.start_polled(Futures(&mut source)).await?;
            AsyncDecryptingReader::new(source, machine, &ahead)
        })
    }

    async fn start_polled(&self, source: impl PollRead) -> Result<(Decryptor, Vec<u8>)> {
        let (received, ahead) = await_header(source, self.client.header_decoder()).await?;
        Ok((self.start_machine(received, self.release).await?, ahead))
    }

    /// Returns a writer as [`writer`](Self::writer) does, over a sink of Tokio. The keyring is
    /// awaited, without blocking the thread.
    #[cfg(feature = "tokio")]
    pub fn tokio_writer<W: tokio::io::AsyncWrite + Unpin>(self, sink: W) -> AsyncDecryptingWriter<'a, W> {
        self.start_async_writer(sink)
    }

    /// Returns a writer as [`writer`](Self::writer) does, over a sink of the `futures` crates. The
    /// keyring is awaited, without blocking the thread.
    #[cfg(feature = "futures")]
    pub fn futures_writer<W: futures_io::AsyncWrite + Unpin>(self, sink: W) -> AsyncDecryptingWriter<'a, W> {
        self.start_async_writer(sink)
    }

    fn start_async_writer<W>(self, sink: W) -> AsyncDecryptingWriter<'a, W> {
        let decoder = self.client.header_decoder();
        let opener = move |received| -> Pin<Box<dyn Future<Output = Result<Decryptor>> + Send + 'a>> {
            Box::pin(async move { self.start_machine(received, self.release).await })
        };
        AsyncDecryptingWriter::new(sink, decoder, Box::new(opener))
    }

    /// Returns a [`DecryptingStream`], which decrypts a stream of pieces into another. The future
    /// reads the header. If it is dropped before it completes, the pieces taken so far are lost.
    ///
    /// # Errors
    /// The errors of [`reader`](Self::reader).
    pub fn stream<S, B, E>(self, mut source: S) -> Operation<impl Future<Output = Result<DecryptingStream<S, B>>> + 'a>
    where
        S: Stream<Item = Result<B, E>> + Unpin + 'a,
        B: AsRef<[u8]> + 'a,
        E: Into<BoxError> + 'a,
    {
        Operation::new(async move {
            let (received, piece) = next_header(&mut source, self.client.header_decoder()).await?;
            Ok(DecryptingStream::new(source, piece, self.start_machine(received, self.release).await?))
        })
    }
}
