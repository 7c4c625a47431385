//! Adapters for the asynchronous sources and sinks of Tokio and the `futures` crates, and for
//! streams of pieces.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{
    pump::yield_now,
    sink::{Accept, Sink},
    source::{AsyncSource, Feed, Input, Source, filled},
};
use crate::error::{BoxError, Error};

/// A source or sink of Tokio. Readers and writers over it implement Tokio's traits.
///
/// ```
/// use sealwax::{Client, io::Tokio, keyring::RawAesKeyring};
/// use tokio::io::AsyncReadExt;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let mut message = Vec::new();
/// client.encrypt(&keyring).unsigned().reader(Tokio(&b"text"[..])).await?.read_to_end(&mut message).await?;
///
/// let mut text = String::new();
/// let opened = client.decrypt(&keyring).open_async(Tokio(&message[..])).await?;
/// opened.into_reader()?.read_to_string(&mut text).await?;
/// assert_eq!(text, "text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio<T>(pub T);

/// A source or sink of the `futures` crates. Readers and writers over it implement the traits of
/// these crates.
///
/// ```
/// use futures_util::{AsyncReadExt, AsyncWriteExt};
/// use sealwax::{Client, io::Futures, keyring::RawAesKeyring};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let mut writer = client.encrypt(&keyring).unsigned().writer(Futures(Vec::new())).await?;
/// writer.write_all(b"text").await?;
/// writer.close().await?;
/// let message = writer.into_inner().0;
///
/// let mut text = String::new();
/// let opened = client.decrypt(&keyring).open_async(Futures(&message[..])).await?;
/// opened.into_reader()?.read_to_string(&mut text).await?;
/// assert_eq!(text, "text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[cfg(feature = "futures")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Futures<T>(pub T);

/// A stream of pieces as a source, which is how most crates represent HTTP bodies. Readers over it
/// are streams of [`Bytes`](bytes::Bytes).
///
/// An [`io::Error`] or [`Error`](enum@Error) of the stream is not wrapped again.
///
/// ```
/// use futures_util::{TryStreamExt, stream};
/// use sealwax::{Client, io::Pieces, keyring::RawAesKeyring};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let plaintext = Pieces::new(stream::iter([std::io::Result::Ok("some "), Ok("text")]));
/// let message: Vec<_> = client.encrypt(&keyring).unsigned().reader(plaintext).await?.try_collect().await?;
///
/// let message = Pieces::new(stream::iter(message.into_iter().map(std::io::Result::Ok)));
/// let opened = client.decrypt(&keyring).open_async(message).await?;
/// let pieces: Vec<_> = opened.into_reader()?.try_collect().await?;
/// assert_eq!(pieces.concat(), b"some text");
/// # Ok::<(), sealwax::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Pieces<S, B> {
    stream: S,
    /// The piece that is being used, and the number of its bytes that were used.
    piece: Option<(B, usize)>,
}

impl<S, B, E> Pieces<S, B>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
    E: Into<BoxError>,
{
    /// Creates a source from a stream.
    pub fn new(stream: S) -> Self {
        Self { stream, piece: None }
    }
}

impl<S, B> Pieces<S, B> {
    /// Returns the stream. What is left of the last piece is lost.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

// Only the stream is ever pinned, and it is `Unpin`.
impl<S: Unpin, B> Unpin for Pieces<S, B> {}

impl<S, B, E> Feed for Pieces<S, B>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
    E: Into<BoxError>,
{
    const BLOCKS: bool = false;

    fn poll_input<'a>(&'a mut self, context: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<Input<'a>>> {
        if self.piece.as_ref().is_none_or(|(piece, used)| *used >= piece.as_ref().len()) {
            self.piece = match ready!(Pin::new(&mut self.stream).poll_next(context)) {
                Some(Ok(piece)) => Some((piece, 0)),
                Some(Err(error)) => return Poll::Ready(Err(stream_error(error))),
                None => return Poll::Ready(Ok(Input::End)),
            };
        }
        match self.piece.as_ref().and_then(|(piece, used)| piece.as_ref().get(*used..)) {
            Some(rest) if !rest.is_empty() => Poll::Ready(Ok(Input::Piece(rest))),
            // An empty piece. A stream may have any number of them, so other tasks get a turn.
            _ => yield_now(context),
        }
    }

    fn consume(&mut self, count: usize) {
        if let Some((_, used)) = &mut self.piece {
            *used += count;
        }
    }
}

/// Converts an error of a stream.
fn stream_error(error: impl Into<BoxError>) -> io::Error {
    match error.into().downcast::<io::Error>() {
        Ok(error) => *error,
        Err(error) => match error.downcast::<Error>() {
            Ok(error) => (*error).into(),
            Err(error) => io::Error::other(error),
        },
    }
}

impl<S, B, E> Source for Pieces<S, B>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
    E: Into<BoxError>,
{
}

impl<S, B, E> AsyncSource for Pieces<S, B>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
    E: Into<BoxError>,
{
}

macro_rules! family {
    ($family:ident, $feature:literal, $read:path, $write:path, $close:ident, |$source:ident, $context:ident, $buffer:ident| $poll_read:expr) => {
        #[cfg(feature = $feature)]
        impl<R: $read + Unpin> Feed for $family<R> {
            const BLOCKS: bool = false;

            fn poll_input<'a>(
                &'a mut self,
                $context: &mut Context<'_>,
                $buffer: &mut [u8],
            ) -> Poll<io::Result<Input<'a>>> {
                loop {
                    let $source = Pin::new(&mut self.0);
                    match ready!($poll_read) {
                        Ok(count) => return Poll::Ready(Ok(filled(count))),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
        }

        #[cfg(feature = $feature)]
        impl<R: $read + Unpin> Source for $family<R> {}

        #[cfg(feature = $feature)]
        impl<R: $read + Unpin> AsyncSource for $family<R> {}

        #[cfg(feature = $feature)]
        impl<W: $write + Unpin> Accept for $family<W> {
            const BLOCKS: bool = false;

            fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write(context, bytes)
            }

            fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_flush(context)
            }

            fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).$close(context)
            }
        }

        #[cfg(feature = $feature)]
        impl<W: $write + Unpin> Sink for $family<W> {}
    };
}

#[cfg(feature = "tokio")]
family!(Tokio, "tokio", tokio::io::AsyncRead, tokio::io::AsyncWrite, poll_shutdown, |source, context, buffer| {
    let mut buffer = tokio::io::ReadBuf::new(buffer);
    source.poll_read(context, &mut buffer).map_ok(|()| buffer.filled().len())
});

#[cfg(feature = "futures")]
family!(Futures, "futures", futures_io::AsyncRead, futures_io::AsyncWrite, poll_close, |source, context, buffer| {
    source.poll_read(context, buffer)
});
