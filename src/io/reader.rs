//! Readers that return a message or its plaintext, over sources of every family.

use std::io::{self, Read, Write};
#[cfg(any(feature = "tokio", feature = "futures"))]
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

#[cfg(any(feature = "tokio", feature = "futures"))]
use super::families::Pieces;
use super::{pump::Pump, source::Source, spool::Spool};
use crate::{
    error::Result,
    format::Header,
    keyring::KeyReport,
    materials::OpenedBy,
    message::{Decryptor, Encryptor},
};

/// A reader that encrypts: it reads the plaintext from a source and returns the message.
///
/// | source | the reader implements |
/// |---|---|
/// | [`std::io::Read`] | [`std::io::Read`] |
/// | `io::Tokio` (feature `tokio`) | `tokio::io::AsyncRead` |
/// | `io::Futures` (feature `futures`) | `futures_io::AsyncRead` |
/// | `io::Pieces` (either of these features) | `futures_core::Stream` of `Bytes` |
///
/// An error of the source is returned after all output of the input before it. Every error except
/// `Interrupted` and `WouldBlock` is final, and the message is then incomplete.
///
/// ```
/// use std::io::Read;
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let plaintext = std::io::repeat(b'x').take(100_000);
/// let mut reader = Client::new().encrypt(&keyring).reader(plaintext).wait()?;
/// let mut message = Vec::new();
/// reader.read_to_end(&mut message)?;
/// # assert!(message.len() > 100_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is encrypted until the message is read"]
pub struct EncryptingReader<S> {
    source: S,
    header: Header,
    key_report: KeyReport,
    pump: Pump<Encryptor>,
}

impl<S> EncryptingReader<S> {
    pub(crate) fn new(source: S, machine: Encryptor) -> Self {
        let (header, key_report) = (machine.header().clone(), machine.key_report().clone());
        Self { source, header, key_report, pump: Pump::new(machine) }
    }

    /// Returns the header of the message.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns a report of the keyrings that wrapped the data key.
    pub fn key_report(&self) -> &KeyReport {
        &self.key_report
    }

    /// Returns a reference to the source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Returns the source. The message is complete only if it was read to its end.
    pub fn into_inner(self) -> S {
        self.source
    }
}

impl<R: Read> EncryptingReader<R> {
    /// Writes all of the message to a sink. Returns its header and the report of the keyrings.
    pub(crate) fn copy_to(mut self, sink: impl Write) -> Result<(Header, KeyReport)> {
        self.pump.copy_to(&mut self.source, sink)?;
        Ok((self.header, self.key_report))
    }
}

impl<R: Read> Read for EncryptingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pump.read(&mut self.source, buffer)
    }
}

/// A reader that decrypts: it reads the message from a source and returns the plaintext.
///
/// | source | the reader implements |
/// |---|---|
/// | [`std::io::Read`] | [`std::io::Read`] |
/// | `io::Tokio` (feature `tokio`) | `tokio::io::AsyncRead` |
/// | `io::Futures` (feature `futures`) | `futures_io::AsyncRead` |
/// | `io::Pieces` (either of these features) | `futures_core::Stream` of `Bytes` |
///
/// Plaintext is released frame by frame, once each frame is authenticated. The end is returned only
/// once the whole message has been verified and the source has ended. A truncated message ends in
/// an error. Of a signed message, nothing is released before the signature has been verified,
/// unless the caller chose to [release it unverified](crate::Decrypt::release_unverified).
///
/// An error of the source is returned after all output of the input before it. Every error except
/// `Interrupted` and `WouldBlock` is final.
///
/// An asynchronous reader processes at most 64 KiB of the message in a poll, and a frame that these
/// complete. It never blocks the thread. A cancelled read loses nothing. A stream ends after an
/// error.
///
/// ```
/// use std::io::Read;
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let message = client.encrypt(&keyring).unsigned().bytes(b"text").wait()?.message;
///
/// let mut text = String::new();
/// client.decrypt(&keyring).open(&message[..])?.into_reader()?.read_to_string(&mut text)?;
/// assert_eq!(text, "text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is decrypted until the plaintext is read, and the message is verified only at its end"]
pub struct DecryptingReader<S> {
    source: S,
    /// What is read instead of the source after a first pass over it.
    spool: Option<Spool>,
    header: Header,
    opened_by: OpenedBy,
    pump: Pump<Decryptor>,
}

impl<S: Source> DecryptingReader<S> {
    /// `ahead` holds the bytes of the body that were already read.
    pub(super) fn new(source: S, mut machine: Decryptor, ahead: &[u8]) -> Result<Self> {
        machine.push(ahead)?;
        Ok(Self::over(source, None, machine))
    }

    /// Creates a reader over the spool of a source that has been read to its end.
    #[cfg(feature = "fs")]
    pub(super) fn over_spool(source: S, spool: Spool, machine: Decryptor) -> Self {
        Self::over(source, Some(spool), machine)
    }

    fn over(source: S, spool: Option<Spool>, machine: Decryptor) -> Self {
        let (header, opened_by) = (machine.header().clone(), machine.opened_by().clone());
        Self { source, spool, header, opened_by, pump: Pump::new(machine) }
    }
}

impl<S> DecryptingReader<S> {
    /// Returns the header, which is authentic. If the message is released unverified, its signature
    /// is verified only at the end.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns which keyring unwrapped the data key.
    pub fn opened_by(&self) -> &OpenedBy {
        &self.opened_by
    }

    /// Returns a reference to the source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Returns the source. The message is verified only if it was read to its end.
    pub fn into_inner(self) -> S {
        self.source
    }
}

impl<R: Read> DecryptingReader<R> {
    /// Writes all of the plaintext to a sink. Returns the header and the keyring.
    pub(super) fn copy_to(mut self, sink: impl Write) -> Result<(Header, OpenedBy)> {
        match &mut self.spool {
            Some(spool) => self.pump.copy_to(spool, sink)?,
            None => self.pump.copy_to(&mut self.source, sink)?,
        }
        Ok((self.header, self.opened_by))
    }
}

impl<R: Read> Read for DecryptingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.spool {
            Some(spool) => self.pump.read(spool, buffer),
            None => self.pump.read(&mut self.source, buffer),
        }
    }
}

#[cfg(any(feature = "tokio", feature = "futures"))]
macro_rules! families {
    ($($reader:ident),*) => {$(
        #[cfg(feature = "tokio")]
        impl<R: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for $reader<super::Tokio<R>> {
            fn poll_read(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let Self { source, pump, .. } = &mut *self;
                let count = ready!(pump.poll_read(context, source, buffer.initialize_unfilled()))?;
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
        }

        #[cfg(feature = "futures")]
        impl<R: futures_io::AsyncRead + Unpin> futures_io::AsyncRead for $reader<super::Futures<R>> {
            fn poll_read(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let Self { source, pump, .. } = &mut *self;
                pump.poll_read(context, source, buffer)
            }
        }

        impl<S, B, E> futures_core::Stream for $reader<Pieces<S, B>>
        where
            S: futures_core::Stream<Item = Result<B, E>> + Unpin,
            B: AsRef<[u8]>,
            E: Into<crate::error::BoxError>,
        {
            type Item = Result<bytes::Bytes>;

            fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                let Self { source, pump, .. } = &mut *self;
                if matches!(pump, Pump::Failed) {
                    return Poll::Ready(None);
                }
                if let Err(error) = ready!(pump.poll_output(context, source)) {
                    // A source may continue after an error. That must not make a message, or a
                    // plaintext, that looks complete.
                    *pump = Pump::Failed;
                    return Poll::Ready(Some(Err(error.into())));
                }
                let output = bytes::Bytes::copy_from_slice(pump.output());
                pump.consume(output.len());
                Poll::Ready((!output.is_empty()).then_some(Ok(output)))
            }
        }

        // Only the source is ever pinned, and it is `Unpin`.
        impl<S: Unpin> Unpin for $reader<S> {}
    )*};
}

#[cfg(any(feature = "tokio", feature = "futures"))]
families!(EncryptingReader, DecryptingReader);
