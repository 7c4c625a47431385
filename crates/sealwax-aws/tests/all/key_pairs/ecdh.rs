//! The AWS KMS ECDH keyring.

use std::{collections::HashMap, fs};

use sealwax::keyring::{EcdhCurve, RawEcdhKeyring};
use sealwax_aws::AwsKmsEcdhKeyring;
use serde::Deserialize;

use super::*;
use crate::{pairs, support};

const ALICE: &str = KEY;
const BOB: &str = OTHER;

#[derive(Deserialize)]
struct File {
    keys: HashMap<String, Keys>,
}

#[derive(Deserialize)]
struct Keys {
    alice: Key,
    bob: Key,
    carol: Key,
}

#[derive(Deserialize)]
struct Key {
    /// PEM.
    private: String,
    /// DER, in base64.
    public: String,
}

impl Key {
    fn public(&self) -> Vec<u8> {
        support::from_base64(&self.public)
    }
}

/// Returns the keys of all curves, which `tests/raw_ecdh.rs` uses too.
fn curves() -> Vec<(EcdhCurve, Keys)> {
    let path = support::root().join("tests/vectors/ecdh.json");
    let mut file: File = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    EcdhCurve::ALL.map(|curve| (curve, file.keys.remove(&curve.to_string()).unwrap())).into()
}

/// Returns a service with the private keys of Alice and Bob.
fn service(keys: &Keys) -> Arc<FakeKms> {
    let kms = FakeKms::new();
    for (arn, key) in [(ALICE, &keys.alice), (BOB, &keys.bob)] {
        kms.add(arn, pairs::ecdh(&key.private, key.public()));
    }
    kms
}

fn between(curve: EcdhCurve, own: &str, other: &Key, kms: &Arc<FakeKms>) -> AwsKmsEcdhKeyring {
    AwsKmsEcdhKeyring::static_keys(curve, own, other.public(), kms.clone()).unwrap().build().wait().unwrap()
}

fn of(curve: EcdhCurve, own: &str, kms: &Arc<FakeKms>) -> AwsKmsEcdhKeyring {
    AwsKmsEcdhKeyring::discovery(curve, own, kms.clone()).unwrap().build().wait().unwrap()
}

#[test]
fn keys_in_the_service_and_in_files_make_every_pairing() {
    for (curve, keys) in curves() {
        let kms = service(&keys);
        let raw = |own: &Key, other: &Key| RawEcdhKeyring::static_keys(curve, &own.private, &other.public()).unwrap();
        let raw_discovery = |own: &Key| RawEcdhKeyring::discovery(curve, &own.private).unwrap();
        let ephemeral = RawEcdhKeyring::ephemeral(curve, &keys.bob.public()).unwrap();
        let (alice, bob) = (between(curve, ALICE, &keys.bob, &kms), between(curve, BOB, &keys.alice, &kms));
        let (raw_alice, raw_bob) = (raw(&keys.alice, &keys.bob), raw(&keys.bob, &keys.alice));
        let (any_bob, raw_any_bob) = (of(curve, BOB, &kms), raw_discovery(&keys.bob));

        let both: [&dyn Keyring; 6] = [&alice, &bob, &raw_alice, &raw_bob, &any_bob, &raw_any_bob];
        let writers: [&dyn Keyring; 2] = [&alice, &raw_alice];
        for writing in writers {
            for suite in [SUITE, AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384] {
                let client = support::client_for(suite);
                let sealed = client.encrypt(writing).suite(suite).context(context()).bytes(b"text").wait().unwrap();
                for reading in both {
                    let opened = client.decrypt(reading).context(context()).bytes(&sealed.message).wait().unwrap();
                    assert_eq!(opened.plaintext, b"text");
                }
            }
        }
        let from_nobody = [wrap(&ephemeral, &context())];
        assert_eq!(opened(unwrap(&any_bob, &from_nobody)), 0);
        assert_eq!(reasons(unwrap(&bob, &from_nobody)), ["NoMatch"]);

        let key = wrap(&alice, &context());
        assert_eq!(key.provider_id(), "aws-kms-ecdh");
        assert_eq!(key.provider_info().len(), wrap(&raw_alice, &context()).provider_info().len());
    }
}

#[test]
fn the_service_is_asked_once_with_the_others_whole_public_key() {
    for (curve, keys) in curves() {
        let kms = service(&keys);
        let builder = AwsKmsEcdhKeyring::static_keys(curve, ALICE, keys.bob.public(), kms.clone()).unwrap();
        let alice = builder.grant_tokens(["grant"]).build().wait().unwrap();
        let [call] = &kms.calls()[..] else { panic!("one call") };
        assert_eq!((call.operation, &*call.key_id), (KmsOperation::GetPublicKey, ALICE));
        assert_eq!(call.grant_tokens, ["grant"]);

        let keys_of_message = [wrap(&alice, &context())];
        opened(unwrap(&alice, &keys_of_message));
        for call in kms.calls() {
            assert_eq!((call.operation, &*call.key_id), (KmsOperation::DeriveSharedSecret, ALICE));
            assert!(call.public_key == keys.bob.public() && call.grant_tokens == ["grant"]);
        }
        let bob = of(curve, BOB, &kms);
        kms.calls();
        opened(unwrap(&bob, &keys_of_message));
        let [call] = &kms.calls()[..] else { panic!("one call") };
        assert!(call.key_id == BOB && call.public_key == keys.alice.public());
    }
}

#[test]
fn it_conforms_to_the_interface_of_keyrings() {
    use sealwax::conformance::{KeyringTraits, keyring};

    let (curve, keys) = curves().remove(0);
    let kms = service(&keys);
    keyring(&between(curve, ALICE, &keys.bob, &kms), KeyringTraits::default()).wait().unwrap();
    let reads_only = KeyringTraits { encrypts: false, ..KeyringTraits::default() };
    keyring(&of(curve, BOB, &kms), reads_only).wait().unwrap();
}

#[test]
fn attack_20_an_ecdh_answer_that_is_not_to_the_question_is_passed_over() {
    for (curve, keys) in curves() {
        let kms = service(&keys);
        let (alice, bob) = (between(curve, ALICE, &keys.bob, &kms), of(curve, BOB, &kms));
        let key = wrap(&alice, &context());
        let keys_of_message = [key.clone(), key];
        let length = match curve {
            EcdhCurve::P256 => 32,
            EcdhCurve::P384 => 48,
            _ => 66,
        };
        let answer =
            |own: &str, why: &str| format!("DeriveSharedSecret with key {own} failed: invalid response: {why}");
        for (own, reading) in [(ALICE, &alice), (BOB, &bob)] {
            let other_key = if own == ALICE { BOB } else { ALICE };
            let wrong_length = answer(own, "the shared secret has another length");
            let faults = [
                (Fault::KeyId(other_key), answer(own, "another key answered")),
                (Fault::Plaintext(vec![]), wrong_length.clone()),
                (Fault::Plaintext(vec![0; length - 1]), wrong_length.clone()),
                (Fault::Plaintext(vec![0; length + 1]), wrong_length),
                (Fault::Plaintext(vec![0; length]), "NotAuthentic".to_owned()),
                (
                    Fault::Error(KmsErrorKind::Throttled),
                    format!("DeriveSharedSecret with key {own} failed: too many requests"),
                ),
            ];
            for (fault, why) in faults {
                kms.fail([fault.clone()]);
                assert_eq!(opened(unwrap(reading, &keys_of_message)), 1);
                kms.fail([fault.clone(), fault]);
                assert_eq!(reasons(unwrap(reading, &keys_of_message)), [why.clone(), why]);
            }
        }
        kms.fail([Fault::KeyId(BOB)]);
        let context = context();
        let request = WrapRequest::new(&RustCrypto, SUITE, &context);
        let another = KmsErrorKind::InvalidAnswer("another key answered");
        assert_eq!(kind(wait(alice.on_encrypt(request))), (KmsOperation::DeriveSharedSecret, another));
        kms.fail([Fault::Error(KmsErrorKind::Disabled)]);
        let refused = kind(wait(alice.on_encrypt(request)));
        assert_eq!(refused, (KmsOperation::DeriveSharedSecret, KmsErrorKind::Disabled));
    }
}

#[test]
fn what_is_for_others_or_cannot_be_is_not_asked_about() {
    let (curve, keys) = curves().remove(0);
    let kms = service(&keys);
    let bob = of(curve, BOB, &kms);
    let for_carol = wrap(&RawEcdhKeyring::ephemeral(curve, &keys.carol.public()).unwrap(), &context());
    let good = wrap(&between(curve, ALICE, &keys.bob, &kms), &context());
    let mut info = good.provider_info().to_vec();
    // The x coordinate of the sender, whose compressed key is the last 33 bytes: no point has
    // it.
    let x = info.len() - 32;
    info[x..].fill(0xff);
    let no_point = EncryptedDataKey::new("aws-kms-ecdh", info.clone(), good.ciphertext());
    let cut = EncryptedDataKey::new("aws-kms-ecdh", good.provider_info(), &good.ciphertext()[..79]);
    let odd = EncryptedDataKey::new("aws-kms-ecdh", &info[..60], good.ciphertext());
    kms.calls();
    assert_eq!(reasons(unwrap(&bob, &[for_carol, odd])), ["NoMatch"]);
    assert_eq!(reasons(unwrap(&bob, &[no_point, cut])), ["NotAuthentic", "NotAuthentic"]);
    assert!(kms.calls().is_empty());
}

#[test]
fn every_byte_of_a_ciphertext_is_authenticated() {
    let (curve, keys) = curves().remove(0);
    let kms = service(&keys);
    let good = wrap(&between(curve, ALICE, &keys.bob, &kms), &context());
    // Nonce, commitment, data key, tag.
    for at in 0..good.ciphertext().len() {
        let mut ciphertext = good.ciphertext().to_vec();
        ciphertext[at] ^= 1;
        let altered = EncryptedDataKey::new("aws-kms-ecdh", good.provider_info(), ciphertext);
        assert_eq!(reasons(unwrap(&of(curve, BOB, &kms), &[altered])), ["NotAuthentic"], "{at}");
    }
}

#[test]
fn a_discovery_keyring_encrypts_nothing_and_another_context_opens_nothing() {
    let (curve, keys) = curves().remove(0);
    let kms = service(&keys);
    let context = EncryptionContext::from([("tenant", "red")]);
    let request = WrapRequest::new(&RustCrypto, SUITE, &context);
    let why = configuration(wait(of(curve, BOB, &kms).on_encrypt(request)));
    assert!(why.contains("static_keys"), "{why}");
    let key = wrap(&between(curve, ALICE, &keys.bob, &kms), &context);
    assert_eq!(reasons(unwrap(&of(curve, BOB, &kms), &[key])), ["NotAuthentic"]);
}

#[test]
fn the_own_public_key_is_looked_at() {
    let mut all = curves();
    let (other_curve, other_keys) = all.remove(1);
    let (curve, keys) = all.remove(0);
    let kms = service(&keys);
    let builder = || AwsKmsEcdhKeyring::discovery(curve, BOB, kms.clone()).unwrap();
    let wrong = |why| (KmsOperation::GetPublicKey, KmsErrorKind::InvalidAnswer(why));
    kms.fail([Fault::KeyId(ALICE)]);
    assert_eq!(kind(builder().build().wait()), wrong("another key answered"));
    for usage in [KmsKeyUsage::EncryptDecrypt, KmsKeyUsage::Other] {
        kms.fail([Fault::Usage(Some(usage))]);
        assert_eq!(kind(builder().build().wait()), wrong("the key has another usage"));
    }
    kms.fail([Fault::Usage(None)]);
    assert!(builder().build().wait().is_ok(), "not every service says");
    kms.fail([Fault::Error(KmsErrorKind::NotFound)]);
    assert_eq!(kind(builder().build().wait()), (KmsOperation::GetPublicKey, KmsErrorKind::NotFound));
    for public_key in [vec![], other_keys.bob.public(), keys.bob.public()[..80].to_vec()] {
        kms.fail([Fault::PublicKey(public_key.clone())]);
        let why = cause(builder().build().wait());
        assert!(why.contains("the public key of the key in AWS KMS"), "{why}");
        configuration(builder().build_with_public_key(public_key));
    }
    kms.calls();
    let given = builder().build_with_public_key(keys.bob.public()).unwrap();
    assert!(kms.calls().is_empty());
    let key = wrap(&RawEcdhKeyring::ephemeral(curve, &keys.bob.public()).unwrap(), &context());
    assert_eq!(opened(unwrap(&given, &[key])), 0);

    for name in ["", ALIAS, "alias/orders", "1234abcd-12ab-34cd-56ef-1234567890ab"] {
        configuration(AwsKmsEcdhKeyring::discovery(curve, name, kms.clone()));
        configuration(AwsKmsEcdhKeyring::static_keys(curve, name, keys.bob.public(), kms.clone()));
    }
    configuration(AwsKmsEcdhKeyring::static_keys(other_curve, ALICE, keys.bob.public(), kms.clone()));
    configuration(AwsKmsEcdhKeyring::static_keys(curve, ALICE, &keys.bob.private, kms));
}
