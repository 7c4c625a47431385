//! Regular frames that are in memory as a whole, on several threads.

use std::thread;

use super::{
    Cut, Plan,
    batch::{Batch, Direction},
    crew::{THREAD_NAME, rejoin},
    line::Line,
};
use crate::{
    error::Result,
    format::{ContentType, FrameKind, Parsed},
    message::{
        decrypt::{BodyOpener, FooterVerifier, numbered_prefix},
        encrypt::{FrameSealer, Signer},
    },
};

/// A line of parts of what others own.
type Slices<'a> = Line<&'a [u8], &'a mut [u8]>;

/// Has threads work on a line while `drive` puts batches in and takes them out. They are gone when this returns.
fn with_helpers<T>(line: &Slices<'_>, helpers: usize, drive: impl FnOnce() -> T) -> T {
    /// Lets the helpers go, also if `drive` panics: the scope waits for them.
    struct Closing<'a, 'b>(&'a Slices<'b>);
    impl Drop for Closing<'_, '_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    thread::scope(|scope| {
        let closing = Closing(line);
        let helper = || thread::Builder::new().name(THREAD_NAME.into()).spawn_scoped(scope, || line.help());
        // Without one the work is done by those that are there.
        let helpers: Vec<_> = (0..helpers).filter_map(|_| helper().ok()).collect();
        let outcome = drive();
        drop(closing);
        for helper in helpers {
            // It catches the panics of a provider. The scope alone would wait for its work, but not for its end.
            let _ = helper.join();
        }
        outcome
    })
}

/// Takes out what is done; where there is no room for another batch, waits first.
fn make_room(line: &Slices<'_>, in_flight: usize) -> Result<()> {
    if line.in_flight() >= in_flight {
        line.wait_for(in_flight / 2);
    }
    while let Some(batch) = line.take_out() {
        batch?;
    }
    Ok(())
}

/// Waits for everything.
fn settle(line: &Slices<'_>, in_flight: usize) -> Result<()> {
    line.wait_for(in_flight);
    make_room(line, in_flight)
}

impl Plan {
    /// How the frames of a message in memory are cut: so that every thread gets several batches.
    fn cut_whole(self, length: usize, frame_length: usize) -> Option<Cut> {
        if length < self.pays_from {
            return None;
        }
        let batch = self.batch.min(length / self.threads.saturating_mul(4).max(1));
        // Nothing is buffered.
        let cut = Self { batch, ..self }.cut(frame_length, usize::MAX)?;
        let batches = length.div_ceil(cut.frames.saturating_mul(frame_length));
        let (in_flight, helpers) = (cut.in_flight.min(batches), cut.helpers.min(batches.saturating_sub(1)));
        (helpers > 0).then_some(Cut { in_flight, helpers, ..cut })
    }
}

/// Seals regular frames, as many as there are whole ones in `plaintext`, into the front of `out`, if that pays. Gives back what seals the
/// rest, and says how many bytes of `plaintext` were sealed: none if it does not pay.
pub(in crate::message) fn seal_regular_frames(
    sealer: FrameSealer,
    plaintext: &[u8],
    out: &mut [u8],
    plan: Plan,
) -> Result<(FrameSealer, usize)> {
    let Some(cut) = plan.cut_whole(plaintext.len(), sealer.frame_length) else { return Ok((sealer, 0)) };
    let FrameSealer { key, frame_length, mut next, signer } = sealer;
    let (digest, signing_key) = signer.map(|Signer { digest, key }| (digest, key)).unzip();
    let line = Slices::new(key.clone(), digest, cut.in_flight);
    let plaintext = &plaintext[..plaintext.len() / frame_length * frame_length];
    with_helpers(&line, cut.helpers, || {
        let sealed = out.chunks_mut(cut.frames * Direction::Seal.given(frame_length));
        for (input, output) in plaintext.chunks(cut.frames * frame_length).zip(sealed) {
            let (first, frames) = FrameSealer::take_numbers(&mut next, input.len() / frame_length);
            if frames * frame_length < input.len() {
                return Err(FrameSealer::too_long(frame_length));
            }
            make_room(&line, cut.in_flight)?;
            line.put_in(Batch { direction: Direction::Seal, frame_length, first, frames, input, output });
        }
        settle(&line, cut.in_flight)
    })?;
    let signer = rejoin(signing_key, line.take_digest(), |key, digest| Signer { digest, key })?;
    Ok((FrameSealer { key, frame_length, next, signer }, plaintext.len()))
}

/// Opens the regular frames at the front of `input` into the front of `out`, which has room for them. Gives back what opens the rest, and
/// says how many bytes of `input` were opened: none if it does not pay. What is wrong after them is for the caller to find.
pub(in crate::message) fn open_regular_frames(
    body: BodyOpener,
    input: &[u8],
    out: &mut [u8],
    plan: Plan,
) -> Result<(BodyOpener, usize)> {
    let ContentType::Framed { frame_length } = body.content_type else { return Ok((body, 0)) };
    let Some(cut) = plan.cut_whole(input.len(), frame_length as usize) else { return Ok((body, 0)) };
    let BodyOpener { key, content_type, limits, mut next, verifier } = body;
    let (digest, verifying_key) = verifier.map(|FooterVerifier { digest, key }| (digest, key)).unzip();
    let line = Slices::new(key.clone(), digest, cut.in_flight);
    let opened: Result<usize> = with_helpers(&line, cut.helpers, || {
        let Cut { frame_length, .. } = cut;
        let (mut rest, mut out) = (input, out);
        loop {
            // How many regular frames with the numbers that follow come next.
            let sealed = rest.chunks_exact(Direction::Open.taken(frame_length)).take(cut.frames);
            let numbered = sealed.enumerate().take_while(|(index, frame)| {
                let expected = next.saturating_add(*index as u32);
                let prefix = numbered_prefix(frame, content_type, expected, &limits);
                matches!(prefix, Ok(Parsed::Whole(prefix)) if prefix.kind == FrameKind::Regular)
            });
            let frames = numbered.count();
            if frames == 0 {
                settle(&line, cut.in_flight)?;
                return Ok(input.len() - rest.len());
            }
            let (input, after) = rest.split_at(frames * Direction::Open.taken(frame_length));
            let (output, out_after) = out.split_at_mut(frames * frame_length);
            (rest, out) = (after, out_after);
            make_room(&line, cut.in_flight)?;
            line.put_in(Batch { direction: Direction::Open, frame_length, first: next, frames, input, output });
            next = next.saturating_add(frames as u32);
        }
    });
    let opened = opened?;
    let verifier = rejoin(verifying_key, line.take_digest(), |key, digest| FooterVerifier { digest, key })?;
    Ok((BodyOpener { key, content_type, limits, next, verifier }, opened))
}
