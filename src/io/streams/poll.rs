//! The common interface of the families of asynchronous traits.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(any(feature = "tokio", feature = "futures"))]
use crate::io::pump::PollRead;

/// A sink of bytes.
pub(crate) trait PollWrite {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A source or sink of Tokio.
#[cfg(feature = "tokio")]
pub(crate) struct Tokio<'a, T>(pub(crate) &'a mut T);

#[cfg(feature = "tokio")]
impl<R: tokio::io::AsyncRead + Unpin> PollRead for Tokio<'_, R> {
    const BLOCKS: bool = false;

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = tokio::io::ReadBuf::new(buffer);
        Pin::new(&mut *self.0).poll_read(context, &mut buffer).map_ok(|()| buffer.filled().len())
    }
}

#[cfg(feature = "tokio")]
impl<W: tokio::io::AsyncWrite + Unpin> PollWrite for Tokio<'_, W> {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}

/// A source or sink of the `futures` crates.
#[cfg(feature = "futures")]
pub(crate) struct Futures<'a, T>(pub(crate) &'a mut T);

#[cfg(feature = "futures")]
impl<R: futures_io::AsyncRead + Unpin> PollRead for Futures<'_, R> {
    const BLOCKS: bool = false;

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

#[cfg(feature = "futures")]
impl<W: futures_io::AsyncWrite + Unpin> PollWrite for Futures<'_, W> {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_close(context)
    }
}

/// Offers bytes to a sink. Returns how many it took, which is at least one. Retries if interrupted
/// by a signal.
pub(super) fn poll_offer(
    sink: &mut impl PollWrite,
    context: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        match sink.poll_write(context, bytes) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
