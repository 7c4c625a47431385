//! The tests of the key store, as one program.

#[path = "../../../../tests/support/mod.rs"]
mod support;

#[cfg(unix)]
mod crash;
#[cfg(feature = "server")]
mod endpoint;
mod hierarchy;
mod peers;
mod store;
