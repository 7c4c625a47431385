//! Keyrings over AWS KMS for [sealwax], and access to AWS KMS through the official SDK.
//!
//! The keyrings use any [`KmsApi`](sealwax::keyring::KmsApi); they do not depend on the transport.
//! [`AwsSdkKms`] is one over `aws-sdk-kms`.
//!
//! | keys | keyring |
//! |---|---|
//! | a symmetric key, in one region or several | [`AwsKmsKeyring`] |
//! | any symmetric key that a message names, to decrypt | [`AwsKmsDiscoveryKeyring`] |
//! | several of either, in several regions | [`AwsKmsMultiKeyrings`] makes them |
//! | an RSA key pair; encrypts without a call (feature `rsa`) | `AwsKmsRsaKeyring` |
//! | an elliptic-curve key pair (feature `ecdh`) | `AwsKmsEcdhKeyring` |
//! | branch keys in a table, which are cached (feature `hierarchy`) | `AwsKmsHierarchicalKeyring` |
//!
//! ```no_run
//! # async fn example() -> sealwax::Result<()> {
//! # #[cfg(feature = "config")] {
//! use sealwax::Client;
//! use sealwax_aws::{AwsKmsKeyring, AwsSdkKmsSupplier};
//!
//! let regions = AwsSdkKmsSupplier::from_environment(None, None).await;
//! let key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
//! let keyring = AwsKmsKeyring::new(key, regions.region("eu-west-1")?)?;
//! let sealed = Client::new().encrypt(&keyring).context([("tenant", "blue")]).bytes(b"text").await?;
//! # let _ = sealed;
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `config` (default) | `AwsSdkKmsSupplier::from_environment`: the configuration of the AWS tools; HTTPS by rustls with ring |
//! | `rsa` | the keyring for RSA key pairs; needs a C compiler |
//! | `ecdh` | the keyring for elliptic-curve key pairs |
//! | `hierarchy` | the hierarchical keyring, over any storage of branch keys |
//! | `dynamodb` | branch keys in Amazon DynamoDB |
//! | `branch-key-file` | branch keys in a file |
//! | `conformance` | a test suite for other storages of branch keys |
//!
//! Without `config`, the configuration of the SDK must bring an HTTP client. docs/AWS-KMS.md in the
//! repository has the permissions, the calls that an operation makes, and what they cost.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod arn;
mod candidates;
mod discovery;
#[cfg(feature = "ecdh")]
mod ecdh;
#[cfg(feature = "hierarchy")]
mod hierarchy;
mod keyring;
mod multi;
#[cfg(feature = "rsa")]
mod rsa;
mod sdk;
mod supplier;

pub use arn::KmsArn;
pub use discovery::{AwsKmsDiscoveryKeyring, DiscoveryFilter};
#[cfg(feature = "ecdh")]
pub use ecdh::{AwsKmsEcdhKeyring, AwsKmsEcdhKeyringBuilder};
#[cfg(feature = "branch-key-file")]
pub use hierarchy::BranchKeyFile;
#[cfg(feature = "hierarchy")]
pub use hierarchy::{
    AwsKmsHierarchicalKeyring, BranchKey, BranchKeyCache, BranchKeyDescription, BranchKeyError, BranchKeyIdSupplier,
    BranchKeyItem, BranchKeyStorage, BranchKeyStore, BranchKeyVersion, Condition, ItemValue, KmsConfiguration, PutItem,
    StorageError, StorageErrorKind,
};
pub use keyring::AwsKmsKeyring;
pub use multi::AwsKmsMultiKeyrings;
#[cfg(feature = "rsa")]
pub use rsa::AwsKmsRsaKeyring;
#[cfg(feature = "dynamodb")]
pub use sdk::DynamoDbTable;
pub use sdk::{AwsSdkKms, AwsSdkKmsSupplier};
pub use supplier::KmsClientSupplier;

/// Test suites for implementations of the traits of this crate.
#[cfg(feature = "conformance")]
pub mod conformance {
    pub use crate::hierarchy::conformance::storage;
}
