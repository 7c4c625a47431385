//! Cache entry ids.
//!
//! Specification: framework/aws-kms/aws-kms-hierarchical-keyring, "Appendix A: Cache Entry
//! Identifier Formulas".

use sealwax::materials::CacheId;
use sha2::{Digest, Sha384};
use uuid::Uuid;

/// The resource id of the hierarchical keyring, which distinguishes its entries from those of other
/// users of a cache.
const RESOURCE: u8 = 2;
const ENCRYPT: u8 = 1;
const DECRYPT: u8 = 2;

/// Returns the id of a branch key in a cache: of a version or, without one, of the active one.
///
/// The formula has no lengths. It is unambiguous all the same: the scope says whether there is a
/// version, which has a fixed length, and neither the partition nor the logical name contains a
/// zero byte, except for a random partition, which nobody else knows.
pub(super) fn cache_id(partition: &[u8], logical_name: &str, id: &str, version: Option<Uuid>) -> CacheId {
    let mut digest = Sha384::new();
    digest.update([RESOURCE, 0, if version.is_some() { DECRYPT } else { ENCRYPT }]);
    for field in [partition, logical_name.as_bytes(), id.as_bytes()] {
        digest.update([0]);
        digest.update(field);
    }
    if let Some(version) = version {
        digest.update([0]);
        digest.update(version.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    }
    CacheId::new(digest.finalize().into())
}
