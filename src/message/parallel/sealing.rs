//! Incremental sealing on several threads.

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
    crypto::SigningKey,
    error::{Error, Result},
    message::{
        encrypt::{FrameSealer, Signer},
        key::MessageKey,
        output::Output,
    },
};

/// A [`FrameSealer`] whose regular frames are sealed on several threads.
pub(in crate::message) struct SpreadSealer {
    crew: Crew<Zeroizing<Vec<u8>>, Vec<u8>>,
    key: Arc<MessageKey>,
    frame_length: usize,
    /// The sequence number of the next frame to submit.
    next: u32,
    signing_key: Option<Arc<dyn SigningKey>>,
    /// A fault. Errors in earlier frames take precedence, so it is reported after their batches.
    fault: Option<Error>,
}

impl SpreadSealer {
    /// Takes over a body if the plan asks for several threads and enough of the body has been
    /// sealed. Otherwise returns it unchanged.
    pub(in crate::message) fn new(sealer: FrameSealer, plan: Plan) -> std::result::Result<Self, FrameSealer> {
        let Some(cut) = plan.cut_after(sealer.next - 1, sealer.frame_length) else { return Err(sealer) };
        let FrameSealer { key, frame_length, next, signer } = sealer;
        let (digest, signing_key) = signer.map(|Signer { digest, key }| (digest, key)).unzip();
        let crew = Crew::new(Direction::Seal, cut, key.clone(), digest);
        Ok(Self { crew, key, frame_length, next, signing_key, fault: None })
    }

    /// Returns a buffer for plaintext. It is never empty.
    pub(in crate::message) fn spare(&mut self) -> &mut [u8] {
        self.crew.spare()
    }

    /// Processes plaintext that was written to [`spare`](Self::spare).
    pub(in crate::message) fn advance(&mut self, count: usize, output: &mut Output<Vec<u8>>) -> Result<()> {
        self.crew.advance(count);
        if self.crew.is_full() { self.hand_over(output) } else { Ok(()) }
    }

    /// Copies as many bytes from the front of `plaintext` as there is space for. Returns how many.
    pub(in crate::message) fn take(&mut self, plaintext: &[u8], output: &mut Output<Vec<u8>>) -> Result<usize> {
        let count = self.crew.take(plaintext);
        self.advance(0, output)?;
        Ok(count)
    }

    /// Submits the full frames that are followed by at least one byte.
    fn hand_over(&mut self, output: &mut Output<Vec<u8>>) -> Result<()> {
        let frames = self.crew.input().len().saturating_sub(1) / self.frame_length;
        let (first, taken) = FrameSealer::take_numbers(&mut self.next, frames);
        self.crew.hand_over(first, taken, output)?;
        if taken < frames {
            self.fault = Some(FrameSealer::too_long(self.frame_length));
        }
        Ok(())
    }

    /// Moves completed batches to the output without waiting.
    pub(in crate::message) fn collect(&mut self, output: &mut Output<Vec<u8>>) {
        self.crew.collect(output);
    }

    /// Reports a pending fault, after all submitted batches.
    pub(in crate::message) fn make_ready(&mut self, output: &mut Output<Vec<u8>>) -> Result<()> {
        if let Some(fault) = self.fault.take() {
            self.crew.settle(output)?;
            return Err(fault);
        }
        Ok(())
    }

    /// As [`make_ready`](Self::make_ready), without blocking the thread. Also makes room for one
    /// more batch, so that the next [`advance`](Self::advance) does not wait.
    pub(in crate::message) fn poll_ready(
        &mut self,
        context: &mut Context<'_>,
        output: &mut Output<Vec<u8>>,
    ) -> Poll<Result<()>> {
        if self.fault.is_some() {
            ready!(self.crew.poll_settle(context, output))?;
            return Poll::Ready(self.fault.take().map_or(Ok(()), Err));
        }
        self.crew.poll_ready(context, output)
    }

    /// Seals all whole frames that are there, the last of which may be the final one only if more
    /// follows.
    pub(in crate::message) fn settle(&mut self, output: &mut Output<Vec<u8>>) -> Result<()> {
        self.make_ready(output)?;
        self.hand_over(output)?;
        self.crew.settle(output)?;
        self.make_ready(output)
    }

    /// As [`settle`](Self::settle), without blocking the thread.
    pub(in crate::message) fn poll_settle(
        &mut self,
        context: &mut Context<'_>,
        output: &mut Output<Vec<u8>>,
    ) -> Poll<Result<()>> {
        ready!(self.poll_ready(context, output))?;
        self.hand_over(output)?;
        ready!(self.crew.poll_settle(context, output))?;
        Poll::Ready(self.make_ready(output))
    }

    /// Stops the threads after everything except the final frame has been moved to the output.
    /// Returns the sealer and the plaintext of the final frame.
    pub(in crate::message) fn gather(
        mut self,
        output: &mut Output<Vec<u8>>,
    ) -> Result<(FrameSealer, Zeroizing<Vec<u8>>)> {
        self.settle(output)?;
        let Self { mut crew, key, frame_length, next, signing_key, .. } = self;
        let signer = rejoin(signing_key, crew.take_digest(), |key, digest| Signer { digest, key })?;
        let last = Zeroizing::new(crew.input().to_vec());
        Ok((FrameSealer { key, frame_length, next, signer }, last))
    }
}
