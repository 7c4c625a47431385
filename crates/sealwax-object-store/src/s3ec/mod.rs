//! The objects of the Amazon S3 Encryption Client, as far as they do not depend on the version of
//! `object_store`.

mod cbc;
mod content;
mod decoder;
mod digests;
mod error;
mod gcm;
mod key;
mod metadata;
mod rfc2047;
mod settings;

pub(crate) use content::{Content, READ_AT_ONCE};
pub(crate) use decoder::Decoder;
pub(crate) use digests::{Digests, FirstPass};
pub use error::S3EncryptionError;
pub use key::S3Key;
pub(crate) use metadata::{Envelope, MAX_INSTRUCTION_FILE, Pairs, instruction_file, needs_instruction_file};
pub(crate) use settings::S3Settings;

/// The length of the tag of AES-GCM in bytes.
pub(crate) const TAG_LENGTH: u64 = sealwax::crypto::TAG_LENGTH as u64;
