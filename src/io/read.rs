//! Readers that return a message or its plaintext.

use std::io::{self, Read};

use super::{pump::Pump, read_some};
use crate::{
    error::{FormatError, Result},
    format::{Header, HeaderDecoder, ReceivedHeader},
    materials::OpenedBy,
    message::{Decryptor, Encryptor},
};

/// Reads the header of a message from a source. Also returns the bytes of the body that were read
/// with the header.
pub(crate) fn read_header(source: &mut impl Read, mut decoder: HeaderDecoder) -> Result<(ReceivedHeader, Vec<u8>)> {
    let mut buffer = [0; 4096];
    loop {
        let count = read_some(source, &mut buffer)?;
        if count == 0 {
            return Err(FormatError::Truncated.into());
        }
        if let (taken, Some(header)) = decoder.push(&buffer[..count])? {
            return Ok((header, buffer[taken..count].to_vec()));
        }
    }
}

/// A reader that encrypts: it reads the plaintext from a source and returns the message.
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
pub struct EncryptingReader<R> {
    source: R,
    header: Header,
    pump: Pump<Encryptor>,
}

impl<R: Read> EncryptingReader<R> {
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

/// A reader that decrypts: it reads the message from a source and returns the plaintext.
///
/// Plaintext is released frame by frame, once each frame is authenticated. The end (`Ok(0)`) is
/// returned only once the whole message has been verified and the source has ended. A truncated
/// message ends in an error. Signed messages are refused, unless the caller chose to [release them
/// unverified](crate::Decrypt::release_unverified).
///
/// An error of the source is returned after all output of the input before it. Every error except
/// `Interrupted` and `WouldBlock` is final.
///
/// ```
/// use std::io::Read;
/// use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// let message = client.encrypt(&keyring).suite(unsigned).bytes(b"text").wait()?.message;
///
/// let mut text = String::new();
/// client.decrypt(&keyring).reader(&message[..])?.read_to_string(&mut text)?;
/// assert_eq!(text, "text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is decrypted until the plaintext is read, and the message is verified only at its end"]
pub struct DecryptingReader<R> {
    source: R,
    header: Header,
    opened_by: OpenedBy,
    pump: Pump<Decryptor>,
}

impl<R: Read> DecryptingReader<R> {
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

impl<R: Read> Read for EncryptingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pump.read(&mut self.source, buffer)
    }
}

impl<R: Read> Read for DecryptingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pump.read(&mut self.source, buffer)
    }
}
