//! The required-context materials manager.

use std::collections::BTreeSet;

use super::{DecryptionMaterials, DecryptionRequest, EncryptionMaterials, EncryptionRequest, MaterialsManager};
use crate::{
    context::RESERVED_PREFIX,
    error::{ContextError, Error, Result},
    keyring::BoxFuture,
};

/// A manager that keeps selected values of the encryption context out of the message. They are
/// authenticated but not stored, and must be supplied again to decrypt it.
///
/// This binds a message to values that its reader already knows, such as a tenant, a path or a
/// version, and does not disclose them. It does not encrypt them: anyone who can decrypt the
/// message can confirm a guessed value.
///
/// Specification: framework/required-encryption-context-cmm.
///
/// ```
/// use sealwax::{
///     Client,
///     keyring::RawAesKeyring,
///     materials::{DefaultMaterialsManager, RequiredContextManager},
/// };
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let manager = RequiredContextManager::new(["tenant"], DefaultMaterialsManager::new(keyring))?;
/// let client = Client::new();
///
/// let context = [("tenant", "blue"), ("purpose", "backup")];
/// let sealed = client.encrypt_with(&manager).context(context).bytes(b"text").wait()?;
/// assert_eq!(sealed.header.context().get("tenant"), None);
///
/// let opened = client.decrypt_with(&manager).context([("tenant", "blue")]).bytes(&sealed.message).wait()?;
/// assert_eq!(opened.plaintext, b"text");
/// assert!(client.decrypt_with(&manager).bytes(&sealed.message).wait().is_err());
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct RequiredContextManager<M> {
    keys: BTreeSet<String>,
    inner: M,
}

impl<M: MaterialsManager> RequiredContextManager<M> {
    /// Creates a manager that requires a value for each of these keys and gets the materials from
    /// `inner`.
    ///
    /// # Errors
    /// [`Error::Configuration`] if there are no keys; [`Error::Context`] if a key is empty or
    /// reserved.
    pub fn new<K: Into<String>>(keys: impl IntoIterator<Item = K>, inner: M) -> Result<Self> {
        let keys: BTreeSet<String> = keys.into_iter().map(Into::into).collect();
        if keys.is_empty() {
            return Err(Error::Configuration("a required context needs at least one key".into()));
        }
        if keys.iter().any(|key| key.starts_with(RESERVED_PREFIX)) {
            return Err(ContextError::ReservedPrefix.into());
        }
        if keys.contains("") {
            return Err(ContextError::Empty.into());
        }
        Ok(Self { keys, inner })
    }

    async fn for_encryption(&self, request: EncryptionRequest<'_>) -> Result<EncryptionMaterials> {
        if !self.keys.iter().all(|key| request.context.contains_key(key)) {
            return Err(ContextError::RequiredMissing.into());
        }
        let keys: BTreeSet<String> = self.keys.union(request.required_context_keys).cloned().collect();
        let materials = self.inner.encryption_materials(request.with_required_context_keys(&keys)).await?;
        if !self.keys.is_subset(&materials.required_context_keys) {
            return Err(Error::Materials("a required encryption context key would be stored"));
        }
        Ok(materials)
    }

    async fn for_decryption(&self, request: DecryptionRequest<'_>) -> Result<DecryptionMaterials> {
        if !self.keys.iter().all(|key| request.reproduced_context.contains_key(key)) {
            return Err(ContextError::RequiredMissing.into());
        }
        let materials = self.inner.decryption_materials(request).await?;
        if !self.keys.iter().all(|key| materials.context.contains_key(key)) {
            return Err(Error::Materials("a required encryption context key was not authenticated"));
        }
        Ok(materials)
    }
}

impl<M: MaterialsManager> MaterialsManager for RequiredContextManager<M> {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(self.for_encryption(request))
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        Box::pin(self.for_decryption(request))
    }
}
