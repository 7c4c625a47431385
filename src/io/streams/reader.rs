//! Readers that return a message or its plaintext.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    error::{FormatError, Result},
    format::{Header, HeaderDecoder, ReceivedHeader},
    io::pump::{PollRead, Pump, poll_some},
    materials::OpenedBy,
    message::{Decryptor, Encryptor},
};

/// Reads the header of a message from a source. Also returns the bytes of the body that were read
/// with the header.
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

/// An asynchronous reader that encrypts: it reads the plaintext from a source and returns the
/// message. It implements the traits of Tokio or of the `futures` crates, depending on its source.
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
#[must_use = "nothing is encrypted until the message is read"]
pub struct AsyncEncryptingReader<R> {
    source: R,
    header: Header,
    pump: Pump<Encryptor>,
}

impl<R> AsyncEncryptingReader<R> {
    pub(crate) fn new(source: R, machine: Encryptor) -> Self {
        Self { source, header: machine.header().clone(), pump: Pump::new(machine) }
    }

    /// Returns the header of the message.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the source. The message is complete only if it was read to its end.
    pub fn into_inner(self) -> R {
        self.source
    }
}

/// An asynchronous reader that decrypts: it reads the message from a source and returns the
/// plaintext. It implements the traits of Tokio or of the `futures` crates, depending on its
/// source.
///
/// Plaintext is released frame by frame, once each frame is authenticated. The end is returned only
/// once the whole message has been verified and the source has ended. A truncated message ends in
/// an error. Signed messages are refused, unless the caller chose to [release them
/// unverified](crate::Decrypt::release_unverified).
///
/// A poll processes at most 64 KiB of the message, and a frame that these complete. It never blocks
/// the thread. A cancelled read loses nothing. An error of the source is returned after all output
/// of the input before it.
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
#[must_use = "nothing is decrypted until the plaintext is read, and the message is verified only at its end"]
pub struct AsyncDecryptingReader<R> {
    source: R,
    header: Header,
    opened_by: OpenedBy,
    pump: Pump<Decryptor>,
}

impl<R> AsyncDecryptingReader<R> {
    /// `ahead` holds the bytes of the body that were already read.
    pub(crate) fn new(source: R, mut machine: Decryptor, ahead: &[u8]) -> Result<Self> {
        machine.push(ahead)?;
        let (header, opened_by) = (machine.header().clone(), machine.opened_by().clone());
        Ok(Self { source, header, opened_by, pump: Pump::new(machine) })
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

    /// Returns the source. The message is verified only if it was read to its end.
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
                let count = std::task::ready!(pump.poll_read(context, &mut super::Tokio(source), room))?;
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

        // Only the source is ever pinned, and it is `Unpin`.
        impl<R: Unpin> Unpin for $reader<R> {}
    )*};
}

families!(AsyncEncryptingReader, AsyncDecryptingReader);
