//! The reader for asynchronous sources.

use std::ops::Range;

use super::{
    frames::{Frames, Request},
    in_flight::InFlight,
    room,
    source::GetRange,
};
use crate::{error::Result, format::Header, materials::OpenedBy};

/// The number of bytes that one request asks for, unless a single frame is longer.
const STEP: u64 = 4 << 20;

/// The maximum number of bytes between two ranges of a message that are read as one.
const GAP: u64 = 1 << 20;

/// A reader of parts of a framed message in an object store or another asynchronous source. It
/// makes the same checks as [`RangeReader`](super::RangeReader).
///
/// A read makes requests of at most 4 MiB or one frame, up to eight at a time, and holds at most 32
/// MiB, or one frame, that has arrived before it is needed.
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
/// let reader = client.decrypt(&keyring).open_remote(object).await?.into_ranges().await?;
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
        let mut pieces = InFlight::new(&self.source, request.ranges(STEP));
        while let Some(piece) = pieces.next().await {
            request.supply(piece?.as_ref())?;
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

    /// Returns the plaintext in each of several ranges, up to the end of the plaintext.
    ///
    /// Ranges that overlap, or lie within 1 MiB of each other in the message, are read as one, along
    /// with what is between them. Several requests are made at a time.
    ///
    /// # Errors
    /// The errors of [`read_range`](Self::read_range). It then returns none of the plaintext.
    pub async fn read_ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        let groups = self.groups(ranges);
        let mut buffers = groups.iter().map(|group| room(group.end - group.start)).collect::<Result<Vec<_>>>()?;
        let mut requests: Vec<_> = groups
            .iter()
            .zip(&mut buffers)
            .map(|(group, buffer)| Request::new(&self.frames, group.start, buffer))
            .collect();
        let owners: Vec<_> = (requests.iter().enumerate())
            .flat_map(|(index, request)| request.ranges(STEP).map(move |range| (index, range)))
            .collect();
        let mut pieces = InFlight::new(&self.source, owners.iter().map(|(_, range)| range.clone()));
        for (owner, _) in &owners {
            let Some(piece) = pieces.next().await else { break };
            requests[*owner].supply(piece?.as_ref())?;
        }
        drop(requests);
        let part_of = |range: &Range<u64>| -> Vec<u8> {
            let end = range.end.min(self.len());
            let group = groups.iter().zip(&buffers).find(|(group, _)| group.start <= range.start && end <= group.end);
            let part = group.and_then(|(group, buffer)| {
                buffer.get((range.start - group.start) as usize..end.checked_sub(group.start)? as usize)
            });
            part.unwrap_or_default().to_vec()
        };
        Ok(ranges.iter().map(part_of).collect())
    }

    /// Merges ranges of plaintext whose frames lie close together. Leaves out empty ones.
    fn groups(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut sorted: Vec<_> = ranges.iter().map(|range| range.start..range.end.min(self.len())).collect();
        sorted.retain(|range| !range.is_empty());
        sorted.sort_by_key(|range| range.start);
        let mut groups: Vec<Range<u64>> = Vec::new();
        for range in sorted {
            match groups.last_mut() {
                Some(group) if self.plan(range.clone()).start.saturating_sub(self.plan(group.clone()).end) <= GAP => {
                    group.end = group.end.max(range.end);
                }
                _ => groups.push(range),
            }
        }
        groups
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
