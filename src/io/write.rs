//! Writers that take plaintext or a message.

use std::io::{self, Write};

use crate::{
    error::{Error, FormatError, Result},
    format::{Header, HeaderDecoder, ReceivedHeader},
    materials::OpenedBy,
    message::{CHUNK, Decryptor, Encryptor, Machine},
};

/// A writer that encrypts the plaintext written to it, and writes the message to its sink.
///
/// [`finish`](Self::finish) completes the message. A writer that is dropped without it leaves a
/// truncated message, which no reader accepts.
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
#[must_use = "the message is complete only after `finish`"]
pub struct EncryptingWriter<W> {
    machine: Encryptor,
    sink: W,
}

impl<W: Write> EncryptingWriter<W> {
    pub(crate) fn new(sink: W, machine: Encryptor) -> Self {
        Self { machine, sink }
    }

    /// Returns the header of the message.
    pub fn header(&self) -> &Header {
        self.machine.header()
    }

    /// Seals the remaining plaintext, writes it, flushes the sink and returns it. This cannot be
    /// retried. If the sink can fail temporarily, flush before.
    ///
    /// # Errors
    /// [`Error::Io`] if the sink fails, and [`Error::Provider`] if signing fails.
    #[must_use = "the message is complete only if `finish` succeeded"]
    pub fn finish(mut self) -> Result<W> {
        let rest = self.machine.finish()?;
        self.sink.write_all(&rest)?;
        self.sink.flush()?;
        Ok(self.sink)
    }
}

impl<W: Write> Write for EncryptingWriter<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        drain(&mut self.sink, &mut self.machine)?;
        let taken = &plaintext[..plaintext.len().min(CHUNK)];
        self.machine.push(taken)?;
        Ok(taken.len())
    }

    /// Writes the frames that are ready. Plaintext that does not fill a frame is kept, because only
    /// the final frame may be short.
    fn flush(&mut self) -> io::Result<()> {
        self.machine.settle()?;
        drain(&mut self.sink, &mut self.machine)?;
        self.sink.flush()
    }
}

/// Writes all output that is ready to the sink. What the sink does not take stays in the machine.
fn drain<M: Machine>(sink: &mut impl Write, machine: &mut M) -> io::Result<()> {
    while !machine.output().is_empty() {
        match sink.write(machine.output()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => machine.consume(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A function that makes the machine for a header, for which it requests the materials.
pub(crate) type Opener<'a> = Box<dyn FnOnce(ReceivedHeader) -> Result<Decryptor> + Send + 'a>;

/// A writer that decrypts the message written to it, and writes the plaintext to its sink.
///
/// Plaintext is written frame by frame, once each frame is authenticated: at the latest with the
/// next write, a flush or the end, and with [several threads](crate::ClientBuilder::threads) at the
/// latest with a flush or the end. Only [`finish`](Self::finish) confirms that the message was
/// complete. Signed messages are refused, unless the caller chose to [release them
/// unverified](crate::Decrypt::release_unverified).
///
/// The write that completes the header waits for the keyring on the calling thread.
///
/// ```
/// use std::io::Write;
/// use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// let message = client.encrypt(&keyring).suite(unsigned).bytes(b"text").wait()?.message;
///
/// let mut writer = client.decrypt(&keyring).writer(Vec::new());
/// writer.write_all(&message)?;
/// assert_eq!(writer.finish()?.sink, b"text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the message is verified only after `finish`"]
pub struct DecryptingWriter<'a, W> {
    stage: Stage<'a>,
    sink: W,
}

enum Stage<'a> {
    Header(Box<HeaderDecoder>, Opener<'a>),
    Body(Box<Decryptor>),
    Failed,
}

/// The result of a message that was written to a decrypting writer and verified.
#[non_exhaustive]
pub struct Written<W> {
    /// The sink that received the plaintext.
    pub sink: W,
    /// The header of the message.
    pub header: Header,
    /// The keyring that unwrapped the data key.
    pub opened_by: OpenedBy,
}

impl<'a, W: Write> DecryptingWriter<'a, W> {
    pub(crate) fn new(sink: W, decoder: HeaderDecoder, opener: Opener<'a>) -> Self {
        Self { stage: Stage::Header(Box::new(decoder), opener), sink }
    }

    /// Checks that the message was complete, writes the plaintext that was held back until then,
    /// flushes the sink and returns it.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if the message is truncated, [`Error::Integrity`] if its end or
    /// signature is not authentic, [`Error::Ended`] if the message was refused by an earlier write,
    /// and [`Error::Io`] if the sink fails.
    #[must_use = "the message is verified only if `finish` succeeded"]
    pub fn finish(mut self) -> Result<Written<W>> {
        let machine = match self.stage {
            Stage::Body(machine) => machine,
            Stage::Header(..) => return Err(FormatError::Truncated.into()),
            Stage::Failed => return Err(Error::Ended),
        };
        let finished = machine.finish()?;
        self.sink.write_all(&finished.plaintext)?;
        self.sink.flush()?;
        Ok(Written { sink: self.sink, header: finished.header, opened_by: finished.opened_by })
    }

    fn write_header(&mut self, message: &[u8]) -> Result<usize> {
        let Stage::Header(mut decoder, opener) = std::mem::replace(&mut self.stage, Stage::Failed) else {
            return Err(Error::Ended);
        };
        let (taken, header) = decoder.push(message)?;
        self.stage = match header {
            Some(header) => Stage::Body(Box::new(opener(header)?)),
            None => Stage::Header(decoder, opener),
        };
        Ok(taken)
    }
}

impl<W: Write> Write for DecryptingWriter<'_, W> {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        if message.is_empty() {
            return Ok(0);
        }
        match &mut self.stage {
            Stage::Header(..) => Ok(self.write_header(message)?),
            Stage::Body(machine) => {
                drain(&mut self.sink, &mut **machine)?;
                let taken = &message[..message.len().min(CHUNK)];
                machine.push(taken)?;
                Ok(taken.len())
            }
            Stage::Failed => Err(Error::Ended.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Stage::Body(machine) = &mut self.stage {
            machine.settle()?;
            drain(&mut self.sink, &mut **machine)?;
        }
        self.sink.flush()
    }
}
