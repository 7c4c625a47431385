//! AWS KMS key identifiers.
//!
//! Specification: framework/aws-kms/aws-kms-key-arn, aws-kms-mrk-match-for-decrypt and
//! aws-kms-mrk-are-unique.

use std::fmt;

use sealwax::{Error, Result};

/// The longest key identifier in bytes that the other SDKs accept.
const MAX_LENGTH: usize = 2048;

/// A parsed ARN of a key or an alias in AWS KMS.
///
/// Specification: framework/aws-kms/aws-kms-key-arn, "A valid AWS KMS ARN".
///
/// ```
/// use sealwax_aws::KmsArn;
///
/// let arn = KmsArn::parse("arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab")?;
/// assert_eq!((arn.partition(), arn.region(), arn.account()), ("aws", "eu-west-1", "111122223333"));
/// assert_eq!(arn.resource_id(), "mrk-1234abcd12ab34cd56ef1234567890ab");
/// assert!(arn.is_key() && arn.is_multi_region());
///
/// assert!(KmsArn::parse("arn:aws:s3:eu-west-1:111122223333:key/1234").is_err());
/// assert!(!KmsArn::parse("arn:aws:kms:eu-west-1:111122223333:alias/mrk-1234")?.is_multi_region());
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KmsArn<'a> {
    partition: &'a str,
    region: &'a str,
    account: &'a str,
    is_key: bool,
    resource_id: &'a str,
}

impl<'a> KmsArn<'a> {
    /// Parses an ARN.
    ///
    /// # Errors
    /// [`Error::Configuration`] with the reason, if the text is not the ARN of a key or an alias in
    /// AWS KMS, is longer than 2,048 bytes, or contains spaces, control characters or non-ASCII
    /// characters.
    pub fn parse(text: &'a str) -> Result<Self> {
        check_characters(text)?;
        let refuse = |why: &str| Err(Error::Configuration(format!("not the ARN of an AWS KMS key: {why}")));
        let mut parts = text.split(':');
        let mut next = || parts.next().unwrap_or_default();
        let (arn, partition, service, region, account, resource) = (next(), next(), next(), next(), next(), next());
        if arn != "arn" || parts.next().is_some() {
            return refuse("it does not have the form arn:PARTITION:kms:REGION:ACCOUNT:key/ID");
        }
        if service != "kms" {
            return refuse("the service is not kms");
        }
        if partition.is_empty() || region.is_empty() || account.is_empty() {
            return refuse("the partition, the region or the account is empty");
        }
        let Some((kind @ ("key" | "alias"), resource_id)) = resource.split_once('/') else {
            return refuse("the resource is neither key/ID nor alias/NAME");
        };
        if resource_id.is_empty() {
            return refuse("the id of the key or the name of the alias is empty");
        }
        Ok(Self { partition, region, account, is_key: kind == "key", resource_id })
    }

    /// Returns the partition, such as `aws` or `aws-cn`.
    #[must_use]
    pub fn partition(&self) -> &'a str {
        self.partition
    }

    /// Returns the region, such as `eu-west-1`.
    #[must_use]
    pub fn region(&self) -> &'a str {
        self.region
    }

    /// Returns the account, which is twelve digits.
    #[must_use]
    pub fn account(&self) -> &'a str {
        self.account
    }

    /// Returns the key id or the alias name.
    #[must_use]
    pub fn resource_id(&self) -> &'a str {
        self.resource_id
    }

    /// Returns whether this is the ARN of a key. Otherwise it is the ARN of an alias.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.is_key
    }

    /// Returns whether this is the ARN of a multi-Region key, whose id starts with `mrk-`. An alias
    /// never is one, whatever its name.
    ///
    /// Specification: framework/aws-kms/aws-kms-key-arn, "Identifying an AWS KMS multi-Region ARN".
    #[must_use]
    pub fn is_multi_region(&self) -> bool {
        self.is_key && self.resource_id.starts_with("mrk-")
    }

    /// Returns the ARN of this multi-Region key in another region.
    ///
    /// ```
    /// # use sealwax_aws::KmsArn;
    /// let arn = KmsArn::parse("arn:aws:kms:eu-west-1:111122223333:key/mrk-1")?;
    /// assert_eq!(arn.in_region("us-east-1").to_string(), "arn:aws:kms:us-east-1:111122223333:key/mrk-1");
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn in_region<'b>(self, region: &'b str) -> KmsArn<'b>
    where
        'a: 'b,
    {
        KmsArn { region, ..self }
    }
}

impl fmt::Display for KmsArn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, region, account, is_key, resource_id } = self;
        let kind = if *is_key { "key" } else { "alias" };
        write!(f, "arn:{partition}:kms:{region}:{account}:{kind}/{resource_id}")
    }
}

/// Any identifier that AWS KMS accepts for a key.
///
/// Specification: framework/aws-kms/aws-kms-key-arn, "A valid AWS KMS identifier".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyIdentifier<'a> {
    Arn(KmsArn<'a>),
    /// `alias/NAME`
    Alias,
    /// A bare key id.
    Id(&'a str),
}

impl<'a> KeyIdentifier<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        check_characters(text)?;
        if text.starts_with("arn:") {
            return KmsArn::parse(text).map(Self::Arn);
        }
        match text.split_once('/') {
            None if !text.contains(':') => Ok(Self::Id(text)),
            Some(("alias", name)) if !name.is_empty() => Ok(Self::Alias),
            _ => Err(Error::Configuration(
                "not an AWS KMS key identifier: use an ARN, a key id, or an alias of the form alias/NAME".to_owned(),
            )),
        }
    }

    /// Returns whether the identifier names a multi-Region key.
    ///
    /// Specification: framework/aws-kms/aws-kms-key-arn, "Identifying an AWS KMS multi-Region
    /// identifier".
    pub(super) fn is_multi_region(self) -> bool {
        match self {
            Self::Arn(arn) => arn.is_multi_region(),
            Self::Alias => false,
            Self::Id(id) => id.starts_with("mrk-"),
        }
    }

    /// Returns the region, if the identifier contains one.
    pub(super) fn region(self) -> Option<&'a str> {
        match self {
            Self::Arn(arn) => Some(arn.region()),
            Self::Alias | Self::Id(_) => None,
        }
    }

    /// Returns the key id, if the identifier contains one.
    fn key_id(self) -> Option<&'a str> {
        match self {
            Self::Arn(arn) => arn.is_key().then_some(arn.resource_id()),
            Self::Alias => None,
            Self::Id(id) => Some(id),
        }
    }

    /// Returns whether a request for this identifier may be answered by the key `answer`.
    ///
    /// The ARN or id of a key allows only that key. The ARN of an alias allows keys in the same
    /// partition, region and account. A bare alias contains none of these and allows any key.
    pub(super) fn may_be(self, answer: KmsArn<'_>) -> bool {
        answer.is_key()
            && match self {
                Self::Arn(arn) if arn.is_key() => arn == answer,
                Self::Arn(KmsArn { partition, region, account, .. }) => {
                    (partition, region, account) == (answer.partition, answer.region, answer.account)
                }
                Self::Alias => true,
                Self::Id(id) => id == answer.resource_id(),
            }
    }
}

/// Returns whether a keyring for one key opens what another wrapped: the same key, or a replica of
/// the same multi-Region key.
///
/// Specification: framework/aws-kms/aws-kms-mrk-match-for-decrypt.
pub(super) fn mrk_match_for_decrypt(configured: KmsArn<'_>, found: KmsArn<'_>) -> bool {
    configured == found
        || configured.is_multi_region() && found.is_multi_region() && configured == found.in_region(configured.region())
}

/// Fails if a multi-Region key occurs more than once: the caller must choose the region to call.
///
/// Specification: framework/aws-kms/aws-kms-mrk-are-unique.
pub(super) fn check_mrks_are_unique(identifiers: &[&str]) -> Result<()> {
    let mut mrks = Vec::new();
    for text in identifiers {
        let identifier = KeyIdentifier::parse(text)?;
        if let Some(id) = identifier.key_id().filter(|_| identifier.is_multi_region()) {
            mrks.push((id, *text));
        }
    }
    let ambiguous: Vec<_> = mrks
        .iter()
        .filter(|(id, _)| mrks.iter().filter(|(other, _)| other == id).count() > 1)
        .map(|(_, text)| *text)
        .collect();
    if ambiguous.is_empty() {
        return Ok(());
    }
    let list = ambiguous.join(", ");
    Err(Error::Configuration(format!("the same multi-Region key is given more than once; choose one region: {list}")))
}

/// Checks an identifier that will be stored in messages: it must be the ARN of a key, not of an
/// alias.
#[cfg(any(feature = "rsa", feature = "ecdh"))]
pub(super) fn check_key_arn(text: &str) -> Result<()> {
    if KmsArn::parse(text)?.is_key() {
        return Ok(());
    }
    Err(Error::Configuration("this is the ARN of an alias; use the ARN of its key".to_owned()))
}

fn check_characters(text: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::Configuration(format!("not an AWS KMS key identifier: it {why}")));
    if text.is_empty() {
        return refuse("is empty");
    }
    if text.len() > MAX_LENGTH {
        return refuse("is longer than 2048 bytes");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("contains a space, a control character or a non-ASCII character");
    }
    Ok(())
}
