//! The machine that reads a message in pieces.

use std::task::{Context, Poll, ready};

use zeroize::{Zeroize, Zeroizing};

use super::{
    CHUNK, Machine,
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
    plan: Plan,
    /// Bytes of a piece that is not whole yet.
    input: Buffer<Vec<u8>>,
    /// Plaintext that may be released.
    output: Output<Zeroizing<Vec<u8>>>,
    /// Plaintext that only the signature releases.
    held: Zeroizing<Vec<u8>>,
    /// The bytes of the body that were opened, without the footer.
    body_length: u64,
}

/// A body to be opened a second time. Only a finished first pass turns it into a machine, which releases as it reads.
pub(crate) struct SecondPass {
    header: Header,
    opened_by: OpenedBy,
    body: BodyOpener,
    plan: Plan,
}

impl SecondPass {
    /// The machine for the second pass. Its bytes must be those of the first: nobody else may be able to change them, or a
    /// digest must show it.
    pub(crate) fn after(self, _first: &Finished) -> Decryptor {
        let Self { header, opened_by, body, plan } = self;
        Decryptor::new(VerifiedHeader { header, opened_by, body }).with_plan(plan)
    }
}

enum Stage {
    Body(BodyOpener),
    /// Regular frames of the body, on several threads, which have the input too.
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
    pub(crate) body_length: u64,
}

impl Decryptor {
    pub(crate) fn new(verified: VerifiedHeader) -> Self {
        let VerifiedHeader { header, opened_by, body } = verified;
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

    /// Works on as many threads as are planned, once the message is long enough.
    pub(crate) fn with_plan(self, plan: Plan) -> Self {
        Self { plan, ..self }
    }

    /// What it takes to open the same bytes again once their signature is verified.
    pub(crate) fn second_pass(&self) -> Option<SecondPass> {
        match &self.stage {
            Stage::Body(body) => {
                let Self { header, opened_by, plan, .. } = self;
                let (header, opened_by) = (header.clone(), opened_by.clone());
                Some(SecondPass { header, opened_by, body: body.again(), plan: *plan })
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
    /// let decryptor = client.decrypt(&keyring).release_unverified().machine(received).wait()?;
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

    /// Goes on with several threads, if they are planned and it is time. The input goes to them.
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

    /// Brings the frames back to this thread where something else than regular frames follows. Waits for other threads.
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

    /// The plaintext that is ready: with [several threads](crate::ClientBuilder::threads) the first part, behind which there may be
    /// more once it is [consumed](Self::consume).
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.first()
    }

    /// Drops output that was taken away.
    pub fn consume(&mut self, count: usize) {
        self.output.consume(count);
        if let Stage::Spread(body) = &mut self.stage {
            body.collect(&mut self.output);
        }
    }

    /// Waits until the plaintext of every frame that is whole is in the output, but for the final frame of a signed message. Only with
    /// [several threads](crate::ClientBuilder::threads) there is something to wait for. [`Encryptor::settle`](crate::message::Encryptor::settle)
    /// has an example.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn settle(&mut self) -> Result<()> {
        self.guarded(|machine| {
            machine.gather()?;
            match &mut machine.stage {
                Stage::Spread(body) => body.settle(&mut machine.output),
                _ => Ok(()),
            }
        })
    }

    /// Ends the reading: the message must have been whole. Gives the rest of the plaintext, output that was not taken
    /// away first, and what the signature of a signed message held back.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if the end of the message has not been seen; as [`push`](Self::push) otherwise.
    pub fn finish(mut self) -> Result<Finished> {
        // What is wrong with frames that are there comes before what is not there.
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
            // In one allocation: one that grows would leave plaintext behind.
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
        self.guarded(|machine| {
            if let Stage::Spread(body) = &mut machine.stage {
                return body.take(input, &mut machine.output);
            }
            // On this thread to its end: only what is left of a frame is handed to others, which does not wait.
            let taken = &input[..input.len().min(CHUNK)];
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
        self.finish()
    }
}
