//! Cache entry ids.
//!
//! Specification: framework/caching-cmm, "Appendix A: Cache Entry Identifier Formulas".

use super::CacheId;
use crate::{
    crypto::{CryptoProvider, Digest, HashAlgorithm},
    error::{Error, Result},
    format::EncryptedDataKey,
    materials::{DecryptionRequest, EncryptionRequest},
};

/// The resource id of the caching materials manager, which distinguishes its entries from those of
/// other users of a cache.
const RESOURCE: u8 = 1;
const ENCRYPT: u8 = 1;
const DECRYPT: u8 = 2;

/// The identity of the request that an entry answers.
///
/// The formulas concatenate fields of variable length without delimiters that the bytes could not
/// contain, so an attacker could shift bytes between the encrypted data keys and the adjacent
/// context. The lengths are compared too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) id: CacheId,
    /// The lengths of the encrypted data keys, of the context, and of the fields that are not in
    /// the specification's formula.
    lengths: [usize; 3],
}

impl Identity {
    /// Returns the identity of a value that is not materials, whose id is unambiguous.
    pub(super) fn of_value(id: CacheId) -> Self {
        Self { id, lengths: [0; 3] }
    }

    /// Returns the identity of an encryption request: its suite and context. The required context
    /// keys, which are not in the formula, follow if there are any.
    pub(super) fn of_encryption(partition: &str, request: &EncryptionRequest<'_>) -> Result<Self> {
        let context = request.context.serialize()?;
        let mut required = Vec::new();
        for key in request.required_context_keys {
            required.extend_from_slice(&(key.len() as u64).to_be_bytes());
            required.extend_from_slice(key.as_bytes());
        }
        let mut fields = Fields::new(request.provider, ENCRYPT, partition);
        match request.suite {
            None => fields.put(&[0]),
            Some(suite) => {
                fields.put(&[1]);
                fields.put(&suite.id().to_be_bytes());
            }
        }
        fields.finish(&[], &context, &required)
    }

    /// Returns the identity of a decryption request: its suite, encrypted data keys and context.
    ///
    /// The expected context, which is not in the formula, follows if there is any: a caller that
    /// omits the expected context must not hit an entry created by one that supplied it.
    pub(super) fn of_decryption(partition: &str, request: &DecryptionRequest<'_>) -> Result<Self> {
        let mut keys = request.encrypted_data_keys.iter().map(serialize_key).collect::<Result<Vec<_>>>()?;
        keys.sort_unstable();
        let keys = keys.concat();
        let (context, reproduced) = (request.context.serialize()?, request.reproduced_context.serialize()?);
        let mut fields = Fields::new(request.provider, DECRYPT, partition);
        fields.put(&request.suite.id().to_be_bytes());
        fields.put(&keys);
        fields.finish(&keys, &context, &reproduced)
    }
}

/// A digest of fields, with a zero byte before each but the first.
struct Fields {
    digest: Box<dyn Digest>,
}

impl Fields {
    /// Starts a digest. `partition` must not contain a zero byte.
    fn new(provider: &dyn CryptoProvider, scope: u8, partition: &str) -> Self {
        let mut digest = provider.digest(HashAlgorithm::Sha384);
        digest.update(&[RESOURCE, 0, scope]);
        let mut fields = Self { digest };
        fields.put(partition.as_bytes());
        fields
    }

    fn put(&mut self, field: &[u8]) {
        self.digest.update(&[0]);
        self.digest.update(field);
    }

    fn finish(mut self, keys: &[u8], context: &[u8], beyond: &[u8]) -> Result<Identity> {
        self.put(context);
        if !beyond.is_empty() {
            self.put(beyond);
        }
        let id = self.digest.finish().try_into().map_err(|_| Error::Provider("a SHA-384 digest has 48 bytes"))?;
        Ok(Identity { id: CacheId(id), lengths: [keys.len(), context.len(), beyond.len()] })
    }
}

/// Serializes an encrypted data key as in a message header.
fn serialize_key(key: &EncryptedDataKey) -> Result<Vec<u8>> {
    let fields = [key.provider_id().as_bytes(), key.provider_info(), key.ciphertext()];
    let mut out = Vec::with_capacity(fields.iter().map(|field| 2 + field.len()).sum());
    for field in fields {
        let length = u16::try_from(field.len())
            .map_err(|_| Error::Materials("a field of an encrypted data key is longer than 65,535 bytes"))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(field);
    }
    Ok(out)
}
