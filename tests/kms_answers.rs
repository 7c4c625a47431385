//! How keyrings over key management services handle answers that do not match the request, and
//! misleading names: a key that answers in place of another, aliases, and key ids in messages that
//! contain terminal control characters.
#![cfg(feature = "rustcrypto")]

#[path = "support/fake_kms.rs"]
mod fake_kms;
mod support;

use std::sync::Arc;

use fake_kms::{FakeKms, Fault, Material};
use sealwax::{
    AlgorithmSuite, Client, EncryptedDataKey, EncryptionContext, Error, Result, SecretBytes, UnwrapReason,
    crypto::RustCrypto,
    keyring::{
        AwsKmsDiscoveryKeyring, AwsKmsKeyring, Keyring, KmsError, KmsErrorKind, KmsKeyring, KmsOperation, MultiKeyring,
        RawAesKeyring, UnwrapRequest, WrapRequest,
    },
};

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const SIBLING: &str = "arn:aws:kms:eu-west-1:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab";
const OTHER_PARTITION: &str = "arn:aws-cn:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER_REGION: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER_ACCOUNT: &str = "arn:aws:kms:eu-west-1:999922223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ALIAS: &str = "arn:aws:kms:eu-west-1:111122223333:alias/orders";

const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const ANOTHER_KEY: KmsErrorKind = KmsErrorKind::InvalidAnswer("another key answered");

fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Generates a data key with a keyring, then encrypts one, and returns both results.
fn wrap_both_ways(keyring: &dyn Keyring) -> [Result<Vec<EncryptedDataKey>>; 2] {
    let (data_key, context) = (SecretBytes::zeroed(32), EncryptionContext::new());
    let request = WrapRequest::new(&RustCrypto, SUITE, &context);
    [request, request.for_key(&data_key)]
        .map(|request| wait(keyring.on_encrypt(request)).map(|wrapped| wrapped.encrypted_data_keys))
}

/// Asserts that both operations refuse a key that answers in place of the requested one.
#[track_caller]
fn refuses_answers_from(lie: &'static str, keyring: &dyn Keyring, kms: &FakeKms) {
    kms.fail([Fault::KeyId(lie), Fault::KeyId(lie)]);
    let found = wrap_both_ways(keyring).map(|outcome| {
        let Err(Error::Keyring { source, .. }) = outcome else { panic!("{lie:?}: {}", support::outcome(&outcome)) };
        let error = source.downcast_ref::<KmsError>().expect("an error of the service");
        (error.operation(), error.kind())
    });
    assert_eq!(found, [(KmsOperation::GenerateDataKey, ANOTHER_KEY), (KmsOperation::Encrypt, ANOTHER_KEY)], "{lie:?}");
}

/// Asserts that the answering key is accepted, and that the message contains its name.
#[track_caller]
fn accepts_answers_from(answer: &'static str, keyring: &dyn Keyring, kms: &FakeKms) {
    kms.fail([Fault::KeyId(answer), Fault::KeyId(answer)]);
    for keys in wrap_both_ways(keyring) {
        assert_eq!(keys.unwrap()[0].key_name(), Some(answer));
    }
}

// Keyrings over services of other kinds.

fn keyring(key_id: &str, kms: &Arc<FakeKms>) -> KmsKeyring {
    KmsKeyring::new("example-kms", key_id, kms.clone()).unwrap()
}

fn over_alias(alias: &str, kms: &Arc<FakeKms>) -> KmsKeyring {
    KmsKeyring::with_alias("example-kms", alias, kms.clone()).unwrap()
}

#[test]
fn attack_20_a_keyring_over_any_service_refuses_what_another_key_wrapped() {
    let kms = FakeKms::with_keys(&["orders", "invoices"]);
    for lie in ["invoices", "", "order", "orders2", "Orders", " orders"] {
        refuses_answers_from(lie, &keyring("orders", &kms), &kms);
        refuses_answers_from(lie, &keyring("orders", &kms).open_any_key(), &kms);
    }
    accepts_answers_from("orders", &keyring("orders", &kms), &kms);
    // An alias in place of an id is not accepted: this keyring could not open its own messages.
    kms.add_alias("current", "orders");
    let refused = Client::new().encrypt(&keyring("current", &kms)).bytes(b"text").wait();
    assert!(matches!(refused, Err(Error::Keyring { .. })), "{}", support::outcome(&refused));
}

#[test]
fn a_keyring_over_an_alias_writes_and_reads_only_if_it_may_open_any_key() {
    let kms = FakeKms::with_keys(&["orders", "invoices"]);
    kms.add_alias("current", "orders");
    let (client, alone) = (Client::new(), over_alias("current", &kms));
    let sealed = client.encrypt(&alone).bytes(b"text").wait().unwrap();
    assert_eq!(sealed.header.encrypted_data_keys()[0].key_name(), Some("orders"), "the id, and not the alias");
    accepts_answers_from("invoices", &alone, &kms);
    // A name that no reader can use is not written.
    refuses_answers_from("", &alone, &kms);

    kms.calls();
    let refused = client.decrypt(&alone).bytes(&sealed.message).wait();
    let Err(Error::Configuration(why)) = refused else { panic!("{}", support::outcome(&refused)) };
    assert!(why.contains("open_any_key") && why.contains("example-kms:current"), "{why}");
    assert!(kms.calls().is_empty(), "refused before any call");

    // It reads with `open_any_key`, even once the alias points elsewhere, and so does a keyring
    // over the id.
    kms.add_alias("current", "invoices");
    let readings: [&dyn Keyring; 2] = [&over_alias("current", &kms).open_any_key(), &keyring("orders", &kms)];
    for reading in readings {
        assert_eq!(client.decrypt(reading).bytes(&sealed.message).wait().unwrap().plaintext, b"text");
    }
    // Within a multi-keyring it fails, and the other keyring is tried.
    let both = MultiKeyring::new(alone).child(keyring("orders", &kms));
    assert_eq!(client.decrypt(&both).bytes(&sealed.message).wait().unwrap().plaintext, b"text");
    for (provider_id, alias) in [("", "current"), ("example-kms", ""), ("aws-kms", "current")] {
        let refused = KmsKeyring::with_alias(provider_id, alias, kms.clone());
        assert!(matches!(refused.err(), Some(Error::Configuration(_))), "{provider_id:?} {alias:?}");
    }
}

#[test]
fn the_refusal_of_a_keyring_over_an_alias_has_no_control_characters() {
    let kms = FakeKms::with_keys(&["orders"]);
    let (client, writing) = (Client::new(), keyring("orders", &kms));
    let message = client.encrypt(&writing).bytes(b"text").wait().unwrap().message;
    // A terminal would clear its screen, and show what follows from right to left.
    let reading = over_alias("a\u{1b}[2J\u{202e}\nb", &kms);
    let refused = client.decrypt(&reading).bytes(&message).wait();
    let Err(Error::Configuration(why)) = refused else { panic!("{}", support::outcome(&refused)) };
    assert!(why.contains("example-kms:a") && why.contains("open_any_key"), "{why:?}");
    assert!(!why.contains(|character: char| character.is_control() || character == '\u{202e}'), "{why:?}");
}

// Aliases of AWS KMS.

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

// Names in error texts.

/// Characters that clear a screen, begin a new line in a log, and change the direction of text.
const ACTIVE: &str = "k\u{1b}[2J\nINFO all is well\u{202e}\r\u{9b}31m";

/// Returns all texts of an error: its own, those of its sources, and those of the attempts that it
/// lists.
fn texts(error: &Error) -> Vec<String> {
    let chain = |error: &dyn std::error::Error| {
        let mut texts = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            texts.push(error.to_string());
            source = error.source();
        }
        texts
    };
    let mut texts = chain(error);
    if let Error::NotUnwrapped(failure) = error {
        for attempt in failure.attempts() {
            texts.push(attempt.reason.to_string());
            if let UnwrapReason::Failed(cause) = &attempt.reason {
                texts.extend(chain(&**cause));
            }
        }
    }
    texts
}

#[track_caller]
fn is_harmless(error: &Error) {
    for text in texts(error) {
        let active = text.chars().find(|letter| letter.is_control() || *letter == '\u{202e}');
        assert_eq!(active, None, "{text:?}");
    }
}

/// Unwraps encrypted data keys with a keyring, which must fail.
#[track_caller]
fn failure(keyring: &dyn Keyring, keys: &[EncryptedDataKey]) -> Error {
    let context = EncryptionContext::new();
    match wait(keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, SUITE, &context, keys))) {
        Err(error) => error,
        Ok(_) => panic!("it opened"),
    }
}

#[test]
fn a_key_id_from_a_message_reaches_no_error_text_as_it_is() {
    let kms = FakeKms::with_keys(&["orders"]);
    let any = keyring("orders", &kms).open_any_key();
    let keys = [EncryptedDataKey::new("example-kms", ACTIVE, [7; 40])];
    // The service has no such key, or gives any other error for it.
    let unknown = failure(&any, &keys);
    is_harmless(&unknown);
    assert!(texts(&unknown).iter().any(|text| text.contains(r"k\u{1b}[2J\u{a}INFO")), "it is named, escaped");
    let kinds = [KmsErrorKind::Disabled, KmsErrorKind::AccessDenied, KmsErrorKind::IncorrectKey, KmsErrorKind::Other];
    for kind in kinds {
        kms.fail([Fault::Error(kind)]);
        is_harmless(&failure(&any, &keys));
    }
    // Or it has such a key, and answers wrongly.
    kms.add(ACTIVE, Material::symmetric());
    let keys = wrap_both_ways(&keyring(ACTIVE, &kms)).map(|keys| keys.unwrap().remove(0));
    for fault in [Fault::KeyId("orders"), Fault::Plaintext(vec![0; 31])] {
        for key in &keys {
            kms.fail([fault.clone()]);
            is_harmless(&failure(&any, std::slice::from_ref(key)));
        }
    }
    // Through a client, with everything that it adds.
    let wrapping = RawAesKeyring::new("example", "main", vec![7; 32]).unwrap();
    let both = MultiKeyring::new(wrapping).child(keyring(ACTIVE, &kms));
    let sealed = Client::new().encrypt(&both).bytes(b"text").wait().unwrap();
    assert!(!sealed.key_report.to_string().contains(['\u{1b}', '\n', '\u{202e}']), "{:?}", sealed.key_report);
    kms.disable(ACTIVE);
    is_harmless(&Client::new().decrypt(&any).bytes(&sealed.message).wait().unwrap_err());
    is_harmless(&Client::new().encrypt(&keyring(ACTIVE, &kms)).bytes(b"text").wait().unwrap_err());
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
