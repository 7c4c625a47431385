//! The AWS KMS keyrings over key pairs with those of the official Python SDK
//! (tests/peers/kms_pairs_peer.py), each over a service in memory that computes with the same keys.
//! Without the SDK these tests are skipped, unless SEALWAX_REQUIRE_PEERS=1.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    time::Instant,
};

use sealwax::{
    AlgorithmSuite, EncryptionContext,
    keyring::{EcdhCurve, Keyring, KmsAlgorithm, RawEcdhKeyring},
};
use sealwax_aws::{AwsKmsEcdhKeyring, AwsKmsRsaKeyring};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    fake_kms::FakeKms,
    pairs,
    support::{self, client_for, from_base64, json_peer::Peer, say, suite_name, to_base64},
};

const ALICE: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const REPLICA: &str = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const BOB: &str = "arn:aws:kms:eu-west-1:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab";

const UNSIGNED: [AlgorithmSuite; 3] = [
    AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256,
    AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha256,
    AlgorithmSuite::Aes256GcmHkdfSha512CommitKey,
];
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;

fn contexts() -> [EncryptionContext; 3] {
    [
        EncryptionContext::new(),
        EncryptionContext::from([("purpose", "test")]),
        EncryptionContext::from([("purpose", "unicode"), ("名前", "たろう"), ("A", "\u{1f31e}")]),
    ]
}

/// Returns a message that the peer writes, and the requests it made to its service.
fn written_by(
    peer: &mut Peer,
    keyring: &Value,
    suite: AlgorithmSuite,
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Result<(Vec<u8>, Value), String> {
    let context: BTreeMap<_, _> = context.iter().collect();
    let (suite, plaintext) = (suite_name(suite), to_base64(plaintext));
    let request =
        json!({"op": "encrypt", "keyring": keyring, "suite": suite, "context": context, "plaintext": plaintext});
    let answer = peer.ask(&request)?;
    Ok((from_base64(answer["message"].as_str().expect("a message")), answer["calls"].clone()))
}

#[test]
fn the_official_rsa_keyring_and_ours_open_each_others_messages() {
    let Some(mut peer) = Peer::start("kms_pairs_peer.py") else { return };
    let start = Instant::now();
    let hello = peer.ask(&json!({"op": "hello"})).expect("a greeting");
    let (public, private) = (
        include_str!("../../../../tests/keys/rsa-2048.spki.pem"),
        include_str!("../../../../tests/keys/rsa-2048.pkcs8.pem"),
    );
    let kms = FakeKms::new();
    for arn in [ALICE, REPLICA] {
        kms.add(arn, pairs::rsa(private, public));
    }
    let (mut theirs, mut ours, mut refused) = (0, 0, 0);
    for (algorithm, name) in
        [(KmsAlgorithm::RsaOaepSha1, "RSAES_OAEP_SHA_1"), (KmsAlgorithm::RsaOaepSha256, "RSAES_OAEP_SHA_256")]
    {
        let their =
            |arn: &str| json!({"kind": "rsa", "arn": arn, "algorithm": name, "public": public, "private": private});
        let our = |arn: &str| AwsKmsRsaKeyring::new(arn, algorithm, kms.clone()).unwrap().public_key(public).unwrap();
        for suite in UNSIGNED {
            for context in contexts() {
                let client = client_for(suite);
                let plaintext = format!("{name}, {suite}").into_bytes();
                let (message, calls) =
                    written_by(&mut peer, &their(ALICE), suite, &context, &plaintext).expect("it writes");
                assert_eq!(calls, json!([]));
                for arn in [ALICE, REPLICA] {
                    let opened = client.decrypt(&our(arn)).context(context.clone()).bytes(&message).wait();
                    assert_eq!(opened.expect("it opens").plaintext, plaintext);
                    theirs += 1;
                }
                let sealed = client.encrypt(&our(ALICE)).suite(suite).context(context).bytes(&plaintext).wait();
                let message = sealed.expect("it seals").message;
                for arn in [ALICE, REPLICA] {
                    assert_eq!(peer.decrypt(&their(arn), &message).as_deref(), Ok(&*plaintext));
                    ours += 1;
                }
                assert!(peer.decrypt(&their(BOB), &message).is_err());
                refused += 1;
            }
        }
        // Both refuse signed suites.
        let context = EncryptionContext::new();
        let why = written_by(&mut peer, &their(ALICE), SIGNED, &context, b"text").expect_err("it refuses");
        assert!(why.to_lowercase().contains("asymmetric"), "{why}");
        assert!(client_for(SIGNED).encrypt(&our(ALICE)).suite(SIGNED).bytes(b"text").wait().is_err());
        refused += 2;
    }
    say(&format!(
        "AWS KMS RSA with {} {}: {theirs} openings of their messages, {ours} of ours, {refused} refusals, {:.1} s",
        hello["library"],
        hello["sdk"],
        start.elapsed().as_secs_f32()
    ));
    assert_eq!((theirs, ours, refused), (36, 36, 22));
}

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
        from_base64(&self.public)
    }
}

#[test]
fn the_official_ecdh_keyring_and_ours_open_each_others_messages() {
    let Some(mut peer) = Peer::start("kms_pairs_peer.py") else { return };
    let start = Instant::now();
    let hello = peer.ask(&json!({"op": "hello"})).expect("a greeting");
    let path = support::root().join("tests/vectors/ecdh.json");
    let file: File = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let (mut theirs, mut ours, mut refused) = (0, 0, 0);
    for curve in EcdhCurve::ALL {
        let Keys { alice, bob, carol } = &file.keys[&curve.to_string()];
        let kms = FakeKms::new();
        for (arn, key) in [(ALICE, alice), (BOB, bob)] {
            kms.add(arn, pairs::ecdh(&key.private, key.public()));
        }
        let between = |own: &str, other: &Key| {
            AwsKmsEcdhKeyring::static_keys(curve, own, other.public(), kms.clone()).unwrap().build().wait().unwrap()
        };
        let any_bob = AwsKmsEcdhKeyring::discovery(curve, BOB, kms.clone()).unwrap().build().wait().unwrap();
        let (alice_here, bob_here) = (between(ALICE, bob), between(BOB, alice));
        let raw_bob = RawEcdhKeyring::static_keys(curve, &bob.private, &alice.public()).unwrap();

        let name = curve.to_string();
        let their = |arn: &str, own: &Key, other: Option<&Key>| {
            let other = other.map(|key| key.public.as_str());
            json!({"kind": "ecdh", "arn": arn, "curve": name, "private": own.private, "public": other})
        };
        for suite in UNSIGNED.into_iter().chain([SIGNED]) {
            for context in contexts() {
                let client = client_for(suite);
                let plaintext = format!("{curve}, {suite}").into_bytes();
                let alice_there = their(ALICE, alice, Some(bob));
                let (message, calls) =
                    written_by(&mut peer, &alice_there, suite, &context, &plaintext).expect("it writes");
                assert_eq!(calls, json!(["GetPublicKey", "DeriveSharedSecret"]));
                let readers: [&dyn Keyring; 4] = [&bob_here, &any_bob, &alice_here, &raw_bob];
                for reader in readers {
                    let opened = client.decrypt(reader).context(context.clone()).bytes(&message).wait();
                    assert_eq!(opened.expect("it opens").plaintext, plaintext);
                    theirs += 1;
                }
                let sealed = client.encrypt(&alice_here).suite(suite).context(context).bytes(&plaintext).wait();
                let message = sealed.expect("it seals").message;
                for reader in [their(BOB, bob, Some(alice)), their(BOB, bob, None), alice_there] {
                    assert_eq!(peer.decrypt(&reader, &message).as_deref(), Ok(&*plaintext), "{curve}, {suite}");
                    ours += 1;
                }
                assert!(peer.decrypt(&their(BOB, carol, None), &message).is_err());
                refused += 1;
            }
        }
    }
    say(&format!(
        "AWS KMS ECDH with {} {}: {theirs} openings of their messages, {ours} of ours, {refused} refusals, {:.1} s",
        hello["library"],
        hello["sdk"],
        start.elapsed().as_secs_f32()
    ));
    assert_eq!((theirs, ours, refused), (144, 108, 36));
}
