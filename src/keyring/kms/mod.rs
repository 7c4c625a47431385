//! Key management services: a trait for what is asked of one, and a keyring over it.

mod api;
mod error;
mod service_keyring;

pub use api::{
    DeriveSharedSecret, GenerateDataKey, GeneratedDataKey, GetPublicKey, KmsAlgorithm, KmsApi, KmsCiphertext,
    KmsDecrypt, KmsEncrypt, KmsOperation, KmsPlaintext, KmsPublicKey, KmsSharedSecret,
};
pub use error::{KmsError, KmsErrorKind};
pub use service_keyring::KmsKeyring;
