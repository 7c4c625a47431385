//! What the service is asked, by which operations, and what a cache saves.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use sealwax::{
    Client, EncryptionContext, Operation, SecretBytes,
    crypto::RustCrypto,
    keyring::{Keyring, KmsAlgorithm, KmsErrorKind, KmsKeyring, KmsOperation, UnwrapRequest, WrapRequest},
    materials::{CachingManager, DefaultMaterialsManager, MemoryCache},
};
use sealwax_aws::{AwsKmsDiscoveryKeyring, AwsKmsKeyring};

use super::*;
use crate::{
    answers::*,
    fake_kms::{FakeKms, Fault},
    support,
};

#[test]
fn messages_make_the_round_trip_through_every_keyring() {
    let kms = FakeKms::with_keys(&[KEY, MRK]);
    let client = Client::new();
    for key in [KEY, MRK] {
        for writing in [strict(key, &kms), mrk(key, &kms)] {
            let sealed = client.encrypt(&writing).context(context()).bytes(b"text").wait().unwrap();
            let [key_of_message] = sealed.header.encrypted_data_keys() else { panic!("one encrypted data key") };
            assert_eq!((key_of_message.provider_id(), key_of_message.key_name()), ("aws-kms", Some(key)));
            let readings: [&dyn Keyring; 4] =
                [&strict(key, &kms), &mrk(key, &kms), &discovery(&kms), &mrk_discovery("eu-west-1", &kms)];
            for reading in readings {
                let opened = client.decrypt(&reading).context(context()).bytes(&sealed.message).wait().unwrap();
                assert_eq!(opened.plaintext, b"text");
                assert_eq!(opened.opened_by.keyring, reading.label());
            }
        }
    }
}

#[test]
fn they_conform_to_the_interface_of_keyrings() {
    use sealwax::conformance::{KeyringTraits, keyring};

    let kms = FakeKms::with_keys(&[KEY, MRK]);
    keyring(&strict(KEY, &kms), KeyringTraits::default()).wait().unwrap();
    keyring(&mrk(MRK, &kms), KeyringTraits::default()).wait().unwrap();
    keyring(&KmsKeyring::new("other", KEY, kms.clone()).unwrap(), KeyringTraits::default()).wait().unwrap();
    let reads_only = KeyringTraits { encrypts: false, ..KeyringTraits::default() };
    keyring(&discovery(&kms), reads_only).wait().unwrap();
    keyring(&mrk_discovery("eu-west-1", &kms), reads_only).wait().unwrap();
}

#[test]
fn the_service_is_asked_what_the_specification_says() {
    let kms = FakeKms::with_keys(&[KEY]);
    let tokens = ["grant-1".to_owned(), "grant-2".to_owned()];
    let keyring = strict(KEY, &kms).grant_tokens(&tokens);
    for suite in SUITES {
        let wrapped = generate(&keyring, suite).unwrap();
        assert_eq!(wrapped.data_key.unwrap().len(), suite.data_key_length());
        let [call] = &kms.calls()[..] else { panic!("one call") };
        assert_eq!((call.operation, call.length), (KmsOperation::GenerateDataKey, suite.data_key_length()));
        assert_eq!((&*call.key_id, &call.context, &call.grant_tokens[..]), (KEY, &context(), &tokens[..]));
    }
    let keys = wrap(&[&keyring]);
    assert_eq!(opened(unwrap(&keyring, &keys)), 0);
    assert_eq!(opened(unwrap(&discovery(&kms).grant_tokens(&tokens), &keys)), 0);
    let calls = kms.calls();
    let operations: Vec<_> = calls.iter().map(|call| call.operation).collect();
    assert_eq!(operations, [KmsOperation::Encrypt, KmsOperation::Decrypt, KmsOperation::Decrypt]);
    for call in calls {
        assert_eq!((&*call.key_id, &call.context, &call.grant_tokens[..]), (KEY, &context(), &tokens[..]));
        assert_eq!(call.algorithm, KmsAlgorithm::Symmetric);
    }
}

#[test]
fn a_message_is_bound_to_its_context_by_the_service() {
    let kms = FakeKms::with_keys(&[KEY]);
    let keys = wrap(&[&strict(KEY, &kms)]);
    let other = EncryptionContext::from([("tenant", "red")]);
    let request = UnwrapRequest::new(&RustCrypto, SUITE, &other, &keys);
    assert_eq!(reasons(wait(strict(KEY, &kms).on_decrypt(request))), ["NotAuthentic"]);
}

#[test]
fn every_name_of_a_key_encrypts_and_only_its_arn_decrypts() {
    let kms = FakeKms::with_keys(&[KEY]);
    kms.add_alias(ALIAS, KEY);
    kms.add_alias("alias/orders", KEY);
    for name in [ALIAS, "alias/orders", "1234abcd-12ab-34cd-56ef-1234567890ab"] {
        for keyring in [strict(name, &kms), mrk(name, &kms)] {
            let keys = wrap(&[&keyring]);
            assert_eq!(keys[0].key_name(), Some(KEY), "messages name the key by its ARN");
            kms.calls();
            let why = configuration(unwrap(&keyring, &keys));
            assert!(why.contains("use the ARN of the key") && why.contains(name), "{why}");
            assert!(kms.calls().is_empty());
        }
    }
    for no_name in ["", "alias/", "key/1234", "arn:aws:kms", "two words", "arn:aws:s3:::bucket", "a/b", "1:2"] {
        configuration(AwsKmsKeyring::new(no_name, kms.clone()));
        configuration(AwsKmsKeyring::mrk_aware(no_name, kms.clone()));
    }
}

#[test]
fn discovery_keyrings_encrypt_nothing_and_say_what_does() {
    let kms = FakeKms::with_keys(&[KEY]);
    let keyrings: [&dyn Keyring; 2] = [&discovery(&kms), &mrk_discovery("eu-west-1", &kms)];
    for keyring in keyrings {
        let why = configuration(generate(keyring, SUITE));
        assert!(why.contains("can only decrypt") && why.contains("AwsKmsKeyring"), "{why}");
        let (data_key, context) = (SecretBytes::zeroed(32), context());
        let request = WrapRequest::new(&RustCrypto, SUITE, &context);
        configuration(wait(keyring.on_encrypt(request.for_key(&data_key))));
    }
    assert!(kms.calls().is_empty());
    configuration(AwsKmsDiscoveryKeyring::mrk_aware("", kms));
}

#[test]
fn a_dropped_future_leaves_nothing_behind() {
    let kms = FakeKms::with_keys(&[KEY]);
    let keyring = strict(KEY, &kms);
    let client = Client::new();
    let sealed = client.encrypt(&keyring).bytes(b"text").wait().unwrap();
    kms.fail([Fault::Hangs, Fault::Hangs]);
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut writing = pin!(client.encrypt(&keyring).bytes(b"text").into_future());
        let mut reading = pin!(client.decrypt(&keyring).bytes(&sealed.message).into_future());
        for _ in 0..3 {
            assert!(writing.as_mut().poll(&mut context).is_pending());
            assert!(reading.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(kms.in_flight(), 2);
    }
    assert_eq!(kms.in_flight(), 0);
    assert_eq!(client.decrypt(&keyring).bytes(&sealed.message).wait().unwrap().plaintext, b"text");
}

#[test]
fn ten_thousand_messages_cost_the_calls_that_the_limits_of_the_cache_dictate() {
    const MESSAGES: usize = 10_000;
    const MAX_MESSAGES: usize = 1_000;
    let kms = FakeKms::with_keys(&[KEY]);
    let cached = || {
        let inner = DefaultMaterialsManager::new(strict(KEY, &kms));
        let cache = Arc::new(MemoryCache::new(100).unwrap());
        let builder = CachingManager::builder(inner, cache, Duration::from_secs(3600)).clock(|| Duration::ZERO);
        builder.max_messages(MAX_MESSAGES as u64).build().unwrap()
    };
    let (writing, reading) = (cached(), cached());
    let client = Client::new();
    let plaintext = support::pattern(1024);
    let mut counts = [0, 0];
    let count = |operation| {
        let calls = kms.calls();
        assert!(calls.iter().all(|call| call.operation == operation));
        calls.len()
    };
    for _ in 0..MESSAGES {
        let sealed = client.encrypt_with(&writing).suite(SUITE).bytes(&plaintext).wait().unwrap();
        counts[0] += count(KmsOperation::GenerateDataKey);
        let opened = client.decrypt_with(&reading).bytes(&sealed.message).wait().unwrap();
        counts[1] += count(KmsOperation::Decrypt);
        assert!(opened.plaintext == plaintext);
    }
    support::say(&format!(
        "{MESSAGES} messages of 1 KiB, {MAX_MESSAGES} a data key: {} GenerateDataKey, {} Decrypt",
        counts[0], counts[1]
    ));
    assert_eq!(counts, [MESSAGES / MAX_MESSAGES; 2]);
}

#[test]
fn a_throttled_service_behind_the_cache_sees_one_call_for_each_message_that_fails() {
    let kms = FakeKms::with_keys(&[KEY]);
    let inner = DefaultMaterialsManager::new(strict(KEY, &kms));
    let manager = CachingManager::builder(inner, Arc::new(MemoryCache::new(10).unwrap()), Duration::from_secs(60));
    let manager = manager.build().unwrap();
    let client = Client::new();
    let encrypt = || client.encrypt_with(&manager).suite(SUITE).bytes(b"text").wait();
    kms.fail([Fault::Error(KmsErrorKind::Throttled), Fault::Error(KmsErrorKind::Throttled)]);
    for _ in 0..2 {
        assert!(encrypt().is_err());
        assert_eq!(kms.calls().len(), 1);
    }
    for _ in 0..10 {
        encrypt().unwrap();
    }
    assert_eq!(kms.calls().len(), 1);
}

/// The futures of the crate's operations are `Send`, whatever the keyring.
#[test]
fn keyrings_can_be_shared_and_their_operations_sent() {
    fn sent<T: Send>(_: &T) {}
    fn shared<T: Send + Sync>(_: &T) {}

    let kms = FakeKms::with_keys(&[KEY]);
    let keyring = strict(KEY, &kms);
    shared(&keyring);
    let client = Client::new();
    let operation: Operation<_> = client.encrypt(&keyring).bytes(b"text");
    sent(&operation);
}
