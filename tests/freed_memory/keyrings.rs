//! Keyrings: private keys, shared secrets, and the answers of key management services.

use std::sync::Arc;

use sealwax::keyring::{KmsKeyring, MultiKeyring, RawAesKeyring};

use super::{
    cases::{Cases, UNSIGNED, WRAPPING_KEY, text_and_wrapping_key},
    scanner::Kind,
    service::{Kms, LongAnswers, MESSAGE, client, round_trip, seal},
};

// Key management services.

#[test]
fn answers_of_key_services_are_wiped() {
    let mut cases = Cases::new();
    let secrets = text_and_wrapping_key();
    let service = || KmsKeyring::new("example-kms", "key", Arc::new(Kms)).unwrap();
    let other = || KmsKeyring::new("example-kms", "other", Arc::new(Kms)).unwrap();
    let aes = || RawAesKeyring::new("example", "key-1", WRAPPING_KEY.to_vec()).unwrap();
    round_trip(&mut cases, "KmsKeyring", &secrets, service, service);
    // The service generates the data key, and the others wrap it; then the service wraps one that
    // it did not generate.
    let generates = || MultiKeyring::new(service()).child(aes()).child(other());
    let wraps = || MultiKeyring::new(aes()).child(service()).child(other());
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
    use crate::{
        cases::leaked,
        scanner::{Secret, parts},
    };

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
    use crate::scanner::{Secret, parts};

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
