//! Invalid signatures and public keys.

use super::*;

#[test]
fn attack_6_signatures_that_are_none_are_refused() {
    for suite in [0x0214, 0x0578] {
        let forge = Forge::new(suite);
        let curve = forge.signs().unwrap();
        let unsigned = [forge.header(), forge.frames(TEXT).concat()].concat();
        let (r, s) = curve.sign(&unsigned);
        let (order, zero) = (curve.order(), vec![0]);
        let mut above = order.clone();
        *above.last_mut().unwrap() += 1;
        let all_ones = vec![0xff; curve.length()];
        let good = der(&r, &s);
        let mut bad = vec![
            der(&zero, &s),
            der(&r, &zero),
            der(&zero, &zero),
            der(&order, &s),
            der(&r, &order),
            der(&order, &order),
            der(&above, &s),
            der(&r, &above),
            der(&all_ones, &s),
            der(&r, &all_ones),
            der(&[1], &[1]),
            // The halves swapped.
            der(&s, &r),
            // Nothing, or not a sequence of two integers.
            vec![],
            vec![0x30, 0],
            good[..good.len() - 1].to_vec(),
            [&[0x31], &good[1..]].concat(),
            [&[0x30, good[1], 3], &good[3..]].concat(),
        ];
        // A length in its long form, a superfluous leading zero, a byte after the end: not the one
        // DER form.
        bad.push([&[0x30, 0x81], &good[1..]].concat());
        let padded_r = [&[2, r.len() as u8 + 2, 0, 0], &r[..]].concat();
        let s_alone = &good[2 + usize::from(good[3]) + 2..];
        bad.push([&[0x30, (padded_r.len() + s_alone.len()) as u8], &padded_r[..], s_alone].concat());
        bad.push([&good[..], &[0]].concat());
        bad.push([&[0x30, good[1] + 1], &good[2..], &[0]].concat());
        // Two plain numbers without DER.
        bad.push([&r[..], &s].concat());
        for (index, signature) in bad.iter().enumerate() {
            let message = [&unsigned[..], &footer(signature)].concat();
            refuses(&forge, &message, REGULAR, |error| match error {
                Error::Integrity => true,
                // More bytes than any signature of the curve has are refused by their number.
                Error::Format(FormatError::SignatureLength(found)) => {
                    usize::from(*found) == signature.len() && signature.len() > 2 * curve.length() + 8
                }
                other => panic!("{index}: {other:?}"),
            });
        }
        accepts(&forge, &[&unsigned[..], &footer(&good)].concat(), TEXT);
    }
}

#[test]
fn attack_6_high_s_and_shorter_der_are_accepted() {
    for suite in [0x0214, 0x0578] {
        let mut forge = Forge::new(suite);
        let curve = forge.signs().unwrap();
        let (mut lengths, full) = (BTreeSet::new(), 2 * curve.length() + 8);
        // Both forms of s, and both lengths of r.
        for id in 0.. {
            forge.message_id[0] = id;
            let unsigned = [forge.header(), forge.frames(TEXT).concat()].concat();
            let (r, s) = curve.sign(&unsigned);
            for s in [curve.negate(&s), s] {
                let signature = der(&r, &s);
                if lengths.insert(signature.len()) {
                    accepts(&forge, &[&unsigned[..], &footer(&signature)].concat(), TEXT);
                }
            }
            if [full - 2, full - 1, full].iter().all(|length| lengths.contains(length)) {
                break;
            }
        }
    }
}

#[test]
fn attack_14_the_public_key_goes_with_the_suite() {
    let is_missing = |error: &Error| matches!(error, Error::Context(ContextError::PublicKeyMissing));
    for suite in SIGNED {
        let mut forge = Forge::new(suite);
        let curve = forge.signs().unwrap();
        let good = curve.public_key();
        let off_curve = (0..=255)
            .map(|last| [&good[..good.len() - 1], &[last]].concat())
            .find(|bytes| provider().verifying_key(algorithm(curve), bytes).is_err())
            .expect("half of all numbers are no x of a point");
        let mut too_large = curve_prime_or_more(curve);
        too_large.insert(0, 2);
        let uncompressed = [&[4][..], &[1; 96][..2 * curve.length()]].concat();
        let infinity = vec![0];
        let padded_infinity = vec![0; good.len()];
        let hybrid = [&[6], &good[1..]].concat();
        let other_curve = if curve == Curve::P256 { Curve::P384 } else { Curve::P256 }.public_key();
        let longer = [&good[..], &[0]].concat();
        for (index, key) in
            [vec![], off_curve, too_large, uncompressed, infinity, padded_infinity, hybrid, other_curve, longer]
                .iter()
                .enumerate()
        {
            let value = BASE64_STANDARD.encode(key);
            forge.context = serialize_context(&[(PUBLIC_KEY, value.as_str())]);
            let message = forge.message(TEXT);
            reading(&reads_all(), &Unasked).refuses(&message, b"", |error| {
                assert!(is_missing(error), "{index}: {error:?}");
                true
            });
        }
        let text = BASE64_STANDARD.encode(&good);
        let unpadded = text.trim_end_matches('=').to_owned();
        let mut not_base64 = vec!["!".to_owned() + &text[1..], format!("{text}\n"), format!(" {text}")];
        if unpadded != text {
            not_base64.push(unpadded);
        }
        for value in &not_base64 {
            forge.context = serialize_context(&[(PUBLIC_KEY, value.as_str())]);
            refuses_unasked(&forge.message(TEXT), is_missing);
        }
        forge.context = serialize_context(&[("tenant", "blue")]);
        refuses_unasked(&forge.message(TEXT), is_missing);
        // The message does not contain it, even if the caller reproduces it.
        let context = EncryptionContext::from([(PUBLIC_KEY, text)]);
        let client = reads_all();
        let reading = Reading { client: &client, keyring: &Unasked, context: &context };
        reading.refuses(&forge.message(TEXT), b"", is_missing);
    }
    for suite in [0x0014, 0x0178, 0x0478] {
        let mut forge = Forge::new(suite);
        let value = BASE64_STANDARD.encode(Curve::P384.public_key());
        forge.context = serialize_context(&[(PUBLIC_KEY, value.as_str())]);
        refuses_unasked(&forge.message(TEXT), |error| {
            matches!(error, Error::Context(ContextError::PublicKeyUnexpected))
        });
    }
}

fn algorithm(curve: Curve) -> SignatureAlgorithm {
    match curve {
        Curve::P256 => SignatureAlgorithm::EcdsaP256,
        Curve::P384 => SignatureAlgorithm::EcdsaP384,
    }
}

/// Returns an x that is not below the prime of the field.
fn curve_prime_or_more(curve: Curve) -> Vec<u8> {
    vec![0xff; curve.length()]
}
