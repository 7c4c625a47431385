//! How the tool fails: one line on standard error, and an exit code that says of what kind it was.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use sealwax::{Direction, Error, LimitError};

use crate::text::escape;

/// Why the tool gives up.
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// The command line, or something it names, cannot be used.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }

    /// A file is there already, and is not replaced.
    pub(crate) fn exists(text: impl Into<String>) -> Self {
        Self { code: 6, text: text.into() }
    }

    /// What went wrong with a file or stream of this name.
    pub(crate) fn about(name: &str, error: impl Into<Error>) -> Self {
        let mut failure = Self::from(error.into());
        failure.text.insert_str(0, &format!("{name}: "));
        failure
    }

    /// Prints the line, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        // Where even standard error is gone there is nobody left to tell.
        let _ = writeln!(io::stderr(), "sealwax: {}", escape(&self.text));
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Io(inner) if inner.kind() == io::ErrorKind::AlreadyExists => 6,
            Error::Configuration(_) => 2,
            Error::Format(_) | Error::Integrity | Error::Context(_) => 3,
            Error::NotUnwrapped(_) | Error::Keyring { .. } => 4,
            Error::Limit(_) | Error::Commitment { .. } | Error::SignedStream => 5,
            _ => 1,
        };
        let mut text = error.to_string();
        // A kind without a message of the system says nothing that the text does not say.
        let says_it_all =
            matches!(&error, Error::Io(inner) if inner.raw_os_error().is_none() && inner.get_ref().is_none());
        let mut cause = std::error::Error::source(&error).filter(|_| !says_it_all);
        while let Some(inner) = cause {
            let _ = write!(text, ": {inner}");
            cause = inner.source();
        }
        if let Some(hint) = hint(&error) {
            let _ = write!(text, " ({hint})");
        }
        Self { code, text }
    }
}

/// The flag that would change the outcome, if there is one.
fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Commitment { operation: Direction::Decrypt, .. } => {
            Some("--commitment-policy require-encrypt-allow-decrypt")
        }
        Error::Commitment { suite, .. } if suite.is_committing() => {
            Some("--suite, or --commitment-policy require-encrypt-allow-decrypt")
        }
        Error::Commitment { .. } => Some("--suite, or --commitment-policy forbid-encrypt-allow-decrypt"),
        Error::Limit(LimitError::EncryptedDataKeys { .. }) => Some("--max-encrypted-data-keys"),
        Error::Limit(LimitError::HeaderLength { .. }) => Some("--max-header-length"),
        Error::Limit(LimitError::FrameLength { .. }) => Some("--max-frame-length"),
        Error::PlaintextTooLong { .. } => Some("--frame-length"),
        Error::Io(inner) if inner.kind() == io::ErrorKind::AlreadyExists => Some("--force replaces it"),
        _ => None,
    }
}
