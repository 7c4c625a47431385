//! The bytes of answers of the inner store.

use std::{
    future::{poll_fn, ready},
    mem,
    ops::Range,
    task::Poll,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};

use super::{
    super::{
        bare,
        object_store::{
            GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, ObjectStore, Result, path::Path,
        },
    },
    error::misbehaved,
};

/// The number of bytes that are read from a file at a time.
#[cfg(feature = "fs")]
const PIECE: u64 = 1 << 20;

/// Takes the payload out of a result. What stays behind has an empty one.
pub(super) fn take_payload(result: &mut GetResult) -> GetResult {
    let payload = mem::replace(&mut result.payload, GetResultPayload::Stream(stream::empty().boxed()));
    bare(payload, result.meta.clone(), result.range.clone())
}

/// Returns the bytes of a payload as they arrive.
pub(super) fn stream_of(payload: GetResult) -> BoxStream<'static, Result<Bytes>> {
    match payload.payload {
        #[cfg(feature = "fs")]
        GetResultPayload::File(file, path) => {
            let (meta, end) = (payload.meta, payload.range.end);
            let pieces = stream::unfold(payload.range.start, move |at| {
                ready((at < end).then(|| (at..end.min(at + PIECE), end.min(at + PIECE))))
            });
            let read = move |range: Range<u64>| {
                let piece =
                    file.try_clone().map(|file| bare(GetResultPayload::File(file, path.clone()), meta.clone(), range));
                async move { piece.map_err(|error| super::error::from_sealwax(error.into()))?.bytes().await }
            };
            pieces.then(read).boxed()
        }
        _ => payload.into_stream(),
    }
}

/// The most memory that is reserved for bytes which have not arrived.
const RESERVED: usize = 8 << 20;

/// Collects the bytes of a payload, which must be exactly as many as its range has.
async fn collect(payload: GetResult) -> Result<Bytes> {
    let length = payload.range.end - payload.range.start;
    let bytes = match &payload.payload {
        #[cfg(feature = "fs")]
        GetResultPayload::File(..) => payload.bytes().await?,
        _ => collect_stream(payload.into_stream(), length).await?,
    };
    if bytes.len() as u64 == length {
        Ok(bytes)
    } else {
        Err(misbehaved("the store returned fewer bytes than it announced"))
    }
}

/// Collects at most `length` bytes. A single piece is not copied.
async fn collect_stream(mut stream: BoxStream<'static, Result<Bytes>>, length: u64) -> Result<Bytes> {
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await.transpose()? {
        if (first.len() + all.len() + bytes.len()) as u64 > length {
            return Err(misbehaved("the store returned more bytes than it announced"));
        }
        if first.is_empty() && all.is_empty() {
            first = bytes;
            continue;
        }
        if all.is_empty() {
            all.reserve(usize::try_from(length).map_or(RESERVED, |length| length.min(RESERVED)));
            all.extend_from_slice(&mem::take(&mut first));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// The answer to a request for a part of an object.
pub(super) struct Part {
    /// The answer, with an empty payload.
    pub(super) reply: GetResult,
    pub(super) bytes: Bytes,
}

/// Requests a part of an object.
pub(super) async fn request(
    store: &(impl ObjectStore + ?Sized),
    location: &Path,
    range: GetRange,
    options: GetOptions,
) -> Result<Part> {
    let mut reply = store.get_opts(location, GetOptions { range: Some(range.clone()), ..options }).await?;
    // A store may only shorten a range by the end of the object. Nothing is allocated before this
    // is known.
    if range.as_range(reply.meta.size).ok().as_ref() != Some(&reply.range) {
        return Err(misbehaved("the store returned another range than was requested"));
    }
    let bytes = collect(take_payload(&mut reply)).await?;
    Ok(Part { reply, bytes })
}

/// Returns an answer with another payload, length and range.
pub(super) fn answer(
    reply: GetResult,
    length: u64,
    range: Range<u64>,
    payload: BoxStream<'static, Result<Bytes>>,
) -> GetResult {
    let meta = ObjectMeta { size: length, ..reply.meta };
    GetResult { payload: GetResultPayload::Stream(payload), meta, range, ..reply }
}

/// Ends a stream after its first error.
pub(super) fn ending_with_an_error(stream: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> {
    let until = |failed: &mut bool, item: Result<Bytes>| {
        let before = mem::replace(failed, item.is_err());
        ready((!before).then_some(item))
    };
    stream.scan(false, until).fuse().boxed()
}

/// Lets other tasks run.
pub(super) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
