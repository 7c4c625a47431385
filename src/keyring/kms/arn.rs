//! How AWS KMS names its keys.
//!
//! Specification: framework/aws-kms/aws-kms-key-arn, aws-kms-mrk-match-for-decrypt and aws-kms-mrk-are-unique.

use std::fmt;

use crate::error::{Error, Result};

/// The most bytes that the other SDKs take for an identifier of a key.
const MAX_LENGTH: usize = 2048;

/// The ARN of a key or an alias in AWS KMS, taken apart.
///
/// Specification: framework/aws-kms/aws-kms-key-arn, "A valid AWS KMS ARN".
///
/// ```
/// use sealwax::keyring::KmsArn;
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
    /// Takes an ARN apart. The type has an example.
    ///
    /// # Errors
    /// [`Error::Configuration`], which says what is wrong, for anything but the ARN of a key or an alias in AWS KMS; also
    /// for what is longer than 2,048 bytes, and for spaces, control characters and what is not ASCII.
    pub fn parse(text: &'a str) -> Result<Self> {
        check_characters(text)?;
        let refuse = |why: &str| Err(Error::Configuration(format!("this is no ARN of a key in AWS KMS: {why}")));
        let mut parts = text.split(':');
        let mut next = || parts.next().unwrap_or_default();
        let (arn, partition, service, region, account, resource) = (next(), next(), next(), next(), next(), next());
        if arn != "arn" || parts.next().is_some() {
            return refuse("it does not have the form arn:PARTITION:kms:REGION:ACCOUNT:key/ID");
        }
        if service != "kms" {
            return refuse("the service is another than kms");
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

    /// The partition, such as `aws` or `aws-cn`. The type has an example.
    #[must_use]
    pub fn partition(&self) -> &'a str {
        self.partition
    }

    /// The region, such as `eu-west-1`. The type has an example.
    #[must_use]
    pub fn region(&self) -> &'a str {
        self.region
    }

    /// The account, twelve digits. The type has an example.
    #[must_use]
    pub fn account(&self) -> &'a str {
        self.account
    }

    /// The id of the key, or the name of the alias. The type has an example.
    #[must_use]
    pub fn resource_id(&self) -> &'a str {
        self.resource_id
    }

    /// Whether it is the ARN of a key; otherwise it is that of an alias. The type has an example.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.is_key
    }

    /// Whether it is the ARN of a multi-Region key, which begins with `mrk-`. An alias never is one, whatever its name.
    /// The type has an example.
    ///
    /// Specification: framework/aws-kms/aws-kms-key-arn, "Identifying an AWS KMS multi-Region ARN".
    #[must_use]
    pub fn is_multi_region(&self) -> bool {
        self.is_key && self.resource_id.starts_with("mrk-")
    }

    /// The same key in another region, where it is a multi-Region key.
    ///
    /// ```
    /// # use sealwax::keyring::KmsArn;
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

/// Any name that AWS KMS takes for a key.
///
/// Specification: framework/aws-kms/aws-kms-key-arn, "A valid AWS KMS identifier".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyIdentifier<'a> {
    Arn(KmsArn<'a>),
    /// `alias/NAME`
    Alias,
    /// The id of a key alone.
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
                "this is no name of a key in AWS KMS: give an ARN, a key id, or an alias in the form alias/NAME"
                    .to_owned(),
            )),
        }
    }

    /// Specification: framework/aws-kms/aws-kms-key-arn, "Identifying an AWS KMS multi-Region identifier".
    pub(super) fn is_multi_region(self) -> bool {
        match self {
            Self::Arn(arn) => arn.is_multi_region(),
            Self::Alias => false,
            Self::Id(id) => id.starts_with("mrk-"),
        }
    }

    /// The region, if the identifier names one.
    pub(super) fn region(self) -> Option<&'a str> {
        match self {
            Self::Arn(arn) => Some(arn.region()),
            Self::Alias | Self::Id(_) => None,
        }
    }

    /// The id of the key, if the identifier names it.
    fn key_id(self) -> Option<&'a str> {
        match self {
            Self::Arn(arn) => arn.is_key().then_some(arn.resource_id()),
            Self::Alias => None,
            Self::Id(id) => Some(id),
        }
    }

    /// Returns whether the service may answer with this key when it was asked for this identifier: only with the key
    /// that is named; for the ARN of an alias with a key of the same partition, region and account; for a bare alias,
    /// which names none of these, with any key.
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

/// Whether a keyring for one key opens what another wrote: the same key or, of a multi-Region key, that of another region.
///
/// Specification: framework/aws-kms/aws-kms-mrk-match-for-decrypt.
pub(super) fn mrk_match_for_decrypt(configured: KmsArn<'_>, found: KmsArn<'_>) -> bool {
    configured == found
        || configured.is_multi_region() && found.is_multi_region() && configured == found.in_region(configured.region())
}

/// Refuses several multi-Region keys of one id: which region is to be asked is for the caller to say.
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
    Err(Error::Configuration(format!("one multi-Region key is named more than once; choose one region for it: {list}")))
}

/// What a keyring asks of a name that messages are to carry: the ARN of a key, and not of an alias.
#[cfg(any(feature = "raw-rsa", feature = "raw-ecdh"))]
pub(super) fn check_key_arn(text: &str) -> Result<()> {
    if KmsArn::parse(text)?.is_key() {
        return Ok(());
    }
    Err(Error::Configuration("this is the ARN of an alias; give that of its key, which messages name".to_owned()))
}

fn check_characters(text: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::Configuration(format!("this is no name of a key in AWS KMS: it {why}")));
    if text.is_empty() {
        return refuse("is empty");
    }
    if text.len() > MAX_LENGTH {
        return refuse("is longer than 2048 bytes");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("contains a space, a control character, or one that is not ASCII");
    }
    Ok(())
}
