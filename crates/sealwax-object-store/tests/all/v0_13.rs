//! The tests with version 0.13 of `object_store`.

use object_store_0_13 as object_store;
use sealwax_object_store::v0_13::SealedStore;

#[path = "version/mod.rs"]
mod version;
