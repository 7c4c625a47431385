//! Ranges of the plaintext of objects.

use std::{
    io::{self, Write},
    ops::Range,
    sync::OnceLock,
};

use bytes::Bytes;
use futures_util::future::join;
use object_store::{Error, GetOptions, GetRange, Result};
use sealwax::{
    Decrypt, Header,
    io::{AsyncRangeReader, Ends},
    materials::OpenedBy,
};

use super::{
    download::{Version, changed, exactly, first, part},
    error::convert,
    object::Object,
};

/// The number of plaintext bytes that are held at a time.
const STEP: u64 = 24 << 20;
/// The length of the longest final frame of an object that the tool writes.
const LAST_FRAME: u64 = (64 << 10) + 40;

/// An object as a source of ranges.
pub(super) struct Ranges {
    object: Object,
    /// The length of the header that is expected.
    header: u64,
    /// The length of the longest final frame that is expected.
    last: u64,
    version: OnceLock<Version>,
}

impl Ranges {
    pub(super) fn new(object: Object, header: u64) -> Self {
        Self { object, header, last: LAST_FRAME, version: OnceLock::new() }
    }

    fn version(&self) -> io::Result<&Version> {
        self.version.get().ok_or_else(|| io::Error::other("the ends are read first"))
    }

    async fn ends(&self) -> Result<Ends<Bytes>> {
        let suffix = GetOptions { range: Some(GetRange::Suffix(self.last)), ..GetOptions::default() };
        let last = self.object.store.get_opts(&self.object.path, suffix);
        let (first, last) = join(first(&self.object, self.header), last).await;
        let (version, first) = first?;
        let size = version.size;
        let last = if size <= first.len() as u64 {
            None
        } else {
            Some(match last {
                Ok(reply) if Version::from(&reply.meta) != version => return Err(changed(&self.object)),
                Ok(reply) => exactly(self.last.min(size), reply.bytes().await?)?,
                // Not every store has ranges that count from the end.
                Err(Error::NotSupported { .. } | Error::NotImplemented { .. }) => {
                    part(&self.object, size.saturating_sub(self.last)..size, &version).await?
                }
                Err(error) => return Err(error),
            })
        };
        // This is asked once.
        let _ = self.version.set(version);
        Ok(Ends { size, first, last })
    }
}

impl sealwax::io::GetRange for Ranges {
    type Bytes = Bytes;

    async fn size(&self) -> io::Result<u64> {
        Ok(self.version()?.size)
    }

    async fn get_range(&self, range: Range<u64>) -> io::Result<Bytes> {
        part(&self.object, range, self.version()?).await.map_err(|error| io::Error::other(convert(&error)))
    }

    async fn get_ends(&self, _: u64, _: u64) -> io::Result<Ends<Bytes>> {
        let ends = self.ends().await.map_err(|error| convert(&error))?;
        if ends.size == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(ends) }
    }
}

/// A range that was read, and the message that it is a part of.
pub(crate) struct ReadRange {
    pub(crate) header: Header,
    pub(crate) opened_by: OpenedBy,
    /// The length of the message.
    pub(crate) message_length: u64,
}

/// Copies a range of the plaintext, which `find` makes of the length of all. A signed message is
/// verified first, unless its plaintext is released unverified.
pub(super) async fn copy(
    source: Ranges,
    decrypt: Decrypt<'_>,
    unverified: bool,
    find: impl FnOnce(u64) -> io::Result<Range<u64>>,
    output: &mut impl Write,
) -> sealwax::Result<ReadRange> {
    let decrypt = if unverified { decrypt.release_unverified() } else { decrypt };
    let message = decrypt.open_remote(source).await?;
    let message_length = message.get_ref().version()?.size;
    if message.header().suite().is_signed() && !unverified {
        let reader = message.verify().await?.into_ranges().await?;
        return copy_from(reader, message_length, find, output).await;
    }
    copy_from(message.into_ranges().await?, message_length, find, output).await
}

async fn copy_from<S: sealwax::io::GetRange + Sync>(
    reader: AsyncRangeReader<S>,
    message_length: u64,
    find: impl FnOnce(u64) -> io::Result<Range<u64>>,
    output: &mut impl Write,
) -> sealwax::Result<ReadRange> {
    let range = find(reader.len())?;
    let frame = u64::from(reader.header().content_type().frame_length().unwrap_or(1));
    // Pieces end where frames do, so that no frame is requested twice.
    let step = (STEP / frame).max(1) * frame;
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at / frame * frame + step);
        output.write_all(&reader.read_range(at..end).await?)?;
        at = end;
    }
    Ok(ReadRange { header: reader.header().clone(), opened_by: reader.opened_by().clone(), message_length })
}
