//! Names of keys: in requests, in answers and in messages.

use sealwax::{EncryptedDataKey, Error, keyring::Keyring};
use sealwax_aws::{AwsKmsDiscoveryKeyring, AwsKmsKeyring, KmsArn};

use super::*;
use crate::{answers::*, fake_kms::FakeKms};

const SIBLING: &str = "arn:aws:kms:eu-west-1:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab";
const OTHER_PARTITION: &str = "arn:aws-cn:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER_REGION: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER_ACCOUNT: &str = "arn:aws:kms:eu-west-1:999922223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

#[test]
fn arns_are_taken_apart_as_the_specification_says() {
    let valid = [
        KEY,
        MRK,
        ALIAS,
        "arn:aws-cn:kms:cn-north-1:1:key/a/b/c",
        "arn:aws:kms:eu-west-1:111122223333:alias/a/b",
        "arn:aws:kms:eu-west-1:111122223333:key//",
    ];
    for text in valid {
        assert_eq!(KmsArn::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(KmsArn::parse(valid[3]).unwrap().resource_id(), "a/b/c");
    let invalid = [
        "",
        "arn",
        "arn:aws:kms:eu-west-1:111122223333",
        "arn:aws:kms:eu-west-1:111122223333:",
        "arn:aws:kms:eu-west-1:111122223333:key",
        "arn:aws:kms:eu-west-1:111122223333:key/",
        "arn:aws:kms:eu-west-1:111122223333:/1",
        "arn:aws:kms:eu-west-1:111122223333:alias/",
        "arn:aws:kms:eu-west-1:111122223333:keys/1",
        "arn:aws:kms:eu-west-1:111122223333:Key/1",
        "arn:aws:kms:eu-west-1:111122223333:key/1:2",
        "arn:aws:kms:eu-west-1:111122223333:key:1",
        "arn:aws:kms:eu-west-1::key/1",
        "arn:aws:kms::111122223333:key/1",
        "arn::kms:eu-west-1:111122223333:key/1",
        "arn:aws::eu-west-1:111122223333:key/1",
        "arn:aws:KMS:eu-west-1:111122223333:key/1",
        "arn:aws:s3:eu-west-1:111122223333:key/1",
        "ARN:aws:kms:eu-west-1:111122223333:key/1",
        "xarn:aws:kms:eu-west-1:111122223333:key/1",
        " arn:aws:kms:eu-west-1:111122223333:key/1",
        "arn:aws:kms:eu-west-1:111122223333:key/1\n",
        "arn:aws:kms:eu-west-1:111122223333:key/\u{1b}[31m",
        "arn:aws:kms:eu-west-1:111122223333:key/ü",
    ];
    for text in invalid {
        configuration(KmsArn::parse(text));
    }
    configuration(KmsArn::parse(&format!("{KEY}{}", "0".repeat(2048))));
}

#[test]
fn attack_20_the_arn_of_an_alias_takes_keys_of_its_partition_region_and_account_only() {
    let kms = FakeKms::with_keys(&[KEY]);
    kms.add_alias(ALIAS, KEY);
    kms.add_alias("alias/orders", KEY);
    let aws = |name: &str| {
        [AwsKmsKeyring::new(name, kms.clone()).unwrap(), AwsKmsKeyring::mrk_aware(name, kms.clone()).unwrap()]
    };
    for keyring in aws(ALIAS) {
        for lie in [OTHER_PARTITION, OTHER_REGION, OTHER_ACCOUNT, ALIAS, "alias/orders", ""] {
            refuses_answers_from(lie, &keyring, &kms);
        }
        // Only the service knows which key an alias points to.
        for answer in [KEY, SIBLING] {
            accepts_answers_from(answer, &keyring, &kms);
        }
    }
    // A bare alias does not contain the key's region.
    for keyring in aws("alias/orders") {
        for answer in [KEY, SIBLING, OTHER_PARTITION, OTHER_REGION, OTHER_ACCOUNT] {
            accepts_answers_from(answer, &keyring, &kms);
        }
        refuses_answers_from(ALIAS, &keyring, &kms);
    }
}

#[test]
fn a_key_id_from_a_message_reaches_no_error_text_of_a_discovery_keyring_as_it_is() {
    let kms = FakeKms::with_keys(&[KEY]);
    let discovery = AwsKmsDiscoveryKeyring::new(kms.clone());
    let regional = AwsKmsDiscoveryKeyring::mrk_aware("eu-west-1", kms.clone()).unwrap();
    let arns = [
        ACTIVE.to_owned(),
        format!("arn:aws:kms:eu-west-1:111122223333:key/{ACTIVE}"),
        format!("arn:aws:kms:{ACTIVE}:111122223333:key/mrk-1"),
        format!("arn:aws:kms:eu-west-1:{ACTIVE}:key/1"),
        format!("{KEY}\u{202e}"),
        format!("{KEY}\n"),
    ];
    for arn in arns {
        let keys = [EncryptedDataKey::new("aws-kms", arn.as_str(), [7; 40])];
        let keyrings: [&dyn Keyring; 2] = [&discovery, &regional];
        for keyring in keyrings {
            let error = failure(keyring, &keys);
            assert!(matches!(error, Error::NotUnwrapped(_)), "{arn:?}: {error}");
            is_harmless(&error);
        }
    }
    assert!(kms.calls().is_empty(), "no such name is asked for");
}
