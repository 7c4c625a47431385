//! Encrypted data keys that were altered.

use super::*;

#[test]
fn every_altered_bit_of_an_encrypted_data_key_is_noticed() {
    let file = load();
    let context = EncryptionContext::from([("purpose", "test")]);
    let altered = std::sync::atomic::AtomicUsize::new(0);
    in_parallel(&EcdhCurve::ALL, |&curve| {
        let Named { alice, bob, .. } = Named::of(&file, curve);
        let (fixed, discovery) = (between(curve, bob, alice), of(curve, bob));
        let key = wrap(&between(curve, alice, bob), &context);
        let count = |outcome: Outcome, expected: Outcome, what: &str| {
            assert_eq!(outcome, expected, "{curve}: {what}");
            altered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        // Nonce, commitment, encrypted key and tag.
        for bit in 0..8 * key.ciphertext().len() {
            let mut ciphertext = key.ciphertext().to_vec();
            ciphertext[bit / 8] ^= 1 << (bit % 8);
            let changed = EncryptedDataKey::new("raw-ecdh", key.provider_info(), ciphertext);
            count(unwrap(&discovery, &context, &changed), Outcome::NotAuthentic, "a bit of the ciphertext");
        }
        for length in 0..key.ciphertext().len() {
            let cut = EncryptedDataKey::new("raw-ecdh", key.provider_info(), &key.ciphertext()[..length]);
            count(unwrap(&fixed, &context, &cut), Outcome::NotAuthentic, "a ciphertext that is cut off");
        }
        // The version, the lengths and the recipient must match the keyring's; the sender can be
        // anyone.
        let sender_at = key.provider_info().len() - fixed.recipient_public_key().len();
        for bit in 0..8 * key.provider_info().len() {
            let mut info = key.provider_info().to_vec();
            info[bit / 8] ^= 1 << (bit % 8);
            let changed = EncryptedDataKey::new("raw-ecdh", info, key.ciphertext());
            count(unwrap(&fixed, &context, &changed), Outcome::NoMatch, "a bit of the provider information");
            let is_sender = bit / 8 >= sender_at;
            let expected = if is_sender { Outcome::NotAuthentic } else { Outcome::NoMatch };
            count(unwrap(&discovery, &context, &changed), expected, "a bit of the provider information");
        }
        for length in 0..key.provider_info().len() {
            let cut = EncryptedDataKey::new("raw-ecdh", &key.provider_info()[..length], key.ciphertext());
            count(unwrap(&discovery, &context, &cut), Outcome::NoMatch, "provider information that is cut off");
        }
        let longer = [key.provider_info(), &[0]].concat();
        let longer = EncryptedDataKey::new("raw-ecdh", longer, key.ciphertext());
        count(unwrap(&discovery, &context, &longer), Outcome::NoMatch, "longer provider information");
        // With the parties exchanged it still matches the keyring, but is not what was wrapped.
        let point = fixed.recipient_public_key().len();
        let (head, sender) = key.provider_info().split_at(sender_at);
        let swapped = [&head[..5], sender, &head[5 + point..], &head[5..5 + point]].concat();
        let swapped = EncryptedDataKey::new("raw-ecdh", swapped, key.ciphertext());
        count(unwrap(&fixed, &context, &swapped), Outcome::NotAuthentic, "parties the other way round");
        count(unwrap(&discovery, &context, &swapped), Outcome::NoMatch, "parties the other way round");
        // The keyring over AWS KMS writes the same under its own provider id.
        let of_kms = EncryptedDataKey::new("aws-kms-ecdh", key.provider_info(), key.ciphertext());
        count(unwrap(&fixed, &context, &of_kms), Outcome::Opens, "aws-kms-ecdh");
        count(unwrap(&discovery, &context, &of_kms), Outcome::Opens, "aws-kms-ecdh");
        for id in ["raw-ecdh2", "raw-ecd", "aws-kms", "RAW-ECDH"] {
            let changed = EncryptedDataKey::new(id, key.provider_info(), key.ciphertext());
            count(unwrap(&discovery, &context, &changed), Outcome::NoMatch, id);
        }
        assert_eq!(unwrap(&discovery, &context, &key), Outcome::Opens);
    });
    let (ciphertext, infos) = (32 + 32 + 32 + 16, 75 + 107 + 143);
    let expected = 3 * 8 * ciphertext + 3 * ciphertext + 2 * 8 * infos + infos + 3 * 9;
    assert_eq!(altered.into_inner(), expected);
}

#[test]
fn a_sender_that_is_no_point_of_the_curve_is_refused() {
    let file = load();
    let none = EncryptionContext::new();
    for curve in EcdhCurve::ALL {
        let bob = &Named::of(&file, curve).bob;
        let (keyring, key) = (of(curve, bob), wrap(&to(curve, bob), &none));
        let point = keyring.recipient_public_key().len();
        let at = key.provider_info().len() - point;
        let fields = [vec![0; point - 1], vec![0xff; point - 1], key.provider_info()[at + 1..].to_vec()];
        for (tag, field) in [0, 1, 2, 3, 4, 5, 6, 7, 0xff].iter().flat_map(|tag| fields.iter().map(move |f| (tag, f))) {
            let info = [&key.provider_info()[..at], &[*tag], field].concat();
            let is_itself = info == key.provider_info();
            let expected = if is_itself { Outcome::Opens } else { Outcome::NotAuthentic };
            let changed = EncryptedDataKey::new("raw-ecdh", info, key.ciphertext());
            assert_eq!(unwrap(&keyring, &none, &changed), expected, "{curve}, {tag}, {field:?}");
        }
    }
}
