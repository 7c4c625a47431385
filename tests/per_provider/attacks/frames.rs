//! The body: all frames, in order, each of its own kind, and none sealed twice.

use super::*;

#[test]
fn attack_7_frames_out_of_place_are_refused() {
    let number = |expected, found| is_format(FormatError::SequenceNumber { expected, found });
    for suite in FOUR {
        let forge = Forge::new(suite);
        let [a, b, c, last] = forge.frames(TEXT).try_into().unwrap();
        let body = |pieces: &[&Vec<u8>]| forge.with_body(&pieces.iter().copied().cloned().collect::<Vec<_>>());
        // Reordered, dropped, duplicated; the signature is valid for each of these.
        refuses(&forge, &body(&[&b, &a, &c, &last]), b"", number(1, 2));
        refuses(&forge, &body(&[&a, &c, &b, &last]), &TEXT[..5], number(2, 3));
        refuses(&forge, &body(&[&b, &c, &last]), b"", number(1, 2));
        refuses(&forge, &body(&[&a, &b, &last]), &TEXT[..10], number(3, 4));
        refuses(&forge, &body(&[&last]), b"", number(1, 4));
        refuses(&forge, &body(&[&a, &a, &b, &c, &last]), &TEXT[..5], number(2, 1));
        refuses(&forge, &body(&[&a, &b, &c, &c, &last]), REGULAR, number(4, 3));
        // Numbers that the format does not have: frames count from 1.
        let zero = forge.regular(0, &TEXT[..5]);
        refuses(&forge, &body(&[&zero, &a, &b, &c, &last]), b"", number(1, 0));
        let far = forge.last(u32::MAX, &TEXT[15..]);
        refuses(&forge, &body(&[&a, &b, &c, &far]), REGULAR, number(4, u32::MAX));

        // Frame 2 under the number of frame 1.
        let mut renumbered = b.clone();
        renumbered[..4].copy_from_slice(&a[..4]);
        refuses(&forge, &body(&[&renumbered, &b, &c, &last]), b"", is_integrity);
        renumbered[4..16].copy_from_slice(&a[4..16]);
        refuses(&forge, &body(&[&renumbered, &b, &c, &last]), b"", is_integrity);

        // The same position of another message, with the same data key or the same id.
        let mut other_id = forge.clone();
        other_id.message_id[0] ^= 1;
        let other_key = Forge { data_key: vec![0x43; 32], ..forge.clone() };
        for other in [other_id, other_key] {
            let [_, foreign, _, foreign_last] = other.frames(TEXT).try_into().unwrap();
            refuses(&forge, &body(&[&a, &foreign, &c, &last]), &TEXT[..5], is_integrity);
            refuses(&forge, &body(&[&a, &b, &c, &foreign_last]), REGULAR, is_integrity);
        }
    }
}

#[test]
fn attack_8_a_message_ends_where_it_ends() {
    for suite in FOUR {
        let forge = Forge::new(suite);
        let signed = forge.signs().is_some();
        let frames = forge.frames(TEXT);
        let is_truncated = |error: &Error| matches!(error, Error::Format(FormatError::Truncated));
        // No final frame; the bytes of the footer are then read as a frame that does not end.
        let open = [forge.header(), frames[..3].concat()].concat();
        refuses(&forge, &open, REGULAR, is_truncated);
        refuses(&forge, &forge.header(), b"", is_truncated);
        refuses(&forge, &[&open[..], &FINAL_MARK].concat(), REGULAR, is_truncated);
        refuses(&forge, b"", b"", is_truncated);

        let held = if signed { REGULAR } else { TEXT };
        let is_trailing = |error: &Error| matches!(error, Error::Format(FormatError::TrailingBytes));
        let message = forge.message(TEXT);
        refuses(&forge, &[&message[..], &[0]].concat(), held, is_trailing);
        refuses(&forge, &[&message[..], &message].concat(), held, is_trailing);
        let unframed = forge.unframed_message(TEXT);
        refuses(&forge, &[&unframed[..], &[0]].concat(), if signed { b"" } else { TEXT }, is_trailing);

        // A second final frame, which is authentic, and signed in a signed message.
        for second in [forge.last(5, b"more"), forge.last(4, b"more")] {
            let mut pieces = frames.clone();
            pieces.push(second);
            refuses(&forge, &forge.with_body(&pieces), held, |error| match error {
                Error::Format(FormatError::TrailingBytes) => !signed,
                // It starts with FF FF in the position of the signature's length.
                Error::Format(FormatError::SignatureLength(0xffff)) => signed,
                _ => false,
            });
        }
    }
}

#[test]
fn attack_9_the_kind_of_a_frame_is_authenticated() {
    for suite in FOUR {
        let forge = Forge::new(suite);
        let frames = forge.frames(TEXT);
        // A regular frame in the form of the final one, where the message is truncated: the text
        // would lose its end.
        let regular = &frames[1];
        let as_final = [&FINAL_MARK[..], &regular[..16], &5_u32.to_be_bytes(), &regular[16..]].concat();
        refuses(&forge, &forge.with_body(&[frames[0].clone(), as_final]), &TEXT[..5], is_integrity);
        // A full final frame in the form of a regular one: the text would continue.
        let full = forge.last(1, &TEXT[..5]);
        let as_regular = [&full[4..20], &full[24..]].concat();
        let pieces = [as_regular, forge.last(2, b"more")];
        refuses(&forge, &forge.with_body(&pieces), b"", is_integrity);
        // An unframed body in the form of a final frame.
        let block = forge.unframed(&TEXT[..5]);
        let as_final =
            [&FINAL_MARK[..], &1_u32.to_be_bytes(), &block[..12], &5_u32.to_be_bytes(), &block[20..]].concat();
        refuses(&forge, &forge.with_body(&[as_final]), b"", is_integrity);
        // The length is authenticated with each piece.
        let aad = [&forge.message_id[..], FINAL_LABEL, &1_u32.to_be_bytes(), &6_u64.to_be_bytes()].concat();
        let sealed = forge.seal(iv_of(1), &aad, &TEXT[..5]);
        let other_length = [&FINAL_MARK[..], &1_u32.to_be_bytes(), &iv_of(1), &5_u32.to_be_bytes(), &sealed].concat();
        refuses(&forge, &forge.with_body(&[other_length]), b"", is_integrity);
    }
}

#[test]
fn attack_9_a_final_frame_longer_than_frames_is_refused_at_its_length() {
    for suite in FOUR {
        let forge = Forge::new(suite);
        let expected = |found| is_format(FormatError::FinalFrameLength { frame_length: 5, found });
        refuses(&forge, &forge.with_body(&[forge.last(1, &TEXT[..6])]), b"", expected(6));
        // Not a byte of content is needed to detect it.
        let declared = [&FINAL_MARK[..], &1_u32.to_be_bytes(), &iv_of(1), &[0xff; 4]].concat();
        refuses(&forge, &[forge.header(), declared].concat(), b"", expected(u32::MAX));
    }
}

/// A source that fails occasionally, and continues where it was.
struct Faltering<'a>(&'a [u8], u32);

impl Read for Faltering<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 += 1;
        if !self.1.is_multiple_of(3) {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(7);
        self.0.read(&mut buffer[..count])
    }
}

#[test]
fn attack_26_and_27_no_key_seals_twice_under_one_iv() {
    let watched = Fronted::watched();
    let client = Client::builder_with_provider(watched.clone()).build();
    let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    // The same plaintext repeatedly; one of the sources has failures that are retried.
    for _ in 0..3 {
        client.encrypt(&keyring).frame_length(5).bytes(TEXT).wait().unwrap();
        let mut reader = client.encrypt(&keyring).frame_length(5).reader(Faltering(TEXT, 0)).wait().unwrap();
        let mut message = Vec::new();
        while let Err(error) = reader.read_to_end(&mut message) {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
        assert_eq!(client.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext, TEXT);
    }
    let log = watched.log();
    let pairs: HashSet<_> = log.sealed.iter().map(|sealed| (&sealed.key, sealed.iv)).collect();
    // Six messages, each with a wrapped key, a header and four frames.
    assert_eq!((pairs.len(), log.sealed.len()), (36, 36));
}
