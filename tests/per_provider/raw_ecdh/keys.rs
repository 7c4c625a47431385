//! The forms in which keys are read.

use super::*;

/// Returns these bytes as PEM, in lines of this width.
fn pem(label: &str, der: &[u8], width: usize, end_of_line: &str) -> String {
    let text = to_base64(der);
    let mut out = format!("-----BEGIN {label}-----{end_of_line}");
    for line in text.as_bytes().chunks(width) {
        out.push_str(std::str::from_utf8(line).expect("base64"));
        out.push_str(end_of_line);
    }
    out + &format!("-----END {label}-----{end_of_line}")
}

/// Returns the bytes of a PEM text.
fn der_of(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    from_base64(&text)
}

/// Returns a SubjectPublicKeyInfo with the algorithm of this one and another point.
fn with_point(info: &[u8], point: &[u8]) -> Vec<u8> {
    // SEQUENCE { SEQUENCE algorithm, BIT STRING point }, with a first length of one byte or two.
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

/// PKCS#8 in other writers' forms, or with other keys.
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
        // The scalar is the first long OCTET STRING inside: its bytes are replaced, which makes the
        // public half wrong.
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
            (one("CERTIFICATE"), "expected PRIVATE KEY"),
            (one("RSA PRIVATE KEY"), "expected PRIVATE KEY"),
            (pem("PRIVATE KEY", &bob.public(), 64, "\n"), "it is not PKCS#8"),
            (cut, "it is not PKCS#8"),
            (one("PRIVATE KEY").replace('M', "!"), "not valid PEM"),
            (one("PRIVATE KEY").replace("-----END", "----END"), "not valid PEM"),
            (one("PRIVATE KEY") + &one("PRIVATE KEY"), "not valid PEM"),
            (with_scalar(0), "it is not a P-"),
            (with_scalar(0xff), "it is not a P-"),
            (with_scalar(1), "it is not a P-"),
            (wrong_half, "it is not a P-"),
            (foreign(ED25519_PRIVATE), "is not an elliptic-curve key"),
            (foreign(SECP256K1_PRIVATE), "is not on P-256, P-384 or P-521"),
        ] {
            for why in [
                refusal(RawEcdhKeyring::discovery(curve, &private)),
                refusal(RawEcdhKeyring::static_keys(curve, &private, &alice.public())),
            ] {
                assert!(why.contains(reason) && why.contains("private key"), "{curve}: {why}, not {reason}");
                refused += 1;
            }
        }
        // DER is refused too: the specification requires PEM.
        assert!(refusal(RawEcdhKeyring::discovery(curve, &der)).contains("not PEM text"));
        for other in EcdhCurve::ALL.into_iter().filter(|other| *other != curve) {
            let why = refusal(RawEcdhKeyring::discovery(other, &bob.private));
            assert!(why.contains(&format!("is on {curve}, but the keyring is for {other}")), "{why}");
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
        let no_point = format!("is not a point on {curve}");
        for (public, reason) in [
            (Vec::new(), "it is not a SubjectPublicKeyInfo"),
            (b"no key at all".to_vec(), "it is not a SubjectPublicKeyInfo"),
            (point.clone(), "it is not a SubjectPublicKeyInfo"),
            (info[..info.len() - 1].to_vec(), "it is not a SubjectPublicKeyInfo"),
            ([&info[..], &[0]].concat(), "it is not a SubjectPublicKeyInfo"),
            (der_of(&bob.private), "it is not a SubjectPublicKeyInfo"),
            (bob.private.clone().into_bytes(), "a private key was given"),
            (one("PRIVATE KEY"), "a private key was given"),
            (one("EC PRIVATE KEY"), "a private key was given"),
            (one("CERTIFICATE"), "expected PUBLIC KEY"),
            (one("PUBLIC KEY").replace_all(b'M', b'!'), "not valid PEM"),
            (from_base64(ED25519_PUBLIC), "is not an elliptic-curve key"),
            (from_base64(SECP256K1_PUBLIC), "is not on P-256, P-384 or P-521"),
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
            assert!(why.contains(&format!("is on {curve}, but the keyring is for {other}")), "{why}");
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
