//! The configuration of a store for objects of the client.

use sealwax::CommitmentPolicy;

use super::{
    Content, S3EncryptionError, S3Key,
    metadata::{Envelope, Suite},
};
use crate::Sizes;

/// What a builder collects.
pub(crate) struct S3Settings {
    pub(crate) key: S3Key,
    pub(crate) policy: CommitmentPolicy,
    pub(crate) legacy_wrapping: bool,
    pub(crate) legacy_content: bool,
    pub(crate) release_unverified: bool,
    pub(crate) suffix: String,
    pub(crate) sizes: Sizes,
    pub(crate) cache_capacity: usize,
}

impl S3Settings {
    pub(crate) fn new(key: S3Key) -> Self {
        Self {
            key,
            policy: CommitmentPolicy::default(),
            legacy_wrapping: false,
            legacy_content: false,
            release_unverified: false,
            suffix: ".instruction".to_owned(),
            sizes: Sizes::default(),
            cache_capacity: 64,
        }
    }

    /// Checks that everything the object needs is switched on. The key is not used before.
    pub(crate) fn check(&self, envelope: &Envelope) -> Result<(), S3EncryptionError> {
        let committing = matches!(envelope.suite, Suite::Committing { .. });
        if !committing && self.policy == CommitmentPolicy::RequireEncryptRequireDecrypt {
            return Err(S3EncryptionError::UNCOMMITTED);
        }
        if matches!(envelope.suite, Suite::Cbc { .. }) && !self.legacy_content {
            return Err(S3EncryptionError::LEGACY_CONTENT);
        }
        if envelope.wrapping.is_legacy() && !self.legacy_wrapping {
            return Err(S3EncryptionError::LEGACY_WRAPPING);
        }
        Ok(())
    }

    /// Unwraps the data key of the object at a path, and returns the cipher of its content.
    pub(crate) async fn open(&self, path: &str, envelope: &Envelope) -> Result<Content, S3EncryptionError> {
        self.check(envelope)?;
        Content::new(envelope.suite, &self.key.unwrap(path, envelope).await?)
    }
}
