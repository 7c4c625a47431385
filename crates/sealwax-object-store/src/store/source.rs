//! An object as a source of ranges for the library.

use std::{io, ops::Range, sync::Arc};

use bytes::Bytes;
use sealwax::io::{Ends, GetRange};

use super::{
    super::object_store::{self, GetOptions, ObjectMeta, ObjectStore, Result},
    Shared, body,
    error::{changed, misbehaved},
};

/// An object of the inner store, all requests for which are on the condition that it is the same.
pub(super) struct Source<S> {
    shared: Arc<Shared<S>>,
    meta: ObjectMeta,
    options: GetOptions,
    /// What has been read already: parts of the object with their offsets.
    read: Vec<(u64, Bytes)>,
}

impl<S: ObjectStore> Source<S> {
    /// Creates a source of the object with this metadata. `options` are those of the caller.
    pub(super) fn new(shared: Arc<Shared<S>>, meta: ObjectMeta, options: &GetOptions, read: Vec<(u64, Bytes)>) -> Self {
        let options = pinned(&meta, options);
        Self { shared, meta, options, read }
    }

    /// Returns the bytes from `start` on that have been read, up to the end of their part.
    fn read_from(&self, start: u64) -> Option<Bytes> {
        let found = self.read.iter().filter_map(|(at, bytes)| {
            let skipped = usize::try_from(start.checked_sub(*at)?).ok()?;
            (skipped < bytes.len()).then(|| bytes.slice(skipped..))
        });
        found.max_by_key(Bytes::len)
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        let length = range.end - range.start;
        let read = self.read_from(range.start).filter(|bytes| bytes.len() as u64 >= length);
        if let Some(bytes) = read {
            return Ok(bytes.slice(..length as usize));
        }
        let (store, location) = (&self.shared.inner, &self.meta.location);
        let range = object_store::GetRange::Bounded(range);
        let part = body::request(store, location, range, self.options.clone()).await?;
        if is_same(&part.reply.meta, &self.meta) { Ok(part.bytes) } else { Err(changed(location)) }
    }
}

/// Returns the options for further requests about the object of an answer.
pub(super) fn pinned(meta: &ObjectMeta, options: &GetOptions) -> GetOptions {
    GetOptions {
        if_match: meta.e_tag.clone(),
        version: options.version.clone(),
        extensions: options.extensions.clone(),
        ..GetOptions::default()
    }
}

/// Returns whether two answers are about the same object.
pub(super) fn is_same(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    (&one.e_tag, &one.version, one.size) == (&other.e_tag, &other.version, other.size)
}

impl<S: ObjectStore> GetRange for Source<S> {
    type Bytes = Bytes;

    async fn size(&self) -> io::Result<u64> {
        Ok(self.meta.size)
    }

    async fn get_range(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.fetch(range).await.map_err(io::Error::other)
    }

    /// A request is then for up to 8 MiB, so that a range of less than that takes one.
    fn max_requests(&self) -> usize {
        4
    }

    /// Both ends have been read.
    async fn get_ends(&self, _: u64, _: u64) -> io::Result<Ends<Bytes>> {
        let size = self.meta.size;
        let first = self.read_from(0).ok_or_else(|| io::Error::other(misbehaved("the object is empty")))?;
        let last = self.read.iter().find(|(at, bytes)| *at > 0 && at + bytes.len() as u64 == size);
        Ok(Ends { size, first, last: last.map(|(_, bytes)| bytes.clone()) })
    }
}
