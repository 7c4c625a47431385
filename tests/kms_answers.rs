//! How the keyring over any key management service handles answers that do not match the request,
//! and misleading names: a key that answers in place of another, aliases, and key ids in messages
//! that contain terminal control characters.

use std::sync::Arc;

use sealwax::{
    Client, EncryptedDataKey, Error,
    keyring::{Keyring, KmsErrorKind, KmsKeyring, KmsOperation, MultiKeyring, RawAesKeyring},
};

use crate::{
    answers::{
        ACTIVE, accepts_answers_from, configuration, failure, is_harmless, opened, reasons, refuses_answers_from,
        texts, unwrap, wrap, wrap_both_ways,
    },
    fake_kms::{FakeKms, Fault, Material},
    support,
};

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
    configuration(KmsKeyring::new("aws-kms", "orders", kms.clone()));
    configuration(KmsKeyring::new("", "orders", kms.clone()));
    configuration(KmsKeyring::new("example-kms", "", kms));
}

// Names in error texts.

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
