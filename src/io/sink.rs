//! What the writers write to: one interface for `std::io`, Tokio and the `futures` crates.

use std::{
    io::{self, Write},
    task::{Context, Poll},
};

/// A sink of bytes for the writers of this crate: anything that implements [`std::io::Write`], or
/// an asynchronous sink in `io::Tokio` or `io::Futures`.
///
/// This trait is sealed.
pub trait Sink: Accept {}

/// The interface behind [`Sink`].
pub trait Accept {
    /// Whether writing blocks the calling thread. A sink that blocks is never pending.
    const BLOCKS: bool;

    /// Offers bytes to the sink. Returns how many it took.
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Flushes the sink.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Flushes the sink and, if its family has such an operation, closes it.
    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl<W: Write> Sink for W {}

impl<W: Write> Accept for W {
    const BLOCKS: bool = true;

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write(bytes))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.flush())
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.flush())
    }
}

/// Offers bytes to a sink. Returns how many it took, which is at least one. Retries if interrupted
/// by a signal.
pub(super) fn poll_offer(sink: &mut impl Accept, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        match sink.poll_write(context, bytes) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
