//! The AWS KMS keyrings over key pairs, RSA and ECDH, on a fake that computes with real keys.
#![cfg(any(feature = "raw-rsa", feature = "raw-ecdh"))]

#[path = "support/fake_kms.rs"]
mod fake_kms;
mod support;

use std::sync::Arc;

use fake_kms::{FakeKms, Fault, Material};
use sealwax::{
    AlgorithmSuite, EncryptedDataKey, EncryptionContext, Error, Result, SecretBytes, UnwrapReason,
    crypto::RustCrypto,
    keyring::{
        BoxFuture, DeriveSharedSecret, GenerateDataKey, GeneratedDataKey, GetPublicKey, Keyring, KmsApi, KmsCiphertext,
        KmsDecrypt, KmsEncrypt, KmsError, KmsErrorKind, KmsKeyUsage, KmsOperation, KmsPlaintext, UnwrapRequest,
        Unwrapped, WrapRequest,
    },
};

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER: &str = "arn:aws:kms:eu-west-1:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab";
const ALIAS: &str = "arn:aws:kms:eu-west-1:111122223333:alias/orders";
const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;

fn context() -> EncryptionContext {
    EncryptionContext::from([("tenant", "blue")])
}

fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A data key of zeros, wrapped.
fn wrap(keyring: &dyn Keyring, context: &EncryptionContext) -> EncryptedDataKey {
    let data_key = SecretBytes::zeroed(32);
    let request = WrapRequest::new(&RustCrypto, SUITE, context);
    let wrapped = wait(keyring.on_encrypt(request.for_key(&data_key))).expect("it wraps");
    wrapped.encrypted_data_keys.into_iter().next().expect("an encrypted data key")
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

/// Returns why each attempt failed.
fn reasons<T>(result: Result<T>) -> Vec<String> {
    let Err(Error::NotUnwrapped(failure)) = result else {
        panic!("{}", result.err().map_or("it opened".to_owned(), |error| error.to_string()))
    };
    let why = |attempt: &sealwax::UnwrapAttempt| match &attempt.reason {
        UnwrapReason::Failed(cause) => cause.to_string(),
        other => format!("{other:?}"),
    };
    failure.attempts().iter().map(why).collect()
}

/// Returns the cause of a keyring's error, as text.
fn cause<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Keyring { source, .. }) => source.to_string(),
        other => panic!("{}", support::outcome(&other)),
    }
}

fn kind<T>(result: Result<T>) -> (KmsOperation, KmsErrorKind) {
    let Err(Error::Keyring { source, .. }) = result else { panic!("{}", support::outcome(&result)) };
    let error = source.downcast_ref::<KmsError>().expect("an error of the service");
    (error.operation(), error.kind())
}

fn configuration<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Configuration(why)) => why,
        other => panic!("{}", support::outcome(&other)),
    }
}

/// A service with only the operations that every service must have, and no key pairs.
struct SymmetricOnly(Arc<FakeKms>);

impl KmsApi for SymmetricOnly {
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        self.0.generate_data_key(request)
    }

    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        self.0.encrypt(request)
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        self.0.decrypt(request)
    }
}

#[test]
fn a_service_without_key_pairs_says_so() {
    let kms = SymmetricOnly(FakeKms::with_keys(&[KEY]));
    let services: [&dyn KmsApi; 3] = [&kms, &&kms, &Box::new(&kms)];
    for service in services {
        let public = wait(async { Ok(service.get_public_key(GetPublicKey::new(KEY)).await.err()) }).unwrap().unwrap();
        let shared = service.derive_shared_secret(DeriveSharedSecret::new(KEY, &[]));
        let shared = wait(async { Ok(shared.await.err()) }).unwrap().unwrap();
        assert_eq!((public.operation(), public.kind()), (KmsOperation::GetPublicKey, KmsErrorKind::Unsupported));
        assert_eq!((shared.operation(), shared.kind()), (KmsOperation::DeriveSharedSecret, KmsErrorKind::Unsupported));
        assert_eq!((public.key_id(), shared.key_id()), (Some(KEY), Some(KEY)));
    }
}

#[cfg(feature = "raw-rsa")]
mod rsa {
    use sealwax::{
        Client,
        crypto::{CryptoProvider, HashAlgorithm},
        keyring::{AwsKmsRsaKeyring, KmsAlgorithm, MultiKeyring, RawAesKeyring},
    };

    use super::*;

    const MRK: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
    const MRK_FAR: &str = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
    /// One suite for each length of a data key.
    const UNSIGNED: [AlgorithmSuite; 3] =
        [AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256, AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha256, SUITE];
    const SHA1: KmsAlgorithm = KmsAlgorithm::RsaOaepSha1;
    const SHA256: KmsAlgorithm = KmsAlgorithm::RsaOaepSha256;
    const PUBLIC: &str = include_str!("keys/rsa-2048.spki.pem");
    const PRIVATE: &str = include_str!("keys/rsa-2048.pkcs8.pem");

    fn der(pem: &str) -> Vec<u8> {
        let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        support::from_base64(&lines)
    }

    fn material(private: &str, public: &str) -> Arc<Material> {
        Arc::new(Material::Rsa { private: der(private), public: der(public) })
    }

    fn service() -> Arc<FakeKms> {
        let kms = FakeKms::new();
        kms.add(KEY, material(PRIVATE, PUBLIC));
        kms.add(MRK, material(PRIVATE, PUBLIC));
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
                assert_eq!(
                    (&call.context, &call.grant_tokens[..]),
                    (&EncryptionContext::new(), &["grant".to_owned()][..])
                );
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
        let signed = [
            AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384,
            AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha384EcdsaP384,
        ];
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
        far.add(MRK_FAR, material(PRIVATE, PUBLIC));
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
            (der(include_str!("keys/ec-p256.spki.pem")), "not an RSA key"),
            (der(include_str!("keys/rsa-1024.spki.pem")), "at least 2048 bits"),
            (der(PUBLIC)[..200].to_vec(), "malformed"),
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
            (include_str!("keys/rsa-1024.spki.pem"), "at least 2048 bits"),
            (include_str!("keys/ec-p256.spki.pem"), "not an RSA key"),
            (PRIVATE, "PRIVATE KEY"),
            ("", "not valid PEM"),
        ] {
            let found = configuration(AwsKmsRsaKeyring::offline(KEY, SHA256, key));
            assert!(found.contains(why), "{found}");
        }
        let from_der = AwsKmsRsaKeyring::offline(KEY, SHA256, der(PUBLIC)).unwrap();
        assert_eq!(opened(unwrap(&reading(&kms), &[wrap(&from_der, &context)])), 0);
        let pkcs1 = AwsKmsRsaKeyring::offline(KEY, SHA256, include_str!("keys/rsa-2048.pkcs1-public.pem")).unwrap();
        assert_eq!(opened(unwrap(&reading(&kms), &[wrap(&pkcs1, &context)])), 0);
    }

    #[test]
    fn a_message_for_another_pair_of_that_name_does_not_open() {
        let kms = service();
        let other = AwsKmsRsaKeyring::offline(KEY, SHA256, include_str!("keys/other-2048.spki.pem")).unwrap();
        assert_eq!(reasons(unwrap(&reading(&kms), &[wrap(&other, &context())])), ["NotAuthentic"]);
    }
}

#[cfg(feature = "raw-ecdh")]
mod ecdh {
    use std::{collections::HashMap, fs, path::Path};

    use sealwax::keyring::{AwsKmsEcdhKeyring, EcdhCurve, RawEcdhKeyring};
    use serde::Deserialize;

    use super::*;

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
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/ecdh.json");
        let mut file: File = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        EcdhCurve::ALL.map(|curve| (curve, file.keys.remove(&curve.to_string()).unwrap())).into()
    }

    /// Returns a service with the private keys of Alice and Bob.
    fn service(keys: &Keys) -> Arc<FakeKms> {
        let kms = FakeKms::new();
        for (arn, key) in [(ALICE, &keys.alice), (BOB, &keys.bob)] {
            kms.add(arn, Arc::new(Material::Ecdh { private: key.private.clone(), public: key.public() }));
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
            let raw =
                |own: &Key, other: &Key| RawEcdhKeyring::static_keys(curve, &own.private, &other.public()).unwrap();
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

    #[cfg(feature = "conformance")]
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
}
