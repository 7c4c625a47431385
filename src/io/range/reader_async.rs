//! The reader for asynchronous sources.

use std::ops::Range;

use super::{
    fetch,
    frames::{Frames, Request},
    room,
    source::GetRange,
};
use crate::{error::Result, format::Header, materials::OpenedBy};

/// A reader of parts of a framed message in an object store or another asynchronous source. It
/// makes the same checks as [`RangeReader`](super::RangeReader).
///
/// ```
/// # use std::{io, ops::Range};
/// # use sealwax::{AlgorithmSuite, Client, io::GetRange, keyring::RawAesKeyring};
/// # struct Object(Vec<u8>);
/// # impl GetRange for Object {
/// #     type Bytes = Vec<u8>;
/// #     async fn size(&self) -> io::Result<u64> { Ok(self.0.len() as u64) }
/// #     async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
/// #         Ok(self.0[range.start as usize..range.end as usize].to_vec())
/// #     }
/// # }
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// # let client = Client::new();
/// # let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// # let object = Object(client.encrypt(&keyring).suite(unsigned).bytes(b"some longer text").await?.message);
/// let reader = client.decrypt(&keyring).ranges_async(object).await?;
/// assert_eq!(reader.read_range(5..11).await?, b"longer");
/// # Ok::<(), sealwax::Error>(())
/// # }).unwrap();
/// ```
pub struct AsyncRangeReader<S> {
    source: S,
    frames: Frames,
}

impl<S: GetRange> AsyncRangeReader<S> {
    pub(crate) fn new(source: S, frames: Frames) -> Self {
        Self { source, frames }
    }

    /// Returns the header, which is authentic. If the message is signed, its signature is not
    /// verified.
    pub fn header(&self) -> &Header {
        &self.frames.header
    }

    /// Returns which keyring unwrapped the data key.
    pub fn opened_by(&self) -> &OpenedBy {
        &self.frames.opened_by
    }

    /// Returns the length of the plaintext in bytes.
    pub fn len(&self) -> u64 {
        self.frames.length()
    }

    /// Returns `true` if the plaintext is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the range of the message that contains a range of plaintext, as
    /// [`RangeReader::plan`](super::RangeReader::plan) does.
    pub fn plan(&self, range: Range<u64>) -> Range<u64> {
        self.frames.plan(range)
    }

    /// Reads plaintext from an offset on, until `buffer` is full or the plaintext ends. Returns the
    /// number of bytes read, which is 0 past the end. If the future is dropped while it is running,
    /// the part of `buffer` that was to be filled is cleared, and the reader remains usable.
    ///
    /// # Errors
    /// The errors of [`RangeReader::read_at`](super::RangeReader::read_at).
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut request = Request::new(&self.frames, offset, buffer);
        while let Some(range) = request.next() {
            request.supply(fetch(&self.source, range).await?.as_ref())?;
        }
        Ok(request.length())
    }

    /// Returns the plaintext in a range, up to the end of the plaintext.
    ///
    /// # Errors
    /// The errors of [`read_at`](Self::read_at), and [`Error::Io`](crate::Error::Io) if there is
    /// not enough memory for the range.
    pub async fn read_range(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let length = range.end.min(self.len()).saturating_sub(range.start);
        let mut plaintext = room(length)?;
        self.read_at(range.start, &mut plaintext).await?;
        Ok(std::mem::take(&mut *plaintext))
    }

    /// Returns a reference to the source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Returns the source.
    pub fn into_inner(self) -> S {
        self.source
    }
}
