//! Error types.
//!
//! Errors in bytes that were read before any key was used are described in detail
//! ([`FormatError`]). Once a key is in use, every failure is reported as [`Error::Integrity`],
//! whichever check failed, so that an attacker who can observe errors learns nothing from them. No
//! error text contains a key, a plaintext or an encryption context.

use std::{fmt, io, ops::Deref, sync::Arc};

use crate::{
    suite::{AlgorithmSuite, CommitmentPolicy},
    text::Escaped,
};

/// The result type of the operations in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of a failure outside this crate.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The cause of an [`Error`](enum@Error), which all clones of the error share.
pub type Cause = Shared<dyn std::error::Error + Send + Sync>;

/// A value that clones share. It dereferences to the value.
///
/// Errors hold their causes in it, so that they can be cloned: for example to report one failure of
/// a key service to every caller that waited for it. Anything that converts into a [`BoxError`]
/// converts into a [`Cause`].
///
/// ```
/// use sealwax::Cause;
///
/// let cause = Cause::from("the session was closed");
/// assert_eq!(cause.clone().to_string(), "the session was closed");
/// ```
pub struct Shared<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Display + ?Sized> fmt::Display for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: Into<BoxError>> From<E> for Cause {
    fn from(cause: E) -> Self {
        Self(cause.into().into())
    }
}

impl<E: Into<io::Error>> From<E> for Shared<io::Error> {
    fn from(error: E) -> Self {
        Self(Arc::new(error.into()))
    }
}

impl Shared<io::Error> {
    /// Returns the error itself if nothing shares it; otherwise one of the same kind with the same
    /// text.
    fn into_io(self) -> io::Error {
        Arc::try_unwrap(self.0).unwrap_or_else(|shared| match shared.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(shared.kind(), SharedIo(shared)),
        })
    }
}

/// An I/O error that several errors share, as the inner error of another one.
#[derive(Debug)]
struct SharedIo(Arc<io::Error>);

impl fmt::Display for SharedIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SharedIo {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// The reason an operation failed.
///
/// External causes, such as an error of a service or of the operating system, are available from
/// [`source`](std::error::Error::source) and are not repeated in the error text.
///
/// ```
/// use sealwax::{Client, Error, FormatError, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![0; 32])?;
/// let refused = Client::new().decrypt(&keyring).bytes(b"no message at all").wait();
/// assert!(matches!(refused, Err(Error::Format(FormatError::Version(b'n')))));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input is not a well-formed message.
    #[error(transparent)]
    Format(#[from] FormatError),

    /// The message is well-formed but exceeds a limit of the client.
    #[error(transparent)]
    Limit(#[from] LimitError),

    /// A wrapped key, header tag, key commitment, frame tag or signature did not verify. The
    /// message was altered or damaged, or was encrypted with another key.
    #[error("the message is not authentic: it was altered, damaged, or encrypted with another key")]
    Integrity,

    /// The client's commitment policy does not allow the algorithm suite.
    #[error(
        "a message with algorithm suite {suite} cannot be {operation} under commitment policy {policy}; {}",
        commitment_hint(*.operation, *.suite)
    )]
    Commitment {
        /// The suite that was requested, or that the message has.
        suite: AlgorithmSuite,
        /// The commitment policy of the client.
        policy: CommitmentPolicy,
        /// Whether a message was being written or read.
        operation: Direction,
    },

    /// The encryption context is invalid or is not the expected one.
    #[error(transparent)]
    Context(#[from] ContextError),

    /// No keyring could unwrap any encrypted data key.
    #[error(transparent)]
    NotUnwrapped(#[from] UnwrapFailure),

    /// A keyring failed while a message was being written.
    #[error("keyring {} failed", Escaped(.keyring))]
    Keyring {
        /// The label of the keyring, such as `raw-aes://namespace/name`.
        keyring: String,
        /// The underlying cause.
        source: Cause,
    },

    /// A keyring or materials manager returned invalid materials.
    #[error("invalid cryptographic materials: {0}")]
    Materials(&'static str),

    /// The configuration is invalid.
    #[error("{0}")]
    Configuration(String),

    /// The message is signed, and the call would release plaintext before the signature is
    /// verified.
    #[error(
        "the message is signed, and streaming it would release plaintext before the signature is verified; open it with \
         `open_at` or `open_remote` and `verify` it, decrypt it in memory or into a file, or encrypt with `unsigned` \
         (`release_unverified` accepts the risk)"
    )]
    SignedStream,

    /// The message is not framed, so a range of it cannot be decrypted on its own.
    #[error("the message is not framed, so a range of it cannot be decrypted; decrypt the whole message")]
    Unframed,

    /// The source is not seekable, for example because it is a pipe, a socket or a terminal, so it
    /// can be read neither twice nor at an offset.
    #[error(
        "the source is not seekable, so it cannot be read twice; decrypt it with a copy, which spools the ciphertext to a \
         temporary file until it is verified, or call `release_unverified` first"
    )]
    NotSeekable(#[source] Shared<io::Error>),

    /// The source changed after it was verified. Nothing from the part that changed was released.
    #[error("the source changed after it was verified; decrypt it again")]
    SourceChanged,

    /// The plaintext is longer than the message allows.
    #[error("the plaintext is longer than {limit} bytes, {}", bound_reason(*.declared))]
    PlaintextTooLong {
        /// The maximum length of the plaintext in bytes.
        limit: u64,
        /// Whether the caller declared the limit. Otherwise it follows from the frame length.
        declared: bool,
    },

    /// The random number generator or another primitive of the crypto provider failed.
    #[error("the crypto provider failed: {0}")]
    Provider(&'static str),

    /// `wait` was called inside an async runtime for an operation that was not immediately ready.
    #[error("`wait` would block an async runtime; await the operation, or pass its future to the runtime's `block_on`")]
    WouldBlockRuntime,

    /// The stream has already ended, or an earlier error ended it.
    #[error("the stream has already ended or failed")]
    Ended,

    /// An I/O operation failed.
    #[error("{}", io_context(.0))]
    Io(#[source] Shared<io::Error>),
}

/// The direction of an operation on a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The message is written.
    Encrypt,
    /// The message is read.
    Decrypt,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encrypt => "written",
            Self::Decrypt => "read",
        })
    }
}

fn commitment_hint(operation: Direction, suite: AlgorithmSuite) -> &'static str {
    match (operation, suite.is_committing()) {
        (Direction::Decrypt, _) => "use policy require-encrypt-allow-decrypt to read it",
        (Direction::Encrypt, false) => "use suite 0x0478 or 0x0578, or policy forbid-encrypt-allow-decrypt",
        (Direction::Encrypt, true) => "use a suite without commitment, or policy require-encrypt-allow-decrypt",
    }
}

fn bound_reason(declared: bool) -> &'static str {
    if declared { "the declared bound" } else { "the maximum for this frame length; use longer frames" }
}

fn io_context(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::AlreadyExists => "the target already exists",
        io::ErrorKind::StorageFull => "the disk is full",
        _ => "an I/O operation failed",
    }
}

impl Error {
    /// Creates an [`Error::Keyring`]. Keyring implementations use it to report that generating or
    /// wrapping a data key failed.
    ///
    /// ```
    /// use std::error::Error as _;
    ///
    /// let error = sealwax::Error::keyring("hsm://slot-1", "the session was closed");
    /// assert_eq!(error.to_string(), "keyring hsm://slot-1 failed");
    /// assert_eq!(error.source().unwrap().to_string(), "the session was closed");
    /// ```
    pub fn keyring(keyring: impl Into<String>, cause: impl Into<BoxError>) -> Self {
        Self::Keyring { keyring: keyring.into(), source: Cause::from(cause) }
    }
}

impl From<io::Error> for Error {
    /// Returns the original error if `error` was converted from an [`Error`](enum@Error), and
    /// [`Error::Io`] otherwise.
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) => Self::Io(error.into()),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(inner) => inner.into_io(),
            // Not `UnexpectedEof`, even for a truncated message, because callers could take that
            // for the end of the plaintext.
            Error::Format(_) | Error::Integrity | Error::SourceChanged => Self::new(io::ErrorKind::InvalidData, error),
            error => Self::other(error),
        }
    }
}

/// A structural error in a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The input ends before the message is complete.
    #[error("the message is truncated")]
    Truncated,
    /// The input continues after the end of the message.
    #[error("unexpected bytes after the end of the message")]
    TrailingBytes,
    /// The first byte is not a message format version.
    #[error("not an AWS Encryption SDK message: the first byte is {0:#04x}, not version 1 or 2")]
    Version(u8),
    /// The message is base64-encoded.
    #[error("the message is base64-encoded; decode it first")]
    Base64,
    /// The type byte of a version 1 message is not 0x80.
    #[error("unknown message type {0:#04x}")]
    Type(u8),
    /// The algorithm suite ID is unknown.
    #[error("unknown algorithm suite {0:#06x}")]
    Suite(u16),
    /// The algorithm suite belongs to the other message format version.
    #[error("algorithm suite {suite} is not valid in message format version {version}")]
    SuiteVersion {
        /// The suite in the header.
        suite: AlgorithmSuite,
        /// The version in the header.
        version: u8,
    },
    /// The serialized encryption context is malformed.
    #[error("the encryption context in the header is malformed: {0}")]
    Context(&'static str),
    /// The header contains no encrypted data keys.
    #[error("the header has no encrypted data keys")]
    NoEncryptedDataKeys,
    /// A key provider ID is not UTF-8.
    #[error("a key provider id in the header is not UTF-8")]
    ProviderId,
    /// The content type is neither framed nor unframed.
    #[error("unknown content type {0:#04x}")]
    ContentType(u8),
    /// A reserved field is not zero.
    #[error("a reserved field of the header is not zero")]
    Reserved,
    /// The IV length is not 12 bytes.
    #[error("the header declares an IV length of {0} bytes; all suites use 12")]
    IvLength(u8),
    /// The frame length is invalid for the content type.
    #[error("a frame length of {0} is not valid for the content type")]
    FrameLength(u32),
    /// A frame does not have the next sequence number.
    #[error("unexpected frame sequence number {found}; expected {expected}")]
    SequenceNumber {
        /// The expected sequence number.
        expected: u32,
        /// The actual sequence number.
        found: u32,
    },
    /// The final frame is not at the position implied by the length of the message.
    #[error("the message is truncated, extended or altered: the final frame is not at its expected position")]
    FinalFramePosition,
    /// The final frame is longer than the frame length.
    #[error("the final frame declares a length of {found} bytes; the maximum is {frame_length}")]
    FinalFrameLength {
        /// The frame length in the header.
        frame_length: u32,
        /// The length in the final frame.
        found: u32,
    },
    /// The unframed body is too long for AES-GCM.
    #[error("the unframed body declares a length of {0} bytes; the maximum is 2^36 - 32")]
    UnframedLength(u64),
    /// The signature is longer than the suite allows.
    #[error("the footer declares a signature of {0} bytes, which is longer than the algorithm suite allows")]
    SignatureLength(u16),
}

/// A limit of the client that was exceeded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// There are more encrypted data keys than `max_encrypted_data_keys`.
    #[error("{found} encrypted data keys exceed the limit of {limit} (max_encrypted_data_keys)")]
    EncryptedDataKeys {
        /// The limit.
        limit: usize,
        /// The actual number.
        found: usize,
    },
    /// The header is longer than `max_header_length`.
    #[error("the header exceeds the limit of {limit} bytes (max_header_length)")]
    HeaderLength {
        /// The limit in bytes.
        limit: usize,
    },
    /// A frame or an unframed body is longer than `max_frame_length`.
    #[error("a frame or unframed body of {found} bytes exceeds the limit of {limit} bytes (max_frame_length)")]
    FrameLength {
        /// The limit in bytes.
        limit: u32,
        /// The frame length, or the length of the unframed body.
        found: u64,
    },
}

/// The reason an encryption context cannot be used. The error texts contain no keys or values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A key starts with `aws-crypto-`, which is reserved for the library.
    #[error("an encryption context key starts with the reserved prefix aws-crypto-")]
    ReservedPrefix,
    /// A key or value is empty, which not every SDK can read.
    #[error("an encryption context key or value is empty")]
    Empty,
    /// The serialized context is longer than the maximum that every SDK can read.
    #[error("the encryption context is {found} bytes long; the maximum that every SDK can read is {limit}")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// The serialized length in bytes.
        found: usize,
    },
    /// A pair that the caller expects is missing from the message, or has another value.
    #[error("the message does not have the expected encryption context: a value is missing or different")]
    Mismatch,
    /// A required key is not in the encryption context. Its value must be supplied because it is
    /// not stored in the message.
    #[error("a required encryption context key has no value; add the pair to the encryption context")]
    RequiredMissing,
    /// A pair that the original message authenticates without storing it would be stored in the new
    /// message.
    #[error("the message does not store all of its encryption context, but the new message would")]
    WouldBeStored,
    /// The message is signed, but its public key is missing or malformed.
    #[error("the message is signed, but its encryption context has no valid public key")]
    PublicKeyMissing,
    /// The caller expects a reserved pair, such as a signer's public key, that the message does not
    /// store.
    ///
    /// A reserved pair is never taken from the caller's expectation, because an unsigned message
    /// could then pass for a signed one.
    #[error(
        "the expected encryption context has a reserved key (aws-crypto-) that the message does not store; a reader that \
         expects a signer's public key rejects unsigned messages"
    )]
    ReservedNotStored,
    /// The message is not signed, but contains a public key.
    #[error("the message is not signed, but its encryption context has a public key")]
    PublicKeyUnexpected,
}

/// The failed attempts to unwrap a data key of a message.
///
/// ```
/// use sealwax::{UnwrapFailure, UnwrapReason};
///
/// let mut failure = UnwrapFailure::default();
/// failure.add("raw-aes://example/key-1", None, UnwrapReason::NoMatch);
/// assert_eq!(failure.attempts().len(), 1);
/// assert_eq!(
///     failure.to_string(),
///     "no keyring could unwrap the data key: raw-aes://example/key-1: \
///      no encrypted data key matches this key"
/// );
/// ```
#[derive(Clone, Debug, Default)]
pub struct UnwrapFailure {
    attempts: Vec<UnwrapAttempt>,
}

/// A failed attempt of one keyring to unwrap a data key.
#[derive(Clone, Debug)]
pub struct UnwrapAttempt {
    /// The label of the keyring, such as `raw-aes://namespace/name`.
    pub keyring: Arc<str>,
    /// The index of the encrypted data key in the message, starting from 0; `None` if no key
    /// matched.
    pub encrypted_data_key: Option<usize>,
    /// The reason the attempt failed.
    pub reason: UnwrapReason,
}

/// The reason an attempt to unwrap a data key failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum UnwrapReason {
    /// No encrypted data key in the message matches this key.
    NoMatch,
    /// An encrypted data key matches this key but could not be decrypted. The error does not say
    /// which step failed, so that an attacker who submits altered keys learns nothing from it.
    NotAuthentic,
    /// A service or other external component failed.
    Failed(Cause),
}

impl fmt::Display for UnwrapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMatch => "no encrypted data key matches this key",
            Self::NotAuthentic => {
                "the encrypted data key could not be decrypted (different key of that name, or wrong encryption context)"
            }
            Self::Failed(_) => "unwrapping failed",
        })
    }
}

impl UnwrapFailure {
    /// Adds an attempt.
    pub fn add(&mut self, keyring: impl Into<Arc<str>>, encrypted_data_key: Option<usize>, reason: UnwrapReason) {
        self.attempts.push(UnwrapAttempt { keyring: keyring.into(), encrypted_data_key, reason });
    }

    /// Adds the attempts of another keyring, in their order. Any error other than
    /// [`Error::NotUnwrapped`] counts as a single attempt.
    pub fn merge(&mut self, keyring: impl Into<Arc<str>>, error: Error) {
        match error {
            Error::NotUnwrapped(other) => self.attempts.extend(other.attempts),
            error => self.add(keyring, None, UnwrapReason::Failed(error.into())),
        }
    }

    /// Returns the attempts, in the order in which they were made.
    #[must_use]
    pub fn attempts(&self) -> &[UnwrapAttempt] {
        &self.attempts
    }
}

impl fmt::Display for UnwrapFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no keyring could unwrap the data key")?;
        for (position, attempt) in self.attempts.iter().enumerate() {
            f.write_str(if position == 0 { ": " } else { "; " })?;
            write!(f, "{}: ", Escaped(&attempt.keyring))?;
            if let Some(index) = attempt.encrypted_data_key {
                write!(f, "encrypted data key {index}: ")?;
            }
            write!(f, "{}", attempt.reason)?;
        }
        Ok(())
    }
}

impl std::error::Error for UnwrapFailure {
    /// Returns the first external cause, if any attempt has one.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.attempts.iter().find_map(|attempt| match &attempt.reason {
            UnwrapReason::Failed(cause) => Some(&**cause as &(dyn std::error::Error + 'static)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_io() {
        let there = io::Error::from(Error::Integrity);
        assert_eq!(there.kind(), io::ErrorKind::InvalidData);
        assert!(matches!(Error::from(there), Error::Integrity));

        let plain = io::Error::new(io::ErrorKind::StorageFull, "quota");
        let Error::Io(inner) = Error::from(plain) else { panic!("not an io error") };
        assert_eq!(inner.kind(), io::ErrorKind::StorageFull);
        let shared = Error::Io(inner);
        assert_eq!(io::Error::from(shared.clone()).to_string(), "quota");
        assert_eq!(io::Error::from(shared.clone()).kind(), io::ErrorKind::StorageFull);
        assert_eq!(io::Error::from(shared).kind(), io::ErrorKind::StorageFull);
        let from_the_system = Error::from(io::Error::from_raw_os_error(28));
        assert_eq!(io::Error::from(from_the_system.clone()).raw_os_error(), Some(28));
    }

    #[test]
    fn clones_share_their_cause_and_keep_its_type() {
        let error = Error::keyring("k", FormatError::Truncated);
        let copy = error.clone();
        drop(error);
        let cause = std::error::Error::source(&copy).unwrap();
        assert_eq!(cause.downcast_ref::<FormatError>(), Some(&FormatError::Truncated));
        let error = Error::from(io::Error::other("quota")).clone();
        assert!(std::error::Error::source(&error).unwrap().is::<io::Error>());
    }

    #[test]
    fn no_display_repeats_its_source() {
        let error = Error::keyring("k", "the cause");
        assert!(!error.to_string().contains("the cause"));
        let mut failure = UnwrapFailure::default();
        failure.add("k", Some(2), UnwrapReason::Failed("the cause".into()));
        let error = Error::from(failure);
        assert!(!error.to_string().contains("the cause"), "{error}");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the cause");
    }

    #[test]
    fn an_error_is_small() {
        assert!(size_of::<Error>() <= 48, "{}", size_of::<Error>());
    }
}
