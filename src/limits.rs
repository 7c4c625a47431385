//! How much of what a message declares a client accepts.

/// The limits of a client. Every one has a default and can be raised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The number of encrypted data keys, on both ways.
    pub(crate) encrypted_data_keys: usize,
    /// The bytes of a header, on decrypt.
    pub(crate) header_length: usize,
    /// The bytes that must be held before a tag can be checked, on decrypt: a frame, or an unframed body.
    pub(crate) frame_length: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { encrypted_data_keys: 64, header_length: 1 << 20, frame_length: 64 << 20 }
    }
}
