//! Answers that do not match the request (ATTACKS 20), and errors.

use sealwax::{
    Error, SecretBytes,
    crypto::RustCrypto,
    keyring::{Keyring, KmsErrorKind, KmsKeyring, KmsOperation, WrapRequest},
};

use super::*;
use crate::{
    answers::*,
    fake_kms::{FakeKms, Fault},
    support,
};

#[test]
fn attack_20_an_answer_from_another_key_is_passed_over_and_reported() {
    let kms = FakeKms::with_keys(&[KEY, MRK]);
    for (key, lie) in [(KEY, OTHER), (KEY, "1234abcd-12ab-34cd-56ef-1234567890ab"), (KEY, ""), (MRK, MRK_FAR)] {
        let own = strict(key, &kms);
        let keys = wrap(&[&own, &own]);
        let keyrings: [&dyn Keyring; 4] = [&own, &mrk(key, &kms), &discovery(&kms), &mrk_discovery("eu-west-1", &kms)];
        for keyring in keyrings {
            kms.fail([Fault::KeyId(lie)]);
            assert_eq!(opened(unwrap(keyring, &keys)), 1);
            kms.fail([Fault::KeyId(lie), Fault::KeyId(lie)]);
            let why = format!("Decrypt with key {key} failed: invalid response: another key answered");
            let label = keyring.label().to_string();
            let both = [(label.clone(), Some(0), why.clone()), (label, Some(1), why)];
            assert_eq!(attempts(unwrap(keyring, &keys)), both);
        }
    }
}

#[test]
fn attack_20_a_data_key_of_another_length_is_passed_over_and_reported() {
    let kms = FakeKms::with_keys(&[KEY]);
    let own = strict(KEY, &kms);
    let keys = wrap(&[&own, &own]);
    let keyrings: [&dyn Keyring; 4] = [&own, &mrk(KEY, &kms), &discovery(&kms), &mrk_discovery("eu-west-1", &kms)];
    for length in [0, 1, 16, 24, 31, 33, 64, 4096] {
        for keyring in keyrings {
            kms.fail([Fault::Plaintext(vec![0; length])]);
            assert_eq!(opened(unwrap(keyring, &keys)), 1);
            kms.fail([Fault::Plaintext(vec![0; length]), Fault::Plaintext(vec![0; length])]);
            for why in reasons(unwrap(keyring, &keys)) {
                assert!(why.ends_with("the data key has the wrong length"), "{why}");
            }
        }
    }
}

#[test]
fn attack_20_another_data_key_of_the_right_length_opens_no_message() {
    let kms = FakeKms::with_keys(&[KEY]);
    let keyring = strict(KEY, &kms);
    for suite in SUITES {
        let client = support::client_for(suite);
        let sealed = client.encrypt(&keyring).suite(suite).bytes(b"text").wait().unwrap();
        kms.fail([Fault::Plaintext(vec![0; suite.data_key_length()])]);
        let refused = client.decrypt(&keyring).bytes(&sealed.message).wait();
        assert!(matches!(refused, Err(Error::Integrity)), "{}", support::outcome(&refused));
    }
}

#[test]
fn attack_20_all_errors_are_collected_in_their_order() {
    let kms = FakeKms::with_keys(&[KEY, OTHER, STRANGERS]);
    let keys = wrap(&[&strict(KEY, &kms), &strict(STRANGERS, &kms), &strict(OTHER, &kms), &strict(KEY, &kms)]);
    kms.fail([
        Fault::Error(KmsErrorKind::AccessDenied),
        Fault::KeyId(KEY),
        Fault::Plaintext(vec![0; 16]),
        Fault::Error(KmsErrorKind::InvalidCiphertext),
    ]);
    let found = attempts(unwrap(&discovery(&kms), &keys));
    let label = || "aws-kms:discovery".to_owned();
    let failed = |key: &str, why: &str| format!("Decrypt with key {key} failed: {why}");
    let not_one = "invalid response:";
    let expected = [
        (label(), Some(0), failed(KEY, "access was denied")),
        (label(), Some(1), failed(STRANGERS, &format!("{not_one} another key answered"))),
        (label(), Some(2), failed(OTHER, &format!("{not_one} the data key has the wrong length"))),
        (label(), Some(3), "NotAuthentic".to_owned()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn attack_20_what_another_key_wrapped_goes_into_no_message() {
    let kms = FakeKms::with_keys(&[KEY, MRK]);
    kms.add_alias(ALIAS, KEY);
    kms.add_alias("alias/orders", KEY);
    let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
    // The key that a keyring was made with, and the answers that it must not accept.
    let lies = [
        (KEY, OTHER),
        (KEY, id),
        (KEY, ""),
        (MRK, MRK_FAR),
        (id, OTHER),
        (id, id),
        (ALIAS, ALIAS),
        ("alias/orders", "alias/orders"),
        ("alias/orders", id),
        ("alias/orders", "arn:aws:s3:::bucket"),
    ];
    for (name, lie) in lies {
        for keyring in [strict(name, &kms), mrk(name, &kms)] {
            kms.fail([Fault::KeyId(lie), Fault::KeyId(lie)]);
            let another = KmsErrorKind::InvalidAnswer("another key answered");
            assert_eq!(refusal(generate(&keyring, SUITE)), (KmsOperation::GenerateDataKey, another), "{name} {lie}");
            let (data_key, context) = (SecretBytes::zeroed(32), context());
            let request = WrapRequest::new(&RustCrypto, SUITE, &context);
            let refused = refusal(wait(keyring.on_encrypt(request.for_key(&data_key))));
            assert_eq!(refused, (KmsOperation::Encrypt, another), "{name} {lie}");
        }
    }
}

#[test]
fn attack_20_a_generated_data_key_of_another_length_goes_into_no_message() {
    let kms = FakeKms::with_keys(&[KEY]);
    let generic = KmsKeyring::new("other", KEY, kms.clone()).unwrap();
    let strict = strict(KEY, &kms);
    let keyrings: [&dyn Keyring; 2] = [&strict, &generic];
    for keyring in keyrings {
        for suite in SUITES {
            for length in [0, suite.data_key_length() - 1, suite.data_key_length() + 1] {
                kms.fail([Fault::Plaintext(vec![0; length])]);
                let why = KmsErrorKind::InvalidAnswer("the data key has the wrong length");
                assert_eq!(refusal(generate(keyring, suite)), (KmsOperation::GenerateDataKey, why));
            }
        }
        for length in [0, 65_536] {
            kms.fail([Fault::Ciphertext(vec![0; length])]);
            let why = KmsErrorKind::InvalidAnswer("the ciphertext is empty, or a field is too long for a message");
            assert_eq!(refusal(generate(keyring, SUITE)), (KmsOperation::GenerateDataKey, why));
        }
    }
}

#[test]
fn errors_name_operation_key_and_cause_and_nothing_secret() {
    let kms = FakeKms::with_keys(&[KEY]);
    let keyring = strict(KEY, &kms);
    let keys = wrap(&[&keyring]);
    let kinds = [
        KmsErrorKind::NotFound,
        KmsErrorKind::Disabled,
        KmsErrorKind::InvalidState,
        KmsErrorKind::AccessDenied,
        KmsErrorKind::IncorrectKey,
        KmsErrorKind::InvalidRequest,
        KmsErrorKind::Throttled,
        KmsErrorKind::TimedOut,
        KmsErrorKind::Unavailable,
        KmsErrorKind::Unsupported,
        KmsErrorKind::Other,
    ];
    for kind in kinds {
        kms.fail([Fault::Error(kind)]);
        let refused = generate(&keyring, SUITE).err().unwrap();
        let text = format!("{refused}: {}", std::error::Error::source(&refused).unwrap());
        assert_eq!(text, format!("keyring aws-kms:{KEY} failed: GenerateDataKey with key {KEY} failed: {kind}"),);
        kms.fail([Fault::Error(kind)]);
        let found = reasons(unwrap(&keyring, &keys));
        assert_eq!(found, [format!("Decrypt with key {KEY} failed: {kind}")]);
        assert!(!format!("{text}{found:?}").contains("blue-secret-value"));
    }
    kms.disable(KEY);
    assert_eq!(refusal(generate(&keyring, SUITE)), (KmsOperation::GenerateDataKey, KmsErrorKind::Disabled));
}
