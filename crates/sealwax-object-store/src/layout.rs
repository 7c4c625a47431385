//! The lengths of objects and what they hold.

use std::ops::Range;

use sealwax::{AlgorithmSuite, ContentType, Error, Header, Result};

/// The suite of all objects that are written: committing, without a signature.
pub(crate) const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;

/// The number of bytes that a frame adds to its plaintext.
pub(crate) const FRAME_OVERHEAD: u64 = 32;
/// The number of bytes that the final frame adds to its plaintext.
const FINAL_FRAME_OVERHEAD: u64 = 40;

/// How the length of the plaintext of an object is found out.
///
/// ```
/// use sealwax_object_store::Sizes;
/// assert_eq!(Sizes::default(), Sizes::Uniform);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sizes {
    /// From the length of the object. All objects have the header length and frame length that the
    /// store is built with; an object that does not is refused when it is opened. A length that no
    /// such object can have is passed on as it is, such as that of an empty marker.
    #[default]
    Uniform,
    /// From the object itself: `head` and listings read the header and the end of each object that
    /// is not in the cache. For stores with messages of other programs, or of several layouts.
    ///
    /// The length of a signed message is authenticated without verifying its signature. A message
    /// that is not framed is read as a whole.
    Exact,
}

/// The layout of the objects that a store writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The length of the header.
    pub(crate) header: u64,
    /// The number of plaintext bytes in a frame.
    pub(crate) frame: u32,
}

impl Layout {
    fn sealed_frame(self) -> u64 {
        u64::from(self.frame) + FRAME_OVERHEAD
    }

    /// Returns the length of the longest final frame.
    pub(crate) fn last_frame(self) -> u64 {
        u64::from(self.frame) + FINAL_FRAME_OVERHEAD
    }

    /// Returns the length of the plaintext of an object of this length, or `None` if no object has
    /// this length.
    ///
    /// The final frame has at most as much plaintext as any other, so there is one answer, whether
    /// the writer ends with a full frame or with an empty one after it.
    pub(crate) fn plaintext_length(self, object: u64) -> Option<u64> {
        let frames = object.checked_sub(self.header + FINAL_FRAME_OVERHEAD)?;
        let (full, rest) = (frames / self.sealed_frame(), frames % self.sealed_frame());
        (rest <= u64::from(self.frame)).then(|| full * u64::from(self.frame) + rest)
    }

    /// Returns the range of an object that has the frames of a range of plaintext.
    pub(crate) fn sealed(self, plaintext: &Range<u64>) -> Range<u64> {
        let frame = u64::from(self.frame);
        let at = |frames: u64| self.header.saturating_add(frames.saturating_mul(self.sealed_frame()));
        // The final frame is a little longer than the others.
        let end = at(plaintext.end.div_ceil(frame)).saturating_add(FINAL_FRAME_OVERHEAD - FRAME_OVERHEAD);
        at(plaintext.start / frame)..end
    }

    /// Returns the length of the end of an object that has the last `count` bytes of plaintext.
    pub(crate) fn sealed_suffix(self, count: u64) -> u64 {
        let frames = count.div_ceil(self.frame.into()).saturating_mul(self.sealed_frame());
        self.last_frame().saturating_add(frames)
    }

    /// Returns the layout of an unsigned framed message.
    pub(crate) fn of(header: &Header) -> Option<Self> {
        let frame = header.content_type().frame_length().filter(|_| !header.suite().is_signed())?;
        Some(Self { header: header.length() as u64, frame })
    }

    /// Checks that a message has this layout.
    pub(crate) fn check(self, found: &Header) -> Result<()> {
        if Self::of(found).is_some_and(|found| (found.header, found.frame) == (self.header, self.frame)) {
            return Ok(());
        }
        let kind = match found.content_type() {
            ContentType::Unframed => "no frames".to_owned(),
            ContentType::Framed { frame_length } => format!("frames of {frame_length} bytes"),
        };
        let signed = if found.suite().is_signed() { " and a signature" } else { "" };
        Err(Error::Configuration(format!(
            "the object has a header of {} bytes, {kind}{signed}; this store expects {} and {}, from which lengths \
             follow; use Sizes::Exact",
            found.length(),
            self.header,
            self.frame
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Layout = Layout { header: 1024, frame: 10 };

    #[test]
    fn every_length_has_one_plaintext_in_both_conventions() {
        for plaintext in 0..200_u64 {
            // With a full final frame, and with an empty one after it.
            let (full, rest) = (plaintext / 10, plaintext % 10);
            let extra = 1024 + full * 42 + rest + 40;
            assert_eq!(SMALL.plaintext_length(extra), Some(plaintext));
            if rest == 0 && full > 0 {
                assert_eq!(SMALL.plaintext_length(1024 + (full - 1) * 42 + 10 + 40), Some(plaintext));
            }
        }
        // Lengths between those that exist.
        let possible = |length| SMALL.plaintext_length(length).is_some();
        assert_eq!((1024..1024 + 40 + 4 * 42).filter(|length| possible(*length)).count(), 4 * 11);
        assert_eq!([0, 1, 1023, 1063].map(|length| SMALL.plaintext_length(length)), [None; 4]);
        assert!(Layout { header: 1024, frame: 65_536 }.plaintext_length(u64::MAX).is_none_or(|found| found < u64::MAX));
    }

    #[test]
    fn sealed_ranges_hold_their_frames() {
        assert_eq!(SMALL.sealed(&(0..1)), 1024..1024 + 42 + 8);
        assert_eq!(SMALL.sealed(&(9..11)), 1024..1024 + 2 * 42 + 8);
        assert_eq!(SMALL.sealed(&(10..20)), 1024 + 42..1024 + 2 * 42 + 8);
        assert_eq!(SMALL.sealed(&(0..u64::MAX)).end, u64::MAX);
        assert_eq!(SMALL.sealed_suffix(1), 50 + 42);
        assert_eq!(SMALL.sealed_suffix(11), 50 + 2 * 42);
        assert_eq!(SMALL.sealed_suffix(u64::MAX), u64::MAX);
    }
}
