//! How much of what a message declares a client accepts.

use crate::error::LimitError;

/// The limits of a client, on what it reads and on what it writes. Every one has a default and can be raised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The number of encrypted data keys.
    pub(crate) encrypted_data_keys: usize,
    /// The bytes of a header.
    pub(crate) header_length: usize,
    /// The bytes that must be held before a tag can be checked: a frame, or an unframed body.
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
