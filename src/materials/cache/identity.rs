//! The ids of cache entries.
//!
//! Specification: framework/caching-cmm, "Appendix A: Cache Entry Identifier Formulas".

use super::CacheId;
use crate::{
    crypto::{CryptoProvider, Digest, HashAlgorithm},
    error::{Error, Result},
    format::EncryptedDataKey,
    materials::{DecryptionRequest, EncryptionRequest},
};

/// The caching materials manager, among what else has entries in caches.
const RESOURCE: u8 = 1;
const ENCRYPT: u8 = 1;
const DECRYPT: u8 = 2;

/// Which request an entry answers.
///
/// The formulas join fields of any length, and where one ends does not always follow from the bytes: that of the encrypted data
/// keys and that of the context beside it could be traded against each other by who writes a message. So the lengths count too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) id: CacheId,
    /// The lengths of the encrypted data keys, the context, and what the specification's formula has no place for.
    lengths: [usize; 3],
}

impl Identity {
    /// The id of a request for encryption: suite and context. The keys that are not to be stored, for which the formula has no
    /// place, follow if there are any.
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

    /// The id of a request for decryption: suite, encrypted data keys and context. The context that the caller expects, for
    /// which the formula has no place, follows if there is any: who knows less than it takes must not profit from who knew it.
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

/// Digests fields with a zero byte before each but the first.
struct Fields {
    digest: Box<dyn Digest>,
}

impl Fields {
    /// A partition has no zero byte in it.
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

/// An encrypted data key as it stands in the header of a message.
fn serialize_key(key: &EncryptedDataKey) -> Result<Vec<u8>> {
    let fields = [key.provider_id().as_bytes(), key.provider_info(), key.ciphertext()];
    let mut out = Vec::with_capacity(fields.iter().map(|field| 2 + field.len()).sum());
    for field in fields {
        let length = u16::try_from(field.len())
            .map_err(|_| Error::Materials("a field of an encrypted data key is longer than a message can carry"))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(field);
    }
    Ok(out)
}
