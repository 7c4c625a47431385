//! One error for all callers that waited for the same call.

use std::{error, fmt, io, sync::Arc};

use crate::error::{Error, UnwrapFailure, UnwrapReason};

/// Returns the error itself if nobody else holds it; otherwise one of the same kind, with the
/// original among its sources.
pub(super) fn own(shared: Arc<Error>) -> Error {
    Arc::try_unwrap(shared).unwrap_or_else(|shared| copy(&shared))
}

fn copy(shared: &Arc<Error>) -> Error {
    match &**shared {
        Error::Format(error) => error.clone().into(),
        Error::Limit(error) => error.clone().into(),
        Error::Integrity => Error::Integrity,
        &Error::Commitment { suite, policy, operation } => Error::Commitment { suite, policy, operation },
        Error::Context(error) => error.clone().into(),
        Error::NotUnwrapped(failure) => {
            let mut copied = UnwrapFailure::default();
            for attempt in failure.attempts() {
                let reason = match attempt.reason {
                    UnwrapReason::NoMatch => UnwrapReason::NoMatch,
                    UnwrapReason::NotAuthentic => UnwrapReason::NotAuthentic,
                    UnwrapReason::Failed(_) => UnwrapReason::Failed(SharedCause(shared.clone()).into()),
                };
                copied.add(attempt.keyring.clone(), attempt.encrypted_data_key, reason);
            }
            copied.into()
        }
        Error::Keyring { keyring, .. } => Error::keyring(keyring.clone(), SharedCause(shared.clone())),
        Error::Materials(why) => Error::Materials(why),
        Error::Configuration(why) => Error::Configuration(why.clone()),
        Error::Provider(why) => Error::Provider(why),
        Error::Io(error) => Error::Io(io::Error::new(error.kind(), SharedCause(shared.clone()))),
        // Managers do not return these errors, nor any that are added later.
        _ => Error::Io(io::Error::other(SharedCause(shared.clone()))),
    }
}

/// A cause that several errors share; the original is its source.
#[derive(Debug)]
struct SharedCause(Arc<Error>);

impl fmt::Display for SharedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a concurrent request for the same data key failed")
    }
}

impl error::Error for SharedCause {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        // The errors copied above have the same text as the shared one, which would repeat it; skip
        // to its source.
        match &*self.0 {
            error @ (Error::NotUnwrapped(_) | Error::Keyring { .. } | Error::Io(_)) => error::Error::source(error),
            error => Some(error),
        }
    }
}
