//! The default materials manager.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    DecryptionMaterials, DecryptionRequest, EncryptionMaterials, EncryptionRequest, MaterialsManager, OpenedBy,
};
use crate::{
    context::{EncryptionContext, PUBLIC_KEY_ENTRY, RESERVED_PREFIX},
    crypto::{CryptoProvider, VerifyingKey},
    error::{ContextError, Direction, Error, Result},
    keyring::{BoxFuture, Keyring, UnwrapRequest, WrapRequest},
    suite::AlgorithmSuite,
};

/// A manager that gets the data key from a keyring and generates a new signing key for every signed
/// message.
///
/// The public half of the signing key is stored in the encryption context, under
/// `aws-crypto-public-key`.
///
/// Specification: framework/default-cmm.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring, materials::DefaultMaterialsManager};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let manager = DefaultMaterialsManager::new(keyring);
/// let sealed = Client::new().encrypt_with(&manager).bytes(b"text").wait()?;
/// assert!(sealed.header.context().contains_key("aws-crypto-public-key"));
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct DefaultMaterialsManager<K> {
    keyring: K,
}

impl<K: Keyring> DefaultMaterialsManager<K> {
    /// Creates a manager over a keyring, or over a reference to one.
    pub fn new(keyring: K) -> Self {
        Self { keyring }
    }

    async fn for_encryption(&self, request: EncryptionRequest<'_>) -> Result<EncryptionMaterials> {
        let EncryptionRequest { provider, policy, .. } = request;
        let suite = request.suite.unwrap_or(policy.default_suite());
        if !policy.allows_encrypt(suite) {
            return Err(Error::Commitment { suite, policy, operation: Direction::Encrypt });
        }
        let mut context = request.context.clone();
        if context.contains_key(PUBLIC_KEY_ENTRY) {
            return Err(ContextError::ReservedPrefix.into());
        }
        let signing_key = suite.signature().map(|algorithm| provider.generate_signing_key(algorithm)).transpose()?;
        if let Some(key) = &signing_key {
            context.insert(PUBLIC_KEY_ENTRY, key.public_key_entry());
        }
        let mut wrapped = self.keyring.on_encrypt(WrapRequest::new(provider, suite, &context)).await?;
        let key_report = wrapped.take_report(|| self.keyring.label());
        let data_key = wrapped.data_key.ok_or(Error::Materials("the keyring returned no data key"))?;
        Ok(EncryptionMaterials {
            suite,
            context,
            required_context_keys: request.required_context_keys.clone(),
            data_key,
            encrypted_data_keys: wrapped.encrypted_data_keys,
            signing_key,
            key_report,
        })
    }

    async fn for_decryption(&self, request: DecryptionRequest<'_>) -> Result<DecryptionMaterials> {
        let DecryptionRequest { provider, policy, suite, .. } = request;
        if !policy.allows_decrypt(suite) {
            return Err(Error::Commitment { suite, policy, operation: Direction::Decrypt });
        }
        let verifying_key = verifying_key(provider, suite, request.context)?;
        let (context, required_context_keys) = reproduce(request.context, request.reproduced_context)?;
        let request = UnwrapRequest::new(provider, suite, &context, request.encrypted_data_keys);
        let unwrapped = self.keyring.on_decrypt(request).await?;
        Ok(DecryptionMaterials {
            suite,
            context,
            required_context_keys,
            data_key: unwrapped.data_key,
            verifying_key,
            opened_by: OpenedBy { keyring: unwrapped.keyring, encrypted_data_key: unwrapped.encrypted_data_key },
        })
    }
}

impl<K: Keyring> MaterialsManager for DefaultMaterialsManager<K> {
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

/// Returns the verifying key of a signed message. Fails if an unsigned message has one.
fn verifying_key(
    provider: &dyn CryptoProvider,
    suite: AlgorithmSuite,
    context: &EncryptionContext,
) -> Result<Option<Arc<dyn VerifyingKey>>> {
    match (suite.signature(), context.get(PUBLIC_KEY_ENTRY)) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ContextError::PublicKeyUnexpected.into()),
        (Some(_), None) => Err(ContextError::PublicKeyMissing.into()),
        (Some(algorithm), Some(text)) => {
            let compressed = BASE64_STANDARD.decode(text).map_err(|_| ContextError::PublicKeyMissing)?;
            match provider.verifying_key(algorithm, &compressed) {
                Err(Error::Integrity) => Err(ContextError::PublicKeyMissing.into()),
                outcome => outcome.map(Some),
            }
        }
    }
}

/// Merges the stored and the reproduced context, and returns the keys that only the reproduced one
/// has.
///
/// A reserved key is never reproduced. The public key of a signed message decides how the message
/// is verified, so it must come from the message. If it were reproduced, only the header tag would
/// authenticate it, and anyone who can unwrap the data key can compute that tag.
fn reproduce(
    stored: &EncryptionContext,
    reproduced: &EncryptionContext,
) -> Result<(EncryptionContext, BTreeSet<String>)> {
    let mut context = stored.clone();
    let mut required = BTreeSet::new();
    for (key, value) in reproduced {
        match stored.get(key) {
            Some(found) if found == value => {}
            Some(_) => return Err(ContextError::Mismatch.into()),
            None if key.starts_with(RESERVED_PREFIX) => return Err(ContextError::ReservedNotStored.into()),
            None => {
                context.insert(key, value);
                required.insert(key.to_owned());
            }
        }
    }
    Ok((context, required))
}
