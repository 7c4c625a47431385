//! Limits on the sizes that a message may declare.

use crate::error::LimitError;

/// The limits of a client, which apply to both reading and writing. All of them have defaults and
/// can be raised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The maximum number of encrypted data keys.
    pub(crate) encrypted_data_keys: usize,
    /// The maximum length of a header in bytes.
    pub(crate) header_length: usize,
    /// The maximum number of bytes that must be held before a tag can be checked: the length of a
    /// frame or of an unframed body.
    pub(crate) frame_length: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { encrypted_data_keys: 64, header_length: 1 << 20, frame_length: 64 << 20 }
    }
}

impl Limits {
    pub(crate) fn check_encrypted_data_keys(&self, found: usize) -> Result<(), LimitError> {
        let limit = self.encrypted_data_keys;
        if found > limit { Err(LimitError::EncryptedDataKeys { limit, found }) } else { Ok(()) }
    }

    pub(crate) fn check_header_length(&self, found: usize) -> Result<(), LimitError> {
        let limit = self.header_length;
        if found > limit { Err(LimitError::HeaderLength { limit }) } else { Ok(()) }
    }

    pub(crate) fn check_frame_length(&self, found: u64) -> Result<(), LimitError> {
        let limit = self.frame_length;
        if found > limit.into() { Err(LimitError::FrameLength { limit, found }) } else { Ok(()) }
    }
}
