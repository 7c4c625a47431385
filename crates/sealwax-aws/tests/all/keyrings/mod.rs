//! The keyrings over AWS KMS, on a fake that keeps its keys in memory.

mod answers;
mod candidates;
mod names;
mod regions;
mod requests;

use std::sync::Arc;

use sealwax::AlgorithmSuite;
use sealwax_aws::{AwsKmsDiscoveryKeyring, AwsKmsKeyring};

use crate::{answers::SUITE, fake_kms::FakeKms};

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER: &str = "arn:aws:kms:eu-west-1:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab";
const FAR: &str = "arn:aws:kms:us-east-1:111122223333:key/9999abcd-12ab-34cd-56ef-1234567890ab";
const STRANGERS: &str = "arn:aws:kms:eu-west-1:999922223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ALIAS: &str = "arn:aws:kms:eu-west-1:111122223333:alias/orders";
const MRK: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const MRK_FAR: &str = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const MRK_OTHER: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-ffffabcd12ab34cd56ef1234567890ab";

/// One suite for each length of a data key, and a signed one.
const SUITES: [AlgorithmSuite; 4] = [
    AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256,
    AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha256,
    SUITE,
    AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384,
];

fn strict(key: &str, kms: &Arc<FakeKms>) -> AwsKmsKeyring {
    AwsKmsKeyring::new(key, kms.clone()).expect("a usable key")
}

fn mrk(key: &str, kms: &Arc<FakeKms>) -> AwsKmsKeyring {
    AwsKmsKeyring::mrk_aware(key, kms.clone()).expect("a usable key")
}

fn discovery(kms: &Arc<FakeKms>) -> AwsKmsDiscoveryKeyring {
    AwsKmsDiscoveryKeyring::new(kms.clone())
}

fn mrk_discovery(region: &str, kms: &Arc<FakeKms>) -> AwsKmsDiscoveryKeyring {
    AwsKmsDiscoveryKeyring::mrk_aware(region, kms.clone()).expect("a usable region")
}
