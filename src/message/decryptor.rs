//! The machine that reads a message in pieces.

use zeroize::{Zeroize, Zeroizing};

use super::{
    CHUNK, Machine,
    buffer::Buffer,
    decrypt::{AfterBody, BodyOpener, FooterVerifier, Verified, VerifiedHeader},
};
use crate::{
    error::{Error, FormatError, Result},
    format::{FrameKind, Header, Parsed},
    materials::OpenedBy,
};

/// Reads a message, whose header is verified, from bytes that come in pieces of any size.
///
/// Push what follows the header, take the plaintext away, and [`finish`](Self::finish). Each frame is authenticated before
/// its plaintext can be seen. **Only `finish` says that the message was whole**, and, if it is signed, that the signature
/// holds: until then treat the plaintext of a signed message as unverified. Its final frame (or all of an unframed body)
/// comes from `finish` alone.
///
/// ```
/// use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let suite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// let message = client.encrypt(&keyring).suite(suite).bytes(b"text").wait()?.message;
///
/// let (received, body) = client.header_decoder().decode(&message)?;
/// let mut decryptor = client.decrypt(&keyring).machine(received).wait()?;
/// let mut plaintext = Vec::new();
/// for piece in body.chunks(10) {
///     decryptor.push(piece)?;
///     plaintext.extend_from_slice(decryptor.output());
///     decryptor.consume(decryptor.output().len());
/// }
/// plaintext.extend_from_slice(&decryptor.finish()?.plaintext);
/// assert_eq!(plaintext, b"text");
/// # Ok::<(), sealwax::Error>(())
/// ```
#[must_use = "a message is verified only after `finish`"]
pub struct Decryptor {
    header: Header,
    opened_by: OpenedBy,
    stage: Stage,
    /// Bytes of a piece that is not whole yet.
    input: Buffer,
    /// Plaintext that may be released.
    output: Buffer,
    /// Plaintext that only the signature releases.
    held: Zeroizing<Vec<u8>>,
    /// The bytes of the body that were opened, without the footer.
    body_length: u64,
}

/// A body to be opened a second time. Only a finished first pass turns it into a machine, which releases as it reads.
#[cfg(feature = "fs")]
pub(crate) struct SecondPass {
    header: Header,
    opened_by: OpenedBy,
    body: BodyOpener,
}

#[cfg(feature = "fs")]
impl SecondPass {
    /// The machine for the second pass. Its bytes must be those of the first: nobody else may be able to change them.
    pub(crate) fn after(self, _first: &Finished) -> Decryptor {
        let Self { header, opened_by, body } = self;
        Decryptor::new(VerifiedHeader { header, opened_by, body })
    }
}

enum Stage {
    Body(BodyOpener),
    Footer(FooterVerifier),
    Done(Verified),
    Failed,
}

impl AsRef<[u8]> for Finished {
    fn as_ref(&self) -> &[u8] {
        &self.plaintext
    }
}

/// What one step did with the bytes it was shown.
enum Step {
    /// It took so many of them.
    Took(usize),
    /// It needs so many in all, more than there are.
    Needs(usize),
}

/// A message that was read to its end and verified. [`Decryptor`] has an example.
#[non_exhaustive]
pub struct Finished {
    /// The rest of the plaintext.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The header.
    pub header: Header,
    /// Which keyring opened the message.
    pub opened_by: OpenedBy,
    /// The length of the body in bytes, without the footer.
    #[cfg_attr(not(feature = "fs"), allow(dead_code, reason = "only a second pass needs it"))]
    pub(crate) body_length: u64,
}

impl Decryptor {
    pub(crate) fn new(verified: VerifiedHeader) -> Self {
        let VerifiedHeader { header, opened_by, body } = verified;
        Self {
            header,
            opened_by,
            stage: Stage::Body(body),
            input: Buffer::default(),
            output: Buffer::default(),
            held: Zeroizing::default(),
            body_length: 0,
        }
    }

    /// What it takes to open the same bytes again once their signature is verified.
    #[cfg(feature = "fs")]
    pub(crate) fn second_pass(&self) -> Option<SecondPass> {
        match &self.stage {
            Stage::Body(body) => {
                Some(SecondPass { header: self.header.clone(), opened_by: self.opened_by.clone(), body: body.again() })
            }
            _ => None,
        }
    }

    /// The header, which is authentic; if the message is signed, its signature is not verified before the end.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
    /// let (received, _) = client.header_decoder().decode(&message)?;
    /// let decryptor = client.decrypt(&keyring).machine_unverified(received).wait()?;
    /// assert_eq!(decryptor.header().encrypted_data_keys().len(), 1);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Which keyring opened the message.
    #[must_use]
    pub fn opened_by(&self) -> &OpenedBy {
        &self.opened_by
    }

    /// Takes bytes of the message, all of them. Push them in pieces of some 64 KiB, and take the output away between them, to
    /// hold no more.
    ///
    /// # Errors
    /// [`Error::Integrity`] or [`Error::Format`] if the message is altered or malformed, [`Error::Format`] for bytes after
    /// its end. What was not yet taken away is then cleared, and every further call answers [`Error::Ended`].
    pub fn push(&mut self, message: &[u8]) -> Result<()> {
        self.guarded(|machine| machine.try_push(message))
    }

    fn try_push(&mut self, mut message: &[u8]) -> Result<()> {
        while !message.is_empty() {
            if self.input.is_empty() {
                match self.step(message)? {
                    Step::Took(count) => message = &message[count..],
                    Step::Needs(_) => {
                        self.input.extend(message);
                        return Ok(());
                    }
                }
            } else {
                let missing = self.drain_input()?;
                let (piece, rest) = message.split_at(missing.min(message.len()));
                self.input.extend(piece);
                message = rest;
            }
        }
        self.drain_input().map(|_| ())
    }

    /// Steps through the input to a piece that is not whole, and says how many bytes that lacks.
    fn drain_input(&mut self) -> Result<usize> {
        let mut input = std::mem::take(&mut self.input);
        let outcome = loop {
            if input.is_empty() {
                break Ok(0);
            }
            match self.step(input.filled()) {
                Ok(Step::Took(count)) => input.consume(count),
                Ok(Step::Needs(count)) => break Ok(count.saturating_sub(input.len())),
                Err(error) => break Err(error),
            }
        };
        self.input = input;
        outcome
    }

    /// Reads one piece at the front of `source`, if it is whole.
    fn step(&mut self, source: &[u8]) -> Result<Step> {
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Body(mut body) => {
                let frame = match body.parse(source)? {
                    Parsed::Whole(frame) => frame,
                    Parsed::Needs(count) => {
                        self.stage = Stage::Body(body);
                        return Ok(Step::Needs(count));
                    }
                };
                let length = frame.content.len();
                self.body_length += frame.bytes.len() as u64;
                if frame.kind == FrameKind::Regular {
                    body.open_regular(&frame, &mut self.output.spare(length)[..length])?;
                    self.output.advance(length);
                    self.stage = Stage::Body(body);
                } else if body.is_signed() {
                    self.held = Zeroizing::new(vec![0; length]);
                    self.stage = Self::after(body.open_final(&frame, &mut self.held)?);
                } else {
                    let out = &mut self.output.spare(length)[..length];
                    self.stage = Self::after(body.open_final(&frame, out)?);
                    self.output.advance(length);
                }
                Ok(Step::Took(frame.bytes.len()))
            }
            Stage::Footer(footer) => match footer.parse(source)? {
                Parsed::Needs(count) => {
                    self.stage = Stage::Footer(footer);
                    Ok(Step::Needs(count))
                }
                Parsed::Whole((signature, length)) => {
                    self.stage = Stage::Done(footer.verify(signature)?);
                    Ok(Step::Took(length))
                }
            },
            Stage::Done(_) => Err(FormatError::TrailingBytes.into()),
            Stage::Failed => Err(Error::Ended),
        }
    }

    fn after(body: AfterBody) -> Stage {
        match body {
            AfterBody::Footer(footer) => Stage::Footer(footer),
            AfterBody::Verified(verified) => Stage::Done(verified),
        }
    }

    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if matches!(self.stage, Stage::Failed) {
            return Err(Error::Ended);
        }
        work(self).inspect_err(|_| {
            self.stage = Stage::Failed;
            self.input.clear();
            self.output.clear();
            self.held.zeroize();
        })
    }

    /// The plaintext that is ready.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.filled()
    }

    /// Drops output that was taken away.
    pub fn consume(&mut self, count: usize) {
        self.output.consume(count);
    }

    /// Ends the reading: the message must have been whole. Gives the rest of the plaintext, output that was not taken
    /// away first, and what the signature of a signed message held back.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if the end of the message has not been seen; as [`push`](Self::push) otherwise.
    pub fn finish(self) -> Result<Finished> {
        match self.stage {
            Stage::Done(_) if self.input.is_empty() => {}
            Stage::Failed => return Err(Error::Ended),
            _ => return Err(FormatError::Truncated.into()),
        }
        let Self { header, opened_by, output, held, body_length, .. } = self;
        let plaintext = if output.is_empty() {
            held
        } else {
            // In one allocation: one that grows would leave plaintext behind.
            let mut plaintext = Zeroizing::new(Vec::with_capacity(output.len() + held.len()));
            plaintext.extend_from_slice(output.filled());
            plaintext.extend_from_slice(&held);
            plaintext
        };
        Ok(Finished { plaintext, header, opened_by, body_length })
    }
}

impl Machine for Decryptor {
    type End = Finished;

    fn spare(&mut self) -> &mut [u8] {
        self.input.spare(CHUNK)
    }

    fn advance(&mut self, count: usize) -> Result<()> {
        self.guarded(|machine| {
            machine.input.advance(count);
            machine.drain_input().map(|_| ())
        })
    }

    fn output(&self) -> &[u8] {
        self.output()
    }

    fn consume(&mut self, count: usize) {
        self.consume(count);
    }

    fn finish(self) -> Result<Finished> {
        self.finish()
    }
}
