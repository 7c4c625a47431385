//! Parts of a message, without the rest of it.

mod frames;
mod reader;
mod reader_async;
mod source;

pub(crate) use frames::Frames;
pub use reader::RangeReader;
pub use reader_async::AsyncRangeReader;
pub use source::{GetRange, ReadAt, Seekable};
pub(crate) use source::{Ready, read_range};

use std::{io, ops::Range};

use zeroize::Zeroizing;

use crate::{
    error::{Error, FormatError, Result},
    format::{HeaderDecoder, ReceivedHeader},
};

/// How much is read at first, where the length of a header is not known: most are shorter than this.
const HEADER_GUESS: u64 = 4096;

/// Reads the header of a message, whose length is given too.
pub(crate) async fn fetch_header<S: GetRange>(source: &S, mut decoder: HeaderDecoder) -> Result<(ReceivedHeader, u64)> {
    let size = source.size().await.map_err(source_error)?;
    let mut at = 0;
    loop {
        let end = size.min(at + HEADER_GUESS);
        if at == end {
            return Err(FormatError::Truncated.into());
        }
        let bytes = fetch(source, at..end).await?;
        if let (_, Some(header)) = decoder.push(bytes.as_ref())? {
            return Ok((header, size));
        }
        at = end;
    }
}

/// Reads a range, exactly as long as asked for.
pub(crate) async fn fetch<S: GetRange>(source: &S, range: Range<u64>) -> Result<S::Bytes> {
    let length = range.end - range.start;
    let bytes = source.get_range(range).await.map_err(source_error)?;
    match (bytes.as_ref().len() as u64).cmp(&length) {
        std::cmp::Ordering::Less => Err(FormatError::Truncated.into()),
        std::cmp::Ordering::Equal => Ok(bytes),
        std::cmp::Ordering::Greater => {
            let why = "the source gave more bytes than it was asked for";
            Err(io::Error::new(io::ErrorKind::InvalidData, why).into())
        }
    }
}

/// Room for so many bytes of plaintext. The length is that of an authentic message, but whoever can wrap a data key can declare one that is
/// longer than any memory: that is an error, and does not end the process.
fn room(length: u64) -> Result<Zeroizing<Vec<u8>>> {
    let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    if length as u64 > source::PIECE {
        // Given back at once: only memory that comes zeroed is not touched before it is used.
        Vec::<u8>::new().try_reserve_exact(length).map_err(io::Error::from)?;
    }
    Ok(Zeroizing::new(vec![0; length]))
}

/// What the failure of a source means to the reader of a message.
pub(crate) fn source_error(error: io::Error) -> Error {
    match error.kind() {
        // Of a length that the source itself gave.
        io::ErrorKind::UnexpectedEof => FormatError::Truncated.into(),
        io::ErrorKind::NotSeekable => Error::NotSeekable(error),
        _ => error.into(),
    }
}
