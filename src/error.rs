//! What can go wrong, and how much of it is said.
//!
//! A fault in bytes that were read before any key was used is described in detail ([`FormatError`]). Once a key is in
//! use there is one answer, [`Error::Integrity`], whatever did not hold: an attacker who can watch errors learns
//! nothing from it. No error prints a key, a plaintext or an encryption context.

use std::{fmt, io, sync::Arc};

use crate::{
    suite::{AlgorithmSuite, CommitmentPolicy},
    text::Escaped,
};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of a failure outside this crate.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an operation was refused or failed.
///
/// Causes from outside (a service, the operating system) are in [`source`](std::error::Error::source) and are not
/// repeated in the text.
///
/// ```
/// use sealwax::{Client, Error, FormatError, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![0; 32])?;
/// let refused = Client::new().decrypt(&keyring).bytes(b"no message at all").wait();
/// assert!(matches!(refused, Err(Error::Format(FormatError::Version(b'n')))));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a well-formed message.
    #[error(transparent)]
    Format(#[from] FormatError),

    /// The message is well-formed but larger, in some respect, than the client accepts.
    #[error(transparent)]
    Limit(#[from] LimitError),

    /// A key, a header tag, a commitment, a frame tag or a signature did not verify: the message was altered or
    /// damaged, or was sealed with another key.
    #[error("the message is not authentic: it was altered, damaged, or sealed with another key")]
    Integrity,

    /// The commitment policy of the client does not allow the algorithm suite.
    #[error(
        "algorithm suite {suite} may not be {operation} under the commitment policy {policy}; {}",
        commitment_hint(*.operation, *.suite)
    )]
    Commitment {
        /// The suite asked for, or found in the message.
        suite: AlgorithmSuite,
        /// The policy of the client.
        policy: CommitmentPolicy,
        /// Whether the message was to be written or read.
        operation: Direction,
    },

    /// The encryption context cannot be used, or is not the expected one.
    #[error(transparent)]
    Context(#[from] ContextError),

    /// No keyring could unwrap any of the encrypted data keys.
    #[error(transparent)]
    NotUnwrapped(#[from] UnwrapFailure),

    /// A keyring failed while a message was being written; the cause is the source.
    #[error("keyring {} failed", Escaped(.keyring))]
    Keyring {
        /// The label of the keyring, such as `raw-aes://namespace/name`.
        keyring: String,
        /// What it failed of.
        source: BoxError,
    },

    /// A keyring or materials manager returned materials that cannot be used.
    #[error("unusable cryptographic materials: {0}")]
    Materials(&'static str),

    /// Something the caller configured cannot be used.
    #[error("{0}")]
    Configuration(String),

    /// The message is signed, and the call would release plaintext before the signature is verified.
    #[error(
        "the message is signed, and reading it as a stream would release plaintext before the signature is verified: \
         decrypt it in one piece, to a file, or by a verified copy or reader, or call `release_unverified` first"
    )]
    SignedStream,

    /// The message has no frames, and the call would open a part of it by itself.
    #[error("the message has no frames, so that no part of it can be opened by itself: decrypt it as a whole")]
    Unframed,

    /// The source cannot be read a second time, nor at an offset: it is a pipe, a socket or a terminal.
    #[error(
        "the source cannot be read twice, because it is no file: decrypt it by a copy, which keeps the ciphertext in a \
         temporary file until it is verified, or call `release_unverified` first"
    )]
    NotSeekable(#[source] io::Error),

    /// The source is not what it was when it was verified. Nothing of the part that changed was released.
    #[error("the source changed after it was verified: decrypt it again")]
    SourceChanged,

    /// There is more plaintext than the message may carry.
    #[error("the plaintext is longer than {limit} bytes, {}", bound_reason(*.declared))]
    PlaintextTooLong {
        /// The number of bytes that may not be exceeded.
        limit: u64,
        /// Whether the caller declared that bound; otherwise it follows from the frame length.
        declared: bool,
    },

    /// The source of randomness or another primitive of the crypto provider failed.
    #[error("the crypto provider failed: {0}")]
    Provider(&'static str),

    /// `wait` was called inside an asynchronous runtime for an operation that is not ready at once.
    #[error(
        "`wait` would block an asynchronous runtime: await the operation, or hand its future to the runtime's `block_on`"
    )]
    WouldBlockRuntime,

    /// An earlier error has ended this stream.
    #[error("an earlier error has ended this stream")]
    Ended,

    /// Reading or writing failed.
    #[error("{}", io_context(.0))]
    Io(#[source] io::Error),
}

/// What was to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Writing it.
    Encrypt,
    /// Reading it.
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
        (Direction::Decrypt, _) => "the policy require-encrypt-allow-decrypt reads it",
        (Direction::Encrypt, false) => "choose suite 0x0478 or 0x0578, or the policy forbid-encrypt-allow-decrypt",
        (Direction::Encrypt, true) => "choose a suite without commitment, or the policy require-encrypt-allow-decrypt",
    }
}

fn bound_reason(declared: bool) -> &'static str {
    if declared { "the declared bound" } else { "the most that fits with this frame length: choose longer frames" }
}

fn io_context(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder",
        io::ErrorKind::PermissionDenied => "access was denied",
        io::ErrorKind::AlreadyExists => "the target exists already",
        io::ErrorKind::StorageFull => "the disk is full",
        _ => "reading or writing failed",
    }
}

impl Error {
    /// A keyring's failure to generate or wrap a data key, for those who write keyrings.
    ///
    /// ```
    /// let error = sealwax::Error::keyring("hsm://slot-1", "the session was closed");
    /// assert_eq!(error.to_string(), "keyring hsm://slot-1 failed");
    /// assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the session was closed");
    /// ```
    pub fn keyring(keyring: impl Into<String>, cause: impl Into<BoxError>) -> Self {
        Self::Keyring { keyring: keyring.into(), source: cause.into() }
    }
}

impl From<io::Error> for Error {
    /// Gives back what [`From<Error> for io::Error`] wrapped.
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) => Self::Io(error),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(inner) => inner,
            // A message that is cut off is no end of file, which callers would take for the end of the plaintext.
            Error::Format(_) | Error::Integrity | Error::SourceChanged => Self::new(io::ErrorKind::InvalidData, error),
            error => Self::other(error),
        }
    }
}

/// A fault in the structure of a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end before the message does.
    #[error("the message is cut off: it ends too early")]
    Truncated,
    /// There are bytes after the end of the message.
    #[error("there are bytes after the end of the message")]
    TrailingBytes,
    /// The first byte is no version of the message format.
    #[error("not an AWS Encryption SDK message: it starts with the byte {0:#04x}, not with a version (1 or 2)")]
    Version(u8),
    /// The message is the base64 text of one.
    #[error("the message is base64 text: decode it first")]
    Base64,
    /// The type of a version 1 message is not 0x80.
    #[error("unknown message type {0:#04x}")]
    Type(u8),
    /// There is no algorithm suite with this id.
    #[error("unknown algorithm suite {0:#06x}")]
    Suite(u16),
    /// The suite belongs to the other version of the message format.
    #[error("algorithm suite {suite} does not go with message format version {version}")]
    SuiteVersion {
        /// The suite in the header.
        suite: AlgorithmSuite,
        /// The version in the header.
        version: u8,
    },
    /// The serialized encryption context is not well-formed.
    #[error("the encryption context in the header is malformed: {0}")]
    Context(&'static str),
    /// There is not a single encrypted data key.
    #[error("the header has no encrypted data key")]
    NoEncryptedDataKeys,
    /// A key provider id is not UTF-8.
    #[error("a key provider id in the header is not UTF-8")]
    ProviderId,
    /// The content type is neither framed nor unframed.
    #[error("unknown content type {0:#04x}")]
    ContentType(u8),
    /// A reserved field is not zero.
    #[error("a reserved field of the header is not zero")]
    Reserved,
    /// The IV length is not that of the suite.
    #[error("the header gives an IV length of {0} bytes; every suite has 12")]
    IvLength(u8),
    /// The frame length does not go with the content type.
    #[error("a frame length of {0} does not go with the content type")]
    FrameLength(u32),
    /// A frame does not bear the number that follows.
    #[error("frame {found} stands where frame {expected} belongs")]
    SequenceNumber {
        /// The number that would have been right.
        expected: u32,
        /// The number found.
        found: u32,
    },
    /// The final frame is not where the length of the message puts it.
    #[error(
        "the message is cut off, extended or altered: its final frame is not where the length of the message puts it"
    )]
    FinalFramePosition,
    /// The final frame is longer than frames may be.
    #[error("the final frame gives a length of {found} bytes; frames have {frame_length} at most")]
    FinalFrameLength {
        /// The frame length in the header.
        frame_length: u32,
        /// The length found.
        found: u32,
    },
    /// An unframed body is longer than AES-GCM can carry.
    #[error("the unframed body gives a length of {0} bytes; AES-GCM carries 2^36 - 32 at most")]
    UnframedLength(u64),
    /// The signature is longer than the suite's can be.
    #[error("the footer gives a signature length of {0} bytes, which the suite cannot have")]
    SignatureLength(u16),
}

/// A limit of the client that a message exceeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// More encrypted data keys than `max_encrypted_data_keys`.
    #[error("{found} encrypted data keys are more than the limit of {limit} (max_encrypted_data_keys)")]
    EncryptedDataKeys {
        /// The limit.
        limit: usize,
        /// The number found.
        found: usize,
    },
    /// A longer header than `max_header_length`.
    #[error("the header is longer than the limit of {limit} bytes (max_header_length)")]
    HeaderLength {
        /// The limit in bytes.
        limit: usize,
    },
    /// Longer frames, or a longer unframed body, than `max_frame_length`.
    #[error("{found} bytes in one piece are more than the limit of {limit} bytes a frame (max_frame_length)")]
    FrameLength {
        /// The limit in bytes.
        limit: u32,
        /// The frame length, or the length of an unframed body.
        found: u64,
    },
}

/// Why an encryption context cannot be used. The texts name no key and no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A key starts with `aws-crypto-`, which belongs to the library.
    #[error("an encryption context key starts with aws-crypto-, which is reserved")]
    ReservedPrefix,
    /// A key or value is empty; not every SDK reads that.
    #[error("an encryption context key or value is empty")]
    Empty,
    /// The serialized context is longer than every SDK reads.
    #[error("the encryption context takes {found} bytes; {limit} is the most that every SDK reads")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// The serialized length in bytes.
        found: usize,
    },
    /// The message carries another value for a key whose value the caller expected.
    #[error("the message does not carry the expected encryption context: a value differs")]
    Mismatch,
    /// A key whose value must be given, because it is not stored, has none.
    #[error("a required encryption context key has no value: give it with the context")]
    RequiredMissing,
    /// A pair that an old message authenticates without storing it would be stored in the new one.
    #[error("the message keeps a part of its encryption context out of its header; the new message would store it")]
    WouldBeStored,
    /// The public key of a signed message is missing or malformed.
    #[error("the message is signed, but its encryption context carries no valid public key")]
    PublicKeyMissing,
    /// The caller expects a reserved pair, such as the public key of a signer, that the message does not store. Such a
    /// pair is never taken from the caller: an unsigned message could otherwise pass for a signed one.
    #[error(
        "the expected encryption context has a key that starts with aws-crypto-, and the message does not store it \
         (a reader that expects a signer's public key refuses unsigned messages)"
    )]
    ReservedNotStored,
    /// An unsigned message carries a public key.
    #[error("the message is not signed, but its encryption context carries a public key")]
    PublicKeyUnexpected,
}

/// Every attempt to unwrap a data key of a message, none of which succeeded.
///
/// ```
/// use sealwax::{UnwrapFailure, UnwrapReason};
///
/// let mut failure = UnwrapFailure::default();
/// failure.add("raw-aes://example/key-1", None, UnwrapReason::NoMatch);
/// assert_eq!(failure.attempts().len(), 1);
/// assert_eq!(
///     failure.to_string(),
///     "no keyring could unwrap the data key: raw-aes://example/key-1: no encrypted data key is for this key"
/// );
/// ```
#[derive(Debug, Default)]
pub struct UnwrapFailure {
    attempts: Vec<UnwrapAttempt>,
}

/// One attempt of one keyring.
#[derive(Debug)]
pub struct UnwrapAttempt {
    /// The label of the keyring, such as `raw-aes://namespace/name`.
    pub keyring: Arc<str>,
    /// The position of the encrypted data key in the message, from 0; none if no key matched.
    pub encrypted_data_key: Option<usize>,
    /// Why it did not succeed.
    pub reason: UnwrapReason,
}

/// Why one attempt to unwrap a data key did not succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum UnwrapReason {
    /// No encrypted data key of the message names this key.
    NoMatch,
    /// The encrypted data key names this key, but does not open under it. How far it got is not said, lest an attacker who
    /// sends altered ones learns from it.
    NotAuthentic,
    /// Something outside failed.
    Failed(BoxError),
}

impl fmt::Display for UnwrapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMatch => "no encrypted data key is for this key",
            Self::NotAuthentic => {
                "the encrypted data key does not open (another key of that name, or another encryption context)"
            }
            Self::Failed(_) => "unwrapping failed",
        })
    }
}

impl UnwrapFailure {
    /// Adds an attempt.
    ///
    /// ```
    /// # use sealwax::{UnwrapFailure, UnwrapReason};
    /// let mut failure = UnwrapFailure::default();
    /// failure.add("hsm://slot-1", Some(0), UnwrapReason::Failed("the token is gone".into()));
    /// ```
    pub fn add(&mut self, keyring: impl Into<Arc<str>>, encrypted_data_key: Option<usize>, reason: UnwrapReason) {
        self.attempts.push(UnwrapAttempt { keyring: keyring.into(), encrypted_data_key, reason });
    }

    /// Adds what another keyring tried, in its order; any other error of it counts as one attempt.
    ///
    /// ```
    /// # use sealwax::{Error, UnwrapFailure};
    /// let mut failure = UnwrapFailure::default();
    /// failure.merge("hsm://slot-1", Error::Integrity);
    /// assert_eq!(failure.attempts().len(), 1);
    /// ```
    pub fn merge(&mut self, keyring: impl Into<Arc<str>>, error: Error) {
        match error {
            Error::NotUnwrapped(other) => self.attempts.extend(other.attempts),
            error => self.add(keyring, None, UnwrapReason::Failed(error.into())),
        }
    }

    /// The attempts, in the order in which they were made.
    ///
    /// ```
    /// assert!(sealwax::UnwrapFailure::default().attempts().is_empty());
    /// ```
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
    /// The first cause from outside, if any attempt had one.
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
        assert_eq!(io::Error::from(Error::Io(inner)).kind(), io::ErrorKind::StorageFull);
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
