//! An incremental decryptor.

use std::task::{Context, Poll, ready};

use zeroize::{Zeroize, Zeroizing};

use super::{
    CHUNK, Decrypted, Machine,
    buffer::Buffer,
    decrypt::{AfterBody, BodyOpener, FooterVerifier, Verified, VerifiedHeader},
    output::Output,
    parallel::{Plan, SpreadOpener},
};
use crate::{
    error::{Error, FormatError, Result},
    format::{FrameKind, Header, Parsed},
    materials::OpenedBy,
};

/// An incremental decryptor for the body of a message whose header has been verified. The input can
/// arrive in pieces of any size.
///
/// Push the bytes that follow the header, take the plaintext from the output, and call
/// [`finish`](Self::finish) at the end. Every frame is authenticated before its plaintext is
/// available. **Only `finish` confirms that the message was complete** and, if it is signed, that
/// the signature is valid. Until then, treat the plaintext of a signed message as unverified. The
/// plaintext of its final frame, or of a signed unframed body, is returned only by `finish`.
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
#[must_use = "the message is verified only after `finish`"]
pub struct Decryptor {
    header: Header,
    opened_by: OpenedBy,
    stage: Stage,
    plan: Plan,
    /// An incomplete frame.
    input: Buffer<Vec<u8>>,
    /// Plaintext that may be released.
    output: Output<Zeroizing<Vec<u8>>>,
    /// Plaintext that may be released only after the signature has been verified.
    held: Zeroizing<Vec<u8>>,
    /// The number of body bytes opened, without the footer.
    body_length: u64,
}

/// The state for opening a body a second time. Only a completed first pass turns it into a header
/// that opens frames, without a signature to verify.
pub(crate) struct SecondPass(VerifiedHeader);

impl SecondPass {
    /// Returns what opens the body in the second pass. It must be given the same bytes as the first
    /// pass: either nobody else can change them, or the caller compares a digest of them.
    pub(crate) fn after(self, _first: &Finished) -> VerifiedHeader {
        self.0
    }
}

impl VerifiedHeader {
    /// Returns the state for opening the same bytes again after their signature has been verified.
    pub(crate) fn second_pass(&self) -> SecondPass {
        let Self { header, hidden, opened_by, body } = self;
        let (header, hidden, opened_by) = (header.clone(), hidden.clone(), opened_by.clone());
        SecondPass(Self { header, hidden, opened_by, body: body.again() })
    }
}

enum Stage {
    Body(BodyOpener),
    /// Regular frames are opened on several threads. The input is in the `SpreadOpener`.
    Spread(Box<SpreadOpener>),
    Footer(FooterVerifier),
    Done(Verified),
    Failed,
}

impl AsRef<[u8]> for Finished {
    fn as_ref(&self) -> &[u8] {
        &self.plaintext
    }
}

/// The result of one step.
enum Step {
    /// The step consumed this many bytes.
    Took(usize),
    /// The step needs this many bytes in total, which is more than there are.
    Needs(usize),
}

/// The end of a message that was decrypted and verified.
pub(crate) struct Finished {
    /// The plaintext that was not yet taken from the output.
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
    pub(crate) header: Header,
    pub(crate) opened_by: OpenedBy,
    /// The length of the body in bytes, without the footer.
    pub(crate) body_length: u64,
}

impl Decryptor {
    pub(crate) fn new(verified: VerifiedHeader) -> Self {
        let VerifiedHeader { header, opened_by, body, .. } = verified;
        Self {
            header,
            opened_by,
            stage: Stage::Body(body),
            plan: Plan::default(),
            input: Buffer::default(),
            output: Output::default(),
            held: Zeroizing::default(),
            body_length: 0,
        }
    }

    /// Uses the threads of the plan once the message is long enough.
    pub(crate) fn with_plan(self, plan: Plan) -> Self {
        Self { plan, ..self }
    }

    /// Returns the header. It is authentic, but if the message is signed, its signature is verified
    /// only at the end.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the keyring that unwrapped the data key.
    #[must_use]
    pub fn opened_by(&self) -> &OpenedBy {
        &self.opened_by
    }

    /// Processes bytes of the message. All of them are consumed.
    ///
    /// To bound memory use, push pieces of about 64 KiB and take the output after each of them.
    ///
    /// # Errors
    /// [`Error::Integrity`] or [`Error::Format`] if the message is altered or malformed, or if
    /// bytes follow its end; [`Error::Limit`] if an unframed body exceeds a limit. The output that
    /// was not taken is then overwritten, and every further call fails with [`Error::Ended`].
    pub fn push(&mut self, message: &[u8]) -> Result<()> {
        self.guarded(|machine| machine.try_push(message))
    }

    fn try_push(&mut self, mut message: &[u8]) -> Result<()> {
        while !message.is_empty() {
            if let Stage::Spread(body) = &mut self.stage {
                message = &message[body.take(message, &mut self.output)?..];
                self.gather()?;
            } else if self.input.is_empty() {
                match self.step(message)? {
                    Step::Took(count) => message = &message[count..],
                    Step::Needs(_) => {
                        self.input.extend(message);
                        return self.spread();
                    }
                }
                self.spread()?;
            } else {
                let missing = self.drain_input()?;
                let (piece, rest) = message.split_at(missing.min(message.len()));
                self.input.extend(piece);
                message = rest;
            }
        }
        self.drain_input().map(|_| ())
    }

    /// Switches to several threads if the plan asks for them and the body is long enough. The input
    /// moves to them.
    fn spread(&mut self) -> Result<()> {
        if !self.plan.is_parallel() || !matches!(self.stage, Stage::Body(_)) {
            return Ok(());
        }
        if let Stage::Body(body) = std::mem::replace(&mut self.stage, Stage::Failed) {
            match SpreadOpener::new(body, self.plan) {
                Ok(body) => {
                    self.stage = Stage::Spread(Box::new(body));
                    let input = std::mem::take(&mut self.input);
                    self.try_push(input.filled())?;
                }
                Err(body) => self.stage = Stage::Body(body),
            }
        }
        Ok(())
    }

    /// Returns to the calling thread alone if something other than regular frames is next. Waits
    /// for the other threads.
    fn gather(&mut self) -> Result<()> {
        if !matches!(&self.stage, Stage::Spread(body) if !body.goes_on()) {
            return Ok(());
        }
        if let Stage::Spread(body) = std::mem::replace(&mut self.stage, Stage::Failed) {
            let (body, rest, before) = body.gather(&mut self.output)?;
            self.stage = Stage::Body(body);
            self.plan = Plan::default();
            self.body_length += before;
            self.input.extend(&rest);
        }
        self.drain_input().map(|_| ())
    }

    /// Processes the complete frames of the input. Returns how many bytes are missing from the
    /// frame that follows them.
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

    /// Processes the frame or footer at the front of `source` if it is complete.
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
                    let output = self.output.own();
                    body.open_regular(&frame, &mut output.spare(length)[..length])?;
                    output.advance(length);
                    self.stage = Stage::Body(body);
                } else if body.is_signed() {
                    self.held = Zeroizing::new(vec![0; length]);
                    self.stage = Self::after(body.open_final(&frame, &mut self.held)?);
                } else {
                    let output = self.output.own();
                    self.stage = Self::after(body.open_final(&frame, &mut output.spare(length)[..length])?);
                    output.advance(length);
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
            Stage::Spread(_) | Stage::Failed => Err(Error::Ended),
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

    /// Returns the plaintext that is ready.
    ///
    /// With [several threads](crate::ClientBuilder::threads), this is only the first part of it.
    /// More can be available after this part has been [consumed](Self::consume).
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.first()
    }

    /// Removes bytes from the front of the output.
    pub fn consume(&mut self, count: usize) {
        self.output.consume(count);
        if let Stage::Spread(body) = &mut self.stage {
            body.collect(&mut self.output);
        }
    }

    /// Waits until the plaintext of every complete frame is in the output, except for the final
    /// frame of a signed message. There is something to wait for only with [several
    /// threads](crate::ClientBuilder::threads).
    ///
    /// See [`Encryptor::settle`](crate::message::Encryptor::settle) for an example.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn settle(&mut self) -> Result<()> {
        self.guarded(|machine| {
            machine.gather()?;
            match &mut machine.stage {
                Stage::Spread(body) => body.settle(&mut machine.output),
                _ => Ok(()),
            }
        })
    }

    /// Completes the decryption and checks that the message was complete. Returns the rest of the
    /// plaintext: the output that was not taken, then the plaintext that was withheld until the
    /// signature was verified.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if the message is incomplete; otherwise as for
    /// [`push`](Self::push).
    pub fn finish(self) -> Result<Decrypted> {
        let Finished { mut plaintext, header, opened_by, .. } = self.complete()?;
        Ok(Decrypted { plaintext: std::mem::take(&mut *plaintext), header, opened_by })
    }

    fn complete(mut self) -> Result<Finished> {
        // Report errors in the frames that are present before reporting that others are missing.
        self.settle()?;
        match self.stage {
            Stage::Done(_) if self.input.is_empty() => {}
            Stage::Failed => return Err(Error::Ended),
            _ => return Err(FormatError::Truncated.into()),
        }
        let Self { header, opened_by, output, held, body_length, .. } = self;
        let ready: usize = output.parts().map(<[u8]>::len).sum();
        let plaintext = if ready == 0 {
            held
        } else {
            // Use a single allocation. A vector that grows would leave copies of plaintext behind.
            let mut plaintext = Zeroizing::new(Vec::with_capacity(ready + held.len()));
            output.parts().for_each(|part| plaintext.extend_from_slice(part));
            plaintext.extend_from_slice(&held);
            plaintext
        };
        Ok(Finished { plaintext, header, opened_by, body_length })
    }
}

impl Machine for Decryptor {
    type End = Finished;

    fn spare(&mut self) -> &mut [u8] {
        match &mut self.stage {
            Stage::Spread(body) => body.spare(),
            _ => self.input.spare(CHUNK),
        }
    }

    fn advance(&mut self, count: usize) -> Result<()> {
        self.guarded(|machine| {
            if let Stage::Spread(body) = &mut machine.stage {
                return body.advance(count, &mut machine.output);
            }
            machine.input.advance(count);
            machine.drain_input()?;
            machine.spread()
        })
    }

    fn accept(&mut self, input: &[u8]) -> Result<usize> {
        let taken = &input[..input.len().min(CHUNK)];
        self.guarded(|machine| {
            if let Stage::Spread(body) = &mut machine.stage {
                return body.take(taken, &mut machine.output);
            }
            // The whole piece is processed on this thread. Only an incomplete frame at its end is
            // submitted to the other threads, which does not wait.
            let plan = std::mem::take(&mut machine.plan);
            machine.try_push(taken)?;
            machine.plan = plan;
            machine.spread()?;
            Ok(taken.len())
        })
    }

    fn make_ready(&mut self) -> Result<()> {
        match self.stage {
            Stage::Spread(_) => self.guarded(Self::gather),
            _ => Ok(()),
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Stage::Spread(body) = &mut self.stage else { return Poll::Ready(Ok(())) };
        let ready = ready!(body.poll_ready(context, &mut self.output));
        Poll::Ready(self.guarded(|machine| ready.and_then(|()| machine.gather())))
    }

    fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(Machine::poll_ready(self, context))?;
        let Stage::Spread(body) = &mut self.stage else { return Poll::Ready(Ok(())) };
        let settled = ready!(body.poll_settle(context, &mut self.output));
        Poll::Ready(self.guarded(|_| settled))
    }

    fn output(&self) -> &[u8] {
        self.output()
    }

    fn consume(&mut self, count: usize) {
        self.consume(count);
    }

    fn settle(&mut self) -> Result<()> {
        self.settle()
    }

    fn finish(self) -> Result<Finished> {
        self.complete()
    }
}
