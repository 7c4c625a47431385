//! Writers that take plaintext or a message.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::poll::{PollWrite, poll_offer};
use crate::{
    error::{Error, FormatError, Result},
    format::{Header, HeaderDecoder, ReceivedHeader},
    io::Written,
    message::{Decryptor, Encryptor, Finished, Machine},
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
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        sink: &mut impl PollWrite,
        input: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(context, sink))?;
        if let Self::Running(machine) = self {
            let ready = ready!(machine.poll_ready(context));
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
    fn poll_drain(&mut self, context: &mut Context<'_>, sink: &mut impl PollWrite) -> Poll<io::Result<()>> {
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

    fn poll_flush(&mut self, context: &mut Context<'_>, sink: &mut impl PollWrite) -> Poll<io::Result<()>> {
        ready!(self.poll_settle(context))?;
        ready!(self.poll_drain(context, sink))?;
        sink.poll_flush(context)
    }

    /// Waits for the batches that other threads still process. Registers a waker instead of
    /// blocking the thread.
    fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Running(machine) = self else { return Poll::Ready(Ok(())) };
        let settled = ready!(machine.poll_settle(context));
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
    fn poll_close(&mut self, context: &mut Context<'_>, sink: &mut impl PollWrite) -> Poll<io::Result<()>> {
        ready!(self.poll_settle(context))?;
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

/// An asynchronous writer that encrypts the plaintext written to it, and writes the message to its
/// sink. It implements the traits of Tokio or of the `futures` crates, depending on its sink.
///
/// **Shutting it down** (`shutdown` with Tokio, `close` with the `futures` crates) completes the
/// message and closes the sink. A writer that is dropped without it leaves a truncated message,
/// which no reader accepts.
///
/// A write takes at most 64 KiB, and only once the sink has taken the output before it. It never
/// blocks the thread. A cancelled write has taken nothing.
///
/// ```
/// # #[cfg(feature = "tokio")] {
/// use sealwax::{Client, keyring::RawAesKeyring};
/// use tokio::io::AsyncWriteExt;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let mut writer = client.encrypt(&keyring).tokio_writer(Vec::new()).await?;
/// writer.write_all(b"some text").await?;
/// writer.shutdown().await?;
/// let message = writer.into_inner();
/// assert_eq!(client.decrypt(&keyring).bytes(&message).await?.plaintext, b"some text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
#[must_use = "the message is complete only after the writer was shut down"]
pub struct AsyncEncryptingWriter<W> {
    sink: W,
    header: Header,
    state: State<Encryptor>,
}

impl<W> AsyncEncryptingWriter<W> {
    pub(crate) fn new(sink: W, machine: Encryptor) -> Self {
        Self { sink, header: machine.header().clone(), state: State::Running(machine) }
    }

    /// Returns the header of the message.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the sink. The message in it is complete only if the writer was shut down.
    pub fn into_inner(self) -> W {
        self.sink
    }
}

/// A function that makes the machine for a header, for which it awaits the materials.
pub(crate) type AsyncOpener<'a> = Box<dyn FnOnce(ReceivedHeader) -> Opening<'a> + Send + 'a>;

/// A future that awaits the materials and makes the machine.
type Opening<'a> = Pin<Box<dyn Future<Output = Result<Decryptor>> + Send + 'a>>;

/// An asynchronous writer that decrypts the message written to it, and writes the plaintext to its
/// sink. It implements the traits of Tokio or of the `futures` crates, depending on its sink.
///
/// Plaintext is written frame by frame, once each frame is authenticated: at the latest with the
/// next write, a flush or the end, and with [several threads](crate::ClientBuilder::threads) at the
/// latest with a flush or the end. **Only shutting it down** (`shutdown` with Tokio, `close` with
/// the `futures` crates) confirms that the message was complete. It also closes the sink. Signed
/// messages are refused, unless the caller chose to [release them
/// unverified](crate::Decrypt::release_unverified).
///
/// The keyring is awaited by the write that follows the header, by a flush or by the shutdown. A
/// write takes at most 64 KiB, and only once the sink has taken the output before it. It never
/// blocks the thread. A cancelled write has taken nothing.
///
/// ```
/// # #[cfg(feature = "tokio")] {
/// use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
/// use tokio::io::AsyncWriteExt;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// let message = client.encrypt(&keyring).suite(unsigned).bytes(b"text").await?.message;
///
/// let mut writer = client.decrypt(&keyring).tokio_writer(Vec::new());
/// writer.write_all(&message).await?;
/// writer.shutdown().await?;
/// assert_eq!(writer.into_written()?.sink, b"text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
#[must_use = "the message is verified only after the writer was shut down"]
pub struct AsyncDecryptingWriter<'a, W> {
    sink: W,
    stage: Stage<'a>,
}

enum Stage<'a> {
    Header(Box<HeaderDecoder>, AsyncOpener<'a>),
    Opening(Opening<'a>),
    Body(Box<State<Decryptor>>),
    Failed,
}

impl<'a, W> AsyncDecryptingWriter<'a, W> {
    pub(crate) fn new(sink: W, decoder: HeaderDecoder, opener: AsyncOpener<'a>) -> Self {
        Self { sink, stage: Stage::Header(Box::new(decoder), opener) }
    }

    /// Returns the sink, with the header and the keyring, once the writer has been shut down.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if it was not shut down, or [`Error::Ended`] if it failed. The
    /// plaintext in the sink is then incomplete.
    pub fn into_written(self) -> Result<Written<W>> {
        match self.stage {
            Stage::Body(state) => match *state {
                State::Closed(Finished { header, opened_by, .. }) => Ok(Written { sink: self.sink, header, opened_by }),
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

impl Stage<'_> {
    /// Awaits the materials, if they were requested.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Opening(opening) = self {
            *self = match ready!(opening.as_mut().poll(context)) {
                Ok(machine) => Self::Body(Box::new(State::Running(machine))),
                Err(error) => {
                    *self = Self::Failed;
                    return Poll::Ready(Err(error.into()));
                }
            };
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        sink: &mut impl PollWrite,
        message: &[u8],
    ) -> Poll<io::Result<usize>> {
        if message.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_open(context))?;
        match self {
            Self::Body(state) => state.poll_write(context, sink, message),
            Self::Header(..) => Poll::Ready(self.write_header(message).map_err(Into::into)),
            Self::Opening(_) | Self::Failed => Poll::Ready(Err(Error::Ended.into())),
        }
    }

    fn write_header(&mut self, message: &[u8]) -> Result<usize> {
        let Self::Header(mut decoder, opener) = std::mem::replace(self, Self::Failed) else {
            return Err(Error::Ended);
        };
        let (taken, header) = decoder.push(message)?;
        *self = match header {
            Some(header) => Self::Opening(opener(header)),
            None => Self::Header(decoder, opener),
        };
        Ok(taken)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>, sink: &mut impl PollWrite) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?;
        match self {
            Self::Body(state) => state.poll_flush(context, sink),
            Self::Header(..) => sink.poll_flush(context),
            Self::Opening(_) | Self::Failed => Poll::Ready(Err(Error::Ended.into())),
        }
    }

    fn poll_close(&mut self, context: &mut Context<'_>, sink: &mut impl PollWrite) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?;
        match self {
            Self::Body(state) => state.poll_close(context, sink),
            Self::Header(..) => {
                *self = Self::Failed;
                Poll::Ready(Err(Error::from(FormatError::Truncated).into()))
            }
            Self::Opening(_) | Self::Failed => Poll::Ready(Err(Error::Ended.into())),
        }
    }
}

macro_rules! families {
    ($($writer:ident<$($lifetime:lifetime,)? W>: $state:ident),*) => {$(
        #[cfg(feature = "tokio")]
        impl<W: tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for $writer<$($lifetime,)? W> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let Self { sink, $state, .. } = &mut *self;
                $state.poll_write(context, &mut super::Tokio(sink), bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                let Self { sink, $state, .. } = &mut *self;
                $state.poll_flush(context, &mut super::Tokio(sink))
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                let Self { sink, $state, .. } = &mut *self;
                $state.poll_close(context, &mut super::Tokio(sink))
            }
        }

        #[cfg(feature = "futures")]
        impl<W: futures_io::AsyncWrite + Unpin> futures_io::AsyncWrite for $writer<$($lifetime,)? W> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let Self { sink, $state, .. } = &mut *self;
                $state.poll_write(context, &mut super::Futures(sink), bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                let Self { sink, $state, .. } = &mut *self;
                $state.poll_flush(context, &mut super::Futures(sink))
            }

            fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                let Self { sink, $state, .. } = &mut *self;
                $state.poll_close(context, &mut super::Futures(sink))
            }
        }

        // Only the sink is ever pinned, and it is `Unpin`.
        impl<W: Unpin> Unpin for $writer<$($lifetime,)? W> {}
    )*};
}

families!(AsyncEncryptingWriter<W>: state, AsyncDecryptingWriter<'_, W>: stage);
