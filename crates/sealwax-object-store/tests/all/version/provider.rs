//! A provider of storage that counts, delays, lies, swaps, truncates and fails.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{
    super::object_store::{
        CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
        ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
        UploadPart, memory::InMemory, path::Path,
    },
    LATENCY,
};

/// What the provider does to the answers of gets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trick {
    /// Leaves bytes out at the end of what was announced.
    Fewer,
    /// Adds bytes to what was announced.
    More,
    /// Announces and returns the same number of bytes from the next offset on.
    Shifted,
    /// Announces a length beyond all memory, and a range as long.
    Huge,
    /// Gives no entity tags.
    NoTags,
    /// Gives the same entity tag to all objects.
    OneTag,
    /// Refuses ranges that count from the end.
    NoSuffix,
    /// Ignores all conditions.
    NoConditions,
    /// Fails with this number of the request, counted from the next.
    Fail(usize),
    /// Replaces the object by the one at this path after this number of gets.
    Replace(usize, Path),
    /// Announces another length in listings.
    ListAs(u64),
}

/// A request for (a part of) an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Got {
    pub(super) range: Option<GetRange>,
    pub(super) head: bool,
    pub(super) if_match: Option<String>,
    /// The number of bytes of the answer.
    pub(super) bytes: u64,
}

#[derive(Default)]
pub(super) struct Provider {
    pub(super) inner: InMemory,
    pub(super) trick: Mutex<Option<Trick>>,
    pub(super) gets: Mutex<Vec<Got>>,
    pub(super) others: AtomicUsize,
    /// The lengths of the parts of the last upload.
    pub(super) parts: Arc<Mutex<Vec<usize>>>,
    /// How uploads ended.
    pub(super) ends: Arc<Mutex<Vec<&'static str>>>,
    /// Whether parts are counted but not kept.
    pub(super) discard: AtomicBool,
}

impl Provider {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn play(&self, trick: impl Into<Option<Trick>>) {
        *self.trick.lock().unwrap() = trick.into();
    }

    /// Returns the gets since the last call.
    pub(super) fn take_gets(&self) -> Vec<Got> {
        std::mem::take(&mut self.gets.lock().unwrap())
    }

    /// Returns the number of other requests since the last call.
    pub(super) fn take_others(&self) -> usize {
        self.others.swap(0, Ordering::Relaxed)
    }

    /// Returns an object as it is stored.
    pub(super) async fn stored(&self, path: &Path) -> Vec<u8> {
        self.inner.get(path).await.unwrap().bytes().await.unwrap().to_vec()
    }

    /// Stores an object as it is.
    pub(super) async fn store(&self, path: &Path, bytes: Vec<u8>) {
        self.inner.put(path, bytes.into()).await.unwrap();
    }

    async fn other(&self) {
        self.others.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(LATENCY).await;
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

#[async_trait]
impl ObjectStore for Provider {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.other().await;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.other().await;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        self.parts.lock().unwrap().clear();
        let discard = self.discard.load(Ordering::Relaxed);
        Ok(Box::new(Upload { inner, parts: self.parts.clone(), ends: self.ends.clone(), discard }))
    }

    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        let (range, head, if_match) = (options.range.clone(), options.head, options.if_match.clone());
        let number = {
            let mut gets = self.gets.lock().unwrap();
            gets.push(Got { range: range.clone(), head, if_match, bytes: 0 });
            gets.len() - 1
        };
        tokio::time::sleep(LATENCY).await;
        let trick = self.trick.lock().unwrap().clone();
        match trick.clone() {
            Some(Trick::NoSuffix) if matches!(range, Some(GetRange::Suffix(_))) => {
                return Err(Error::NotSupported { source: "no suffixes".into() });
            }
            Some(Trick::Fail(0)) => {
                self.play(None);
                return Err(Error::PermissionDenied { path: location.to_string(), source: "no".into() });
            }
            Some(Trick::Fail(later)) => self.play(Trick::Fail(later - 1)),
            Some(Trick::NoConditions | Trick::OneTag) => options.if_match = None,
            Some(Trick::Replace(0, by)) => {
                self.play(None);
                self.inner.copy(&by, location).await?;
            }
            Some(Trick::Replace(later, by)) => self.play(Trick::Replace(later - 1, by)),
            _ => {}
        }
        let mut result = self.inner.get_opts(location, options).await?;
        if trick == Some(Trick::NoTags) {
            result.meta.e_tag = None;
        }
        if trick == Some(Trick::OneTag) {
            result.meta.e_tag = Some("one".to_owned());
        }
        let (meta, range) = (result.meta.clone(), result.range.clone());
        let whole = self.inner.get(location).await?.bytes().await?;
        let bytes = whole.slice(range.start as usize..range.end as usize);
        self.gets.lock().unwrap()[number].bytes = if head { 0 } else { bytes.len() as u64 };
        let (range, bytes, meta) = match trick {
            Some(Trick::Fewer) => (range, bytes.slice(..bytes.len().saturating_sub(1)), meta),
            Some(Trick::More) => (range, [&bytes, &b"more"[..]].concat().into(), meta),
            Some(Trick::Shifted) => {
                let bytes = [&bytes[1.min(bytes.len())..], b"s"].concat();
                (range.start + 1..range.start + 1 + bytes.len() as u64, bytes.into(), meta)
            }
            Some(Trick::Huge) => (range.start..1 << 60, bytes, ObjectMeta { size: 1 << 60, ..meta }),
            _ => (range, bytes, meta),
        };
        // In pieces, as over a network.
        let pieces: Vec<_> = bytes.chunks(7000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(GetResult { payload: GetResultPayload::Stream(stream::iter(pieces).boxed()), meta, range, ..result })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.other().await;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.others.fetch_add(1, Ordering::Relaxed);
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.others.fetch_add(1, Ordering::Relaxed);
        let trick = self.trick.lock().unwrap().clone();
        let lie = move |meta: ObjectMeta| match trick {
            Some(Trick::ListAs(size)) => ObjectMeta { size, ..meta },
            _ => meta,
        };
        self.inner.list(prefix).map_ok(lie).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.other().await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.other().await;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.other().await;
        self.inner.rename_opts(from, to, options).await
    }
}

/// An upload whose parts are counted.
struct Upload {
    inner: Box<dyn MultipartUpload>,
    parts: Arc<Mutex<Vec<usize>>>,
    ends: Arc<Mutex<Vec<&'static str>>>,
    discard: bool,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload")
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.lock().unwrap().push(data.content_length());
        if !self.discard {
            return self.inner.put_part(data);
        }
        // The part is in memory as long as its request takes.
        async move {
            tokio::time::sleep(LATENCY).await;
            drop(data);
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.ends.lock().unwrap().push("completed");
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.ends.lock().unwrap().push("aborted");
        self.inner.abort().await
    }
}
