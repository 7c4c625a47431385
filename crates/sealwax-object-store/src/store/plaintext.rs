//! The plaintext of an opened object.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use sealwax::{
    Result,
    io::{AsyncRangeReader, Verified},
};

use super::{
    super::object_store::{self, ObjectStore},
    body::ending_with_an_error,
    error::from_sealwax,
    source::Source,
};
use crate::layout::FRAME_OVERHEAD;

/// The number of bytes of an object that are requested at a time when a long range is streamed.
const STEP: u64 = 4 << 20;
/// The number of these requests in flight.
const STEPS: usize = 4;
/// The number of bytes of an object that are requested at once.
pub(super) const MAX_REQUEST: u64 = 8 << 20;

/// The plaintext of an opened object, in whichever way its parts are read.
pub(super) enum Plaintext<S> {
    /// Frames are authenticated as they are read.
    Frames(AsyncRangeReader<Source<S>>),
    /// The signature of the whole object was verified, and its bytes are compared with those.
    Verified(AsyncRangeReader<Verified<Source<S>>>),
    /// The object has no frames, and was read as a whole.
    Whole(Bytes),
}

impl<S: ObjectStore> Plaintext<S> {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Frames(reader) => reader.len(),
            Self::Verified(reader) => reader.len(),
            Self::Whole(bytes) => bytes.len() as u64,
        }
    }

    /// Reads a range that lies within the plaintext.
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        match self {
            Self::Frames(reader) => reader.read_range(range).await.map(Bytes::from),
            Self::Verified(reader) => reader.read_range(range).await.map(Bytes::from),
            Self::Whole(bytes) => Ok(bytes.slice(range.start as usize..range.end as usize)),
        }
    }

    /// Reads several ranges that lie within the plaintext.
    pub(super) async fn read_ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let read = match self {
            Self::Frames(reader) => reader.read_ranges(ranges).await?,
            Self::Verified(reader) => reader.read_ranges(ranges).await?,
            Self::Whole(bytes) => {
                let slice = |range: &Range<u64>| bytes.slice(range.start as usize..range.end as usize);
                return Ok(ranges.iter().map(slice).collect());
            }
        };
        Ok(read.into_iter().map(Bytes::from).collect())
    }

    /// Returns a stream of a range that lies within the plaintext.
    pub(super) fn into_stream(self, range: Range<u64>) -> BoxStream<'static, object_store::Result<Bytes>> {
        let pieces = match &self {
            Self::Frames(reader) => pieces(reader, range),
            Self::Verified(reader) => pieces(reader, range),
            Self::Whole(_) => vec![range],
        };
        let plaintext = Arc::new(self);
        let read = move |piece| {
            let plaintext = plaintext.clone();
            async move { plaintext.read(piece).await.map_err(from_sealwax) }
        };
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        ending_with_an_error(stream::iter(pieces).map(read).buffered(STEPS).boxed())
    }
}

/// Cuts a range of plaintext into pieces that take a request each. All but the first and the last
/// are whole frames.
pub(super) fn pieces<S>(reader: &AsyncRangeReader<S>, range: Range<u64>) -> Vec<Range<u64>> {
    let sealed = reader.plan(range.clone());
    let Some(frame) = reader.header().content_type().frame_length().map(u64::from) else { return vec![range] };
    if sealed.end - sealed.start <= MAX_REQUEST {
        return vec![range];
    }
    let step = (STEP / (frame + FRAME_OVERHEAD)).max(1) * frame;
    let mut pieces = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min((at / frame * frame).saturating_add(step));
        pieces.push(at..end);
        at = end;
    }
    pieces
}
