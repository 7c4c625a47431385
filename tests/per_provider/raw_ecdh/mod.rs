//! The raw ECDH keyring: alone, on messages that the official library wrote
//! (tests/peers/ecdh_peer.py), and live with that library. Without the library the live tests are
//! skipped, unless SEALWAX_REQUIRE_PEERS=1.

mod altered;
mod keys;
mod live;
mod messages;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
    time::Instant,
};

use sealwax::{
    AlgorithmSuite, EncryptedDataKey, EncryptionContext, Error, Result, SecretBytes, UnwrapReason,
    keyring::{EcdhCurve, Keyring, MultiKeyring, RawAesKeyring, RawEcdhKeyring, UnwrapRequest, WrapRequest},
};
use serde::Deserialize;
use serde_json::json;

use super::support::{
    client_for, from_base64, in_parallel, provider, provider::Fronted, reading_client, say, suite_name, suite_of,
    to_base64,
};

const COMMITTING: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;

/// One suite for each length of a data key, and a signed one.
const SUITES: [AlgorithmSuite; 4] = [
    AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256,
    AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha256,
    COMMITTING,
    AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384,
];

#[derive(Deserialize)]
struct File {
    keys: HashMap<String, Named>,
    vectors: Vec<Vector>,
}

/// The keys of a curve.
#[derive(Deserialize)]
struct Named {
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

/// A message from Alice to Bob.
#[derive(Deserialize)]
struct Vector {
    curve: String,
    schema: String,
    suite: String,
    context: BTreeMap<String, String>,
    plaintext: String,
    message: String,
}

impl Key {
    fn public(&self) -> Vec<u8> {
        from_base64(&self.public)
    }
}

impl Named {
    fn of(file: &File, curve: EcdhCurve) -> &Self {
        &file.keys[&curve.to_string()]
    }
}

fn load() -> File {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/ecdh.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("vectors of a known form")
}

fn between(curve: EcdhCurve, own: &Key, other: &Key) -> RawEcdhKeyring {
    RawEcdhKeyring::static_keys(curve, &own.private, &other.public()).expect("usable keys")
}

fn to(curve: EcdhCurve, recipient: &Key) -> RawEcdhKeyring {
    RawEcdhKeyring::ephemeral(curve, &recipient.public()).expect("a usable key")
}

fn of(curve: EcdhCurve, own: &Key) -> RawEcdhKeyring {
    RawEcdhKeyring::discovery(curve, &own.private).expect("a usable key")
}

fn contexts() -> [EncryptionContext; 3] {
    [
        EncryptionContext::new(),
        EncryptionContext::from([("purpose", "test")]),
        EncryptionContext::from([("purpose", "unicode"), ("名前", "たろう"), ("A", "\u{1f31e}")]),
    ]
}

/// Wraps a data key of zeros.
fn wrap(keyring: &RawEcdhKeyring, context: &EncryptionContext) -> EncryptedDataKey {
    let data_key = SecretBytes::zeroed(COMMITTING.data_key_length());
    let request = WrapRequest::new(provider(), COMMITTING, context);
    let wrapped = sync(keyring.on_encrypt(request.for_key(&data_key))).expect("it wraps");
    assert!(wrapped.data_key.is_none());
    wrapped.encrypted_data_keys.into_iter().next().expect("an encrypted data key")
}

/// The outcome for one encrypted data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Opens,
    NoMatch,
    NotAuthentic,
}

fn unwrap(keyring: &RawEcdhKeyring, context: &EncryptionContext, key: &EncryptedDataKey) -> Outcome {
    let keys = std::slice::from_ref(key);
    match sync(keyring.on_decrypt(UnwrapRequest::new(provider(), COMMITTING, context, keys))) {
        Ok(unwrapped) => {
            assert!(unwrapped.data_key.ct_eq(&[0; 32]), "another data key");
            Outcome::Opens
        }
        Err(Error::NotUnwrapped(failure)) => {
            let [attempt] = failure.attempts() else { panic!("{failure}") };
            assert_eq!(attempt.keyring, keyring.label());
            match (&attempt.reason, attempt.encrypted_data_key) {
                (UnwrapReason::NoMatch, None) => Outcome::NoMatch,
                (UnwrapReason::NotAuthentic, Some(0)) => Outcome::NotAuthentic,
                (other, _) => panic!("{other}"),
            }
        }
        Err(error) => panic!("{error}"),
    }
}

/// Returns the output of a future that is ready at once.
fn sync<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("a local keyring waits"),
    }
}

fn refusal<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Configuration(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}
