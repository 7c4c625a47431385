//! The two providers give the same bytes and the same verdicts, and read each other's messages.

use proptest::{array::uniform12, collection::vec, prelude::*, sample::select};
use sealwax::{
    AlgorithmSuite, Client, CommitmentPolicy, EncryptionContext, Error,
    crypto::{AwsLcRs, CryptoProvider, Expand, HashAlgorithm, RustCrypto, SignatureAlgorithm},
};

use crate::{
    forge::{self, der},
    support::{WrappingKey, pattern, readers::open_every_way},
};

const HASHES: [HashAlgorithm; 3] = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
const CURVES: [SignatureAlgorithm; 2] = [SignatureAlgorithm::EcdsaP256, SignatureAlgorithm::EcdsaP384];
const BOTH: [&dyn CryptoProvider; 2] = [&RustCrypto, &AwsLcRs];
/// The first seals, signs or writes; the second opens, verifies or reads.
const PAIRS: [(&dyn CryptoProvider, &dyn CryptoProvider); 2] = [(&RustCrypto, &AwsLcRs), (&AwsLcRs, &RustCrypto)];

fn client_over(provider: impl CryptoProvider + 'static, suite: AlgorithmSuite) -> Client {
    let policy = if suite.is_committing() {
        CommitmentPolicy::RequireEncryptRequireDecrypt
    } else {
        CommitmentPolicy::ForbidEncryptAllowDecrypt
    };
    Client::builder_with_provider(provider).commitment_policy(policy).build()
}

#[test]
fn messages_of_one_provider_open_with_the_other() {
    let keyring = WrappingKey::new("example", "key-1", 32).keyring();
    let context = EncryptionContext::from([("tenant", "blue")]);
    for suite in AlgorithmSuite::ALL {
        let clients = [client_over(RustCrypto, suite), client_over(AwsLcRs, suite)];
        for (writer, reader) in [(0, 1), (1, 0)] {
            for length in [0, 1, 4096, 10_000] {
                let plaintext = pattern(length);
                let encrypt = clients[writer].encrypt(&keyring).suite(suite).context(context.clone());
                let message = encrypt.bytes(&plaintext).wait().unwrap().message;
                let what = format!("{suite}, {length} bytes");
                open_every_way(&clients[reader], &keyring, &context, &message, &plaintext, &what);
            }
        }
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn aes_key() -> impl Strategy<Value = Vec<u8>> {
    select(vec![16_usize, 24, 32]).prop_flat_map(|length| vec(any::<u8>(), length))
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn aes_gcm_is_the_same(
        key in aes_key(),
        iv in uniform12(any::<u8>()),
        aad in vec(any::<u8>(), 0..200),
        text in prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..5000)],
        flip in any::<(usize, u8)>(),
    ) {
        let [one, other] = BOTH.map(|provider| provider.aes_gcm(&key).unwrap());
        let (mut sealed, mut in_place) = (vec![0; text.len()], text.clone());
        let tag = one.seal(&iv, &aad, &text, &mut sealed).unwrap();
        prop_assert_eq!(other.seal_in_place(&iv, &aad, &mut in_place).unwrap(), tag);
        prop_assert_eq!(&in_place, &sealed);
        let mut again = vec![0; text.len()];
        prop_assert_eq!(other.seal(&iv, &aad, &text, &mut again).unwrap(), tag);
        prop_assert_eq!(&again, &sealed);

        for key in [&one, &other] {
            let (mut opened, mut in_place) = (vec![0; text.len()], sealed.clone());
            key.open(&iv, &aad, &sealed, &tag, &mut opened).unwrap();
            key.open_in_place(&iv, &aad, &mut in_place, &tag).unwrap();
            prop_assert_eq!(&opened, &text);
            prop_assert_eq!(&in_place, &text);
        }

        // One bit of the IV, the AAD, the ciphertext or the tag.
        let mut all = [&iv[..], &aad, &sealed, &tag].concat();
        let at = flip.0 % all.len();
        all[at] ^= 1 << (flip.1 % 8);
        let (iv, rest) = all.split_first_chunk().unwrap();
        let (aad, rest) = rest.split_at(aad.len());
        let (sealed, tag) = rest.split_last_chunk().unwrap();
        for key in [&one, &other] {
            let (mut opened, mut in_place) = (vec![0; text.len()], sealed.to_vec());
            prop_assert!(matches!(key.open(iv, aad, sealed, tag, &mut opened), Err(Error::Integrity)));
            prop_assert!(matches!(key.open_in_place(iv, aad, &mut in_place, tag), Err(Error::Integrity)));
        }
    }

    #[test]
    fn hkdf_is_the_same(
        hash in select(HASHES.to_vec()),
        salt in prop_oneof![Just(vec![]), vec(any::<u8>(), 0..200)],
        key in vec(any::<u8>(), 0..200),
        infos in vec((vec(any::<u8>(), 0..100), vec(any::<u8>(), 0..100), 0..300_usize), 1..4),
    ) {
        let [one, other] = BOTH.map(|provider| {
            let mut outputs: Vec<_> = infos.iter().map(|(.., length)| vec![0; *length]).collect();
            let mut expand: Vec<_> = infos
                .iter()
                .zip(&mut outputs)
                .map(|((first, second, _), out)| Expand { info: [first, second], out })
                .collect();
            provider.hkdf(hash, &salt, &key, &mut expand).unwrap();
            outputs
        });
        prop_assert_eq!(one, other);
    }

    #[test]
    fn digests_are_the_same(hash in select(HASHES.to_vec()), parts in vec(vec(any::<u8>(), 0..300), 0..5)) {
        let [one, other, whole] = [(BOTH[0], true), (BOTH[1], true), (BOTH[1], false)].map(|(provider, in_parts)| {
            let mut digest = provider.digest(hash);
            if in_parts {
                parts.iter().for_each(|part| digest.update(part));
            } else {
                digest.update(&parts.concat());
            }
            digest.finish()
        });
        prop_assert_eq!(one.len(), hash.output_length());
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(&one, &whole);
    }
}

fn hash_of(algorithm: SignatureAlgorithm, message: &[u8]) -> Vec<u8> {
    let mut digest = RustCrypto.digest(algorithm.hash());
    digest.update(message);
    digest.finish()
}

#[test]
fn signatures_of_one_provider_verify_with_the_other() {
    for algorithm in CURVES {
        for (signer, verifier) in PAIRS {
            for message in 0..100_u8 {
                let key = signer.generate_signing_key(algorithm).unwrap();
                assert_eq!(key.algorithm(), algorithm);
                assert_eq!(key.public_key().len(), algorithm.public_key_length());
                let digest = hash_of(algorithm, &[message]);
                let signature = key.sign_digest(&digest).unwrap();
                assert_eq!(signature.len(), algorithm.signature_length());
                let public_key = verifier.verifying_key(algorithm, key.public_key()).unwrap();
                assert_eq!(public_key.algorithm(), algorithm);
                public_key.verify_digest(&digest, &signature).unwrap();
                let other = hash_of(algorithm, &[message, 0]);
                assert!(matches!(public_key.verify_digest(&other, &signature), Err(Error::Integrity)));
            }
        }
    }
}

#[test]
fn no_two_keys_and_no_two_signatures_are_the_same() {
    // A generator that repeats its output would reveal everything.
    for provider in BOTH {
        for algorithm in CURVES {
            let keys = [(); 2].map(|()| provider.generate_signing_key(algorithm).unwrap());
            assert_ne!(keys[0].public_key(), keys[1].public_key());
            let digest = hash_of(algorithm, b"message");
            assert_ne!(keys[0].sign_digest(&digest).unwrap(), keys[0].sign_digest(&digest).unwrap());
        }
        let [one, other] = [(); 2].map(|()| {
            let mut bytes = [0; 32];
            provider.random(&mut bytes).unwrap();
            bytes
        });
        assert_ne!(one, other);
    }
}

/// Returns the verdict of both providers on a signature under a key, which must be the same.
fn verdict(algorithm: SignatureAlgorithm, public_key: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    let [one, other] = BOTH.map(|provider| {
        let key = provider.verifying_key(algorithm, public_key).unwrap();
        match key.verify_digest(digest, signature) {
            Ok(()) => true,
            Err(Error::Integrity) => false,
            Err(error) => panic!("{error}"),
        }
    });
    assert_eq!(one, other, "{algorithm:?} {public_key:x?} {digest:x?} {signature:x?}");
    one
}

/// Returns a signature by a new key: the key, the digest, and both halves.
fn signed(algorithm: SignatureAlgorithm, message: &[u8]) -> (Vec<u8>, Vec<u8>, [Vec<u8>; 2]) {
    let key = AwsLcRs.generate_signing_key(algorithm).unwrap();
    let digest = hash_of(algorithm, message);
    let signature = key.sign_digest(&digest).unwrap();
    let r_end = 4 + usize::from(signature[3]);
    (key.public_key().to_vec(), digest, [signature[4..r_end].to_vec(), signature[r_end + 2..].to_vec()])
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn verdicts_on_altered_signatures_are_the_same(
        algorithm in select(CURVES.to_vec()),
        edits in vec((0..3, any::<usize>(), any::<u8>()), 1..4),
    ) {
        let (key, digest, [r, s]) = signed(algorithm, b"message");
        let mut signature = der(&r, &s);
        prop_assert!(verdict(algorithm, &key, &digest, &signature));
        for (kind, at, byte) in edits {
            let at = at % (signature.len() + 1);
            match kind {
                0 => signature.insert(at, byte),
                1 if at < signature.len() => _ = signature.remove(at),
                _ if at < signature.len() => signature[at] = byte,
                _ => {}
            }
        }
        verdict(algorithm, &key, &digest, &signature);
    }

    #[test]
    fn verdicts_on_public_keys_are_the_same(
        algorithm in select(CURVES.to_vec()),
        mut key in vec(any::<u8>(), 0..100),
        form in prop_oneof![4 => 2..=3_u8, 1 => any::<u8>()],
        fits in prop::bool::weighted(0.9),
        high in prop::bool::weighted(0.3),
    ) {
        if fits {
            key.resize(algorithm.public_key_length(), 0x5a);
        }
        if high {
            // Near the field's prime: apart from all ones, some of these numbers are not in the
            // field.
            let end = key.len().min(algorithm.public_key_length() - 4);
            key[..end].fill(0xff);
        }
        if let Some(first) = key.first_mut() {
            *first = form;
        }
        let [one, other] = BOTH.map(|provider| match provider.verifying_key(algorithm, &key) {
            Ok(_) => true,
            Err(Error::Integrity) => false,
            Err(error) => panic!("{error}"),
        });
        prop_assert_eq!(one, other);
    }
}

#[test]
fn verdicts_on_odd_signatures_are_the_same() {
    for algorithm in CURVES {
        let curve = if algorithm == SignatureAlgorithm::EcdsaP256 { forge::Curve::P256 } else { forge::Curve::P384 };
        let (order, zero, one) = (curve.order(), vec![], vec![1]);
        let mut above = order.clone();
        *above.last_mut().unwrap() += 1;
        for message in 0..20 {
            let (key, digest, [r, s]) = signed(algorithm, &[message]);
            let s = [vec![0; (curve.length() + 1).saturating_sub(s.len())], s].concat();
            let s = s[s.len() - curve.length()..].to_vec();
            let negative = curve.negate(&s);
            assert!(verdict(algorithm, &key, &digest, &der(&r, &s)));
            assert!(verdict(algorithm, &key, &digest, &der(&r, &negative)));
            for (r, s) in [
                (&zero, &s),
                (&r, &zero),
                (&order, &s),
                (&r, &order),
                (&above, &s),
                (&r, &above),
                (&one, &one),
                (&s, &r),
                (&zero, &zero),
            ] {
                assert!(!verdict(algorithm, &key, &digest, &der(r, s)));
            }
            let good = der(&r, &s);
            for bad in [
                [&[0x30, 0x81], &good[1..]].concat(),
                [&good[..], &[0]].concat(),
                [&[0x30, good[1] + 1], &good[2..], &[0]].concat(),
                [&r[..], &s].concat(),
                vec![],
            ] {
                assert!(!verdict(algorithm, &key, &digest, &bad));
            }
        }
    }
}

#[test]
fn public_keys_have_one_form() {
    for algorithm in CURVES {
        let key = AwsLcRs.generate_signing_key(algorithm).unwrap().public_key().to_vec();
        let other_sign = [&[key[0] ^ 1], &key[1..]].concat();
        let x_alone = key[1..].to_vec();
        let (both, x509_header): (_, &[u8]) = match algorithm {
            SignatureAlgorithm::EcdsaP256 => (
                p256::ecdsa::VerifyingKey::from_sec1_bytes(&key).unwrap().to_sec1_point(false).as_bytes().to_vec(),
                b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\0",
            ),
            SignatureAlgorithm::EcdsaP384 => (
                p384::ecdsa::VerifyingKey::from_sec1_bytes(&key).unwrap().to_sec1_point(false).as_bytes().to_vec(),
                b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\0\x22\x03\x62\0",
            ),
        };
        let hybrid = [&[6 | (key[0] & 1)], &both[1..]].concat();
        let no_point = [&[2], &vec![0xff; key.len() - 1][..]].concat();
        let bad = [
            [x509_header, &both].concat(),
            both,
            hybrid,
            [&[6], &key[1..]].concat(),
            [&[0], &key[1..]].concat(),
            [&[5], &key[1..]].concat(),
            [&key[..], &[0]].concat(),
            x_alone,
            no_point,
            vec![0],
            vec![],
        ];
        for provider in BOTH {
            assert!(provider.verifying_key(algorithm, &key).is_ok());
            assert!(provider.verifying_key(algorithm, &other_sign).is_ok());
            for bad in &bad {
                assert!(matches!(provider.verifying_key(algorithm, bad), Err(Error::Integrity)), "{bad:x?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_done_is_an_error_of_the_provider() {
    for provider in BOTH {
        for length in [0, 15, 17, 31, 33, 64] {
            assert!(matches!(provider.aes_gcm(&vec![0; length]), Err(Error::Provider(_))), "{length}");
        }
        for hash in HASHES {
            let mut out = vec![0; 255 * hash.output_length() + 1];
            let (most, _) = out.split_at_mut(255 * hash.output_length());
            assert!(provider.hkdf(hash, b"", b"", &mut [Expand { info: [b"", b""], out: most }]).is_ok());
            let refused = provider.hkdf(hash, b"", b"", &mut [Expand { info: [b"", b""], out: &mut out }]);
            assert!(matches!(refused, Err(Error::Provider(_))));
        }
    }
}
