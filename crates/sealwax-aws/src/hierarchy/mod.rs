//! Key hierarchies: branch keys in a storage, wrapped by a key service, that wrap data keys locally.
//!
//! Specification: framework/branch-key-store and
//! framework/aws-kms/aws-kms-hierarchical-keyring.

#[cfg(feature = "conformance")]
pub(crate) mod conformance;
mod derivation;
mod error;
#[cfg(feature = "branch-key-file")]
mod file;
mod identity;
mod item;
mod keyring;
mod kms;
mod storage;
mod store;
mod wrapping;

pub use error::BranchKeyError;
#[cfg(feature = "branch-key-file")]
pub use file::BranchKeyFile;
pub use item::{BranchKeyItem, ItemValue};
pub use keyring::{AwsKmsHierarchicalKeyring, BranchKeyCache, BranchKeyIdSupplier};
pub use kms::KmsConfiguration;
pub use storage::{BranchKeyStorage, Condition, PutItem, StorageError, StorageErrorKind};
pub use store::{BranchKey, BranchKeyDescription, BranchKeyStore, BranchKeyVersion};
