//! Key management services: the trait for access to one, and the keyrings over it.
//!
//! `service` holds what these keyrings have in common.

mod api;
mod arn;
mod aws_discovery;
#[cfg(feature = "raw-ecdh")]
mod aws_ecdh;
mod aws_keyring;
mod aws_multi;
#[cfg(feature = "raw-rsa")]
mod aws_rsa;
#[cfg(feature = "aws-kms")]
mod aws_sdk;
mod error;
mod service;
mod service_keyring;
mod supplier;

pub use api::{
    DeriveSharedSecret, GenerateDataKey, GeneratedDataKey, GetPublicKey, KmsAlgorithm, KmsApi, KmsCiphertext,
    KmsDecrypt, KmsEncrypt, KmsKeyUsage, KmsOperation, KmsPlaintext, KmsPublicKey, KmsSharedSecret,
};
pub use arn::KmsArn;
pub use aws_discovery::{AwsKmsDiscoveryKeyring, DiscoveryFilter};
#[cfg(feature = "raw-ecdh")]
pub use aws_ecdh::{AwsKmsEcdhKeyring, AwsKmsEcdhKeyringBuilder};
pub use aws_keyring::AwsKmsKeyring;
pub use aws_multi::AwsKmsMultiKeyrings;
#[cfg(feature = "raw-rsa")]
pub use aws_rsa::AwsKmsRsaKeyring;
#[cfg(feature = "aws-kms")]
pub use aws_sdk::{AwsSdkKms, AwsSdkKmsSupplier};
pub use error::{KmsError, KmsErrorKind};
pub use service_keyring::KmsKeyring;
pub use supplier::KmsClientSupplier;
