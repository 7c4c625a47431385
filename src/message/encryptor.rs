//! The machine that writes a message from plaintext in pieces.

use super::{
    CHUNK, Machine,
    buffer::Buffer,
    encrypt::{FrameSealer, Started},
};
use crate::{
    error::{Error, Result},
    format::Header,
    keyring::KeyReport,
};

/// Writes a message from plaintext that comes in pieces of any size.
///
/// Push plaintext, take the output away, and [`finish`](Self::finish). It holds what does not fill a frame, and the output of
/// what was pushed until that is taken away; it copies only the former.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let mut encryptor = client.encrypt(&keyring).machine().wait()?;
/// let mut message = Vec::new();
/// for piece in [&b"some "[..], b"text"] {
///     encryptor.push(piece)?;
///     message.extend_from_slice(encryptor.output());
///     encryptor.consume(encryptor.output().len());
/// }
/// message.extend(encryptor.finish()?);
/// assert_eq!(client.decrypt(&keyring).bytes(&message).wait()?.plaintext, b"some text");
/// # Ok::<(), sealwax::Error>(())
/// ```
#[must_use = "a message is whole only after `finish`"]
pub struct Encryptor {
    header: Header,
    key_report: KeyReport,
    sealer: FrameSealer,
    /// Plaintext that waits for its frame to be full, and for a byte to follow it.
    input: Buffer,
    /// Sealed frames that wait to be taken away.
    output: Buffer,
    /// How much plaintext may still come.
    bound: Option<Bound>,
    failed: bool,
}

/// A declared bound on the plaintext.
struct Bound {
    limit: u64,
    left: u64,
}

impl Encryptor {
    pub(crate) fn new(started: Started, plaintext_length_bound: Option<u64>) -> Self {
        let Started { header, bytes, sealer, key_report } = started;
        let mut output = Buffer::default();
        output.extend(&bytes);
        let bound = plaintext_length_bound.map(|limit| Bound { limit, left: limit });
        Self { header, key_report, sealer, input: Buffer::default(), output, bound, failed: false }
    }

    /// The header of the message.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// let encryptor = Client::new().encrypt(&keyring).machine().wait()?;
    /// assert_eq!(encryptor.output().len(), encryptor.header().length());
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Which keyrings wrapped the data key.
    #[must_use]
    pub fn key_report(&self) -> &KeyReport {
        &self.key_report
    }

    /// Takes plaintext, all of it. Push it in pieces of some 64 KiB, and take the output away between them, to hold no more.
    ///
    /// # Errors
    /// [`Error::PlaintextTooLong`] past the declared bound or the last frame number. After an error the message is of no use.
    pub fn push(&mut self, plaintext: &[u8]) -> Result<()> {
        self.guarded(|machine| machine.try_push(plaintext))
    }

    fn try_push(&mut self, mut plaintext: &[u8]) -> Result<()> {
        self.count(plaintext.len())?;
        let frame_length = self.sealer.frame_length();
        while !plaintext.is_empty() {
            self.seal_input(true)?;
            if self.input.is_empty() && plaintext.len() > frame_length {
                let (frame, rest) = plaintext.split_at(frame_length);
                seal_regular(&mut self.sealer, frame, &mut self.output)?;
                plaintext = rest;
            } else {
                let (piece, rest) = plaintext.split_at(plaintext.len().min(frame_length - self.input.len()));
                self.input.extend(piece);
                plaintext = rest;
            }
        }
        Ok(())
    }

    /// Seals what the input has of whole frames: those that a byte follows, in it or elsewhere.
    fn seal_input(&mut self, more_follows: bool) -> Result<()> {
        let frame_length = self.sealer.frame_length();
        while self.input.len() + usize::from(more_follows) > frame_length {
            seal_regular(&mut self.sealer, &self.input.filled()[..frame_length], &mut self.output)?;
            self.input.consume(frame_length);
        }
        Ok(())
    }

    fn count(&mut self, taken: usize) -> Result<()> {
        if let Some(Bound { limit, left }) = &mut self.bound {
            let too_long = Error::PlaintextTooLong { limit: *limit, declared: true };
            *left = left.checked_sub(taken as u64).ok_or(too_long)?;
        }
        Ok(())
    }

    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.failed {
            return Err(Error::Ended);
        }
        work(self).inspect_err(|_| {
            self.failed = true;
            self.input.clear();
            self.output.clear();
        })
    }

    /// The part of the message that is ready.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.filled()
    }

    /// Drops output that was taken away.
    pub fn consume(&mut self, count: usize) {
        self.output.consume(count);
    }

    /// Ends the message: gives what is left of it, output that was not taken away first.
    ///
    /// # Errors
    /// As [`push`](Self::push); [`Error::Provider`] if signing fails.
    pub fn finish(self) -> Result<Vec<u8>> {
        if self.failed {
            return Err(Error::Ended);
        }
        let mut rest = self.output.filled().to_vec();
        self.sealer.seal_final_onto(self.input.filled(), &mut rest)?;
        Ok(rest)
    }
}

/// Seals a regular frame into the room that the output has, or gets.
fn seal_regular(sealer: &mut FrameSealer, frame: &[u8], output: &mut Buffer) -> Result<()> {
    let length = sealer.seal_regular(frame, output.spare(sealer.sealed_frame_length()))?;
    output.advance(length);
    Ok(())
}

impl Machine for Encryptor {
    type End = Vec<u8>;

    fn spare(&mut self) -> &mut [u8] {
        self.input.spare(CHUNK)
    }

    fn advance(&mut self, count: usize) -> Result<()> {
        self.guarded(|machine| {
            machine.count(count)?;
            machine.input.advance(count);
            machine.seal_input(false)
        })
    }

    fn output(&self) -> &[u8] {
        self.output()
    }

    fn consume(&mut self, count: usize) {
        self.consume(count);
    }

    fn finish(self) -> Result<Self::End> {
        self.finish()
    }
}
