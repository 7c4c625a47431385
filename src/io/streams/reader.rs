//! Readers: the message, or the plaintext, is read out of them.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::poll::{PollRead, poll_some, yield_now};
use crate::{
    error::{Error, FormatError, Result},
    format::{Header, HeaderDecoder, ReceivedHeader},
    materials::OpenedBy,
    message::{CHUNK, Decryptor, Encryptor, Machine},
};

/// Reads the header of a message from a source; also, what was read of the body with it.
pub(crate) async fn await_header(
    mut source: impl PollRead,
    mut decoder: HeaderDecoder,
) -> Result<(ReceivedHeader, Vec<u8>)> {
    let mut buffer = vec![0; 4096];
    loop {
        let count = poll_fn(|context| poll_some(&mut source, context, &mut buffer)).await?;
        if count == 0 {
            return Err(FormatError::Truncated.into());
        }
        if let (taken, Some(header)) = decoder.push(&buffer[..count])? {
            return Ok((header, buffer[taken..count].to_vec()));
        }
    }
}

/// What a reader is at.
enum State<M: Machine> {
    /// Turning input into output.
    Running(M),
    /// Waiting for other threads, after the end of the source.
    Settling(M),
    /// Giving out the last of the output, from a position on.
    Ending(M::End, usize),
    /// An error has ended it.
    Failed,
}

impl<M: Machine> State<M> {
    /// Reads output into `buffer`. Every error is final but `Interrupted` and `WouldBlock`: a source that fails and then
    /// reports its end must not make a message, or a plaintext, that looks whole.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        source: &mut impl PollRead,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut worked = false;
        loop {
            match self {
                Self::Running(machine) => {
                    if buffer.is_empty() {
                        return Poll::Ready(Ok(0));
                    }
                    if !machine.output().is_empty() {
                        let count = machine.output().len().min(buffer.len());
                        buffer[..count].copy_from_slice(&machine.output()[..count]);
                        machine.consume(count);
                        return Poll::Ready(Ok(count));
                    }
                    if worked {
                        // A frame is longer than what one poll may work on, or ends with the next byte.
                        return yield_now(context);
                    }
                    let ready = ready!(machine.poll_ready(context));
                    ready.map_err(|error| self.fail(error))?;
                    let Self::Running(machine) = self else { return Poll::Ready(Err(Error::Ended.into())) };
                    if !machine.output().is_empty() {
                        continue;
                    }
                    let room = machine.spare();
                    let room = room.len().min(CHUNK);
                    let count = match ready!(poll_some(source, context, &mut machine.spare()[..room])) {
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                            return Poll::Ready(Err(self.fail(error.into())));
                        }
                        outcome => outcome?,
                    };
                    worked = true;
                    if count > 0 {
                        machine.advance(count).map_err(|error| Self::fail(self, error))?;
                    } else if let Self::Running(machine) = std::mem::replace(self, Self::Failed) {
                        *self = Self::Settling(machine);
                    }
                }
                Self::Settling(machine) => {
                    let settled = ready!(machine.poll_settle(context));
                    settled.map_err(|error| self.fail(error))?;
                    self.end()?;
                }
                Self::Ending(rest, at) => {
                    let rest = rest.as_ref();
                    let count = (rest.len() - *at).min(buffer.len());
                    buffer[..count].copy_from_slice(&rest[*at..*at + count]);
                    *at += count;
                    return Poll::Ready(Ok(count));
                }
                Self::Failed => return Poll::Ready(Err(Error::Ended.into())),
            }
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if let Self::Settling(machine) = std::mem::replace(self, Self::Failed) {
            *self = Self::Ending(machine.finish()?, 0);
        }
        Ok(())
    }

    fn fail(&mut self, error: Error) -> io::Error {
        *self = Self::Failed;
        error.into()
    }
}

/// Encrypts what it reads: the plaintext goes in at the source, the message is read out. It is a reader of Tokio's or of
/// the `futures` crates, as its source is.
///
/// ```
/// # #[cfg(feature = "tokio")] {
/// use sealwax::{Client, keyring::RawAesKeyring};
/// use tokio::io::AsyncReadExt;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let mut reader = client.encrypt(&keyring).tokio_reader(&b"text"[..]).await?;
/// let mut message = Vec::new();
/// reader.read_to_end(&mut message).await?;
/// assert_eq!(client.decrypt(&keyring).bytes(&message).await?.plaintext, b"text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
#[must_use = "a message is read out of it"]
pub struct AsyncEncryptingReader<R> {
    source: R,
    header: Header,
    state: State<Encryptor>,
}

impl<R> AsyncEncryptingReader<R> {
    pub(crate) fn new(source: R, machine: Encryptor) -> Self {
        Self { source, header: machine.header().clone(), state: State::Running(machine) }
    }

    /// The header of the message.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Gives the source back; the message is not whole unless it was read to its end.
    pub fn into_inner(self) -> R {
        self.source
    }
}

/// Decrypts what it reads: the message goes in at the source, the plaintext is read out. It is a reader of Tokio's or of
/// the `futures` crates, as its source is.
///
/// Plaintext is released frame by frame, each once it is authenticated. The end comes only once the whole
/// message is verified and the source has ended; a message that is cut off ends in an error. Signed messages are refused, unless
/// the caller asked to [release them unverified](crate::Decrypt::release_unverified).
///
/// A poll works on 64 KiB of the message at most, and on a frame that these complete. A read that is cancelled loses nothing.
///
/// ```
/// # #[cfg(feature = "tokio")] {
/// use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
/// use tokio::io::AsyncReadExt;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// let message = client.encrypt(&keyring).suite(unsigned).bytes(b"text").await?.message;
///
/// let mut text = String::new();
/// client.decrypt(&keyring).tokio_reader(&message[..]).await?.read_to_string(&mut text).await?;
/// assert_eq!(text, "text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
#[must_use = "a plaintext is read out of it, and verified at its end"]
pub struct AsyncDecryptingReader<R> {
    source: R,
    header: Header,
    opened_by: OpenedBy,
    state: State<Decryptor>,
}

impl<R> AsyncDecryptingReader<R> {
    /// `ahead` is what was read of the body already.
    pub(crate) fn new(source: R, mut machine: Decryptor, ahead: &[u8]) -> Result<Self> {
        machine.push(ahead)?;
        let (header, opened_by) = (machine.header().clone(), machine.opened_by().clone());
        Ok(Self { source, header, opened_by, state: State::Running(machine) })
    }

    /// The header, which is authentic; if the message is signed, its signature is not verified before the end.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Which keyring opened the message.
    pub fn opened_by(&self) -> &OpenedBy {
        &self.opened_by
    }

    /// Gives the source back; the message is not verified unless it was read to its end.
    pub fn into_inner(self) -> R {
        self.source
    }
}

macro_rules! families {
    ($($reader:ident),*) => {$(
        #[cfg(feature = "tokio")]
        impl<R: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for $reader<R> {
            fn poll_read(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let Self { source, state, .. } = &mut *self;
                let room = buffer.initialize_unfilled();
                let count = ready!(state.poll_read(context, &mut super::Tokio(source), room))?;
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
        }

        #[cfg(feature = "futures")]
        impl<R: futures_io::AsyncRead + Unpin> futures_io::AsyncRead for $reader<R> {
            fn poll_read(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let Self { source, state, .. } = &mut *self;
                state.poll_read(context, &mut super::Futures(source), buffer)
            }
        }

        // Nothing in it is pinned but the source, which may be moved.
        impl<R: Unpin> Unpin for $reader<R> {}
    )*};
}

families!(AsyncEncryptingReader, AsyncDecryptingReader);
