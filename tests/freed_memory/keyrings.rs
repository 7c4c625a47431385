//! Keyrings: private keys, shared secrets, the answers of key management services, and the key
//! store.

use std::sync::Arc;

use sealwax::{
    Client, SecretBytes,
    crypto::{CryptoProvider, RustCrypto},
    keyring::{
        AwsKmsKeyring, BoxFuture, GenerateDataKey, GeneratedDataKey, Keyring, KmsApi, KmsCiphertext, KmsDecrypt,
        KmsEncrypt, KmsError, KmsKeyring, KmsPlaintext, MultiKeyring, RawAesKeyring,
    },
};
use zeroize::Zeroize;

use super::{
    cases::{Cases, Telling, UNSIGNED, WRAPPING_KEY, leaked, plaintext, text_and_wrapping_key},
    scanner::{Kind, Secret, learn},
};

const MESSAGE: [Kind; 3] = [Kind::Plaintext, Kind::DataKey, Kind::MessageKey];

fn client() -> Client {
    Client::builder_with_provider(Telling(RustCrypto)).build()
}

fn seal(keyring: &dyn Keyring) -> &'static [u8] {
    leaked(client().encrypt(keyring).suite(UNSIGNED).bytes(plaintext(100)).wait().unwrap().message)
}

fn open(keyring: &dyn Keyring, message: &[u8]) {
    client().decrypt(keyring).bytes(message).wait().unwrap().plaintext.zeroize();
}

/// Writes a message with one keyring and reads it with another, each created and dropped within a
/// case.
fn round_trip<W: Keyring, R: Keyring>(
    cases: &mut Cases,
    name: &str,
    secrets: &[Secret],
    writer: impl FnOnce() -> W,
    reader: impl FnOnce() -> R,
) {
    let mut message: &[u8] = &[];
    let secrets = cases.run(&format!("{name}: encrypt"), secrets, &MESSAGE, || message = seal(&writer()));
    cases.run(&format!("{name}: decrypt"), &secrets, &MESSAGE, || open(&reader(), message));
}

// Key management services.

/// A service that "encrypts" by exclusive-or, and leaves nothing behind itself.
struct Kms;

fn masked(bytes: &[u8]) -> SecretBytes {
    let mut out = SecretBytes::from(bytes);
    out.as_mut().iter_mut().for_each(|byte| *byte ^= 0x55);
    out
}

impl KmsApi for Kms {
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        Box::pin(async move {
            let plaintext = RustCrypto.random_key(request.length).unwrap();
            learn(Kind::DataKey, plaintext.as_bytes());
            let ciphertext = masked(plaintext.as_bytes()).as_bytes().to_vec();
            Ok(GeneratedDataKey { key_id: request.key_id.to_owned(), plaintext, ciphertext })
        })
    }

    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        let ciphertext = masked(request.plaintext).as_bytes().to_vec();
        Box::pin(async move { Ok(KmsCiphertext { key_id: request.key_id.to_owned(), ciphertext }) })
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        Box::pin(async move {
            let plaintext = masked(request.ciphertext);
            Ok(KmsPlaintext { key_id: request.key_id.to_owned(), plaintext })
        })
    }
}

/// A service whose data keys are 16 bytes too long.
struct LongAnswers;

impl KmsApi for LongAnswers {
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        Kms.generate_data_key(GenerateDataKey::new(request.key_id, request.length + 16, request.context))
    }

    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        Kms.encrypt(request)
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        Box::pin(async move {
            let plaintext = SecretBytes::from([masked(request.ciphertext).as_bytes(), &[7; 16]].concat());
            Ok(KmsPlaintext { key_id: request.key_id.to_owned(), plaintext })
        })
    }
}

#[test]
fn answers_of_key_services_are_wiped() {
    const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let mut cases = Cases::new();
    let secrets = text_and_wrapping_key();
    let service = || KmsKeyring::new("example-kms", "key", Arc::new(Kms)).unwrap();
    let aws = || AwsKmsKeyring::new(ARN, Arc::new(Kms)).unwrap();
    let aes = || RawAesKeyring::new("example", "key-1", WRAPPING_KEY.to_vec()).unwrap();
    round_trip(&mut cases, "KmsKeyring", &secrets, service, service);
    round_trip(&mut cases, "AwsKmsKeyring", &secrets, aws, aws);
    // The service generates the data key, and the others wrap it; then the service wraps one that
    // it did not generate.
    let generates = || MultiKeyring::new(service()).child(aes()).child(aws());
    let wraps = || MultiKeyring::new(aes()).child(service()).child(aws());
    round_trip(&mut cases, "MultiKeyring, a service generates", &secrets, generates, aes);
    round_trip(&mut cases, "MultiKeyring, a service wraps", &secrets, wraps, service);
    let long = || KmsKeyring::new("example-kms", "key", Arc::new(LongAnswers)).unwrap();
    cases.run("a generated data key of another length", &secrets, &[Kind::DataKey], || {
        assert!(client().encrypt(&long()).suite(UNSIGNED).bytes(b"text").wait().is_err());
    });
    let mut message: &[u8] = &[];
    let secrets = cases.run("write for a service", &secrets, &MESSAGE, || message = seal(&service()));
    cases.run("a decrypted data key of another length", &secrets, &MESSAGE, || {
        assert!(client().decrypt(&long()).bytes(message).wait().is_err());
    });
}

// RSA.

#[cfg(feature = "raw-rsa")]
mod rsa {
    use std::fs;

    use base64::{Engine, prelude::BASE64_STANDARD};
    use sealwax::keyring::{RawRsaKeyring, RsaPadding};

    use super::*;
    use crate::scanner::parts;

    fn key(form: &str) -> &'static [u8] {
        let name = format!("{}/tests/keys/rsa-2048.{form}.pem", env!("CARGO_MANIFEST_DIR"));
        leaked(fs::read(name).unwrap())
    }

    /// Returns the integers of an RSA private key in DER (PKCS#1), without leading zeros.
    fn integers(der: &[u8]) -> Vec<&[u8]> {
        let [0x30, 0x82, _, _, sequence @ ..] = der else { panic!("no sequence") };
        let (mut rest, mut integers) = (sequence, Vec::new());
        while let [0x02, after @ ..] = rest {
            let (length, after) = match after {
                [0x82, high, low, after @ ..] => (usize::from(*high) << 8 | usize::from(*low), after),
                [0x81, length, after @ ..] | [length, after @ ..] => (usize::from(*length), after),
                [] => panic!("no length"),
            };
            let (integer, after) = after.split_at(length);
            integers.push(integer.strip_prefix(&[0]).unwrap_or(integer));
            rest = after;
        }
        assert!(rest.is_empty());
        integers
    }

    /// Returns the secrets of the key: a part of each secret number, in both byte orders, and of
    /// the PEM text.
    fn secrets() -> Vec<Secret> {
        let base64 = |form| key(form).split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"-")).collect();
        let lines: Vec<&[u8]> = base64("pkcs1");
        let der = BASE64_STANDARD.decode(lines.concat()).unwrap();
        let [_version, _modulus, _exponent, numbers @ ..] = &integers(&der)[..] else { panic!("too few numbers") };
        // d, p, q, d mod (p - 1), d mod (q - 1), and the inverse of q.
        assert_eq!(numbers.len(), 6);
        let mut secrets = Vec::new();
        for number in numbers {
            let reversed: Vec<u8> = number.iter().rev().copied().collect();
            secrets.extend([*number, &reversed].into_iter().flat_map(|form| parts(Kind::PrivateKey, &form[32..48])));
        }
        // The tenth line of the text is past the public half in both forms.
        let tenth = |lines: Vec<&'static [u8]>| parts(Kind::PrivateKey, &lines[9][..64]).collect::<Vec<_>>();
        secrets.extend(tenth(lines));
        secrets.extend(tenth(base64("pkcs8")));
        secrets.extend(text_and_wrapping_key());
        secrets
    }

    #[test]
    fn rsa_private_keys_are_wiped() {
        let mut cases = Cases::new();
        let secrets = secrets();
        let builder = |padding| RawRsaKeyring::builder("example", "rsa", padding);
        for form in ["pkcs1", "pkcs8"] {
            let private_key = key(form);
            cases.run(&format!("{form}: read and dropped"), &secrets, &[Kind::PrivateKey], || {
                drop(builder(RsaPadding::OaepSha256).private_key_pem(private_key).build().unwrap());
            });
            // Still valid base64, so that the error is found only after decoding.
            let mut lines: Vec<&[u8]> = private_key.split_inclusive(|byte| *byte == b'\n').collect();
            lines.remove(9);
            let damaged = leaked(lines.concat());
            cases.run(&format!("{form}: without a line"), &secrets, &[Kind::PrivateKey], || {
                assert!(builder(RsaPadding::OaepSha256).private_key_pem(damaged).build().is_err());
            });
            cases.run(&format!("{form}: not of the public key"), &secrets, &[Kind::PrivateKey], || {
                let other = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/other-2048.spki.pem"));
                let keys = builder(RsaPadding::OaepSha256).private_key_pem(private_key).public_key_pem(other);
                assert!(keys.build().is_err());
            });
            for padding in [RsaPadding::Pkcs1, RsaPadding::OaepSha256] {
                let public_key = key("spki");
                let writer = || builder(padding).public_key_pem(public_key).build().unwrap();
                let reader = || builder(padding).private_key_pem(private_key).build().unwrap();
                round_trip(&mut cases, &format!("{form}, {padding:?}"), &secrets, writer, reader);
            }
        }
    }
}

// ECDH.

#[cfg(feature = "raw-ecdh")]
mod ecdh {
    use p256::pkcs8::DecodePrivateKey;
    use sealwax::keyring::{EcdhCurve, RawEcdhKeyring};

    use super::*;
    use crate::scanner::parts;

    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMdHcFFMmTQtVdMUh
/thBDASzzLj1HzYxIbFuGWHCxu+hRANCAAS6du/XjZ3qT3XXKjxfOleYhY0Tn3Mj
O5P5DllgAaG7DecUeio6GyoB+F1rfayTAhN4Y7TLUFH1Y/xPptiyqEIl
-----END PRIVATE KEY-----
";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEunbv142d6k911yo8XzpXmIWNE59z
IzuT+Q5ZYAGhuw3nFHoqOhsqAfhda32skwITeGO0y1BR9WP8T6bYsqhCJQ==
-----END PUBLIC KEY-----
";

    /// Returns both byte orders: in memory, numbers are little-endian.
    fn both_orders(kind: Kind, number: &[u8]) -> Vec<Secret> {
        let reversed: Vec<u8> = number.iter().rev().copied().collect();
        parts(kind, number).chain(parts(kind, &reversed).collect::<Vec<_>>()).collect()
    }

    /// Returns the private key, the secret that it shares with its own public half, and the PEM
    /// text.
    fn secrets() -> Vec<Secret> {
        let key = p256::SecretKey::from_pkcs8_pem(PRIVATE).unwrap();
        let shared = p256::ecdh::diffie_hellman(key.to_nonzero_scalar(), key.public_key().as_affine());
        let mut secrets = both_orders(Kind::PrivateKey, key.to_bytes().as_slice());
        secrets.extend(both_orders(Kind::SharedSecret, shared.raw_secret_bytes().as_slice()));
        secrets.extend(parts(Kind::PrivateKey, &PRIVATE.lines().nth(1).unwrap().as_bytes()[48..]));
        secrets.extend(text_and_wrapping_key());
        secrets
    }

    #[test]
    fn ecdh_private_keys_and_what_is_derived_with_them_are_wiped() {
        let mut cases = Cases::new();
        let secrets = secrets();
        let discovery = || RawEcdhKeyring::discovery(EcdhCurve::P256, PRIVATE).unwrap();
        let between = || RawEcdhKeyring::static_keys(EcdhCurve::P256, PRIVATE, PUBLIC).unwrap();
        cases.run("ECDH: read and dropped", &secrets, &[Kind::PrivateKey], || drop(discovery()));
        cases.run("ECDH: on another curve", &secrets, &[Kind::PrivateKey], || {
            assert!(RawEcdhKeyring::discovery(EcdhCurve::P384, PRIVATE).is_err());
        });
        round_trip(&mut cases, "ECDH, static", &secrets, between, between);
        round_trip(&mut cases, "ECDH, static and discovery", &secrets, between, discovery);
        let ephemeral = || RawEcdhKeyring::ephemeral(EcdhCurve::P256, PUBLIC).unwrap();
        round_trip(&mut cases, "ECDH, ephemeral and discovery", &secrets, ephemeral, discovery);
        // The derived wrapping keys are among the secrets, and so is the ephemeral private key.
        let mut message: &[u8] = &[];
        let kinds = [Kind::AesKey, Kind::GeneratedKey];
        cases.run("ECDH, the kinds of keys", &secrets, &kinds, || message = seal(&ephemeral()));
    }
}

// The key store.

#[cfg(feature = "local-kms")]
mod local_kms {
    use std::fs;

    use sealwax::{
        EncryptionContext,
        local_kms::{LocalKms, PassphraseCost, Root},
    };

    use super::*;
    use crate::scanner::parts;

    const PASSPHRASE: &[u8; 32] = b"correct horse battery staple 123";
    const MATERIAL: &[u8; 32] = b"imported key material, 32 bytes.";

    /// Creates a store under a root and works with it: with an imported key and a new one, before
    /// and after a rotation, and after opening it again.
    fn live(cases: &mut Cases, name: &str, secrets: &[Secret], root: impl Fn() -> Root) {
        let folder = tempfile::tempdir().unwrap();
        let builder = || LocalKms::builder(folder.path()).root(root());
        let mut messages: Vec<&[u8]> = Vec::with_capacity(8);
        let secrets = cases.run(&format!("{name}: made"), secrets, &MESSAGE, || {
            let kms = builder().create().wait().unwrap();
            let imported = kms.import_key(MATERIAL.to_vec(), "").unwrap().key_id;
            let made = kms.create_key("").unwrap().key_id;
            for key in [&imported, &made] {
                messages.push(seal(&kms.keyring(key).unwrap()));
                kms.rotate_key(key).unwrap();
                messages.push(seal(&kms.keyring(key).unwrap()));
            }
            let made = kms.generate_data_key(&made, 32, &EncryptionContext::new()).unwrap();
            learn(Kind::DataKey, made.plaintext.as_bytes());
        });
        cases.run(&format!("{name}: opened"), &secrets, &MESSAGE, || {
            let kms = builder().open().wait().unwrap();
            let key = kms.list_keys().unwrap().remove(0).key_id;
            for message in &messages {
                open(&kms.keyring(&key).unwrap(), message);
            }
        });
        cases.run(&format!("{name}: another root"), &secrets, &MESSAGE, || {
            let kms = builder().open().wait().unwrap();
            kms.rotate_root(Root::key_file_in_folder()).wait().unwrap();
            kms.rotate_root(root()).wait().unwrap();
        });
    }

    #[test]
    fn the_key_store_wipes_its_keys_and_the_data_keys_it_makes() {
        let mut cases = Cases::new();
        let mut secrets = text_and_wrapping_key();
        secrets.extend(parts(Kind::Passphrase, PASSPHRASE));
        secrets.extend(parts(Kind::PrivateKey, MATERIAL));
        live(&mut cases, "a root key in the folder", &secrets, Root::key_file_in_folder);
        let cost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };
        live(&mut cases, "a passphrase", &secrets, || Root::passphrase_with_cost(PASSPHRASE.to_vec(), cost));
        live(&mut cases, "a root keyring", &secrets, || {
            Root::keyring(Arc::new(RawAesKeyring::new("example", "root", WRAPPING_KEY.to_vec()).unwrap()))
        });
        // A key file elsewhere is known before a store is created with it.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.key");
        let root_key = RustCrypto.random_key(32).unwrap();
        fs::write(&path, root_key.as_bytes()).unwrap();
        secrets.extend(parts(Kind::RootKey, root_key.as_bytes()));
        live(&mut cases, "a key file", &secrets, || Root::key_file(&path));
    }
}
