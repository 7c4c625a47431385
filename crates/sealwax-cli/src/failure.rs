//! Failures of the tool: one line on standard error, and an exit code for each kind.

use std::{error::Error as _, fmt::Write as _, io, process::ExitCode};

use sealwax::{
    ContextError, Direction, Error, Escaped, LimitError, UnwrapFailure, UnwrapReason,
    keyring::{KmsError, KmsErrorKind},
};
use sealwax_kms::LocalKmsError;
use serde::Serialize;

use crate::{json::Json, notes};

/// The exit code if `--check` finds an output missing or different.
const TO_DO: u8 = 7;

/// The reason why the tool fails.
#[derive(Serialize)]
pub(crate) struct Failure {
    error: String,
    pub(crate) code: u8,
    /// The keys that were tried, if none of them opened the message.
    attempts: Vec<Attempt>,
    /// Whether every remaining file would fail the same way.
    #[serde(skip)]
    stops_all: bool,
    /// Whether the failure is that the file for JSON cannot be used.
    #[serde(skip)]
    not_as_json: bool,
}

#[derive(Serialize)]
struct Attempt {
    keyring: String,
    /// The index of the encrypted data key; `None` if no key matched.
    encrypted_data_key: Option<usize>,
    reason: String,
}

impl Failure {
    /// Returns a failure with this exit code.
    pub(crate) fn new(code: u8, error: String) -> Self {
        Self { error, code, attempts: Vec::new(), stops_all: false, not_as_json: false }
    }

    /// Returns the failure for a command line, or something it names, that cannot be used.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(2, text.into())
    }

    /// Returns the failure for something outside the tool.
    pub(crate) fn other(text: impl Into<String>) -> Self {
        Self::new(1, text.into())
    }

    /// Returns the failure for a message whose content cannot be used.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::new(3, text.into())
    }

    /// Returns the failure for an error and its causes, with this exit code.
    pub(crate) fn of(code: u8, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        append_causes(&mut text, error.source());
        if let Some(hint) = store_hint(error) {
            let _ = write!(text, " ({hint})");
        }
        Self::new(code, text)
    }

    /// Returns the failure for a file that exists and is not replaced.
    pub(crate) fn exists(text: impl Into<String>) -> Self {
        Self::new(6, text.into())
    }

    /// Returns the failure for an output that `--check` finds missing or different.
    pub(crate) fn to_do(text: impl Into<String>) -> Self {
        Self::new(TO_DO, text.into())
    }

    /// Returns whether the failure is that of an output that is missing or different.
    pub(crate) fn is_to_do(&self) -> bool {
        self.code == TO_DO
    }

    /// Returns the failure for an error on the file or stream of this name.
    pub(crate) fn about(name: &str, error: impl Into<Error>) -> Self {
        Self::from(error.into()).prefixed(name)
    }

    /// Returns the failure for an error of an encryption, which has no options for limits.
    pub(crate) fn of_encryption(error: Error) -> Self {
        let fix = match &error {
            Error::Limit(LimitError::EncryptedDataKeys { .. }) => "use fewer keys",
            Error::Limit(LimitError::HeaderLength { .. }) => "use fewer keys, or less context",
            Error::Limit(LimitError::FrameLength { .. }) => "use a smaller --frame-length",
            _ => return error.into(),
        };
        Self::new(5, format!("{error}; {fix}"))
    }

    /// Returns the summary of several failures, with the exit code that they share, if any.
    fn of_many(text: impl Into<String>, code: Option<u8>) -> Self {
        Self::new(code.unwrap_or(1), text.into())
    }

    /// Returns a failure that has been reported already and only determines the exit code.
    pub(crate) fn said(code: Option<u8>) -> Self {
        Self::new(code.unwrap_or(1), String::new())
    }

    /// Returns whether every remaining file would fail the same way.
    pub(crate) fn stops_all(&self) -> bool {
        self.stops_all
    }

    /// Returns the failure as one that every remaining file would have.
    pub(crate) fn for_all(self) -> Self {
        Self { stops_all: true, ..self }
    }

    /// Returns the failure as one that must not be printed as JSON, because that would go into a
    /// file that is used otherwise.
    pub(crate) fn not_as_json(self) -> Self {
        Self { not_as_json: true, ..self }
    }

    /// Returns the failure with the name of its subject in front.
    pub(crate) fn prefixed(mut self, name: &str) -> Self {
        self.error.insert_str(0, &format!("{name}: "));
        self
    }

    /// Returns the failure with a hint at the end.
    pub(crate) fn hinted(mut self, hint: &str) -> Self {
        let _ = write!(self.error, " ({hint})");
        self
    }

    /// Prints the failure, and returns the exit code.
    pub(crate) fn report(self, json: Option<&Json>) -> ExitCode {
        self.say(json);
        ExitCode::from(self.code)
    }

    /// Prints the failure, on standard error or as JSON.
    pub(crate) fn say(&self, json: Option<&Json>) {
        if self.error.is_empty() {
            return;
        }
        let printed = !self.not_as_json && json.is_some_and(|json| json.print(self).is_ok());
        // A failure is never lost because standard output is closed.
        if !printed {
            notes::say_failure(Escaped(&self.error));
        }
    }

    /// Returns the text of the failure.
    pub(crate) fn line(&self) -> String {
        Escaped(&self.error).to_string()
    }
}

/// The exit code of several failures, if they share one.
#[derive(Clone, Copy, Default)]
pub(crate) struct SharedCode(Option<Option<u8>>);

impl SharedCode {
    pub(crate) fn add(&mut self, failure: &Failure) {
        self.0 = match self.0 {
            None => Some(Some(failure.code)),
            Some(code) => Some(code.filter(|code| *code == failure.code)),
        };
    }

    /// Fails with this summary if there was a failure. If the summary is said already, the failure
    /// only determines the exit code.
    pub(crate) fn outcome(self, summary: &str, is_said: bool) -> Result<(), Failure> {
        match self.0 {
            None => Ok(()),
            Some(code) if is_said => Err(Failure::said(code)),
            Some(code) => Err(Failure::of_many(summary, code)),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Io(inner) if inner.kind() == io::ErrorKind::AlreadyExists => 6,
            Error::Configuration(_) => 2,
            // These are about the context that the command line gives.
            Error::Context(
                ContextError::WouldBeStored
                | ContextError::ReservedPrefix
                | ContextError::Empty
                | ContextError::TooLong { .. }
                | ContextError::RequiredMissing,
            ) => 2,
            Error::Format(_) | Error::Integrity | Error::Context(_) | Error::SourceChanged => 3,
            Error::NotUnwrapped(_) | Error::Keyring { .. } => 4,
            Error::Limit(_) | Error::Commitment { .. } | Error::SignedStream | Error::Unframed => 5,
            _ => 1,
        };
        let attempts = match &error {
            Error::NotUnwrapped(failure) => attempts(failure),
            _ => Vec::new(),
        };
        // An I/O error kind without a message from the system adds nothing to the text. The causes
        // of failed attempts are reported with the attempts.
        let is_complete = match &error {
            Error::Io(inner) => inner.raw_os_error().is_none() && inner.get_ref().is_none(),
            Error::NotUnwrapped(_) => true,
            _ => false,
        };
        let mut text = if attempts.is_empty() { error.to_string() } else { describe(&attempts) };
        append_causes(&mut text, error.source().filter(|_| !is_complete));
        if let Some(hint) = hint(&error) {
            let _ = write!(text, " ({hint})");
        }
        let store_hint = match &error {
            Error::NotUnwrapped(failure) => failure.attempts().iter().find_map(|attempt| match &attempt.reason {
                UnwrapReason::Failed(cause) => store_hint(&**cause),
                _ => None,
            }),
            error => store_hint(error),
        };
        if let Some(hint) = store_hint {
            let _ = write!(text, " ({hint})");
        }
        Self { attempts, stops_all: stops_all(&error), ..Self::new(code, text) }
    }
}

/// Returns whether no other file could be written either.
fn stops_all(error: &Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};

    matches!(error, Error::Io(inner) if matches!(inner.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem))
}

fn append_causes(text: &mut String, mut cause: Option<&(dyn std::error::Error + 'static)>) {
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
}

fn attempts(failure: &UnwrapFailure) -> Vec<Attempt> {
    let attempt = |attempt: &sealwax::UnwrapAttempt| {
        let mut reason = attempt.reason.to_string();
        if let UnwrapReason::Failed(cause) = &attempt.reason {
            append_causes(&mut reason, Some(&**cause));
        }
        let (keyring, encrypted_data_key) = (attempt.keyring.to_string(), attempt.encrypted_data_key);
        Attempt { keyring, encrypted_data_key, reason }
    };
    failure.attempts().iter().map(attempt).collect()
}

fn describe(attempts: &[Attempt]) -> String {
    let mut text = "no keyring could unwrap the data key".to_owned();
    for (position, Attempt { keyring, encrypted_data_key, reason }) in attempts.iter().enumerate() {
        let _ = write!(text, "{}{keyring}: ", if position == 0 { ": " } else { "; " });
        if let Some(index) = encrypted_data_key {
            let _ = write!(text, "encrypted data key {index}: ");
        }
        text.push_str(reason);
    }
    text
}

/// Returns the command that would make a key of the key store usable, if that is what an error or one
/// of its causes needs.
fn store_hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let enable = |key: &str| format!("run `sealwax keys enable {}`", Escaped(key));
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<LocalKmsError>() {
            Some(LocalKmsError::Disabled { key_id }) => return Some(enable(key_id)),
            Some(LocalKmsError::PendingDeletion { key_id, .. }) => {
                return Some(format!("run `sealwax keys cancel-delete {0}` to keep the key", Escaped(key_id)));
            }
            Some(LocalKmsError::NotFound { .. }) => return Some("`sealwax keys list` shows all keys".to_owned()),
            Some(LocalKmsError::ShortPassphrase) => {
                return Some("use --allow-short-passphrase to accept it".to_owned());
            }
            Some(LocalKmsError::Ambiguous { .. }) => return Some("give more of the id".to_owned()),
            Some(LocalKmsError::PassphraseCost { cost, .. }) => {
                let (mib, passes, lanes) = (cost.memory_kib.div_ceil(1024), cost.passes, cost.lanes);
                return Some(format!("use --max-passphrase-cost {mib},{passes},{lanes} to allow it"));
            }
            Some(LocalKmsError::AliasExists { .. }) => return Some("use `sealwax keys alias update`".to_owned()),
            _ => {}
        }
        // The keyring of the store reports a disabled key as any key service does.
        match error.downcast_ref::<KmsError>() {
            Some(error) if error.kind() == KmsErrorKind::Disabled && error.source().is_none() => {
                return error.key_id().filter(|key_id| key_id.starts_with("local:")).map(enable);
            }
            _ => {}
        }
        next = error.source();
    }
    None
}

/// Returns the flag that would change the outcome, if there is one.
fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Commitment { operation: Direction::Decrypt, .. } => {
            Some("use --commitment-policy require-encrypt-allow-decrypt to read it")
        }
        Error::Commitment { suite, .. } if suite.is_committing() => {
            Some("use another --suite, or --commitment-policy require-encrypt-allow-decrypt")
        }
        Error::Commitment { .. } => Some("use another --suite, or --commitment-policy forbid-encrypt-allow-decrypt"),
        Error::Context(ContextError::WouldBeStored) => {
            Some("use --require-context KEY to keep it out, or --context or --no-context to replace the context")
        }
        Error::Context(ContextError::RequiredMissing) => Some("use --context KEY=VALUE for each --require-context KEY"),
        Error::Limit(LimitError::EncryptedDataKeys { .. }) => Some("use --max-encrypted-data-keys to allow more"),
        Error::Limit(LimitError::HeaderLength { .. }) => Some("use --max-header-length to allow more"),
        Error::Limit(LimitError::FrameLength { .. }) => Some("use --max-frame-length to allow more"),
        Error::PlaintextTooLong { declared: false, .. } => Some("use a larger --frame-length"),
        Error::Io(inner) if inner.kind() == io::ErrorKind::AlreadyExists => Some("use --force to replace it"),
        _ => None,
    }
}
