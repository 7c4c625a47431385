//! The operations that use keys: data keys and short plaintexts.

use sealwax::{
    EncryptionContext, Error, SecretBytes,
    crypto::{CryptoProvider, RustCrypto},
    keyring::{
        BoxFuture, GenerateDataKey, GeneratedDataKey, KmsAlgorithm, KmsApi, KmsCiphertext, KmsDecrypt, KmsEncrypt,
        KmsError, KmsErrorKind, KmsOperation, KmsPlaintext, KmsReEncrypt, KmsReEncrypted,
    },
};

use super::{
    LocalKms, LocalKmsError,
    audit::Event,
    keys::rotate,
    seal::{hex, joined, open, seal},
    store::Session,
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

/// The longest plaintext in bytes that [`LocalKms::encrypt`] accepts.
pub const MAX_PLAINTEXT: usize = 4096;
const MAX_DATA_KEY: usize = 1024;
const LABEL: &str = "ciphertext blob";
/// The version of the ciphertext format: this byte, the id of the backing key, the sealed
/// plaintext.
const VERSION: u8 = 1;
const ID_LENGTH: usize = 16;

/// Returns the AAD of a ciphertext: the key, the backing key and the encryption context.
fn aad(key_id: &str, backing_id: &str, context: &EncryptionContext) -> Result<Vec<u8>> {
    let context = context.serialize().map_err(|error| LocalKmsError::InvalidRequest(error.to_string()))?;
    Ok(joined(&[key_id.as_bytes(), backing_id.as_bytes(), &context]))
}

impl Session<'_> {
    /// Encrypts under the newest material of a key, after rotating it if that is due. Also returns
    /// the key's id.
    fn encrypt(&mut self, name: &str, plaintext: &[u8], context: &EncryptionContext) -> Result<(String, Vec<u8>)> {
        let key = self.loaded.contents.resolve(name)?;
        key.usable()?;
        let id = key.id.clone();
        if key.rotation_is_due(self.now) {
            self.change(Event::new("RotateKey").key(&id), |contents, root, now, _| {
                contents.keys.get_mut(&id).map_or(Ok(()), |key| rotate(key, root, now))
            })?;
        }
        self.settle()?;
        let missing = || LocalKmsError::NotFound { name: name.to_owned() };
        let backing = self.loaded.contents.keys.get(&id).and_then(|key| key.backing.last()).ok_or_else(missing)?;
        let backing_id = backing.id.clone();
        let binary = u128::from_str_radix(&backing_id, 16).map_err(|_| missing())?.to_be_bytes();
        let material = self.loaded.material(&id, &backing_id)?;
        let sealed =
            seal(&material, LABEL, &aad(&id, &backing_id, context)?, plaintext).map_err(LocalKmsError::Crypto)?;
        Ok((id, [&[VERSION], binary.as_slice(), &sealed].concat()))
    }

    /// Decrypts under the material that the ciphertext names. Sets `key_id` as soon as the key is
    /// known, for the log.
    fn decrypt(
        &mut self,
        named: Option<&str>,
        ciphertext: &[u8],
        context: &EncryptionContext,
        key_id: &mut Option<String>,
    ) -> Result<SecretBytes> {
        let named = named.map(|name| self.loaded.contents.resolve(name).map(|key| key.id.clone())).transpose()?;
        if named.is_some() {
            key_id.clone_from(&named);
        }
        let invalid = LocalKmsError::InvalidCiphertext;
        let Some(([VERSION], rest)) = ciphertext.split_first_chunk() else { return Err(invalid) };
        let Some((binary, sealed)) = rest.split_first_chunk::<ID_LENGTH>() else { return Err(invalid) };
        let backing_id = hex(binary);
        let Some(owner) = self.loaded.owner(&backing_id).map(str::to_owned) else { return Err(invalid) };
        if let Some(named) = named.filter(|named| *named != owner) {
            return Err(LocalKmsError::IncorrectKey { key_id: named });
        }
        *key_id = Some(owner.clone());
        self.loaded.contents.resolve(&owner)?.usable()?;
        let material = self.loaded.material(&owner, &backing_id)?;
        open(&material, LABEL, &aad(&owner, &backing_id, context)?, sealed).map_err(|error| match error {
            Error::Integrity => invalid,
            error => LocalKmsError::Crypto(error),
        })
    }
}

impl LocalKms {
    /// Generates a data key of 1 to 1,024 bytes and encrypts it under a key.
    ///
    /// # Errors
    /// [`LocalKmsError::NotFound`], [`LocalKmsError::Disabled`],
    /// [`LocalKmsError::PendingDeletion`]; [`LocalKmsError::InvalidRequest`] for another length;
    /// the errors of every operation, as for [`create_key`](Self::create_key).
    ///
    /// ```
    /// # use sealwax::EncryptionContext;
    /// # use sealwax_kms::LocalKms;
    /// # let dir = tempfile::tempdir()?;
    /// # let kms = LocalKms::create(dir.path())?;
    /// # let key = kms.create_key("")?.key_id;
    /// let context = EncryptionContext::from([("tenant", "blue")]);
    /// let made = kms.generate_data_key(&key, 32, &context)?;
    /// assert!(kms.decrypt(&made.ciphertext, &context)?.plaintext.ct_eq(made.plaintext.as_bytes()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate_data_key(
        &self,
        name: &str,
        length: usize,
        context: &EncryptionContext,
    ) -> Result<GeneratedDataKey> {
        self.generate("GenerateDataKey", name, length, context)
    }

    fn generate(
        &self,
        operation: &'static str,
        name: &str,
        length: usize,
        context: &EncryptionContext,
    ) -> Result<GeneratedDataKey> {
        let mut session = self.store.session()?;
        let made = if (1..=MAX_DATA_KEY).contains(&length) {
            RustCrypto.random_key(length).map_err(LocalKmsError::Crypto).and_then(|plaintext| {
                let (key_id, ciphertext) = session.encrypt(name, plaintext.as_bytes(), context)?;
                Ok(GeneratedDataKey { key_id, plaintext, ciphertext })
            })
        } else {
            Err(LocalKmsError::InvalidRequest(format!("a data key must have 1 to {MAX_DATA_KEY} bytes, not {length}")))
        };
        let id = made.as_ref().map_or(name, |made| &made.key_id);
        let event = Event::new(operation).key(id).context(context);
        session.answer(event, made)
    }

    /// Encrypts at most 4,096 bytes under a key. For longer plaintexts, encrypt a message with a
    /// [`keyring`](Self::keyring).
    ///
    /// # Errors
    /// As for [`generate_data_key`](Self::generate_data_key).
    ///
    /// ```
    /// # use sealwax::EncryptionContext;
    /// # use sealwax_kms::LocalKms;
    /// # let dir = tempfile::tempdir()?;
    /// # let kms = LocalKms::create(dir.path())?;
    /// # let key = kms.create_key("")?.key_id;
    /// let context = EncryptionContext::from([("for", "database")]);
    /// let sealed = kms.encrypt(&key, b"password", &context)?;
    /// assert_eq!(kms.decrypt(&sealed.ciphertext, &context)?.plaintext.as_bytes(), b"password");
    /// assert!(kms.decrypt(&sealed.ciphertext, &EncryptionContext::new()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encrypt(&self, name: &str, plaintext: &[u8], context: &EncryptionContext) -> Result<KmsCiphertext> {
        let mut session = self.store.session()?;
        let sealed = match plaintext.len() {
            0..=MAX_PLAINTEXT => session.encrypt(name, plaintext, context),
            _ => Err(LocalKmsError::InvalidRequest(format!("a plaintext must have at most {MAX_PLAINTEXT} bytes"))),
        };
        let id = sealed.as_ref().map_or(name, |(id, _)| id);
        let event = Event::new("Encrypt").key(id).context(context);
        let (key_id, ciphertext) = session.answer(event, sealed)?;
        Ok(KmsCiphertext { key_id, ciphertext })
    }

    /// Decrypts a ciphertext, which names the key of this store that it needs.
    ///
    /// # Errors
    /// [`LocalKmsError::InvalidCiphertext`] if it was altered, or belongs to another encryption
    /// context or store; [`LocalKmsError::Disabled`], [`LocalKmsError::PendingDeletion`]; the
    /// errors of every operation, as for [`create_key`](Self::create_key).
    pub fn decrypt(&self, ciphertext: &[u8], context: &EncryptionContext) -> Result<KmsPlaintext> {
        self.decrypt_under(None, ciphertext, context)
    }

    fn decrypt_under(
        &self,
        name: Option<&str>,
        ciphertext: &[u8],
        context: &EncryptionContext,
    ) -> Result<KmsPlaintext> {
        let mut session = self.store.session()?;
        let mut key_id = None;
        let opened = session.decrypt(name, ciphertext, context, &mut key_id);
        let mut event = Event::new("Decrypt").context(context);
        if let Some(id) = key_id.as_deref().or(name) {
            event = event.key(id);
        }
        let plaintext = session.answer(event, opened)?;
        Ok(KmsPlaintext { key_id: key_id.unwrap_or_default(), plaintext })
    }

    /// Re-encrypts a ciphertext of this store under another key or another context, without
    /// disclosing the plaintext.
    ///
    /// # Errors
    /// As for [`decrypt`](Self::decrypt) and [`encrypt`](Self::encrypt).
    ///
    /// ```
    /// # use sealwax::EncryptionContext;
    /// # use sealwax_kms::LocalKms;
    /// # let dir = tempfile::tempdir()?;
    /// # let kms = LocalKms::create(dir.path())?;
    /// # let (old, new) = (kms.create_key("")?.key_id, kms.create_key("")?.key_id);
    /// let context = EncryptionContext::new();
    /// let sealed = kms.encrypt(&old, b"password", &context)?;
    /// let moved = kms.re_encrypt(&sealed.ciphertext, &context, &new, &context)?;
    /// assert_eq!(moved.key_id, new);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn re_encrypt(
        &self,
        ciphertext: &[u8],
        context: &EncryptionContext,
        new_key: &str,
        new_context: &EncryptionContext,
    ) -> Result<KmsCiphertext> {
        let moved = self.re_encrypt_from(None, ciphertext, context, new_key, new_context)?;
        Ok(KmsCiphertext { key_id: moved.key_id, ciphertext: moved.ciphertext })
    }

    fn re_encrypt_from(
        &self,
        named: Option<&str>,
        ciphertext: &[u8],
        context: &EncryptionContext,
        new_key: &str,
        new_context: &EncryptionContext,
    ) -> Result<KmsReEncrypted> {
        let mut session = self.store.session()?;
        let mut source = None;
        let opened = session.decrypt(named, ciphertext, context, &mut source);
        let sealed = opened.and_then(|plaintext| session.encrypt(new_key, plaintext.as_bytes(), new_context));
        let id = sealed.as_ref().map_or(new_key, |(id, _)| id);
        let mut event = Event::new("ReEncrypt").key(id).context(new_context);
        event.source_key_id.clone_from(&source);
        let (key_id, ciphertext) = session.answer(event, sealed)?;
        Ok(KmsReEncrypted { source_key_id: source.unwrap_or_default(), key_id, ciphertext })
    }
}

/// The interface of a remote service. The futures do not wait: each performs a few file operations
/// on the polling thread, and blocks it while another process holds the lock.
impl KmsApi for LocalKms {
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        Box::pin(async move {
            let made = Self::generate_data_key(self, request.key_id, request.length, request.context);
            made.map_err(|error| error.of_operation(KmsOperation::GenerateDataKey, request.key_id))
        })
    }

    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        Box::pin(async move {
            symmetric(KmsOperation::Encrypt, request.algorithm, request.key_id)?;
            let sealed = Self::encrypt(self, request.key_id, request.plaintext, request.context);
            sealed.map_err(|error| error.of_operation(KmsOperation::Encrypt, request.key_id))
        })
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        Box::pin(async move {
            symmetric(KmsOperation::Decrypt, request.algorithm, request.key_id)?;
            let opened = self.decrypt_under(Some(request.key_id), request.ciphertext, request.context);
            opened.map_err(|error| error.of_operation(KmsOperation::Decrypt, request.key_id))
        })
    }

    fn generate_data_key_without_plaintext<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        Box::pin(async move {
            let operation = KmsOperation::GenerateDataKeyWithoutPlaintext;
            let made =
                self.generate("GenerateDataKeyWithoutPlaintext", request.key_id, request.length, request.context);
            let made = made.map_err(|error| error.of_operation(operation, request.key_id))?;
            Ok(KmsCiphertext { key_id: made.key_id, ciphertext: made.ciphertext })
        })
    }

    fn re_encrypt<'a>(&'a self, request: KmsReEncrypt<'a>) -> BoxFuture<'a, Result<KmsReEncrypted, KmsError>> {
        Box::pin(async move {
            let moved = self.re_encrypt_from(
                Some(request.source_key_id),
                request.ciphertext,
                request.source_context,
                request.destination_key_id,
                request.destination_context,
            );
            moved.map_err(|error| error.of_operation(KmsOperation::ReEncrypt, request.source_key_id))
        })
    }
}

fn symmetric(operation: KmsOperation, algorithm: KmsAlgorithm, key_id: &str) -> Result<(), KmsError> {
    match algorithm {
        KmsAlgorithm::Symmetric => Ok(()),
        _ => Err(KmsError::new(operation, KmsErrorKind::Unsupported).key(key_id)),
    }
}
