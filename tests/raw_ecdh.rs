//! The raw ECDH keyring: by itself, on messages that the official library wrote (tests/peers/ecdh_peer.py), and with
//! that library live. Without it the last are skipped, unless SEALWAX_REQUIRE_PEERS=1.
#![cfg(feature = "raw-ecdh")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use sealwax::{
    AlgorithmSuite, EncryptedDataKey, EncryptionContext, Error, Result, SecretBytes, UnwrapReason,
    crypto::{
        AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, RustCrypto, SignatureAlgorithm, SigningKey,
        VerifyingKey,
    },
    keyring::{EcdhCurve, Keyring, MultiKeyring, RawAesKeyring, RawEcdhKeyring, UnwrapRequest, WrapRequest},
};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{client_for, from_base64, in_parallel, reading_client, say, skip, suite_name, suite_of, to_base64};

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

/// A message of alice for bob.
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

/// A data key of zeros, wrapped.
fn wrap(keyring: &RawEcdhKeyring, context: &EncryptionContext) -> EncryptedDataKey {
    let data_key = SecretBytes::zeroed(COMMITTING.data_key_length());
    let request = WrapRequest::new(&RustCrypto, COMMITTING, context);
    let wrapped = sync(keyring.on_encrypt(request.for_key(&data_key))).expect("it wraps");
    assert!(wrapped.data_key.is_none());
    wrapped.encrypted_data_keys.into_iter().next().expect("an encrypted data key")
}

/// What becomes of one encrypted data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Opens,
    NoMatch,
    NotAuthentic,
}

fn unwrap(keyring: &RawEcdhKeyring, context: &EncryptionContext, key: &EncryptedDataKey) -> Outcome {
    let keys = std::slice::from_ref(key);
    match sync(keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, COMMITTING, context, keys))) {
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

/// The value of a future that is ready at once.
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

#[test]
fn messages_of_the_official_library_open() {
    let file = load();
    let mut openings = 0;
    let mut seen = BTreeSet::new();
    for vector in &file.vectors {
        let curve = EcdhCurve::ALL.into_iter().find(|curve| curve.to_string() == vector.curve).expect("a known curve");
        let Named { alice, bob, carol } = Named::of(&file, curve);
        let (message, plaintext) = (from_base64(&vector.message), from_base64(&vector.plaintext));
        let context: EncryptionContext = vector.context.clone().into_iter().collect();
        let mut keyrings = vec![of(curve, bob)];
        if vector.schema == "static" {
            keyrings.extend([between(curve, bob, alice), between(curve, alice, bob)]);
        }
        for keyring in keyrings {
            let opened = reading_client().decrypt(&keyring).context(context.clone()).bytes(&message).wait();
            let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", vector.suite));
            assert_eq!(opened.plaintext, plaintext);
            assert_eq!(opened.header.suite(), suite_of(&vector.suite));
            assert_eq!(opened.opened_by.keyring, keyring.label());
            let [key] = opened.header.encrypted_data_keys() else { panic!("one encrypted data key") };
            assert_eq!((key.provider_id(), key.key_name()), ("raw-ecdh", None));
            openings += 1;
        }
        let other_context = context.iter().chain([("another", "pair")]).collect::<EncryptionContext>();
        let strangers = [of(curve, carol), of(curve, alice), between(curve, carol, bob), between(curve, bob, carol)];
        for (keyring, context, reason) in strangers
            .iter()
            .map(|keyring| (keyring, &context, "no encrypted data key is for this key"))
            .chain([(&of(curve, bob), &other_context, "does not open")])
        {
            let refused = reading_client().decrypt(keyring).context(context.clone()).bytes(&message).wait();
            let Err(Error::NotUnwrapped(failure)) = refused else { panic!("it was not refused") };
            assert!(failure.to_string().contains(reason), "{failure}");
        }
        seen.insert((&vector.curve, &vector.schema));
    }
    assert_eq!((file.vectors.len(), seen.len(), openings), (18, 6, 36));
}

#[test]
fn every_pairing_makes_the_round_trip() {
    let file = load();
    let mut trips = 0;
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        let pairings = [
            (between(curve, alice, bob), between(curve, bob, alice)),
            (between(curve, alice, bob), between(curve, alice, bob)),
            (between(curve, alice, bob), of(curve, bob)),
            (to(curve, bob), of(curve, bob)),
            (between(curve, bob, bob), between(curve, bob, bob)),
        ];
        for (sender, recipient) in &pairings {
            for (suite, context) in SUITES.into_iter().flat_map(|suite| contexts().map(|context| (suite, context))) {
                let client = client_for(suite);
                let encrypt = client.encrypt(sender).suite(suite).context(context.clone());
                let sealed = encrypt.bytes(b"text").wait().expect("it seals");
                assert_eq!(sealed.key_report.wrapped()[0].keyring, sender.label());
                let [key] = sealed.header.encrypted_data_keys() else { panic!("one encrypted data key") };
                let length = suite.data_key_length();
                assert_eq!(key.ciphertext().len(), 32 + 32 + length + 16);
                let point = sender.recipient_public_key().len();
                assert_eq!(key.provider_info().len(), 1 + 2 * (4 + point));
                assert_eq!(key.provider_info()[5..][..point], *sender.recipient_public_key());
                let opened = client.decrypt(recipient).context(context).bytes(&sealed.message).wait();
                assert_eq!(opened.expect("it opens").plaintext, b"text");
                trips += 1;
            }
        }
    }
    assert_eq!(trips, 3 * 5 * 4 * 3);
}

#[test]
fn only_the_holders_of_the_keys_open_a_message() {
    use Outcome::{NoMatch, NotAuthentic, Opens};
    let file = load();
    let none = EncryptionContext::new();
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, carol } = Named::of(&file, curve);
        let from_alice = wrap(&between(curve, alice, bob), &none);
        let from_anyone = wrap(&to(curve, bob), &none);
        for (keyring, of_alice, of_anyone) in [
            (between(curve, bob, alice), Opens, NoMatch),
            (between(curve, alice, bob), Opens, NoMatch),
            (of(curve, bob), Opens, Opens),
            // Alice's key is that of the sender.
            (of(curve, alice), NoMatch, NoMatch),
            (of(curve, carol), NoMatch, NoMatch),
            (between(curve, carol, bob), NoMatch, NoMatch),
            (between(curve, bob, carol), NoMatch, NoMatch),
            (between(curve, carol, alice), NoMatch, NoMatch),
            (between(curve, bob, bob), NoMatch, NoMatch),
        ] {
            assert_eq!(unwrap(&keyring, &none, &from_alice), of_alice);
            assert_eq!(unwrap(&keyring, &none, &from_anyone), of_anyone);
        }
        for other in EcdhCurve::ALL.into_iter().filter(|other| *other != curve) {
            assert_eq!(unwrap(&of(other, &Named::of(&file, other).bob), &none, &from_alice), NoMatch);
        }
        let other_context = EncryptionContext::from([("a", "1")]);
        assert_eq!(unwrap(&of(curve, bob), &other_context, &from_alice), NotAuthentic);
    }
}

#[test]
fn what_a_keyring_cannot_do_is_said() {
    let file = load();
    for curve in EcdhCurve::ALL {
        let bob = &Named::of(&file, curve).bob;
        let (writes, reads) = (to(curve, bob), of(curve, bob));
        let why = refusal(reading_client().encrypt(&reads).bytes(b"text").wait());
        assert!(why.contains("cannot encrypt") && why.contains(&*reads.label()), "{why}");
        let sealed = reading_client().encrypt(&writes).bytes(b"text").wait().expect("it seals");
        let why = refusal(reading_client().decrypt(&writes).bytes(&sealed.message).wait());
        assert!(why.contains("cannot decrypt") && why.contains("RawEcdhKeyring::discovery"), "{why}");
        // As one of several it takes no part, and says why if none of the others opens the message.
        let several = MultiKeyring::without_generator(writes).child(reads);
        assert!(reading_client().decrypt(&several).bytes(&sealed.message).wait().is_ok());
        let two = MultiKeyring::without_generator(to(curve, bob)).child(of(curve, &Named::of(&file, curve).carol));
        let Err(Error::NotUnwrapped(failure)) = reading_client().decrypt(&two).bytes(&sealed.message).wait() else {
            panic!("it opens")
        };
        assert_eq!(failure.attempts().len(), 2);
        assert!(std::error::Error::source(&failure).expect("a cause").to_string().contains("cannot decrypt"));
    }
}

#[test]
fn every_altered_bit_of_an_encrypted_data_key_is_noticed() {
    let file = load();
    let context = EncryptionContext::from([("purpose", "test")]);
    let altered = std::sync::atomic::AtomicUsize::new(0);
    in_parallel(&EcdhCurve::ALL, |&curve| {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        let (fixed, discovery) = (between(curve, bob, alice), of(curve, bob));
        let key = wrap(&between(curve, alice, bob), &context);
        let count = |outcome: Outcome, expected: Outcome, what: &str| {
            assert_eq!(outcome, expected, "{curve}: {what}");
            altered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        // Nonce, commitment, encrypted key and tag.
        for bit in 0..8 * key.ciphertext().len() {
            let mut ciphertext = key.ciphertext().to_vec();
            ciphertext[bit / 8] ^= 1 << (bit % 8);
            let changed = EncryptedDataKey::new("raw-ecdh", key.provider_info(), ciphertext);
            count(unwrap(&discovery, &context, &changed), Outcome::NotAuthentic, "a bit of the ciphertext");
        }
        for length in 0..key.ciphertext().len() {
            let cut = EncryptedDataKey::new("raw-ecdh", key.provider_info(), &key.ciphertext()[..length]);
            count(unwrap(&fixed, &context, &cut), Outcome::NotAuthentic, "a ciphertext that is cut off");
        }
        // The version, the lengths and the recipient must be the keyring's; the sender must be whoever wrote it.
        let sender_at = key.provider_info().len() - fixed.recipient_public_key().len();
        for bit in 0..8 * key.provider_info().len() {
            let mut info = key.provider_info().to_vec();
            info[bit / 8] ^= 1 << (bit % 8);
            let changed = EncryptedDataKey::new("raw-ecdh", info, key.ciphertext());
            count(unwrap(&fixed, &context, &changed), Outcome::NoMatch, "a bit of the provider information");
            let is_sender = bit / 8 >= sender_at;
            let expected = if is_sender { Outcome::NotAuthentic } else { Outcome::NoMatch };
            count(unwrap(&discovery, &context, &changed), expected, "a bit of the provider information");
        }
        for length in 0..key.provider_info().len() {
            let cut = EncryptedDataKey::new("raw-ecdh", &key.provider_info()[..length], key.ciphertext());
            count(unwrap(&discovery, &context, &cut), Outcome::NoMatch, "provider information that is cut off");
        }
        let longer = [key.provider_info(), &[0]].concat();
        let longer = EncryptedDataKey::new("raw-ecdh", longer, key.ciphertext());
        count(unwrap(&discovery, &context, &longer), Outcome::NoMatch, "longer provider information");
        // The parties the other way round are the keyring's still, but it is not what was wrapped.
        let point = fixed.recipient_public_key().len();
        let (head, sender) = key.provider_info().split_at(sender_at);
        let swapped = [&head[..5], sender, &head[5 + point..], &head[5..5 + point]].concat();
        let swapped = EncryptedDataKey::new("raw-ecdh", swapped, key.ciphertext());
        count(unwrap(&fixed, &context, &swapped), Outcome::NotAuthentic, "parties the other way round");
        count(unwrap(&discovery, &context, &swapped), Outcome::NoMatch, "parties the other way round");
        // The keyring over AWS KMS writes the same under an id of its own.
        let of_kms = EncryptedDataKey::new("aws-kms-ecdh", key.provider_info(), key.ciphertext());
        count(unwrap(&fixed, &context, &of_kms), Outcome::Opens, "aws-kms-ecdh");
        count(unwrap(&discovery, &context, &of_kms), Outcome::Opens, "aws-kms-ecdh");
        for id in ["raw-ecdh2", "raw-ecd", "aws-kms", "RAW-ECDH"] {
            let changed = EncryptedDataKey::new(id, key.provider_info(), key.ciphertext());
            count(unwrap(&discovery, &context, &changed), Outcome::NoMatch, id);
        }
        assert_eq!(unwrap(&discovery, &context, &key), Outcome::Opens);
    });
    let (ciphertext, infos) = (32 + 32 + 32 + 16, 75 + 107 + 143);
    let expected = 3 * 8 * ciphertext + 3 * ciphertext + 2 * 8 * infos + infos + 3 * 9;
    assert_eq!(altered.into_inner(), expected);
}

#[test]
fn a_sender_that_is_no_point_of_the_curve_is_refused() {
    let file = load();
    let none = EncryptionContext::new();
    for curve in EcdhCurve::ALL {
        let bob = &Named::of(&file, curve).bob;
        let (keyring, key) = (of(curve, bob), wrap(&to(curve, bob), &none));
        let point = keyring.recipient_public_key().len();
        let at = key.provider_info().len() - point;
        let fields = [vec![0; point - 1], vec![0xff; point - 1], key.provider_info()[at + 1..].to_vec()];
        for (tag, field) in [0, 1, 2, 3, 4, 5, 6, 7, 0xff].iter().flat_map(|tag| fields.iter().map(move |f| (tag, f))) {
            let info = [&key.provider_info()[..at], &[*tag], field].concat();
            let is_itself = info == key.provider_info();
            let expected = if is_itself { Outcome::Opens } else { Outcome::NotAuthentic };
            let changed = EncryptedDataKey::new("raw-ecdh", info, key.ciphertext());
            assert_eq!(unwrap(&keyring, &none, &changed), expected, "{curve}, {tag}, {field:?}");
        }
    }
}

#[test]
fn several_keys_wrap_one_message_and_failures_are_collected() {
    let file = load();
    let main = RawAesKeyring::new("example", "key-1", vec![7; 32]).expect("a usable key");
    let keyring = EcdhCurve::ALL.into_iter().fold(MultiKeyring::new(main), |keyring, curve| {
        let Named { alice, bob, carol } = Named::of(&file, curve);
        keyring.child(between(curve, alice, bob)).child(to(curve, carol))
    });
    let sealed = reading_client().encrypt(&keyring).bytes(b"text").wait().expect("it seals");
    assert_eq!(sealed.header.encrypted_data_keys().len(), 7);
    for (index, curve) in EcdhCurve::ALL.into_iter().enumerate() {
        let Named { alice, bob, carol } = Named::of(&file, curve);
        for (keyring, at) in [
            (between(curve, bob, alice), 1 + 2 * index),
            (of(curve, bob), 1 + 2 * index),
            (of(curve, carol), 2 + 2 * index),
        ] {
            let opened = reading_client().decrypt(&keyring).bytes(&sealed.message).wait().expect("it opens");
            assert_eq!((opened.plaintext.as_slice(), opened.opened_by.encrypted_data_key), (&b"text"[..], at));
        }
        // One that does not open stands before one that does; and the other way round none does.
        let none = EncryptionContext::new();
        let good = wrap(&to(curve, bob), &none);
        let bad = EncryptedDataKey::new("raw-ecdh", good.provider_info(), vec![1; 112]);
        let short = wrap(&to(curve, bob), &EncryptionContext::from([("a", "1")]));
        let keys = [bad, short, good];
        let keyring = of(curve, bob);
        let open = |keys| sync(keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, COMMITTING, &none, keys)));
        assert_eq!(open(&keys).map_err(|error| error.to_string()).expect("it opens").encrypted_data_key, 2);
        let Err(Error::NotUnwrapped(failure)) = open(&keys[..2]) else { panic!("it opens") };
        let attempts = failure.attempts();
        assert_eq!(attempts.len(), 2);
        assert!(attempts.iter().all(|attempt| matches!(attempt.reason, UnwrapReason::NotAuthentic)));
    }
}

#[test]
fn nothing_is_used_twice() {
    let file = load();
    let none = EncryptionContext::new();
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        let point = to(curve, bob).recipient_public_key().len();
        let of_each = |keyring: &RawEcdhKeyring| {
            let keys: Vec<_> = (0..20).map(|_| wrap(keyring, &none)).collect();
            let senders: BTreeSet<_> =
                keys.iter().map(|key| key.provider_info()[key.provider_info().len() - point..].to_vec()).collect();
            let nonces: BTreeSet<_> = keys.iter().map(|key| key.ciphertext()[..32].to_vec()).collect();
            let commitments: BTreeSet<_> = keys.iter().map(|key| key.ciphertext()[32..64].to_vec()).collect();
            let wrapped: BTreeSet<_> = keys.iter().map(|key| key.ciphertext()[64..].to_vec()).collect();
            (senders.len(), nonces.len(), commitments.len(), wrapped.len())
        };
        assert_eq!(of_each(&between(curve, alice, bob)), (1, 20, 20, 20));
        assert_eq!(of_each(&to(curve, bob)), (20, 20, 20, 20));
    }
}

/// The usual primitives, with random bytes that are not.
#[derive(Debug)]
struct NotRandom(Option<u8>);

impl CryptoProvider for NotRandom {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        out.fill(self.0.ok_or(Error::Provider("the well is dry"))?);
        Ok(())
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        RustCrypto.aes_gcm(key)
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        RustCrypto.hkdf(hash, salt, key, outputs)
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        RustCrypto.digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        RustCrypto.generate_signing_key(algorithm)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        RustCrypto.verifying_key(algorithm, compressed)
    }
}

#[test]
fn random_bytes_come_from_the_provider_and_may_fail() {
    let file = load();
    let none = EncryptionContext::new();
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        for keyring in [to(curve, bob), between(curve, alice, bob)] {
            let wrap = |provider: &NotRandom| {
                let wrapped = sync(keyring.on_encrypt(WrapRequest::new(provider, COMMITTING, &none)))?;
                Ok::<_, Error>(wrapped.encrypted_data_keys[0].clone())
            };
            assert!(matches!(wrap(&NotRandom(None)), Err(Error::Provider("the well is dry"))));
            let once = wrap(&NotRandom(Some(1))).expect("it wraps");
            assert_eq!(once.ciphertext()[..32], [1; 32]);
            assert!(once == wrap(&NotRandom(Some(1))).expect("it wraps"), "{curve}: from somewhere else");
        }
        // Zero is no private key, nor is what is above the order of the curve: no endless search for one.
        for byte in [0, 0xff] {
            let provider = NotRandom(Some(byte));
            let keyring = to(curve, bob);
            let refused = sync(keyring.on_encrypt(WrapRequest::new(&provider, COMMITTING, &none)));
            assert!(matches!(refused, Err(Error::Provider("the random bytes make no private key"))), "{curve}, {byte}");
        }
    }
}

#[cfg(feature = "conformance")]
#[test]
fn it_conforms_to_the_interface_of_keyrings() {
    use sealwax::conformance::{KeyringTraits, keyring};
    let file = load();
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        let (all, existing) =
            (KeyringTraits::default(), KeyringTraits { generates: false, ..KeyringTraits::default() });
        for traits in [all, existing] {
            keyring(&between(curve, alice, bob), traits).wait().expect("it conforms");
            keyring(&to(curve, bob), KeyringTraits { decrypts: false, ..traits }).wait().expect("it conforms");
            keyring(&of(curve, bob), KeyringTraits { encrypts: false, ..traits }).wait().expect("it conforms");
        }
    }
}

/// PEM of these bytes, in lines of this width.
fn pem(label: &str, der: &[u8], width: usize, end_of_line: &str) -> String {
    let text = to_base64(der);
    let mut out = format!("-----BEGIN {label}-----{end_of_line}");
    for line in text.as_bytes().chunks(width) {
        out.push_str(std::str::from_utf8(line).expect("base64"));
        out.push_str(end_of_line);
    }
    out + &format!("-----END {label}-----{end_of_line}")
}

/// The bytes of a PEM text.
fn der_of(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    from_base64(&text)
}

/// A SubjectPublicKeyInfo with the algorithm of this one, and another point.
fn with_point(info: &[u8], point: &[u8]) -> Vec<u8> {
    // SEQUENCE { SEQUENCE algorithm, BIT STRING point }, with a first length in one byte or in two.
    let start = if info[1] == 0x81 { 3 } else { 2 };
    let algorithm = &info[start..start + 2 + usize::from(info[start + 1])];
    let length = |length: usize| {
        if length < 0x80 { vec![length as u8] } else { vec![0x81, u8::try_from(length).expect("a short text")] }
    };
    let bits = [&[3][..], &length(1 + point.len()), &[0], point].concat();
    [&[0x30][..], &length(algorithm.len() + bits.len()), algorithm, &bits].concat()
}

#[test]
fn keys_are_read_in_their_usual_forms() {
    let file = load();
    let mut read = 0;
    for curve in EcdhCurve::ALL {
        let bob = &Named::of(&file, curve).bob;
        let label = to(curve, bob).label();
        assert_eq!(of(curve, bob).label(), label, "the public half is that of the private key");
        let info = bob.public();
        let compressed = with_point(&info, to(curve, bob).recipient_public_key());
        for public in [
            info.clone(),
            compressed,
            pem("PUBLIC KEY", &info, 64, "\n").into_bytes(),
            pem("PUBLIC KEY", &info, 64, "\r\n").into_bytes(),
            pem("PUBLIC KEY", &info, 76, "\n").into_bytes(),
            format!("Bob's key\n{}\n\n", pem("PUBLIC KEY", &info, 64, "\n")).into_bytes(),
        ] {
            assert_eq!(RawEcdhKeyring::ephemeral(curve, &public).expect("a usable key").label(), label);
            read += 1;
        }
        let der = der_of(&bob.private);
        for private in [
            pem("PRIVATE KEY", &der, 64, "\r\n"),
            pem("PRIVATE KEY", &der, 1000, "\n"),
            format!("Bob's key\n{}\n", bob.private),
            bob.private.trim_end().to_owned(),
        ] {
            assert_eq!(RawEcdhKeyring::discovery(curve, &private).expect("a usable key").label(), label);
            read += 1;
        }
    }
    assert_eq!(read, 3 * 10);
}

/// PKCS#8 as others write it, or write other keys.
const ED25519_PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEIKdvoW6+V3DQ4hI9tjaHtleuGNmc2FDcyvKEV8le2ud8";
const ED25519_PUBLIC: &str = "MCowBQYDK2VwAyEAy2vAkmQdLZcta8k8lYSH9npb6TFO5iqJSt404xpf9UI=";
const SECP256K1_PRIVATE: &str = "MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQg1rVcXZ4z8ML29qpCT7k9LdZbT4SnmUZvsghApHK1He6h\
                                 RANCAAR8nigssKG/iaAjwSq2LjW7/bQC9KLxodSzQdSXGouFybeBtheH8Tx9pQt9uKK1ZR3jWIjA6ta96w0HCj5N\
                                 hBzH";
const SECP256K1_PUBLIC: &str = "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEfJ4oLLChv4mgI8Eqti41u/20AvSi8aHUs0HUlxqLhcm3gbYXh/E8faULfb\
                                iitWUd41iIwOrWvesNBwo+TYQcxw==";

#[test]
fn unusable_private_keys_are_refused_with_the_reason() {
    let file = load();
    let mut refused = 0;
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        let der = der_of(&bob.private);
        let one = |label| pem(label, &der, 64, "\n");
        // The scalar is the first long OCTET STRING within: its bytes are replaced, and with them the public half is wrong.
        let length = to(curve, bob).recipient_public_key().len() - 1;
        let at = der.windows(5).position(|bytes| bytes == [2, 1, 1, 4, length as u8]).expect("a private key") + 5;
        let with_scalar = |byte: u8| {
            let mut der = der.clone();
            der[at..at + length].fill(byte);
            pem("PRIVATE KEY", &der, 64, "\n")
        };
        let mut other_half = der.clone();
        *other_half.last_mut().expect("a key") ^= 1;
        let wrong_half = pem("PRIVATE KEY", &other_half, 64, "\n");
        let cut = pem("PRIVATE KEY", &der[..der.len() - 1], 64, "\n");
        let foreign = |text| pem("PRIVATE KEY", &from_base64(text), 64, "\n");
        for (private, reason) in [
            (String::new(), "not PEM text"),
            ("no key at all".to_owned(), "not PEM text"),
            (one("ENCRYPTED PRIVATE KEY"), "decrypt it first (openssl pkcs8"),
            (one("EC PRIVATE KEY"), "convert it to PKCS#8 first (openssl pkcs8 -topk8"),
            (pem("EC PARAMETERS", &[6, 0], 64, "\n") + &one("EC PRIVATE KEY"), "convert it to PKCS#8 first"),
            (one("PUBLIC KEY"), "a public key was given"),
            (one("CERTIFICATE"), "something else than PRIVATE KEY"),
            (one("RSA PRIVATE KEY"), "something else than PRIVATE KEY"),
            (pem("PRIVATE KEY", &bob.public(), 64, "\n"), "it is not PKCS#8"),
            (cut, "it is not PKCS#8"),
            (one("PRIVATE KEY").replace('M', "!"), "not a PEM text that can be read"),
            (one("PRIVATE KEY").replace("-----END", "----END"), "not a PEM text that can be read"),
            (one("PRIVATE KEY") + &one("PRIVATE KEY"), "not a PEM text that can be read"),
            (with_scalar(0), "it is no key of P-"),
            (with_scalar(0xff), "it is no key of P-"),
            (with_scalar(1), "it is no key of P-"),
            (wrong_half, "it is no key of P-"),
            (foreign(ED25519_PRIVATE), "is no elliptic-curve key"),
            (foreign(SECP256K1_PRIVATE), "names none of the curves"),
        ] {
            for why in [
                refusal(RawEcdhKeyring::discovery(curve, &private)),
                refusal(RawEcdhKeyring::static_keys(curve, &private, &alice.public())),
            ] {
                assert!(why.contains(reason) && why.contains("private key"), "{curve}: {why}, not {reason}");
                refused += 1;
            }
        }
        // DER is refused, too: the specification asks for PEM.
        assert!(refusal(RawEcdhKeyring::discovery(curve, &der)).contains("not PEM text"));
        for other in EcdhCurve::ALL.into_iter().filter(|other| *other != curve) {
            let why = refusal(RawEcdhKeyring::discovery(other, &bob.private));
            assert!(why.contains(&format!("is on {curve}, and the keyring is for {other}")), "{why}");
            let why = refusal(RawEcdhKeyring::static_keys(other, &bob.private, &alice.public()));
            assert!(why.contains("the private key is on"), "{why}");
            refused += 2;
        }
    }
    assert_eq!(refused, 3 * (19 * 2 + 4));
}

#[test]
fn unusable_public_keys_are_refused_with_the_reason() {
    let file = load();
    let mut refused = 0;
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        let info = bob.public();
        let compressed = to(curve, bob).recipient_public_key().to_vec();
        let length = compressed.len() - 1;
        let point = info[info.len() - 2 * length - 1..].to_vec();
        assert_eq!(with_point(&info, &point), info);
        let mut off_curve = point.clone();
        *off_curve.last_mut().expect("a point") ^= 1;
        let hybrid = [&[6 + (point[2 * length] & 1)][..], &point[1..]].concat();
        let compact = [&[5][..], &point[1..=length]].concat();
        let too_great = [&[2][..], &vec![0xff; length]].concat();
        let zeros = [&[4][..], &vec![0; 2 * length]].concat();
        let one = |label| pem(label, &info, 64, "\n").into_bytes();
        let no_point = format!("is no point of {curve}");
        for (public, reason) in [
            (Vec::new(), "it is no SubjectPublicKeyInfo"),
            (b"no key at all".to_vec(), "it is no SubjectPublicKeyInfo"),
            (point.clone(), "it is no SubjectPublicKeyInfo"),
            (info[..info.len() - 1].to_vec(), "it is no SubjectPublicKeyInfo"),
            ([&info[..], &[0]].concat(), "it is no SubjectPublicKeyInfo"),
            (der_of(&bob.private), "it is no SubjectPublicKeyInfo"),
            (bob.private.clone().into_bytes(), "a private key was given"),
            (one("PRIVATE KEY"), "a private key was given"),
            (one("EC PRIVATE KEY"), "a private key was given"),
            (one("CERTIFICATE"), "something else than PUBLIC KEY"),
            (one("PUBLIC KEY").replace_all(b'M', b'!'), "not a PEM text that can be read"),
            (from_base64(ED25519_PUBLIC), "is no elliptic-curve key"),
            (from_base64(SECP256K1_PUBLIC), "names none of the curves"),
            (with_point(&info, &[0]), "is the point at infinity"),
            (with_point(&info, &[]), &no_point),
            (with_point(&info, &off_curve), &no_point),
            (with_point(&info, &point[..point.len() - 1]), &no_point),
            (with_point(&info, &hybrid), &no_point),
            (with_point(&info, &compact), &no_point),
            (with_point(&info, &too_great), &no_point),
            (with_point(&info, &zeros), &no_point),
        ] {
            for why in [
                refusal(RawEcdhKeyring::ephemeral(curve, &public)),
                refusal(RawEcdhKeyring::static_keys(curve, &alice.private, &public)),
            ] {
                assert!(why.contains(reason) && why.contains("public key"), "{curve}: {why}, not {reason}");
                refused += 1;
            }
        }
        for other in EcdhCurve::ALL.into_iter().filter(|other| *other != curve) {
            let why = refusal(RawEcdhKeyring::ephemeral(other, &info));
            assert!(why.contains(&format!("is on {curve}, and the keyring is for {other}")), "{why}");
            let own = &Named::of(&file, other).alice;
            let why = refusal(RawEcdhKeyring::static_keys(other, &own.private, &info));
            assert!(why.contains("the recipient's public key is on"), "{why}");
            refused += 2;
        }
    }
    assert_eq!(refused, 3 * (21 * 2 + 4));
}

trait ReplaceAll {
    fn replace_all(self, from: u8, to: u8) -> Self;
}

impl ReplaceAll for Vec<u8> {
    fn replace_all(mut self, from: u8, to: u8) -> Self {
        let body = self.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        self[body..].iter_mut().filter(|byte| **byte == from).for_each(|byte| *byte = to);
        self
    }
}

/// The official library, as a process that answers requests in JSON, one a line. Ended when this is dropped.
struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<std::io::Result<String>>,
}

impl Peer {
    /// None, loudly, if the library is not installed.
    fn start() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = env::var_os("SEALWAX_PEERS_DIR").map_or_else(|| root.join("target/peers"), PathBuf::from);
        if !folder.join("py/.stamp").exists() {
            skip("SEALWAX_REQUIRE_PEERS", "the Python peer is not installed (tests/peers/setup.sh)");
            return None;
        }
        let mut child = Command::new(folder.join("py/bin/python"))
            .arg(root.join("tests/peers/ecdh_peer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer starts");
        let requests = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || output.lines().try_for_each(|line| sender.send(line)));
        Some(Self { child, requests, answers })
    }

    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        self.requests.write_all((request.to_string() + "\n").as_bytes()).expect("the peer takes requests");
        let answer = self.answers.recv_timeout(Duration::from_secs(120)).expect("an answer").expect("text");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        if answer["ok"] == true { Ok(answer) } else { Err(answer["error"].as_str().unwrap_or_default().to_owned()) }
    }

    fn decrypt(&mut self, keyring: &Value, message: &[u8]) -> Result<Vec<u8>, String> {
        let request = json!({"op": "decrypt", "keyring": keyring, "message": to_base64(message)});
        self.ask(&request).map(|answer| from_base64(answer["plaintext"].as_str().expect("a plaintext")))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_official_library_and_we_open_each_others_messages() {
    let Some(mut peer) = Peer::start() else { return };
    let start = Instant::now();
    let hello = peer.ask(&json!({"op": "hello"})).expect("a greeting");
    let file = load();
    let (mut theirs, mut ours, mut refused) = (0, 0, 0);
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, carol } = Named::of(&file, curve);
        let name = curve.to_string();
        let their_static = |own: &Key, other: &Key| json!({"curve": name, "schema": "static", "private": own.private, "public": other.public});
        let their_ephemeral = json!({"curve": name, "schema": "ephemeral", "public": bob.public});
        let their_discovery = |own: &Key| json!({"curve": name, "schema": "discovery", "private": own.private});
        for (suite, context) in SUITES.into_iter().flat_map(|suite| contexts().map(|context| (suite, context))) {
            let client = client_for(suite);
            let plaintext = format!("{curve}, {suite}").into_bytes();
            let pairs: BTreeMap<_, _> = context.iter().collect();
            for (keyring, readers) in [
                (
                    their_static(alice, bob),
                    vec![between(curve, bob, alice), between(curve, alice, bob), of(curve, bob)],
                ),
                (their_ephemeral.clone(), vec![of(curve, bob)]),
            ] {
                let request = json!({
                    "op": "encrypt", "keyring": keyring, "suite": suite_name(suite), "context": pairs,
                    "plaintext": to_base64(&plaintext),
                });
                let answer = peer.ask(&request).unwrap_or_else(|error| panic!("{curve}, {suite}: {error}"));
                let message = from_base64(answer["message"].as_str().expect("a message"));
                for reader in readers {
                    let opened = client.decrypt(&reader).context(context.clone()).bytes(&message).wait();
                    assert_eq!(opened.expect("it opens").plaintext, plaintext);
                    theirs += 1;
                }
                assert!(client.decrypt(&of(curve, carol)).bytes(&message).wait().is_err());
                refused += 1;
            }
            for (keyring, readers) in [
                (
                    between(curve, alice, bob),
                    vec![their_static(bob, alice), their_static(alice, bob), their_discovery(bob)],
                ),
                (to(curve, bob), vec![their_discovery(bob)]),
            ] {
                let sealed = client.encrypt(&keyring).suite(suite).context(context.clone()).bytes(&plaintext).wait();
                let message = sealed.expect("it seals").message;
                for reader in readers {
                    assert_eq!(peer.decrypt(&reader, &message).as_deref(), Ok(&*plaintext), "{curve}, {suite}");
                    ours += 1;
                }
                assert!(peer.decrypt(&their_discovery(carol), &message).is_err());
                assert!(peer.decrypt(&their_static(carol, alice), &message).is_err());
                refused += 2;
            }
        }
    }
    say(&format!(
        "raw ECDH with {} {}: {theirs} openings of their messages, {ours} of ours, {refused} refusals, {:.1} s",
        hello["library"],
        hello["sdk"],
        start.elapsed().as_secs_f32()
    ));
    assert_eq!((theirs, ours, refused), (144, 144, 216));
}
