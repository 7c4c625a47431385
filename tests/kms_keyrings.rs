//! The keyrings over AWS KMS and over services of other kinds, on a fake that keeps its keys in
//! memory.
#![cfg(feature = "rustcrypto")]

#[path = "support/fake_kms.rs"]
mod fake_kms;
mod support;

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use fake_kms::{FakeKms, Fault, Material};
use sealwax::{
    AlgorithmSuite, BoxError, Client, EncryptedDataKey, EncryptionContext, Error, Operation, Result, SecretBytes,
    UnwrapReason,
    crypto::RustCrypto,
    keyring::{
        AwsKmsDiscoveryKeyring, AwsKmsKeyring, AwsKmsMultiKeyrings, DiscoveryFilter, Keyring, KmsAlgorithm, KmsApi,
        KmsArn, KmsError, KmsErrorKind, KmsKeyring, KmsOperation, MultiKeyring, RawAesKeyring, UnwrapRequest,
        Unwrapped, WrapRequest, Wrapped,
    },
    materials::{CachingManager, DefaultMaterialsManager, MemoryCache},
};

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER: &str = "arn:aws:kms:eu-west-1:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab";
const FAR: &str = "arn:aws:kms:us-east-1:111122223333:key/9999abcd-12ab-34cd-56ef-1234567890ab";
const STRANGERS: &str = "arn:aws:kms:eu-west-1:999922223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ALIAS: &str = "arn:aws:kms:eu-west-1:111122223333:alias/orders";
const MRK: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const MRK_FAR: &str = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const MRK_OTHER: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-ffffabcd12ab34cd56ef1234567890ab";

const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;

/// One suite for each length of a data key, and a signed one.
const SUITES: [AlgorithmSuite; 4] = [
    AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256,
    AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha256,
    SUITE,
    AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384,
];

fn context() -> EncryptionContext {
    EncryptionContext::from([("tenant", "blue-secret-value")])
}

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

fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Wraps a data key of zeros with these keyrings, one after the other.
fn wrap(keyrings: &[&dyn Keyring]) -> Vec<EncryptedDataKey> {
    let (data_key, context) = (SecretBytes::zeroed(32), context());
    let request = WrapRequest::new(&RustCrypto, SUITE, &context);
    let wrap = |keyring: &&dyn Keyring| wait(keyring.on_encrypt(request.for_key(&data_key))).expect("it wraps");
    keyrings.iter().map(wrap).flat_map(|wrapped| wrapped.encrypted_data_keys).collect()
}

fn generate(keyring: &dyn Keyring, suite: AlgorithmSuite) -> Result<Wrapped> {
    wait(keyring.on_encrypt(WrapRequest::new(&RustCrypto, suite, &context())))
}

fn unwrap(keyring: &dyn Keyring, keys: &[EncryptedDataKey]) -> Result<Unwrapped> {
    wait(keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, SUITE, &context(), keys)))
}

/// Returns the index of the encrypted data key that gave the data key of zeros.
fn opened(result: Result<Unwrapped>) -> usize {
    let unwrapped = result.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    assert!(unwrapped.data_key.ct_eq(&[0; 32]), "another data key");
    unwrapped.encrypted_data_key
}

/// Returns all attempts of a failure: the keyring, the encrypted data key, and the reason.
fn attempts<T>(result: Result<T>) -> Vec<(String, Option<usize>, String)> {
    let Err(Error::NotUnwrapped(failure)) = result else {
        panic!("{}", result.err().map_or("it opened".to_owned(), |error| error.to_string()))
    };
    let attempt = |attempt: &sealwax::UnwrapAttempt| {
        let why = match &attempt.reason {
            UnwrapReason::Failed(cause) => cause.to_string(),
            other => format!("{other:?}"),
        };
        (attempt.keyring.to_string(), attempt.encrypted_data_key, why)
    };
    failure.attempts().iter().map(attempt).collect()
}

/// Returns why each attempt failed.
fn reasons<T>(result: Result<T>) -> Vec<String> {
    attempts(result).into_iter().map(|(_, _, why)| why).collect()
}

/// Returns the error that a keyring met while wrapping.
fn refusal<T>(result: Result<T>) -> (KmsOperation, KmsErrorKind) {
    let Err(Error::Keyring { source, .. }) = result else { panic!("{}", support::outcome(&result)) };
    let error = source.downcast_ref::<KmsError>().expect("an error of the service");
    (error.operation(), error.kind())
}

fn configuration<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Configuration(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

// The requests and their content.

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

#[cfg(feature = "conformance")]
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

// Which encrypted data keys are tried, and in which order.

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

// Multi-Region keys.

/// Returns two regions that share a multi-Region key; each has other keys too.
fn two_regions() -> (Arc<FakeKms>, Arc<FakeKms>) {
    let (here, far) = (FakeKms::with_keys(&[KEY, OTHER, MRK_OTHER]), FakeKms::with_keys(&[FAR]));
    let shared = Material::symmetric();
    here.add(MRK, shared.clone());
    far.add(MRK_FAR, shared);
    (here, far)
}

#[test]
fn a_replica_opens_what_was_wrapped_in_another_region_and_is_asked_in_its_own() {
    let (here, far) = two_regions();
    let keys = wrap(&[&strict(MRK, &here)]);
    assert_eq!(opened(unwrap(&mrk(MRK_FAR, &far), &keys)), 0);
    assert_eq!(opened(unwrap(&mrk_discovery("us-east-1", &far), &keys)), 0);
    assert_eq!(far.asked(), [(KmsOperation::Decrypt, MRK_FAR.to_owned()), (KmsOperation::Decrypt, MRK_FAR.to_owned())]);

    // Keyrings that are not aware of replicas do not.
    assert_eq!(reasons(unwrap(&strict(MRK_FAR, &far), &keys)), ["NoMatch"]);
    let why = reasons(unwrap(&discovery(&far), &keys));
    assert_eq!(why, [format!("Decrypt with key {MRK} failed: the key does not exist")]);
}

#[test]
fn only_the_region_may_differ_and_only_of_multi_region_keys() {
    let (here, far) = two_regions();
    let replace = |from: &str, to: &str| MRK.replace(from, to);
    let others = [
        replace("111122223333", "999922223333"),
        replace("arn:aws:", "arn:aws-cn:"),
        replace("mrk-1234", "mrk-1235"),
        replace("mrk-", "mrk_"),
        MRK_OTHER.to_owned(),
        KEY.to_owned(),
    ];
    for other in &others {
        here.add(other, Material::symmetric());
        let keys = wrap(&[&strict(other, &here)]);
        far.calls();
        assert_eq!(reasons(unwrap(&mrk(MRK_FAR, &far), &keys)), ["NoMatch"], "{other}");
        // A single-Region key does not match the same key id in another region.
        assert_eq!(reasons(unwrap(&mrk(&KEY.replace("eu-west-1", "us-east-1"), &far), &keys)), ["NoMatch"], "{other}");
        assert!(far.calls().is_empty());
    }
    let single = wrap(&[&strict(KEY, &here)]);
    assert_eq!(reasons(unwrap(&mrk_discovery("us-east-1", &far), &single)), ["NoMatch"]);
    assert!(far.calls().is_empty(), "a key of one region is asked for there only");
}

#[test]
fn an_alias_that_is_called_like_a_multi_region_key_is_none() {
    let arn = KmsArn::parse("arn:aws:kms:eu-west-1:111122223333:alias/mrk-1").unwrap();
    assert!(!arn.is_multi_region() && !arn.is_key());
    assert!(KmsArn::parse(MRK).unwrap().is_multi_region());
    assert!(!KmsArn::parse(KEY).unwrap().is_multi_region());
}

// Answers that do not match the request (ATTACKS 20).

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
fn attack_20_a_service_of_another_kind_is_checked_in_the_same_way() {
    let kms = FakeKms::with_keys(&["orders", "invoices"]);
    let keyring = |key: &str| KmsKeyring::new("example-kms", key, kms.clone()).unwrap().grant_tokens(["grant"]);
    let keys = wrap(&[&keyring("orders"), &keyring("orders"), &keyring("invoices")]);
    assert_eq!((keys[0].provider_id(), keys[0].key_name()), ("example-kms", Some("orders")));
    assert!(kms.calls().iter().all(|call| call.grant_tokens == ["grant"]));
    kms.fail([Fault::KeyId("invoices")]);
    assert_eq!(opened(unwrap(&keyring("orders"), &keys)), 1);
    kms.fail([Fault::Plaintext(vec![0; 31])]);
    assert_eq!(opened(unwrap(&keyring("orders"), &keys)), 1);
    kms.calls();

    // A keyring that opens any key accepts them all, but still only from the key that the message
    // names.
    let any = keyring("elsewhere").open_any_key();
    assert_eq!(reasons(unwrap(&keyring("elsewhere"), &keys)), ["NoMatch"]);
    kms.fail([Fault::KeyId("elsewhere"), Fault::Plaintext(vec![0; 31])]);
    assert_eq!(opened(unwrap(&any, &keys)), 2);
    let decrypt = |key: &str| (KmsOperation::Decrypt, key.to_owned());
    assert_eq!(kms.asked(), [decrypt("orders"), decrypt("orders"), decrypt("invoices")]);
    let no_text = [EncryptedDataKey::new("example-kms", [0xff], [7; 40])];
    assert_eq!(reasons(unwrap(&any, &no_text)), ["NoMatch"]);
    configuration(KmsKeyring::new("aws-kms", KEY, kms.clone()));
    configuration(KmsKeyring::new("", KEY, kms.clone()));
    configuration(KmsKeyring::new("example-kms", "", kms));
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

// Several keys, several regions.

/// Returns a supplier of the two regions, which records its requests.
fn supplier(
    here: &Arc<FakeKms>,
    far: &Arc<FakeKms>,
    asked: Arc<std::sync::Mutex<Vec<Option<String>>>>,
) -> impl Fn(Option<&str>) -> Result<Arc<dyn KmsApi>, BoxError> + Send + Sync + 'static {
    let (here, far) = (here.clone(), far.clone());
    move |region| {
        asked.lock().unwrap().push(region.map(str::to_owned));
        match region {
            None | Some("eu-west-1") => Ok(here.clone()),
            Some("us-east-1") => Ok(far.clone()),
            Some(_) => Err("no credentials for it".into()),
        }
    }
}

fn keyrings(here: &Arc<FakeKms>, far: &Arc<FakeKms>) -> AwsKmsMultiKeyrings {
    AwsKmsMultiKeyrings::new(supplier(here, far, Arc::default())).grant_tokens(["grant"])
}

#[test]
fn a_strict_multi_keyring_wraps_under_every_key_in_its_region() {
    let (here, far) = two_regions();
    here.add_alias("alias/orders", KEY);
    let asked = Arc::default();
    let kms = AwsKmsMultiKeyrings::new(supplier(&here, &far, Arc::clone(&asked))).grant_tokens(["grant"]);
    let writing = kms.strict("alias/orders", [FAR, MRK]).unwrap();
    let regions = [None, Some("us-east-1"), Some("eu-west-1")].map(|region| region.map(str::to_owned));
    assert_eq!(*asked.lock().unwrap(), regions);

    let client = Client::new();
    let sealed = client.encrypt(&writing).bytes(b"text").wait().unwrap();
    let names: Vec<_> = sealed.header.encrypted_data_keys().iter().filter_map(EncryptedDataKey::key_name).collect();
    assert_eq!(names, [KEY, FAR, MRK]);
    let labels: Vec<_> = sealed.key_report.wrapped().iter().map(|by| by.keyring.to_string()).collect();
    assert_eq!(labels, ["aws-kms:alias/orders".to_owned(), format!("aws-kms:{FAR}"), format!("aws-kms:{MRK}")]);
    let calls = [here.calls(), far.calls()].concat();
    assert_eq!(calls.iter().filter(|call| call.operation == KmsOperation::GenerateDataKey).count(), 1);
    assert!(calls.len() == 3 && calls.iter().all(|call| call.grant_tokens == ["grant"]));

    for reading in [strict(KEY, &here), strict(FAR, &far), mrk(MRK_FAR, &far)] {
        assert_eq!(client.decrypt(&reading).bytes(&sealed.message).wait().unwrap().plaintext, b"text");
    }
    let reading = kms.strict_without_generator([FAR]).unwrap();
    assert_eq!(client.decrypt(&reading).bytes(&sealed.message).wait().unwrap().plaintext, b"text");
    let refused = client.encrypt(&reading).bytes(b"text").wait();
    assert!(matches!(refused, Err(Error::Materials(_))), "{}", support::outcome(&refused));
}

#[test]
fn a_quorum_writes_without_a_region_that_fails_and_reports_it() {
    let (here, far) = two_regions();
    let writing = keyrings(&here, &far).strict(KEY, [FAR, MRK]).unwrap();
    let client = Client::new();
    far.fail([Fault::Error(KmsErrorKind::Unavailable)]);
    let refused = client.encrypt(&writing).bytes(b"text").wait();
    assert_eq!(refusal(refused), (KmsOperation::Encrypt, KmsErrorKind::Unavailable));

    let writing = keyrings(&here, &far).strict(KEY, [FAR, MRK]).unwrap().require(1);
    far.fail([Fault::Error(KmsErrorKind::Unavailable)]);
    let sealed = client.encrypt(&writing).bytes(b"text").wait().unwrap();
    assert_eq!(sealed.header.encrypted_data_keys().len(), 2);
    let [failure] = sealed.key_report.failed() else { panic!("one failure") };
    assert_eq!(*failure.keyring, format!("aws-kms:{FAR}"));
}

#[test]
fn one_failing_region_hides_no_other_and_the_report_names_each() {
    let (here, far) = two_regions();
    let kms = keyrings(&here, &far);
    let keys = wrap(&[&strict(KEY, &here), &strict(FAR, &far)]);
    let reading = kms.discovery(["eu-west-1", "us-east-1"], None).unwrap();
    here.calls();
    far.calls();

    let down = Fault::Error(KmsErrorKind::TimedOut);
    here.fail([down.clone(), down.clone()]);
    assert_eq!(opened(unwrap(&reading, &keys)), 1);
    assert_eq!(here.calls().len(), 2);
    assert_eq!(far.asked(), [(KmsOperation::Decrypt, KEY.to_owned()), (KmsOperation::Decrypt, FAR.to_owned())]);

    here.fail([down.clone(), down.clone()]);
    far.fail([down.clone(), Fault::Error(KmsErrorKind::AccessDenied)]);
    let found = attempts(unwrap(&reading, &keys));
    let (ours, theirs) = ("aws-kms:discovery?region=eu-west-1", "aws-kms:discovery?region=us-east-1");
    let timed_out = |key: &str| format!("Decrypt with key {key} failed: the call timed out");
    let expected = [
        (ours.to_owned(), Some(0), timed_out(KEY)),
        (ours.to_owned(), Some(1), timed_out(FAR)),
        (theirs.to_owned(), Some(0), timed_out(KEY)),
        (theirs.to_owned(), Some(1), format!("Decrypt with key {FAR} failed: access was denied")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_discovery_multi_keyring_for_multi_region_keys_asks_each_region_for_its_own() {
    let (here, far) = two_regions();
    let keys = wrap(&[&strict(FAR, &far), &strict(MRK, &here)]);
    let filter = DiscoveryFilter::new("aws", ["111122223333"]).unwrap();
    let kms = keyrings(&here, &far).mrk_aware();
    let reading = kms.discovery(["us-east-1", "eu-west-1", "us-east-1"], Some(filter)).unwrap();
    let label = reading.label();
    let query = |region: &str| format!("aws-kms-mrk:discovery?region={region}&partition=aws&account=111122223333");
    assert_eq!(*label, format!("multi({}, {})", query("us-east-1"), query("eu-west-1")), "regions are a set");
    here.calls();
    far.calls();

    let down = Fault::Error(KmsErrorKind::Unavailable);
    far.fail([down.clone(), down]);
    assert_eq!(opened(unwrap(&reading, &keys)), 1);
    let decrypt = |key: &str| (KmsOperation::Decrypt, key.to_owned());
    assert_eq!(far.asked(), [decrypt(FAR), decrypt(MRK_FAR)]);
    let calls = here.calls();
    assert!(calls.len() == 1 && calls[0].key_id == MRK && calls[0].grant_tokens == ["grant"]);

    let none = DiscoveryFilter::new("aws", ["999922223333"]).unwrap();
    let reading = kms.discovery(["us-east-1", "eu-west-1"], Some(none)).unwrap();
    assert_eq!(reasons(unwrap(&reading, &keys)), ["NoMatch", "NoMatch"]);
}

#[test]
fn regions_without_a_service_are_named_all_at_once() {
    let (here, far) = two_regions();
    let refused = keyrings(&here, &far).discovery(["eu-west-1", "ap-south-1", "sa-east-1"], None);
    let Err(Error::Keyring { source, .. }) = refused else { panic!("{}", support::outcome(&refused)) };
    let expected = "there is no client for ap-south-1: no credentials for it; for sa-east-1: no credentials for it";
    assert_eq!(source.to_string(), expected);
    let nowhere = KEY.replace("eu-west-1", "ap-south-1");
    let refused = keyrings(&here, &far).strict(KEY, [nowhere]);
    let Err(Error::Keyring { source, .. }) = refused else { panic!("{}", support::outcome(&refused)) };
    assert_eq!(source.to_string(), "there is no client for ap-south-1: no credentials for it");
}

#[test]
fn multi_keyrings_refuse_what_is_no_choice_of_keys_or_regions() {
    let (here, far) = two_regions();
    let kms = keyrings(&here, &far);
    configuration(kms.discovery([] as [&str; 0], None));
    configuration(kms.discovery(["eu-west-1", ""], None));
    configuration(kms.strict_without_generator([] as [&str; 0]));
    configuration(kms.strict("no key at all", [] as [&str; 0]));
    configuration(kms.strict(KEY, ["alias/"]));

    // One multi-Region key in two regions: the caller must choose which of them is used.
    assert!(kms.strict(MRK, [MRK_FAR]).is_ok());
    let kms = kms.mrk_aware();
    let id = "mrk-1234abcd12ab34cd56ef1234567890ab";
    for other in [MRK_FAR, MRK, id] {
        let why = configuration(kms.strict(MRK, [KEY, other, MRK_OTHER]));
        assert!(why.ends_with(&format!("{MRK}, {other}")), "{why}");
    }
    let twice = configuration(kms.strict_without_generator([MRK, MRK_OTHER, MRK_FAR, MRK_OTHER, KEY]));
    assert!(twice.ends_with(&format!("{MRK}, {MRK_OTHER}, {MRK_FAR}, {MRK_OTHER}")), "{twice}");
    let alias = "arn:aws:kms:us-east-1:111122223333:alias/mrk-1234abcd12ab34cd56ef1234567890ab";
    assert!(kms.strict(MRK, [MRK_OTHER, KEY, KEY, alias]).is_ok());
}

// Calls that are dropped, and calls that are saved.

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

// Names of keys.

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
