//! The raw RSA keyring: its keys, what it opens and refuses, and live exchanges with the official
//! SDKs.

use std::{
    error::Error as _,
    fs,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use sealwax::{
    AlgorithmSuite, Client, EncryptedDataKey, EncryptionContext, Error, PUBLIC_KEY_ENTRY, Result, SecretBytes,
    UnwrapReason,
    crypto::RustCrypto,
    keyring::{
        Keyring, MultiKeyring, RawAesKeyring, RawRsaKeyring, RawRsaKeyringBuilder, RsaPadding, UnwrapRequest,
        Unwrapped, WrapRequest,
    },
};
use serde_json::{Value, json};

use crate::support::{
    WrappingKey, from_base64, in_parallel, pattern,
    peer::{Peer, PeerKey, Sdk, ToWrite},
    readers::{Way, open_every_way},
    reading_client, say, suite_name, to_base64,
    writers::{Sealing, WRITINGS, Writing},
};

const PADDINGS: [RsaPadding; 5] =
    [RsaPadding::Pkcs1, RsaPadding::OaepSha1, RsaPadding::OaepSha256, RsaPadding::OaepSha384, RsaPadding::OaepSha512];
const SIZES: [usize; 3] = [2048, 3072, 4096];

const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;

/// With data keys of 16, 24 and 32 bytes, unsigned and signed.
const SUITES: [AlgorithmSuite; 4] = [
    AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256,
    AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha384EcdsaP384,
    SUITE,
    AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384,
];

/// Returns the text of `tests/keys/<name>.pem`.
fn pem(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/keys/{name}.pem"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn public_pem(bits: usize) -> String {
    pem(&format!("rsa-{bits}.spki"))
}

fn private_pem(bits: usize) -> String {
    pem(&format!("rsa-{bits}.pkcs8"))
}

fn builder<'a>(padding: RsaPadding) -> RawRsaKeyringBuilder<'a> {
    RawRsaKeyring::builder("sealwax-test", "the key", padding)
}

fn writer(padding: RsaPadding, bits: usize) -> RawRsaKeyring {
    builder(padding).public_key_pem(&public_pem(bits)).build().expect("a usable key")
}

fn reader(padding: RsaPadding, bits: usize) -> RawRsaKeyring {
    builder(padding).private_key_pem(&private_pem(bits)).build().expect("a usable key")
}

/// Returns the output of a future that is ready at once, as those of local keyrings are.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is not ready at once"),
    }
}

fn wrap(keyring: &dyn Keyring, data_key: &[u8]) -> EncryptedDataKey {
    let (context, data_key) = (EncryptionContext::new(), SecretBytes::from(data_key));
    let request = WrapRequest::new(&RustCrypto, SUITE, &context);
    let wrapped = now(keyring.on_encrypt(request.for_key(&data_key))).expect("it wraps");
    wrapped.encrypted_data_keys.into_iter().next().expect("one encrypted data key")
}

fn unwrap(keyring: &dyn Keyring, keys: &[EncryptedDataKey]) -> Result<Unwrapped> {
    let context = EncryptionContext::new();
    now(keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, SUITE, &context, keys)))
}

/// Returns the reason why nothing was unwrapped, of which there must be one.
fn reason(result: Result<Unwrapped>) -> (UnwrapReason, String) {
    let Err(error) = result else { panic!("it opened") };
    let text = error.to_string();
    let Error::NotUnwrapped(failure) = error else { panic!("{error:?}") };
    let [attempt] = failure.attempts() else { panic!("{text}") };
    let reason = match &attempt.reason {
        UnwrapReason::NoMatch => UnwrapReason::NoMatch,
        UnwrapReason::NotAuthentic => UnwrapReason::NotAuthentic,
        UnwrapReason::Failed(cause) => UnwrapReason::Failed(cause.to_string().into()),
        other => panic!("{other:?}"),
    };
    (reason, text)
}

// Round trips.

#[test]
fn every_padding_and_size_makes_the_round_trip() {
    let plaintext = pattern(1000);
    let (mut count, mut contexts) = (0, [EncryptionContext::new(), [("tenant", "blue")].into()].into_iter().cycle());
    for padding in PADDINGS {
        for bits in SIZES {
            let (writer, reader, client) = (writer(padding, bits), reader(padding, bits), reading_client());
            for suite in SUITES {
                let what = format!("{padding:?}, {bits}, {}", suite_name(suite));
                let context = contexts.next().expect("endless");
                let writing = WRITINGS[count % WRITINGS.len()];
                let sealing = Sealing { keyring: &writer, suite, frame_length: 256, context: &context };
                let message = sealing.seal(writing, &plaintext).expect(&what);
                let opening = open_every_way(&client, &reader, &context, &message, &plaintext, &what);
                let [key] = opening.header.encrypted_data_keys() else { panic!("{what}: not one key") };
                assert_eq!((key.provider_id(), key.provider_info()), ("sealwax-test", &b"the key"[..]), "{what}");
                assert_eq!(key.ciphertext().len(), bits / 8, "{what}");
                assert_eq!(&*opening.opened_by.keyring, "raw-rsa://sealwax-test/the key", "{what}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 5 * 3 * 4);
}

#[test]
fn a_data_key_is_never_wrapped_to_the_same_bytes_twice() {
    for padding in PADDINGS {
        let (writer, reader) = (writer(padding, 2048), reader(padding, 2048));
        let keys = [wrap(&writer, &[7; 32]), wrap(&writer, &[7; 32])];
        assert!(keys[0].ciphertext() != keys[1].ciphertext(), "{padding:?}");
        for key in keys {
            let unwrapped = unwrap(&reader, &[key]).expect("it opens");
            assert!(unwrapped.data_key.ct_eq(&[7; 32]), "{padding:?}");
        }
    }
}

#[cfg(feature = "conformance")]
#[test]
fn it_conforms_to_the_keyring_interface() {
    use sealwax::conformance::{self, KeyringTraits};

    // RSA has no place for the context.
    let unbound = KeyringTraits { binds_context: false, ..KeyringTraits::default() };
    let (public, private) = (public_pem(2048), private_pem(2048));
    for padding in PADDINGS {
        let both = builder(padding).public_key_pem(&public).private_key_pem(&private).build().expect("a pair");
        for (keyring, traits) in [
            (both, unbound),
            (writer(padding, 2048), KeyringTraits { decrypts: false, ..unbound }),
            (reader(padding, 2048), unbound),
        ] {
            let outcome = conformance::keyring(&keyring, traits).wait();
            outcome.unwrap_or_else(|error| panic!("{padding:?}: {error}: {:?}", error.source()));
        }
    }
}

#[test]
fn one_keyring_serves_many_threads() {
    let (public, private) = (public_pem(2048), private_pem(2048));
    let keyring = builder(RsaPadding::OaepSha256).public_key_pem(&public).private_key_pem(&private);
    let keyring = keyring.build().expect("a pair");
    in_parallel(&[(); 64], |()| {
        let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait().expect("a message");
        let opened = Client::new().decrypt(&keyring).bytes(&sealed.message).wait().expect("it opens");
        assert_eq!(opened.plaintext, b"text");
    });
}

#[test]
fn a_public_key_encrypts_only_and_a_private_key_does_both() {
    let (writer, reader) = (writer(RsaPadding::OaepSha256, 2048), reader(RsaPadding::OaepSha256, 2048));
    let client = Client::new();
    let sealed = client.encrypt(&reader).bytes(b"text").wait().expect("the private key has the public one in it");
    assert_eq!(client.decrypt(&reader).bytes(&sealed.message).wait().expect("a message").plaintext, b"text");
    let both =
        builder(RsaPadding::OaepSha256).public_key_pem(&public_pem(2048)).private_key_pem(&private_pem(2048)).build();
    assert!(client.decrypt(&both.expect("a pair")).bytes(&sealed.message).wait().is_ok());

    let sealed = client.encrypt(&writer).bytes(b"text").wait().expect("a message");
    let Err(error) = client.decrypt(&writer).bytes(&sealed.message).wait() else { panic!("no private key was given") };
    assert_eq!(
        error.to_string(),
        "no keyring could unwrap the data key: raw-rsa://sealwax-test/the key: encrypted data key 0: unwrapping failed"
    );
    assert_eq!(error.source().expect("a cause").to_string(), "the keyring has no private key and can only encrypt");
    assert!(client.decrypt(&reader).bytes(&sealed.message).wait().is_ok());
}

// Keys.

/// Returns the same PEM with other line ends, widths and surrounding text.
fn restyled(pem: &str) -> Vec<String> {
    let mut lines: Vec<_> = pem.trim_end().lines().collect();
    let (first, last) = (lines.remove(0), lines.pop().expect("an end"));
    let base64 = lines.concat();
    let in_lines_of = |width: usize| {
        let lines = base64.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).expect("ASCII"));
        [first].into_iter().chain(lines).chain([last]).collect::<Vec<_>>().join("\n")
    };
    vec![
        pem.to_owned(),
        pem.trim_end().to_owned(),
        pem.replace('\n', "\r\n"),
        format!("{pem}\n \n"),
        format!("Bag Attributes\n    friendlyName: x\n{pem}"),
        in_lines_of(76),
        in_lines_of(base64.len()),
    ]
}

#[test]
fn every_form_of_pem_is_read() {
    let publics: Vec<_> =
        ["rsa-2048.spki", "rsa-2048.pkcs1-public"].iter().flat_map(|name| restyled(&pem(name))).collect();
    let privates: Vec<_> = ["rsa-2048.pkcs8", "rsa-2048.pkcs1"].iter().flat_map(|name| restyled(&pem(name))).collect();
    let mut count = 0;
    for public in &publics {
        for private in &privates {
            let keyring = builder(RsaPadding::OaepSha1).public_key_pem(public).private_key_pem(private.as_bytes());
            let keyring = keyring.build().unwrap_or_else(|error| panic!("{error}:\n{public}"));
            if count % 13 == 0 {
                let unwrapped = unwrap(&keyring, &[wrap(&keyring, &[3; 32])]).expect("it opens");
                assert!(unwrapped.data_key.ct_eq(&[3; 32]));
            }
            count += 1;
        }
    }
    assert_eq!(count, 14 * 14);
}

fn in_pem(label: &str, der: &[u8]) -> String {
    let base64 = to_base64(der);
    let lines = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII"));
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.collect::<Vec<_>>().join("\n"))
}

fn der_of(pem: &str) -> Vec<u8> {
    from_base64(&pem.lines().filter(|line| !line.starts_with('-')).collect::<String>())
}

/// Returns a PKCS#1 public key with a made-up modulus of this many bytes.
fn public_key_of(bytes: u16) -> String {
    let modulus =
        [&[0x02, 0x82][..], &(bytes + 1).to_be_bytes(), &[0, 0x81], &vec![7; usize::from(bytes) - 1]].concat();
    let numbers = [&modulus[..], &[2, 3, 1, 0, 1]].concat();
    in_pem("RSA PUBLIC KEY", &[&[0x30, 0x82][..], &(numbers.len() as u16).to_be_bytes(), &numbers].concat())
}

fn refusal(builder: RawRsaKeyringBuilder<'_>) -> String {
    match builder.build() {
        Ok(_) => panic!("it was accepted"),
        Err(Error::Configuration(text)) => text,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_the_reason() {
    let not_pem = "key is not valid PEM: ";
    let (public, private) = (public_pem(2048), private_pem(2048));
    let cut = |pem: &str| {
        pem.lines().enumerate().filter(|(at, _)| *at != 3).map(|(_, line)| line.to_owned() + "\n").collect()
    };
    let flipped = |pem: &str, label, at| {
        let mut der = der_of(pem);
        der[at] ^= 1;
        in_pem(label, &der)
    };
    let extended = |pem: &str, label| in_pem(label, &[&der_of(pem)[..], &[0]].concat());
    let garbage = "-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n";
    let publics: &[(String, &str)] = &[
        (String::new(), not_pem),
        ("no key at all".to_owned(), not_pem),
        (garbage.to_owned(), not_pem),
        (public.replace("END PUBLIC", "END RSA PUBLIC"), not_pem),
        (public.repeat(2), not_pem),
        (cut(&public), "key is malformed"),
        (flipped(&public, "PUBLIC KEY", 0), "key is malformed"),
        (extended(&public, "PUBLIC KEY"), "key is malformed"),
        (in_pem("PUBLIC KEY", &der_of(&pem("rsa-2048.pkcs1-public"))), "key is malformed"),
        (in_pem("RSA PUBLIC KEY", &der_of(&public)), "key is malformed"),
        (private.clone(), "key is PEM of type PRIVATE KEY; expected PUBLIC KEY or RSA PUBLIC KEY"),
        (pem("rsa-2048.certificate"), "key is PEM of type CERTIFICATE; expected PUBLIC KEY or RSA PUBLIC KEY"),
        (pem("ec-p256.spki"), "key is not an RSA key; its algorithm is 1.2.840.10045.2.1"),
        (public_pem(1024), "key is too short: RSA keys must have at least 2048 bits"),
        (public_key_of(255), "key is too short: RSA keys must have at least 2048 bits"),
        (public_key_of(1025), "key is too long: RSA keys must have at most 8192 bits"),
    ];
    let encrypted = "key is an encrypted PEM, which is not supported; decrypt it first: \
                     openssl pkcs8 -topk8 -nocrypt -in ENCRYPTED.pem -out KEY.pem";
    let privates: &[(String, &str)] = &[
        (String::new(), not_pem),
        ("\0".to_owned(), not_pem),
        (private.replace('/', "*"), not_pem),
        (cut(&private), "key is malformed"),
        // In the modulus, which is then not the product of the primes.
        (flipped(&private, "PRIVATE KEY", 100), "key is malformed"),
        (flipped(&private, "PRIVATE KEY", 400), "key is malformed"),
        (extended(&private, "PRIVATE KEY"), "key is malformed"),
        (in_pem("RSA PRIVATE KEY", &der_of(&private)), "key is malformed"),
        (public.clone(), "key is PEM of type PUBLIC KEY; expected PRIVATE KEY or RSA PRIVATE KEY"),
        (pem("rsa-2048.certificate"), "key is PEM of type CERTIFICATE; expected PRIVATE KEY or RSA PRIVATE KEY"),
        (pem("ec-p256.pkcs8"), "key is not an RSA key; its algorithm is 1.2.840.10045.2.1"),
        (private_pem(1024), "key is too short: RSA keys must have at least 2048 bits"),
        (pem("rsa-2048.encrypted"), encrypted),
        (pem("rsa-2048.pkcs1-encrypted"), encrypted),
    ];
    let check = |what: &str, key: &str, found: String, expected: &str| {
        let (expected, exact) = (format!("the {what} {expected}"), expected != not_pem);
        assert!(if exact { found == expected } else { found.starts_with(&expected) }, "{found}\n{key}");
        assert!(!key.lines().any(|line| line.len() > 20 && found.contains(line)), "it repeats the key: {found}");
    };
    for (key, expected) in publics {
        check("public", key, refusal(builder(RsaPadding::OaepSha256).public_key_pem(key)), expected);
    }
    for (key, expected) in privates {
        check("private", key, refusal(builder(RsaPadding::OaepSha256).private_key_pem(key)), expected);
    }
    // Bytes that are not text.
    let der = der_of(&private);
    check("private", "", refusal(builder(RsaPadding::OaepSha256).private_key_pem(&der)), not_pem);
}

#[test]
fn keys_and_names_that_do_not_fit_are_refused_with_the_reason() {
    assert_eq!(refusal(builder(RsaPadding::OaepSha256)), "a raw RSA keyring needs a public key, a private key or both");
    let (public, private) = (pem("other-2048.spki"), private_pem(2048));
    let other = builder(RsaPadding::OaepSha256).public_key_pem(&public).private_key_pem(&private);
    assert_eq!(refusal(other), "the public key does not belong to the private key");

    let long = "x".repeat(70_000);
    for (namespace, name, expected) in [
        ("", "name", "the namespace and key name of a raw keyring must not be empty"),
        ("namespace", "", "the namespace and key name of a raw keyring must not be empty"),
        ("aws-kms", "name", "the namespace of a raw keyring must not start with aws-kms"),
        ("aws-kms-hierarchy", "name", "the namespace of a raw keyring must not start with aws-kms"),
        (&long, "name", "the namespace or key name of a raw keyring is too long for a message"),
        ("namespace", &long, "the namespace or key name of a raw keyring is too long for a message"),
    ] {
        let keyring = RawRsaKeyring::builder(namespace, name, RsaPadding::OaepSha256).private_key_pem(&private);
        assert_eq!(refusal(keyring), expected);
    }
}

// What does not open.

#[test]
fn attack_18_rsa_unwrap_failures_are_uniform() {
    let expected = "no keyring could unwrap the data key: raw-rsa://sealwax-test/the key: encrypted data key 0: the \
                    encrypted data key could not be decrypted (different key of that name, or wrong encryption context)";
    let mut count = 0;
    for padding in PADDINGS {
        for bits in [2048, 3072] {
            let (writer, reader, size) = (writer(padding, bits), reader(padding, bits), bits / 8);
            let good = wrap(&writer, &[5; 32]);
            let mut ciphertexts = vec![
                // Nothing, zeros, one, and more than the modulus.
                vec![],
                vec![0; size],
                [&vec![0; size - 1][..], &[1]].concat(),
                vec![0xff; size],
                // Too short and too long by one byte, at either end.
                good.ciphertext()[1..].to_vec(),
                good.ciphertext()[..size - 1].to_vec(),
                [good.ciphertext(), &[0]].concat(),
                [&[0], good.ciphertext()].concat(),
                // Another key size.
                wrap(&self::writer(padding, 5120 - bits), &[5; 32]).ciphertext().to_vec(),
            ];
            // A bit flipped in several places.
            for at in [0, 1, size / 2, size - 1] {
                let mut flipped = good.ciphertext().to_vec();
                flipped[at] ^= 1;
                ciphertexts.push(flipped);
            }
            // Another padding.
            for other in PADDINGS.into_iter().filter(|other| *other != padding) {
                ciphertexts.push(wrap(&self::writer(other, bits), &[5; 32]).ciphertext().to_vec());
            }
            // Valid padding around a data key of the wrong length.
            for length in [0, 1, 16, 31, 33, 48, 64] {
                ciphertexts.push(wrap(&writer, &vec![5; length]).ciphertext().to_vec());
            }
            for ciphertext in ciphertexts {
                let key = EncryptedDataKey::new("sealwax-test", "the key", ciphertext);
                let (reason, text) = reason(unwrap(&reader, &[key]));
                assert!(matches!(reason, UnwrapReason::NotAuthentic), "{padding:?}, {bits}: {reason:?}");
                assert_eq!(text, expected, "{padding:?}, {bits}");
                count += 1;
            }
            // Another key of the same size and name.
            let other = builder(padding).private_key_pem(&pem("other-2048.pkcs8")).build().expect("a usable key");
            if bits == 2048 {
                assert_eq!(reason(unwrap(&other, std::slice::from_ref(&good))).1, expected, "{padding:?}");
            }
            assert!(unwrap(&reader, &[good]).expect("it opens").data_key.ct_eq(&[5; 32]));
        }
    }
    assert_eq!(count, 5 * 2 * (9 + 4 + 4 + 7));
}

#[test]
fn attack_18_an_rsa_data_key_that_does_not_open_hides_no_other() {
    for padding in PADDINGS {
        // Several of one name, of which only the last one opens.
        let (writer, reader) = (writer(padding, 2048), reader(padding, 2048));
        let other = builder(padding).public_key_pem(&pem("other-2048.spki")).build().expect("a usable key");
        let bad = EncryptedDataKey::new("sealwax-test", "the key", [9; 256]);
        let keys = [wrap(&other, &[5; 32]), bad, wrap(&writer, &[5; 31]), wrap(&writer, &[5; 32])];
        let unwrapped = unwrap(&reader, &keys).expect("it opens");
        assert!(unwrapped.encrypted_data_key == 3 && unwrapped.data_key.ct_eq(&[5; 32]), "{padding:?}");
        let Err(Error::NotUnwrapped(failure)) = unwrap(&reader, &keys[..3]) else { panic!("{padding:?}: it opened") };
        assert_eq!(failure.attempts().len(), 3);

        // Two keyrings of one name, combined.
        let other_reader = builder(padding).private_key_pem(&pem("other-2048.pkcs8")).build().expect("a usable key");
        let both = MultiKeyring::without_generator(other_reader).child(self::reader(padding, 2048));
        assert_eq!(unwrap(&both, &keys[3..]).expect("it opens").encrypted_data_key, 0, "{padding:?}");
    }
}

#[test]
fn attack_19_an_rsa_name_that_is_only_a_prefix_is_no_match() {
    let (public, private) = (public_pem(2048), private_pem(2048));
    let keyring = |namespace: &str, name: &str| {
        let keyring = RawRsaKeyring::builder(namespace, name, RsaPadding::OaepSha256);
        keyring.public_key_pem(&public).private_key_pem(&private).build().expect("a pair")
    };
    let names = [("a", "key"), ("a", "key-1"), ("a", "ke"), ("a", "KEY"), ("ab", "key"), ("b", "key"), ("a", "key ")];
    let mut opened = 0;
    for (wrote_namespace, wrote_name) in names {
        let key = wrap(&keyring(wrote_namespace, wrote_name), &[5; 32]);
        for (namespace, name) in names {
            let result = unwrap(&keyring(namespace, name), std::slice::from_ref(&key));
            if (namespace, name) == (wrote_namespace, wrote_name) {
                assert!(result.is_ok());
                opened += 1;
            } else {
                assert!(matches!(reason(result).0, UnwrapReason::NoMatch), "{namespace} {name}");
            }
        }
        // A raw AES key of the same name is another key.
        let aes = RawAesKeyring::new(wrote_namespace, wrote_name, vec![1; 32]).expect("a usable key");
        assert!(matches!(reason(unwrap(&aes, &[key])).0, UnwrapReason::NoMatch));
        let rsa = keyring(wrote_namespace, wrote_name);
        assert!(matches!(reason(unwrap(&rsa, &[wrap(&aes, &[5; 32])])).0, UnwrapReason::NoMatch));
    }
    assert_eq!(opened, names.len());
}

#[test]
fn a_message_whose_rsa_data_key_is_altered_does_not_open() {
    for padding in PADDINGS {
        let (writer, reader) = (writer(padding, 2048), reader(padding, 2048));
        let sealed = Client::new().encrypt(&writer).bytes(b"text").wait().expect("a message");
        let ciphertext = sealed.header.encrypted_data_keys()[0].ciphertext().to_vec();
        let at = sealed.message.windows(256).position(|bytes| bytes == ciphertext).expect("it is in the message");
        for position in [at, at + 128, at + 255] {
            let mut message = sealed.message.clone();
            message[position] ^= 1;
            let refused = Client::new().decrypt(&reader).bytes(&message).wait();
            assert!(matches!(refused, Err(Error::NotUnwrapped(_))), "{padding:?}, {position}");
        }
    }
}

// Live exchanges.

/// A key in the form that peers expect.
#[derive(Clone)]
enum Key {
    Aes(WrappingKey),
    Rsa { padding: RsaPadding, bits: usize },
}

impl PeerKey for Key {
    fn record(&self) -> Value {
        let (padding, bits) = match self {
            Self::Aes(key) => return key.record(),
            Self::Rsa { padding, bits } => (padding, bits),
        };
        let padding = match padding {
            RsaPadding::Pkcs1 => "pkcs1",
            RsaPadding::OaepSha1 => "oaep-sha1",
            RsaPadding::OaepSha256 => "oaep-sha256",
            RsaPadding::OaepSha384 => "oaep-sha384",
            RsaPadding::OaepSha512 => "oaep-sha512",
        };
        json!({
            "namespace": "sealwax-test",
            "name": "the key",
            "padding": padding,
            "public": public_pem(*bits),
            "private": private_pem(*bits),
        })
    }
}

/// With a peer: every padding and size, alone and beside an AES key in either position, written
/// here and read there and the reverse. A peer that cannot read PKCS#1 v1.5 even if it wrote it
/// itself is not asked to.
fn rsa_goes_both_ways(sdk: Sdk, keyring: &'static str) {
    let Some(mut peer) = Peer::start(sdk) else { return };
    peer.keyring = keyring;
    let start = Instant::now();
    let (client, plaintext) = (reading_client(), pattern(700));
    let mut suites = SUITES.into_iter().cycle();
    let (mut theirs, mut ours, mut not_read) = (0, 0, 0);
    for padding in PADDINGS {
        for bits in SIZES {
            let rsa = Key::Rsa { padding, bits };
            let aes = WrappingKey::new("sealwax-other", "\u{e4}ndere", 32);
            let (writer, reader) = (|| writer(padding, bits), reader(padding, bits));
            for arrangement in 0..3 {
                let suite = suites.next().expect("endless");
                let what = format!("{padding:?}, {bits}, {arrangement}, {}", suite_name(suite));
                let context = EncryptionContext::from([("a", "1"), ("tenant", "blue")]);
                let (keys, ours_with) = match arrangement {
                    0 => (vec![rsa.clone()], MultiKeyring::new(writer())),
                    1 => (vec![rsa.clone(), Key::Aes(aes.clone())], MultiKeyring::new(writer()).child(aes.keyring())),
                    _ => (vec![Key::Aes(aes.clone()), rsa.clone()], MultiKeyring::new(aes.keyring()).child(writer())),
                };

                let request = ToWrite {
                    keys: &keys,
                    suite,
                    frame_length: 256,
                    context: &context,
                    required: &[],
                    plaintext: &plaintext,
                };
                let message = peer.encrypt(&request).unwrap_or_else(|refused| panic!("{what}: {refused:?}"));
                let opening = Way::Bytes.open(&client, &reader, &context, &message).expect(&what);
                assert!(opening.plaintext == plaintext, "{what}: another plaintext");
                assert_eq!(opening.header.encrypted_data_keys().len(), keys.len(), "{what}");
                theirs += 1;

                let sealing = Sealing { keyring: &ours_with, suite, frame_length: 256, context: &context };
                let sealed = sealing.seal(Writing::Bytes, &plaintext).expect(&what);
                let opened_with = std::slice::from_ref(&rsa);
                match peer.decrypt(opened_with, &context, &sealed) {
                    Ok(opening) => {
                        assert_eq!(opening.suite, suite, "{what}");
                        assert!(opening.plaintext == plaintext, "{what}: the peer read another plaintext");
                        let mut stored = opening.context;
                        assert_eq!(stored.remove(PUBLIC_KEY_ENTRY).is_some(), suite.is_signed(), "{what}");
                        assert!(stored == context, "{what}: the peer read another context");
                        ours += 1;
                    }
                    Err(refused) => {
                        assert!(sdk == Sdk::Node && padding == RsaPadding::Pkcs1, "{what}: {refused:?}");
                        assert!(
                            peer.decrypt(opened_with, &context, &message).is_err(),
                            "{what}: it reads only its own"
                        );
                        not_read += 1;
                    }
                }
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    say(&format!(
        "peers: RSA with {sdk:?} ({keyring}): {theirs} of theirs and {ours} of ours in {seconds:.1} s; {not_read} with a \
         padding that it does not read"
    ));
    assert_eq!((theirs, ours + not_read), (45, 45));
    assert!(not_read == 0 || (sdk == Sdk::Node && not_read == 9), "{not_read}");
    assert_eq!(peer.exchanges, 90 + not_read);
}

#[test]
fn rsa_goes_both_ways_with_python() {
    rsa_goes_both_ways(Sdk::Python, "raw");
}

#[test]
fn rsa_goes_both_ways_with_pythons_material_providers_library() {
    rsa_goes_both_ways(Sdk::Python, "mpl");
}

#[test]
fn rsa_goes_both_ways_with_node() {
    rsa_goes_both_ways(Sdk::Node, "raw");
}
