//! Errors of key management services.

use std::fmt;

use super::KmsOperation;
use crate::{error::BoxError, text::Escaped};

/// An error of a key management service.
///
/// The text names the operation, the key and the kind of failure; the message of the service or the
/// network is the [source](std::error::Error::source). No text may contain a plaintext, a
/// ciphertext, a context value or a credential.
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

/// The kind of a [`KmsError`], as far as callers need to distinguish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KmsErrorKind {
    /// The key or alias does not exist.
    NotFound,
    /// The key is disabled.
    Disabled,
    /// The key is in a state in which it cannot be used, such as pending deletion.
    InvalidState,
    /// The caller may not perform this operation with this key, or could not be authenticated.
    AccessDenied,
    /// The ciphertext belongs to another key.
    IncorrectKey,
    /// The ciphertext cannot be decrypted: it was altered, or belongs to another encryption
    /// context.
    InvalidCiphertext,
    /// The request is invalid: a length, a name or a combination.
    InvalidRequest,
    /// The service limits the rate of requests.
    Throttled,
    /// The call timed out.
    TimedOut,
    /// The service could not be reached or is temporarily unavailable.
    Unavailable,
    /// The response does not fit the request, such as another key id or length.
    InvalidAnswer(&'static str),
    /// The service does not support this operation.
    Unsupported,
    /// Any other failure; the source describes it.
    Other,
}

impl fmt::Display for KmsErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the key does not exist",
            Self::Disabled => "the key is disabled",
            Self::InvalidState => "the key cannot be used in its current state",
            Self::AccessDenied => "access was denied",
            Self::IncorrectKey => "the ciphertext belongs to another key",
            Self::InvalidCiphertext => "the ciphertext cannot be decrypted (altered, or another encryption context)",
            Self::InvalidRequest => "the request is invalid",
            Self::Throttled => "too many requests",
            Self::TimedOut => "the call timed out",
            Self::Unavailable => "the service is unavailable",
            Self::InvalidAnswer(why) => return write!(f, "invalid response: {why}"),
            Self::Unsupported => "the service does not support this operation",
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
    /// Creates an error with this operation and kind.
    #[must_use]
    pub fn new(operation: KmsOperation, kind: KmsErrorKind) -> Self {
        Self { operation, key_id: None, kind, source: None }
    }

    /// Sets the key's id, ARN or alias, none of which are secret.
    #[must_use]
    pub fn key(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the operation that failed.
    #[must_use]
    pub fn operation(&self) -> KmsOperation {
        self.operation
    }

    /// Returns the kind of failure.
    #[must_use]
    pub fn kind(&self) -> KmsErrorKind {
        self.kind
    }

    /// Returns the key of the failed operation, if it is known.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }
}
