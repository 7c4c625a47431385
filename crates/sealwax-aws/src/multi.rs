//! AWS KMS multi-keyrings.

use std::{fmt, sync::Arc};

use sealwax::{
    BoxError, Error, Result,
    keyring::{Keyring, KmsApi, MultiKeyring},
};

use crate::{
    AwsKmsDiscoveryKeyring, AwsKmsKeyring, DiscoveryFilter, KmsClientSupplier,
    arn::{KeyIdentifier, check_mrks_are_unique},
};

/// A factory for multi-keyrings of AWS KMS keys in one or more regions, with clients from a
/// [supplier](KmsClientSupplier).
///
/// | method | multi-keyring of |
/// |---|---|
/// | [`strict`](Self::strict) | [`AwsKmsKeyring`]s: the first generates the data key, the others wrap it too |
/// | [`discovery`](Self::discovery) | [`AwsKmsDiscoveryKeyring`]s: one for each region, to decrypt |
///
/// [`mrk_aware`](Self::mrk_aware) selects their multi-Region variants.
///
/// To decrypt, the keyrings are tried in order. If none succeeds, the error contains the failure of
/// each of them, with its label.
///
/// Specification: framework/aws-kms/aws-kms-multi-keyrings and
/// framework/aws-kms/aws-kms-mrk-multi-keyrings.
///
/// ```
/// use sealwax::{Client, Result};
/// use sealwax_aws::{AwsKmsMultiKeyrings, DiscoveryFilter, KmsClientSupplier};
///
/// fn example(supplier: impl KmsClientSupplier + 'static) -> Result<()> {
///     let kms = AwsKmsMultiKeyrings::new(supplier);
///     let writing = kms.strict(
///         "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
///         ["arn:aws:kms:us-east-1:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321"],
///     )?;
///     let sealed = Client::new().encrypt(&writing).bytes(b"text").wait()?;
///
///     // Needs only one of the regions to be available.
///     let filter = DiscoveryFilter::new("aws", ["111122223333"])?;
///     let reading = kms.discovery(["eu-west-1", "us-east-1"], Some(filter))?;
///     assert_eq!(Client::new().decrypt(&reading).bytes(&sealed.message).wait()?.plaintext, b"text");
///     Ok(())
/// }
/// ```
pub struct AwsKmsMultiKeyrings {
    supplier: Box<dyn KmsClientSupplier>,
    mrk_aware: bool,
    grant_tokens: Vec<String>,
}

impl AwsKmsMultiKeyrings {
    /// Creates a factory that gets its clients from `supplier`.
    pub fn new(supplier: impl KmsClientSupplier + 'static) -> Self {
        Self { supplier: Box::new(supplier), mrk_aware: false, grant_tokens: Vec::new() }
    }

    /// Selects the keyrings for multi-Region keys.
    #[must_use]
    pub fn mrk_aware(mut self) -> Self {
        self.mrk_aware = true;
        self
    }

    /// Sets tokens of grants that may not have taken effect throughout AWS KMS yet, for all of the
    /// keyrings.
    #[must_use]
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.grant_tokens = tokens.into_iter().map(Into::into).collect();
        self
    }

    /// Creates a multi-keyring that generates data keys under one key and also wraps them under
    /// others. Each key is called in the region in its ARN, or in the default region if it is not
    /// an ARN.
    ///
    /// # Errors
    /// [`Error::Configuration`] if an argument is not a key identifier or, with
    /// [`mrk_aware`](Self::mrk_aware), if a multi-Region key occurs twice, even in different
    /// regions. [`Error::Keyring`], with every region that the supplier has no client for.
    pub fn strict(
        &self,
        generator: impl AsRef<str>,
        children: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<MultiKeyring> {
        let children: Vec<_> = children.into_iter().collect();
        let keys: Vec<_> = [generator.as_ref()].into_iter().chain(children.iter().map(AsRef::as_ref)).collect();
        let mut keyrings = self.strict_keyrings(&keys)?.into_iter();
        let generator = keyrings.next().ok_or_else(no_key)?;
        Ok(keyrings.fold(MultiKeyring::new(generator), MultiKeyring::child))
    }

    /// Creates a multi-keyring like [`strict`](Self::strict) without a generator: to decrypt, or to
    /// be the child of another multi-keyring.
    ///
    /// # Errors
    /// As for [`strict`](Self::strict), and [`Error::Configuration`] if there are no keys.
    pub fn strict_without_generator(
        &self,
        children: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<MultiKeyring> {
        let children: Vec<_> = children.into_iter().collect();
        let keys: Vec<_> = children.iter().map(AsRef::as_ref).collect();
        without_generator(self.strict_keyrings(&keys)?)
    }

    fn strict_keyrings(&self, keys: &[&str]) -> Result<Vec<AwsKmsKeyring>> {
        if self.mrk_aware {
            check_mrks_are_unique(keys)?;
        }
        let regions: Vec<_> =
            keys.iter().map(|key| KeyIdentifier::parse(key).map(KeyIdentifier::region)).collect::<Result<_>>()?;
        let make = if self.mrk_aware { AwsKmsKeyring::mrk_aware } else { AwsKmsKeyring::new };
        let services = self.services(&regions)?;
        let keyrings =
            keys.iter().copied().zip(services).map(|(key, kms)| Ok(make(key, kms)?.grant_tokens(&self.grant_tokens)));
        keyrings.collect()
    }

    /// Creates a multi-keyring that decrypts with the keys of these regions, which are tried in
    /// order.
    ///
    /// # Errors
    /// [`Error::Configuration`] if there are no regions or one is empty. [`Error::Keyring`], with
    /// every region that the supplier has no client for.
    pub fn discovery(
        &self,
        regions: impl IntoIterator<Item = impl Into<String>>,
        filter: Option<DiscoveryFilter>,
    ) -> Result<MultiKeyring> {
        let mut distinct: Vec<String> = Vec::new();
        for region in regions.into_iter().map(Into::into) {
            if !distinct.contains(&region) {
                distinct.push(region);
            }
        }
        if distinct.is_empty() || distinct.iter().any(String::is_empty) {
            return Err(Error::Configuration(
                "a discovery multi-keyring needs at least one region, none of them empty".to_owned(),
            ));
        }
        let names: Vec<_> = distinct.iter().map(|region| Some(region.as_str())).collect();
        let services = self.services(&names)?;
        let mut keyrings = Vec::new();
        for (region, kms) in distinct.into_iter().zip(services) {
            let keyring = match self.mrk_aware {
                true => AwsKmsDiscoveryKeyring::mrk_aware(region, kms)?,
                false => AwsKmsDiscoveryKeyring::new(kms).named(region),
            };
            let keyring = keyring.grant_tokens(&self.grant_tokens);
            keyrings.push(filter.iter().cloned().fold(keyring, AwsKmsDiscoveryKeyring::filter));
        }
        without_generator(keyrings)
    }

    /// Returns the client of each region, or an error with all regions that have none.
    fn services(&self, regions: &[Option<&str>]) -> Result<Vec<Arc<dyn KmsApi>>> {
        let (mut services, mut missing) = (Vec::new(), Vec::new());
        for region in regions {
            match self.supplier.client(*region) {
                Ok(kms) => services.push(kms),
                Err(why) => missing.push((region.unwrap_or("the default region").to_owned(), why)),
            }
        }
        if missing.is_empty() { Ok(services) } else { Err(Error::keyring("aws-kms", NoService(missing))) }
    }
}

fn without_generator(keyrings: Vec<impl Keyring + 'static>) -> Result<MultiKeyring> {
    let mut keyrings = keyrings.into_iter();
    let first = keyrings.next().ok_or_else(no_key)?;
    Ok(keyrings.fold(MultiKeyring::without_generator(first), MultiKeyring::child))
}

fn no_key() -> Error {
    Error::Configuration("an AWS KMS multi-keyring needs at least one key".to_owned())
}

/// The regions that a supplier has no client for, and why.
#[derive(Debug)]
struct NoService(Vec<(String, BoxError)>);

impl fmt::Display for NoService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no client")?;
        for (position, (region, why)) in self.0.iter().enumerate() {
            let separator = if position == 0 { " " } else { "; " };
            write!(f, "{separator}for {region}: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NoService {}
