//! The encrypted data keys of a header.

use std::fmt;

/// The data key of a message, encrypted under one wrapping key.
///
/// Which fields mean what is the business of the keyring that wrote it. Specification: framework/structures,
/// "Encrypted Data Key".
///
/// ```
/// use sealwax::EncryptedDataKey;
///
/// let key = EncryptedDataKey::new("aws-kms", "arn:aws:kms:eu-west-1:111122223333:key/example", [1, 2, 3]);
/// assert_eq!(key.provider_id(), "aws-kms");
/// assert_eq!(key.key_name(), Some("arn:aws:kms:eu-west-1:111122223333:key/example"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EncryptedDataKey {
    pub(super) provider_id: String,
    pub(super) provider_info: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
}

impl EncryptedDataKey {
    /// An encrypted data key of three parts, each at most 65,535 bytes long.
    ///
    /// ```
    /// let key = sealwax::EncryptedDataKey::new("my-hsm", "slot-1", vec![0; 40]);
    /// assert_eq!(key.ciphertext().len(), 40);
    /// ```
    pub fn new(
        provider_id: impl Into<String>,
        provider_info: impl Into<Vec<u8>>,
        ciphertext: impl Into<Vec<u8>>,
    ) -> Self {
        Self { provider_id: provider_id.into(), provider_info: provider_info.into(), ciphertext: ciphertext.into() }
    }

    /// The key provider id: `aws-kms`, or the namespace of a raw key.
    ///
    /// ```
    /// assert_eq!(sealwax::EncryptedDataKey::new("ns", "k", []).provider_id(), "ns");
    /// ```
    #[must_use]
    pub fn provider_id(&self) -> &str {
        &self.provider_id
    }

    /// The key provider information: for AWS KMS the ARN of the key, for a raw key its name and what else it needs.
    ///
    /// ```
    /// assert_eq!(sealwax::EncryptedDataKey::new("ns", "k", []).provider_info(), b"k");
    /// ```
    #[must_use]
    pub fn provider_info(&self) -> &[u8] {
        &self.provider_info
    }

    /// The encrypted form of the data key.
    ///
    /// ```
    /// assert_eq!(sealwax::EncryptedDataKey::new("ns", "k", [9]).ciphertext(), [9]);
    /// ```
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// The name of the wrapping key as far as the provider information tells it to anyone: an ARN, the name of a raw
    /// RSA key, or the name before the parameters that a raw AES keyring appends. For display, not for decisions.
    ///
    /// ```
    /// let raw_aes = b"key-1\x00\x00\x00\x80\x00\x00\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c";
    /// assert_eq!(sealwax::EncryptedDataKey::new("ns", *raw_aes, []).key_name(), Some("key-1"));
    /// ```
    #[must_use]
    pub fn key_name(&self) -> Option<&str> {
        let info = self.provider_info.as_slice();
        let name = match info.len().checked_sub(20).map(|at| info.split_at(at)) {
            Some((name, [0, 0, 0, 128, 0, 0, 0, 12, ..])) => name,
            _ => info,
        };
        std::str::from_utf8(name).ok()
    }
}

impl fmt::Debug for EncryptedDataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedDataKey")
            .field("provider_id", &self.provider_id)
            .field("key_name", &self.key_name())
            .finish_non_exhaustive()
    }
}
