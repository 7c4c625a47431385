//! Incremental opening on several threads.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use zeroize::Zeroizing;

use super::{
    Plan,
    batch::Direction,
    crew::{Crew, rejoin},
};
use crate::{
    crypto::VerifyingKey,
    error::{Error, Result},
    format::{ContentType, FrameKind, Parsed},
    limits::Limits,
    message::{
        decrypt::{BodyOpener, FooterVerifier, numbered_prefix},
        key::MessageKey,
        output::Output,
    },
};

/// A [`BodyOpener`] whose regular frames are opened on several threads.
pub(in crate::message) struct SpreadOpener {
    crew: Crew<Vec<u8>, Zeroizing<Vec<u8>>>,
    key: Arc<MessageKey>,
    content_type: ContentType,
    limits: Limits,
    /// The sequence number of the next frame to submit.
    next: u32,
    /// The number of frames in the input whose sequence numbers have been checked. The last one can
    /// be incomplete.
    numbered: usize,
    verifying_key: Option<Arc<dyn VerifyingKey>>,
    /// The total length of the frames that were submitted, in bytes.
    handed_over: u64,
    ahead: Ahead,
}

type Plaintext = Output<Zeroizing<Vec<u8>>>;

/// The next part of a body.
enum Ahead {
    /// Regular frames, as far as the input shows.
    Regular,
    /// The final frame, which is opened on the calling thread.
    Final,
    /// A fault. Errors in earlier frames take precedence, so it is reported after their batches.
    Fault(Error),
}

impl SpreadOpener {
    /// Takes over a body if the plan asks for several threads and enough of the body has been
    /// opened. Otherwise returns it unchanged.
    pub(in crate::message) fn new(body: BodyOpener, plan: Plan) -> std::result::Result<Self, BodyOpener> {
        let ContentType::Framed { frame_length } = body.content_type else { return Err(body) };
        let Some(cut) = plan.cut_after(body.next - 1, frame_length as usize) else { return Err(body) };
        let BodyOpener { key, content_type, limits, next, verifier } = body;
        let (digest, verifying_key) = verifier.map(|FooterVerifier { digest, key }| (digest, key)).unzip();
        let crew = Crew::new(Direction::Open, cut, key.clone(), digest);
        Ok(Self {
            crew,
            key,
            content_type,
            limits,
            next,
            numbered: 0,
            verifying_key,
            handed_over: 0,
            ahead: Ahead::Regular,
        })
    }

    /// Returns a buffer for bytes of the message. It is never empty.
    pub(in crate::message) fn spare(&mut self) -> &mut [u8] {
        self.crew.spare()
    }

    /// Processes bytes that were written to [`spare`](Self::spare).
    pub(in crate::message) fn advance(&mut self, count: usize, output: &mut Plaintext) -> Result<()> {
        self.crew.advance(count);
        self.ahead = self.look_ahead();
        if matches!(self.ahead, Ahead::Regular) && self.crew.is_full() {
            self.hand_over(output)?;
        }
        Ok(())
    }

    /// Copies as many bytes from the front of `message` as there is space for. Returns how many.
    pub(in crate::message) fn take(&mut self, message: &[u8], output: &mut Plaintext) -> Result<usize> {
        let count = self.crew.take(message);
        self.advance(0, output)?;
        Ok(count)
    }

    /// Returns whether only regular frames were found so far. Otherwise call
    /// [`gather`](Self::gather) before processing more input.
    pub(in crate::message) fn goes_on(&self) -> bool {
        matches!(self.ahead, Ahead::Regular)
    }

    /// Makes room for one more batch without blocking the thread, so that the next
    /// [`advance`](Self::advance) or [`gather`](Self::gather) does not wait.
    pub(in crate::message) fn poll_ready(
        &mut self,
        context: &mut Context<'_>,
        output: &mut Plaintext,
    ) -> Poll<Result<()>> {
        if self.goes_on() { self.crew.poll_ready(context, output) } else { self.poll_settle(context, output) }
    }

    /// Checks the sequence numbers of new frames in the input.
    fn look_ahead(&mut self) -> Ahead {
        loop {
            let Some(rest) = self.crew.input().get(self.numbered * self.crew.frame()..) else {
                return Ahead::Regular;
            };
            let expected = self.next.saturating_add(self.numbered as u32);
            match numbered_prefix(rest, self.content_type, expected, &self.limits) {
                Ok(Parsed::Whole(prefix)) if prefix.kind == FrameKind::Regular => self.numbered += 1,
                Ok(Parsed::Whole(_)) => return Ahead::Final,
                Ok(Parsed::Needs(_)) => return Ahead::Regular,
                Err(error) => return Ahead::Fault(error),
            }
        }
    }

    /// Submits the complete frames.
    fn hand_over(&mut self, output: &mut Plaintext) -> Result<()> {
        let frames = self.numbered.min(self.crew.input().len() / self.crew.frame());
        self.handed_over += (frames * self.crew.frame()) as u64;
        self.crew.hand_over(self.next, frames, output)?;
        self.next = self.next.saturating_add(frames as u32);
        self.numbered -= frames;
        Ok(())
    }

    /// Moves completed batches to the output without waiting.
    pub(in crate::message) fn collect(&mut self, output: &mut Plaintext) {
        self.crew.collect(output);
    }

    /// Opens all complete frames and moves their plaintext to the output.
    pub(in crate::message) fn settle(&mut self, output: &mut Plaintext) -> Result<()> {
        self.hand_over(output)?;
        self.crew.settle(output)
    }

    /// As [`settle`](Self::settle), without blocking the thread.
    pub(in crate::message) fn poll_settle(
        &mut self,
        context: &mut Context<'_>,
        output: &mut Plaintext,
    ) -> Poll<Result<()>> {
        ready!(self.crew.poll_ready(context, output))?;
        self.hand_over(output)?;
        self.crew.poll_settle(context, output)
    }

    /// Stops the threads after all regular frames have been moved to the output. Returns the opener
    /// for the rest of the body, the input that belongs to that rest, and the number of body bytes
    /// before it.
    pub(in crate::message) fn gather(mut self, output: &mut Plaintext) -> Result<(BodyOpener, Vec<u8>, u64)> {
        self.settle(output)?;
        let Self { mut crew, key, content_type, limits, next, verifying_key, handed_over, ahead, .. } = self;
        if let Ahead::Fault(error) = ahead {
            return Err(error);
        }
        let verifier = rejoin(verifying_key, crew.take_digest(), |key, digest| FooterVerifier { digest, key })?;
        let rest = crew.input().to_vec();
        Ok((BodyOpener { key, content_type, limits, next, verifier }, rest, handed_over))
    }
}
