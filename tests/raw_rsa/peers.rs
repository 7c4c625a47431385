//! The official SDKs, live.

use super::*;

/// A key in the form that peers expect.
#[derive(Clone)]
enum Key {
    Aes(WrappingKey),
    Rsa { padding: RsaPadding, bits: usize },
}

impl PeerKey for Key {
    fn record(&self) -> Value {
        let (padding, bits) = match self {
            Self::Aes(key) => return key.record(),
            Self::Rsa { padding, bits } => (padding, bits),
        };
        let padding = match padding {
            RsaPadding::Pkcs1 => "pkcs1",
            RsaPadding::OaepSha1 => "oaep-sha1",
            RsaPadding::OaepSha256 => "oaep-sha256",
            RsaPadding::OaepSha384 => "oaep-sha384",
            RsaPadding::OaepSha512 => "oaep-sha512",
        };
        json!({
            "namespace": "sealwax-test",
            "name": "the key",
            "padding": padding,
            "public": public_pem(*bits),
            "private": private_pem(*bits),
        })
    }
}

/// With a peer: every padding and size, alone and beside an AES key in either position, written
/// here and read there and the reverse. A peer that cannot read PKCS#1 v1.5 even if it wrote it
/// itself is not asked to.
fn rsa_goes_both_ways(sdk: Sdk, keyring: &'static str) {
    let Some(mut peer) = Peer::start(sdk) else { return };
    peer.keyring = keyring;
    let start = Instant::now();
    let (client, plaintext) = (reading_client(), pattern(700));
    let mut suites = SUITES.into_iter().cycle();
    let (mut theirs, mut ours, mut not_read) = (0, 0, 0);
    for padding in PADDINGS {
        for bits in SIZES {
            let rsa = Key::Rsa { padding, bits };
            let aes = WrappingKey::new("sealwax-other", "\u{e4}ndere", 32);
            let (writer, reader) = (|| writer(padding, bits), reader(padding, bits));
            for arrangement in 0..3 {
                let suite = suites.next().expect("endless");
                let what = format!("{padding:?}, {bits}, {arrangement}, {}", suite_name(suite));
                let context = EncryptionContext::from([("a", "1"), ("tenant", "blue")]);
                let (keys, ours_with) = match arrangement {
                    0 => (vec![rsa.clone()], MultiKeyring::new(writer())),
                    1 => (vec![rsa.clone(), Key::Aes(aes.clone())], MultiKeyring::new(writer()).child(aes.keyring())),
                    _ => (vec![Key::Aes(aes.clone()), rsa.clone()], MultiKeyring::new(aes.keyring()).child(writer())),
                };

                let request = ToWrite {
                    keys: &keys,
                    suite,
                    frame_length: 256,
                    context: &context,
                    required: &[],
                    plaintext: &plaintext,
                };
                let message = peer.encrypt(&request).unwrap_or_else(|refused| panic!("{what}: {refused:?}"));
                let opening = Way::Bytes.open(&client, &reader, &context, &message).expect(&what);
                assert!(opening.plaintext == plaintext, "{what}: another plaintext");
                assert_eq!(opening.header.encrypted_data_keys().len(), keys.len(), "{what}");
                theirs += 1;

                let sealing = Sealing { keyring: &ours_with, suite, frame_length: 256, context: &context };
                let sealed = sealing.seal(Writing::Bytes, &plaintext).expect(&what);
                let opened_with = std::slice::from_ref(&rsa);
                match peer.decrypt(opened_with, &context, &sealed) {
                    Ok(opening) => {
                        assert_eq!(opening.suite, suite, "{what}");
                        assert!(opening.plaintext == plaintext, "{what}: the peer read another plaintext");
                        let mut stored = opening.context;
                        assert_eq!(stored.remove(PUBLIC_KEY_ENTRY).is_some(), suite.is_signed(), "{what}");
                        assert!(stored == context, "{what}: the peer read another context");
                        ours += 1;
                    }
                    Err(refused) => {
                        assert!(sdk == Sdk::Node && padding == RsaPadding::Pkcs1, "{what}: {refused:?}");
                        assert!(
                            peer.decrypt(opened_with, &context, &message).is_err(),
                            "{what}: it reads only its own"
                        );
                        not_read += 1;
                    }
                }
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    say(&format!(
        "peers: RSA with {sdk:?} ({keyring}): {theirs} of theirs and {ours} of ours in {seconds:.1} s; {not_read} with a \
         padding that it does not read"
    ));
    assert_eq!((theirs, ours + not_read), (45, 45));
    assert!(not_read == 0 || (sdk == Sdk::Node && not_read == 9), "{not_read}");
    assert_eq!(peer.exchanges, 90 + not_read);
}

#[test]
fn rsa_goes_both_ways_with_python() {
    rsa_goes_both_ways(Sdk::Python, "raw");
}

#[test]
fn rsa_goes_both_ways_with_pythons_material_providers_library() {
    rsa_goes_both_ways(Sdk::Python, "mpl");
}

#[test]
fn rsa_goes_both_ways_with_node() {
    rsa_goes_both_ways(Sdk::Node, "raw");
}
