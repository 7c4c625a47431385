//! Branch keys: `aws-kms-hierarchy:TABLE?logical-name=NAME&kms=ARN&branch-key=ID`.

use std::{sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use sealwax::keyring::Keyring;
use sealwax_aws::{AwsKmsHierarchicalKeyring, BranchKeyStore, DynamoDbTable, KmsArn, KmsConfiguration};

use super::KeyUri;
use crate::{
    aws::{AwsKms, Place},
    failure::Failure,
};

pub(super) const SCHEME: &str = "aws-kms-hierarchy";

/// The time for which a run of the tool uses a branch key before it reads it again.
const MAX_AGE: Duration = Duration::from_secs(300);

/// The table and the key store that a URI names, and its branch key, if it has one.
pub(crate) struct Hierarchy {
    pub(crate) table: DynamoDbTable,
    pub(crate) store: Arc<BranchKeyStore>,
    pub(crate) branch_key: Option<String>,
}

pub(super) fn parse(uri: &KeyUri<'_>, aws: &AwsKms) -> Result<Hierarchy, Failure> {
    uri.only(&["logical-name", "kms", "branch-key"])?;
    let value = |name: &str| uri.parameter(name).map(|text| decode(uri, text)).transpose();
    let needed = |name: &str| value(name)?.ok_or_else(|| uri.refuse(&format!("add {name}=")));
    let refuse = |error: &dyn std::fmt::Display| uri.refuse(&error.to_string());
    let table = decode(uri, uri.path)?;
    if table.is_empty() {
        return Err(uri.refuse("there is no table; use aws-kms-hierarchy:TABLE?logical-name=NAME&kms=ARN"));
    }
    let (logical_name, kms, branch_key) = (needed("logical-name")?, needed("kms")?, value("branch-key")?);
    let region = KmsArn::parse(&kms).map_err(|error| refuse(&error))?.region();
    let keys = KmsConfiguration::key(&*kms).map_err(|error| refuse(&error))?;
    let regions = aws.connect(Place::default())?;
    if regions.default_region().is_none() {
        return Err(uri.refuse("no AWS region is configured for the table; use --region or AWS_REGION"));
    }
    let service = regions.region(region).map_err(|error| refuse(&error))?;
    let table = aws.table(&table)?;
    let store = BranchKeyStore::new(Arc::new(table.clone()), service, logical_name, keys);
    Ok(Hierarchy { table, store: Arc::new(store.map_err(|error| refuse(&error))?), branch_key })
}

pub(super) fn keyring(uri: &KeyUri<'_>, aws: &AwsKms) -> Result<Box<dyn Keyring>, Failure> {
    let Hierarchy { store, branch_key, .. } = parse(uri, aws)?;
    let branch_key = branch_key.ok_or_else(|| uri.refuse("add branch-key=ID"))?;
    let keyring = AwsKmsHierarchicalKeyring::new(store, branch_key, MAX_AGE);
    Ok(Box::new(keyring.map_err(|error| uri.refuse(&error.to_string()))?))
}

fn decode(uri: &KeyUri<'_>, text: &str) -> Result<String, Failure> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| uri.refuse("not UTF-8"))?;
    Ok(text.into_owned())
}
