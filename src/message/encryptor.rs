//! The machine that writes a message from plaintext in pieces.

use zeroize::Zeroizing;

use super::{
    CHUNK, Machine,
    buffer::Buffer,
    encrypt::{FrameSealer, Started},
};
use crate::{
    error::{Error, Result},
    format::Header,
};

/// Writes a message from plaintext that comes in pieces of any size.
///
/// Push plaintext, take the output away, and [`finish`](Self::finish). It holds a frame of plaintext and about 64 KiB or a
/// frame of output, whatever the length of the message, and copies only what is left over between two pushes.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let mut encryptor = client.encrypt(&keyring).machine().wait()?;
/// let mut message = Vec::new();
/// for piece in [&b"some "[..], b"text"] {
///     let mut rest = piece;
///     while !rest.is_empty() {
///         let taken = encryptor.push(rest)?;
///         rest = &rest[taken..];
///         message.extend_from_slice(encryptor.output());
///         encryptor.consume(encryptor.output().len());
///     }
/// }
/// message.extend(encryptor.finish()?);
/// assert_eq!(client.decrypt(&keyring).bytes(&message).wait()?.plaintext, b"some text");
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct Encryptor {
    header: Header,
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
        let Started { header, bytes, sealer } = started;
        let mut output = Buffer::default();
        output.extend(&bytes);
        let bound = plaintext_length_bound.map(|limit| Bound { limit, left: limit });
        Self { header, sealer, input: Buffer::default(), output, bound, failed: false }
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

    /// Takes plaintext: says how much. It takes nothing while the output is full, so take that away first.
    ///
    /// # Errors
    /// [`Error::PlaintextTooLong`] past the declared bound or the last frame number. After an error the message is of no use.
    pub fn push(&mut self, plaintext: &[u8]) -> Result<usize> {
        self.guarded(|machine| machine.try_push(plaintext))
    }

    fn try_push(&mut self, plaintext: &[u8]) -> Result<usize> {
        let frame_length = self.sealer.frame_length();
        let mut taken = 0;
        while taken < plaintext.len() {
            let rest = &plaintext[taken..];
            self.seal_input(true)?;
            if self.is_full() {
                break;
            }
            if self.input.is_empty() && rest.len() > frame_length {
                let out = self.output.spare(self.sealer.sealed_frame_length());
                let length = self.sealer.seal_regular(&rest[..frame_length], out)?;
                self.output.advance(length);
                taken += frame_length;
            } else {
                let count = rest.len().min(frame_length - self.input.len());
                self.input.extend(&rest[..count]);
                taken += count;
            }
        }
        self.count(taken)?;
        Ok(taken)
    }

    /// Seals what the input has of whole frames: those that a byte follows, in it or elsewhere.
    fn seal_input(&mut self, more_follows: bool) -> Result<()> {
        let frame_length = self.sealer.frame_length();
        while self.input.len() + usize::from(more_follows) > frame_length && !self.is_full() {
            let out = self.output.spare(self.sealer.sealed_frame_length());
            let length = self.sealer.seal_regular(&self.input.filled()[..frame_length], out)?;
            self.output.advance(length);
            self.input.consume(frame_length);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.output.len() >= CHUNK
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
    pub fn finish(mut self) -> Result<Vec<u8>> {
        let mut rest = Vec::new();
        loop {
            self.resume()?;
            rest.extend_from_slice(self.output());
            if self.output.is_empty() {
                break;
            }
            self.output.consume(self.output.len());
        }
        self.sealer.seal_final_onto(self.input.filled(), &mut rest)?;
        Ok(rest)
    }
}

impl Machine for Encryptor {
    type End = Zeroizing<Vec<u8>>;

    fn spare(&mut self) -> &mut [u8] {
        self.input.spare(CHUNK)
    }

    fn advance(&mut self, count: usize) -> Result<()> {
        self.guarded(|machine| {
            machine.input.advance(count);
            machine.count(count)?;
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
        self.finish().map(Zeroizing::new)
    }
}
