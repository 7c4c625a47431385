//! The structure of a message, read without keys.

use std::io::{self, Read};

use super::{read_header, read_some};
use crate::{
    crypto::TAG_LENGTH,
    error::{Error, FormatError, Result},
    format::{
        ContentType, FrameKind, Header, HeaderDecoder, Parsed, parse_footer, parse_frame_prefix, parse_unframed_prefix,
    },
};

/// The structure of a message, read without any key. **Nothing in it is verified.**
///
/// ```
/// use sealwax::{Client, HeaderDecoder, io::Outline, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let message = Client::new().encrypt(&keyring).bytes(&[1; 10_000]).wait()?.message;
/// let outline = Outline::read(&message[..], HeaderDecoder::new())?;
/// let body = outline.body?;
/// assert_eq!((body.frames, body.plaintext_length, body.signature_length), (3, 10_000, Some(103)));
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Outline {
    /// The header of the message.
    pub header: Header,
    /// The structure of the body and footer, or the reason why they are malformed.
    pub body: Result<BodyOutline>,
}

/// The structure of the body and footer of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyOutline {
    /// The length of the body in bytes.
    pub length: u64,
    /// The number of frames, or 0 for an unframed body.
    pub frames: u32,
    /// The length of the plaintext in bytes.
    pub plaintext_length: u64,
    /// The length of the signature in bytes, if the suite signs. The footer is two bytes longer.
    pub signature_length: Option<u64>,
}

impl Outline {
    /// Reads a message to its end. The memory used does not depend on the length of the body.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Limit`] if the header is malformed or exceeds a limit, and
    /// [`Error::Io`] if the source fails. Errors in the body are reported in [`body`](Self::body).
    pub fn read(mut source: impl Read, decoder: HeaderDecoder) -> Result<Self> {
        let (received, ahead) = read_header(&mut source, decoder)?;
        let header = received.header().clone();
        let mut source = io::BufReader::with_capacity(64 * 1024, ahead.chain(source));
        let body = read_body(&mut source, &header);
        match body {
            Err(Error::Io(error)) => Err(Error::Io(error)),
            body => Ok(Self { header, body }),
        }
    }
}

fn read_body(source: &mut impl Read, header: &Header) -> Result<BodyOutline> {
    let mut outline = BodyOutline { length: 0, frames: 0, plaintext_length: 0, signature_length: None };
    loop {
        let (kind, found, prefix_length, content_length) = read_whole(source, |input| {
            let prefix = match header.content_type() {
                ContentType::Framed { frame_length } => parse_frame_prefix(input, frame_length)?,
                ContentType::Unframed => parse_unframed_prefix(input)?,
            };
            Ok(match prefix {
                Parsed::Whole(prefix) => {
                    Parsed::Whole((prefix.kind, prefix.sequence_number, prefix.length as u64, prefix.content_length))
                }
                Parsed::Needs(count) => Parsed::Needs(count),
            })
        })?;
        if header.content_type() != ContentType::Unframed {
            let expected = outline.frames.saturating_add(1);
            if found != expected {
                return Err(FormatError::SequenceNumber { expected, found }.into());
            }
            outline.frames = found;
        }
        skip(source, content_length + TAG_LENGTH as u64)?;
        outline.length += prefix_length + content_length + TAG_LENGTH as u64;
        outline.plaintext_length += content_length;
        if kind == FrameKind::Final {
            break;
        }
    }
    if let Some(algorithm) = header.suite().signature() {
        let length = read_whole(source, |input| {
            Ok(match parse_footer(input, algorithm)? {
                Parsed::Whole((signature, _)) => Parsed::Whole(signature.len() as u64),
                Parsed::Needs(count) => Parsed::Needs(count),
            })
        })?;
        outline.signature_length = Some(length);
    }
    if read_some(source, &mut [0])? > 0 {
        return Err(FormatError::TrailingBytes.into());
    }
    Ok(outline)
}

/// Reads exactly the bytes that `parse` needs and parses them. These are a few bytes per frame.
fn read_whole<T>(source: &mut impl Read, parse: impl Fn(&[u8]) -> Result<Parsed<T>>) -> Result<T> {
    let mut input = Vec::with_capacity(32);
    loop {
        match parse(&input)? {
            Parsed::Whole(value) => return Ok(value),
            Parsed::Needs(count) => {
                let more = count.saturating_sub(input.len()) as u64;
                if source.by_ref().take(more).read_to_end(&mut input)? as u64 != more {
                    return Err(FormatError::Truncated.into());
                }
            }
        }
    }
}

fn skip(source: &mut impl Read, count: u64) -> Result<()> {
    if io::copy(&mut source.take(count), &mut io::sink())? == count {
        Ok(())
    } else {
        Err(FormatError::Truncated.into())
    }
}
