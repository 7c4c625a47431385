//! Streams of pieces: what a body of HTTP is to most crates.

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

/// A piece of the source that is being worked on, and how far.
pub(crate) type Piece<B> = Option<(B, usize)>;

/// Reads the header of a message from a stream; also, what is left of the piece in which it ended.
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

/// What the source failed of.
fn source_error(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<io::Error>() {
        Ok(error) => (*error).into(),
        Err(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::Io(io::Error::other(error).into()),
        },
    }
}

/// What a stream is at.
enum State<M: Machine> {
    /// Turning input into output. The flag is set while the source is polled: found set, it means
    /// that the source panicked.
    Running(M, bool),
    /// The source has ended, or has failed with this error; what came before is still to be
    /// processed by other threads and to be given out.
    Settling(M, Option<Error>),
    /// The last of the output is still to be given.
    Ending(M::End),
    /// There is nothing more, because the end or an error was given.
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
            // A source may go on, or end, after an error. That must not make a message, or a plaintext, that looks whole.
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
                    // A fault in what came before takes precedence over the error of the source.
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

/// All the output that is ready, as one piece.
fn take_output(machine: &mut impl Machine) -> Bytes {
    let output = Bytes::copy_from_slice(machine.output());
    machine.consume(output.len());
    output
}

/// Encrypts a stream of pieces: plaintext goes in, the message comes out.
///
/// An error of the source is passed on and ends the stream, and the message is then not whole.
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
#[must_use = "a message comes out of it"]
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

    /// The header of the message.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// Decrypts a stream of pieces: the message goes in, plaintext comes out.
///
/// Plaintext is released frame by frame, each once it is authenticated. The stream ends without an error only once the
/// whole message is verified; **after an error it ends too**, and what came before is authentic but not whole. Signed messages are
/// refused, unless the caller asked to [release them unverified](crate::Decrypt::release_unverified).
///
/// A poll works on 64 KiB of the message at most, and on a frame that these complete. Nothing is asked of the source before the
/// output of what it gave has been taken away.
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
#[must_use = "a plaintext comes out of it, and is verified at its end"]
pub struct DecryptingStream<S, B> {
    source: S,
    piece: Piece<B>,
    header: Header,
    opened_by: OpenedBy,
    state: State<Decryptor>,
}

impl<S, B> DecryptingStream<S, B> {
    /// `piece` is what is left of the piece in which the header ended.
    pub(crate) fn new(source: S, piece: Piece<B>, machine: Decryptor) -> Self {
        let (header, opened_by) = (machine.header().clone(), machine.opened_by().clone());
        Self { source, piece, header, opened_by, state: State::Running(machine, false) }
    }

    /// The header, which is authentic; if the message is signed, its signature is not verified before the end.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Which keyring opened the message.
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

        // Nothing in it is pinned but the source, which may be moved.
        impl<S: Unpin, B> Unpin for $stream<S, B> {}
    )*};
}

streams!(EncryptingStream, DecryptingStream);
