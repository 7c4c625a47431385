//! Reading objects.

use std::{
    collections::VecDeque,
    io::{self, Read},
    ops::Range,
};

use bytes::{Buf, Bytes};
use object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStoreExt, Result};
use tokio::{runtime::Handle, task::JoinHandle};

use super::{error::convert, object::Object};

/// The number of bytes that are requested at a time.
const PIECE: u64 = 8 << 20;
/// The number of requests in flight.
const IN_FLIGHT: usize = 3;

/// What identifies the content of an object, as far as its store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(super) e_tag: Option<String>,
    pub(super) version: Option<String>,
    pub(super) size: u64,
}

impl From<&ObjectMeta> for Version {
    fn from(meta: &ObjectMeta) -> Self {
        Self { e_tag: meta.e_tag.clone(), version: meta.version.clone(), size: meta.size }
    }
}

/// An object that is read from its beginning to its end. Several requests are in flight, each on
/// the condition that the object is still the same.
pub(super) struct Download {
    runtime: Handle,
    object: Object,
    version: Version,
    /// What is ready to be read.
    current: Bytes,
    /// The requests in flight, in order.
    pieces: VecDeque<JoinHandle<Result<Bytes>>>,
    /// Where the next request begins.
    next: u64,
}

impl Download {
    pub(super) fn open(runtime: &Handle, object: Object) -> Result<Self> {
        let (version, current) = runtime.block_on(first(&object, PIECE))?;
        let next = current.len() as u64;
        let (runtime, pieces) = (runtime.clone(), VecDeque::new());
        let mut download = Self { runtime, object, version, current, pieces, next };
        download.request();
        Ok(download)
    }

    pub(super) fn version(&self) -> &Version {
        &self.version
    }

    fn request(&mut self) {
        while self.pieces.len() < IN_FLIGHT && self.next < self.version.size {
            let range = self.next..self.version.size.min(self.next + PIECE);
            self.next = range.end;
            let (object, version) = (self.object.clone(), self.version.clone());
            self.pieces.push_back(self.runtime.spawn(async move { part(&object, range, &version).await }));
        }
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            let Some(piece) = self.pieces.pop_front() else { return Ok(0) };
            let piece = self.runtime.block_on(piece).map_err(io::Error::other)?;
            // Other kinds of errors would be taken for those of a file.
            self.current = piece.map_err(|error| io::Error::other(convert(&error)))?;
            self.request();
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.pieces.iter().for_each(JoinHandle::abort);
    }
}

/// Requests the first bytes of an object, or all of a short one.
pub(super) async fn first(object: &Object, length: u64) -> Result<(Version, Bytes)> {
    let options = GetOptions { range: Some(GetRange::Bounded(0..length)), ..GetOptions::default() };
    match object.store.get_opts(&object.path, options).await {
        Ok(reply) => {
            let version = Version::from(&reply.meta);
            if reply.range != (0..length.min(version.size)) {
                return Err(misbehaved("the store returned another range than was requested"));
            }
            Ok((version, exactly(reply.range.end, reply.bytes().await?)?))
        }
        // An empty object has no range at all.
        Err(error @ Error::Generic { .. }) => match object.store.head(&object.path).await {
            Ok(meta) if meta.size == 0 => Ok((Version::from(&meta), Bytes::new())),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Requests a part of an object, which must be this version.
pub(super) async fn part(object: &Object, range: Range<u64>, version: &Version) -> Result<Bytes> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(range.clone())),
        if_match: version.e_tag.clone(),
        ..GetOptions::default()
    };
    let reply = object.store.get_opts(&object.path, options).await?;
    if Version::from(&reply.meta) != *version || reply.range != range {
        return Err(changed(object));
    }
    exactly(range.end - range.start, reply.bytes().await?)
}

pub(super) fn exactly(length: u64, bytes: Bytes) -> Result<Bytes> {
    if bytes.len() as u64 == length {
        Ok(bytes)
    } else {
        Err(misbehaved("the store returned fewer bytes than announced"))
    }
}

fn misbehaved(what: &'static str) -> Error {
    Error::Generic { store: "object", source: what.into() }
}

pub(super) fn changed(object: &Object) -> Error {
    Error::Precondition { path: object.path.to_string(), source: "the object was replaced".into() }
}
