//! What a key management service can answer instead.

use std::fmt;

use super::KmsOperation;
use crate::{error::BoxError, text::Escaped};

/// A key management service refused or failed.
///
/// The text names the operation, the key and the kind of failure; what the service or the network said is the
/// [source](std::error::Error::source). No text may contain a plaintext, a ciphertext, a context value or a credential.
///
/// ```
/// use sealwax::keyring::{KmsError, KmsErrorKind, KmsOperation};
///
/// let error = KmsError::new(KmsOperation::Decrypt, KmsErrorKind::Disabled).key("alias/orders");
/// assert_eq!(error.to_string(), "Decrypt with key alias/orders failed: the key is disabled");
/// ```
#[derive(Debug, thiserror::Error)]
pub struct KmsError {
    operation: KmsOperation,
    key_id: Option<String>,
    kind: KmsErrorKind,
    #[source]
    source: Option<BoxError>,
}

/// What kind of failure it was, as far as a caller acts on it. [`KmsError`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KmsErrorKind {
    /// There is no such key or alias.
    NotFound,
    /// The key is disabled.
    Disabled,
    /// The key is in a state in which it cannot be used, such as waiting for its deletion.
    InvalidState,
    /// The caller may not do this with this key, or is not who it says.
    AccessDenied,
    /// The ciphertext belongs to another key than the one named.
    IncorrectKey,
    /// The ciphertext does not open: it was altered, or belongs to another encryption context.
    InvalidCiphertext,
    /// Something about the request cannot be: a length, a name, a combination.
    InvalidRequest,
    /// The service wants to be asked less often.
    Throttled,
    /// No answer came in time.
    TimedOut,
    /// The service could not be reached, or said that it cannot answer now.
    Unavailable,
    /// The answer is not one to the request: another key id, another length.
    InvalidAnswer(&'static str),
    /// The service does not have this operation.
    Unsupported,
    /// Anything else; the source says what.
    Other,
}

impl fmt::Display for KmsErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such key",
            Self::Disabled => "the key is disabled",
            Self::InvalidState => "the key cannot be used in its present state",
            Self::AccessDenied => "access was denied",
            Self::IncorrectKey => "the ciphertext belongs to another key",
            Self::InvalidCiphertext => "the ciphertext does not open (altered, or another encryption context)",
            Self::InvalidRequest => "the request was not accepted",
            Self::Throttled => "too many requests",
            Self::TimedOut => "no answer came in time",
            Self::Unavailable => "the service cannot be reached, or cannot answer now",
            Self::InvalidAnswer(why) => return write!(f, "the answer is not one to the request: {why}"),
            Self::Unsupported => "the service does not have this operation",
            Self::Other => "the service failed",
        })
    }
}

impl fmt::Display for KmsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, key_id, kind, .. } = self;
        match key_id {
            Some(key_id) => write!(f, "{operation} with key {} failed: {kind}", Escaped(key_id)),
            None => write!(f, "{operation} failed: {kind}"),
        }
    }
}

impl KmsError {
    /// An error of this operation and kind. The type has an example.
    #[must_use]
    pub fn new(operation: KmsOperation, kind: KmsErrorKind) -> Self {
        Self { operation, key_id: None, kind, source: None }
    }

    /// The same error, naming the key: an id, ARN or alias, which are no secrets. The type has an example.
    #[must_use]
    pub fn key(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// The same error with its cause.
    ///
    /// ```
    /// # use sealwax::keyring::{KmsError, KmsErrorKind, KmsOperation};
    /// let error = KmsError::new(KmsOperation::Encrypt, KmsErrorKind::Unavailable).caused_by("connection refused");
    /// assert!(std::error::Error::source(&error).is_some());
    /// ```
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The operation that failed.
    #[must_use]
    pub fn operation(&self) -> KmsOperation {
        self.operation
    }

    /// What kind of failure it was.
    ///
    /// ```
    /// # use sealwax::keyring::{KmsError, KmsErrorKind, KmsOperation};
    /// let error = KmsError::new(KmsOperation::Encrypt, KmsErrorKind::Throttled);
    /// assert_eq!(error.kind(), KmsErrorKind::Throttled);
    /// ```
    #[must_use]
    pub fn kind(&self) -> KmsErrorKind {
        self.kind
    }

    /// The key it was about, if the error names one.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }
}
