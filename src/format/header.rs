//! The contents of a message header and their serialization.
//!
//! Specification: data-format/message-header.

use std::fmt;

use super::encrypted_data_key::EncryptedDataKey;
use crate::{
    context::EncryptionContext,
    crypto::IV_LENGTH,
    suite::{AlgorithmSuite, COMMIT_KEY_LENGTH, MessageVersion},
};

/// The type byte of a version 1 message: customer authenticated encrypted data.
pub(super) const TYPE: u8 = 0x80;

/// A message ID: 16 bytes in version 1, 32 bytes in version 2.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MessageId {
    bytes: [u8; 32],
    length: usize,
}

impl MessageId {
    /// A placeholder until the ID has been read.
    pub(super) const EMPTY: Self = Self { bytes: [0; 32], length: 0 };

    pub(crate) fn from_slice(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { bytes, length: id.len() })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The structure of a message body.
///
/// ```
/// use sealwax::ContentType;
/// assert_eq!(ContentType::Framed { frame_length: 4096 }.frame_length(), Some(4096));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// A single part with one tag. Read for compatibility with old messages, never written.
    Unframed,
    /// Frames that are sealed one by one.
    Framed {
        /// The number of plaintext bytes in every frame except the final one, which may have fewer.
        frame_length: u32,
    },
}

impl ContentType {
    /// Returns the frame length in bytes, or `None` for an unframed body.
    #[must_use]
    pub const fn frame_length(self) -> Option<u32> {
        match self {
            Self::Unframed => None,
            Self::Framed { frame_length } => Some(frame_length),
        }
    }
}

/// The contents of a message header.
///
/// How far a header can be trusted depends on where it comes from. The header that an encryption or
/// a completed decryption returns is authentic. The header that a
/// [`HeaderDecoder`](crate::HeaderDecoder) reads from a message has not been verified.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
/// assert_eq!(sealed.header.suite().id(), 0x0578);
/// assert_eq!(sealed.header.message_id().len(), 32);
/// assert_eq!(sealed.header.encrypted_data_keys().len(), 1);
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    pub(crate) fields: HeaderFields,
    length: usize,
}

impl Header {
    /// Returns the algorithm suite.
    #[must_use]
    pub fn suite(&self) -> AlgorithmSuite {
        self.fields.suite
    }

    /// Returns the message ID, which is random: 16 bytes in version 1, 32 bytes in version 2.
    #[must_use]
    pub fn message_id(&self) -> &[u8] {
        self.fields.message_id.as_bytes()
    }

    /// Returns the encryption context that is stored in the message, including the entries that the
    /// library added.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// let client = Client::new();
    /// let encryption = client.encrypt(&keyring).context([("tenant", "blue")]);
    /// let header = encryption.bytes(b"text").wait()?.header;
    /// assert_eq!(header.context().get("tenant"), Some("blue"));
    /// assert!(header.context().contains_key("aws-crypto-public-key"));
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn context(&self) -> &EncryptionContext {
        &self.fields.context
    }

    /// Returns the encrypted data keys, in their order in the message.
    #[must_use]
    pub fn encrypted_data_keys(&self) -> &[EncryptedDataKey] {
        &self.fields.encrypted_data_keys
    }

    /// Returns the structure of the body.
    #[must_use]
    pub fn content_type(&self) -> ContentType {
        self.fields.content_type
    }

    /// Returns the length of the serialized header in bytes, including the header authentication.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub fn length(&self) -> usize {
        self.length
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("suite", &self.suite())
            .field("context", self.context())
            .field("encrypted_data_keys", &self.encrypted_data_keys())
            .field("content_type", &self.content_type())
            .finish_non_exhaustive()
    }
}

/// The fields of a header body.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HeaderFields {
    pub(crate) suite: AlgorithmSuite,
    pub(crate) message_id: MessageId,
    pub(crate) context: EncryptionContext,
    pub(crate) encrypted_data_keys: Vec<EncryptedDataKey>,
    pub(crate) content_type: ContentType,
    /// The commit key. Meaningful only if the suite is committing.
    pub(crate) commit_key: [u8; COMMIT_KEY_LENGTH],
}

impl HeaderFields {
    /// Serializes the header body, with `stored_context` as the serialized encryption context.
    ///
    /// The returned vector has spare capacity for the header authentication.
    ///
    /// # Errors
    /// Fails with a message that names the field whose length or count does not fit into 16 bits.
    pub(crate) fn serialize_body(&self, stored_context: &[u8]) -> Result<Vec<u8>, &'static str> {
        fn put(out: &mut Vec<u8>, bytes: &[u8], what: &'static str) -> Result<(), &'static str> {
            let length = u16::try_from(bytes.len()).map_err(|_| what)?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
            Ok(())
        }
        let keys_length: usize = self
            .encrypted_data_keys
            .iter()
            .map(|key| 6 + key.provider_id.len() + key.provider_info.len() + key.ciphertext.len())
            .sum();
        let mut out = Vec::with_capacity(128 + stored_context.len() + keys_length);
        let version = self.suite.version();
        out.push(version.byte());
        if version == MessageVersion::V1 {
            out.push(TYPE);
        }
        out.extend_from_slice(&self.suite.id().to_be_bytes());
        out.extend_from_slice(self.message_id.as_bytes());
        put(&mut out, stored_context, "the encryption context is longer than 65,535 bytes")?;
        let count = u16::try_from(self.encrypted_data_keys.len())
            .map_err(|_| "there are more than 65,535 encrypted data keys")?;
        out.extend_from_slice(&count.to_be_bytes());
        for key in &self.encrypted_data_keys {
            put(&mut out, key.provider_id.as_bytes(), "a key provider id is longer than 65,535 bytes")?;
            put(&mut out, &key.provider_info, "key provider information is longer than 65,535 bytes")?;
            put(&mut out, &key.ciphertext, "an encrypted data key is longer than 65,535 bytes")?;
        }
        let (content_type, frame_length) = match self.content_type {
            ContentType::Unframed => (1, 0),
            ContentType::Framed { frame_length } => (2, frame_length),
        };
        out.push(content_type);
        if version == MessageVersion::V1 {
            out.extend_from_slice(&[0; 4]);
            out.push(IV_LENGTH as u8);
        }
        out.extend_from_slice(&frame_length.to_be_bytes());
        if version == MessageVersion::V2 {
            out.extend_from_slice(&self.commit_key);
        }
        Ok(out)
    }

    /// Converts the fields into a header whose serialized length is `length`.
    pub(crate) fn into_header(self, length: usize) -> Header {
        Header { fields: self, length }
    }
}
