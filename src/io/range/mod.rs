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

/// The length of the first read for a header, whose length is not known, in bytes: most are shorter than this.
const FIRST_HEADER_READ: u64 = 4096;

/// The longest read for a header in bytes. Each read is twice as long as the one before, so that a header of 1 MiB takes
/// nine reads, and no read is much longer than the header.
const MAX_HEADER_READ: u64 = 256 * 1024;

/// Reads the header of a message; also returns the length of the message.
pub(crate) async fn fetch_header<S: GetRange>(source: &S, mut decoder: HeaderDecoder) -> Result<(ReceivedHeader, u64)> {
    let size = source.size().await.map_err(source_error)?;
    let (mut at, mut step) = (0, FIRST_HEADER_READ);
    loop {
        let end = size.min(at + step);
        if at == end {
            return Err(FormatError::Truncated.into());
        }
        let bytes = fetch(source, at..end).await?;
        if let (_, Some(header)) = decoder.push(bytes.as_ref())? {
            return Ok((header, size));
        }
        (at, step) = (end, (2 * step).min(MAX_HEADER_READ));
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
        io::ErrorKind::NotSeekable => Error::NotSeekable(error.into()),
        _ => error.into(),
    }
}
