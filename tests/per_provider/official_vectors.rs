//! The official test vectors. They are not part of this project: they are read from
//! `../shared/vectors`, or from the directory in the environment variable SEALWAX_VECTORS. Without
//! them these tests are skipped, unless SEALWAX_REQUIRE_VECTORS=1.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use sealwax::{
    AlgorithmSuite, ContentType, EncryptedDataKey, EncryptionContext, Error, Header, PUBLIC_KEY_ENTRY, Result,
    keyring::{BoxFuture, Keyring, RawAesKeyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};
use serde::Deserialize;

use super::support::{
    from_base64, in_parallel, new_client,
    official::{Case, Kind, MasterKey, V1, read_json, vectors},
    readers::{open_every_way, refuse_every_way},
    reading_client, say,
};

impl V1 {
    /// Returns the keyring over the published AES key of a case.
    fn aes_keyring(&self, case: &Case, header: &Header) -> RawAesKeyring {
        let (namespace, name) = usable_key(case, header);
        let bits = name.split('.').nth(1).expect("a name such as AES.128..");
        let key = from_base64(&self.manifest.test_keys["AES"][bits].key.concat());
        assert_eq!(key.len() * 8, bits.parse::<usize>().expect("a number of bits"));
        RawAesKeyring::new(namespace, name, key).expect("a usable key")
    }

    /// Returns the keyring over the published RSA private key of a case.
    #[cfg(feature = "raw-rsa")]
    fn rsa_keyring(&self, case: &Case, header: &Header) -> sealwax::keyring::RawRsaKeyring {
        use sealwax::keyring::{RawRsaKeyring, RsaPadding};

        let (namespace, name) = usable_key(case, header);
        let padding = match case.kind() {
            Kind::RawRsaPkcs1 => RsaPadding::Pkcs1,
            Kind::RawRsaOaepSha1 => RsaPadding::OaepSha1,
            other => panic!("{other:?}"),
        };
        let pem = self.manifest.test_keys["RSA"]["2048"].key.join("\n");
        RawRsaKeyring::builder(namespace, name, padding).private_key_pem(&pem).build().expect("a usable key")
    }
}

/// Returns the namespace and name of the published key of a case. The name, which contains the key
/// size, is only in the message.
fn usable_key<'a>(case: &'a Case, header: &'a Header) -> (&'a str, &'a str) {
    let usable: Vec<_> = case.master_keys.iter().filter(|key| key.decryptable).collect();
    let [MasterKey { provider_id, .. }] = usable[..] else { panic!("not exactly one usable key") };
    let named = |key: &&EncryptedDataKey| key.provider_id() == provider_id;
    let encrypted = header.encrypted_data_keys().iter().find(named).expect("the key is in the message");
    (provider_id, encrypted.key_name().expect("a name in UTF-8"))
}

fn per_suite(counts: &BTreeMap<AlgorithmSuite, usize>) -> String {
    let counts: Vec<_> = counts.iter().map(|(suite, count)| format!("{:#06x}: {count}", suite.id())).collect();
    counts.join(", ")
}

/// Returns the nine suites of version 1, each with this number of cases.
fn nine_suites_with(count: usize) -> BTreeMap<AlgorithmSuite, usize> {
    AlgorithmSuite::ALL.into_iter().filter(|suite| !suite.is_committing()).map(|suite| (suite, count)).collect()
}

/// Opens every case of these kinds, with the keyring made for it, and counts them.
fn open_cases<K: Keyring>(
    v1: &V1,
    kind: impl Fn(Kind) -> bool,
    keyring: impl Fn(&Case, &Header) -> K + Sync,
) -> BTreeMap<AlgorithmSuite, usize> {
    let (client, default, no_context) = (reading_client(), new_client(), EncryptionContext::new());
    let counts = Mutex::new(BTreeMap::new());
    in_parallel(&v1.cases(kind), |case| {
        let what = &case.ciphertext.filename;
        let (message, plaintext) = (v1.read(&case.ciphertext), v1.read(&case.plaintext));
        let header = v1.header(case, &message);
        let keyring = keyring(case, &header);
        let opening = open_every_way(&client, &keyring, &no_context, &message, &plaintext, what);
        assert!(opening.header == header, "{what}");
        let used = &header.encrypted_data_keys()[opening.opened_by.encrypted_data_key];
        assert_eq!(used.provider_id(), "static-aws-xcompat", "{what}");

        // The context is the message's own: expecting it changes nothing, expecting another is
        // refused.
        let expected = client.decrypt(&keyring).context(header.context().clone()).bytes(&message).wait();
        assert!(expected.expect(what).plaintext == plaintext, "{what}");
        let refused = default.decrypt(&keyring).bytes(&message).wait();
        assert!(matches!(refused, Err(Error::Commitment { .. })), "{what}: the default policy lets it through");
        *counts.lock().expect("no panic so far").entry(case.suite()).or_insert(0) += 1;
    });
    counts.into_inner().expect("no panic so far")
}

#[test]
fn every_raw_aes_message_of_version_1_opens_through_every_reader() {
    let Some(v1) = V1::load() else { return };
    let counts = open_cases(v1, |kind| kind == Kind::RawAes, |case, header| v1.aes_keyring(case, header));
    say(&format!("official v1, raw AES: {} opened ({})", counts.values().sum::<usize>(), per_suite(&counts)));
    assert_eq!(counts, nine_suites_with(40));
}

#[cfg(feature = "raw-rsa")]
#[test]
fn every_raw_rsa_message_of_version_1_opens_through_every_reader() {
    let Some(v1) = V1::load() else { return };
    for (kind, count) in [(Kind::RawRsaPkcs1, 20), (Kind::RawRsaOaepSha1, 40)] {
        let counts = open_cases(v1, |other| other == kind, |case, header| v1.rsa_keyring(case, header));
        say(&format!("official v1, {kind:?}: {} opened ({})", counts.values().sum::<usize>(), per_suite(&counts)));
        assert_eq!(counts, nine_suites_with(count));
    }
}

#[test]
fn the_headers_of_raw_rsa_messages_of_version_1_name_their_keys() {
    let Some(v1) = V1::load() else { return };
    let mut counts = BTreeMap::new();
    for case in v1.cases(|kind| matches!(kind, Kind::RawRsaPkcs1 | Kind::RawRsaOaepSha1)) {
        let header = v1.header(case, &v1.read(&case.ciphertext));
        for key in header.encrypted_data_keys() {
            let name = key.key_name().expect("a name in UTF-8");
            assert!(name.starts_with("RSA.2048."), "{name}");
            assert_eq!(name.as_bytes(), key.provider_info());
        }
        *counts.entry((case.kind(), case.master_keys.len())).or_insert(0) += 1;
    }
    let state = if cfg!(feature = "raw-rsa") { "headers parsed" } else { "messages wait for the feature raw-rsa" };
    say(&format!("official v1, raw RSA: {} {state}", counts.values().sum::<usize>()));
    let expected = [((Kind::RawRsaPkcs1, 1), 180), ((Kind::RawRsaOaepSha1, 1), 180), ((Kind::RawRsaOaepSha1, 2), 180)];
    assert_eq!(counts, BTreeMap::from(expected));
    let all: usize = 360 + 360 + counts.values().sum::<usize>();
    assert_eq!((all, v1.manifest.test_cases.len()), (1260, 1260));
}

// Format version 2: 46 known answers with the data key given.

#[derive(Deserialize)]
struct KnownAnswers {
    tests: Vec<KnownAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct KnownAnswer {
    comment: String,
    ciphertext: String,
    commitment: String,
    decrypted_dek: String,
    encryption_context: BTreeMap<String, String>,
    exception: Option<String>,
    footer: Option<String>,
    #[serde(default)]
    frames: Vec<String>,
    header: String,
    message_id: String,
    #[serde(default)]
    plaintext_frames: Vec<String>,
    status: bool,
}

/// "Unwraps" every encrypted data key to a given data key.
struct Given(Vec<u8>);

impl Keyring for Given {
    fn label(&self) -> Arc<str> {
        "given".into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async { Err(Error::keyring("given", "it only decrypts")) })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let mut attempts = request.attempts(self.label());
            let unwrapped = attempts.record(0, Ok(self.0.as_slice().into()));
            unwrapped.ok_or_else(|| attempts.into_error())
        })
    }
}

impl KnownAnswer {
    fn suite(&self) -> AlgorithmSuite {
        if self.encryption_context.contains_key(PUBLIC_KEY_ENTRY) {
            AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384
        } else {
            AlgorithmSuite::Aes256GcmHkdfSha512CommitKey
        }
    }

    /// Compares the header, and the layout of the message, with the vector.
    fn check_header(&self, header: &Header, message: &[u8]) {
        let what = &self.comment;
        assert_eq!(header.suite(), self.suite(), "{what}");
        assert_eq!(header.message_id(), from_base64(&self.message_id), "{what}");
        assert!(*header.context() == self.encryption_context.clone().into_iter().collect(), "{what}: the context");
        // One of the headers is preceded by a space.
        let header_text = self.header.trim();
        assert!(message[..header.length()] == from_base64(header_text), "{what}: the header");
        // The commitment is the last field of the header body; the tag follows it.
        let body = &message[..header.length() - 16];
        assert!(!self.status || body.ends_with(&from_base64(&self.commitment)), "{what}: the commitment");
        if !self.frames.is_empty() {
            let parts = [header_text].into_iter().chain(self.frames.iter().chain(&self.footer).map(String::as_str));
            assert!(parts.flat_map(from_base64).eq(message.iter().copied()), "{what}: the parts");
        }
    }
}

/// Returns whether the first IV of a body is not the one that the sequence number gives.
fn has_unusual_iv(header: &Header, message: &[u8]) -> bool {
    let body = &message[header.length()..];
    let at = match header.content_type() {
        ContentType::Unframed => 0,
        ContentType::Framed { .. } if body.starts_with(&[0xff; 4]) => 8,
        ContentType::Framed { .. } => 4,
    };
    body[at..at + 12] != [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
}

#[test]
fn the_known_answers_of_version_2_open_or_are_refused_as_they_say() {
    let Some(folder) = vectors() else { return };
    let answers: KnownAnswers = read_json(&folder.join("esdk-v2-kat.json"));
    let (client, no_context) = (new_client(), EncryptionContext::new());
    let (mut opened, mut refused, mut unusual_ivs) = (BTreeMap::new(), 0, 0);
    for answer in &answers.tests {
        let what = &answer.comment;
        let message = from_base64(&answer.ciphertext);
        let keyring = Given(from_base64(&answer.decrypted_dek));
        let (received, _) = client.header_decoder().decode(&message).expect(what);
        answer.check_header(received.header(), &message);
        assert_eq!(answer.status, answer.exception.is_none(), "{what}");
        if answer.status {
            let plaintext = answer.plaintext_frames.concat();
            let context: EncryptionContext = answer.encryption_context.clone().into_iter().collect();
            for expected in [&no_context, &context] {
                let opening = open_every_way(&client, &keyring, expected, &message, plaintext.as_bytes(), what);
                assert!(opening.header == *received.header(), "{what}");
            }
            unusual_ivs += usize::from(has_unusual_iv(received.header(), &message));
            *opened.entry(answer.suite()).or_insert(0) += 1;
        } else {
            assert_eq!(answer.exception.as_deref(), Some("EXCEPTION: Invalid commitment"), "{what}");
            let integrity = |error: &Error| matches!(error, Error::Integrity);
            refuse_every_way(&client, &keyring, &no_context, &message, integrity, what);
            refused += 1;
        }
    }
    let count: usize = opened.values().sum();
    say(&format!("official v2: {count} opened ({}), {refused} refused for their commitment", per_suite(&opened)));
    assert_eq!((count, refused, unusual_ivs), (41, 5, 12));
}
