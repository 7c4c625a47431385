//! What implementers of the format get wrong, one item per test.

use super::{materials::altered_encryption, *};

/// Returns what the second writer makes of the same data key, message id and context, without a
/// footer.
fn rewritten(suite: AlgorithmSuite, header: &Header, context: &[(&str, &str)], frame_length: u32) -> Forge {
    let mut forge = Forge::new(suite.id());
    forge.message_id = header.message_id().to_vec();
    let mut pairs = context.to_vec();
    if let Some(key) = header.context().get(PUBLIC_KEY) {
        pairs.push((PUBLIC_KEY, key));
    }
    pairs.sort_unstable_by_key(|(key, _)| key.as_bytes());
    forge.context = serialize_context(&pairs);
    forge.frame_length = frame_length;
    forge
}

/// Returns a message of the library under the data key of the second writer.
fn written(suite: AlgorithmSuite, context: &[(&str, &str)], frame_length: u32, text: &[u8]) -> (Header, Vec<u8>) {
    let client = if suite.is_committing() { new_client() } else { writes_v1() };
    let keyring = Forge::new(suite.id()).keyring();
    let context: EncryptionContext = context.iter().copied().collect();
    let encrypt = client.encrypt(&keyring).suite(suite).context(context).frame_length(frame_length);
    let sealed = encrypt.bytes(text).wait().unwrap();
    (sealed.header, sealed.message)
}

#[test]
fn wrong_1_to_5_every_byte_is_that_of_a_second_writer() {
    for suite in AlgorithmSuite::ALL {
        for context in [&[][..], &[("tenant", "blue")], &[("b", "ä€𐀂"), ("ä", "2"), ("a", "1")]] {
            for length in [0, 1, 5, 6, 17] {
                let (header, message) = written(suite, context, 5, &TEXT[..length]);
                let forge = rewritten(suite, &header, context, 5);
                let expected = [forge.header(), forge.frames(&TEXT[..length]).concat()].concat();
                let (unsigned, footer) = message.split_at(expected.len());
                assert_eq!(unsigned, expected, "{suite} {length}");
                assert_eq!(footer.is_empty(), !suite.is_signed());
                assert_eq!(header.length(), forge.header().len());
            }
        }
    }
}

#[test]
fn wrong_1_the_iv_is_the_number_on_the_right_when_written_and_any_when_read() {
    let (header, message) = written(AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha256, &[], 5, TEXT);
    assert_eq!(message[header.length() - 28..header.length() - 16], [0; 12]);
    let second = &message[header.length() + 37..];
    assert_eq!(second[..4], [0, 0, 0, 2]);
    assert_eq!(second[4..16], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    for suite in FOUR {
        let mut forge = Forge::new(suite);
        if forge.version == 1 {
            forge.header_iv = [0xa5; 12];
        }
        let frames = [
            forge.piece(REGULAR_LABEL, 1, [0x5a; 12], &TEXT[..5]),
            forge.piece(FINAL_LABEL, 2, [0xc3; 12], &TEXT[5..7]),
        ];
        accepts(&forge, &forge.with_body(&frames), &TEXT[..7]);
        let unframed = Forge { content_type: 1, frame_length: 0, ..forge };
        let block = unframed.piece(UNFRAMED_LABEL, 1, [0x5a; 12], TEXT);
        accepts(&unframed, &unframed.with_body(&[block]), TEXT);
    }
}

#[test]
fn wrong_2_header_authentication_and_message_id_by_version() {
    for suite in AlgorithmSuite::ALL {
        let (header, _) = written(suite, &[], 5, TEXT);
        let committing = suite.is_committing();
        assert_eq!(header.message_id().len(), if committing { 32 } else { 16 });
        let forge = rewritten(suite, &header, &[], 5);
        assert_eq!(header.length() - forge.header_body().len(), if committing { 16 } else { 28 });
    }
    // The id of version 2 is authenticated with each frame in its full length.
    let watched = Fronted::watched();
    let client = Client::builder_with_provider(watched.clone()).build();
    let sealed = client.encrypt(&Forge::new(0x0578).keyring()).frame_length(5).bytes(TEXT).wait().unwrap();
    let log = watched.log();
    assert_eq!(log.sealed.len(), 5);
    assert!(log.sealed[1..].iter().all(|piece| piece.aad.starts_with(sealed.header.message_id())));
}

#[test]
fn wrong_3_the_final_frame_has_a_mark_a_number_and_a_length() {
    let (header, message) = written(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, &[], 5, TEXT);
    let last = &message[header.length() + 3 * 37..];
    assert_eq!(last[..8], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 4]);
    assert_eq!(last[8..20], iv_of(4));
    assert_eq!(last[20..24], [0, 0, 0, 2]);
    assert_eq!(last.len(), 24 + 2 + 16);
}

#[test]
fn wrong_4_what_goes_into_hkdf() {
    for suite in AlgorithmSuite::ALL {
        let watched = Fronted::watched();
        let policy = if suite.is_committing() {
            CommitmentPolicy::RequireEncryptRequireDecrypt
        } else {
            CommitmentPolicy::ForbidEncryptAllowDecrypt
        };
        let client = Client::builder_with_provider(watched.clone()).commitment_policy(policy).build();
        let forge = Forge::new(suite.id());
        let sealed = client.encrypt(&forge.keyring()).suite(suite).bytes(TEXT).wait().unwrap();
        client.decrypt(&forge.keyring()).bytes(&sealed.message).wait().unwrap();
        let id = sealed.header.message_id().to_vec();
        let suite_id = suite.id().to_be_bytes();
        let key = forge.data_key;
        let expected = match suite.id() {
            0x0014 | 0x0046 | 0x0078 => vec![],
            0x0478 | 0x0578 => {
                let infos = vec![[&suite_id[..], b"DERIVEKEY"].concat(), b"COMMITKEY".to_vec()];
                vec![Derived { hash: HashAlgorithm::Sha512, salt: id, key, infos }]
            }
            other => {
                let hash = if matches!(other, 0x0346 | 0x0378) { HashAlgorithm::Sha384 } else { HashAlgorithm::Sha256 };
                vec![Derived { hash, salt: vec![], key, infos: vec![[&suite_id[..], &id].concat()] }]
            }
        };
        let log = watched.log();
        assert_eq!(log.derived, [expected.clone(), expected].concat(), "{suite}");
    }
}

#[test]
fn wrong_5_the_header_is_authenticated_with_the_context_that_is_not_stored() {
    for suite in FOUR {
        let mut forge = Forge::new(suite);
        forge.required = serialize_context(&[("purpose", "backup"), ("region", "north")]);
        let message = forge.message(TEXT);
        let (client, keyring) = (reads_all(), forge.keyring());
        let read = |pairs: &[(&str, &str)], accepted: bool| {
            let context: EncryptionContext = pairs.iter().copied().collect();
            let reading = Reading { client: &client, keyring: &keyring, context: &context };
            if accepted { reading.accepts(&message, TEXT) } else { reading.refuses(&message, b"", is_integrity) }
        };
        read(&[("purpose", "backup"), ("region", "north")], true);
        // A pair that is also stored is compared, and not authenticated twice.
        read(&[("purpose", "backup"), ("region", "north"), ("tenant", "blue")], true);
        read(&[], false);
        read(&[("purpose", "backup")], false);
        read(&[("purpose", "backup"), ("region", "south")], false);
        read(&[("purpose", "backup"), ("region", "north"), ("stray", "1")], false);
        let context = EncryptionContext::from([("tenant", "green")]);
        Reading { client: &client, keyring: &Unasked, context: &context }
            .refuses(&message, b"", |error| matches!(error, Error::Context(ContextError::Mismatch)));
    }
    // If nothing is left out, nothing is added, not even a count of zero.
    let mut forge = Forge::new(0x0478);
    forge.required = vec![0, 0];
    refuses(&forge, &forge.message(TEXT), b"", is_integrity);
}

#[test]
fn wrong_5_a_context_pair_that_is_not_stored_is_written_so() {
    let base = Forge::new(0x0478);
    let manager = altered_encryption(&base, |materials| {
        materials.required_context_keys.insert("tenant".into());
    });
    let suite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    let context = [("tenant", "blue"), ("purpose", "backup")];
    let client = new_client();
    let encrypt = client.encrypt_with(&manager).suite(suite).frame_length(5).context(context);
    let sealed = encrypt.bytes(TEXT).wait().unwrap();
    let mut forge = rewritten(suite, &sealed.header, &[("purpose", "backup")], 5);
    forge.required = serialize_context(&[("tenant", "blue")]);
    assert_eq!(sealed.message, forge.message(TEXT));
}

#[test]
fn wrong_6_and_8_an_unsorted_header_is_verified_as_it_was_received() {
    let pairs = [("z", "1"), ("\u{10002}", "2"), ("\u{ff61}", "3"), ("a", "4")];
    let context = EncryptionContext::from(pairs);
    for suite in FOUR {
        let mut forge = Forge::new(suite);
        forge.set_context(&pairs);
        accepts(&forge, &forge.message(TEXT), TEXT);
        // The tag of the sorted form differs from the tag of this one.
        let mut sorted = pairs;
        sorted.sort_unstable();
        let mut other = forge.clone();
        other.set_context(&sorted);
        let mut message = forge.message(TEXT);
        let length = forge.header().len();
        message[length - 16..length].copy_from_slice(&other.header()[length - 16..]);
        refuses(&forge, &message, b"", is_integrity);
        // The keyring gets the sorted order.
        let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
        let mut whole = context.clone();
        if let Some(curve) = forge.signs() {
            whole.insert(PUBLIC_KEY, BASE64_STANDARD.encode(curve.public_key()));
        }
        let key = wrapped(&keyring, &whole, &forge.data_key);
        let message = with_keys(forge, vec![key]).message(TEXT);
        reading(&reads_all(), &keyring).accepts(&message, TEXT);
    }
}

#[test]
fn wrong_7_an_empty_context_is_a_length_of_zero() {
    for suite in [AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha256, AlgorithmSuite::Aes256GcmHkdfSha512CommitKey] {
        let (header, message) = written(suite, &[], 5, TEXT);
        let at = if suite.is_committing() { 3 + 32 } else { 4 + 16 };
        // The length, then the number of encrypted data keys, then the first of their fields.
        assert_eq!(message[at..at + 6], [0, 0, 0, 1, 0, PROVIDER_ID.len() as u8]);
        assert!(header.context().is_empty());
        let mut forge = Forge::new(suite.id());
        forge.set_context(&[]);
        accepts(&forge, &forge.message(TEXT), TEXT);
    }
}

#[test]
fn wrong_7_and_9_what_the_raw_aes_keyring_writes() {
    let wrapping_key = [7; 32];
    let keyring = RawAesKeyring::new("example", "key-1", wrapping_key.to_vec()).unwrap();
    let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    for pairs in [&[][..], &[("a", "1"), ("b", "ä")]] {
        let context: EncryptionContext = pairs.iter().copied().collect();
        let sealed = new_client().encrypt(&keyring).suite(unsigned).context(context).bytes(TEXT).wait().unwrap();
        let key = &sealed.header.encrypted_data_keys()[0];
        assert_eq!(key.provider_id(), "example");
        let (fixed, iv) = key.provider_info().split_last_chunk::<12>().unwrap();
        // The tag length is in bits, the IV length in bytes.
        assert_eq!(fixed, b"key-1\0\0\0\x80\0\0\0\x0c");
        // The AAD is the context without its length in front; an empty context is no AAD.
        let (ciphertext, tag) = key.ciphertext().split_last_chunk::<16>().unwrap();
        let mut data_key = ciphertext.to_vec();
        let cipher = provider().aes_gcm(&wrapping_key).unwrap();
        cipher.open_in_place(iv, &serialize_context(pairs), &mut data_key, tag).unwrap();
        assert_eq!(data_key.len(), 32);
        let mut forge = rewritten(unsigned, &sealed.header, pairs, 4096);
        forge.keys = vec![[b"example".to_vec(), key.provider_info().to_vec(), key.ciphertext().to_vec()]];
        forge.data_key = data_key;
        assert_eq!(sealed.message, forge.message(TEXT));
    }
}

#[test]
fn wrong_9_other_parameters_of_a_raw_aes_key_are_no_match() {
    let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    let context = EncryptionContext::from([("tenant", "blue")]);
    let forge = Forge::new(0x0478);
    let key = wrapped(&keyring, &context, &forge.data_key);
    let right = with_keys(forge.clone(), vec![key.clone()]).message(TEXT);
    assert!(new_client().decrypt(&keyring).bytes(&right).wait().is_ok());
    let mut infos = Vec::new();
    for (at, value) in [(8, 16), (12, 96), (5, 1), (9, 1)] {
        let mut info = key[1].clone();
        info[at] = value;
        infos.push(info);
    }
    infos.push(key[1][..key[1].len() - 1].to_vec());
    infos.push([&key[1][..], &[0]].concat());
    infos.push(b"key-1".to_vec());
    for info in infos {
        let bad = [key[0].clone(), info.clone(), key[2].clone()];
        let message = with_keys(forge.clone(), vec![bad]).message(TEXT);
        assert!(is_no_match(&failure(new_client().decrypt(&keyring).bytes(&message).wait())), "{info:?}");
    }
    // A ciphertext that is shorter than its tag, or does not authenticate, is not a match either.
    let mut altered = key[2].clone();
    altered[0] ^= 1;
    for ciphertext in [vec![], key[2][..15].to_vec(), altered] {
        let bad = [key[0].clone(), key[1].clone(), ciphertext];
        let message = with_keys(forge.clone(), vec![bad.clone()]).message(TEXT);
        assert!(matches!(new_client().decrypt(&keyring).bytes(&message).wait(), Err(Error::NotUnwrapped(_))));
        let message = with_keys(forge.clone(), vec![bad, key.clone()]).message(TEXT);
        assert_eq!(new_client().decrypt(&keyring).bytes(&message).wait().unwrap().opened_by.encrypted_data_key, 1);
    }
}

#[test]
fn wrong_10_a_whole_number_of_frames_ends_in_either_way() {
    for suite in FOUR {
        let forge = Forge::new(suite);
        let full = [forge.regular(1, &TEXT[..5]), forge.last(2, &TEXT[5..10])];
        accepts(&forge, &forge.with_body(&full), &TEXT[..10]);
        let empty = [forge.regular(1, &TEXT[..5]), forge.regular(2, &TEXT[5..10]), forge.last(3, b"")];
        accepts(&forge, &forge.with_body(&empty), &TEXT[..10]);
    }
}

#[test]
fn wrong_11_and_12_signature_and_public_key_are_those_of_the_others() {
    let suites = [
        (AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256EcdsaP256, Curve::P256, 71),
        (AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha384EcdsaP384, Curve::P384, 103),
        (AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384, Curve::P384, 103),
    ];
    for (suite, curve, length) in suites {
        for _ in 0..8 {
            let (header, message) = written(suite, &[("tenant", "blue")], 5, TEXT);
            let public_key = BASE64_STANDARD.decode(header.context().get(PUBLIC_KEY).unwrap()).unwrap();
            assert_eq!(public_key.len(), 1 + curve.length());
            assert!(matches!(public_key[0], 2 | 3));
            // Everything before the footer is signed.
            let (signed, footer) = message.split_at(message.len() - 2 - length);
            assert_eq!(footer[..2], (length as u16).to_be_bytes());
            assert!(curve.verifies(&public_key, signed, &footer[2..]));
            assert!(!curve.verifies(&public_key, &signed[1..], &footer[2..]));
        }
    }
}

#[test]
fn wrong_12_lengths_count_bytes() {
    let (header, message) = written(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, &[("ä", "€𐀂")], 5, TEXT);
    let serialized = b"\0\x0f\0\x01\0\x02\xc3\xa4\0\x07\xe2\x82\xac\xf0\x90\x80\x82";
    assert_eq!(message[35..35 + serialized.len()], serialized[..]);
    assert_eq!(header.context().get("ä"), Some("€𐀂"));
}

#[test]
fn wrong_13_the_default_suites() {
    let forge = Forge::new(0x0578);
    for (policy, id) in [
        (CommitmentPolicy::ForbidEncryptAllowDecrypt, 0x0378),
        (CommitmentPolicy::RequireEncryptAllowDecrypt, 0x0578),
        (CommitmentPolicy::RequireEncryptRequireDecrypt, 0x0578),
    ] {
        let client = client_builder().commitment_policy(policy).build();
        let sealed = client.encrypt(&forge.keyring()).bytes(TEXT).wait().unwrap();
        assert_eq!(sealed.header.suite().id(), id);
        assert_eq!(client.decrypt(&forge.keyring()).bytes(&sealed.message).wait().unwrap().plaintext, TEXT);
    }
    // A suite that the policy forbids is refused before the keyring is called.
    for suite in AlgorithmSuite::ALL {
        let client = if suite.is_committing() { writes_v1() } else { new_client() };
        let refused = client.encrypt(&Unasked).suite(suite).bytes(TEXT).wait();
        assert!(matches!(refused, Err(Error::Commitment { operation: Direction::Encrypt, .. })), "{suite}");
    }
}

#[test]
fn wrong_14_what_not_every_sdk_reads_is_not_written() {
    let (client, forge) = (new_client(), Forge::new(0x0478));
    let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    let write = |value: String| {
        client.encrypt(&forge.keyring()).suite(unsigned).context([("k", value)]).bytes(TEXT).wait().map(|_| ())
    };
    write("v".repeat(32_767 - 7)).unwrap();
    for length in [32_768, 65_535, 70_000] {
        let refused = write("v".repeat(length - 7));
        let expected = matches!(
            refused,
            Err(Error::Context(ContextError::TooLong { limit: 32_767, found })) if found == length
        );
        assert!(expected, "{refused:?}");
    }
    // The public key counts too.
    let refused = client.encrypt(&forge.keyring()).context([("k", "v".repeat(32_760))]).bytes(TEXT).wait();
    assert!(matches!(refused, Err(Error::Context(ContextError::TooLong { .. }))));

    for pair in [("", "value"), ("key", "")] {
        let refused = client.encrypt(&Unasked).context([pair]).bytes(TEXT).wait();
        assert!(matches!(refused, Err(Error::Context(ContextError::Empty))));
    }
    for frame_length in [0, 1 << 31, u32::MAX] {
        let refused = client.encrypt(&Unasked).frame_length(frame_length).bytes(TEXT).wait();
        assert!(matches!(refused, Err(Error::Configuration(_))));
    }
    // A client does not write what it would not read.
    let refused = client.encrypt(&forge.keyring()).frame_length((64 << 20) + 1).bytes(TEXT).wait();
    assert!(matches!(refused, Err(Error::Limit(LimitError::FrameLength { limit: 0x0400_0000, found: 0x0400_0001 }))));
    let any = client_builder().max_frame_length(u32::MAX).build();
    any.encrypt(&forge.keyring()).frame_length((1 << 31) - 1).bytes(TEXT).wait().unwrap();

    // It reads such a message if another writer makes it.
    let mut forge = forge;
    let long = "v".repeat(65_535 - 7);
    for pairs in [&[("", "")][..], &[("key", "")], &[("k", long.as_str())]] {
        forge.set_context(pairs);
        accepts(&forge, &forge.message(TEXT), TEXT);
    }
}
