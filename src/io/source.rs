//! What the readers read from: one interface for `std::io`, Tokio, the `futures` crates and streams
//! of pieces.

use std::{
    future::poll_fn,
    io::{self, Read},
    task::{Context, Poll, Waker, ready},
};

use crate::{
    error::{FormatError, Result},
    format::{HeaderDecoder, ReceivedHeader},
};

/// A source of bytes for the readers of this crate: anything that implements [`std::io::Read`], or
/// an asynchronous source in `io::Tokio`, `io::Futures` or `io::Pieces`.
///
/// This trait is sealed.
pub trait Source: Feed {}

/// A [`Source`] that never blocks a thread.
///
/// This trait is sealed.
pub trait AsyncSource: Source {}

/// The interface behind [`Source`].
pub trait Feed {
    /// Whether reading blocks the calling thread. A source that blocks is never pending.
    const BLOCKS: bool;

    /// Requests input. The source either writes into `buffer` or returns bytes of its own, which
    /// [`consume`](Self::consume) then marks as used.
    fn poll_input<'a>(&'a mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Input<'a>>>;

    /// Marks bytes of the piece that was returned last as used.
    fn consume(&mut self, _count: usize) {}
}

/// What a source delivered.
pub enum Input<'a> {
    /// This many bytes were written into the buffer.
    Filled(usize),
    /// Bytes of the source's own, at least one.
    Piece(&'a [u8]),
    /// The source has ended.
    End,
}

impl<R: Read> Source for R {}

impl<R: Read> Feed for R {
    const BLOCKS: bool = true;

    fn poll_input<'a>(&'a mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Input<'a>>> {
        loop {
            match self.read(buffer) {
                Ok(count) => return Poll::Ready(Ok(filled(count))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Returns the input after a read of `count` bytes, where 0 means the end.
pub(super) fn filled<'a>(count: usize) -> Input<'a> {
    match count {
        0 => Input::End,
        count => Input::Filled(count),
    }
}

/// Reads the header of a message. Also returns the bytes of the body that were read with it; what
/// is left of a piece stays in the source.
pub(crate) async fn await_header<S: Feed>(
    source: &mut S,
    mut decoder: HeaderDecoder,
) -> Result<(ReceivedHeader, Vec<u8>)> {
    let mut buffer = vec![0; 4096];
    poll_fn(|context| {
        loop {
            let (taken, header) = match ready!(source.poll_input(context, &mut buffer))? {
                Input::End => return Poll::Ready(Err(FormatError::Truncated.into())),
                Input::Filled(count) => match decoder.push(&buffer[..count])? {
                    (taken, Some(header)) => return Poll::Ready(Ok((header, buffer[taken..count].to_vec()))),
                    (_, None) => continue,
                },
                Input::Piece(piece) => decoder.push(piece)?,
            };
            source.consume(taken);
            if let Some(header) = header {
                return Poll::Ready(Ok((header, Vec::new())));
            }
        }
    })
    .await
}

/// Reads the header as [`await_header`] does, on a thread that may block.
pub(crate) fn read_header<R: Read>(source: &mut R, decoder: HeaderDecoder) -> Result<(ReceivedHeader, Vec<u8>)> {
    let future = std::pin::pin!(await_header(source, decoder));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        // Such a source is never pending.
        Poll::Pending => Err(io::Error::from(io::ErrorKind::WouldBlock).into()),
    }
}
