//! The tests with version 0.13 of `object_store`.

use object_store_0_13 as object_store;
#[cfg(feature = "s3ec")]
use sealwax_object_store::v0_13::S3EncryptionStore;
use sealwax_object_store::v0_13::{SealedStore, SealedStoreBuilder};

#[path = "version/mod.rs"]
mod version;
