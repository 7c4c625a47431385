//! Altered, exchanged and replaced messages.

use super::*;

#[test]
fn attack_25_every_change_of_a_message_is_refused() {
    for suite in [0x0178, 0x0478] {
        let forge = Forge::new(suite);
        for text in [&b"0123456789abcdefg"[..], b"0123456789"] {
            for message in messages(&forge, text) {
                assert_eq!(read_all(&forge, &message[..]).unwrap(), text);
                for at in 0..message.len() {
                    for bit in 0..8 {
                        let mut altered = message.clone();
                        altered[at] ^= 1 << bit;
                        assert!(read_all(&forge, altered).is_err(), "{suite:#06x}: bit {bit} of byte {at}");
                    }
                    assert!(read_all(&forge, &message[..at]).is_err(), "{suite:#06x}: the first {at} bytes");
                    let mut shorter = message.clone();
                    shorter.remove(at);
                    assert!(read_all(&forge, shorter).is_err(), "{suite:#06x}: without byte {at}");
                }
                for more in 1..100 {
                    let longer = [&message[..], &vec![0; more]].concat();
                    assert!(read_all(&forge, longer).is_err(), "{suite:#06x}: {more} bytes more");
                }
            }
        }
    }
}

#[test]
fn attack_25_a_length_is_that_of_a_verified_final_frame() {
    let forge = Forge::new(0x0478);
    let text = b"0123456789abcdefg";
    let message = forge.message(text);
    let frames = forge.frames(text);
    let start = forge.header().len();
    let position = |error: Error| assert!(matches!(error, Error::Format(FormatError::FinalFramePosition)), "{error:?}");
    // Truncated after a regular frame, which is then where the final one belongs.
    let cut = &message[..start + frames[0].len() + frames[1].len() + 8];
    position(open(&forge, cut).err().unwrap());
    // A final frame of the right length and key, but from another position.
    for number in [1, 2, 3, 5, u32::MAX] {
        position(
            open(&forge, [&forge.header()[..], &frames[..3].concat(), &forge.last(number, b"fg")].concat())
                .err()
                .unwrap(),
        );
    }
    // A final frame that is declared, but was never sealed.
    let mut forged = message.clone();
    let end = forged.len();
    forged[end - 1] ^= 1;
    assert!(matches!(open(&forge, forged).err(), Some(Error::Integrity)));
    // Whole frames removed from the middle, and a second final frame.
    position(open(&forge, [&forge.header()[..], &frames[0], &frames[3]].concat()).err().unwrap());
    let twice = [&message[..], &frames[3]].concat();
    assert!(matches!(open(&forge, twice).err(), Some(Error::Format(_))));
    // Too short for any frame.
    assert!(matches!(open(&forge, forge.header()).err(), Some(Error::Format(FormatError::Truncated))));
    assert!(matches!(open(&forge, &message[..20]).err(), Some(Error::Format(FormatError::Truncated))));
}

#[test]
fn attack_25_a_frame_counts_only_in_its_place() {
    let forge = Forge::new(0x0478);
    let text = b"0123456789abcdefghij";
    let (header, frames) = (forge.header(), forge.frames(text));
    let with = |order: [usize; 4]| [&header[..], &order.map(|at| frames[at].clone()).concat()].concat();
    for order in [[1, 0, 2, 3], [0, 0, 2, 3], [0, 2, 1, 3]] {
        let reader = open(&forge, with(order)).unwrap();
        let mut buffer = [0xee; 20];
        let error = reader.read_at(0, &mut buffer).unwrap_err();
        assert!(matches!(error, Error::Integrity), "{order:?}: {error:?}");
        assert_eq!(buffer, [0; 20], "what was not verified as a whole is cleared");
        // What is in its place can still be read.
        assert_eq!(reader.read_range(15..20).unwrap(), text[15..]);
    }
    // Correcting the number alone does not help: it is authenticated.
    let mut renumbered = frames[1].clone();
    renumbered[3] = 1;
    let message = [&header[..], &renumbered, &frames[1..].concat()].concat();
    assert!(matches!(open(&forge, message).unwrap().read_range(0..1), Err(Error::Integrity)));
    // Nor does a frame of another message under the same key.
    let other = Forge { message_id: vec![0x2e; 32], data_key: forge.data_key.clone(), ..Forge::new(0x0478) };
    let message = [&header[..], &other.frames(text)[0], &frames[1..].concat()].concat();
    assert!(matches!(open(&forge, message).unwrap().read_range(0..1), Err(Error::Integrity)));
}

#[test]
fn attack_25_a_buffer_is_cleared_as_a_whole_if_only_its_last_frame_fails() {
    let forge = Forge::new(0x0478);
    // Four regular frames of five bytes, and a final one of two.
    let text = b"0123456789abcdefghijkl";
    let (client, keyring) = (reads_all(), forge.keyring());
    // The altered frame, and ranges that open it last, as a whole or in part. The final frame is
    // kept from the beginning, so its part is in the buffer before the frame in front of it is
    // opened.
    let cases = [
        (2, 0..15),
        (2, 0..12),
        (2, 3..15),
        (2, 10..15),
        (2, 11..13),
        (3, 0..22),
        (3, 5..21),
        (3, 15..22),
        (3, 17..22),
    ];
    for (altered, range) in cases {
        let mut message = forge.message(text);
        message[forge.header().len() + (altered + 1) * (5 + 32) - 1] ^= 1;
        let (start, length) = (range.start as u64, range.len());
        let reader = open(&forge, &message[..]).unwrap();
        let mut buffer = vec![0xee; length];
        assert!(matches!(reader.read_at(start, &mut buffer), Err(Error::Integrity)), "{range:?}");
        assert!(buffer.iter().all(|byte| *byte == 0), "{range:?}: {buffer:?}");

        let reader = block_on(remote(client.decrypt(&keyring), Object(message.clone(), 0))).unwrap();
        let mut buffer = vec![0xee; length];
        assert!(matches!(block_on(reader.read_at(start, &mut buffer)), Err(Error::Integrity)), "{range:?}");
        assert!(buffer.iter().all(|byte| *byte == 0), "{range:?}: {buffer:?}");
        // Unaltered parts can still be read.
        assert_eq!(block_on(reader.read_range(0..10)).unwrap(), text[..10]);
    }
}

#[test]
fn attack_25_header_and_commitment_are_authenticated_first() {
    let forge = Forge::new(0x0478);
    let message = forge.message(b"0123456789abcdefg");
    let start = forge.header().len();
    let mut altered = message.clone();
    altered[start - 1] ^= 1;
    assert!(matches!(open(&forge, altered).err(), Some(Error::Integrity)));
    let mut altered = message.clone();
    // The last byte of the commitment, before the tag of the header.
    altered[start - 17] ^= 1;
    assert!(matches!(open(&forge, altered).err(), Some(Error::Integrity)));
    let green = reads_all();
    let (green, keyring) = (&green, forge.keyring());
    let refused = green
        .decrypt(&keyring)
        .context([("tenant", "green")])
        .open_at(&message[..])
        .and_then(|message| message.into_ranges());
    assert!(matches!(refused.err(), Some(Error::Context(_))));
}

#[test]
fn attack_25_signed_messages_are_refused_unless_by_name() {
    for suite in SIGNED {
        let forge = Forge::new(suite);
        for text in [&b"0123456789abcdefg"[..], b"0123456789", b""] {
            for message in messages(&forge, text) {
                assert!(matches!(open(&forge, &message[..]).err(), Some(Error::SignedStream)));
                let (client, keyring) = (reads_all(), forge.keyring());
                let asynchronous = remote(client.decrypt(&keyring), Object(message.clone(), 0));
                assert!(matches!(block_on(asynchronous).err(), Some(Error::SignedStream)));

                let open = |message| {
                    client
                        .decrypt(&keyring)
                        .release_unverified()
                        .open_at(message)
                        .and_then(|message| message.into_ranges())
                };
                let reader = open(message.clone()).unwrap();
                assert_eq!(reader.read_range(0..100).unwrap(), text, "{suite:#06x}");
                let decrypt = client.decrypt(&keyring).release_unverified();
                let asynchronous = block_on(remote(decrypt, Object(message.clone(), 0))).unwrap();
                assert_eq!(block_on(asynchronous.read_range(0..100)).unwrap(), text, "{suite:#06x}");
                // Without its footer, or with a part of it, it is not a valid message.
                let end = reader.plan(0..text.len() as u64).end.max(forge.header().len() as u64) as usize;
                for length in end..message.len() {
                    assert!(open(message[..length].to_vec()).is_err(), "{suite:#06x}: the first {length} bytes");
                }
                assert!(open([&message[..], b"x"].concat()).is_err(), "{suite:#06x}");
            }
        }
    }
}

#[test]
fn attack_25_unframed_messages_are_refused() {
    for suite in [0x0178, 0x0378, 0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let message = forge.unframed_message(b"text");
        assert!(matches!(open(&forge, &message[..]).err(), Some(Error::Unframed)), "{suite:#06x}");
        let (client, keyring) = (reads_all(), forge.keyring());
        let refused = client
            .decrypt(&keyring)
            .release_unverified()
            .open_at(&message[..])
            .and_then(|message| message.into_ranges());
        assert!(matches!(refused.err(), Some(Error::Unframed)), "{suite:#06x}");
    }
}

#[test]
fn attack_25_a_source_that_changes_or_lies_is_found_out() {
    let forge = Forge { frame_length: 100, ..Forge::new(0x0478) };
    let text = pattern(1000);
    let reader = open(&forge, Watched::new(forge.message(&text))).unwrap();
    reader.get_ref().altered.store(true, Ordering::Relaxed);
    let mut buffer = [0xee; 300];
    assert!(matches!(reader.read_at(50, &mut buffer), Err(Error::Integrity)));
    assert_eq!(buffer, [0; 300]);
    // It was not kept, and the reader continues once the source is right again.
    reader.get_ref().altered.store(false, Ordering::Relaxed);
    assert_eq!(reader.read_range(50..350).unwrap(), text[50..350]);

    for lie in [1, 33, 132, 1 << 20, 1 << 40, 1 << 62, u64::MAX - 5000, (-1_i64) as u64, (-132_i64) as u64] {
        let source = Watched::new(forge.message(&text));
        source.lies.store(lie, Ordering::Relaxed);
        let error = open(&forge, source).err().unwrap();
        assert!(matches!(error, Error::Format(_)), "{lie}: {error:?}");
    }
    let (client, keyring) = (reads_all(), forge.keyring());
    for more in [-1, 1] {
        let object = Object(forge.message(&text), more);
        assert!(block_on(remote(client.decrypt(&keyring), object)).is_err(), "{more} bytes more");
    }
}
