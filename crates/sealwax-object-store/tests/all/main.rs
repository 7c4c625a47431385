//! The tests of the store, as one program. What does not depend on the version of `object_store` is
//! compiled once for each.
#![allow(clippy::duplicate_mod, reason = "the tests are compiled for each version of `object_store`")]
#![allow(clippy::single_range_in_vec_init, reason = "`get_ranges` takes a slice of ranges, also of one")]

#[cfg(feature = "s3ec")]
#[path = "../../../../tests/support/fake_kms.rs"]
mod fake_kms;
#[cfg(feature = "object-store")]
mod parquet_files;
#[cfg(feature = "s3ec-rsa")]
#[path = "../../../../tests/support/server.rs"]
mod server;
#[path = "../../../../tests/support/mod.rs"]
mod support;
#[cfg(feature = "object-store-0-13")]
mod v0_13;
#[cfg(feature = "object-store")]
mod v0_14;
