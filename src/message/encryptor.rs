//! An incremental encryptor.

use std::task::{Context, Poll, ready};

use super::{
    CHUNK, Machine,
    buffer::Buffer,
    encrypt::{FrameSealer, Started},
    output::Output,
    parallel::{Plan, SpreadSealer, seal_regular_frames},
};
use crate::{
    context::EncryptionContext,
    error::{Error, Result},
    format::Header,
    keyring::KeyReport,
};

/// An incremental encryptor for a message. The plaintext can arrive in pieces of any size.
///
/// Push plaintext, take the message from the output, and call [`finish`](Self::finish) at the end.
/// The output starts with the header. The encryptor buffers an incomplete frame of plaintext, and
/// the output until it is taken. On one thread it copies only the incomplete frame.
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
#[must_use = "the message is complete only after `finish`"]
pub struct Encryptor {
    header: Header,
    hidden: EncryptionContext,
    key_report: KeyReport,
    stage: Stage,
    plan: Plan,
    /// Plaintext of an incomplete frame, or of a full frame after which no byte has been seen yet.
    input: Buffer,
    /// The header and sealed frames that have not been taken yet.
    output: Output<Vec<u8>>,
    /// The caller's bound on the plaintext, if any.
    bound: Option<Bound>,
    /// How much plaintext there is room for in the output, until it is taken.
    reserved: usize,
}

enum Stage {
    /// Frames are sealed on the calling thread.
    Here(FrameSealer),
    /// Frames are sealed on several threads. The input is in the `SpreadSealer`.
    Spread(Box<SpreadSealer>),
    Failed,
}

/// The maximum plaintext length declared by the caller, and how much of it is left.
struct Bound {
    limit: u64,
    left: u64,
}

impl Encryptor {
    pub(crate) fn new(started: Started, plaintext_length_bound: Option<u64>) -> Self {
        let Started { header, bytes, sealer, key_report, hidden } = started;
        let mut output = Output::default();
        output.own().extend(&bytes);
        let bound = plaintext_length_bound.map(|limit| Bound { limit, left: limit });
        let (stage, plan, input) = (Stage::Here(sealer), Plan::default(), Buffer::default());
        Self { header, hidden, key_report, stage, plan, input, output, bound, reserved: 0 }
    }

    /// Uses the threads of the plan once the message is long enough.
    pub(crate) fn with_plan(self, plan: Plan) -> Self {
        Self { plan, ..self }
    }

    /// Returns the pairs of the encryption context that are authenticated but not stored.
    pub(crate) fn hidden_context(&self) -> &EncryptionContext {
        &self.hidden
    }

    /// Returns the header of the message.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the keyrings that wrapped the data key.
    #[must_use]
    pub fn key_report(&self) -> &KeyReport {
        &self.key_report
    }

    /// Encrypts plaintext. All of it is consumed.
    ///
    /// To bound memory use, push pieces of about 64 KiB and take the output after each of them.
    ///
    /// # Errors
    /// [`Error::PlaintextTooLong`] if the plaintext exceeds the declared bound or needs too many
    /// frames. After an error the message cannot be completed, and every further call fails with
    /// [`Error::Ended`].
    pub fn push(&mut self, plaintext: &[u8]) -> Result<()> {
        self.guarded(|machine| machine.try_push(plaintext))
    }

    fn try_push(&mut self, mut plaintext: &[u8]) -> Result<()> {
        self.count(plaintext.len())?;
        let in_place = plaintext.len() <= self.reserved;
        self.reserved = self.reserved.saturating_sub(plaintext.len());
        let Self { stage, input, output, plan, .. } = self;
        while !plaintext.is_empty() {
            if in_place && input.is_empty() {
                plaintext = &plaintext[stage.seal_in_place(plaintext, output, *plan)?..];
            }
            let taken = match stage {
                Stage::Here(sealer) => {
                    seal_input(sealer, input, output, true)?;
                    let frame_length = sealer.frame_length;
                    if input.is_empty() && plaintext.len() > frame_length {
                        seal_regular(sealer, &plaintext[..frame_length], output)?;
                        frame_length
                    } else {
                        let taken = plaintext.len().min(frame_length - input.len());
                        input.extend(&plaintext[..taken]);
                        taken
                    }
                }
                Stage::Spread(sealer) => {
                    let taken = sealer.take(plaintext, output)?;
                    // Reports a fault, which would otherwise stop the sealer from taking any more.
                    sealer.make_ready(output)?;
                    taken
                }
                Stage::Failed => return Err(Error::Ended),
            };
            plaintext = &plaintext[taken..];
            if !in_place {
                stage.spread(*plan, input, output)?;
            }
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
        if matches!(self.stage, Stage::Failed) {
            return Err(Error::Ended);
        }
        work(self).inspect_err(|_| {
            self.stage = Stage::Failed;
            self.input.clear();
            self.output.clear();
        })
    }

    /// Returns the part of the message that is ready.
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
        if let Stage::Spread(sealer) = &mut self.stage {
            sealer.collect(&mut self.output);
        }
    }

    /// Waits until every full frame that is followed by at least one byte is in the output. There
    /// is something to wait for only with [several threads](crate::ClientBuilder::threads).
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    ///
    /// ```
    /// # use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// let client = Client::builder().threads(2).build();
    /// let mut encryptor = client.encrypt(&keyring).frame_length(100_000).machine().wait()?;
    /// let header_length = encryptor.header().length();
    /// encryptor.push(&[7; 1_000_001])?;
    /// encryptor.settle()?;
    /// let mut message = Vec::new();
    /// while !encryptor.output().is_empty() {
    ///     message.extend_from_slice(encryptor.output());
    ///     encryptor.consume(encryptor.output().len());
    /// }
    /// assert_eq!(message.len(), header_length + 10 * (4 + 12 + 100_000 + 16));
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn settle(&mut self) -> Result<()> {
        self.guarded(|machine| match &mut machine.stage {
            Stage::Spread(sealer) => sealer.settle(&mut machine.output),
            Stage::Here(_) | Stage::Failed => Ok(()),
        })
    }

    /// Makes room in the output for the frames of `plaintext` more bytes and for the end of the
    /// message. Without this the output grows as it is written, which copies it.
    ///
    /// With [several threads](crate::ClientBuilder::threads), a push of at most that many bytes then
    /// seals its frames where they belong and returns when they are done. Push pieces of some
    /// megabytes: the threads start and end with each of them.
    pub fn reserve(&mut self, plaintext: usize) {
        if let Stage::Here(sealer) = &self.stage {
            self.reserved = plaintext;
            let frames = (self.input.len().saturating_add(plaintext)) / sealer.frame_length();
            let length = frames.saturating_mul(sealer.sealed_frame_length());
            self.output.own().spare(length.saturating_add(sealer.max_tail_length(sealer.frame_length())));
        }
    }

    /// Seals every full frame and returns all output that has not been taken: the next part of a
    /// multipart upload. Only an incomplete frame of plaintext stays behind.
    ///
    /// Unlike [`push`](Self::push), this does not wait for a byte after the last full frame, so the
    /// message can end with an empty final frame. With [several
    /// threads](crate::ClientBuilder::threads) it waits for them, and the next push starts others.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// let mut encryptor = client.encrypt(&keyring).frame_length(100).machine().wait()?;
    /// let header_length = encryptor.header().length();
    /// encryptor.push(&[7; 200])?;
    /// let part = encryptor.take_part()?;
    /// assert_eq!(part.len(), header_length + 2 * (4 + 12 + 100 + 16));
    /// let message = [part, encryptor.finish()?].concat();
    /// assert_eq!(client.decrypt(&keyring).bytes(&message).wait()?.plaintext, [7; 200]);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn take_part(&mut self) -> Result<Vec<u8>> {
        self.guarded(|machine| {
            let stage = std::mem::replace(&mut machine.stage, Stage::Failed);
            let mut sealer = match stage {
                Stage::Here(sealer) => sealer,
                Stage::Spread(sealing) => {
                    let (sealer, rest) = sealing.gather(&mut machine.output)?;
                    machine.input.extend(&rest);
                    sealer
                }
                Stage::Failed => return Err(Error::Ended),
            };
            seal_input(&mut sealer, &mut machine.input, &mut machine.output, true)?;
            machine.stage = Stage::Here(sealer);
            machine.reserved = 0;
            Ok(machine.output.take())
        })
    }

    /// Completes the message. Returns the rest of it: the output that was not taken, then the final
    /// frame and the footer.
    ///
    /// # Errors
    /// As for [`push`](Self::push), and [`Error::Provider`] if signing fails.
    pub fn finish(self) -> Result<Vec<u8>> {
        let Self { stage, input, mut output, .. } = self;
        let (sealer, spread);
        let (sealer, last) = match stage {
            Stage::Here(here) => (here, input.filled()),
            Stage::Spread(sealing) => {
                (sealer, spread) = sealing.gather(&mut output)?;
                (sealer, &spread[..])
            }
            Stage::Failed => return Err(Error::Ended),
        };
        let mut rest = output.take();
        sealer.seal_final_onto(last, &mut rest)?;
        Ok(rest)
    }
}

impl Stage {
    /// Seals full frames of plaintext on several threads, straight into the output, and leaves at
    /// least one byte. Returns how many bytes were sealed, which is 0 if threads are not worth it.
    fn seal_in_place(&mut self, plaintext: &[u8], output: &mut Output<Vec<u8>>, plan: Plan) -> Result<usize> {
        let Self::Here(sealer) = self else { return Ok(0) };
        let (frame_length, sealed_length) = (sealer.frame_length, sealer.sealed_frame_length());
        let frames = plaintext.len().saturating_sub(1) / frame_length;
        let whole = &plaintext[..frames * frame_length];
        if !plan.pays_for(whole.len()) {
            return Ok(0);
        }
        let Self::Here(sealer) = std::mem::replace(self, Self::Failed) else { return Ok(0) };
        let room = output.own().spare(frames.saturating_mul(sealed_length));
        let (sealer, sealed) = seal_regular_frames(sealer, whole, room, plan)?;
        output.own().advance(sealed / frame_length * sealed_length);
        *self = Self::Here(sealer);
        Ok(sealed)
    }

    /// Switches to several threads if the plan asks for them and the message is long enough. The
    /// input moves to them.
    fn spread(&mut self, plan: Plan, input: &mut Buffer, output: &mut Output<Vec<u8>>) -> Result<()> {
        if !plan.is_parallel() || !matches!(self, Self::Here(_)) {
            return Ok(());
        }
        if let Self::Here(sealer) = std::mem::replace(self, Self::Failed) {
            *self = match SpreadSealer::new(sealer, plan) {
                Ok(mut sealer) => {
                    while !input.is_empty() {
                        let taken = sealer.take(input.filled(), output)?;
                        input.consume(taken);
                    }
                    input.clear();
                    Self::Spread(Box::new(sealer))
                }
                Err(sealer) => Self::Here(sealer),
            };
        }
        Ok(())
    }
}

/// Seals the full frames of the input that are followed by at least one byte, either in the input
/// or, if `more_follows`, outside it.
fn seal_input(
    sealer: &mut FrameSealer,
    input: &mut Buffer,
    output: &mut Output<Vec<u8>>,
    more_follows: bool,
) -> Result<()> {
    while input.len() + usize::from(more_follows) > sealer.frame_length {
        seal_regular(sealer, &input.filled()[..sealer.frame_length], output)?;
        input.consume(sealer.frame_length);
    }
    Ok(())
}

/// Seals a regular frame into the output.
fn seal_regular(sealer: &mut FrameSealer, frame: &[u8], output: &mut Output<Vec<u8>>) -> Result<()> {
    let length = sealer.seal_regular(frame, output.own().spare(sealer.sealed_frame_length()))?;
    output.own().advance(length);
    Ok(())
}

impl Machine for Encryptor {
    type End = Vec<u8>;

    fn spare(&mut self) -> &mut [u8] {
        match &mut self.stage {
            Stage::Spread(sealer) => sealer.spare(),
            Stage::Here(_) | Stage::Failed => self.input.spare(CHUNK),
        }
    }

    fn advance(&mut self, count: usize) -> Result<()> {
        self.guarded(|machine| {
            machine.count(count)?;
            let Self { stage, input, output, plan, .. } = machine;
            match stage {
                Stage::Here(sealer) => {
                    input.advance(count);
                    seal_input(sealer, input, output, false)?;
                    stage.spread(*plan, input, output)
                }
                Stage::Spread(sealer) => sealer.advance(count, output),
                Stage::Failed => Err(Error::Ended),
            }
        })
    }

    fn accept(&mut self, input: &[u8]) -> Result<usize> {
        let taken = &input[..input.len().min(CHUNK)];
        self.guarded(|machine| {
            if let Stage::Spread(sealer) = &mut machine.stage {
                let taken = sealer.take(taken, &mut machine.output)?;
                machine.count(taken)?;
                return Ok(taken);
            }
            // The whole piece is processed on this thread. Only an incomplete frame at its end is
            // submitted to the other threads, which does not wait.
            let plan = std::mem::take(&mut machine.plan);
            machine.try_push(taken)?;
            machine.plan = plan;
            machine.stage.spread(plan, &mut machine.input, &mut machine.output)?;
            Ok(taken.len())
        })
    }

    fn make_ready(&mut self) -> Result<()> {
        match self.stage {
            Stage::Spread(_) => self.guarded(|machine| match &mut machine.stage {
                Stage::Spread(sealer) => sealer.make_ready(&mut machine.output),
                Stage::Here(_) | Stage::Failed => Ok(()),
            }),
            Stage::Here(_) | Stage::Failed => Ok(()),
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Stage::Spread(sealer) = &mut self.stage else { return Poll::Ready(Ok(())) };
        let ready = ready!(sealer.poll_ready(context, &mut self.output));
        Poll::Ready(self.guarded(|_| ready))
    }

    fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Stage::Spread(sealer) = &mut self.stage else { return Poll::Ready(Ok(())) };
        let settled = ready!(sealer.poll_settle(context, &mut self.output));
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

    fn finish(self) -> Result<Self::End> {
        self.finish()
    }
}

#[cfg(all(test, feature = "rustcrypto"))]
mod tests {
    use super::*;
    use crate::message::encrypt::tests::started;

    #[test]
    fn an_error_clears_what_the_encryptor_holds() {
        // By a push, and by what was read straight into the input.
        type Step = fn(&mut Encryptor) -> Result<()>;
        let push: Step = |machine| machine.push(b"more than there may be");
        let read_into: Step = |machine| {
            machine.spare().fill(b'm');
            machine.advance(20)
        };
        for step in [push, read_into] {
            let mut machine = Encryptor::new(started(5), Some(15));
            machine.push(b"0123456789ab").unwrap();
            assert_eq!(machine.input.filled(), b"ab");
            assert!(machine.output().len() > machine.header().length());
            assert!(matches!(step(&mut machine), Err(Error::PlaintextTooLong { limit: 15, declared: true })));
            assert!(machine.output().is_empty());
            assert!(machine.input.is_empty(), "plaintext that waited for its frame to be full");
            assert!(matches!(machine.advance(1), Err(Error::Ended)));
            assert!(matches!(machine.finish(), Err(Error::Ended)));
        }
    }

    /// Pushes that fit into what was reserved are sealed in place on several threads, and the message
    /// is the same, whatever the pieces are.
    #[test]
    fn reserved_pushes_are_sealed_in_place() {
        let plan = Plan::new(3);
        let text: Vec<u8> = (0..3_000_000_usize).map(|at| (at % 251) as u8).collect();
        for frame_length in [1000, 65_536, 700_000] {
            let alone = {
                let mut machine = Encryptor::new(started(frame_length), None);
                machine.push(&text).unwrap();
                machine.finish().unwrap().len()
            };
            for piece in [text.len(), 1_000_001, 300_000, 10_000] {
                let mut machine = Encryptor::new(started(frame_length), None).with_plan(plan);
                machine.reserve(text.len());
                let before = machine.output().as_ptr();
                for bytes in text.chunks(piece) {
                    machine.push(bytes).unwrap();
                    assert!(matches!(machine.stage, Stage::Here(_)), "other threads end with the push");
                }
                let whole = machine.finish().unwrap();
                assert!(whole.as_ptr() == before, "nothing was copied");
                assert_eq!(whole.len(), alone, "{frame_length} and {piece}");
            }
            // More than was reserved.
            let mut machine = Encryptor::new(started(frame_length), None).with_plan(plan);
            machine.reserve(text.len() - 1);
            machine.push(&text).unwrap();
            assert!(matches!(machine.stage, Stage::Spread(_)));
            assert_eq!(machine.finish().unwrap().len(), alone);
        }
    }

    #[test]
    fn parts_are_not_copied_and_end_with_the_last_full_frame() {
        for reserved in [0, 1000] {
            let mut machine = Encryptor::new(started(5), None);
            let header = machine.header().length();
            machine.reserve(reserved);
            machine.push(b"0123456789").unwrap();
            let before = machine.output().as_ptr();
            let part = machine.take_part().unwrap();
            assert_eq!(part.len(), header + 2 * (5 + 32));
            assert!(part.as_ptr() == before);
            assert!(machine.input.is_empty());
            // Nothing is lost between parts, nor if one is empty.
            assert!(machine.take_part().unwrap().is_empty());
            machine.push(b"abc").unwrap();
            assert!(machine.take_part().unwrap().is_empty());
            assert_eq!(machine.input.filled(), b"abc");
            assert_eq!(machine.finish().unwrap().len(), 3 + 40);
        }
        let mut failed = Encryptor::new(started(5), Some(3));
        assert!(failed.push(b"0123456789").is_err());
        assert!(matches!(failed.take_part(), Err(Error::Ended)));
    }
}
