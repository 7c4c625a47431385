//! The tests of the store, as one program. What does not depend on the version of `object_store` is
//! compiled once for each.

#[path = "../../../../tests/support/mod.rs"]
mod support;
#[cfg(feature = "object-store-0-13")]
mod v0_13;
#[cfg(feature = "object-store")]
mod v0_14;
