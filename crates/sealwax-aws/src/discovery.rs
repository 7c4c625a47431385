//! The AWS KMS discovery keyring and its multi-Region variant.

use std::{borrow::Cow, collections::BTreeSet, fmt, sync::Arc};

use sealwax::{
    Error, Result,
    keyring::{BoxFuture, Keyring, KmsApi, KmsService, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};

use crate::{
    KmsArn,
    candidates::{AWS_KMS, candidates, refusal},
};

/// A filter for the keys that a [discovery keyring](AwsKmsDiscoveryKeyring) may use: those of
/// certain accounts in one partition.
///
/// Without a filter, the writer of a message decides which account's key is called. Set one
/// whenever the accounts are known.
///
/// ```
/// use sealwax_aws::DiscoveryFilter;
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
    /// Creates a filter for a partition (`aws`, `aws-cn`, `aws-us-gov`) and accounts, which must
    /// match exactly.
    ///
    /// # Errors
    /// [`Error::Configuration`] if there are no accounts, or if the partition or an account is
    /// empty.
    pub fn new(partition: impl Into<String>, accounts: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let partition = partition.into();
        let accounts: BTreeSet<String> = accounts.into_iter().map(Into::into).collect();
        if partition.is_empty() || accounts.is_empty() || accounts.contains("") {
            return Err(Error::Configuration(
                "a discovery filter needs a partition and at least one account, none of them empty".to_owned(),
            ));
        }
        Ok(Self { partition, accounts })
    }

    /// Returns the partition.
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// Returns the accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        self.accounts.iter().map(String::as_str)
    }

    fn allows(&self, arn: KmsArn<'_>) -> bool {
        arn.partition() == self.partition && self.accounts.contains(arn.account())
    }
}

/// Formats the filter as a query: `partition=aws&account=111122223333&account=444455556666`.
impl fmt::Display for DiscoveryFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition={}", self.partition)?;
        self.accounts.iter().try_for_each(|account| write!(f, "&account={account}"))
    }
}

/// A keyring that unwraps data keys with whichever symmetric keys of AWS KMS they name. It cannot
/// encrypt.
///
/// | constructor | key that is called |
/// |---|---|
/// | [`new`](Self::new) | the key that the message names, in any region; the service may not have it |
/// | [`mrk_aware`](Self::mrk_aware) | keys of its own region, including local replicas of multi-Region keys |
///
/// With a [filter](Self::filter), only keys of certain accounts are called. For several regions,
/// use [`AwsKmsMultiKeyrings::discovery`](super::AwsKmsMultiKeyrings::discovery).
///
/// Specification: framework/aws-kms/aws-kms-discovery-keyring and
/// framework/aws-kms/aws-kms-mrk-discovery-keyring.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{Client, Result, keyring::KmsApi};
/// use sealwax_aws::{AwsKmsDiscoveryKeyring, DiscoveryFilter};
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
    service: KmsService,
}

/// Which encrypted data keys the keyring opens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opens {
    AnyKey,
    /// Those whose key, or a replica of it, is in the region.
    InRegion,
}

impl AwsKmsDiscoveryKeyring {
    /// Creates a keyring that calls exactly the key which a message names.
    #[must_use]
    pub fn new(kms: Arc<dyn KmsApi>) -> Self {
        Self { opens: Opens::AnyKey, filter: None, region: None, service: KmsService::new(kms, "") }.labelled()
    }

    /// Creates a keyring that calls keys in this region, including local replicas of multi-Region
    /// keys that wrapped elsewhere.
    ///
    /// The caller must make sure that `kms` is the service of this region.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the region is empty.
    pub fn mrk_aware(region: impl Into<String>, kms: Arc<dyn KmsApi>) -> Result<Self> {
        let region = region.into();
        if region.is_empty() {
            return Err(Error::Configuration("a discovery keyring for multi-Region keys needs a region".to_owned()));
        }
        Ok(Self { opens: Opens::InRegion, ..Self::new(kms) }.named(region))
    }

    /// Restricts the keyring to keys that the filter allows.
    #[must_use]
    pub fn filter(self, filter: DiscoveryFilter) -> Self {
        Self { filter: Some(filter), ..self }.labelled()
    }

    /// Sets tokens of grants that may not have taken effect throughout AWS KMS yet.
    #[must_use]
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.service = self.service.grant_tokens(tokens);
        self
    }

    /// Returns the keyring with the service's region in its label.
    pub(super) fn named(self, region: String) -> Self {
        Self { region: Some(region), ..self }.labelled()
    }

    /// Sets the label: the scheme, and the region and filter in the form of a query.
    fn labelled(mut self) -> Self {
        let scheme = if self.opens == Opens::AnyKey { "aws-kms" } else { "aws-kms-mrk" };
        let region = self.region.as_ref().map(|region| format!("region={region}"));
        let filter = self.filter.as_ref().map(DiscoveryFilter::to_string);
        let query: Vec<_> = region.into_iter().chain(filter).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        self.service = self.service.with_label(format!("{scheme}:discovery{mark}{}", query.join("&")));
        self
    }

    /// Returns the key id to call for a key that a message names, or `None` if the key is not
    /// wanted.
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
        self.service.label()
    }

    /// Fails, because a discovery keyring has no key to encrypt under.
    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async { Err(refusal(&self.label(), "can only decrypt; encrypt with an AwsKmsKeyring")) })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let candidates = candidates(&self.service, request, AWS_KMS, |text, arn| self.key_to_ask(text, arn))?;
            self.service.unwrap(request, candidates).await
        })
    }
}
