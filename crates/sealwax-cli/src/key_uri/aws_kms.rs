//! Keys in AWS KMS: `aws-kms:ARN`, `aws-kms:alias/NAME`, `aws-kms:discovery?account=ACCOUNT`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use percent_encoding::percent_decode_str;
use sealwax::keyring::Keyring;
use sealwax_aws::{
    AwsKmsDiscoveryKeyring, AwsKmsKeyring, AwsKmsMultiKeyrings, AwsSdkKmsSupplier, DiscoveryFilter, KmsArn,
    KmsClientSupplier,
};
use tokio::runtime::{Builder, Handle};

use super::KeyUri;
use crate::failure::Failure;

/// The region and profile of keys whose URI names none: `--region` and `--profile`.
static DEFAULTS: OnceLock<Place> = OnceLock::new();

/// The region and profile of a key; what is unset comes from the environment.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    region: Option<String>,
    profile: Option<String>,
}

/// Sets what the command line gives for all keys.
pub(crate) fn set_defaults(region: Option<String>, profile: Option<String>) {
    // The command line is parsed once, so this cannot already be set.
    let _ = DEFAULTS.set(Place { region, profile });
}

pub(super) fn keyring(uri: &KeyUri<'_>) -> Result<Box<dyn Keyring>, Failure> {
    if uri.path == "discovery" {
        return discovery(uri);
    }
    uri.only(&["region", "profile"])?;
    if values(uri, "region")?.len() > 1 {
        return Err(uri.refuse("a key is in one region"));
    }
    let key = decode(uri, uri.path)?;
    let regions = regions(uri)?;
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
fn discovery(uri: &KeyUri<'_>) -> Result<Box<dyn Keyring>, Failure> {
    uri.only(&["account", "partition", "region", "profile"])?;
    let refuse = |error: &dyn std::fmt::Display| uri.refuse(&error.to_string());
    let accounts = values(uri, "account")?;
    let partition = values(uri, "partition")?.pop();
    let filter = match (partition, accounts.is_empty()) {
        (None, true) => None,
        (Some(_), true) => return Err(uri.refuse("a partition needs an account: say account=ACCOUNT, too")),
        (partition, false) => {
            let partition = partition.unwrap_or_else(|| "aws".to_owned());
            Some(DiscoveryFilter::new(partition, accounts).map_err(|error| refuse(&error))?)
        }
    };
    let regions = regions(uri)?;
    let mut names = values(uri, "region")?;
    if names.len() > 1 {
        let keyrings = AwsKmsMultiKeyrings::new(move |region: Option<&str>| regions.client(region)).mrk_aware();
        return Ok(Box::new(keyrings.discovery(names, filter).map_err(|error| refuse(&error))?));
    }
    let name = names.pop().or_else(|| regions.default_region().map(str::to_owned));
    let name = name.ok_or_else(|| uri.refuse("no region is given: say region=REGION, --region, or AWS_REGION"))?;
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
    let text = percent_decode_str(text).decode_utf8().map_err(|_| uri.refuse("it is not UTF-8"))?;
    Ok(text.into_owned())
}

/// Returns AWS KMS with the URI's profile and default region. Keys with the same ones share it, and
/// so share credentials and connections.
fn regions(uri: &KeyUri<'_>) -> Result<Arc<AwsSdkKmsSupplier>, Failure> {
    static MADE: Mutex<BTreeMap<Place, Arc<AwsSdkKmsSupplier>>> = Mutex::new(BTreeMap::new());

    let mut place = DEFAULTS.get().cloned().unwrap_or_default();
    if let [region] = &*values(uri, "region")? {
        place.region = Some(region.clone());
    }
    place.profile = values(uri, "profile")?.pop().or(place.profile);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regions) = made.get(&place) {
        return Ok(regions.clone());
    }
    let runtime = runtime()?;
    let configured = {
        let place = place.clone();
        runtime.spawn(async move {
            AwsSdkKmsSupplier::from_environment(place.region.as_deref(), place.profile.as_deref()).await
        })
    };
    let configured = runtime.block_on(configured).map_err(|_| uri.refuse("the AWS configuration cannot be read"))?;
    let regions = Arc::new(configured.on(runtime));
    made.insert(place, regions.clone());
    Ok(regions)
}

/// Returns a handle to Tokio, which the AWS SDK requires. A dedicated thread drives it, and the
/// rest of the tool waits as for any other key.
fn runtime() -> Result<Handle, Failure> {
    static RUNTIME: OnceLock<Option<Handle>> = OnceLock::new();

    let start = || {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let handle = runtime.handle().clone();
        let drive = move || runtime.block_on(std::future::pending::<()>());
        thread::Builder::new().name("aws-kms".to_owned()).spawn(drive).ok()?;
        Some(handle)
    };
    let handle = RUNTIME.get_or_init(start).clone();
    handle
        .ok_or_else(|| sealwax::Error::Io(std::io::Error::other("the thread for AWS KMS does not start").into()).into())
}
