//! The official test vectors that AWS KMS wrapped: their headers, because only AWS can unwrap them.

use std::collections::BTreeMap;

use sealwax::AlgorithmSuite;
use sealwax_aws::KmsArn;

use crate::support::{
    official::{Kind, V1},
    say,
};

fn per_suite(counts: &BTreeMap<AlgorithmSuite, usize>) -> String {
    let counts: Vec<_> = counts.iter().map(|(suite, count)| format!("{:#06x}: {count}", suite.id())).collect();
    counts.join(", ")
}

/// Returns the nine suites of version 1, each with this number of cases.
fn nine_suites_with(count: usize) -> BTreeMap<AlgorithmSuite, usize> {
    AlgorithmSuite::ALL.into_iter().filter(|suite| !suite.is_committing()).map(|suite| (suite, count)).collect()
}

#[test]
fn the_headers_of_kms_messages_of_version_1_name_their_keys() {
    let Some(v1) = V1::load() else { return };
    let (mut counts, mut keys, mut arns) = (BTreeMap::new(), 0, BTreeMap::new());
    for case in v1.cases(|kind| kind == Kind::Kms) {
        let header = v1.header(case, &v1.read(&case.ciphertext));
        for key in header.encrypted_data_keys() {
            assert_eq!(key.provider_id(), "aws-kms");
            let name = key.key_name().expect("a name in UTF-8");
            let arn = KmsArn::parse(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(arn.is_key() && arn.partition() == "aws" && name.contains(arn.region()), "{name}");
            assert_eq!((&*arn.to_string(), name.as_bytes()), (name, key.provider_info()));
            *arns.entry(name.to_owned()).or_insert(0) += 1;
            keys += 1;
        }
        *counts.entry(case.suite()).or_insert(0) += 1;
    }
    say(&format!("official v1, KMS: {} headers parsed ({})", counts.values().sum::<usize>(), per_suite(&counts)));
    assert_eq!(counts, nine_suites_with(40));
    assert_eq!(counts.values().sum::<usize>(), 360);
    assert_eq!(keys, 180 + 2 * 180);
    assert_eq!(arns.values().sum::<usize>(), keys);
    say(&format!("official v1, KMS: {keys} encrypted data keys of {} keys: {arns:?}", arns.len()));
}
