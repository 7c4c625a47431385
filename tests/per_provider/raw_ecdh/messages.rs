//! Messages under key pairs.

use super::*;

#[test]
fn messages_of_the_official_library_open() {
    let file = load();
    let mut openings = 0;
    let mut seen = BTreeSet::new();
    for vector in &file.vectors {
        let curve = EcdhCurve::ALL.into_iter().find(|curve| curve.to_string() == vector.curve).expect("a known curve");
        let Named { alice, bob, carol } = Named::of(&file, curve);
        let (message, plaintext) = (from_base64(&vector.message), from_base64(&vector.plaintext));
        let context: EncryptionContext = vector.context.clone().into_iter().collect();
        let mut keyrings = vec![of(curve, bob)];
        if vector.schema == "static" {
            keyrings.extend([between(curve, bob, alice), between(curve, alice, bob)]);
        }
        for keyring in keyrings {
            let opened = reading_client().decrypt(&keyring).context(context.clone()).bytes(&message).wait();
            let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", vector.suite));
            assert_eq!(opened.plaintext, plaintext);
            assert_eq!(opened.header.suite(), suite_of(&vector.suite));
            assert_eq!(opened.opened_by.keyring, keyring.label());
            let [key] = opened.header.encrypted_data_keys() else { panic!("one encrypted data key") };
            assert_eq!((key.provider_id(), key.key_name()), ("raw-ecdh", None));
            openings += 1;
        }
        let other_context = context.iter().chain([("another", "pair")]).collect::<EncryptionContext>();
        let strangers = [of(curve, carol), of(curve, alice), between(curve, carol, bob), between(curve, bob, carol)];
        for (keyring, context, reason) in strangers
            .iter()
            .map(|keyring| (keyring, &context, "no encrypted data key matches this key"))
            .chain([(&of(curve, bob), &other_context, "could not be decrypted")])
        {
            let refused = reading_client().decrypt(keyring).context(context.clone()).bytes(&message).wait();
            let Err(Error::NotUnwrapped(failure)) = refused else { panic!("it was not refused") };
            assert!(failure.to_string().contains(reason), "{failure}");
        }
        seen.insert((&vector.curve, &vector.schema));
    }
    assert_eq!((file.vectors.len(), seen.len(), openings), (18, 6, 36));
}

#[test]
fn every_pairing_makes_the_round_trip() {
    let file = load();
    let mut trips = 0;
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        let pairings = [
            (between(curve, alice, bob), between(curve, bob, alice)),
            (between(curve, alice, bob), between(curve, alice, bob)),
            (between(curve, alice, bob), of(curve, bob)),
            (to(curve, bob), of(curve, bob)),
            (between(curve, bob, bob), between(curve, bob, bob)),
        ];
        for (sender, recipient) in &pairings {
            for (suite, context) in SUITES.into_iter().flat_map(|suite| contexts().map(|context| (suite, context))) {
                let client = client_for(suite);
                let encrypt = client.encrypt(sender).suite(suite).context(context.clone());
                let sealed = encrypt.bytes(b"text").wait().expect("it seals");
                assert_eq!(sealed.key_report.wrapped()[0].keyring, sender.label());
                let [key] = sealed.header.encrypted_data_keys() else { panic!("one encrypted data key") };
                let length = suite.data_key_length();
                assert_eq!(key.ciphertext().len(), 32 + 32 + length + 16);
                let point = sender.recipient_public_key().len();
                assert_eq!(key.provider_info().len(), 1 + 2 * (4 + point));
                assert_eq!(key.provider_info()[5..][..point], *sender.recipient_public_key());
                let opened = client.decrypt(recipient).context(context).bytes(&sealed.message).wait();
                assert_eq!(opened.expect("it opens").plaintext, b"text");
                trips += 1;
            }
        }
    }
    assert_eq!(trips, 3 * 5 * 4 * 3);
}

#[test]
fn only_the_holders_of_the_keys_open_a_message() {
    use Outcome::{NoMatch, NotAuthentic, Opens};
    let file = load();
    let none = EncryptionContext::new();
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, carol } = Named::of(&file, curve);
        let from_alice = wrap(&between(curve, alice, bob), &none);
        let from_anyone = wrap(&to(curve, bob), &none);
        for (keyring, of_alice, of_anyone) in [
            (between(curve, bob, alice), Opens, NoMatch),
            (between(curve, alice, bob), Opens, NoMatch),
            (of(curve, bob), Opens, Opens),
            // Alice's key is that of the sender.
            (of(curve, alice), NoMatch, NoMatch),
            (of(curve, carol), NoMatch, NoMatch),
            (between(curve, carol, bob), NoMatch, NoMatch),
            (between(curve, bob, carol), NoMatch, NoMatch),
            (between(curve, carol, alice), NoMatch, NoMatch),
            (between(curve, bob, bob), NoMatch, NoMatch),
        ] {
            assert_eq!(unwrap(&keyring, &none, &from_alice), of_alice);
            assert_eq!(unwrap(&keyring, &none, &from_anyone), of_anyone);
        }
        for other in EcdhCurve::ALL.into_iter().filter(|other| *other != curve) {
            assert_eq!(unwrap(&of(other, &Named::of(&file, other).bob), &none, &from_alice), NoMatch);
        }
        let other_context = EncryptionContext::from([("a", "1")]);
        assert_eq!(unwrap(&of(curve, bob), &other_context, &from_alice), NotAuthentic);
    }
}

#[test]
fn what_a_keyring_cannot_do_is_said() {
    let file = load();
    for curve in EcdhCurve::ALL {
        let bob = &Named::of(&file, curve).bob;
        let (writes, reads) = (to(curve, bob), of(curve, bob));
        let why = refusal(reading_client().encrypt(&reads).bytes(b"text").wait());
        assert!(why.contains("cannot encrypt") && why.contains(&*reads.label()), "{why}");
        let sealed = reading_client().encrypt(&writes).bytes(b"text").wait().expect("it seals");
        let why = refusal(reading_client().decrypt(&writes).bytes(&sealed.message).wait());
        assert!(why.contains("cannot decrypt") && why.contains("RawEcdhKeyring::discovery"), "{why}");
        // As one of several it takes no part, and reports why if none of the others opens the
        // message.
        let several = MultiKeyring::without_generator(writes).child(reads);
        assert!(reading_client().decrypt(&several).bytes(&sealed.message).wait().is_ok());
        let two = MultiKeyring::without_generator(to(curve, bob)).child(of(curve, &Named::of(&file, curve).carol));
        let Err(Error::NotUnwrapped(failure)) = reading_client().decrypt(&two).bytes(&sealed.message).wait() else {
            panic!("it opens")
        };
        assert_eq!(failure.attempts().len(), 2);
        assert!(std::error::Error::source(&failure).expect("a cause").to_string().contains("cannot decrypt"));
    }
}

#[test]
fn several_keys_wrap_one_message_and_failures_are_collected() {
    let file = load();
    let main = RawAesKeyring::new("example", "key-1", vec![7; 32]).expect("a usable key");
    let keyring = EcdhCurve::ALL.into_iter().fold(MultiKeyring::new(main), |keyring, curve| {
        let Named { alice, bob, carol } = Named::of(&file, curve);
        keyring.child(between(curve, alice, bob)).child(to(curve, carol))
    });
    let sealed = reading_client().encrypt(&keyring).bytes(b"text").wait().expect("it seals");
    assert_eq!(sealed.header.encrypted_data_keys().len(), 7);
    for (index, curve) in EcdhCurve::ALL.into_iter().enumerate() {
        let Named { alice, bob, carol } = Named::of(&file, curve);
        for (keyring, at) in [
            (between(curve, bob, alice), 1 + 2 * index),
            (of(curve, bob), 1 + 2 * index),
            (of(curve, carol), 2 + 2 * index),
        ] {
            let opened = reading_client().decrypt(&keyring).bytes(&sealed.message).wait().expect("it opens");
            assert_eq!((opened.plaintext.as_slice(), opened.opened_by.encrypted_data_key), (&b"text"[..], at));
        }
        // A keyring that does not open it precedes one that does; in the reverse case neither does.
        let none = EncryptionContext::new();
        let good = wrap(&to(curve, bob), &none);
        let bad = EncryptedDataKey::new("raw-ecdh", good.provider_info(), vec![1; 112]);
        let short = wrap(&to(curve, bob), &EncryptionContext::from([("a", "1")]));
        let keys = [bad, short, good];
        let keyring = of(curve, bob);
        let open = |keys| sync(keyring.on_decrypt(UnwrapRequest::new(provider(), COMMITTING, &none, keys)));
        assert_eq!(open(&keys).map_err(|error| error.to_string()).expect("it opens").encrypted_data_key, 2);
        let Err(Error::NotUnwrapped(failure)) = open(&keys[..2]) else { panic!("it opens") };
        let attempts = failure.attempts();
        assert_eq!(attempts.len(), 2);
        assert!(attempts.iter().all(|attempt| matches!(attempt.reason, UnwrapReason::NotAuthentic)));
    }
}

#[test]
fn nothing_is_used_twice() {
    let file = load();
    let none = EncryptionContext::new();
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        let point = to(curve, bob).recipient_public_key().len();
        let of_each = |keyring: &RawEcdhKeyring| {
            let keys: Vec<_> = (0..20).map(|_| wrap(keyring, &none)).collect();
            let senders: BTreeSet<_> =
                keys.iter().map(|key| key.provider_info()[key.provider_info().len() - point..].to_vec()).collect();
            let nonces: BTreeSet<_> = keys.iter().map(|key| key.ciphertext()[..32].to_vec()).collect();
            let commitments: BTreeSet<_> = keys.iter().map(|key| key.ciphertext()[32..64].to_vec()).collect();
            let wrapped: BTreeSet<_> = keys.iter().map(|key| key.ciphertext()[64..].to_vec()).collect();
            (senders.len(), nonces.len(), commitments.len(), wrapped.len())
        };
        assert_eq!(of_each(&between(curve, alice, bob)), (1, 20, 20, 20));
        assert_eq!(of_each(&to(curve, bob)), (20, 20, 20, 20));
    }
}

#[test]
fn random_bytes_come_from_the_provider_and_may_fail() {
    let file = load();
    let none = EncryptionContext::new();
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        for keyring in [to(curve, bob), between(curve, alice, bob)] {
            let wrap = |provider: &Fronted| {
                let wrapped = sync(keyring.on_encrypt(WrapRequest::new(provider, COMMITTING, &none)))?;
                Ok::<_, Error>(wrapped.encrypted_data_keys[0].clone())
            };
            assert!(matches!(wrap(&Fronted::without_randomness()), Err(Error::Provider("the well is dry"))));
            let once = wrap(&Fronted::with_random_bytes_of(1)).expect("it wraps");
            assert_eq!(once.ciphertext()[..32], [1; 32]);
            assert!(once == wrap(&Fronted::with_random_bytes_of(1)).expect("it wraps"), "{curve}: from somewhere else");
        }
        // Zero is not a private key, nor is anything above the order of the curve, so the search
        // for one must end.
        for byte in [0, 0xff] {
            let provider = Fronted::with_random_bytes_of(byte);
            let keyring = to(curve, bob);
            let refused = sync(keyring.on_encrypt(WrapRequest::new(&provider, COMMITTING, &none)));
            assert!(
                matches!(refused, Err(Error::Provider("the random source produced no valid private key"))),
                "{curve}, {byte}"
            );
        }
    }
}

#[cfg(feature = "conformance")]
#[test]
fn it_conforms_to_the_interface_of_keyrings() {
    use sealwax::conformance::{KeyringTraits, keyring};
    let file = load();
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        let (all, existing) =
            (KeyringTraits::default(), KeyringTraits { generates: false, ..KeyringTraits::default() });
        for traits in [all, existing] {
            keyring(&between(curve, alice, bob), traits).wait().expect("it conforms");
            keyring(&to(curve, bob), KeyringTraits { decrypts: false, ..traits }).wait().expect("it conforms");
            keyring(&of(curve, bob), KeyringTraits { encrypts: false, ..traits }).wait().expect("it conforms");
        }
    }
}
