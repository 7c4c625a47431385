//! Errors of the endpoint, in the form and the words of AWS.

use crate::LocalKmsError;

pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

/// An error that a client sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// The name of the exception, such as `NotFoundException`.
    pub(crate) code: &'static str,
    /// AWS answers some errors without a message, and clients can tell.
    pub(crate) message: Option<String>,
    pub(crate) status: u16,
}

impl ApiError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()), status: 400 }
    }

    /// Returns an error without a message.
    pub(crate) fn bare(code: &'static str) -> Self {
        Self { code, message: None, status: 400 }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new("NotFoundException", message)
    }

    pub(crate) fn invalid_state(message: impl Into<String>) -> Self {
        Self::new("KMSInvalidStateException", message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new("UnsupportedOperationException", message)
    }

    pub(crate) fn malformed_policy(message: impl Into<String>) -> Self {
        Self::new("MalformedPolicyDocumentException", message)
    }

    /// Returns an error of the endpoint itself, which the client can retry.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self { status: 500, ..Self::new("KMSInternalException", message) }
    }

    /// Returns an internal error for a failed step, with its cause.
    pub(crate) fn failed<E: std::fmt::Display>(step: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::internal(format!("{step} failed: {error}"))
    }
}

impl From<LocalKmsError> for ApiError {
    fn from(error: LocalKmsError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<sealwax::Error> for ApiError {
    fn from(error: sealwax::Error) -> Self {
        Self::internal(format!("a cryptographic operation failed: {error}"))
    }
}
