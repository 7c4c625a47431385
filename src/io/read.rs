//! Readers: the message, or the plaintext, is read out of them.

use std::io::{self, Read};

use super::{pump::Pump, read_some};
use crate::{
    error::{FormatError, Result},
    format::{Header, HeaderDecoder, ReceivedHeader},
    materials::OpenedBy,
    message::{Decryptor, Encryptor},
};

/// Reads the header of a message from a source; also, what was read of the body with it.
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

/// Encrypts what it reads: the plaintext goes in at the source, the message is read out.
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
#[must_use = "a message is read out of it"]
pub struct EncryptingReader<R> {
    source: R,
    header: Header,
    pump: Pump<Encryptor>,
}

impl<R: Read> EncryptingReader<R> {
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

/// Decrypts what it reads: the message goes in at the source, the plaintext is read out.
///
/// Plaintext is released frame by frame, each once it is authenticated. The end (`Ok(0)`) comes only once the whole
/// message is verified and the source has ended; a message that is cut off ends in an error. Signed messages are
/// refused, unless the caller asked to [release them unverified](crate::Decrypt::release_unverified).
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
#[must_use = "a plaintext is read out of it, and verified at its end"]
pub struct DecryptingReader<R> {
    source: R,
    header: Header,
    opened_by: OpenedBy,
    pump: Pump<Decryptor>,
}

impl<R: Read> DecryptingReader<R> {
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
