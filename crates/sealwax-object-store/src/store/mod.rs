//! The store. This directory is compiled once for each supported version of `object_store`, which
//! is the name `object_store` in the parent module.

mod body;
mod builder;
mod error;
mod get;
mod list;
mod open;
mod plaintext;
#[cfg(feature = "s3ec")]
mod s3ec;
mod source;
mod transfer;
mod upload;

use std::{
    fmt,
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};

use super::object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode, Result, path::Path,
};
use crate::{cache::Cache, settings::Settings};
pub use builder::SealedStoreBuilder;
use error::from_sealwax;
use open::{Key, Opened};
#[cfg(feature = "s3ec")]
pub use s3ec::{S3EncryptionStore, S3EncryptionStoreBuilder};
use upload::SealedUpload;

/// A store that encrypts what is written to another one, and decrypts what is read from it.
///
/// A clone shares the inner store and the cache of opened objects. See the [crate](crate) for the
/// layout of objects and what they are bound to.
///
/// Errors of the inner store are returned as they are. Others are `Generic` errors of the store
/// `sealwax`, whose source is a [`sealwax::Error`]: [`Integrity`](sealwax::Error::Integrity) if an
/// object is not authentic, whichever part of it.
///
/// ```
/// # #[cfg(feature = "object-store")] {
/// # use object_store_0_14 as object_store;
/// use object_store::{ObjectStoreExt, PutMode, PutOptions, memory::InMemory, path::Path};
/// use sealwax::{Client, keyring::RawAesKeyring};
/// use sealwax_object_store::SealedStore;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// use object_store::ObjectStore;
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?; let provider =
/// InMemory::new(); let store = SealedStore::builder(provider.clone(),
/// Client::new()).keyring(keyring).store_name("backups").build()?;
///
/// let (path, other) = (Path::from("a"), Path::from("b"));
/// store.put_opts(&path, "text".into(), PutOptions::from(PutMode::Create)).await?;
/// assert_eq!(store.get(&path).await?.bytes().await?, "text");
///
/// // The provider moves the object.
/// provider.copy(&path, &other).await?;
/// assert!(store.get(&other).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SealedStore<S> {
    shared: Arc<Shared<S>>,
}

/// What all clones of a store share.
pub(super) struct Shared<S> {
    inner: S,
    settings: Settings,
    opened: Cache<Key, Arc<Opened>>,
    /// Whether the inner store is not known to refuse ranges that count from the end.
    suffixes: AtomicBool,
}

impl<S> SealedStore<S> {
    /// Returns the inner store, which has the objects as they are stored.
    pub fn inner(&self) -> &S {
        &self.shared.inner
    }
}

impl<S> Clone for SealedStore<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S: fmt::Display> fmt::Display for SealedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedStore({})", self.shared.inner)
    }
}

impl<S: fmt::Debug> fmt::Debug for SealedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { inner, settings, .. } = &*self.shared;
        let Settings { binding, sizes, layout, .. } = settings;
        let mut debug = f.debug_struct("SealedStore");
        debug.field("inner", inner).field("binding", binding).field("sizes", sizes).field("layout", layout);
        debug.finish_non_exhaustive()
    }
}

impl<S> Shared<S> {
    fn is_sealed(&self, location: &Path) -> bool {
        self.settings.is_sealed(location.as_ref())
    }

    /// Forgets an object that is about to change. A stale entry would cost a request, no more.
    fn forget(&self, location: &Path) {
        self.opened.remove(&Key::new(location, None));
    }

    /// Returns whether an object can be copied as it is.
    fn copies_verbatim(&self, from: &Path, to: &Path) -> bool {
        let sealed = self.is_sealed(from);
        sealed == self.is_sealed(to) && (!sealed || self.settings.binding != crate::Binding::Path)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: ObjectStore> ObjectStore for SealedStore<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let shared = &self.shared;
        if !shared.is_sealed(location) {
            return shared.inner.put_opts(location, payload, opts).await;
        }
        let sealed = upload::seal(&shared.settings, location, payload).await.map_err(from_sealwax)?;
        shared.forget(location);
        shared.inner.put_opts(location, sealed, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let shared = &self.shared;
        if !shared.is_sealed(location) {
            return shared.inner.put_multipart_opts(location, opts).await;
        }
        let encryptor = shared.settings.encryptor(location.as_ref(), None).await.map_err(from_sealwax)?;
        shared.forget(location);
        let inner = shared.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(SealedUpload::new(inner, encryptor, shared.settings.parts)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if !self.shared.is_sealed(location) {
            return self.shared.inner.get_opts(location, options).await;
        }
        self.shared.get(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if !self.shared.is_sealed(location) {
            return self.shared.inner.get_ranges(location, ranges).await;
        }
        self.shared.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let shared = self.shared.clone();
        let locations = locations.inspect_ok(move |location| shared.forget(location));
        self.shared.inner.delete_stream(locations.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.shared.clone().plain(self.shared.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.shared.clone().plain(self.shared.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.shared.inner.list_with_delimiter(prefix).await?;
        let objects = futures_util::stream::iter(std::mem::take(&mut listed.objects)).map(Ok).boxed();
        listed.objects = self.shared.clone().plain(objects).try_collect().await?;
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.shared.forget(to);
        if self.shared.copies_verbatim(from, to) {
            return self.shared.inner.copy_opts(from, to, options).await;
        }
        transfer::copy(self, from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.shared.forget(from);
        self.shared.forget(to);
        if self.shared.copies_verbatim(from, to) {
            return self.shared.inner.rename_opts(from, to, options).await;
        }
        let mode = match options.target_mode {
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        transfer::copy(self, from, to, CopyOptions { mode, extensions: options.extensions }).await?;
        // An object that replaces itself must not be deleted.
        if from == to { Ok(()) } else { self.shared.inner.delete(from).await }
    }
}
