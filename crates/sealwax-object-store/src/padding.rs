//! Headers of a fixed length.

use sealwax::{
    EncryptedDataKey, Error, Result,
    keyring::BoxFuture,
    materials::{DecryptionMaterials, DecryptionRequest, EncryptionMaterials, EncryptionRequest, MaterialsManager},
};

use crate::layout::SUITE;

/// The provider id of an encrypted data key that is padding. No keyring has it, so every reader
/// skips the key.
const PROVIDER_ID: &str = "sealwax-pad";
/// The provider information. The JavaScript SDK refuses a message in which it is empty, and one
/// with an empty ciphertext.
const PROVIDER_INFO: &str = "zeros";
/// The length of the shortest padding: three lengths of two bytes, and at least one byte of
/// ciphertext.
const MIN_PADDING: usize = 6 + PROVIDER_ID.len() + PROVIDER_INFO.len() + 1;

/// The length of a header without its context and its encrypted data keys: version, suite, message
/// id, two lengths or counts, content type, frame length, commitment and tag.
const FIXED_LENGTH: usize = 1 + 2 + 32 + 2 + 2 + 1 + 4 + 32 + 16;

/// A manager that adds an encrypted data key which gives every header the same length.
pub(crate) struct PaddingManager<M> {
    inner: M,
    header_length: usize,
}

impl<M: MaterialsManager> PaddingManager<M> {
    pub(crate) fn new(inner: M, header_length: usize) -> Self {
        Self { inner, header_length }
    }

    async fn padded(&self, request: EncryptionRequest<'_>) -> Result<EncryptionMaterials> {
        let mut materials = self.inner.encryption_materials(request).await?;
        if materials.suite != SUITE {
            return Err(Error::Materials("the objects of a store need suite 0x0478"));
        }
        let mut stored = materials.context.clone();
        for key in &materials.required_context_keys {
            stored.remove(key);
        }
        let keys = materials
            .encrypted_data_keys
            .iter()
            .map(|key| 6 + key.provider_id().len() + key.provider_info().len() + key.ciphertext().len());
        let length = FIXED_LENGTH + stored.serialize()?.len() + keys.sum::<usize>();
        let missing = self.header_length.checked_sub(length);
        match missing {
            Some(0) => Ok(materials),
            Some(missing) if (MIN_PADDING..=MIN_PADDING + usize::from(u16::MAX) - 1).contains(&missing) => {
                let zeros = vec![0; missing - MIN_PADDING + 1];
                materials.encrypted_data_keys.push(EncryptedDataKey::new(PROVIDER_ID, PROVIDER_INFO, zeros));
                Ok(materials)
            }
            _ => Err(Error::Configuration(format!(
                "a header with these keys and this context takes {length} bytes, which cannot be filled up to {}; set \
                 the header length of the store to {length}, or to at least {}",
                self.header_length,
                length + MIN_PADDING
            ))),
        }
    }
}

impl<M: MaterialsManager> MaterialsManager for PaddingManager<M> {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(self.padded(request))
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        self.inner.decryption_materials(request)
    }
}
