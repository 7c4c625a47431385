//! Key management services: the trait for access to one, and the keyring over any of them.
//!
//! `service` holds what keyrings over key services have in common, also those of other crates.

mod api;
mod error;
mod service;
mod service_keyring;

pub use api::{
    DeriveSharedSecret, GenerateDataKey, GeneratedDataKey, GetPublicKey, KmsAlgorithm, KmsApi, KmsCiphertext,
    KmsDecrypt, KmsEncrypt, KmsKeyUsage, KmsOperation, KmsPlaintext, KmsPublicKey, KmsReEncrypt, KmsReEncrypted,
    KmsSharedSecret,
};
pub use error::{KmsError, KmsErrorKind};
pub use service::{KmsCandidate, KmsService};
pub use service_keyring::KmsKeyring;
