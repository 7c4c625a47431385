//! The computations behind a range of plaintext, without I/O: the readers fetch the bytes that are
//! requested here.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use zeroize::{Zeroize, Zeroizing};

use crate::{
    error::{Error, Result},
    format::Header,
    materials::OpenedBy,
    message::RandomAccess,
};

/// A message whose header, commitment and final frame are verified.
pub(crate) struct Frames {
    message: Arc<Located>,
    /// The last frame that was read partially. The plaintext next to what was read of it is likely
    /// to be read next.
    last: Mutex<Option<Arc<Opened>>>,
}

/// A message whose frames have been located.
struct Located {
    header: Header,
    opened_by: OpenedBy,
    access: RandomAccess,
    /// Whether the signature was verified by a first pass, so that only the source that is bound to
    /// that pass may be read.
    bound: bool,
}

/// The plaintext of a frame.
struct Opened {
    frame: u64,
    plaintext: Zeroizing<Vec<u8>>,
}

impl Frames {
    pub(crate) fn new(
        header: Header,
        opened_by: OpenedBy,
        access: RandomAccess,
        final_plaintext: Zeroizing<Vec<u8>>,
        verified: bool,
    ) -> Self {
        let last = Opened { frame: access.final_frame(), plaintext: final_plaintext };
        let bound = verified && header.suite().is_signed();
        let message = Arc::new(Located { header, opened_by, access, bound });
        Self { message, last: Mutex::new(Some(Arc::new(last))) }
    }

    /// Returns the same message without any plaintext of it, or `None` if it is bound to a source.
    pub(super) fn unbound(&self) -> Option<Self> {
        (!self.message.bound).then(|| Self { message: self.message.clone(), last: Mutex::default() })
    }

    pub(super) fn header(&self) -> &Header {
        &self.message.header
    }

    pub(super) fn opened_by(&self) -> &OpenedBy {
        &self.message.opened_by
    }

    fn access(&self) -> &RandomAccess {
        &self.message.access
    }

    /// Returns the length of the plaintext.
    pub(super) fn length(&self) -> u64 {
        self.access().plaintext_length()
    }

    /// Returns the range of the message that contains a range of plaintext.
    pub(super) fn plan(&self, range: Range<u64>) -> Range<u64> {
        let range = range.start..range.end.min(self.length());
        if range.is_empty() {
            return 0..0;
        }
        self.sealed_of(self.access().frame_at(range.start)..=self.access().frame_at(range.end - 1))
    }

    /// Cuts consecutive frames into pieces of at most `step` bytes of the message, or one frame.
    pub(super) fn pieces(&self, frames: Range<u64>, step: u64) -> impl Iterator<Item = Range<u64>> + use<> {
        let at_once = (step / self.access().sealed_length()).max(1);
        let mut at = frames.start;
        std::iter::from_fn(move || {
            let piece = at..frames.end.min(at + at_once);
            at = piece.end;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Returns the range of the message that holds consecutive frames, of which there is at least
    /// one.
    pub(super) fn sealed(&self, frames: &Range<u64>) -> Range<u64> {
        self.sealed_of(frames.start..=frames.end - 1)
    }

    /// Returns how many frames have at most this length together.
    pub(super) fn frames_in(&self, length: u64) -> u64 {
        length / self.access().sealed_length()
    }

    fn sealed_of(&self, frames: std::ops::RangeInclusive<u64>) -> Range<u64> {
        self.access().sealed_of(*frames.start()).start..self.access().sealed_of(*frames.end()).end
    }

    fn last(&self) -> Option<Arc<Opened>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, opened: Opened) -> Arc<Opened> {
        let opened = Arc::new(opened);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened.clone());
        opened
    }
}

/// A range of plaintext that is being read into a buffer. The buffer is cleared if the read does
/// not complete.
///
/// Pass the bytes of each of the [`ranges`](Self::ranges) to [`supply`](Self::supply).
pub(super) struct Request<'a> {
    frames: &'a Frames,
    buffer: &'a mut [u8],
    /// The offset in the plaintext of the first byte of the buffer.
    offset: u64,
    /// The range of plaintext that is still missing.
    missing: Range<u64>,
    failed: bool,
}

impl<'a> Request<'a> {
    /// Creates a request for the plaintext from an offset on, limited by the end of the plaintext
    /// and the length of the buffer. Copies what the kept frame holds of it.
    pub(super) fn new(frames: &'a Frames, offset: u64, buffer: &'a mut [u8]) -> Self {
        let there = frames.length().saturating_sub(offset).min(buffer.len() as u64);
        let buffer = &mut buffer[..there as usize];
        // An offset past the end has nothing missing, so the sum cannot overflow.
        let missing = if there == 0 { 0..0 } else { offset..offset + there };
        let mut request = Self { frames, buffer, offset, missing, failed: false };
        request.copy_kept();
        request
    }

    /// Returns the number of bytes of plaintext that are requested.
    pub(super) fn length(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the ranges of the message that are needed, in order: whole frames, of at most `step`
    /// bytes together or one frame.
    pub(super) fn ranges(&self, step: u64) -> impl Iterator<Item = Range<u64>> + use<'a> {
        let frames = self.frames;
        frames.pieces(self.frames(), step).map(|piece| frames.sealed(&piece))
    }

    /// Copies the part that the kept frame holds.
    fn copy_kept(&mut self) {
        if self.missing.is_empty() {
            return;
        }
        let Some(last) = self.frames.last() else { return };
        let kept = self.frames.access().plaintext_of(last.frame);
        if kept.contains(&self.missing.start) {
            let taken = self.missing.start..self.missing.end.min(kept.end);
            self.missing.start = taken.end;
            self.copy(&last, taken);
        } else if kept.contains(&(self.missing.end - 1)) {
            let taken = kept.start..self.missing.end;
            self.missing.end = taken.start;
            self.copy(&last, taken);
        }
    }

    /// Opens the frames of the next of the [`ranges`](Self::ranges). Whole frames are opened directly into
    /// the buffer.
    ///
    /// # Errors
    /// [`Error::Integrity`] if they are not the frames of this message. The buffer is then cleared
    /// when the request is dropped.
    pub(super) fn supply(&mut self, sealed: &[u8]) -> Result<()> {
        self.supply_some(sealed, usize::MAX).map(|_| ())
    }

    /// Works like [`supply`](Self::supply), but stops once `enough` bytes have been opened. Returns
    /// the rest.
    pub(super) fn supply_some<'s>(&mut self, mut sealed: &'s [u8], enough: usize) -> Result<&'s [u8]> {
        let all = sealed.len();
        while !sealed.is_empty() && !self.missing.is_empty() && all - sealed.len() < enough {
            // A provider may panic too.
            self.failed = true;
            sealed = self.open_first(sealed)?;
            self.failed = false;
        }
        Ok(sealed)
    }

    /// Returns whether nothing is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Returns the part of a piece of the message, which begins with the frame `first`, from the
    /// first frame on that is missing.
    pub(super) fn part_of<'s>(&self, first: u64, piece: &'s [u8]) -> &'s [u8] {
        let skipped = self.frames().start.saturating_sub(first).saturating_mul(self.frames.access().sealed_length());
        usize::try_from(skipped).ok().and_then(|skipped| piece.get(skipped..)).unwrap_or_default()
    }

    /// Returns the frames that are missing, at least in part.
    pub(super) fn frames(&self) -> Range<u64> {
        let access = self.frames.access();
        match self.missing.end.checked_sub(1) {
            Some(last) if !self.missing.is_empty() => access.frame_at(self.missing.start)..access.frame_at(last) + 1,
            _ => 0..0,
        }
    }

    /// Opens the first missing frame from the front of `sealed`, and returns the rest of `sealed`.
    fn open_first<'s>(&mut self, sealed: &'s [u8]) -> Result<&'s [u8]> {
        let access = self.frames.access();
        let frame = access.frame_at(self.missing.start);
        let there = access.sealed_of(frame);
        let length = usize::try_from(there.end - there.start).unwrap_or(usize::MAX);
        let (sealed, rest) = sealed.split_at_checked(length).ok_or(Error::Integrity)?;
        let text = access.plaintext_of(frame);
        let taken = self.missing.start..self.missing.end.min(text.end);
        self.missing.start = taken.end;
        if taken == text {
            access.open(frame, sealed, self.place(&taken))?;
        } else {
            let mut plaintext = Zeroizing::new(vec![0; (text.end - text.start) as usize]);
            access.open(frame, sealed, &mut plaintext)?;
            let opened = self.frames.keep(Opened { frame, plaintext });
            self.copy(&opened, taken);
        }
        Ok(rest)
    }

    /// Copies a part of a frame to its place in the buffer.
    fn copy(&mut self, opened: &Opened, range: Range<u64>) {
        let start = self.frames.access().plaintext_of(opened.frame).start;
        let part = (range.start - start) as usize..(range.end - start) as usize;
        self.place(&range).copy_from_slice(&opened.plaintext[part]);
    }

    /// Returns the part of the buffer for a range of plaintext.
    fn place(&mut self, range: &Range<u64>) -> &mut [u8] {
        &mut self.buffer[(range.start - self.offset) as usize..(range.end - self.offset) as usize]
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if self.failed || !self.missing.is_empty() {
            self.buffer.zeroize();
        }
    }
}
