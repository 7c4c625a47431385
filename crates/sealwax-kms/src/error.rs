//! Errors of a key store.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use sealwax::{
    Error, Escaped,
    keyring::{KmsError, KmsErrorKind, KmsOperation},
};

use super::cost::{MIN_BACKUP_PASSPHRASE, PassphraseCost};

/// An error of a key store.
///
/// No text contains a key, a plaintext, a passphrase or a context value.
///
/// ```
/// use sealwax_kms::{LocalKms, LocalKmsError};
///
/// let dir = tempfile::tempdir()?;
/// assert!(matches!(LocalKms::open(dir.path()), Err(LocalKmsError::NoStore { .. })));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalKmsError {
    /// The key or alias does not exist, or has been deleted.
    #[error("the store has no key {}", Escaped(.name))]
    NotFound {
        /// The requested name.
        name: String,
    },

    /// The start of an id that several keys have.
    #[error("{} is the start of several key ids: {}", Escaped(.name), Escaped(&.candidates.join(", ")))]
    Ambiguous {
        /// The requested name.
        name: String,
        /// The ids of the keys.
        candidates: Vec<String>,
    },

    /// The key is disabled and can neither encrypt nor decrypt until it is enabled.
    #[error("key {} is disabled; enable it to use it", Escaped(.key_id))]
    Disabled {
        /// The key.
        key_id: String,
    },

    /// The key is pending deletion and can neither encrypt nor decrypt.
    #[error(
        "key {} is pending deletion on {}; to keep it, cancel the deletion and enable the key",
        Escaped(.key_id),
        Escaped(.date)
    )]
    PendingDeletion {
        /// The key.
        key_id: String,
        /// When the key will be deleted, in RFC 3339.
        date: String,
    },

    /// The key's state does not allow the operation.
    #[error("key {} {why}", Escaped(.key_id))]
    InvalidState {
        /// The key.
        key_id: String,
        /// What is wrong with the state.
        why: &'static str,
    },

    /// The alias exists already.
    #[error("alias {} already exists; update it to point it to another key", Escaped(.alias))]
    AliasExists {
        /// The alias.
        alias: String,
    },

    /// A length, a name or a period is invalid.
    #[error("{}", Escaped(.0))]
    InvalidRequest(String),

    /// The passphrase of a backup has fewer than
    /// [`MIN_BACKUP_PASSPHRASE`](super::MIN_BACKUP_PASSPHRASE) characters.
    #[error("the passphrase of a backup must have at least {MIN_BACKUP_PASSPHRASE} characters")]
    ShortPassphrase,

    /// The ciphertext belongs to another key of the store than the requested one.
    #[error("the ciphertext was not encrypted under key {}", Escaped(.key_id))]
    IncorrectKey {
        /// The requested key.
        key_id: String,
    },

    /// The ciphertext cannot be decrypted: it was altered, or belongs to another encryption context
    /// or store.
    #[error("the ciphertext cannot be decrypted (altered, or from another encryption context or store)")]
    InvalidCiphertext,

    /// The directory contains no store.
    #[error("there is no key store in {}", shown(.path))]
    NoStore {
        /// The directory.
        path: PathBuf,
    },

    /// The directory contains a store already.
    #[error("there is already a key store in {}", shown(.path))]
    StoreExists {
        /// The directory.
        path: PathBuf,
    },

    /// The store is sealed under another kind of root than the given one.
    #[error("the key store in {} is sealed under {needed}, which is needed to open it", shown(.path))]
    RootNeeded {
        /// The directory.
        path: PathBuf,
        /// The kind of root that is needed.
        needed: &'static str,
    },

    /// The root key does not match the store: another key file, passphrase or keyring, or the
    /// file's header was altered.
    #[error(
        "wrong key file, passphrase or keyring for {} (or its header is damaged)",
        shown(.path)
    )]
    WrongRoot {
        /// The file.
        path: PathBuf,
    },

    /// A file of the store was altered, truncated, or replaced by an older copy.
    #[error("{} is damaged: {}; restore a backup", shown(.path), Escaped(.what))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file, as far as is known.
        what: String,
    },

    /// A record of a backup has an invalid field, or contradicts the store. Nothing of the backup was
    /// imported.
    #[error("{} cannot be imported: {}", shown(.path), Escaped(.what))]
    InvalidBackup {
        /// The backup.
        path: PathBuf,
        /// The record and what is wrong with it.
        what: String,
    },

    /// The store file is older than its audit log: it was replaced by an earlier copy, in which a
    /// disabled key may be enabled.
    #[error(
        "{} is older than its audit log: it has generation {generation}, and the log has generation {logged}; put the \
         newer file back, or, if you restored the older one yourself, move audit.log away",
        shown(.path)
    )]
    RolledBack {
        /// The file.
        path: PathBuf,
        /// The generation of the file.
        generation: u64,
        /// The last generation in the log.
        logged: u64,
    },

    /// A file in the directory of the store is a link, a pipe or the like, which the store has not
    /// created.
    #[error("{} is refused: {why}", shown(.path))]
    UnsafeFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },

    /// A store or a backup asks for a higher passphrase cost than is allowed. Nothing in it is
    /// authenticated yet.
    #[error("{} asks for a passphrase cost of {cost}, which exceeds the limit of {most}", shown(.path))]
    PassphraseCost {
        /// The file.
        path: PathBuf,
        /// The cost that the file asks for.
        cost: PassphraseCost,
        /// The limit.
        most: PassphraseCost,
    },

    /// The store was opened [read-only](super::LocalKmsBuilder::allow_read_only), and the operation
    /// would change it or must be logged.
    #[error("the key store in {} is read-only: it can decrypt and verify, but not encrypt or change", shown(.path))]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },

    /// Another process has replaced the root key of the store.
    #[error("another process has replaced the root key of the key store in {}; open it again", shown(.path))]
    RootChanged {
        /// The directory.
        path: PathBuf,
    },

    /// The lock timed out because another process held it.
    #[error("timed out waiting for {}, which another process has locked", shown(.path))]
    Busy {
        /// The lock file.
        path: PathBuf,
    },

    /// A file operation failed; the cause is the source.
    #[error("{action} {} failed", shown(.path))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operation that failed.
        action: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },

    /// The root keyring or a cryptographic operation failed.
    #[error("the root keyring or a cryptographic operation of the key store failed")]
    Crypto(#[from] Error),
}

/// A permission that other users have on a file of the store and should not, from
/// [`LocalKms::warnings`](super::LocalKms::warnings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreWarning {
    /// Others can write the directory or one of its files. In the directory they can replace the
    /// whole store.
    WritableByOthers {
        /// The directory or file.
        path: PathBuf,
    },
    /// The store is used [read-only](super::LocalKmsBuilder::allow_read_only), without a line in
    /// the audit log for each decryption.
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// Others can read the root key, and with it and the store every key.
    RootKeyReadableByOthers {
        /// The root key.
        path: PathBuf,
    },
}

impl StoreWarning {
    pub(super) fn readable(path: PathBuf) -> Self {
        Self::RootKeyReadableByOthers { path }
    }
}

impl fmt::Display for StoreWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WritableByOthers { path } => {
                write!(f, "other users can write {}; run `chmod go-w` on it", shown(path))
            }
            Self::ReadOnly { path } => {
                write!(f, "the key store in {} is read-only; its audit log does not record decryptions", shown(path))
            }
            Self::RootKeyReadableByOthers { path } => {
                write!(f, "other users can read the root key {}; run `chmod 600` on it", shown(path))
            }
        }
    }
}

/// Returns a path for an error text.
fn shown(path: &Path) -> String {
    Escaped(&path.display().to_string()).to_string()
}

impl LocalKmsError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    /// Returns the kind of failure, as all key management services classify it.
    #[must_use]
    pub fn kind(&self) -> KmsErrorKind {
        match self {
            Self::NotFound { .. } => KmsErrorKind::NotFound,
            Self::Disabled { .. } => KmsErrorKind::Disabled,
            Self::PendingDeletion { .. } | Self::InvalidState { .. } => KmsErrorKind::InvalidState,
            Self::AliasExists { .. } | Self::Ambiguous { .. } | Self::ShortPassphrase | Self::InvalidRequest(_) => {
                KmsErrorKind::InvalidRequest
            }
            Self::IncorrectKey { .. } => KmsErrorKind::IncorrectKey,
            Self::InvalidCiphertext => KmsErrorKind::InvalidCiphertext,
            Self::WrongRoot { .. } | Self::RootNeeded { .. } => KmsErrorKind::AccessDenied,
            Self::Busy { .. } => KmsErrorKind::TimedOut,
            _ => KmsErrorKind::Other,
        }
    }

    /// Returns one word for the audit log.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "NotFound",
            Self::Ambiguous { .. } => "Ambiguous",
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

    /// Converts the error for the interface of key management services.
    pub(super) fn of_operation(self, operation: KmsOperation, key_id: &str) -> KmsError {
        let error = KmsError::new(operation, self.kind()).key(key_id);
        match self {
            // The kind already says everything.
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
