//! Conformance suites for custom keyrings and caches, to run in their tests (feature
//! `conformance`).
//!
//! A suite reports a broken rule as a [`Violation`]. Passing is no proof of correctness, but the
//! suites try what usually goes wrong.

use std::fmt;

mod cache;
mod keyring;

pub use cache::cache;
pub use keyring::{KeyringTraits, keyring};

/// A broken rule of a keyring or a cache.
///
/// ```
/// use sealwax::{conformance, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let outcome = conformance::keyring(&keyring, conformance::KeyringTraits::default()).wait();
/// assert!(outcome.is_ok());
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Debug)]
pub struct Violation(String);

impl Violation {
    fn new(rule: impl Into<String>) -> Self {
        Self(rule.into())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}
