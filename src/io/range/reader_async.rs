//! The reader for asynchronous sources.

use std::ops::Range;

use super::{
    frames::{Frames, Request},
    in_flight::{InFlight, step},
    room,
    source::GetRange,
};
use crate::{
    error::{Error, Result},
    format::Header,
    io::pump::yield_once,
    materials::OpenedBy,
    message::CHUNK,
};

/// The maximum number of bytes between two ranges of a message that are read as one.
const GAP: u64 = 1 << 20;

/// Opens the frames of a piece, a few at a time.
async fn supply(request: &mut Request<'_>, mut piece: &[u8]) -> Result<()> {
    while !piece.is_empty() && !request.is_complete() {
        piece = request.supply_some(piece, CHUNK)?;
        yield_once().await;
    }
    Ok(())
}

/// Merges ranges of frames, which are sorted by their start, if they overlap or if at most `gap`
/// frames lie between them, and no more than are wanted.
fn merge(ranges: impl Iterator<Item = Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    let mut merged: Vec<(Range<u64>, u64)> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some((last, wanted)) if range.start.saturating_sub(last.end) <= gap.min(*wanted) => {
                *wanted += range.end.saturating_sub(range.start.max(last.end));
                last.end = last.end.max(range.end);
            }
            _ => {
                let wanted = range.end - range.start;
                merged.push((range, wanted));
            }
        }
    }
    merged.into_iter().map(|(range, _)| range).collect()
}

/// A reader of parts of a framed message in an object store or another asynchronous source. It
/// makes the same checks as [`RangeReader`](super::RangeReader).
///
/// A read makes several requests [at a time](GetRange::max_requests), of 4 MiB each or one frame if
/// there are eight, and holds at most 32 MiB, or one frame, that has arrived before it is needed.
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

impl<S> AsyncRangeReader<S> {
    pub(crate) fn new(source: S, frames: Frames) -> Self {
        Self { source, frames }
    }

    /// Returns the header, which is authentic. The signature of a signed message has been verified
    /// only if the message [was](crate::io::RemoteMessage::verify).
    pub fn header(&self) -> &Header {
        self.frames.header()
    }

    /// Returns which keyring unwrapped the data key.
    pub fn opened_by(&self) -> &OpenedBy {
        self.frames.opened_by()
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

    /// Returns a reader of the same opened message from another source, for example one whose
    /// requests have other options. It holds no plaintext of the message, so what is read through
    /// it is requested from its source. Frames that are not those of this message are refused,
    /// whichever source they come from.
    ///
    /// # Errors
    /// [`Error::SignedStream`] for a signed message that was [verified](crate::io::RemoteMessage::verify),
    /// because only its own source is bound to the bytes that were verified.
    ///
    /// ```
    /// # use std::{io, ops::Range};
    /// # use sealwax::{Client, io::GetRange, keyring::RawAesKeyring};
    /// # #[derive(Clone)]
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
    /// # let object = Object(client.encrypt(&keyring).unsigned().bytes(b"some longer text").await?.message);
    /// let reader = client.decrypt(&keyring).open_remote(object.clone()).await?.into_ranges().await?;
    /// // Keep the opened message without its source, and read it through another one.
    /// let opened = reader.with_source(())?;
    /// assert_eq!(opened.with_source(object)?.read_range(5..11).await?, b"longer");
    /// # Ok::<(), sealwax::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn with_source<T>(&self, source: T) -> Result<AsyncRangeReader<T>> {
        let frames = self.frames.unbound().ok_or(Error::SignedStream)?;
        Ok(AsyncRangeReader { source, frames })
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

impl<S: GetRange> AsyncRangeReader<S> {
    /// Reads plaintext from an offset on, until `buffer` is full or the plaintext ends. Returns the
    /// number of bytes read, which is 0 past the end. If the future is dropped while it is running,
    /// the part of `buffer` that was to be filled is cleared, and the reader remains usable.
    ///
    /// # Errors
    /// The errors of [`RangeReader::read_at`](super::RangeReader::read_at).
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut request = Request::new(&self.frames, offset, buffer);
        let mut pieces = InFlight::new(&self.source, request.ranges(step(&self.source)));
        while let Some(piece) = pieces.next().await {
            supply(&mut request, piece?.as_ref()).await?;
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
    /// Several requests are made at a time. Ranges that overlap, or lie close together in the
    /// message, are requested as one: within 1 MiB, unless that is more than what is wanted of them.
    ///
    /// # Errors
    /// The errors of [`read_range`](Self::read_range). It then returns none of the plaintext.
    pub async fn read_ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        let length = |range: &Range<u64>| range.end.min(self.len()).saturating_sub(range.start);
        let mut buffers = ranges.iter().map(|range| room(length(range))).collect::<Result<Vec<_>>>()?;
        let mut requests: Vec<_> = (ranges.iter().zip(&mut buffers))
            .map(|(range, buffer)| Request::new(&self.frames, range.start, buffer))
            .filter(|request| !request.is_complete())
            .collect();
        requests.sort_by_key(|request| request.frames().start);
        let wanted = merge(requests.iter().map(Request::frames), self.frames.frames_in(GAP));
        let step = step(&self.source);
        let planned: Vec<_> = wanted.into_iter().flat_map(|frames| self.frames.pieces(frames, step)).collect();
        let sealed: Vec<_> = planned.iter().map(|frames| self.frames.sealed(frames)).collect();
        let mut pieces = InFlight::new(&self.source, sealed.into_iter());
        let mut complete = 0;
        for frames in planned {
            let Some(piece) = pieces.next().await else { break };
            let piece = piece?;
            for request in &mut requests[complete..] {
                if !request.is_complete() && request.frames().start >= frames.end {
                    break;
                }
                if !request.is_complete() {
                    let part = request.part_of(frames.start, piece.as_ref());
                    supply(request, part).await?;
                }
            }
            complete += requests[complete..].iter().take_while(|request| request.is_complete()).count();
        }
        drop(requests);
        Ok(buffers.iter_mut().map(|buffer| std::mem::take(&mut **buffer)).collect())
    }
}
