//! What a keyring or a cache of one's own must do, as a suite to run in its tests (feature `conformance`).
//!
//! A suite says what did not hold in a [`Violation`]; a pass is no proof, but what the suites try is what goes wrong.

use std::fmt;

mod cache;
mod keyring;

pub use cache::cache;
pub use keyring::{KeyringTraits, keyring};

/// What a keyring or a cache did against the rules.
///
/// ```
/// use sealwax::{conformance, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let violation = conformance::keyring(&keyring, conformance::KeyringTraits::default()).wait();
/// assert!(violation.is_ok());
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
