//! The loop that drives a machine whose output is read. All readers share it.

use std::{
    io::{self, Read},
    task::{Context, Poll, Waker, ready},
};

use crate::{
    error::Error,
    message::{CHUNK, Machine},
};

/// A source of bytes.
pub(crate) trait PollRead {
    /// Whether reading, and waiting for the threads of a machine, blocks the calling thread. A
    /// source that blocks is never pending.
    const BLOCKS: bool;

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
}

/// A reader of the standard library.
pub(super) struct Std<'a, R>(pub(super) &'a mut R);

impl<R: Read> PollRead for Std<'_, R> {
    const BLOCKS: bool = true;

    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.read(buffer))
    }
}

/// Reads once. Retries if a signal interrupts the read.
pub(super) fn poll_some(
    source: &mut impl PollRead,
    context: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        match source.poll_read(context, buffer) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

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
    pub(super) fn read(&mut self, source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        match self.poll_read(&mut Context::from_waker(Waker::noop()), &mut Std(source), buffer) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Reads output into `buffer`.
    ///
    /// Every error except `Interrupted` and `WouldBlock` is final: a source that fails and then
    /// reports its end must not make a message, or a plaintext, that looks complete. An error of
    /// the source is returned after all output of the input before it, and a fault in that input
    /// takes precedence, so that the number of threads makes no difference.
    pub(super) fn poll_read<S: PollRead>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut worked = false;
        loop {
            match self {
                Self::Running(_, true) | Self::Failed => {
                    *self = Self::Failed;
                    return Poll::Ready(Err(Error::Ended.into()));
                }
                Self::Running(machine, reading) => {
                    if buffer.is_empty() {
                        return Poll::Ready(Ok(0));
                    }
                    if let Some(count) = give(machine, buffer) {
                        return Poll::Ready(Ok(count));
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
                    let mut room = machine.spare();
                    if !S::BLOCKS {
                        let length = room.len().min(CHUNK);
                        room = &mut room[..length];
                    }
                    *reading = true;
                    let outcome = poll_some(source, context, room);
                    *reading = false;
                    let ended = match ready!(outcome) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                        Err(error) => Some(error),
                        Ok(0) => None,
                        Ok(count) => {
                            worked = true;
                            if let Err(error) = machine.advance(count) {
                                return Poll::Ready(Err(self.fail(error)));
                            }
                            continue;
                        }
                    };
                    if let Self::Running(machine, _) = std::mem::replace(self, Self::Failed) {
                        *self = Self::Settling(machine, ended);
                    }
                }
                Self::Settling(machine, error) => {
                    let settled = if S::BLOCKS { machine.settle() } else { ready!(machine.poll_settle(context)) };
                    if let Err(error) = settled {
                        return Poll::Ready(Err(self.fail(error)));
                    }
                    if let Some(count) = give(machine, buffer) {
                        return Poll::Ready(Ok(count));
                    }
                    if buffer.is_empty() && !machine.output().is_empty() {
                        return Poll::Ready(Ok(0));
                    }
                    if let Some(error) = error.take() {
                        *self = Self::Failed;
                        return Poll::Ready(Err(error));
                    }
                    if let Self::Settling(machine, _) = std::mem::replace(self, Self::Failed) {
                        *self = Self::Ending(machine.finish()?, 0);
                    }
                }
                Self::Ending(rest, at) => {
                    let rest = rest.as_ref();
                    let count = (rest.len() - *at).min(buffer.len());
                    buffer[..count].copy_from_slice(&rest[*at..*at + count]);
                    *at += count;
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }

    fn fail(&mut self, error: Error) -> io::Error {
        *self = Self::Failed;
        error.into()
    }
}

/// Moves output that is ready into `buffer`. Returns the number of bytes, or `None` if nothing is
/// ready.
fn give(machine: &mut impl Machine, buffer: &mut [u8]) -> Option<usize> {
    let count = machine.output().len().min(buffer.len());
    buffer[..count].copy_from_slice(&machine.output()[..count]);
    machine.consume(count);
    (count > 0).then_some(count)
}

/// Gives other tasks a turn and requests another poll.
pub(super) fn yield_now<T>(context: &Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}
