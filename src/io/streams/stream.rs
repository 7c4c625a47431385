//! Streams of pieces, which is how most crates represent HTTP bodies.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;

use crate::{
    error::{BoxError, Error, FormatError, Result},
    format::{Header, HeaderDecoder, ReceivedHeader},
    io::pump::yield_now,
    materials::OpenedBy,
    message::{Decryptor, Encryptor, Machine},
};

/// A piece of the source that is being processed, and the number of its bytes that were processed.
pub(crate) type Piece<B> = Option<(B, usize)>;

/// Reads the header of a message from a stream. Also returns the rest of the piece in which the
/// header ended.
pub(crate) async fn next_header<S, B, E>(
    source: &mut S,
    mut decoder: HeaderDecoder,
) -> Result<(ReceivedHeader, Piece<B>)>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
    E: Into<BoxError>,
{
    loop {
        match poll_fn(|context| Pin::new(&mut *source).poll_next(context)).await {
            None => return Err(FormatError::Truncated.into()),
            Some(Err(error)) => return Err(source_error(error)),
            Some(Ok(piece)) => {
                if let (taken, Some(header)) = decoder.push(piece.as_ref())? {
                    return Ok((header, Some((piece, taken))));
                }
            }
        }
    }
}

/// Converts an error of the source. An [`io::Error`] or [`Error`] is not wrapped again.
fn source_error(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<io::Error>() {
        Ok(error) => (*error).into(),
        Err(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::Io(io::Error::other(error).into()),
        },
    }
}

/// The state of a stream.
enum State<M: Machine> {
    /// Turning input into output. The flag is set while the source is being polled. If it is
    /// already set, the source panicked.
    Running(M, bool),
    /// The source has ended or failed with this error. The output of the input before that is still
    /// to be produced, possibly by other threads, and returned.
    Settling(M, Option<Error>),
    /// The rest of the output is still to be returned.
    Ending(M::End),
    /// The end or an error was returned.
    Over,
}

impl<M: Machine> State<M> {
    fn poll_next<S, B, E>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
        piece: &mut Piece<B>,
    ) -> Poll<Option<Result<Bytes>>>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: AsRef<[u8]>,
        E: Into<BoxError>,
    {
        let outcome = self.poll_some(context, source, piece);
        if let Poll::Ready(Some(Err(_))) = outcome {
            // A source may continue or end after an error. That must not make a message, or a
            // plaintext, that looks complete.
            *self = Self::Over;
            *piece = None;
        }
        outcome
    }

    fn poll_some<S, B, E>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
        piece: &mut Piece<B>,
    ) -> Poll<Option<Result<Bytes>>>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: AsRef<[u8]>,
        E: Into<BoxError>,
    {
        let mut worked = false;
        loop {
            match self {
                Self::Running(_, true) => return Poll::Ready(Some(Err(Error::Ended))),
                Self::Running(machine, reading) => {
                    if !machine.output().is_empty() {
                        return Poll::Ready(Some(Ok(take_output(machine))));
                    }
                    if worked {
                        return yield_now(context);
                    }
                    ready!(machine.poll_ready(context))?;
                    if !machine.output().is_empty() {
                        continue;
                    }
                    if let Some((bytes, at)) = piece {
                        let rest = bytes.as_ref().get(*at..).unwrap_or_default();
                        *at += machine.accept(rest)?;
                        if *at >= bytes.as_ref().len() {
                            *piece = None;
                        }
                        worked = true;
                        continue;
                    }
                    *reading = true;
                    let next = Pin::new(&mut *source).poll_next(context);
                    *reading = false;
                    let ended = match ready!(next) {
                        Some(Ok(bytes)) => {
                            *piece = Some((bytes, 0));
                            continue;
                        }
                        Some(Err(error)) => Some(source_error(error)),
                        None => None,
                    };
                    if let Self::Running(machine, _) = std::mem::replace(self, Self::Over) {
                        *self = Self::Settling(machine, ended);
                    }
                }
                Self::Settling(machine, error) => {
                    // A fault in the input before the error of the source takes precedence over it.
                    ready!(machine.poll_settle(context))?;
                    if !machine.output().is_empty() {
                        return Poll::Ready(Some(Ok(take_output(machine))));
                    }
                    if let Some(error) = error.take() {
                        return Poll::Ready(Some(Err(error)));
                    }
                    if let Self::Settling(machine, _) = std::mem::replace(self, Self::Over) {
                        *self = Self::Ending(machine.finish()?);
                    }
                }
                Self::Ending(end) => {
                    let last = Bytes::copy_from_slice(end.as_ref());
                    *self = Self::Over;
                    return Poll::Ready(Some(Ok(last)).filter(|last| !matches!(last, Ok(last) if last.is_empty())));
                }
                Self::Over => return Poll::Ready(None),
            }
        }
    }
}

/// Returns all output that is ready as one piece.
fn take_output(machine: &mut impl Machine) -> Bytes {
    let output = Bytes::copy_from_slice(machine.output());
    machine.consume(output.len());
    output
}

/// A stream that encrypts: it takes pieces of plaintext from a source and returns pieces of the
/// message.
///
/// An error of the source is returned after all output of the pieces before it, and ends the
/// stream. The message is then incomplete.
///
/// ```
/// use futures_util::{TryStreamExt, stream};
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let plaintext = stream::iter([std::io::Result::Ok("some "), Ok("text")]);
/// let pieces: Vec<_> = client.encrypt(&keyring).stream(plaintext).await?.try_collect().await?;
/// assert_eq!(client.decrypt(&keyring).bytes(&pieces.concat()).await?.plaintext, b"some text");
/// # Ok::<(), sealwax::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "nothing is encrypted until the stream is polled"]
pub struct EncryptingStream<S, B> {
    source: S,
    piece: Piece<B>,
    header: Header,
    state: State<Encryptor>,
}

impl<S, B> EncryptingStream<S, B> {
    pub(crate) fn new(source: S, machine: Encryptor) -> Self {
        Self { source, piece: None, header: machine.header().clone(), state: State::Running(machine, false) }
    }

    /// Returns the header of the message.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// A stream that decrypts: it takes pieces of a message from a source and returns pieces of
/// plaintext.
///
/// Plaintext is released frame by frame, once each frame is authenticated. The stream ends without
/// an error only once the whole message has been verified. **After an error it ends too**: the
/// plaintext before the error is authentic but incomplete. Signed messages are refused, unless the
/// caller chose to [release them unverified](crate::Decrypt::release_unverified).
///
/// A poll processes at most 64 KiB of the message, and a frame that these complete. It never blocks
/// the thread. The next piece is requested from the source only after the output of the previous
/// one has been taken. An error of the source is returned after all output of the pieces before it.
///
/// ```
/// use futures_util::{TryStreamExt, stream};
/// use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// let message = client.encrypt(&keyring).suite(unsigned).bytes(b"text").await?.message;
///
/// let message = stream::iter(message.chunks(100).map(std::io::Result::Ok));
/// let pieces: Vec<_> = client.decrypt(&keyring).stream(message).await?.try_collect().await?;
/// assert_eq!(pieces.concat(), b"text");
/// # Ok::<(), sealwax::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "nothing is decrypted until the stream is polled, and the message is verified only at its end"]
pub struct DecryptingStream<S, B> {
    source: S,
    piece: Piece<B>,
    header: Header,
    opened_by: OpenedBy,
    state: State<Decryptor>,
}

impl<S, B> DecryptingStream<S, B> {
    /// `piece` is the rest of the piece in which the header ended.
    pub(crate) fn new(source: S, piece: Piece<B>, machine: Decryptor) -> Self {
        let (header, opened_by) = (machine.header().clone(), machine.opened_by().clone());
        Self { source, piece, header, opened_by, state: State::Running(machine, false) }
    }

    /// Returns the header, which is authentic. If the message is signed, its signature is verified
    /// only at the end.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns which keyring unwrapped the data key.
    pub fn opened_by(&self) -> &OpenedBy {
        &self.opened_by
    }
}

macro_rules! streams {
    ($($stream:ident),*) => {$(
        impl<S, B, E> Stream for $stream<S, B>
        where
            S: Stream<Item = Result<B, E>> + Unpin,
            B: AsRef<[u8]>,
            E: Into<BoxError>,
        {
            type Item = Result<Bytes>;

            fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
                let Self { source, piece, state, .. } = &mut *self;
                state.poll_next(context, source, piece)
            }
        }

        // Only the source is ever pinned, and it is `Unpin`.
        impl<S: Unpin, B> Unpin for $stream<S, B> {}
    )*};
}

streams!(EncryptingStream, DecryptingStream);
