//! The machine that writes a message from plaintext in pieces.

use super::{
    CHUNK, Machine,
    buffer::Buffer,
    encrypt::{FrameSealer, Started},
    output::Output,
    parallel::{Plan, SpreadSealer},
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
    stage: Stage,
    plan: Plan,
    /// Plaintext that waits for its frame to be full, and for a byte to follow it.
    input: Buffer,
    /// Sealed frames that wait to be taken away.
    output: Output<Vec<u8>>,
    /// How much plaintext may still come.
    bound: Option<Bound>,
}

enum Stage {
    /// Sealing on the calling thread.
    Here(FrameSealer),
    /// Sealing on several threads, which have the input too.
    Spread(Box<SpreadSealer>),
    Failed,
}

/// A declared bound on the plaintext.
struct Bound {
    limit: u64,
    left: u64,
}

impl Encryptor {
    pub(crate) fn new(started: Started, plaintext_length_bound: Option<u64>) -> Self {
        let Started { header, bytes, sealer, key_report } = started;
        let mut output = Output::default();
        output.own().extend(&bytes);
        let bound = plaintext_length_bound.map(|limit| Bound { limit, left: limit });
        let (stage, plan, input) = (Stage::Here(sealer), Plan::default(), Buffer::default());
        Self { header, key_report, stage, plan, input, output, bound }
    }

    /// Works on as many threads as are planned, once the message is long enough.
    pub(crate) fn with_plan(self, plan: Plan) -> Self {
        Self { plan, ..self }
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
        let Self { stage, input, output, plan, .. } = self;
        while !plaintext.is_empty() {
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
                Stage::Spread(sealer) => sealer.take(plaintext, output)?,
                Stage::Failed => return Err(Error::Ended),
            };
            plaintext = &plaintext[taken..];
            stage.spread(*plan, input, output)?;
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

    /// The part of the message that is ready: with [several threads](crate::ClientBuilder::threads) the first part, behind which
    /// there may be more once it is [consumed](Self::consume).
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.first()
    }

    /// Drops output that was taken away.
    pub fn consume(&mut self, count: usize) {
        self.output.consume(count);
        if let Stage::Spread(sealer) = &mut self.stage {
            sealer.collect(&mut self.output);
        }
    }

    /// Waits until every frame that is whole, and that a byte follows, is in the output. Only with
    /// [several threads](crate::ClientBuilder::threads) there is something to wait for.
    ///
    /// # Errors
    /// As [`push`](Self::push).
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

    /// Ends the message: gives what is left of it, output that was not taken away first.
    ///
    /// # Errors
    /// As [`push`](Self::push); [`Error::Provider`] if signing fails.
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
        let ready: usize = output.parts().map(<[u8]>::len).sum();
        let mut rest = Vec::with_capacity(ready + sealer.max_tail_length(last.len()));
        output.parts().for_each(|part| rest.extend_from_slice(part));
        sealer.seal_final_onto(last, &mut rest)?;
        Ok(rest)
    }
}

impl Stage {
    /// Goes on with several threads, if they are planned and it is time. The input goes to them.
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

/// Seals what the input has of whole frames: those that a byte follows, in it or elsewhere.
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

/// Seals a regular frame into the room that the output has, or gets.
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
}
