//! The AWS KMS RSA keyring.

use sealwax::{
    Client,
    crypto::{CryptoProvider, HashAlgorithm},
    keyring::{KmsAlgorithm, MultiKeyring, RawAesKeyring},
};
use sealwax_aws::AwsKmsRsaKeyring;

use super::*;
use crate::{pairs, support};

const MRK: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const MRK_FAR: &str = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
/// One suite for each length of a data key.
const UNSIGNED: [AlgorithmSuite; 3] =
    [AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256, AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha256, SUITE];
const SHA1: KmsAlgorithm = KmsAlgorithm::RsaOaepSha1;
const SHA256: KmsAlgorithm = KmsAlgorithm::RsaOaepSha256;
const PUBLIC: &str = include_str!("../../../../../tests/keys/rsa-2048.spki.pem");
const PRIVATE: &str = include_str!("../../../../../tests/keys/rsa-2048.pkcs8.pem");

fn service() -> Arc<FakeKms> {
    let kms = FakeKms::new();
    kms.add(KEY, pairs::rsa(PRIVATE, PUBLIC));
    kms.add(MRK, pairs::rsa(PRIVATE, PUBLIC));
    kms
}

fn writing(algorithm: KmsAlgorithm) -> AwsKmsRsaKeyring {
    AwsKmsRsaKeyring::offline(KEY, algorithm, PUBLIC).unwrap()
}

fn reading(kms: &Arc<FakeKms>) -> AwsKmsRsaKeyring {
    AwsKmsRsaKeyring::new(KEY, SHA256, kms.clone()).unwrap()
}

fn digest(context: &EncryptionContext) -> Vec<u8> {
    let mut digest = RustCrypto.digest(HashAlgorithm::Sha384);
    digest.update(&context.serialize().unwrap());
    digest.finish()
}

#[test]
fn what_is_written_offline_the_service_opens() {
    let kms = service();
    for algorithm in [SHA1, SHA256] {
        for suite in UNSIGNED {
            let client = support::client_for(suite);
            let writing = writing(algorithm);
            let sealed = client.encrypt(&writing).suite(suite).context(context()).bytes(b"text").wait().unwrap();
            let [key] = sealed.header.encrypted_data_keys() else { panic!("one key") };
            assert_eq!((key.provider_id(), key.key_name()), ("aws-kms-rsa", Some(KEY)));
            assert!(kms.calls().is_empty());
            let reading = AwsKmsRsaKeyring::new(KEY, algorithm, kms.clone()).unwrap().grant_tokens(["grant"]);
            let opened = client.decrypt(&reading).context(context()).bytes(&sealed.message).wait().unwrap();
            assert_eq!((&*opened.plaintext, opened.opened_by.keyring), (&b"text"[..], reading.label()));
            let [call] = &kms.calls()[..] else { panic!("one call") };
            assert_eq!((call.operation, &*call.key_id, call.algorithm), (KmsOperation::Decrypt, KEY, algorithm));
            assert_eq!((&call.context, &call.grant_tokens[..]), (&EncryptionContext::new(), &["grant".to_owned()][..]));
        }
    }
    let other = AwsKmsRsaKeyring::new(KEY, SHA1, kms).unwrap();
    assert_eq!(reasons(unwrap(&other, &[wrap(&writing(SHA256), &context())])), ["NotAuthentic"]);
}

#[test]
fn the_digest_of_the_context_is_wrapped_before_the_data_key() {
    let kms = service();
    for context in [EncryptionContext::new(), context()] {
        let key = wrap(&writing(SHA256), &context);
        let none = EncryptionContext::new();
        let question = KmsDecrypt::new(KEY, key.ciphertext(), &none).with_algorithm(SHA256);
        let inside = wait(async { Ok(kms.decrypt(question).await.unwrap()) }).unwrap().plaintext;
        assert!(inside.ct_eq(&[digest(&context), vec![0; 32]].concat()));
    }
}

#[test]
fn another_context_opens_nothing() {
    let kms = service();
    for other in [EncryptionContext::new(), EncryptionContext::from([("tenant", "red")])] {
        assert_eq!(reasons(unwrap(&reading(&kms), &[wrap(&writing(SHA256), &other)])), ["NotAuthentic"]);
    }
}

#[test]
fn attack_20_an_rsa_answer_that_is_not_to_the_question_is_passed_over() {
    let kms = service();
    let key = wrap(&writing(SHA256), &context());
    let keys = [key.clone(), key];
    let good = digest(&context());
    let mut bad = good.clone();
    bad[47] ^= 1;
    // Everything that an attacker with the public key can make gives the same error.
    let plaintexts = [
        vec![],
        vec![0; 32],
        good[..47].to_vec(),
        good.clone(),
        [&good[..], &[0; 31]].concat(),
        [&good[..], &[0; 33]].concat(),
        [&bad[..], &[0; 32]].concat(),
        [&[0; 48][..], &[0; 32]].concat(),
    ];
    for plaintext in plaintexts {
        kms.fail([Fault::Plaintext(plaintext.clone())]);
        assert_eq!(opened(unwrap(&reading(&kms), &keys)), 1);
        kms.fail([Fault::Plaintext(plaintext.clone()), Fault::Plaintext(plaintext)]);
        assert_eq!(reasons(unwrap(&reading(&kms), &keys)), ["NotAuthentic", "NotAuthentic"]);
    }
    for fault in [Fault::KeyId(OTHER), Fault::KeyId(""), Fault::Error(KmsErrorKind::Throttled)] {
        kms.fail([fault]);
        assert_eq!(opened(unwrap(&reading(&kms), &keys)), 1);
    }
    kms.fail([Fault::KeyId(OTHER), Fault::Error(KmsErrorKind::Disabled)]);
    let expected = [
        format!("Decrypt with key {KEY} failed: invalid response: another key answered"),
        format!("Decrypt with key {KEY} failed: the key is disabled"),
    ];
    assert_eq!(reasons(unwrap(&reading(&kms), &keys)), expected);
}

#[test]
fn signed_suites_are_refused_both_ways_and_before_any_call() {
    let kms = service();
    let both = reading(&kms).public_key(PUBLIC).unwrap();
    let signed =
        [AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384, AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha384EcdsaP384];
    for suite in signed {
        let client = support::client_for(suite);
        let why = configuration(client.encrypt(&both).suite(suite).bytes(b"text").wait());
        assert!(why.contains("signed") && why.contains("Aes256GcmHkdfSha512CommitKey"), "{why}");
        let keys = [wrap(&both, &context())];
        let context = context();
        let request = UnwrapRequest::new(&RustCrypto, suite, &context, &keys);
        configuration(wait(both.on_decrypt(request)));
    }
    // The default suite is one of them.
    configuration(Client::new().encrypt(&both).bytes(b"text").wait());
    assert!(kms.calls().is_empty());

    // With another keyring beside it, a signed message still opens.
    let raw = || RawAesKeyring::new("raw", "name", vec![7; 32]).unwrap();
    let sealed = Client::new().encrypt(&raw()).bytes(b"text").wait().unwrap();
    let either = MultiKeyring::without_generator(both).child(raw());
    assert_eq!(Client::new().decrypt(&either).bytes(&sealed.message).wait().unwrap().plaintext, b"text");
}

#[test]
fn a_replica_opens_what_was_written_for_another_region() {
    let far = FakeKms::new();
    far.add(MRK_FAR, pairs::rsa(PRIVATE, PUBLIC));
    let keys = [wrap(&AwsKmsRsaKeyring::offline(MRK, SHA256, PUBLIC).unwrap(), &context())];
    let replica = AwsKmsRsaKeyring::new(MRK_FAR, SHA256, far.clone()).unwrap();
    assert_eq!(opened(unwrap(&replica, &keys)), 0);
    assert_eq!(far.asked(), [(KmsOperation::Decrypt, MRK_FAR.to_owned())]);

    let keys = [wrap(&writing(SHA256), &context())];
    assert_eq!(reasons(unwrap(&replica, &keys)), ["NoMatch"]);
    let single = AwsKmsRsaKeyring::new(KEY.replace("eu-west-1", "us-east-1"), SHA256, far.clone()).unwrap();
    assert_eq!(reasons(unwrap(&single, &keys)), ["NoMatch"]);
    assert!(far.calls().is_empty());
}

#[test]
fn an_encrypted_data_key_without_the_arn_of_a_key_fails_the_keyring() {
    let kms = service();
    for info in [ALIAS, "1234", ""] {
        let keys = [wrap(&writing(SHA256), &context()), EncryptedDataKey::new("aws-kms-rsa", info, [7; 256])];
        let why = reasons(unwrap(&reading(&kms), &keys));
        assert!(why.len() == 1 && why[0].contains("not the ARN of an AWS KMS key"), "{why:?}");
    }
    assert!(kms.calls().is_empty());
}

#[test]
fn the_public_key_is_fetched_once_and_the_answer_is_looked_at() {
    let kms = service();
    let fetch = |kms: &Arc<FakeKms>| reading(kms).grant_tokens(["grant"]).fetch_public_key().wait();
    let both = fetch(&kms).unwrap();
    let [call] = &kms.calls()[..] else { panic!("one call") };
    assert_eq!((call.operation, &*call.key_id), (KmsOperation::GetPublicKey, KEY));
    assert_eq!(call.grant_tokens, ["grant"]);
    let keys = [wrap(&both, &context()), wrap(&both, &context())];
    assert!(kms.calls().is_empty());
    assert_eq!(opened(unwrap(&both, &keys)), 0);

    let wrong = |why| (KmsOperation::GetPublicKey, KmsErrorKind::InvalidAnswer(why));
    kms.fail([Fault::KeyId(OTHER)]);
    assert_eq!(kind(fetch(&kms)), wrong("another key answered"));
    for usage in [KmsKeyUsage::KeyAgreement, KmsKeyUsage::Other] {
        kms.fail([Fault::Usage(Some(usage))]);
        assert_eq!(kind(fetch(&kms)), wrong("the key has another usage"));
    }
    kms.fail([Fault::Usage(None)]);
    assert!(fetch(&kms).is_ok(), "not every service says");
    kms.fail([Fault::Error(KmsErrorKind::AccessDenied)]);
    assert_eq!(kind(fetch(&kms)), (KmsOperation::GetPublicKey, KmsErrorKind::AccessDenied));
    for (public_key, why) in [
        (vec![], "not valid PEM"),
        (pairs::der(include_str!("../../../../../tests/keys/ec-p256.spki.pem")), "not an RSA key"),
        (pairs::der(include_str!("../../../../../tests/keys/rsa-1024.spki.pem")), "at least 2048 bits"),
        (pairs::der(PUBLIC)[..200].to_vec(), "malformed"),
    ] {
        kms.fail([Fault::PublicKey(public_key)]);
        let found = cause(fetch(&kms));
        assert!(found.contains(why), "{found}");
    }
    configuration(writing(SHA256).fetch_public_key().wait());
}

#[test]
fn keyrings_say_what_they_lack_and_what_is_no_key() {
    let kms = service();
    let (data_key, context) = (SecretBytes::zeroed(32), context());
    let request = WrapRequest::new(&RustCrypto, SUITE, &context);
    let why = configuration(wait(reading(&kms).on_encrypt(request.for_key(&data_key))));
    assert!(why.contains("fetch_public_key"), "{why}");
    let keys = [wrap(&writing(SHA256), &context)];
    let why = configuration(unwrap(&writing(SHA256), &keys));
    assert!(why.contains("AwsKmsRsaKeyring::new"), "{why}");

    for name in ["", ALIAS, "alias/orders", "1234abcd-12ab-34cd-56ef-1234567890ab"] {
        configuration(AwsKmsRsaKeyring::new(name, SHA256, kms.clone()));
        configuration(AwsKmsRsaKeyring::offline(name, SHA256, PUBLIC));
    }
    configuration(AwsKmsRsaKeyring::new(KEY, KmsAlgorithm::Symmetric, kms.clone()));
    for (key, why) in [
        (include_str!("../../../../../tests/keys/rsa-1024.spki.pem"), "at least 2048 bits"),
        (include_str!("../../../../../tests/keys/ec-p256.spki.pem"), "not an RSA key"),
        (PRIVATE, "PRIVATE KEY"),
        ("", "not valid PEM"),
    ] {
        let found = configuration(AwsKmsRsaKeyring::offline(KEY, SHA256, key));
        assert!(found.contains(why), "{found}");
    }
    let from_der = AwsKmsRsaKeyring::offline(KEY, SHA256, pairs::der(PUBLIC)).unwrap();
    assert_eq!(opened(unwrap(&reading(&kms), &[wrap(&from_der, &context)])), 0);
    let pkcs1 =
        AwsKmsRsaKeyring::offline(KEY, SHA256, include_str!("../../../../../tests/keys/rsa-2048.pkcs1-public.pem"))
            .unwrap();
    assert_eq!(opened(unwrap(&reading(&kms), &[wrap(&pkcs1, &context)])), 0);
}

#[test]
fn a_message_for_another_pair_of_that_name_does_not_open() {
    let kms = service();
    let other =
        AwsKmsRsaKeyring::offline(KEY, SHA256, include_str!("../../../../../tests/keys/other-2048.spki.pem")).unwrap();
    assert_eq!(reasons(unwrap(&reading(&kms), &[wrap(&other, &context())])), ["NotAuthentic"]);
}
