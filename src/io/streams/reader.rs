//! Readers: the message, or the plaintext, is read out of them.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use crate::{
    error::{FormatError, Result},
    format::{Header, HeaderDecoder, ReceivedHeader},
    io::pump::{PollRead, Pump, poll_some},
    materials::OpenedBy,
    message::{Decryptor, Encryptor},
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
    pump: Pump<Encryptor>,
}

impl<R> AsyncEncryptingReader<R> {
    pub(crate) fn new(source: R, machine: Encryptor) -> Self {
        Self { source, header: machine.header().clone(), pump: Pump::new(machine) }
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
    pump: Pump<Decryptor>,
}

impl<R> AsyncDecryptingReader<R> {
    /// `ahead` is what was read of the body already.
    pub(crate) fn new(source: R, mut machine: Decryptor, ahead: &[u8]) -> Result<Self> {
        machine.push(ahead)?;
        let (header, opened_by) = (machine.header().clone(), machine.opened_by().clone());
        Ok(Self { source, header, opened_by, pump: Pump::new(machine) })
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
                let Self { source, pump, .. } = &mut *self;
                let room = buffer.initialize_unfilled();
                let count = ready!(pump.poll_read(context, &mut super::Tokio(source), room))?;
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
                let Self { source, pump, .. } = &mut *self;
                pump.poll_read(context, &mut super::Futures(source), buffer)
            }
        }

        // Nothing in it is pinned but the source, which may be moved.
        impl<R: Unpin> Unpin for $reader<R> {}
    )*};
}

families!(AsyncEncryptingReader, AsyncDecryptingReader);
