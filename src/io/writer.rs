//! Writers that take plaintext or a message, over sinks of every family.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use super::{
    pump::on_this_thread,
    sink::{Accept, poll_offer},
};
use crate::{
    blocking::wait,
    error::{Error, FormatError, Result},
    format::{Header, HeaderDecoder, ReceivedHeader},
    keyring::KeyReport,
    message::{Decrypted, Decryptor, Encryptor, Finished, Machine},
};

/// The state of a writer.
enum State<M: Machine> {
    /// Turning input into output.
    Running(M),
    /// Writing the rest of the output, from this position on.
    Ending(M::End, usize),
    /// The sink is closed.
    Closed(M::End),
    /// An error was returned.
    Failed,
}

impl<M: Machine> State<M> {
    /// Takes input, after the output of the input before it has been written to the sink.
    fn poll_write<W: Accept>(
        &mut self,
        context: &mut Context<'_>,
        sink: &mut W,
        input: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(context, sink))?;
        if let Self::Running(machine) = self {
            let ready = if W::BLOCKS { machine.make_ready() } else { ready!(machine.poll_ready(context)) };
            self.check(ready)?;
        }
        // The other threads that were waited for may have produced output.
        ready!(self.poll_drain(context, sink))?;
        let Self::Running(machine) = self else { return Poll::Ready(Err(Error::Ended.into())) };
        let taken = machine.accept(input);
        Poll::Ready(self.check(taken))
    }

    /// Writes all output that is ready to the sink. What the sink does not take stays in the
    /// machine.
    fn poll_drain(&mut self, context: &mut Context<'_>, sink: &mut impl Accept) -> Poll<io::Result<()>> {
        match self {
            Self::Running(machine) => {
                while !machine.output().is_empty() {
                    let count = ready!(poll_offer(sink, context, machine.output()))?;
                    machine.consume(count);
                }
            }
            Self::Ending(rest, at) => {
                while let Some(left) = rest.as_ref().get(*at..).filter(|left| !left.is_empty()) {
                    *at += ready!(poll_offer(sink, context, left))?;
                }
            }
            Self::Closed(_) => {}
            Self::Failed => return Poll::Ready(Err(Error::Ended.into())),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush<W: Accept>(&mut self, context: &mut Context<'_>, sink: &mut W) -> Poll<io::Result<()>> {
        ready!(self.poll_settle::<W>(context))?;
        ready!(self.poll_drain(context, sink))?;
        sink.poll_flush(context)
    }

    /// Waits for the batches that other threads still process. Registers a waker instead of
    /// blocking the thread, unless the sink blocks it too.
    fn poll_settle<W: Accept>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Running(machine) = self else { return Poll::Ready(Ok(())) };
        let settled = if W::BLOCKS { machine.settle() } else { ready!(machine.poll_settle(context)) };
        Poll::Ready(self.check(settled))
    }

    /// Fails the writer if the outcome is an error.
    fn check<T>(&mut self, outcome: Result<T>) -> io::Result<T> {
        outcome.map_err(|error| {
            *self = Self::Failed;
            error.into()
        })
    }

    /// Completes the message, writes the rest of the output and closes the sink. Every step except
    /// completing the message can be retried.
    fn poll_close<W: Accept>(&mut self, context: &mut Context<'_>, sink: &mut W) -> Poll<io::Result<()>> {
        ready!(self.poll_settle::<W>(context))?;
        ready!(self.poll_drain(context, sink))?;
        if matches!(self, Self::Running(_))
            && let Self::Running(machine) = std::mem::replace(self, Self::Failed)
        {
            *self = Self::Ending(machine.finish()?, 0);
            ready!(self.poll_drain(context, sink))?;
        }
        ready!(sink.poll_close(context))?;
        if let Self::Ending(..) = self
            && let Self::Ending(end, _) = std::mem::replace(self, Self::Failed)
        {
            *self = Self::Closed(end);
        }
        Poll::Ready(Ok(()))
    }
}

/// A writer that encrypts the plaintext written to it, and writes the message to its sink.
///
/// | sink | the writer implements | the message is completed by |
/// |---|---|---|
/// | [`std::io::Write`] | [`std::io::Write`] | [`finish`](Self::finish) |
/// | `io::Tokio` (feature `tokio`) | `tokio::io::AsyncWrite` | `shutdown` |
/// | `io::Futures` (feature `futures`) | `futures_io::AsyncWrite` | `close` |
///
/// A writer that is dropped before the message is completed leaves a truncated message, which no
/// reader accepts.
///
/// A write takes at most 64 KiB, and only once the sink has taken the output before it. `flush`
/// writes the frames that are ready. Plaintext that does not fill a frame is kept, because only the
/// final frame may be short. An asynchronous writer never blocks the thread, and a cancelled write
/// has taken nothing.
///
/// ```
/// use std::io::Write;
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let mut writer = client.encrypt(&keyring).writer(Vec::new()).wait()?;
/// write!(writer, "some {}", "text")?;
/// let message = writer.finish()?;
/// assert_eq!(client.decrypt(&keyring).bytes(&message).wait()?.plaintext, b"some text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the message is complete only after `finish`, `shutdown` or `close`"]
pub struct EncryptingWriter<W> {
    sink: W,
    header: Header,
    key_report: KeyReport,
    state: State<Encryptor>,
}

impl<W> EncryptingWriter<W> {
    pub(crate) fn new(sink: W, machine: Encryptor) -> Self {
        let (header, key_report) = (machine.header().clone(), machine.key_report().clone());
        Self { sink, header, key_report, state: State::Running(machine) }
    }

    /// Returns the header of the message.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns a report of the keyrings that wrapped the data key.
    pub fn key_report(&self) -> &KeyReport {
        &self.key_report
    }

    /// Returns the sink. The message in it is complete only if the writer was shut down or closed.
    pub fn into_inner(self) -> W {
        self.sink
    }
}

impl<W: Write> EncryptingWriter<W> {
    /// Seals the remaining plaintext, writes it, flushes the sink and returns it. This cannot be
    /// retried. If the sink can fail temporarily, flush before.
    ///
    /// # Errors
    /// [`Error::Io`] if the sink fails, and [`Error::Provider`] if signing fails.
    #[must_use = "the message is complete only if `finish` succeeded"]
    pub fn finish(mut self) -> Result<W> {
        on_this_thread(self.poll_shut(&mut Context::from_waker(Waker::noop())))?;
        Ok(self.sink)
    }
}

impl<W: Accept> EncryptingWriter<W> {
    fn poll_take(&mut self, context: &mut Context<'_>, plaintext: &[u8]) -> Poll<io::Result<usize>> {
        self.state.poll_write(context, &mut self.sink, plaintext)
    }

    fn poll_through(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.poll_flush(context, &mut self.sink)
    }

    fn poll_shut(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.poll_close(context, &mut self.sink)
    }
}

/// A function that makes the machine for a header, for which it requests the materials.
pub(crate) type Opener<'a> = Box<dyn FnOnce(ReceivedHeader) -> Opening<'a> + Send + 'a>;

/// A future that awaits the materials and makes the machine.
pub(crate) type Opening<'a> = Pin<Box<dyn Future<Output = Result<Decryptor>> + Send + 'a>>;

/// A writer that decrypts the message written to it, and writes the plaintext to its sink.
///
/// | sink | the writer implements | the message is verified by |
/// |---|---|---|
/// | [`std::io::Write`] | [`std::io::Write`] | [`finish`](Self::finish) |
/// | `io::Tokio` (feature `tokio`) | `tokio::io::AsyncWrite` | `shutdown` |
/// | `io::Futures` (feature `futures`) | `futures_io::AsyncWrite` | `close` |
///
/// Plaintext is written frame by frame, once each frame is authenticated: at the latest with the
/// next write, a flush or the end, and with [several threads](crate::ClientBuilder::threads) at the
/// latest with a flush or the end. Only the last step confirms that the message was complete.
/// Signed messages are refused, unless the caller chose to [release them
/// unverified](crate::Decrypt::release_unverified).
///
/// The keyring is asked once the header is complete. A writer over `std::io` waits for it in the
/// write that completes the header; an asynchronous one awaits it in the next write, in a flush or
/// in the last step. A write takes at most 64 KiB, and only once the sink has taken the output
/// before it. An asynchronous writer never blocks the thread, and a cancelled write has taken
/// nothing.
///
/// ```
/// use std::io::Write;
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let message = client.encrypt(&keyring).unsigned().bytes(b"text").wait()?.message;
///
/// let mut writer = client.decrypt(&keyring).writer(Vec::new());
/// writer.write_all(&message)?;
/// assert_eq!(writer.finish()?.plaintext, b"text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the message is verified only after `finish`, `shutdown` or `close`"]
pub struct DecryptingWriter<'a, W> {
    sink: W,
    stage: Stage<'a>,
}

enum Stage<'a> {
    Header(Box<HeaderDecoder>, Opener<'a>),
    Opening(Opening<'a>),
    Body(Box<State<Decryptor>>),
    Failed,
}

impl<'a, W> DecryptingWriter<'a, W> {
    pub(crate) fn new(sink: W, decoder: HeaderDecoder, opener: Opener<'a>) -> Self {
        Self { sink, stage: Stage::Header(Box::new(decoder), opener) }
    }

    /// Returns the sink, with the header and the keyring, once the writer has been shut down or
    /// closed.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if it was not, or [`Error::Ended`] if it failed. The plaintext in
    /// the sink is then incomplete.
    pub fn into_decrypted(self) -> Result<Decrypted<W>> {
        match self.stage {
            Stage::Body(state) => match *state {
                State::Closed(Finished { header, opened_by, .. }) => {
                    Ok(Decrypted { plaintext: self.sink, header, opened_by })
                }
                State::Failed => Err(Error::Ended),
                _ => Err(FormatError::Truncated.into()),
            },
            Stage::Failed => Err(Error::Ended),
            _ => Err(FormatError::Truncated.into()),
        }
    }

    /// Returns the sink, whether or not the message was complete.
    pub fn into_inner(self) -> W {
        self.sink
    }
}

impl<W: Write> DecryptingWriter<'_, W> {
    /// Checks that the message was complete, writes the plaintext that was held back until then,
    /// flushes the sink and returns it, as the `plaintext` of the result.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if the message is truncated, [`Error::Integrity`] if its end or
    /// signature is not authentic, [`Error::Ended`] if the message was refused by an earlier write,
    /// and [`Error::Io`] if the sink fails.
    #[must_use = "the message is verified only if `finish` succeeded"]
    pub fn finish(mut self) -> Result<Decrypted<W>> {
        on_this_thread(self.poll_shut(&mut Context::from_waker(Waker::noop())))?;
        self.into_decrypted()
    }
}

impl<W: Accept> DecryptingWriter<'_, W> {
    /// Obtains the machine, if the materials for it were requested.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Stage::Opening(opening) = &mut self.stage {
            let opened = if W::BLOCKS { wait(opening) } else { ready!(opening.as_mut().poll(context)) };
            self.stage = match opened {
                Ok(machine) => Stage::Body(Box::new(State::Running(machine))),
                Err(error) => {
                    self.stage = Stage::Failed;
                    return Poll::Ready(Err(error.into()));
                }
            };
        }
        Poll::Ready(Ok(()))
    }

    fn poll_take(&mut self, context: &mut Context<'_>, message: &[u8]) -> Poll<io::Result<usize>> {
        if message.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_open(context))?;
        match &mut self.stage {
            Stage::Body(state) => state.poll_write(context, &mut self.sink, message),
            Stage::Header(..) => {
                let taken = self.take_header(message)?;
                if W::BLOCKS {
                    ready!(self.poll_open(context))?;
                }
                Poll::Ready(Ok(taken))
            }
            Stage::Opening(_) | Stage::Failed => Poll::Ready(Err(Error::Ended.into())),
        }
    }

    fn take_header(&mut self, message: &[u8]) -> Result<usize> {
        let Stage::Header(mut decoder, opener) = std::mem::replace(&mut self.stage, Stage::Failed) else {
            return Err(Error::Ended);
        };
        let (taken, header) = decoder.push(message)?;
        self.stage = match header {
            Some(header) => Stage::Opening(opener(header)),
            None => Stage::Header(decoder, opener),
        };
        Ok(taken)
    }

    fn poll_through(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?;
        match &mut self.stage {
            Stage::Body(state) => state.poll_flush(context, &mut self.sink),
            Stage::Header(..) => self.sink.poll_flush(context),
            Stage::Opening(_) | Stage::Failed => Poll::Ready(Err(Error::Ended.into())),
        }
    }

    fn poll_shut(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?;
        match &mut self.stage {
            Stage::Body(state) => state.poll_close(context, &mut self.sink),
            Stage::Header(..) => {
                self.stage = Stage::Failed;
                Poll::Ready(Err(Error::from(FormatError::Truncated).into()))
            }
            Stage::Opening(_) | Stage::Failed => Poll::Ready(Err(Error::Ended.into())),
        }
    }
}

macro_rules! families {
    ($($writer:ident<$($lifetime:lifetime,)? W>),*) => {$(
        impl<W: Write> Write for $writer<$($lifetime,)? W> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                on_this_thread(self.poll_take(&mut Context::from_waker(Waker::noop()), bytes))
            }

            fn flush(&mut self) -> io::Result<()> {
                on_this_thread(self.poll_through(&mut Context::from_waker(Waker::noop())))
            }
        }

        #[cfg(feature = "tokio")]
        impl<W: tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for $writer<$($lifetime,)? super::Tokio<W>> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_take(context, bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_through(context)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_shut(context)
            }
        }

        #[cfg(feature = "futures")]
        impl<W: futures_io::AsyncWrite + Unpin> futures_io::AsyncWrite for $writer<$($lifetime,)? super::Futures<W>> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_take(context, bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_through(context)
            }

            fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_shut(context)
            }
        }

        // Only the sink is ever pinned, and it is `Unpin`.
        impl<W: Unpin> Unpin for $writer<$($lifetime,)? W> {}
    )*};
}

families!(EncryptingWriter<W>, DecryptingWriter<'_, W>);
