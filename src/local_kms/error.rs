//! What a key store can answer instead.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    error::Error,
    keyring::{KmsError, KmsErrorKind, KmsOperation},
    text::Escaped,
};

/// A key store refused or failed.
///
/// No text contains a key, a plaintext, a passphrase or a context value.
///
/// ```
/// use sealwax::local_kms::{LocalKms, LocalKmsError};
///
/// let folder = tempfile::tempdir()?;
/// assert!(matches!(LocalKms::open(folder.path()), Err(LocalKmsError::NoStore { .. })));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalKmsError {
    /// There is no key or alias of this name, or it has been deleted.
    #[error("the store has no key {}", Escaped(.name))]
    NotFound {
        /// What was asked for.
        name: String,
    },

    /// The key is disabled: it neither encrypts nor decrypts until it is enabled.
    #[error("key {} is disabled; enabling it makes it usable again", Escaped(.key_id))]
    Disabled {
        /// The key.
        key_id: String,
    },

    /// The key waits for its deletion: it neither encrypts nor decrypts.
    #[error(
        "key {} is to be deleted on {}; until then cancelling the deletion, and enabling it, brings it back",
        Escaped(.key_id),
        Escaped(.date)
    )]
    PendingDeletion {
        /// The key.
        key_id: String,
        /// When it will be gone, in RFC 3339.
        date: String,
    },

    /// The key is in a state in which this cannot be done to it.
    #[error("key {} {why}", Escaped(.key_id))]
    InvalidState {
        /// The key.
        key_id: String,
        /// What about its state is in the way.
        why: &'static str,
    },

    /// There is an alias of this name already.
    #[error("the alias {} exists already; updating it points it to another key", Escaped(.alias))]
    AliasExists {
        /// The alias.
        alias: String,
    },

    /// A length, a name or a period cannot be.
    #[error("{0}")]
    InvalidRequest(String),

    /// The ciphertext belongs to another key of the store than the one named.
    #[error("the ciphertext belongs to another key than {}", Escaped(.key_id))]
    IncorrectKey {
        /// The key that was named.
        key_id: String,
    },

    /// The ciphertext does not open: it was altered, or belongs to another encryption context or another store.
    #[error("the ciphertext does not open (altered, or of another encryption context or another store)")]
    InvalidCiphertext,

    /// There is no store in the folder.
    #[error("there is no key store in {}", .path.display())]
    NoStore {
        /// The folder.
        path: PathBuf,
    },

    /// There is a store in the folder already.
    #[error("there is a key store in {} already", .path.display())]
    StoreExists {
        /// The folder.
        path: PathBuf,
    },

    /// The store is sealed under a root of another kind than the one that was given.
    #[error("the key store in {} is sealed under {needed}: give that to open it", .path.display())]
    RootNeeded {
        /// The folder.
        path: PathBuf,
        /// What is needed.
        needed: &'static str,
    },

    /// The root key does not open the store: another key file, passphrase or keyring, or the head of the file was altered.
    #[error(
        "the root key does not open {}: it is another key file, passphrase or keyring, or the head of the file was altered",
        .path.display()
    )]
    WrongRoot {
        /// The file.
        path: PathBuf,
    },

    /// A file of the store was altered, cut off, or exchanged for an older one.
    #[error("{} is damaged: {what}; a backup is what helps", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as far as that can be said.
        what: String,
    },

    /// Another process gave the store a new root.
    #[error("another process has changed the root of the key store in {}: open it again", .path.display())]
    RootChanged {
        /// The folder.
        path: PathBuf,
    },

    /// Another process has held the lock for too long.
    #[error("another process has held {} for too long", .path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },

    /// Reading or writing failed; the cause is the source.
    #[error("{action} {} failed", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },

    /// The root keyring, or a cryptographic primitive, failed.
    #[error("the key store could not use its root key or its cryptography")]
    Crypto(#[source] Error),
}

impl LocalKmsError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    /// What kind of failure it is, in the words that all key management services share.
    ///
    /// ```
    /// use sealwax::{keyring::KmsErrorKind, local_kms::LocalKmsError};
    ///
    /// assert_eq!(LocalKmsError::InvalidCiphertext.kind(), KmsErrorKind::InvalidCiphertext);
    /// ```
    #[must_use]
    pub fn kind(&self) -> KmsErrorKind {
        match self {
            Self::NotFound { .. } => KmsErrorKind::NotFound,
            Self::Disabled { .. } => KmsErrorKind::Disabled,
            Self::PendingDeletion { .. } | Self::InvalidState { .. } => KmsErrorKind::InvalidState,
            Self::AliasExists { .. } | Self::InvalidRequest(_) => KmsErrorKind::InvalidRequest,
            Self::IncorrectKey { .. } => KmsErrorKind::IncorrectKey,
            Self::InvalidCiphertext => KmsErrorKind::InvalidCiphertext,
            Self::WrongRoot { .. } | Self::RootNeeded { .. } => KmsErrorKind::AccessDenied,
            Self::Busy { .. } => KmsErrorKind::TimedOut,
            _ => KmsErrorKind::Other,
        }
    }

    /// One word for the audit log.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "NotFound",
            Self::Disabled { .. } => "Disabled",
            Self::PendingDeletion { .. } => "PendingDeletion",
            Self::InvalidState { .. } => "InvalidState",
            Self::AliasExists { .. } => "AliasExists",
            Self::InvalidRequest(_) => "InvalidRequest",
            Self::IncorrectKey { .. } => "IncorrectKey",
            Self::InvalidCiphertext => "InvalidCiphertext",
            _ => "Failed",
        }
    }

    /// The same failure as the seam to key management services tells it.
    pub(super) fn of_operation(self, operation: KmsOperation, key_id: &str) -> KmsError {
        let error = KmsError::new(operation, self.kind()).key(key_id);
        match self {
            // The kind says it all.
            Self::NotFound { .. } | Self::Disabled { .. } | Self::IncorrectKey { .. } | Self::InvalidCiphertext => {
                error
            }
            cause => error.caused_by(cause),
        }
    }
}

impl From<LocalKmsError> for Error {
    fn from(error: LocalKmsError) -> Self {
        match error {
            LocalKmsError::InvalidRequest(why) => Self::Configuration(why),
            error => Self::keyring(super::PROVIDER_ID, error),
        }
    }
}
