//! Access to parts of a message without reading the rest.

mod frames;
mod in_flight;
mod reader;
mod reader_async;
mod source;

pub(crate) use frames::Frames;
pub(crate) use in_flight::{InFlight, step};
pub use reader::RangeReader;
pub use reader_async::AsyncRangeReader;
pub(crate) use source::read_range;
pub use source::{Ends, GetRange, ReadAt, Seekable};

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

/// The number of bytes at the end of a message that are requested along with its header: a final
/// frame of 64 KiB with its footer.
const LAST_READ: u64 = (64 << 10) + 256;

/// The ranges that are read for a header, one after another, from an offset on.
fn header_reads(mut at: u64, size: u64) -> impl Iterator<Item = Range<u64>> {
    let mut step = FIRST_HEADER_READ.max(at);
    std::iter::from_fn(move || {
        let range = at..size.min(at + step);
        (at, step) = (range.end, (2 * step).min(MAX_HEADER_READ));
        (!range.is_empty()).then_some(range)
    })
}

/// Reads the header of a message. Also returns the length of the message.
pub(crate) fn read_header_at<S: ReadAt>(source: &S, mut decoder: HeaderDecoder) -> Result<(ReceivedHeader, u64)> {
    let size = source.size().map_err(source_error)?;
    for range in header_reads(0, size) {
        let bytes = read_range(source, range).map_err(source_error)?;
        if let (_, Some(header)) = decoder.push(&bytes)? {
            return Ok((header, size));
        }
    }
    Err(FormatError::Truncated.into())
}

/// The header of a message in an asynchronous source, and the end of the message.
pub(crate) struct RemoteEnds {
    pub(crate) received: ReceivedHeader,
    /// The length of the message.
    pub(crate) size: u64,
    /// The last bytes of the message, none if they have not been read.
    pub(crate) tail: Vec<u8>,
}

/// Reads the header and the end of a message, in one round trip unless the header is long.
pub(crate) async fn fetch_ends<S: GetRange + Sync>(source: &S, mut decoder: HeaderDecoder) -> Result<RemoteEnds> {
    let Ends { size, first, last } = source.get_ends(FIRST_HEADER_READ, LAST_READ).await.map_err(source_error)?;
    let first = first.as_ref();
    let tail = last.as_ref().map_or(first, AsRef::as_ref);
    let tail_is_end = last.is_some() || first.len() as u64 == size;
    if first.len().max(tail.len()) as u64 > size {
        return Err(too_long());
    }
    let tail = if tail_is_end { tail.to_vec() } else { Vec::new() };
    if let (_, Some(received)) = decoder.push(first)? {
        return Ok(RemoteEnds { received, size, tail });
    }
    for range in header_reads(first.len() as u64, size) {
        if let (_, Some(received)) = decoder.push(fetch(source, range).await?.as_ref())? {
            return Ok(RemoteEnds { received, size, tail });
        }
    }
    Err(FormatError::Truncated.into())
}

/// Reads a range and checks that the source returned exactly its length.
pub(crate) async fn fetch<S: GetRange>(source: &S, range: Range<u64>) -> Result<S::Bytes> {
    let length = range.end - range.start;
    exactly(length, source.get_range(range).await)
}

/// Checks that a source returned exactly the requested number of bytes.
fn exactly<B: AsRef<[u8]>>(length: u64, bytes: io::Result<B>) -> Result<B> {
    let bytes = bytes.map_err(source_error)?;
    match (bytes.as_ref().len() as u64).cmp(&length) {
        std::cmp::Ordering::Less => Err(FormatError::Truncated.into()),
        std::cmp::Ordering::Equal => Ok(bytes),
        std::cmp::Ordering::Greater => Err(too_long()),
    }
}

fn too_long() -> Error {
    io::Error::new(io::ErrorKind::InvalidData, "the source returned more bytes than requested").into()
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
