//! The builder of a store.

use std::sync::Arc;

use sealwax::{CommitmentPolicy, Error, Result};

use super::{super::super::object_store::ObjectStore, S3EncryptionStore, Shared};
use crate::{
    Sizes,
    cache::Cache,
    s3ec::{S3Key, S3Settings},
};

/// A builder of an [`S3EncryptionStore`].
///
/// ```
/// # #[cfg(feature = "object-store")] {
/// # use object_store_0_14 as object_store;
/// use object_store::memory::InMemory;
/// use sealwax::CommitmentPolicy;
/// use sealwax_object_store::{S3EncryptionStore, S3Key};
///
/// // Everything that version 1 of the client wrote.
/// let store = S3EncryptionStore::builder(InMemory::new(), S3Key::aes(vec![7; 32])?)
///     .commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
///     .legacy_wrapping()
///     .legacy_content()
///     .build()?;
/// # let _ = store;
/// # }
/// # Ok::<(), sealwax::Error>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct S3EncryptionStoreBuilder<S> {
    inner: S,
    settings: S3Settings,
}

impl<S: ObjectStore> S3EncryptionStore<S> {
    /// Starts to build a store over another one.
    pub fn builder(inner: S, key: S3Key) -> S3EncryptionStoreBuilder<S> {
        S3EncryptionStoreBuilder { inner, settings: S3Settings::new(key) }
    }
}

impl<S: ObjectStore> S3EncryptionStoreBuilder<S> {
    /// Sets whether objects without key commitment are read, which are all but those of format 3.
    /// The default is [`RequireEncryptRequireDecrypt`](CommitmentPolicy::RequireEncryptRequireDecrypt),
    /// which refuses them; the other policies allow them.
    pub fn commitment_policy(mut self, policy: CommitmentPolicy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// Allows data keys that only older versions of the client wrap: those of format 1 (AES-ECB, and
    /// RSA with PKCS#1 v1.5), `AESWrap`, and `kms`, which binds no algorithm.
    pub fn legacy_wrapping(mut self) -> Self {
        self.settings.legacy_wrapping = true;
        self
    }

    /// Allows content that is encrypted with AES-CBC, **which is not authenticated**: anyone who can
    /// write to the store can alter it unnoticed. It is decrypted as it arrives.
    pub fn legacy_content(mut self) -> Self {
        self.settings.legacy_content = true;
        self
    }

    /// Releases plaintext **before it is authenticated**: whole objects as they arrive, with an error
    /// at the end if the tag is wrong, and ranges without authenticating them at all. Each range of
    /// an object then takes one request, the first one a `head` before it.
    pub fn release_unverified(mut self) -> Self {
        self.settings.release_unverified = true;
        self
    }

    /// Sets what the paths of instruction files end with, after the path of their object. The default
    /// is `.instruction`.
    pub fn instruction_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.settings.suffix = suffix.into();
        self
    }

    /// Sets how the lengths in listings are found out. The default,
    /// [`Uniform`](crate::Sizes::Uniform), takes all objects for AES-GCM.
    pub fn sizes(mut self, sizes: Sizes) -> Self {
        self.settings.sizes = sizes;
        self
    }

    /// Sets the number of opened objects that are remembered, so that their ranges take one request.
    /// The default is 64. Each takes some kilobytes, and 1.5 MiB for an object of 64 GiB. Their data
    /// keys are in memory as long as they are remembered.
    pub fn cache_capacity(mut self, objects: usize) -> Self {
        self.settings.cache_capacity = objects;
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the suffix of instruction files is empty.
    pub fn build(self) -> Result<S3EncryptionStore<S>> {
        let Self { inner, settings } = self;
        if settings.suffix.is_empty() {
            return Err(Error::Configuration("the suffix of instruction files must not be empty".to_owned()));
        }
        let opened = Cache::new(settings.cache_capacity);
        Ok(S3EncryptionStore { shared: Arc::new(Shared { inner, settings, opened }) })
    }
}
