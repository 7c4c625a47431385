//! Opening objects by their ends.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::future::{OptionFuture, join3};
use sealwax::{ContentType, io::AsyncRangeReader};

use super::{
    super::object_store::{Error, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, Result, path::Path},
    Shared,
    body::{Part, request},
    error::{changed, from_sealwax},
    plaintext::{MAX_REQUEST, Plaintext},
    source::{Source, is_same, pinned},
};
use crate::layout::Sizes;

/// How often an object is opened again because it was replaced between two requests.
const ATTEMPTS: usize = 3;

/// The number of bytes that are read of an object of unknown layout, at its beginning and at its
/// end: most headers, and a final frame of 64 KiB with a signature.
const UNKNOWN_ENDS: (u64, u64) = (4 << 10, (64 << 10) + 256);

/// The key of an opened object: its path, and the version that was asked for, if any.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    location: Path,
    version: Option<String>,
}

impl Key {
    pub(super) fn new(location: &Path, version: Option<&String>) -> Self {
        Self { location: location.clone(), version: version.cloned() }
    }
}

/// An object that was opened before, without its source. It is of use as long as the store answers
/// with the same entity tag.
pub(super) struct Opened {
    pub(super) reader: AsyncRangeReader<()>,
    pub(super) e_tag: String,
    pub(super) version: Option<String>,
    /// The length of the object.
    pub(super) size: u64,
}

/// What an object is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its plaintext is released.
    Read,
    /// Only its length is.
    Measure,
}

impl<S: ObjectStore> Shared<S> {
    /// Opens an object. `wanted` are ranges of plaintext, if they are known; what has to be
    /// requested for them is requested along with the ends.
    ///
    /// The conditions of the caller are on the request for the header. The entity tags of all
    /// answers must be equal.
    pub(super) async fn open(
        self: &Arc<Self>,
        location: &Path,
        options: &GetOptions,
        wanted: Option<&GetRange>,
        purpose: Purpose,
    ) -> Result<(GetResult, Plaintext<S>)> {
        for _ in 0..ATTEMPTS {
            if let Some((reply, read)) = self.fetch_ends(location, options, wanted).await? {
                let source = Source::new(self.clone(), reply.meta.clone(), options, read);
                let plaintext = self.unseal(&reply.meta, source, options, purpose).await?;
                return Ok((reply, plaintext));
            }
        }
        Err(changed(location))
    }

    /// Requests header and end of an object, and the frames of a range if their place is known.
    /// Returns `None` if the answers are about different objects.
    async fn fetch_ends(
        &self,
        location: &Path,
        options: &GetOptions,
        wanted: Option<&GetRange>,
    ) -> Result<Option<(GetResult, Vec<(u64, Bytes)>)>> {
        let layout = self.settings.layout;
        let ((first, mut last), mut along) = (UNKNOWN_ENDS, None);
        let mut first_length = first;
        if self.settings.sizes == Sizes::Uniform {
            (first_length, last) = (layout.header, layout.last_frame());
            match wanted {
                Some(GetRange::Suffix(count)) => last = layout.sealed_suffix(*count).min(MAX_REQUEST),
                Some(GetRange::Bounded(range)) => {
                    let sealed = layout.sealed(range);
                    along = (!range.is_empty() && sealed.end - sealed.start <= MAX_REQUEST).then_some(sealed);
                }
                _ => {}
            }
        }
        let unconditional = || GetOptions {
            version: options.version.clone(),
            extensions: options.extensions.clone(),
            ..GetOptions::default()
        };
        let part = |range, options| request(&self.inner, location, range, options);
        let suffixes = self.suffixes.load(Ordering::Relaxed);
        let (head, tail, along) = join3(
            part(GetRange::Bounded(0..first_length), options.clone()),
            OptionFuture::from(suffixes.then(|| part(GetRange::Suffix(last), unconditional()))),
            OptionFuture::from(along.map(|range| part(GetRange::Bounded(range), unconditional()))),
        )
        .await;
        let Part { reply, bytes } = head?;
        let size = reply.meta.size;
        let mut read = vec![(0, bytes)];
        let mut others = Vec::new();
        match tail {
            Some(Ok(tail)) => others.push(tail),
            Some(Err(error)) if !matches!(error, Error::NotSupported { .. }) => return Err(error),
            unsupported => {
                if unsupported.is_some() {
                    self.suffixes.store(false, Ordering::Relaxed);
                }
                if size > first_length {
                    let range = size.saturating_sub(last).max(first_length)..size;
                    others.push(part(GetRange::Bounded(range), unconditional()).await?);
                }
            }
        }
        // A range past the end is refused by the store, and later by the length of the plaintext.
        others.extend(along.and_then(Result::ok));
        if !others.iter().all(|other| is_same(&other.reply.meta, &reply.meta)) {
            return Ok(None);
        }
        read.extend(others.into_iter().map(|Part { reply, bytes }| (reply.range.start, bytes)));
        Ok(Some((reply, read)))
    }

    /// Opens the message of an object whose ends have been read.
    async fn unseal(
        self: &Arc<Self>,
        meta: &ObjectMeta,
        source: Source<S>,
        options: &GetOptions,
        purpose: Purpose,
    ) -> Result<Plaintext<S>> {
        let location = &meta.location;
        let release = self.settings.release_unverified || purpose == Purpose::Measure;
        let decrypt = self.settings.decrypt(location.as_ref());
        let decrypt = if release { decrypt.release_unverified() } else { decrypt };
        let message = decrypt.open_remote(source).await.map_err(from_sealwax)?;
        let header = message.header();
        if self.settings.sizes == Sizes::Uniform {
            self.settings.layout.check(header).map_err(from_sealwax)?;
        }
        if header.content_type() == ContentType::Unframed {
            let options = pinned(meta, options);
            return Ok(Plaintext::Whole(self.read_whole(location, options).await?));
        }
        let signed = header.suite().is_signed();
        if signed && !release {
            let verified = message.verify().await.map_err(from_sealwax)?;
            return Ok(Plaintext::Verified(verified.into_ranges().await.map_err(from_sealwax)?));
        }
        let reader = message.into_ranges().await.map_err(from_sealwax)?;
        // What was opened without its signature must not serve readers that want it verified.
        if let Some(e_tag) = &meta.e_tag
            && (!signed || self.settings.release_unverified)
            && let Ok(reader) = reader.with_source(())
        {
            let (version, size) = (meta.version.clone(), meta.size);
            let opened = Opened { reader, e_tag: e_tag.clone(), version, size };
            self.opened.insert(Key::new(location, options.version.as_ref()), Arc::new(opened));
        }
        Ok(Plaintext::Frames(reader))
    }

    /// Returns the ranges of plaintext, limited by its length.
    pub(super) fn limit(ranges: &[Range<u64>], length: u64) -> Result<Vec<Range<u64>>> {
        let limited = ranges.iter().map(|range| GetRange::Bounded(range.clone()).as_range(length));
        limited.collect::<std::result::Result<_, _>>().map_err(super::error::invalid_range)
    }
}
