//! Opening any frame of a message by itself.
//!
//! All frames but the final one have the same length, so that the length of a message says where each of them lies and
//! which number it bears. That length is a claim until the final frame has been opened where it puts it: only then
//! there is a [`RandomAccess`].
//!
//! Specification: data-format/message-body, "Framed data".

use std::{ops::Range, sync::Arc};

use zeroize::Zeroizing;

use super::{decrypt::BodyOpener, key::MessageKey};
use crate::{
    error::{Error, FormatError, Result},
    format::{
        BodyPart, ContentType, FINAL_FRAME_OVERHEAD, FRAME_OVERHEAD, Frame, FrameKind, Parsed, parse_footer,
        parse_frame_prefix, parse_piece,
    },
    suite::SignatureAlgorithm,
};

/// A verified header whose final frame is still to be found.
pub(crate) struct FinalFrameSearch {
    key: Arc<MessageKey>,
    /// Where the first frame starts in the message.
    start: u64,
    /// Where the message ends.
    end: u64,
    frame_length: u32,
    /// The numbers of regular frames that there can be: one, unless a signature of variable length follows.
    regular_frames: (u64, u64),
    footer: Footer,
}

/// What stands behind the final frame.
#[derive(Clone, Copy)]
enum Footer {
    /// So many bytes.
    Known(u64),
    /// A signature that was not verified, and whose length it says itself.
    Unverified(SignatureAlgorithm),
}

impl FinalFrameSearch {
    /// For a message of `length` bytes, `start` of which are its header. `body_length` is known where all of the
    /// message was verified before.
    ///
    /// # Errors
    /// [`Error::Unframed`]; [`FormatError::Truncated`] if there is no room for a final frame.
    pub(crate) fn new(body: BodyOpener, start: u64, length: u64, body_length: Option<u64>) -> Result<Self> {
        let (key, content_type, signature) = body.into_parts();
        let ContentType::Framed { frame_length } = content_type else { return Err(Error::Unframed) };
        let after_header = length.checked_sub(start).ok_or(FormatError::Truncated)?;
        let (footer, shortest, longest) = match (body_length, signature) {
            (Some(body_length), _) => {
                let known = after_header.checked_sub(body_length).ok_or(FormatError::Truncated)?;
                (Footer::Known(known), known, known)
            }
            (None, None) => (Footer::Known(0), 0, 0),
            (None, Some(algorithm)) => (Footer::Unverified(algorithm), 2, 2 + algorithm.max_signature_length() as u64),
        };
        let regular_frames = |footer| -> Option<u64> {
            let frames = after_header.checked_sub(footer)?.checked_sub(FINAL_FRAME_OVERHEAD as u64)?;
            Some(frames / sealed_length(frame_length))
        };
        let most = regular_frames(shortest).ok_or(FormatError::Truncated)?;
        let regular_frames = (regular_frames(longest).unwrap_or(0), most);
        Ok(Self { key, start, end: length, frame_length, regular_frames, footer })
    }

    /// Which bytes of the message [`open`](Self::open) wants: those from the final frame on, of which there are no more than
    /// frame and footer can have, whatever the message says.
    pub(crate) fn wants(&self) -> Range<u64> {
        self.start + self.regular_frames.0 * sealed_length(self.frame_length)..self.end
    }

    /// Opens the final frame, which proves where all frames are; also, its plaintext.
    ///
    /// # Errors
    /// [`FormatError::FinalFramePosition`] if it is not there, [`Error::Integrity`] if it does not open.
    pub(crate) fn open(self, tail: &[u8]) -> Result<(RandomAccess, Zeroizing<Vec<u8>>)> {
        let (fewest, most) = self.regular_frames;
        for regular_frames in fewest..=most {
            let Some(frame) = self.find(tail, regular_frames) else { continue };
            let mut plaintext = Zeroizing::new(vec![0; frame.content.len()]);
            self.key.open(BodyPart::FinalFrame, &frame, &mut plaintext)?;
            let Self { key, start, frame_length, .. } = self;
            let final_length = plaintext.len() as u64;
            return Ok((RandomAccess { key, start, frame_length, regular_frames, final_length }, plaintext));
        }
        Err(FormatError::FinalFramePosition.into())
    }

    /// The final frame behind so many regular frames, if it is one and ends where it must.
    fn find<'a>(&self, tail: &'a [u8], regular_frames: u64) -> Option<Frame<'a>> {
        let at = (regular_frames - self.regular_frames.0) * sealed_length(self.frame_length);
        let tail = tail.get(usize::try_from(at).ok()?..)?;
        let Ok(Parsed::Whole(prefix)) = parse_frame_prefix(tail, self.frame_length) else { return None };
        let Parsed::Whole(frame) = parse_piece(tail, &prefix) else { return None };
        let number = sequence_number(regular_frames)?;
        if frame.kind != FrameKind::Final || frame.sequence_number != number {
            return None;
        }
        let footer = tail.get(frame.bytes.len()..)?;
        let ends_here = match self.footer {
            Footer::Known(length) => footer.len() as u64 == length,
            Footer::Unverified(algorithm) => match parse_footer(footer, algorithm) {
                Ok(Parsed::Whole((_, length))) => length == footer.len(),
                _ => false,
            },
        };
        ends_here.then_some(frame)
    }
}

/// Opens the frames of a message in any order, from any thread. Header, commitment and final frame are verified.
pub(crate) struct RandomAccess {
    key: Arc<MessageKey>,
    start: u64,
    frame_length: u32,
    /// The number of regular frames, and so the position of the final one, from 0.
    regular_frames: u64,
    final_length: u64,
}

impl RandomAccess {
    /// The length of the plaintext in bytes.
    pub(crate) fn plaintext_length(&self) -> u64 {
        self.regular_frames * u64::from(self.frame_length) + self.final_length
    }

    /// The position of the final frame, from 0.
    pub(crate) fn final_frame(&self) -> u64 {
        self.regular_frames
    }

    /// The position of the frame that has the plaintext byte at this offset.
    pub(crate) fn frame_at(&self, offset: u64) -> u64 {
        (offset / u64::from(self.frame_length)).min(self.regular_frames)
    }

    /// How many bytes a frame takes in the message; the final one may take fewer, or eight more.
    pub(crate) fn sealed_length(&self) -> u64 {
        sealed_length(self.frame_length)
    }

    /// Which plaintext a frame has.
    pub(crate) fn plaintext_of(&self, frame: u64) -> Range<u64> {
        let start = frame * u64::from(self.frame_length);
        start..(start + u64::from(self.frame_length)).min(self.plaintext_length())
    }

    /// Where a frame is in the message.
    pub(crate) fn sealed_of(&self, frame: u64) -> Range<u64> {
        let start = self.start + frame * self.sealed_length();
        let length = if frame == self.regular_frames {
            self.final_length + FINAL_FRAME_OVERHEAD as u64
        } else {
            self.sealed_length()
        };
        start..start + length
    }

    /// Opens the frame at a position into `out`, which is as long as its plaintext.
    ///
    /// # Errors
    /// [`Error::Integrity`] if `sealed` is not that frame; `out` is then cleared, or as it was.
    pub(crate) fn open(&self, frame: u64, sealed: &[u8], out: &mut [u8]) -> Result<()> {
        let (kind, part) = if frame == self.regular_frames {
            (FrameKind::Final, BodyPart::FinalFrame)
        } else {
            (FrameKind::Regular, BodyPart::RegularFrame)
        };
        let Ok(Parsed::Whole(prefix)) = parse_frame_prefix(sealed, self.frame_length) else {
            return Err(Error::Integrity);
        };
        let Parsed::Whole(found) = parse_piece(sealed, &prefix) else { return Err(Error::Integrity) };
        // The number comes from the position: the one that stands there must be it, and is authenticated as such.
        let is_it = found.kind == kind
            && Some(found.sequence_number) == sequence_number(frame)
            && found.content.len() == out.len()
            && found.bytes.len() == sealed.len();
        if !is_it {
            return Err(Error::Integrity);
        }
        self.key.open(part, &found, out)
    }
}

/// How many bytes a regular frame takes in the message.
fn sealed_length(frame_length: u32) -> u64 {
    u64::from(frame_length) + FRAME_OVERHEAD as u64
}

/// The number that the frame at a position bears: they count from 1.
fn sequence_number(position: u64) -> Option<u32> {
    u32::try_from(position + 1).ok()
}
