//! Wrapping of data keys under a branch key.
//!
//! Specification: framework/aws-kms/aws-kms-hierarchical-keyring, "Branch Key Wrapping" and "Branch
//! Key Unwrapping".

use sealwax::{
    EncryptionContext, Error, Result, SecretBytes,
    crypto::{CryptoProvider, IV_LENGTH, Iv, TAG_LENGTH},
};

use super::{BranchKey, derivation::LABEL};

/// The key provider id in messages.
pub(super) const PROVIDER_ID: &str = LABEL;

const SALT_LENGTH: usize = 16;
const VERSION_LENGTH: usize = 16;
/// The number of bytes that a wrapped data key has more than the data key.
const OVERHEAD: usize = SALT_LENGTH + IV_LENGTH + VERSION_LENGTH + TAG_LENGTH;

/// Wraps a data key.
pub(super) fn wrap(
    provider: &dyn CryptoProvider,
    branch_key: &BranchKey,
    context: &EncryptionContext,
    data_key: &[u8],
) -> Result<Vec<u8>> {
    let mut random = [0; SALT_LENGTH + IV_LENGTH];
    provider.random(&mut random)?;
    seal(provider, branch_key, context, data_key, &random)
}

fn seal(
    provider: &dyn CryptoProvider,
    branch_key: &BranchKey,
    context: &EncryptionContext,
    data_key: &[u8],
    random: &[u8; SALT_LENGTH + IV_LENGTH],
) -> Result<Vec<u8>> {
    let (salt, iv) = random.split_at(SALT_LENGTH);
    let iv = Iv::try_from(iv).map_err(|_| Error::Integrity)?;
    let version = branch_key.version.as_bytes();
    let key = provider.aes_gcm(&*branch_key.derivation.key(salt))?;
    let mut wrapped = Vec::with_capacity(OVERHEAD + data_key.len());
    wrapped.extend_from_slice(random);
    wrapped.extend_from_slice(version);
    let start = wrapped.len();
    wrapped.resize(start + data_key.len(), 0);
    let aad = aad(&branch_key.id, version, context)?;
    let tag = key.seal(&iv, &aad, data_key, wrapped.get_mut(start..).unwrap_or_default())?;
    wrapped.extend_from_slice(&tag);
    Ok(wrapped)
}

/// A wrapped data key, in its parts.
pub(super) struct Wrapped<'a> {
    salt: &'a [u8],
    iv: &'a Iv,
    pub(super) version: &'a [u8; VERSION_LENGTH],
    encrypted: &'a [u8],
    tag: &'a [u8; TAG_LENGTH],
}

impl<'a> Wrapped<'a> {
    /// Returns the parts of a wrapped data key of this length, or `None` if it has another one.
    pub(super) fn parse(wrapped: &'a [u8], data_key_length: usize) -> Option<Self> {
        if wrapped.len() != OVERHEAD + data_key_length {
            return None;
        }
        let (salt, rest) = wrapped.split_at_checked(SALT_LENGTH)?;
        let (iv, rest) = rest.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (encrypted, tag) = rest.split_last_chunk()?;
        Some(Self { salt, iv, version, encrypted, tag })
    }

    /// Unwraps the data key.
    pub(super) fn open(
        &self,
        provider: &dyn CryptoProvider,
        branch_key: &BranchKey,
        context: &EncryptionContext,
    ) -> Result<SecretBytes> {
        let key = provider.aes_gcm(&*branch_key.derivation.key(self.salt))?;
        let mut data_key = SecretBytes::zeroed(self.encrypted.len());
        key.open(self.iv, &aad(&branch_key.id, self.version, context)?, self.encrypted, self.tag, data_key.as_mut())?;
        Ok(data_key)
    }
}

fn aad(id: &str, version: &[u8; VERSION_LENGTH], context: &EncryptionContext) -> Result<Vec<u8>> {
    Ok([PROVIDER_ID.as_bytes(), id.as_bytes(), version, &context.serialize()?].concat())
}
