//! A store for the objects of the Amazon S3 Encryption Client.

mod builder;
mod listing;
mod open;
mod read;

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::ready, stream::BoxStream};

use super::{
    super::object_store::{
        CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, path::Path,
    },
    open::Key,
};
use crate::{cache::Cache, s3ec::S3Settings};
pub use builder::S3EncryptionStoreBuilder;
use open::Opened;

/// A read-only store over the objects of the Amazon S3 Encryption Client, which it decrypts.
/// (Feature `s3ec`.)
///
/// It reads formats 1, 2 and 3, with the data key in the metadata of the object or in an instruction
/// file. Copying what it reads to a [`SealedStore`](super::SealedStore) turns the objects into
/// messages, which are bound to their paths and of which ranges are authenticated. Everything that
/// writes fails with `NotSupported`.
///
/// | | default | to allow the rest |
/// |---|---|---|
/// | key commitment | required: format 3 only | [`commitment_policy`](S3EncryptionStoreBuilder::commitment_policy) |
/// | wrapping of the data key | `AES/GCM`, `kms+context`, `RSA-OAEP-SHA1` | [`legacy_wrapping`](S3EncryptionStoreBuilder::legacy_wrapping): format 1, `AESWrap`, `kms` |
/// | content | AES-GCM | [`legacy_content`](S3EncryptionStoreBuilder::legacy_content): AES-CBC |
/// | release | after the whole object is authenticated | [`release_unverified`](S3EncryptionStoreBuilder::release_unverified): as it is read |
///
/// Each refusal names the method that allows the object. It comes before the key is used, so nobody
/// learns from it whether a data key can be unwrapped. `RSA/ECB/OAEPWithSHA-256AndMGF1Padding`, which
/// mixes two hash functions, is not supported.
///
/// # What is authenticated
///
/// An object is a single AES-GCM message with one tag at its end. Up to 8 MiB it is kept in memory
/// until the tag is verified. A longer one is read twice: the first pass verifies the tag and keeps a
/// digest of each segment, and the second compares those. The first range of an object reads and
/// verifies it as a whole too; later ones take a request each and read at least 64 KiB, as long as
/// the object is [remembered](S3EncryptionStoreBuilder::cache_capacity).
///
/// **Nothing binds an object to its path**: objects that the provider swaps are not detected, unless
/// their encryption contexts differ ([`S3Key::kms_with_context`](crate::S3Key::kms_with_context)).
///
/// Lengths in listings are those of the objects less 16, the length of a tag. They are wrong for
/// AES-CBC, whose padding the length does not tell, and for objects that are not encrypted, unless
/// [`Sizes::Exact`](crate::Sizes::Exact) is set, which takes a request for each object. `head` always
/// returns the exact length. Instruction files are left out of listings.
///
/// # Advisories
///
/// - CVE-2020-8911: AES-CBC has no authentication, and a reader that reports bad padding decrypts it
///   for an attacker. It is refused by default. All failures have one error,
///   [`NotAuthentic`](crate::S3EncryptionError::NotAuthentic), but one that succeeds is still
///   distinguished from one that fails.
/// - CVE-2020-8912: formats 1 and 2 name their algorithm where nothing authenticates it, so an
///   attacker can have AES-GCM read as AES-CBC. It takes two switches before this store does.
/// - CVE-2025-14759 to CVE-2025-14764 (AWS-2025-032): without key commitment, an attacker who can
///   replace an instruction file can have an object open to two plaintexts under two data keys. Only
///   format 3 is read by default, and its commitment is in the metadata of the object.
///
/// ```
/// # #[cfg(feature = "object-store")] {
/// # use object_store_0_14 as object_store;
/// use object_store::{ObjectStoreExt, memory::InMemory};
/// use sealwax_object_store::{S3EncryptionError, S3EncryptionStore, S3Key};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let s3 = InMemory::new();
/// s3.put(&"a".into(), "in the clear".into()).await?;
///
/// let store = S3EncryptionStore::builder(s3, S3Key::aes(vec![7; 32])?).build()?;
/// let error = store.get(&"a".into()).await.unwrap_err();
/// let object_store::Error::Generic { source, .. } = error else { panic!("{error}") };
/// assert!(matches!(source.downcast_ref(), Some(S3EncryptionError::NotEncrypted)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct S3EncryptionStore<S> {
    shared: Arc<Shared<S>>,
}

/// What all clones of a store share.
struct Shared<S> {
    inner: S,
    settings: S3Settings,
    opened: Cache<Key, Arc<Opened>>,
}

impl<S> S3EncryptionStore<S> {
    /// Returns the inner store, which has the objects as they are stored.
    pub fn inner(&self) -> &S {
        &self.shared.inner
    }
}

impl<S> Clone for S3EncryptionStore<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S: fmt::Display> fmt::Display for S3EncryptionStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3EncryptionStore({})", self.shared.inner)
    }
}

impl<S: fmt::Debug> fmt::Debug for S3EncryptionStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let S3Settings { policy, legacy_wrapping, legacy_content, release_unverified, sizes, .. } =
            &self.shared.settings;
        let mut debug = f.debug_struct("S3EncryptionStore");
        debug.field("inner", &self.shared.inner).field("commitment_policy", policy).field("sizes", sizes);
        debug.field("legacy_wrapping", legacy_wrapping).field("legacy_content", legacy_content);
        debug.field("release_unverified", release_unverified).finish_non_exhaustive()
    }
}

fn read_only() -> Error {
    Error::NotSupported { source: "objects of the S3 Encryption Client can only be read".into() }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: ObjectStore> ObjectStore for S3EncryptionStore<S> {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.shared.get(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.shared.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations.and_then(|_| ready(Err(read_only()))).boxed()
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

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only())
    }

    async fn rename_opts(&self, _: &Path, _: &Path, _: RenameOptions) -> Result<()> {
        Err(read_only())
    }
}
