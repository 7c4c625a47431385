//! What a message only declares.

use super::*;

#[test]
fn attack_5_the_limit_on_encrypted_data_keys_acts_on_their_count() {
    for suite in FOUR {
        let mut forge = Forge::new(suite);
        forge.key_count = 65_535;
        // Nothing follows the count.
        let refused = HeaderDecoder::new().push(&forge.header_to_key_count()).map(|_| ());
        let expected =
            |error: &Error| matches!(error, Error::Limit(LimitError::EncryptedDataKeys { limit: 64, found: 65_535 }));
        assert!(expected(&refused.unwrap_err()));
        refuses_unasked(&forge.header_to_key_count(), expected);

        forge.key_count = 0;
        let refused = HeaderDecoder::new().push(&forge.header_to_key_count()).map(|_| ());
        assert!(matches!(refused, Err(Error::Format(FormatError::NoEncryptedDataKeys))));
        forge.keys.clear();
        refuses_unasked(&forge.message(TEXT), |error| matches!(error, Error::Format(FormatError::NoEncryptedDataKeys)));
    }
}

#[test]
fn attack_5_the_limit_on_encrypted_data_keys_is_the_clients() {
    let mut forge = Forge::new(0x0478);
    let key = forge.keys[0].clone();
    forge.keys = vec![key.clone(); 4];
    forge.key_count = 4;
    let message = forge.message(TEXT);
    let three = client_builder().max_encrypted_data_keys(3).build();
    reading(&three, &Unasked).refuses(&message, b"", |error| {
        matches!(error, Error::Limit(LimitError::EncryptedDataKeys { limit: 3, found: 4 }))
    });
    let four = client_builder().max_encrypted_data_keys(4).build();
    reading(&four, &forge.keyring()).accepts(&message, TEXT);

    // A header that another decoder has read.
    let (received, _) = HeaderDecoder::new().decode(&message).unwrap();
    let refused = three.decrypt(&Unasked).release_unverified().machine(received).wait().map(|_| ());
    assert!(matches!(refused, Err(Error::Limit(LimitError::EncryptedDataKeys { limit: 3, found: 4 }))));

    // The most that the format allows, if the caller permits it.
    forge.keys = vec![Default::default(); 65_535];
    forge.keys[65_534] = key;
    forge.key_count = 65_535;
    let all = client_builder().max_encrypted_data_keys(65_535).build();
    let opened = all.decrypt(&forge.keyring()).bytes(&forge.message(TEXT)).wait().unwrap();
    assert_eq!((&opened.plaintext[..], opened.opened_by.encrypted_data_key), (TEXT, 65_534));

    // The same for encryption.
    let raw = |name: &str| RawAesKeyring::new("example", name, vec![7; 32]).unwrap();
    let many = MultiKeyring::new(raw("1")).child(raw("2")).child(raw("3")).child(raw("4"));
    let refused = three.encrypt(&many).bytes(TEXT).wait();
    assert!(matches!(refused, Err(Error::Limit(LimitError::EncryptedDataKeys { limit: 3, found: 4 }))));
    assert!(four.encrypt(&many).bytes(TEXT).wait().is_ok());
}

#[test]
fn attack_10_an_unframed_body_longer_than_aes_gcm_carries_is_refused_first() {
    let most: u64 = (1 << 36) - 32;
    for suite in FOUR {
        let forge = Forge { content_type: 1, frame_length: 0, ..Forge::new(suite) };
        for length in [most + 1, u64::MAX] {
            let message = [&forge.header()[..], &iv_of(1), &length.to_be_bytes()].concat();
            refuses(
                &forge,
                &message,
                b"",
                |error| matches!(error, Error::Format(FormatError::UnframedLength(found)) if *found == length),
            );
        }
        // The longest possible length exceeds the limit of the client, which also applies to
        // declarations.
        let message = [&forge.header()[..], &iv_of(1), &most.to_be_bytes()].concat();
        refuses(&forge, &message, b"", is_limit(LimitError::FrameLength { limit: 64 << 20, found: most }));
    }
}

#[test]
fn attack_11_the_callers_limit_acts_on_the_declared_frame_length() {
    for suite in FOUR {
        for found in [u32::MAX, (64 << 20) + 1] {
            let forge = Forge { frame_length: found, ..Forge::new(suite) };
            refuses_unasked(
                &forge.header(),
                is_limit(LimitError::FrameLength { limit: 64 << 20, found: found.into() }),
            );
            // The decoder itself refuses it.
            assert!(matches!(HeaderDecoder::new().push(&forge.header()), Err(Error::Limit(_))));
        }
        let small = client_builder()
            .commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
            .max_frame_length(4)
            .build();
        let forge = Forge::new(suite);
        let expected = |found| is_limit(LimitError::FrameLength { limit: 4, found });
        reading(&small, &Unasked).refuses(&forge.message(TEXT), b"", expected(5));
        reading(&small, &forge.keyring()).refuses(&forge.unframed_message(TEXT), b"", expected(17));
        // At the limit it is read.
        let five = client_builder()
            .commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
            .max_frame_length(5)
            .build();
        reading(&five, &forge.keyring()).accepts(&forge.message(TEXT), TEXT);
        reading(&five, &forge.keyring()).accepts(&forge.unframed_message(&TEXT[..5]), &TEXT[..5]);
        // A declaration that nothing follows ends like any other truncated message.
        let any = client_builder()
            .commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
            .max_frame_length(u32::MAX)
            .build();
        let forge = Forge { frame_length: u32::MAX, ..forge };
        let start = [&forge.header()[..], &1_u32.to_be_bytes(), &iv_of(1), b"some"].concat();
        reading(&any, &forge.keyring())
            .refuses(&start, b"", |error| matches!(error, Error::Format(FormatError::Truncated)));
        let whole = forge.message(TEXT);
        reading(&any, &forge.keyring()).accepts(&whole, TEXT);
    }
}

#[test]
fn attack_11_the_callers_limit_acts_on_the_header_length() {
    let forge = Forge::new(0x0478);
    let message = forge.message(TEXT);
    let length = forge.header().len();
    let exact = client_builder().max_header_length(length).build();
    reading(&exact, &forge.keyring()).accepts(&message, TEXT);
    let short = client_builder().max_header_length(length - 1).build();
    reading(&short, &Unasked).refuses(
        &message,
        b"",
        |error| matches!(error, Error::Limit(LimitError::HeaderLength { limit }) if *limit == length - 1),
    );
}
