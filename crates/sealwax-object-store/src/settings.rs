//! The configuration of a store, which does not depend on the version of `object_store`.

use std::sync::Arc;

use sealwax::{
    Client, Decrypt, EncryptionContext, Error, Result,
    materials::{MaterialsManager, RequiredContextManager},
    message::Encryptor,
};

use crate::{
    binding::Binding,
    layout::{Layout, SUITE, Sizes},
    messages::{FRAME_LENGTH, HEADER_LENGTH},
    padding::PaddingManager,
};

/// The minimum length of a part of a multipart upload before the last, as S3 demands it.
pub(crate) const MIN_PART: usize = 5 << 20;

/// Whether the objects at a path are encrypted.
///
/// ```
/// use sealwax_object_store::Scope;
/// let scope = |path: &str| if path.starts_with("public/") { Scope::Clear } else { Scope::Sealed };
/// assert_eq!(scope("public/index.html"), Scope::Clear);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// They are encrypted. An object that is not a message of the store is refused.
    Sealed,
    /// They are passed on as they are, in both directions, **without any protection**.
    Clear,
}

/// The lengths of the parts that an upload is sent in.
///
/// ```
/// use sealwax_object_store::Parts;
/// assert_eq!(Parts::default(), Parts::Follow);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parts {
    /// A part for each part of the caller, but at least 5 MiB before the last.
    #[default]
    Follow,
    /// Parts of this many bytes, at least 5 MiB, and a shorter last one, for services that demand
    /// equal parts, such as Cloudflare R2. A service that allows 10,000 parts then limits the
    /// length of an object to 10,000 times as much.
    Equal(usize),
}

/// A predicate on paths.
pub(crate) type ScopeOf = Arc<dyn Fn(&str) -> Scope + Send + Sync>;

/// What a builder collects.
pub(crate) struct Options {
    pub(crate) client: Client,
    pub(crate) manager: Option<Arc<dyn MaterialsManager>>,
    pub(crate) binding: Binding,
    pub(crate) store_name: Option<String>,
    pub(crate) context: EncryptionContext,
    pub(crate) sizes: Sizes,
    pub(crate) scope: ScopeOf,
    pub(crate) header_length: u32,
    pub(crate) frame_length: u32,
    pub(crate) parts: Parts,
    pub(crate) cache_capacity: usize,
    pub(crate) release_unverified: bool,
}

impl Options {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            manager: None,
            binding: Binding::default(),
            store_name: None,
            context: EncryptionContext::new(),
            sizes: Sizes::default(),
            scope: Arc::new(|_| Scope::Sealed),
            header_length: HEADER_LENGTH,
            frame_length: FRAME_LENGTH,
            parts: Parts::default(),
            cache_capacity: 256,
            release_unverified: false,
        }
    }

    /// Checks the options.
    pub(crate) fn build(self) -> Result<Settings> {
        let refuse = |why: &str| Err(Error::Configuration(why.to_owned()));
        let Some(manager) = self.manager else {
            return refuse("a sealed store needs a keyring or a materials manager");
        };
        self.binding.check(self.store_name.as_deref())?;
        if !(1..=i32::MAX as u32).contains(&self.frame_length) {
            return refuse("the frame length must be between 1 and 2147483647 bytes");
        }
        if matches!(self.parts, Parts::Equal(length) if length < MIN_PART) {
            return refuse("equal parts must have at least 5 MiB");
        }
        let keys = self.binding.keys(self.store_name.as_deref());
        if keys.iter().any(|key| self.context.contains_key(key)) {
            return refuse("the encryption context has a key that objects are bound with");
        }
        let manager: Arc<dyn MaterialsManager> =
            if keys.is_empty() { manager } else { Arc::new(RequiredContextManager::new(keys, manager)?) };
        Ok(Settings {
            client: self.client,
            manager: PaddingManager::new(manager, self.header_length as usize),
            binding: self.binding,
            store_name: self.store_name,
            context: self.context,
            sizes: self.sizes,
            scope: self.scope,
            layout: Layout { header: self.header_length.into(), frame: self.frame_length },
            parts: self.parts,
            release_unverified: self.release_unverified,
        })
    }
}

/// The configuration of a store.
pub(crate) struct Settings {
    pub(crate) client: Client,
    manager: PaddingManager<Arc<dyn MaterialsManager>>,
    pub(crate) binding: Binding,
    store_name: Option<String>,
    context: EncryptionContext,
    pub(crate) sizes: Sizes,
    scope: ScopeOf,
    pub(crate) layout: Layout,
    pub(crate) parts: Parts,
    pub(crate) release_unverified: bool,
}

impl Settings {
    pub(crate) fn is_sealed(&self, path: &str) -> bool {
        (self.scope)(path) == Scope::Sealed
    }

    /// Returns the context of the object at a path.
    fn context(&self, path: &str) -> EncryptionContext {
        let mut context = self.context.clone();
        self.binding.bind(&mut context, self.store_name.as_deref(), path);
        context
    }

    /// Starts a message for a path. The length of the plaintext is given if it is known.
    pub(crate) async fn encryptor(&self, path: &str, length: Option<u64>) -> Result<Encryptor> {
        let encrypt = self.client.encrypt_with(&self.manager).context(self.context(path)).suite(SUITE);
        let encrypt = encrypt.frame_length(self.layout.frame);
        match length {
            Some(length) => encrypt.plaintext_length_bound(length).machine().await,
            None => encrypt.machine().await,
        }
    }

    /// Starts the decryption of the object at a path.
    pub(crate) fn decrypt(&self, path: &str) -> Decrypt<'_> {
        self.client.decrypt_with(&self.manager).context(self.context(path))
    }

    /// Returns the length of the plaintext of an object of this length, as a listing has it.
    pub(crate) fn uniform_length(&self, object: u64) -> u64 {
        self.layout.plaintext_length(object).unwrap_or(object)
    }
}
