//! Conversion of errors.

use std::io;

use super::super::object_store::{Error, path::Path};

/// The name of this store in errors.
const STORE: &str = "sealwax";

/// Converts an error of the library. An error of the inner store that passed through the library
/// comes out as it was.
pub(super) fn from_sealwax(error: sealwax::Error) -> Error {
    if !matches!(error, sealwax::Error::Io(_)) {
        return Error::Generic { store: STORE, source: error.into() };
    }
    match io::Error::from(error).downcast::<Error>() {
        Ok(inner) => inner,
        Err(error) => Error::Generic { store: STORE, source: sealwax::Error::from(error).into() },
    }
}

/// Converts an error of reading an object of the Amazon S3 Encryption Client.
#[cfg(feature = "s3ec")]
pub(super) fn from_s3ec(error: crate::S3EncryptionError) -> Error {
    Error::Generic { store: STORE, source: error.into() }
}

/// Returns the error for an object that was replaced between two requests.
pub(super) fn changed(location: &Path) -> Error {
    Error::Precondition { path: location.to_string(), source: "the object was replaced while it was read".into() }
}

/// Returns the error for a store that does not answer what it was asked.
pub(super) fn misbehaved(what: &'static str) -> Error {
    from_sealwax(io::Error::new(io::ErrorKind::InvalidData, what).into())
}

/// Returns the error for a range that the object does not have.
pub(super) fn invalid_range(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: STORE, source: error.into() }
}

/// Returns whether this is the error for a failed `if_match` or the like.
pub(super) fn is_precondition(error: &Error) -> bool {
    matches!(error, Error::Precondition { .. })
}
