//! Access to parts of a message without reading the rest.

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

/// The length in bytes of the first read for a header, whose length is not known in advance. Most
/// headers are shorter than this.
const FIRST_HEADER_READ: u64 = 4096;

/// The maximum length in bytes of a read for a header. Each read is twice as long as the one
/// before, so that a header of 1 MiB takes nine reads and no read is much longer than the header.
const MAX_HEADER_READ: u64 = 256 * 1024;

/// Reads the header of a message. Also returns the length of the message.
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

/// Reads a range and checks that the source returned exactly its length.
pub(crate) async fn fetch<S: GetRange>(source: &S, range: Range<u64>) -> Result<S::Bytes> {
    let length = range.end - range.start;
    let bytes = source.get_range(range).await.map_err(source_error)?;
    match (bytes.as_ref().len() as u64).cmp(&length) {
        std::cmp::Ordering::Less => Err(FormatError::Truncated.into()),
        std::cmp::Ordering::Equal => Ok(bytes),
        std::cmp::Ordering::Greater => {
            let why = "the source returned more bytes than requested";
            Err(io::Error::new(io::ErrorKind::InvalidData, why).into())
        }
    }
}

/// Returns a zeroed buffer for `length` bytes of plaintext. The length is that of an authentic
/// message, but anyone who can wrap a data key can declare a length that exceeds any memory. That
/// must cause an error and not abort the process.
fn room(length: u64) -> Result<Zeroizing<Vec<u8>>> {
    let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    if length as u64 > source::PIECE {
        // This tests whether the allocation is possible, and frees it at once. `vec!` would abort
        // the process if it failed, but only `vec!` can take memory that is already zeroed, so that
        // no page is touched before it is used.
        Vec::<u8>::new().try_reserve_exact(length).map_err(io::Error::from)?;
    }
    Ok(Zeroizing::new(vec![0; length]))
}

/// Converts an I/O error of a source into the error for the reader of the message.
pub(crate) fn source_error(error: io::Error) -> Error {
    match error.kind() {
        // The source itself reported a length that covers the range.
        io::ErrorKind::UnexpectedEof => FormatError::Truncated.into(),
        io::ErrorKind::NotSeekable => Error::NotSeekable(error.into()),
        _ => error.into(),
    }
}
