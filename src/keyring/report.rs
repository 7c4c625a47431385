//! A report of which keyrings wrapped the data key of a message.

use std::{fmt, sync::Arc};

use crate::{error::Error, text::Escaped};

/// The keyrings that wrapped the data key of an encrypted message, and those that failed but were
/// not required by the quorum.
///
/// ```
/// use sealwax::{Client, keyring::{MultiKeyring, RawAesKeyring}};
///
/// let keyring = MultiKeyring::new(RawAesKeyring::new("example", "main", vec![1; 32])?)
///     .child(RawAesKeyring::new("example", "recovery", vec![2; 32])?);
/// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
/// let labels: Vec<_> = sealed.key_report.wrapped().iter().map(|by| &*by.keyring).collect();
/// assert_eq!(labels, ["raw-aes://example/main", "raw-aes://example/recovery"]);
/// assert!(sealed.key_report.failed().is_empty());
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeyReport {
    wrapped: Vec<WrappedBy>,
    failed: Vec<WrapFailure>,
}

/// A keyring that wrapped the data key, in a [`KeyReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrappedBy {
    /// The keyring's label.
    pub keyring: Arc<str>,
    /// The index of its encrypted data key in the message, from 0.
    pub encrypted_data_key: usize,
}

/// A keyring that failed to wrap the data key, in a [`KeyReport`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WrapFailure {
    /// The keyring's label.
    pub keyring: Arc<str>,
    /// The keyring's error.
    pub cause: Error,
}

impl KeyReport {
    /// Returns the keyrings that wrapped the data key, in the order of the encrypted data keys.
    #[must_use]
    pub fn wrapped(&self) -> &[WrappedBy] {
        &self.wrapped
    }

    /// Returns the keyrings that failed to wrap the data key.
    #[must_use]
    pub fn failed(&self) -> &[WrapFailure] {
        &self.failed
    }

    /// Removes the keyrings that wrapped, and keeps those that failed.
    pub(super) fn clear_wrapped(&mut self) {
        self.wrapped.clear();
    }

    /// Adds `count` encrypted data keys of one keyring.
    pub(super) fn add_wrapped(&mut self, keyring: &Arc<str>, count: usize) {
        for _ in 0..count {
            let encrypted_data_key = self.wrapped.len();
            self.wrapped.push(WrappedBy { keyring: keyring.clone(), encrypted_data_key });
        }
    }

    pub(super) fn add_failed(&mut self, keyring: Arc<str>, cause: Error) {
        self.failed.push(WrapFailure { keyring, cause });
    }

    /// Appends another report, whose encrypted data keys follow those of this one.
    pub(super) fn append(&mut self, other: Self) {
        for by in other.wrapped {
            self.add_wrapped(&by.keyring, 1);
        }
        self.failed.extend(other.failed);
    }
}

impl fmt::Display for KeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, by) in self.wrapped.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}encrypted data key {} by {}", by.encrypted_data_key, Escaped(&by.keyring))?;
        }
        for failure in &self.failed {
            write!(f, "; not by {}: {}", Escaped(&failure.keyring), failure.cause)?;
        }
        Ok(())
    }
}
