//! Multi-keyrings of AWS KMS.

use std::{fmt, sync::Arc};

use super::{
    AwsKmsDiscoveryKeyring, AwsKmsKeyring, DiscoveryFilter, KmsApi, KmsClientSupplier,
    arn::{KeyIdentifier, check_mrks_are_unique},
};
use crate::{
    error::{BoxError, Error, Result},
    keyring::{Keyring, MultiKeyring},
};

/// Makes multi-keyrings of AWS KMS keys that may be in several regions, with the service of each from a
/// [supplier](KmsClientSupplier).
///
/// | method | gives a multi-keyring of |
/// |---|---|
/// | [`strict`](Self::strict) | [`AwsKmsKeyring`]s: the first generates the data key, the others wrap it too |
/// | [`discovery`](Self::discovery) | [`AwsKmsDiscoveryKeyring`]s: one for each region, to decrypt |
///
/// After [`mrk_aware`](Self::mrk_aware) they are those for multi-Region keys.
///
/// When a message is read, all are tried in their order; if none succeeds, the error has what each of them met, by its label.
///
/// Specification: framework/aws-kms/aws-kms-multi-keyrings and framework/aws-kms/aws-kms-mrk-multi-keyrings.
///
/// ```
/// use sealwax::{Client, Result, keyring::{AwsKmsMultiKeyrings, DiscoveryFilter, KmsClientSupplier}};
///
/// fn example(supplier: impl KmsClientSupplier + 'static) -> Result<()> {
///     let kms = AwsKmsMultiKeyrings::new(supplier);
///     let writing = kms.strict(
///         "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
///         ["arn:aws:kms:us-east-1:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321"],
///     )?;
///     let sealed = Client::new().encrypt(&writing).bytes(b"text").wait()?;
///
///     // Whichever of the regions can be reached.
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
    /// The beginning, with a supplier of services. The type has an example.
    pub fn new(supplier: impl KmsClientSupplier + 'static) -> Self {
        Self { supplier: Box::new(supplier), mrk_aware: false, grant_tokens: Vec::new() }
    }

    /// The keyrings are to be those that know multi-Region keys.
    ///
    /// ```
    /// # use sealwax::{Result, keyring::{AwsKmsMultiKeyrings, KmsClientSupplier, MultiKeyring}};
    /// # fn example(supplier: impl KmsClientSupplier + 'static) -> Result<MultiKeyring> {
    /// AwsKmsMultiKeyrings::new(supplier).mrk_aware().discovery(["eu-west-1"], None)
    /// # }
    /// ```
    #[must_use]
    pub fn mrk_aware(mut self) -> Self {
        self.mrk_aware = true;
        self
    }

    /// Grants that may not have spread through AWS KMS yet, for all of the keyrings.
    ///
    /// ```
    /// # use sealwax::{Result, keyring::{AwsKmsMultiKeyrings, KmsClientSupplier, MultiKeyring}};
    /// # fn example(supplier: impl KmsClientSupplier + 'static) -> Result<MultiKeyring> {
    /// AwsKmsMultiKeyrings::new(supplier).grant_tokens(["a-grant-token"]).discovery(["eu-west-1"], None)
    /// # }
    /// ```
    #[must_use]
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.grant_tokens = tokens.into_iter().map(Into::into).collect();
        self
    }

    /// A multi-keyring that generates data keys under one key, and wraps them under others, too. The service of a key is
    /// that of the region in its ARN; for a key without ARN, that of the default region. The type has an example.
    ///
    /// # Errors
    /// [`Error::Configuration`] for what names no key; and, for multi-Region keys, if one key is named twice, whatever
    /// the regions. [`Error::Keyring`] with every region for which the supplier gave no service.
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

    /// As [`strict`](Self::strict), without a generator: to decrypt, or to be the child of another multi-keyring.
    ///
    /// # Errors
    /// As [`strict`](Self::strict); and [`Error::Configuration`] without any key.
    ///
    /// ```
    /// # use sealwax::{Result, keyring::{AwsKmsMultiKeyrings, KmsClientSupplier, MultiKeyring}};
    /// # fn example(supplier: impl KmsClientSupplier + 'static) -> Result<MultiKeyring> {
    /// let keys = ["arn:aws:kms:us-east-1:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321"];
    /// AwsKmsMultiKeyrings::new(supplier).strict_without_generator(keys)
    /// # }
    /// ```
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

    /// A multi-keyring that decrypts with the keys of these regions, which are asked in this order. The type has an example.
    ///
    /// # Errors
    /// [`Error::Configuration`] without a region, or if one is empty. [`Error::Keyring`] with every region for which the
    /// supplier gave no service.
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
                "a discovery multi-keyring needs one region or more, none of them empty".to_owned(),
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

    /// The service of each region, or all that there is none of.
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
    Error::Configuration("a multi-keyring of AWS KMS needs one key or more".to_owned())
}

/// The regions that a supplier has no service for, and why.
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
