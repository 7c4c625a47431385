//! Processing regular frames that are entirely in memory on several threads.

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

/// A queue of batches that borrow slices of the caller's buffers.
type Slices<'a> = Line<&'a [u8], &'a mut [u8]>;

/// Runs `drive`, which adds and removes batches, while helper threads process them. The threads
/// have stopped when this returns.
fn with_helpers<T>(line: &Slices<'_>, helpers: usize, drive: impl FnOnce() -> T) -> T {
    /// A guard that stops the helpers, even if `drive` panics. Otherwise the scope would wait for
    /// them forever.
    struct Closing<'a, 'b>(&'a Slices<'b>);
    impl Drop for Closing<'_, '_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    thread::scope(|scope| {
        let closing = Closing(line);
        let helper = || thread::Builder::new().name(THREAD_NAME.into()).spawn_scoped(scope, || line.help());
        // If no thread can be started, the existing ones do the work.
        let helpers: Vec<_> = (0..helpers).filter_map(|_| helper().ok()).collect();
        let outcome = drive();
        drop(closing);
        for helper in helpers {
            // Workers catch the panics of a provider. Without the join, the scope would wait for
            // the closure to return, but not for the thread to exit.
            let _ = helper.join();
        }
        outcome
    })
}

/// Removes completed batches. If there is no room for another batch, waits first.
fn make_room(line: &Slices<'_>, in_flight: usize) -> Result<()> {
    if line.in_flight() >= in_flight {
        line.wait_for(in_flight / 2);
    }
    while let Some(batch) = line.take_out() {
        batch?;
    }
    Ok(())
}

/// Waits for all batches.
fn settle(line: &Slices<'_>, in_flight: usize) -> Result<()> {
    line.wait_for(in_flight);
    make_room(line, in_flight)
}

impl Plan {
    /// Returns how to cut the frames of a message in memory, so that every thread gets several
    /// batches.
    fn cut_whole(self, length: usize, frame_length: usize) -> Option<Cut> {
        if length < self.pays_from {
            return None;
        }
        let batch = self.batch.min(length / self.threads.saturating_mul(4).max(1));
        // The batches borrow their data, so no budget for buffers applies.
        let cut = Self { batch, ..self }.cut(frame_length, usize::MAX)?;
        let batches = length.div_ceil(cut.frames.saturating_mul(frame_length));
        let (in_flight, helpers) = (cut.in_flight.min(batches), cut.helpers.min(batches.saturating_sub(1)));
        (helpers > 0).then_some(Cut { in_flight, helpers, ..cut })
    }
}

/// Seals the full frames of `plaintext` as regular frames into the front of `out` on several
/// threads, if the plaintext is long enough. Returns the sealer for the rest and the number of
/// bytes of `plaintext` that were sealed, which can be 0.
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

/// Opens the regular frames at the front of `input` into the front of `out` on several threads, if
/// the input is long enough. `out` must have space for their plaintext. Returns the opener for the
/// rest and the number of bytes of `input` that were opened, which can be 0. The caller must check
/// what follows those frames.
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
            // Count the next regular frames that have the expected sequence numbers.
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
