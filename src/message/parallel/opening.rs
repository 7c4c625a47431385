//! Opening what comes in pieces, on several threads.

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

/// A [`BodyOpener`] whose regular frames are opened by several threads.
pub(in crate::message) struct SpreadOpener {
    crew: Crew<Vec<u8>, Zeroizing<Vec<u8>>>,
    key: Arc<MessageKey>,
    content_type: ContentType,
    limits: Limits,
    /// The sequence number of the next frame that is handed over.
    next: u32,
    /// How many frames of the input bear the numbers that follow; the last of them may not be whole.
    numbered: usize,
    verifying_key: Option<Arc<dyn VerifyingKey>>,
    /// The bytes of the frames that were handed over.
    handed_over: u64,
    ahead: Ahead,
}

type Plaintext = Output<Zeroizing<Vec<u8>>>;

/// What lies behind the frames that are there.
enum Ahead {
    /// More regular frames, as far as can be seen.
    Regular,
    /// A final frame, for the calling thread.
    Final,
    /// A fault, which is reported only once what came before it is through.
    Fault(Error),
}

impl SpreadOpener {
    /// Goes on with a body, if the plan wants several threads for it and its first stretch is opened.
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

    /// Room for bytes of the message, at least one.
    pub(in crate::message) fn spare(&mut self) -> &mut [u8] {
        self.crew.spare()
    }

    /// Takes in bytes that were written to [`spare`](Self::spare).
    pub(in crate::message) fn advance(&mut self, count: usize, output: &mut Plaintext) -> Result<()> {
        self.crew.advance(count);
        self.ahead = self.look_ahead();
        if matches!(self.ahead, Ahead::Regular) && self.crew.is_full() {
            self.hand_over(output)?;
        }
        Ok(())
    }

    /// Takes in bytes from the front of `message`; returns how many.
    pub(in crate::message) fn take(&mut self, message: &[u8], output: &mut Plaintext) -> Result<usize> {
        let count = self.crew.take(message);
        self.advance(0, output)?;
        Ok(count)
    }

    /// Returns whether no more than regular frames were found so far; otherwise the frames must be
    /// [gathered](Self::gather) before more input is taken.
    pub(in crate::message) fn goes_on(&self) -> bool {
        matches!(self.ahead, Ahead::Regular)
    }

    /// Makes room without blocking the thread, so that one [`advance`](Self::advance) does not block it; where the frames
    /// must be gathered, makes that possible without blocking it.
    pub(in crate::message) fn poll_ready(
        &mut self,
        context: &mut Context<'_>,
        output: &mut Plaintext,
    ) -> Poll<Result<()>> {
        if self.goes_on() { self.crew.poll_ready(context, output) } else { self.poll_settle(context, output) }
    }

    /// Checks the numbers of the frames that came in.
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

    /// Hands over the frames that are whole.
    fn hand_over(&mut self, output: &mut Plaintext) -> Result<()> {
        let frames = self.numbered.min(self.crew.input().len() / self.crew.frame());
        self.handed_over += (frames * self.crew.frame()) as u64;
        self.crew.hand_over(self.next, frames, output)?;
        self.next = self.next.saturating_add(frames as u32);
        self.numbered -= frames;
        Ok(())
    }

    /// Puts out what is done, without waiting.
    pub(in crate::message) fn collect(&mut self, output: &mut Plaintext) {
        self.crew.collect(output);
    }

    /// Opens all whole frames, and puts them out.
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

    /// Ends the threads, with every regular frame put out; gives what opens the rest of the body, the bytes of it that came in, and how
    /// many went before.
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
