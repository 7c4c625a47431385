//! The builder of a store.

use std::sync::{Arc, atomic::AtomicBool};

use sealwax::{
    Client, EncryptionContext, Result,
    keyring::Keyring,
    materials::{DefaultMaterialsManager, MaterialsManager},
};

use super::{super::object_store::ObjectStore, SealedStore, Shared};
use crate::{Binding, Parts, Scope, Sizes, cache::Cache, settings::Options};

/// A builder of a [`SealedStore`].
///
/// ```
/// # #[cfg(feature = "object-store")] {
/// # use object_store_0_14 as object_store;
/// use object_store::memory::InMemory;
/// use sealwax::{Client, keyring::RawAesKeyring};
/// use sealwax_object_store::{Scope, SealedStore, Sizes};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let store = SealedStore::builder(InMemory::new(), Client::new())
///     .keyring(keyring)
///     .store_name("lake")
///     .sizes(Sizes::Exact)
///     .scope(|path| if path.starts_with("public/") { Scope::Clear } else { Scope::Sealed })
///     .build()?;
/// # let _ = store;
/// # }
/// # Ok::<(), sealwax::Error>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct SealedStoreBuilder<S> {
    inner: S,
    options: Options,
}

impl<S: ObjectStore> SealedStore<S> {
    /// Starts to build a store over another one. The client has the crypto provider, the commitment
    /// policy, and the limits on what an object may make a reader hold.
    pub fn builder(inner: S, client: Client) -> SealedStoreBuilder<S> {
        SealedStoreBuilder { inner, options: Options::new(client) }
    }
}

impl<S: ObjectStore> SealedStoreBuilder<S> {
    /// Sets the keyring that wraps and unwraps the data keys of objects.
    pub fn keyring(self, keyring: impl Keyring + 'static) -> Self {
        self.materials_manager(DefaultMaterialsManager::new(keyring))
    }

    /// Sets the materials manager, instead of a keyring: for example one that caches data keys,
    /// which saves calls to a key service.
    pub fn materials_manager(mut self, manager: impl MaterialsManager + 'static) -> Self {
        self.options.manager = Some(Arc::new(manager));
        self
    }

    /// Sets what objects are bound to. The default is their path.
    pub fn binding(mut self, binding: Binding) -> Self {
        self.options.binding = binding;
        self
    }

    /// Sets the name of the store, which objects are bound to as well. The default is none, so that
    /// an object opens under its path in any store that has its key.
    pub fn store_name(mut self, name: impl Into<String>) -> Self {
        self.options.store_name = Some(name.into());
        self
    }

    /// Sets pairs of the encryption context that every object has, **in the clear**. An object
    /// without them is refused.
    pub fn context(mut self, context: impl Into<EncryptionContext>) -> Self {
        self.options.context = context.into();
        self
    }

    /// Sets how the lengths of plaintexts are found out.
    pub fn sizes(mut self, sizes: Sizes) -> Self {
        self.options.sizes = sizes;
        self
    }

    /// Sets a predicate that says which objects are encrypted. The default is all. It is given the
    /// path as this store sees it, and must always return the same for the same path.
    pub fn scope(mut self, scope: impl Fn(&str) -> Scope + Send + Sync + 'static) -> Self {
        self.options.scope = Arc::new(scope);
        self
    }

    /// Sets the length of the header of every object. The default is 1,024 bytes, enough for three
    /// keys in AWS KMS. If the keys do not fit, writing fails and names a length that does.
    pub fn header_length(mut self, bytes: u32) -> Self {
        self.options.header_length = bytes;
        self
    }

    /// Sets the number of plaintext bytes in a frame, which is the least that a range reads. The
    /// default is 65,536.
    pub fn frame_length(mut self, bytes: u32) -> Self {
        self.options.frame_length = bytes;
        self
    }

    /// Sets the lengths of the parts of multipart uploads.
    pub fn parts(mut self, parts: Parts) -> Self {
        self.options.parts = parts;
        self
    }

    /// Sets the number of opened objects that are remembered, so that their ranges take one request
    /// and no call to a key service. The default is 256, and each takes a few kilobytes. Their data
    /// keys are in memory as long as they are remembered; with 0, none is.
    pub fn cache_capacity(mut self, objects: usize) -> Self {
        self.options.cache_capacity = objects;
        self
    }

    /// Releases the plaintext of signed objects, which other programs wrote, **before their
    /// signature has been verified**: frame by frame, and ranges without verifying it at all. See
    /// [`Decrypt::release_unverified`](sealwax::Decrypt::release_unverified).
    ///
    /// By default a signed object is read and verified as a whole before any range of it is
    /// returned, each time.
    pub fn release_unverified(mut self) -> Self {
        self.options.release_unverified = true;
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    /// [`Error::Configuration`](sealwax::Error::Configuration) if there is no keyring, or if options
    /// contradict each other; the text says which.
    pub fn build(self) -> Result<SealedStore<S>> {
        let opened = Cache::new(self.options.cache_capacity);
        let settings = self.options.build()?;
        let shared = Shared { inner: self.inner, settings, opened, suffixes: AtomicBool::new(true) };
        Ok(SealedStore { shared: Arc::new(shared) })
    }
}
