//! Conversion of the SDK's errors to this crate's: the kind follows from the service's error code,
//! and the text keeps only what is safe to show.
//!
//! The SDK's error itself is dropped. Its debug output contains the whole response, plaintext
//! included, and the service controls what that says.

use std::{error::Error, fmt, fmt::Write};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::{
    config::http::HttpResponse,
    error::{ConnectorError, ProvideErrorMetadata, SdkError},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sealwax::{
    EncryptionContext, Escaped,
    keyring::{KmsError, KmsErrorKind, KmsOperation},
};
use zeroize::Zeroizing;

/// A request of AWS KMS, as far as errors name it or must not repeat it.
pub(super) struct Asked<'a> {
    operation: KmsOperation,
    key_id: &'a str,
    private: Private<'a>,
}

/// The parts of a request that errors must not repeat.
#[derive(Default)]
pub(super) struct Private<'a> {
    values: Vec<&'a str>,
    sent: Vec<&'a [u8]>,
}

/// An error of the SDK: its kind, and a text that is safe to show.
pub(super) struct Explained {
    pub(super) kind: KmsErrorKind,
    pub(super) cause: Option<Cause>,
}

impl Explained {
    fn new(kind: KmsErrorKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: Some(Cause(cause.into())) }
    }
}

/// Shorter values occur in texts by chance, so that finding one proves nothing.
const SHORTEST_VALUE: usize = 3;

/// The longest text from outside that is shown, in characters.
const MAX_TEXT: usize = 500;

impl<'a> Asked<'a> {
    pub(super) fn new(operation: KmsOperation, key_id: &'a str) -> Self {
        Self { operation, key_id, private: Private::default() }
    }

    /// Adds an encryption context of the request.
    pub(super) fn context(mut self, context: &'a EncryptionContext) -> Self {
        context.iter().for_each(|(_, value)| self.private.hide(value));
        self
    }

    /// Adds a plaintext or ciphertext of the request.
    pub(super) fn sent(mut self, sent: &'a [u8]) -> Self {
        self.private.hide_bytes(sent);
        self
    }

    pub(super) fn failed(&self, kind: KmsErrorKind) -> KmsError {
        KmsError::new(self.operation, kind).key(self.key_id)
    }

    /// Returns a part of the response that must be present.
    pub(super) fn present<T>(&self, part: Option<T>, otherwise: &'static str) -> Result<T, KmsError> {
        part.ok_or_else(|| self.failed(KmsErrorKind::InvalidAnswer(otherwise)))
    }

    /// Converts an error of the SDK.
    pub(super) fn refused<E>(&self, error: SdkError<E, HttpResponse>) -> KmsError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let Explained { kind, cause } = self.private.explain(&error);
        match cause {
            Some(cause) => self.failed(kind).caused_by(cause),
            None => self.failed(kind),
        }
    }
}

impl<'a> Private<'a> {
    pub(super) fn hide(&mut self, value: &'a str) {
        self.values.push(value);
    }

    pub(super) fn hide_bytes(&mut self, sent: &'a [u8]) {
        self.sent.push(sent);
    }

    /// Explains an error of the SDK.
    pub(super) fn explain<E>(&self, error: &SdkError<E, HttpResponse>) -> Explained
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::TimeoutError(_) => Explained::new(KmsErrorKind::TimedOut, "the configured timeout elapsed"),
            SdkError::DispatchFailure(failure) => {
                let kind = match causes(error).find_map(|cause| cause.downcast_ref()) {
                    Some(CredentialsError::ProviderTimedOut(_)) => KmsErrorKind::TimedOut,
                    // The credentials provider failed, so the call would be anonymous.
                    Some(_) => KmsErrorKind::AccessDenied,
                    None if failure.is_timeout() => KmsErrorKind::TimedOut,
                    None => KmsErrorKind::Unavailable,
                };
                Explained::new(kind, self.chain(error))
            }
            SdkError::ConstructionFailure(_) => Explained::new(KmsErrorKind::InvalidRequest, self.chain(error)),
            SdkError::ResponseError(failure) => unreadable(error, failure.raw()),
            SdkError::ServiceError(answer) => self.answered(answer.err(), answer.raw()),
            _ => Explained { kind: KmsErrorKind::Other, cause: None },
        }
    }

    /// Converts an error response of the service.
    fn answered(&self, error: &impl ProvideErrorMetadata, answer: &HttpResponse) -> Explained {
        let Some(code) = error.code() else {
            let kind = kind_of_status(answer.status().as_u16());
            return Explained::new(kind, format!("a response without an error code ({})", status(answer)));
        };
        let kind = kind_of_code(code).unwrap_or_else(|| kind_of_status(answer.status().as_u16()));
        let message = error.message().unwrap_or_default();
        let mut text =
            if is_name(code) && self.may_show(code) { code.to_owned() } else { "an unknown error".to_owned() };
        match hint(code, message) {
            Some(hint) => {
                let _ = write!(text, ": {hint}");
            }
            None if !message.is_empty() && !is_about_signatures(code) && self.may_show(message) => {
                let _ = write!(text, ": {}", Escaped(&shorten(message)));
            }
            None => {}
        }
        let _ = write!(text, " ({}", status(answer));
        if let Some(id) = answer.headers().get("x-amzn-requestid").filter(|id| is_name(id) && self.may_show(id)) {
            let _ = write!(text, ", request {id}");
        }
        Explained::new(kind, text + ")")
    }

    /// Joins the texts of the causes, skipping the SDK's own layers, which add nothing.
    fn chain(&self, error: &(dyn Error + 'static)) -> String {
        let texts: Vec<_> =
            causes(error).skip(1).filter(|cause| !cause.is::<ConnectorError>()).map(ToString::to_string).collect();
        let text = texts.join(": ");
        if self.may_show(&text) {
            Escaped(&shorten(&text)).to_string()
        } else {
            "(withheld: it repeats parts of the request)".to_owned()
        }
    }

    /// Returns whether a text from outside repeats nothing from the request that must not be
    /// printed.
    fn may_show(&self, text: &str) -> bool {
        // These headers contain credentials.
        let lower = text.to_ascii_lowercase();
        if lower.contains("security-token") || lower.contains("authorization:") {
            return false;
        }
        // Quoting JSON keeps its backslashes and may add more.
        let bare = |text: &str| text.replace('\\', "");
        let text = bare(text);
        if self.values.iter().any(|value| value.len() >= SHORTEST_VALUE && text.contains(&bare(value))) {
            return false;
        }
        self.sent.iter().all(|sent| {
            let sent = Zeroizing::new(BASE64_STANDARD.encode(sent));
            sent.is_empty() || !text.contains(&**sent)
        })
    }
}

/// Explains an error for a response that was cut off or is too long.
fn unreadable(error: &(dyn Error + 'static), answer: &HttpResponse) -> Explained {
    if causes(error).any(|cause| cause.is::<http_body_util::LengthLimitError>()) {
        return Explained::new(KmsErrorKind::InvalidAnswer("it is longer than any valid response"), status(answer));
    }
    Explained::new(KmsErrorKind::Unavailable, format!("the response was cut off ({})", status(answer)))
}

/// Iterates over an error and its causes.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The text of an error from the SDK or the network.
#[derive(Debug)]
pub(super) struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Cause {}

fn kind_of_code(code: &str) -> Option<KmsErrorKind> {
    // AWS services write some of these codes with and some without the suffix.
    Some(match code.strip_suffix("Exception").unwrap_or(code) {
        "NotFound" | "ResourceNotFound" => KmsErrorKind::NotFound,
        "Disabled" => KmsErrorKind::Disabled,
        "KMSInvalidState" => KmsErrorKind::InvalidState,
        "IncorrectKey" => KmsErrorKind::IncorrectKey,
        "InvalidCiphertext" => KmsErrorKind::InvalidCiphertext,
        "AccessDenied" | "NotAuthorized" | "OptInRequired" | "AuthFailure" => KmsErrorKind::AccessDenied,
        "ExpiredToken" | "TokenRefreshRequired" | "UnrecognizedClient" | "InvalidClientTokenId" => {
            KmsErrorKind::AccessDenied
        }
        "MissingAuthenticationToken" | "IncompleteSignature" | "InvalidSignature" | "SignatureDoesNotMatch" => {
            KmsErrorKind::AccessDenied
        }
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => KmsErrorKind::AccessDenied,
        "Throttling"
        | "Throttled"
        | "RequestThrottled"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "ProvisionedThroughputExceeded"
        | "LimitExceeded" => KmsErrorKind::Throttled,
        "DependencyTimeout" | "RequestTimeout" => KmsErrorKind::TimedOut,
        "KeyUnavailable"
        | "KMSInternal"
        | "InternalFailure"
        | "InternalError"
        | "InternalServerError"
        | "ServiceUnavailable" => KmsErrorKind::Unavailable,
        "InvalidKeyUsage" | "InvalidGrantToken" | "InvalidArn" | "Validation" | "ValidationError" | "Serialization" => {
            KmsErrorKind::InvalidRequest
        }
        "UnsupportedOperation" | "UnknownOperation" | "InvalidAction" => KmsErrorKind::Unsupported,
        _ => return None,
    })
}

fn kind_of_status(status: u16) -> KmsErrorKind {
    match status {
        200..300 => KmsErrorKind::InvalidAnswer("it cannot be read"),
        401 | 403 => KmsErrorKind::AccessDenied,
        408 => KmsErrorKind::TimedOut,
        429 => KmsErrorKind::Throttled,
        500.. => KmsErrorKind::Unavailable,
        _ => KmsErrorKind::Other,
    }
}

/// Returns a hint, where the service's own text does not help or must not be shown.
fn hint(code: &str, message: &str) -> Option<&'static str> {
    match code.strip_suffix("Exception").unwrap_or(code) {
        "ExpiredToken" | "TokenRefreshRequired" => Some("the credentials have expired"),
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => Some(CLOCK),
        "InvalidSignature" | "SignatureDoesNotMatch"
            if ["Signature expired", "Signature not yet current"].iter().any(|start| message.starts_with(start)) =>
        {
            Some(CLOCK)
        }
        "InvalidSignature" | "SignatureDoesNotMatch" => Some("the secret key does not belong to the access key"),
        _ => None,
    }
}

const CLOCK: &str = "the clock of this machine differs from the service's";

/// Returns whether an error is about signatures: the messages of such errors repeat headers of the
/// request, including the session token.
fn is_about_signatures(code: &str) -> bool {
    code.contains("Signature") || code.contains("Authentication")
}

/// Returns whether a text has only the characters of a code or an id.
fn is_name(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn shorten(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_TEXT).collect()
}

fn status(answer: &HttpResponse) -> String {
    format!("HTTP {}", answer.status().as_u16())
}
