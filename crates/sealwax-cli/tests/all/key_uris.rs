//! Keys of every kind, several of them, and the reports of what they did.

use crate::{
    place::{Place, code, inspect_json, stderr},
    support,
};

/// Returns the path of a test key as a part of a URI.
fn test_key(name: &str) -> String {
    support::root().join("tests/keys").join(name).display().to_string()
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn rsa_keys_encrypt_with_the_public_and_decrypt_with_the_private_half() {
    let place = Place::new();
    place.write("plain", b"text");
    let (public, private) = (test_key("rsa-2048.spki.pem"), test_key("rsa-2048.pkcs8.pem"));
    for padding in ["pkcs1", "oaep-sha1", "oaep-sha256", "oaep-sha384", "oaep-sha512"] {
        let write = format!("raw-rsa://ns/pair?file={public}&padding={padding}");
        let read = format!("raw-rsa://ns/pair?file={private}&padding={padding}");
        place.ok(&["encrypt", "-k", &write, "-k", &place.key, "-o", "sealed", "--force", "plain"]);
        assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", &read, "sealed"]), b"text");
        assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", &place.key, "sealed"]), b"text");
        place.refused(&["decrypt", "-k", &write, "-o", "out", "sealed"], 4, "no private key");
        place.ok(&["encrypt", "-k", &read, "-o", "sealed", "--force", "plain"]);
        assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", &read, "sealed"]), b"text");
        let both = format!("{read}&public={public}");
        place.ok(&["encrypt", "-k", &both, "-o", "sealed", "--force", "plain"]);
        assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", &both, "sealed"]), b"text");
    }
    assert_eq!(inspect_json(&place, "sealed")["encrypted_data_keys"][0]["key_name"], "pair");
    place.write("garbage.pem", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    for (uri, text) in [
        (format!("raw-rsa://ns/pair?file={public}"), "padding=pkcs1"),
        (format!("raw-rsa://ns/pair?file={public}&padding=oaep-md5"), "padding=pkcs1"),
        ("raw-rsa://ns/pair?padding=pkcs1".into(), "?file=PEM"),
        ("raw-rsa://ns/pair?file=garbage.pem&padding=pkcs1".into(), "garbage.pem"),
        ("raw-rsa://ns/pair?file=main.key&padding=pkcs1".into(), "main.key"),
    ] {
        place.refused(&["encrypt", "-k", &uri, "-o", "out", "plain"], 2, text);
    }
}

#[cfg(not(feature = "aws-lc-rs"))]
#[test]
fn a_build_without_rsa_says_which_feature_has_it() {
    let place = Place::new();
    place.write("plain", b"text");
    let uri = "raw-rsa://ns/pair?file=main.key&padding=pkcs1";
    place.refused(&["encrypt", "-k", uri, "-o", "out", "plain"], 2, "feature aws-lc-rs");
}

#[test]
fn ecdh_keys_encrypt_to_a_recipient() {
    let place = Place::new();
    place.write("plain", b"text");
    let (public, private) = (test_key("ec-p256.spki.pem"), test_key("ec-p256.pkcs8.pem"));
    let to = format!("raw-ecdh://p256?recipient={public}");
    let own = format!("raw-ecdh://p256?private={private}");
    place.ok(&["encrypt", "-k", &to, "-o", "sealed", "plain"]);
    assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", &own, "sealed"]), b"text");
    assert_eq!(inspect_json(&place, "sealed")["encrypted_data_keys"][0]["provider_id"], "raw-ecdh");
    let both = format!("{own}&recipient={public}");
    place.ok(&["encrypt", "-k", &both, "-o", "sealed", "--force", "plain"]);
    assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", &both, "sealed"]), b"text");
    for (uri, text) in [
        (format!("raw-ecdh://p999?recipient={public}"), "p256, p384 or p521"),
        (format!("raw-ecdh://p384?recipient={public}"), "P-384"),
        ("raw-ecdh://p256".into(), "neither private=PEM nor recipient=PEM"),
        (format!("raw-ecdh://p256?private={public}"), "private key"),
        (format!("raw-ecdh://p256?key={public}"), "no parameter key"),
    ] {
        place.refused(&["encrypt", "-k", &uri, "-o", "out", "plain"], 2, text);
    }
    // A keyring that can only decrypt reports so.
    place.refused(&["encrypt", "-k", &own, "-o", "out", "plain"], 2, "cannot encrypt");
}

#[test]
fn a_quorum_is_checked_and_more_keys_than_it_wrap() {
    let place = Place::new();
    let second = place.keygen("second.key");
    place.write("plain", b"text");
    place.ok(&["encrypt", "-k", &place.key, "-k", &second, "--quorum", "1", "-o", "sealed", "plain"]);
    assert_eq!(inspect_json(&place, "sealed")["encrypted_data_keys"].as_array().unwrap().len(), 2);
    place.refused(&["encrypt", "-k", &place.key, "--quorum", "1", "-o", "out", "plain"], 2, "a quorum of 1");
}

#[test]
fn the_keys_that_wrapped_and_opened_are_told_when_asked_for() {
    let place = Place::new();
    let second = place.keygen("second.key");
    place.write("plain", b"text");
    let encrypt = ["encrypt", "-k", &place.key, "-k", &second, "-o", "sealed", "plain"];
    let told = place.run(&[&encrypt[..], &["--verbose"]].concat());
    let expected = "wrapped by raw-aes://sealwax/main (encrypted data key 0)\n\
                    wrapped by raw-aes://sealwax/second (encrypted data key 1)\n";
    assert_eq!((code(&told), stderr(&told).as_str()), (0, expected));
    let told = place.run(&["decrypt", "-o", "-", "-k", &second, "--verbose", "sealed"]);
    assert_eq!(stderr(&told), "verified, decrypted by raw-aes://sealwax/second (encrypted data key 1)\n");
    assert_eq!(told.stdout, b"text");

    let told = place.run(&[&encrypt[..], &["--force", "--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&json["operation"], &json["output"]), (&"encrypt".into(), &"sealed".into()));
    assert_eq!(json["keys"][1]["keyring"], "raw-aes://sealwax/second");
    let told = place.run(&["decrypt", "-o", "back", "-k", &second, "--json", "sealed"]);
    let json: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&json["operation"], &json["keys"][0]["encrypted_data_key"]), (&"decrypt".into(), &1.into()));

    let other = place.keygen("other.key");
    let told = place.run(&["decrypt", "-k", &other, "--json", "-o", "out", "sealed"]);
    let json: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((code(&told), &json["code"]), (4, &4.into()));
    assert_eq!(json["attempts"][0]["keyring"], "raw-aes://sealwax/other");
    assert_eq!(json["attempts"][0]["reason"], "no encrypted data key matches this key");
}
