//! The store for version 0.13 of the crate `object_store`.

use object_store_0_13 as object_store;

#[path = "store/mod.rs"]
mod store;

#[cfg(feature = "s3ec")]
pub use store::{S3EncryptionStore, S3EncryptionStoreBuilder};
pub use store::{SealedStore, SealedStoreBuilder};

/// Returns a result that has no more than what its own methods need.
fn bare(
    payload: object_store::GetResultPayload,
    meta: object_store::ObjectMeta,
    range: std::ops::Range<u64>,
) -> object_store::GetResult {
    object_store::GetResult { payload, meta, range, attributes: Default::default() }
}
