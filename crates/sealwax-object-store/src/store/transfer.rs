//! Copies that are encrypted again, because an object is bound to its path.

use bytes::Bytes;
use futures_util::{StreamExt, future::try_join_all};

use super::{
    super::object_store::{
        CopyMode, CopyOptions, Error, GetOptions, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions,
        PutOptions, PutPayload, Result, path::Path,
    },
    SealedStore, body,
};

/// The maximum length of an object that is copied at once, in memory.
const AT_ONCE: u64 = 8 << 20;
/// The length of a part of a longer one.
const PART: usize = 8 << 20;
/// The number of parts in flight.
const IN_FLIGHT: usize = 2;
/// The maximum length of an object that is copied only if there is none at the target, which is a
/// single conditional request.
const MAX_CREATED: u64 = 64 << 20;

/// Copies an object by reading it and encrypting it again. Its attributes are kept; tags cannot be
/// read, and are not.
pub(super) async fn copy<S: ObjectStore>(
    store: &SealedStore<S>,
    from: &Path,
    to: &Path,
    options: CopyOptions,
) -> Result<()> {
    let mut read = store.get_opts(from, GetOptions::default()).await?;
    let (length, attributes) = (read.meta.size, read.attributes.clone());
    let mode = match options.mode {
        CopyMode::Overwrite => PutMode::Overwrite,
        CopyMode::Create => PutMode::Create,
    };
    if mode == PutMode::Create && length > MAX_CREATED {
        let why = format!(
            "{from} has {length} bytes; a copy that must not replace an object is encrypted in memory, up to \
             {MAX_CREATED} bytes"
        );
        return Err(Error::NotSupported { source: why.into() });
    }
    let mut plaintext = body::stream_of(body::take_payload(&mut read));
    if mode == PutMode::Create || length <= AT_ONCE {
        let mut pieces: Vec<Bytes> = Vec::new();
        while let Some(piece) = plaintext.next().await.transpose()? {
            pieces.push(piece);
        }
        let options = PutOptions { mode, attributes, extensions: options.extensions, ..PutOptions::default() };
        return store.put_opts(to, PutPayload::from_iter(pieces), options).await.map(|_| ());
    }
    let options = PutMultipartOptions { attributes, extensions: options.extensions, ..PutMultipartOptions::default() };
    let mut upload = store.put_multipart_opts(to, options).await?;
    let copied = stream_into(&mut *upload, plaintext).await;
    if copied.is_err() {
        // The first error is the one that matters.
        let _ = upload.abort().await;
    }
    copied
}

async fn stream_into(
    upload: &mut dyn MultipartUpload,
    mut plaintext: futures_util::stream::BoxStream<'static, Result<Bytes>>,
) -> Result<()> {
    let (mut pieces, mut length, mut parts) = (Vec::new(), 0, Vec::new());
    while let Some(piece) = plaintext.next().await.transpose()? {
        length += piece.len();
        pieces.push(piece);
        if length >= PART {
            parts.push(upload.put_part(PutPayload::from_iter(pieces.drain(..))));
            length = 0;
        }
        if parts.len() == IN_FLIGHT {
            try_join_all(parts.drain(..)).await?;
        }
    }
    if length > 0 {
        parts.push(upload.put_part(PutPayload::from_iter(pieces)));
    }
    try_join_all(parts).await?;
    upload.complete().await.map(|_| ())
}
