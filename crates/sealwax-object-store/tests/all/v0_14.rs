//! The tests with version 0.14 of `object_store`.

use object_store_0_14 as object_store;
#[cfg(feature = "s3ec")]
use sealwax_object_store::S3EncryptionStore;
use sealwax_object_store::{SealedStore, SealedStoreBuilder};

#[path = "version/mod.rs"]
mod version;
