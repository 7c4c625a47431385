//! Errors of reading objects of the Amazon S3 Encryption Client.

use sealwax::keyring::KmsError;

/// Why an object of the Amazon S3 Encryption Client cannot be read.
///
/// It is the source of the `Generic` error that a store returns.
///
/// ```
/// use sealwax_object_store::S3EncryptionError;
/// let error = S3EncryptionError::NotEncrypted;
/// assert_eq!(error.to_string(), "the object has no metadata of the S3 Encryption Client, nor an instruction file");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3EncryptionError {
    /// The object was not written by the client.
    #[error("the object has no metadata of the S3 Encryption Client, nor an instruction file")]
    NotEncrypted,
    /// The metadata or the instruction file is malformed, or contradicts itself.
    #[error("the encryption metadata is not valid: {0}")]
    Metadata(&'static str),
    /// The object needs what is switched off. The text names the switch of the builder.
    #[error("the object {what}, which is refused by default; to read it, {switch}")]
    Refused {
        /// What the object has.
        what: &'static str,
        /// The switch that allows it.
        switch: &'static str,
    },
    /// The data key is wrapped in a way that the configured key does not support.
    #[error("the data key is wrapped with {0}, which the configured key does not support")]
    OtherKey(&'static str),
    /// The encryption context is not the one that was given.
    #[error("the encryption context of the object is not the expected one")]
    Context,
    /// The object was altered, or belongs to another key. There is one error for all of this, which
    /// does not depend on where it was noticed.
    #[error("the object is not authentic, or was encrypted with another key")]
    NotAuthentic,
    /// The key management service failed.
    #[error("the key management service could not decrypt the data key")]
    Kms(#[from] KmsError),
}

impl S3EncryptionError {
    pub(crate) const UNCOMMITTED: Self = Self::Refused {
        what: "has no key commitment",
        switch: "call `commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)`",
    };
    pub(crate) const LEGACY_CONTENT: Self =
        Self::Refused { what: "is encrypted with AES-CBC, without authentication", switch: "call `legacy_content()`" };
    pub(crate) const LEGACY_WRAPPING: Self =
        Self::Refused { what: "has a data key that is wrapped in a legacy way", switch: "call `legacy_wrapping()`" };
    pub(crate) const UNVERIFIED: Self = Self::Refused {
        what: "is encrypted with AES-CBC, of which no range can be authenticated",
        switch: "call `release_unverified()`",
    };
}
