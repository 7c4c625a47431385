//! The AWS KMS discovery keyring and its form for multi-Region keys.

use std::{borrow::Cow, collections::BTreeSet, fmt, sync::Arc};

use super::{
    KmsApi, KmsArn,
    service::{AWS_KMS, Service},
};
use crate::{
    error::{Error, Result},
    keyring::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};

/// Which keys a [discovery keyring](AwsKmsDiscoveryKeyring) may ask for: those of some accounts in one partition.
///
/// Without a filter, whoever wrote a message says which account's key is asked for. Give one wherever the accounts are known.
///
/// ```
/// use sealwax::keyring::DiscoveryFilter;
///
/// let filter = DiscoveryFilter::new("aws", ["111122223333", "444455556666"])?;
/// assert!(filter.accounts().any(|account| account == "111122223333"));
/// assert!(DiscoveryFilter::new("aws", [] as [&str; 0]).is_err());
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryFilter {
    partition: String,
    accounts: BTreeSet<String>,
}

impl DiscoveryFilter {
    /// A filter for a partition (`aws`, `aws-cn`, `aws-us-gov`) and accounts, each compared as a whole.
    ///
    /// # Errors
    /// [`Error::Configuration`] without an account, and if the partition or an account is empty.
    pub fn new(partition: impl Into<String>, accounts: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let partition = partition.into();
        let accounts: BTreeSet<String> = accounts.into_iter().map(Into::into).collect();
        if partition.is_empty() || accounts.is_empty() || accounts.contains("") {
            return Err(Error::Configuration(
                "a discovery filter needs a partition and one account or more, none of them empty".to_owned(),
            ));
        }
        Ok(Self { partition, accounts })
    }

    /// The partition.
    ///
    /// ```
    /// # use sealwax::keyring::DiscoveryFilter;
    /// assert_eq!(DiscoveryFilter::new("aws-cn", ["111122223333"])?.partition(), "aws-cn");
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The accounts. The type has an example.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        self.accounts.iter().map(String::as_str)
    }

    fn allows(&self, arn: KmsArn<'_>) -> bool {
        arn.partition() == self.partition && self.accounts.contains(arn.account())
    }
}

/// As in a query: `partition=aws&account=111122223333&account=444455556666`.
impl fmt::Display for DiscoveryFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition={}", self.partition)?;
        self.accounts.iter().try_for_each(|account| write!(f, "&account={account}"))
    }
}

/// Unwraps data keys with whatever symmetric keys of AWS KMS they name. It only decrypts.
///
/// | made with | asks for |
/// |---|---|
/// | [`new`](Self::new) | the key that the message names, whatever its region; the service may not know it |
/// | [`mrk_aware`](Self::mrk_aware) | keys of its own region, and the replica there of a multi-Region key |
///
/// With a [filter](Self::filter) only keys of certain accounts are asked for. For several regions there is
/// [`AwsKmsMultiKeyrings::discovery`](super::AwsKmsMultiKeyrings::discovery).
///
/// Specification: framework/aws-kms/aws-kms-discovery-keyring and framework/aws-kms/aws-kms-mrk-discovery-keyring.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{Client, Result, keyring::{AwsKmsDiscoveryKeyring, DiscoveryFilter, KmsApi}};
///
/// fn read(message: &[u8], kms: Arc<dyn KmsApi>) -> Result<Vec<u8>> {
///     let keyring = AwsKmsDiscoveryKeyring::new(kms).filter(DiscoveryFilter::new("aws", ["111122223333"])?);
///     Ok(Client::new().decrypt(&keyring).bytes(message).wait()?.plaintext)
/// }
/// ```
pub struct AwsKmsDiscoveryKeyring {
    opens: Opens,
    filter: Option<DiscoveryFilter>,
    region: Option<String>,
    service: Service,
}

/// Which encrypted data keys are opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opens {
    AnyKey,
    /// Those of the keys and replicas in the region.
    InRegion,
}

impl AwsKmsDiscoveryKeyring {
    /// A keyring that asks the service for the very key which a message names. The type has an example.
    #[must_use]
    pub fn new(kms: Arc<dyn KmsApi>) -> Self {
        Self { opens: Opens::AnyKey, filter: None, region: None, service: Service::new(kms, "") }.labelled()
    }

    /// A keyring that asks the service of this region for keys of the region, and for its replicas of multi-Region keys that
    /// wrapped elsewhere.
    ///
    /// # Errors
    /// [`Error::Configuration`] for an empty region. That the service is the one of the region is for the caller to see to.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sealwax::keyring::{AwsKmsDiscoveryKeyring, KmsApi};
    /// # fn example(kms_of_eu_west_1: Arc<dyn KmsApi>) -> sealwax::Result<()> {
    /// let keyring = AwsKmsDiscoveryKeyring::mrk_aware("eu-west-1", kms_of_eu_west_1)?;
    /// # let _ = keyring;
    /// # Ok(())
    /// # }
    /// ```
    pub fn mrk_aware(region: impl Into<String>, kms: Arc<dyn KmsApi>) -> Result<Self> {
        let region = region.into();
        if region.is_empty() {
            return Err(Error::Configuration("a discovery keyring for multi-Region keys needs a region".to_owned()));
        }
        Ok(Self { opens: Opens::InRegion, ..Self::new(kms) }.named(region))
    }

    /// Asks only for keys that the filter allows. The type has an example.
    #[must_use]
    pub fn filter(self, filter: DiscoveryFilter) -> Self {
        Self { filter: Some(filter), ..self }.labelled()
    }

    /// Grants that may not have spread through AWS KMS yet.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sealwax::keyring::{AwsKmsDiscoveryKeyring, KmsApi};
    /// # fn example(kms: Arc<dyn KmsApi>) -> AwsKmsDiscoveryKeyring {
    /// AwsKmsDiscoveryKeyring::new(kms).grant_tokens(["a-grant-token"])
    /// # }
    /// ```
    #[must_use]
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.service.grant_tokens = tokens.into_iter().map(Into::into).collect();
        self
    }

    /// The same keyring, whose label says of which region its service is.
    pub(super) fn named(self, region: String) -> Self {
        Self { region: Some(region), ..self }.labelled()
    }

    /// With a label that says what the keyring asks for, in the form of a query.
    fn labelled(mut self) -> Self {
        let scheme = if self.opens == Opens::AnyKey { "aws-kms" } else { "aws-kms-mrk" };
        let region = self.region.as_ref().map(|region| format!("region={region}"));
        let filter = self.filter.as_ref().map(DiscoveryFilter::to_string);
        let query: Vec<_> = region.into_iter().chain(filter).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        self.service.label = format!("{scheme}:discovery{mark}{}", query.join("&")).into();
        self
    }

    /// Under which name the service is asked for the key of a message, if at all.
    fn key_to_ask<'a>(&self, text: &'a str, arn: KmsArn<'a>) -> Option<Cow<'a, str>> {
        if self.filter.as_ref().is_some_and(|filter| !filter.allows(arn)) {
            return None;
        }
        match (self.opens, self.region.as_deref()) {
            (Opens::InRegion, Some(region)) if arn.region() != region => {
                arn.is_multi_region().then(|| arn.in_region(region).to_string().into())
            }
            _ => Some(text.into()),
        }
    }
}

impl Keyring for AwsKmsDiscoveryKeyring {
    fn label(&self) -> Arc<str> {
        self.service.label.clone()
    }

    /// Fails: there is no key to encrypt under.
    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async {
            self.service.refuse("only decrypts: encrypt with an AwsKmsKeyring, which names the key to encrypt under")
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let candidates = self.service.candidates(request, AWS_KMS, |text, arn| self.key_to_ask(text, arn))?;
            self.service.unwrap(request, candidates).await
        })
    }
}
