//! The encrypted data keys in a message header.

use std::fmt;

/// The data key of a message, encrypted under one wrapping key.
///
/// The keyring that wrote it defines the meaning of the fields.
///
/// Specification: framework/structures, "Encrypted Data Key".
///
/// ```
/// use sealwax::EncryptedDataKey;
///
/// let arn = "arn:aws:kms:eu-west-1:111122223333:key/example";
/// let key = EncryptedDataKey::new("aws-kms", arn, [1, 2, 3]);
/// assert_eq!(key.provider_id(), "aws-kms");
/// assert_eq!(key.key_name(), Some(arn));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EncryptedDataKey {
    pub(super) provider_id: String,
    pub(super) provider_info: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
}

impl EncryptedDataKey {
    /// Creates an encrypted data key from its three fields.
    ///
    /// Each field can be at most 65,535 bytes long. The lengths are checked when a message is
    /// encrypted.
    pub fn new(
        provider_id: impl Into<String>,
        provider_info: impl Into<Vec<u8>>,
        ciphertext: impl Into<Vec<u8>>,
    ) -> Self {
        Self { provider_id: provider_id.into(), provider_info: provider_info.into(), ciphertext: ciphertext.into() }
    }

    /// Returns the key provider ID: `aws-kms`, or the namespace of a raw key.
    #[must_use]
    pub fn provider_id(&self) -> &str {
        &self.provider_id
    }

    /// Returns the key provider information.
    ///
    /// For AWS KMS this is the ARN of the key. For a raw key it is the key name, followed by the
    /// parameters that the keyring needs, if any.
    #[must_use]
    pub fn provider_info(&self) -> &[u8] {
        &self.provider_info
    }

    /// Returns the encrypted data key itself.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// Returns the name of the wrapping key, if the provider information is UTF-8 text.
    ///
    /// The name is an ARN, the name of a raw RSA key, or the name that precedes the parameters
    /// appended by a raw AES keyring. Use it for display, not for decisions.
    ///
    /// ```
    /// let raw_aes = b"key-1\x00\x00\x00\x80\x00\x00\x00\x0c\
    ///     \x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c";
    /// let key = sealwax::EncryptedDataKey::new("ns", *raw_aes, []);
    /// assert_eq!(key.key_name(), Some("key-1"));
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
