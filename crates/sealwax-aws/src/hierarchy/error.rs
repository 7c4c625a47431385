//! Errors of the key store.

use sealwax::{Escaped, keyring::KmsError};

use super::StorageError;

/// The reason why a branch key cannot be used, created or rotated.
///
/// The texts name items and attributes, and contain no values but ids and key names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BranchKeyError {
    /// An argument or the configuration is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The storage has no such item.
    #[error("there is no item {} of branch key {}", Escaped(.item), Escaped(.id))]
    NotFound {
        /// The branch key.
        id: String,
        /// The type of the item, such as `branch:ACTIVE`.
        item: String,
    },
    /// A branch key with this id exists.
    #[error("branch key {} exists already; nothing was written", Escaped(.id))]
    Exists {
        /// The branch key.
        id: String,
    },
    /// Another process rotated the branch key at the same time.
    #[error("branch key {} was rotated by another process at the same time; nothing was written", Escaped(.id))]
    Changed {
        /// The branch key.
        id: String,
    },
    /// An item does not have the format of the specification. No key service was called.
    #[error("item {} of branch key {} is not valid: {why}", Escaped(.item), Escaped(.id))]
    InvalidItem {
        /// The branch key.
        id: String,
        /// The type of the item.
        item: String,
        /// The reason, which names the attribute.
        why: String,
    },
    /// An item has a hierarchy version that this library does not have. No key service was called.
    #[error(
        "item {} of branch key {} has hierarchy version {}, which is not supported; the supported version is 1",
        Escaped(.item), Escaped(.id), Escaped(.version)
    )]
    HierarchyVersion {
        /// The branch key.
        id: String,
        /// The type of the item.
        item: String,
        /// The version.
        version: String,
    },
    /// An item is encrypted under a key that the configuration does not allow. No key service was
    /// called.
    #[error("item {} of branch key {} is under KMS key {}, {why}", Escaped(.item), Escaped(.id), Escaped(.found))]
    OtherKey {
        /// The branch key.
        id: String,
        /// The type of the item.
        item: String,
        /// The key in the item.
        found: String,
        /// The reason why it is refused.
        why: &'static str,
    },
    /// The configuration names no key to encrypt under.
    #[error("a key store with KMS discovery can only read branch keys; configure a key to create or rotate them")]
    Discovery,
    /// The key service could not decrypt an item: one of its attributes was altered, or it was
    /// written with another logical key store name. The service cannot distinguish these.
    #[error(
        "item {} of branch key {} is not authentic: it was altered, or written with another logical key store name",
        Escaped(.item), Escaped(.id)
    )]
    NotAuthentic {
        /// The branch key.
        id: String,
        /// The type of the item.
        item: String,
        /// The error of the key service.
        source: KmsError,
    },
    /// The key service failed.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The library failed.
    #[error(transparent)]
    Failed(#[from] sealwax::Error),
}

impl BranchKeyError {
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        Self::Invalid(why.into())
    }
}
