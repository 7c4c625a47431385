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

mod peers;
mod pem;

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
