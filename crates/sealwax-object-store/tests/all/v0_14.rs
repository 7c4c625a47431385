//! The tests with version 0.14 of `object_store`.

use object_store_0_14 as object_store;
use sealwax_object_store::SealedStore;

#[path = "version/mod.rs"]
mod version;
