//! The loop that drives a machine whose output is read. All readers share it.

use std::{
    future::poll_fn,
    io::{self, Write},
    task::{Context, Poll, Waker, ready},
};

use super::source::{Feed, Input};
use crate::{
    error::{Error, Result},
    message::{CHUNK, Machine},
};

/// A machine between a source and a reader of its output.
pub(super) enum Pump<M: Machine> {
    /// Turning input into output. The flag is set while the source is being read. If it is already
    /// set, the source panicked.
    Running(M, bool),
    /// The source has ended or failed with this error. The output of the input before that is still
    /// to be produced, possibly by other threads, and returned.
    Settling(M, Option<io::Error>),
    /// Returning the rest of the output, from this position on.
    Ending(M::End, usize),
    /// An error was returned.
    Failed,
}

impl<M: Machine> Pump<M> {
    pub(super) fn new(machine: M) -> Self {
        Self::Running(machine, false)
    }

    /// Reads output into `buffer`, on a thread that may block.
    pub(super) fn read(&mut self, source: &mut impl Feed, buffer: &mut [u8]) -> io::Result<usize> {
        on_this_thread(self.poll_read(&mut Context::from_waker(Waker::noop()), source, buffer))
    }

    /// Writes all output to a sink, on a thread that may block. Every error is final.
    pub(super) fn copy_to(&mut self, source: &mut impl Feed, mut sink: impl Write) -> Result<()> {
        loop {
            if let Err(error) = on_this_thread(self.poll_output(&mut Context::from_waker(Waker::noop()), source)) {
                if error.kind() != io::ErrorKind::WouldBlock || !matches!(self, Self::Running(..)) {
                    return Err(error.into());
                }
                // A source that would block has failed too, here: what is behind it comes first.
                self.settle_with(Some(error));
                continue;
            }
            let output = self.output();
            if output.is_empty() {
                return Ok(sink.flush()?);
            }
            sink.write_all(output)?;
            let written = output.len();
            self.consume(written);
        }
    }

    /// Reads output into `buffer`.
    pub(super) fn poll_read<S: Feed>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() && !matches!(self, Self::Failed) {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_output(context, source))?;
        let output = self.output();
        let count = output.len().min(buffer.len());
        buffer[..count].copy_from_slice(&output[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }

    /// Makes [`output`](Self::output) available. If there is none after that, it was the end.
    ///
    /// Every error except `Interrupted` and `WouldBlock` is final: a source that fails and then
    /// reports its end must not make a message, or a plaintext, that looks complete. An error of
    /// the source is returned after all output of the input before it, and a fault in that input
    /// takes precedence, so that the number of threads makes no difference.
    pub(super) fn poll_output<S: Feed>(&mut self, context: &mut Context<'_>, source: &mut S) -> Poll<io::Result<()>> {
        let mut worked = false;
        loop {
            match self {
                Self::Running(_, true) | Self::Failed => {
                    *self = Self::Failed;
                    return Poll::Ready(Err(Error::Ended.into()));
                }
                Self::Running(machine, reading) => {
                    if !machine.output().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    if worked && !S::BLOCKS {
                        // A frame is longer than what one poll processes, or ends with the next
                        // byte.
                        return yield_now(context);
                    }
                    let ready = if S::BLOCKS { machine.make_ready() } else { ready!(machine.poll_ready(context)) };
                    if let Err(error) = ready {
                        return Poll::Ready(Err(self.fail(error)));
                    }
                    if !machine.output().is_empty() {
                        continue;
                    }
                    *reading = true;
                    let outcome = poll_advance(machine, context, source);
                    *reading = false;
                    match ready!(outcome) {
                        Progress::More => worked = true,
                        Progress::Fault(error) => return Poll::Ready(Err(self.fail(error))),
                        Progress::Failed(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            return Poll::Ready(Err(error));
                        }
                        Progress::Failed(error) => self.settle_with(Some(error)),
                        Progress::End => self.settle_with(None),
                    }
                }
                Self::Settling(machine, error) => {
                    let settled = if S::BLOCKS { machine.settle() } else { ready!(machine.poll_settle(context)) };
                    if let Err(error) = settled {
                        return Poll::Ready(Err(self.fail(error)));
                    }
                    if !machine.output().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    if let Some(error) = error.take() {
                        *self = Self::Failed;
                        return Poll::Ready(Err(error));
                    }
                    if let Self::Settling(machine, _) = std::mem::replace(self, Self::Failed) {
                        *self = Self::Ending(machine.finish()?, 0);
                    }
                }
                Self::Ending(..) => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Returns the output that is ready.
    pub(super) fn output(&self) -> &[u8] {
        match self {
            Self::Running(machine, _) | Self::Settling(machine, _) => machine.output(),
            Self::Ending(rest, at) => rest.as_ref().get(*at..).unwrap_or_default(),
            Self::Failed => &[],
        }
    }

    /// Removes bytes from the front of the output.
    pub(super) fn consume(&mut self, count: usize) {
        match self {
            Self::Running(machine, _) | Self::Settling(machine, _) => machine.consume(count),
            Self::Ending(_, at) => *at += count,
            Self::Failed => {}
        }
    }

    /// Returns what the machine returned at the end, if all of the source was processed.
    #[cfg(feature = "fs")]
    pub(super) fn into_end(self) -> Option<M::End> {
        match self {
            Self::Ending(end, _) => Some(end),
            _ => None,
        }
    }

    fn settle_with(&mut self, error: Option<io::Error>) {
        if let Self::Running(machine, _) = std::mem::replace(self, Self::Failed) {
            *self = Self::Settling(machine, error);
        }
    }

    fn fail(&mut self, error: Error) -> io::Error {
        *self = Self::Failed;
        error.into()
    }
}

/// The outcome of asking a source for input.
enum Progress {
    /// The machine processed some.
    More,
    /// The machine refused it.
    Fault(Error),
    /// The source failed.
    Failed(io::Error),
    /// The source has ended.
    End,
}

/// Moves input from a source into a machine, which must be ready. A source that does not block is
/// given one chunk at a time, so that a poll does a bounded amount of work.
fn poll_advance<S: Feed>(machine: &mut impl Machine, context: &mut Context<'_>, source: &mut S) -> Poll<Progress> {
    let mut room = machine.spare();
    if !S::BLOCKS {
        let length = room.len().min(CHUNK);
        room = &mut room[..length];
    }
    let input = match ready!(source.poll_input(context, room)) {
        Ok(input) => input,
        Err(error) => return Poll::Ready(Progress::Failed(error)),
    };
    let processed = match input {
        Input::End => return Poll::Ready(Progress::End),
        Input::Filled(count) => machine.advance(count),
        Input::Piece(piece) => machine.accept(piece).map(|count| source.consume(count)),
    };
    Poll::Ready(processed.map_or_else(Progress::Fault, |()| Progress::More))
}

/// Returns the outcome of a poll with a source or sink that blocks, and so is never pending.
pub(super) fn on_this_thread<T>(outcome: Poll<io::Result<T>>) -> io::Result<T> {
    match outcome {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Gives other tasks a turn and requests another poll.
pub(super) fn yield_now<T>(context: &Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}

/// Gives other tasks a turn.
pub(super) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { yield_now(context) }).await
}
