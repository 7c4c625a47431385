//! Which encrypted data keys are tried, and in which order.

use sealwax::{
    EncryptedDataKey,
    keyring::{Keyring, KmsErrorKind, KmsOperation, MultiKeyring, RawAesKeyring},
};
use sealwax_aws::DiscoveryFilter;

use super::*;
use crate::{
    answers::*,
    fake_kms::{FakeKms, Fault},
};

#[test]
fn a_strict_keyring_tries_its_own_key_only_and_in_the_order_of_the_message() {
    let kms = FakeKms::with_keys(&[KEY, OTHER]);
    let own = strict(KEY, &kms);
    let raw = RawAesKeyring::new("raw", KEY, vec![7; 32]).unwrap();
    let keys = wrap(&[&strict(OTHER, &kms), &raw, &own, &own]);
    kms.calls();
    kms.fail([Fault::Error(KmsErrorKind::Unavailable)]);
    assert_eq!(opened(unwrap(&own, &keys)), 3);
    assert_eq!(kms.asked(), [(KmsOperation::Decrypt, KEY.to_owned()), (KmsOperation::Decrypt, KEY.to_owned())]);

    assert_eq!(attempts(unwrap(&own, &keys[..2])), [(format!("aws-kms:{KEY}"), None, "NoMatch".to_owned())]);
    assert!(kms.calls().is_empty());
}

#[test]
fn a_discovery_keyring_tries_all_keys_in_the_order_of_the_message_until_one_opens() {
    let kms = FakeKms::with_keys(&[KEY, OTHER, MRK]);
    let far = FakeKms::with_keys(&[FAR]);
    let keys = wrap(&[&strict(FAR, &far), &strict(OTHER, &kms), &strict(KEY, &kms)]);
    kms.disable(OTHER);
    kms.calls();
    assert_eq!(opened(unwrap(&discovery(&kms), &keys)), 2);
    let decrypt = |key: &str| (KmsOperation::Decrypt, key.to_owned());
    assert_eq!(kms.asked(), [decrypt(FAR), decrypt(OTHER), decrypt(KEY)]);

    // The keyring for multi-Region keys skips those that its region cannot have.
    assert_eq!(opened(unwrap(&mrk_discovery("eu-west-1", &kms), &keys)), 2);
    assert_eq!(kms.asked(), [decrypt(OTHER), decrypt(KEY)]);
}

#[test]
fn an_encrypted_data_key_without_the_arn_of_a_key_fails_the_keyring_before_any_call() {
    let kms = FakeKms::with_keys(&[KEY]);
    let good = wrap(&[&strict(KEY, &kms)]);
    kms.calls();
    let odd: [&[u8]; 6] =
        [b"", b"\xff\xfe", ALIAS.as_bytes(), b"1234abcd-12ab-34cd-56ef-1234567890ab", b"alias/orders", b"arn:aws:kms"];
    for info in odd {
        let keys = [good[0].clone(), EncryptedDataKey::new("aws-kms", info, [7; 40])];
        let keyrings: [&dyn Keyring; 4] =
            [&strict(KEY, &kms), &mrk(KEY, &kms), &discovery(&kms), &mrk_discovery("eu-west-1", &kms)];
        for keyring in keyrings {
            let failure = attempts(unwrap(keyring, &keys));
            let [(_, Some(1), why)] = &failure[..] else { panic!("{failure:?}") };
            assert!(why.contains("not the ARN of an AWS KMS key"), "{why}");
        }
        // Another keyring of the same client is still tried.
        let raw = RawAesKeyring::new("raw", "name", vec![7; 32]).unwrap();
        let keys = [&keys[..], &wrap(&[&raw])].concat();
        assert_eq!(opened(unwrap(&MultiKeyring::new(strict(KEY, &kms)).child(raw), &keys)), 2);
    }
    assert!(kms.calls().is_empty());
}

#[test]
fn a_filter_takes_partition_and_account_as_wholes() {
    let arn = |partition: &str, account: &str| format!("arn:{partition}:kms:eu-west-1:{account}:key/1");
    let lookalikes = [
        arn("aws", "1111222233334"),
        arn("aws", "11112222333"),
        arn("aws", "0111122223333"),
        arn("aws-cn", "111122223333"),
        arn("aw", "111122223333"),
        arn("AWS", "111122223333"),
        arn("aws", "999922223333"),
    ];
    let ours = arn("aws", "111122223333");
    let kms = FakeKms::with_keys(&lookalikes.iter().map(String::as_str).chain([&*ours]).collect::<Vec<_>>());
    let filter = DiscoveryFilter::new("aws", ["111122223333", "444455556666"]).unwrap();
    for lookalike in &lookalikes {
        let keys = wrap(&[&strict(lookalike, &kms)]);
        assert_eq!(opened(unwrap(&discovery(&kms), &keys)), 0, "without a filter it opens");
        kms.calls();
        for keyring in [discovery(&kms), mrk_discovery("eu-west-1", &kms)] {
            assert_eq!(reasons(unwrap(&keyring.filter(filter.clone()), &keys)), ["NoMatch"], "{lookalike}");
        }
        assert!(kms.calls().is_empty(), "{lookalike}");
    }
    let keys = wrap(&[&strict(&lookalikes[0], &kms), &strict(&ours, &kms)]);
    assert_eq!(opened(unwrap(&discovery(&kms).filter(filter.clone()), &keys)), 1);
    assert_eq!(opened(unwrap(&mrk_discovery("eu-west-1", &kms).filter(filter), &keys)), 1);

    for (partition, accounts) in [("", &["111122223333"][..]), ("aws", &[]), ("aws", &["111122223333", ""])] {
        configuration(DiscoveryFilter::new(partition, accounts.iter().copied()));
    }
}
