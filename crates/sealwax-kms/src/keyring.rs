//! The keyrings over the keys of a store.

use std::sync::Arc;

use sealwax::{
    EncryptedDataKey, Error, Escaped,
    keyring::{BoxFuture, Keyring, KmsCandidate, KmsService, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};

use super::{LocalKms, LocalKmsError, PROVIDER_ID};

/// A keyring over the keys of a store, from [`LocalKms::keyring`] or
/// [`LocalKms::discovery_keyring`].
///
/// | keyring | encrypts under | decrypts data keys wrapped under |
/// |---|---|---|
/// | [`keyring`](LocalKms::keyring) of a key id | this key | this key |
/// | [`keyring`](LocalKms::keyring) of an alias | the key that the alias points to then | the key that the alias points to then |
/// | [`discovery_keyring`](LocalKms::discovery_keyring) | nothing | any key of the store |
///
/// Reports name the key that opened the message by its id, as `sealwax-local:KEY-ID`.
pub struct LocalKmsKeyring {
    kms: LocalKms,
    service: KmsService,
    /// The id or alias of the key; `None` for any key.
    name: Option<String>,
}

impl LocalKms {
    /// Returns a keyring over one key of this store, named as for
    /// [`describe_key`](Self::describe_key). It wraps data keys under this key, and opens only data
    /// keys that were wrapped under it.
    ///
    /// An alias is looked up at each encryption and decryption. After it is pointed to another key,
    /// the keyring no longer opens what the previous key wrapped; use a keyring over the id of that
    /// key, or a [`discovery_keyring`](Self::discovery_keyring).
    ///
    /// # Errors
    /// [`LocalKmsError::NotFound`] if the key or alias does not exist, [`LocalKmsError::Ambiguous`].
    ///
    /// ```
    /// use sealwax::Client;
    /// use sealwax_kms::LocalKms;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let kms = LocalKms::create(dir.path())?;
    /// let key = kms.create_key_with_alias("", "alias/default")?.key_id;
    /// let other = kms.create_key("")?.key_id;
    ///
    /// let sealed = Client::new().encrypt(&kms.keyring("alias/default")?).bytes(b"text").wait()?.message;
    /// assert!(Client::new().decrypt(&kms.keyring("alias/default")?).bytes(&sealed).wait().is_ok());
    /// assert!(Client::new().decrypt(&kms.keyring(&key)?).bytes(&sealed).wait().is_ok());
    /// assert!(Client::new().decrypt(&kms.keyring(&other)?).bytes(&sealed).wait().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keyring(&self, name: &str) -> Result<LocalKmsKeyring, LocalKmsError> {
        let session = self.store.session()?;
        let contents = &session.loaded.contents;
        // Only an alias can name another key later; the start of an id must not.
        let name = if contents.by_alias(name).is_some() { name } else { &contents.resolve(name)?.id };
        Ok(LocalKmsKeyring::new(self, Some(name)))
    }

    /// Returns a keyring that opens data keys wrapped under any key of this store. It cannot
    /// encrypt.
    ///
    /// ```
    /// use sealwax::Client;
    /// use sealwax_kms::LocalKms;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let kms = LocalKms::create(dir.path())?;
    /// let key = kms.create_key("")?.key_id;
    /// let sealed = Client::new().encrypt(&kms.keyring(&key)?).bytes(b"text").wait()?.message;
    ///
    /// let opened = Client::new().decrypt(&kms.discovery_keyring()).bytes(&sealed).wait()?;
    /// assert_eq!(*opened.opened_by.keyring, *format!("sealwax-local:{key}"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn discovery_keyring(&self) -> LocalKmsKeyring {
        LocalKmsKeyring::new(self, None)
    }
}

impl LocalKmsKeyring {
    fn new(kms: &LocalKms, name: Option<&str>) -> Self {
        let label = label_of(name.unwrap_or("*"));
        Self { kms: kms.clone(), service: KmsService::new(Arc::new(kms.clone()), label), name: name.map(str::to_owned) }
    }

    /// Returns the id of the only key that may decrypt, or `None` for any key of the store.
    fn only(&self) -> Result<Option<String>, LocalKmsError> {
        let Some(name) = &self.name else { return Ok(None) };
        Ok(Some(self.kms.store.session()?.loaded.contents.resolve(name)?.id.clone()))
    }
}

/// Returns the label of the keyring over this key.
fn label_of(key: &str) -> String {
    format!("{PROVIDER_ID}:{key}")
}

/// Returns the id of the key that wrapped a data key, as the message states it.
fn name_of(key: &EncryptedDataKey) -> Option<&str> {
    str::from_utf8(key.provider_info()).ok()
}

impl Keyring for LocalKmsKeyring {
    fn label(&self) -> Arc<str> {
        self.service.label()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, sealwax::Result<Wrapped>> {
        Box::pin(async move {
            let Some(name) = &self.name else {
                let label = self.label();
                let why = "can only decrypt; encrypt with a keyring over one key";
                return Err(Error::Configuration(format!("the keyring {} {why}", Escaped(&label))));
            };
            self.service.wrap(PROVIDER_ID, name, |answered_by| !answered_by.is_empty(), request).await
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, sealwax::Result<Unwrapped>> {
        Box::pin(async move {
            let only = self.only().map_err(|error| Error::keyring(&*self.label(), error))?;
            let is_ours = |key: &EncryptedDataKey| {
                key.provider_id() == PROVIDER_ID
                    && only.as_ref().is_none_or(|only| key.provider_info() == only.as_bytes())
            };
            let candidates = request
                .candidates(is_ours)
                .filter_map(|(index, key)| Some(KmsCandidate { index, key_id: name_of(key)?.into(), key }));
            let mut unwrapped = self.service.unwrap(request, candidates.collect()).await?;
            // The report names the key, not the alias or the `*` that this keyring was made with.
            let opened = request.encrypted_data_keys.get(unwrapped.encrypted_data_key);
            if let Some(key) = opened.and_then(name_of) {
                unwrapped.keyring = label_of(key).into();
            }
            Ok(unwrapped)
        })
    }
}
