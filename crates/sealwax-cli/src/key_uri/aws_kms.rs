//! Keys in AWS KMS: `aws-kms:ARN`, `aws-kms:alias/NAME`, `aws-kms:discovery?account=ACCOUNT`.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use sealwax::keyring::Keyring;
use sealwax_aws::{
    AwsKmsDiscoveryKeyring, AwsKmsKeyring, AwsKmsMultiKeyrings, AwsSdkKmsSupplier, DiscoveryFilter, KmsArn,
    KmsClientSupplier,
};

use super::KeyUri;
use crate::{
    aws::{AwsKms, Place},
    failure::Failure,
};

pub(super) fn keyring(uri: &KeyUri<'_>, aws: &AwsKms) -> Result<Box<dyn Keyring>, Failure> {
    if uri.path == "discovery" {
        return discovery(uri, aws);
    }
    uri.only(&["region", "profile"])?;
    if values(uri, "region")?.len() > 1 {
        return Err(uri.refuse("a key is in one region; remove the other"));
    }
    let key = decode(uri, uri.path)?;
    let regions = regions(uri, aws)?;
    let refuse = |error: &dyn std::fmt::Display| uri.refuse(&error.to_string());
    let arn = if key.starts_with("arn:") { Some(KmsArn::parse(&key).map_err(|error| refuse(&error))?) } else { None };
    // An ARN contains the key's region.
    let kms = regions.client(arn.map(|arn| arn.region())).map_err(|error| refuse(&error))?;
    let keyring = match arn {
        Some(arn) if arn.is_multi_region() => AwsKmsKeyring::mrk_aware(&*key, kms),
        _ => AwsKmsKeyring::new(&*key, kms),
    };
    Ok(Box::new(keyring.map_err(|error| refuse(&error))?))
}

/// Returns a keyring for any key that a message names, restricted to regions and accounts. For a
/// multi-Region key it uses the replica in the region.
fn discovery(uri: &KeyUri<'_>, aws: &AwsKms) -> Result<Box<dyn Keyring>, Failure> {
    uri.only(&["account", "partition", "region", "profile"])?;
    let refuse = |error: &dyn std::fmt::Display| uri.refuse(&error.to_string());
    let accounts = values(uri, "account")?;
    let partition = values(uri, "partition")?.pop();
    let filter = match (partition, accounts.is_empty()) {
        (None, true) => None,
        (Some(_), true) => return Err(uri.refuse("a partition needs an account; add account=ACCOUNT")),
        (partition, false) => {
            let partition = partition.unwrap_or_else(|| "aws".to_owned());
            Some(DiscoveryFilter::new(partition, accounts).map_err(|error| refuse(&error))?)
        }
    };
    let regions = regions(uri, aws)?;
    let mut names = values(uri, "region")?;
    if names.len() > 1 {
        let keyrings = AwsKmsMultiKeyrings::new(move |region: Option<&str>| regions.client(region)).mrk_aware();
        return Ok(Box::new(keyrings.discovery(names, filter).map_err(|error| refuse(&error))?));
    }
    let name = names.pop().or_else(|| regions.default_region().map(str::to_owned));
    let name =
        name.ok_or_else(|| uri.refuse("no region is given; add region=REGION, or use --region or AWS_REGION"))?;
    let kms = regions.region(&name).map_err(|error| refuse(&error))?;
    let mut keyring = AwsKmsDiscoveryKeyring::mrk_aware(name, kms).map_err(|error| refuse(&error))?;
    if let Some(filter) = filter {
        keyring = keyring.filter(filter);
    }
    Ok(Box::new(keyring))
}

/// Returns the values of a repeatable parameter.
fn values(uri: &KeyUri<'_>, name: &str) -> Result<Vec<String>, Failure> {
    let values = uri.parameters.iter().filter(|(other, _)| *other == name);
    values.map(|(_, value)| decode(uri, value)).collect()
}

fn decode(uri: &KeyUri<'_>, text: &str) -> Result<String, Failure> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| uri.refuse("not UTF-8"))?;
    Ok(text.into_owned())
}

/// Returns AWS KMS with the URI's profile and default region.
fn regions(uri: &KeyUri<'_>, aws: &AwsKms) -> Result<Arc<AwsSdkKmsSupplier>, Failure> {
    let region = match &mut *values(uri, "region")? {
        [region] => Some(std::mem::take(region)),
        _ => None,
    };
    aws.connect(Place { region, profile: values(uri, "profile")?.pop() })
}
