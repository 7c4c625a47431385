//! Which keys of a key service the key store uses.
//!
//! Specification: framework/branch-key-store, "AWS KMS Configuration".

use std::borrow::Cow;

use super::BranchKeyError;
use crate::{KmsArn, arn::mrk_match_for_decrypt};

/// The keys of a key service that a [`BranchKeyStore`](super::BranchKeyStore) uses.
///
/// | constructor | reads items under | creates and rotates |
/// |---|---|---|
/// | [`key`](Self::key) | exactly this key | yes |
/// | [`multi_region_key`](Self::multi_region_key) | this key, or its replica in any region | yes |
/// | [`discovery`](Self::discovery) | the key that an item names | no |
/// | [`multi_region_discovery`](Self::multi_region_discovery) | that key, or its replica in a region | no |
/// | [`other_service`](Self::other_service) | exactly this key of another service | yes |
///
/// With discovery, a writer of the storage chooses which of the keys that the reader may call is
/// used.
///
/// ```
/// use sealwax_aws::KmsConfiguration;
///
/// assert!(KmsConfiguration::key("arn:aws:kms:eu-west-1:111122223333:key/1234abcd").is_ok());
/// assert!(KmsConfiguration::key("arn:aws:kms:eu-west-1:111122223333:alias/orders").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsConfiguration(Keys);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Keys {
    Key(String),
    MultiRegionKey(String),
    Discovery,
    MultiRegionDiscovery(String),
}

impl KmsConfiguration {
    /// Uses exactly one key of AWS KMS, given by its ARN.
    ///
    /// # Errors
    /// [`BranchKeyError::Invalid`] if this is not the ARN of a key.
    pub fn key(arn: impl Into<String>) -> Result<Self, BranchKeyError> {
        Ok(Self(Keys::Key(checked(arn.into())?)))
    }

    /// Uses one key of AWS KMS, and reads items under its replicas in other regions if it is a
    /// multi-Region key. Only the key with this ARN is called.
    ///
    /// # Errors
    /// As for [`key`](Self::key).
    pub fn multi_region_key(arn: impl Into<String>) -> Result<Self, BranchKeyError> {
        Ok(Self(Keys::MultiRegionKey(checked(arn.into())?)))
    }

    /// Uses the key that each item names.
    #[must_use]
    pub fn discovery() -> Self {
        Self(Keys::Discovery)
    }

    /// Uses the key that each item names or, if that is a multi-Region key, its replica in this
    /// region.
    ///
    /// # Errors
    /// [`BranchKeyError::Invalid`] if the region is empty.
    pub fn multi_region_discovery(region: impl Into<String>) -> Result<Self, BranchKeyError> {
        let region = region.into();
        if region.is_empty() {
            return Err(BranchKeyError::invalid("discovery of multi-Region keys needs a region"));
        }
        Ok(Self(Keys::MultiRegionDiscovery(region)))
    }

    /// Uses exactly one key of another service, such as the embedded key store, given by the id
    /// with which that service answers. Other libraries cannot read its items.
    ///
    /// # Errors
    /// [`BranchKeyError::Invalid`] if the id is empty or an ARN.
    pub fn other_service(key_id: impl Into<String>) -> Result<Self, BranchKeyError> {
        let key_id = key_id.into();
        if key_id.is_empty() || key_id.starts_with("arn:") {
            return Err(BranchKeyError::invalid("the id of a key of another service must not be empty or an ARN"));
        }
        Ok(Self(Keys::Key(key_id)))
    }

    /// Returns the key to create and rotate branch keys under.
    pub(super) fn own_key(&self) -> Result<&str, BranchKeyError> {
        match &self.0 {
            Keys::Key(arn) | Keys::MultiRegionKey(arn) => Ok(arn),
            Keys::Discovery | Keys::MultiRegionDiscovery(_) => Err(BranchKeyError::Discovery),
        }
    }

    /// Returns the key to call for an item that names this one, or the reason to refuse it.
    pub(super) fn key_to_call<'a>(&'a self, found: &'a str) -> Result<Cow<'a, str>, &'static str> {
        let other = "not the configured key";
        if let Keys::Key(own) = &self.0 {
            return if own == found { Ok(found.into()) } else { Err(other) };
        }
        let arn = KmsArn::parse(found).ok().filter(KmsArn::is_key).ok_or("which is not the ARN of a key")?;
        match &self.0 {
            Keys::MultiRegionKey(own) => {
                let matches = KmsArn::parse(own).is_ok_and(|own| mrk_match_for_decrypt(own, arn));
                if matches { Ok(own.into()) } else { Err(other) }
            }
            Keys::MultiRegionDiscovery(region) if arn.is_multi_region() => Ok(arn.in_region(region).to_string().into()),
            _ => Ok(found.into()),
        }
    }
}

fn checked(arn: String) -> Result<String, BranchKeyError> {
    if KmsArn::parse(&arn)?.is_key() {
        return Ok(arn);
    }
    Err(BranchKeyError::invalid("this is the ARN of an alias; use the ARN of its key"))
}
