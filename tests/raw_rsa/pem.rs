//! What keys are read from, and the refusals of what is no key.

use super::*;

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
