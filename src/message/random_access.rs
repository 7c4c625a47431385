//! Opening single frames of a message.
//!
//! All frames except the final one have the same length, so the length of a message determines the
//! offset and sequence number of every frame. The length cannot be trusted until the final frame
//! has been opened at the position that follows from it. Only then is a [`RandomAccess`] created.
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

/// A message with a verified header whose final frame has not been located yet.
pub(crate) struct FinalFrameSearch {
    key: Arc<MessageKey>,
    /// The offset of the first frame in the message.
    start: u64,
    /// The length of the message.
    end: u64,
    frame_length: u32,
    /// The minimum and maximum number of regular frames. They differ only if a signature of
    /// variable length follows.
    regular_frames: (u64, u64),
    footer: Footer,
}

/// The part of a message that follows the final frame.
#[derive(Clone, Copy)]
enum Footer {
    /// A footer of known length, which may be zero.
    Known(u64),
    /// An unverified footer that declares its own length.
    Unverified(SignatureAlgorithm),
}

impl FinalFrameSearch {
    /// Creates a search in a message of `length` bytes whose header is `start` bytes long.
    /// `body_length` is known if the whole message was verified before.
    ///
    /// # Errors
    /// [`Error::Unframed`] if the message is not framed, and [`FormatError::Truncated`] if it is
    /// too short for a final frame.
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

    /// Returns the range of the message that [`open`](Self::open) needs: the earliest possible
    /// start of the final frame, up to the end. Whatever the message declares, the length is
    /// bounded by what the frame and the footer can have.
    pub(crate) fn wants(&self) -> Range<u64> {
        self.start + self.regular_frames.0 * sealed_length(self.frame_length)..self.end
    }

    /// Opens the final frame, which proves the positions of all frames. Also returns its plaintext.
    ///
    /// # Errors
    /// [`FormatError::FinalFramePosition`] if the final frame is not at its expected position, and
    /// [`Error::Integrity`] if it cannot be opened.
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

    /// Returns the frame after `regular_frames` regular frames, if it is a final frame and ends
    /// where it must.
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

/// An opener for the frames of a message in any order and from any thread. The header, the key
/// commitment and the final frame have been verified.
pub(crate) struct RandomAccess {
    key: Arc<MessageKey>,
    start: u64,
    frame_length: u32,
    /// The number of regular frames, which is also the index of the final frame.
    regular_frames: u64,
    final_length: u64,
}

impl RandomAccess {
    /// Returns the length of the plaintext in bytes.
    pub(crate) fn plaintext_length(&self) -> u64 {
        self.regular_frames * u64::from(self.frame_length) + self.final_length
    }

    /// Returns the index of the final frame.
    pub(crate) fn final_frame(&self) -> u64 {
        self.regular_frames
    }

    /// Returns the index of the frame that contains the plaintext byte at `offset`.
    pub(crate) fn frame_at(&self, offset: u64) -> u64 {
        (offset / u64::from(self.frame_length)).min(self.regular_frames)
    }

    /// Returns the length of a regular frame in the message. The final frame can be shorter, or up
    /// to eight bytes longer.
    pub(crate) fn sealed_length(&self) -> u64 {
        sealed_length(self.frame_length)
    }

    /// Returns the plaintext range of the frame at this index.
    pub(crate) fn plaintext_of(&self, frame: u64) -> Range<u64> {
        let start = frame * u64::from(self.frame_length);
        start..(start + u64::from(self.frame_length)).min(self.plaintext_length())
    }

    /// Returns the range of the frame at this index in the message.
    pub(crate) fn sealed_of(&self, frame: u64) -> Range<u64> {
        let start = self.start + frame * self.sealed_length();
        let length = if frame == self.regular_frames {
            self.final_length + FINAL_FRAME_OVERHEAD as u64
        } else {
            self.sealed_length()
        };
        start..start + length
    }

    /// Opens the frame at this index into `out`, which must be as long as its plaintext.
    ///
    /// # Errors
    /// [`Error::Integrity`] if `sealed` is not that frame. `out` is then overwritten or unchanged.
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
        // The sequence number follows from the index. The one in the frame must be equal to it, and
        // is authenticated through the AAD.
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

/// Returns the length of a regular frame in the message.
fn sealed_length(frame_length: u32) -> u64 {
    u64::from(frame_length) + FRAME_OVERHEAD as u64
}

/// Returns the sequence number of the frame at this index. Sequence numbers start with 1.
fn sequence_number(position: u64) -> Option<u32> {
    u32::try_from(position + 1).ok()
}
