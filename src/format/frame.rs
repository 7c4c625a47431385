//! The frames of a body, the unframed body, and the footer.
//!
//! Specification: data-format/message-body and data-format/message-footer.

use crate::{
    crypto::{IV_LENGTH, Iv, TAG_LENGTH, Tag},
    error::FormatError,
    suite::SignatureAlgorithm,
};

/// The value that marks a final frame. It takes the place of a regular frame's sequence number.
const FINAL_MARK: u32 = u32::MAX;

/// The length in bytes of a regular frame without its content: sequence number, IV and tag.
pub(crate) const FRAME_OVERHEAD: usize = 4 + IV_LENGTH + TAG_LENGTH;
/// The length in bytes of a final frame without its content: mark, sequence number, IV, content
/// length and tag.
pub(crate) const FINAL_FRAME_OVERHEAD: usize = 4 + 4 + IV_LENGTH + 4 + TAG_LENGTH;
/// The maximum number of frames in a message. Only a final frame can have this sequence number,
/// because the number is also the final frame mark.
pub(crate) const MAX_FRAMES: u32 = u32::MAX;
/// The maximum length of an unframed body in bytes, which is the maximum input length of AES-GCM.
const MAX_UNFRAMED_LENGTH: u64 = (1 << 36) - 32;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Regular,
    Final,
}

/// One sealed part of a received body: a frame, or the whole unframed body.
pub(crate) struct Frame<'a> {
    pub(crate) kind: FrameKind,
    /// The sequence number; 1 for an unframed body.
    pub(crate) sequence_number: u32,
    pub(crate) iv: &'a Iv,
    pub(crate) content: &'a [u8],
    pub(crate) tag: &'a Tag,
    /// The whole encoding of the part, as covered by the signature.
    pub(crate) bytes: &'a [u8],
}

/// The result of parsing input that may be incomplete.
pub(crate) enum Parsed<T> {
    /// The item is complete.
    Whole(T),
    /// The item needs at least this many bytes in total, which is more than the input has.
    Needs(usize),
}

/// A reader of fields at the front of the input.
struct Cursor<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], usize> {
        let end = self.at.checked_add(length).ok_or(usize::MAX)?;
        let field = self.all.get(self.at..end).ok_or(end)?;
        self.at = end;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], usize> {
        let end = self.at.checked_add(N).ok_or(usize::MAX)?;
        let field = self.all.get(self.at..end).and_then(|field| field.try_into().ok()).ok_or(end)?;
        self.at = end;
        Ok(field)
    }

    fn u32(&mut self) -> Result<u32, usize> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// Unwraps a field, or returns the number of bytes that it needs.
macro_rules! or_needs {
    ($field:expr) => {
        match $field {
            Ok(field) => field,
            Err(needs) => return Ok(Parsed::Needs(needs)),
        }
    };
}

/// The fields before the content of a frame or unframed body.
pub(crate) struct Prefix<'a> {
    pub(crate) kind: FrameKind,
    /// The sequence number; 1 for an unframed body.
    pub(crate) sequence_number: u32,
    iv: &'a Iv,
    /// The length of the prefix itself.
    pub(crate) length: usize,
    pub(crate) content_length: u64,
}

/// Parses the prefix of the frame at the front of `input`.
///
/// # Errors
/// [`FormatError::FinalFrameLength`] if the final frame is longer than the frame length, as soon as
/// its length field is available.
pub(crate) fn parse_frame_prefix(input: &[u8], frame_length: u32) -> Result<Parsed<Prefix<'_>>, FormatError> {
    let mut cursor = Cursor::new(input);
    let first = or_needs!(cursor.u32());
    let kind = if first == FINAL_MARK { FrameKind::Final } else { FrameKind::Regular };
    let sequence_number = match kind {
        FrameKind::Regular => first,
        FrameKind::Final => or_needs!(cursor.u32()),
    };
    let iv = or_needs!(cursor.array());
    let content_length = match kind {
        FrameKind::Regular => frame_length,
        FrameKind::Final => {
            let found = or_needs!(cursor.u32());
            if found > frame_length {
                return Err(FormatError::FinalFrameLength { frame_length, found });
            }
            found
        }
    }
    .into();
    Ok(Parsed::Whole(Prefix { kind, sequence_number, iv, length: cursor.at, content_length }))
}

/// Parses the prefix of the unframed body at the front of `input`.
///
/// # Errors
/// [`FormatError::UnframedLength`] if the body is too long for AES-GCM, as soon as its length field
/// is available.
pub(crate) fn parse_unframed_prefix(input: &[u8]) -> Result<Parsed<Prefix<'_>>, FormatError> {
    let mut cursor = Cursor::new(input);
    let iv = or_needs!(cursor.array());
    let content_length = u64::from_be_bytes(*or_needs!(cursor.array()));
    if content_length > MAX_UNFRAMED_LENGTH {
        return Err(FormatError::UnframedLength(content_length));
    }
    let (kind, sequence_number) = (FrameKind::Final, 1);
    Ok(Parsed::Whole(Prefix { kind, sequence_number, iv, length: cursor.at, content_length }))
}

/// Parses the frame or unframed body at the front of `input`, whose prefix has already been parsed.
pub(crate) fn parse_piece<'a>(input: &'a [u8], prefix: &Prefix<'a>) -> Parsed<Frame<'a>> {
    let mut cursor = Cursor { all: input, at: prefix.length };
    let length = usize::try_from(prefix.content_length).unwrap_or(usize::MAX);
    let content = cursor.take(length);
    let (content, tag) = match content.and_then(|content| Ok((content, cursor.array()?))) {
        Ok(fields) => fields,
        // If the content is incomplete, `needs` does not include the tag yet.
        Err(needs) if content.is_err() => return Parsed::Needs(needs.saturating_add(TAG_LENGTH)),
        Err(needs) => return Parsed::Needs(needs),
    };
    let Prefix { kind, sequence_number, iv, .. } = *prefix;
    Parsed::Whole(Frame { kind, sequence_number, iv, content, tag, bytes: &input[..cursor.at] })
}

/// Parses the footer at the front of `input` and returns the signature and the length of the
/// footer.
///
/// # Errors
/// [`FormatError::SignatureLength`] if the declared signature is longer than any signature of the
/// suite.
pub(crate) fn parse_footer(input: &[u8], algorithm: SignatureAlgorithm) -> Result<Parsed<(&[u8], usize)>, FormatError> {
    let mut cursor = Cursor::new(input);
    let length = u16::from_be_bytes(*or_needs!(cursor.array()));
    if usize::from(length) > algorithm.max_signature_length() {
        return Err(FormatError::SignatureLength(length));
    }
    let signature = or_needs!(cursor.take(length.into()));
    Ok(Parsed::Whole((signature, cursor.at)))
}

/// Writes the fields before the content of a frame and returns their length.
pub(crate) fn write_frame_prefix(
    out: &mut [u8],
    kind: FrameKind,
    sequence_number: u32,
    iv: &Iv,
    content_length: u32,
) -> usize {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    if kind == FrameKind::Final {
        put(&FINAL_MARK.to_be_bytes());
    }
    put(&sequence_number.to_be_bytes());
    put(iv);
    if kind == FrameKind::Final {
        put(&content_length.to_be_bytes());
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(input: &[u8], frame_length: u32) -> usize {
        match parse_frame_prefix(input, frame_length).unwrap() {
            Parsed::Needs(needs) => needs,
            Parsed::Whole(prefix) => match parse_piece(input, &prefix) {
                Parsed::Needs(needs) => needs,
                Parsed::Whole(_) => panic!("the input is complete"),
            },
        }
    }

    #[test]
    fn a_frame_says_how_many_bytes_it_needs() {
        let mut out = [0; 64];
        let prefix = write_frame_prefix(&mut out, FrameKind::Regular, 3, &[9; 12], 5);
        assert_eq!(prefix, 16);
        assert_eq!(needs(&[], 5), 4);
        assert_eq!(needs(&out[..4], 5), 16);
        assert_eq!(needs(&out[..16], 5), 16 + 5 + 16);
        let Ok(Parsed::Whole(prefix)) = parse_frame_prefix(&out, 5) else { panic!() };
        let Parsed::Whole(frame) = parse_piece(&out, &prefix) else { panic!() };
        assert_eq!((frame.kind, frame.sequence_number, frame.iv), (FrameKind::Regular, 3, &[9; 12]));
        assert_eq!((frame.content.len(), frame.bytes.len()), (5, 16 + 5 + 16));
    }

    #[test]
    fn a_final_frame_longer_than_frames_is_refused_at_its_length() {
        let mut out = [0; 64];
        let prefix = write_frame_prefix(&mut out, FrameKind::Final, 1, &[0; 12], 6);
        assert_eq!(prefix, 24);
        assert_eq!(needs(&out[..4], 5), 8);
        assert_eq!(needs(&out[..8], 5), 20);
        assert_eq!(needs(&out[..20], 5), 24);
        assert!(matches!(
            parse_frame_prefix(&out[..24], 5),
            Err(FormatError::FinalFrameLength { frame_length: 5, found: 6 })
        ));
        assert_eq!(needs(&out[..24], 6), 24 + 6 + 16);
    }

    #[test]
    fn an_unframed_body_is_judged_by_its_length_alone() {
        let mut body = vec![0; 12];
        body.extend_from_slice(&(MAX_UNFRAMED_LENGTH + 1).to_be_bytes());
        assert!(matches!(parse_unframed_prefix(&body), Err(FormatError::UnframedLength(_))));
        body.truncate(12);
        body.extend_from_slice(&MAX_UNFRAMED_LENGTH.to_be_bytes());
        assert!(matches!(parse_unframed_prefix(&body[..13]), Ok(Parsed::Needs(20))));
        let Ok(Parsed::Whole(prefix)) = parse_unframed_prefix(&body) else { panic!() };
        assert_eq!((prefix.length, prefix.content_length), (20, MAX_UNFRAMED_LENGTH));
        assert!(matches!(parse_piece(&body, &prefix), Parsed::Needs(_)));
    }
}
