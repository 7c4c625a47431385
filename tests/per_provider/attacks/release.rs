//! What is released before a signature or a tag is verified: only what the name of the method
//! announces.

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(feature = "fs")]
use sealwax::io::Overwrite;
#[cfg(feature = "tokio")]
use sealwax::io::Tokio;

use super::*;

#[test]
fn attack_4_the_final_frame_is_held_until_the_signature_holds() {
    for suite in SIGNED {
        let forge = Forge::new(suite);
        refuses(&forge, &with_a_bad_signature(forge.message(TEXT)), REGULAR, is_integrity);
        // An unframed body is held as a whole, and so is a message of a single frame.
        refuses(&forge, &with_a_bad_signature(forge.unframed_message(TEXT)), b"", is_integrity);
        refuses(&forge, &with_a_bad_signature(forge.message(&TEXT[..5])), b"", is_integrity);
        // A truncated or missing footer counts no more than an invalid one.
        let message = forge.message(TEXT);
        let is_truncated = |error: &Error| matches!(error, Error::Format(FormatError::Truncated));
        refuses(&forge, &message[..message.len() - 1], REGULAR, is_truncated);
        let unsigned = [forge.header(), forge.frames(TEXT).concat()].concat();
        refuses(&forge, &unsigned, REGULAR, is_truncated);
    }
}

#[test]
fn attack_4_a_stream_of_a_signed_message_is_refused_before_any_unwrapping() {
    let client = reads_all();
    for suite in SIGNED {
        let forge = Forge::new(suite);
        for message in [forge.message(TEXT), forge.unframed_message(TEXT)] {
            let mut sink = Vec::new();
            let mut writer = client.decrypt(&Unasked).writer(&mut sink);
            let refused = writer.write_all(&message).map_err(Error::from);
            assert!(matches!(refused, Err(Error::SignedStream)), "{suite:#x}");
            assert!(matches!(writer.write(b"x").map_err(Error::from), Err(Error::Ended)));
            assert!(matches!(writer.finish().map(|_| ()), Err(Error::Ended)));
            assert!(sink.is_empty());

            let (received, _) = HeaderDecoder::new().decode(&message).unwrap();
            let refused = client.decrypt(&Unasked).machine(received).wait().map(|_| ());
            assert!(matches!(refused, Err(Error::SignedStream)), "{suite:#x}");
        }
    }
    // The same calls accept an unsigned one.
    let forge = Forge::new(0x0478);
    let (keyring, message) = (forge.keyring(), forge.message(TEXT));
    let mut text = Vec::new();
    client.decrypt(&keyring).open(&message[..]).unwrap().into_reader().unwrap().read_to_end(&mut text).unwrap();
    let mut writer = client.decrypt(&keyring).writer(Vec::new());
    writer.write_all(&message).unwrap();
    assert_eq!((&text[..], &writer.finish().unwrap().plaintext[..]), (TEXT, TEXT));
}

#[test]
fn attack_4_an_opened_signed_message_releases_nothing_before_its_signature_holds() {
    let client = reads_all();
    for suite in SIGNED {
        let forge = Forge::new(suite);
        let keyring = forge.keyring();
        for message in [forge.message(TEXT), forge.unframed_message(TEXT)] {
            // A source that can be read only once must be spooled, which needs temporary files.
            let read = |message: &[u8]| {
                let mut text = Vec::new();
                client.decrypt(&keyring).open(message)?.into_reader()?.read_to_end(&mut text)?;
                Ok(text)
            };
            let copy = |message: &[u8]| {
                let mut sink = Vec::new();
                let copied = client.decrypt(&keyring).open(message).and_then(|message| message.copy_to(&mut sink));
                assert!(copied.is_ok() || sink.is_empty(), "{suite:#x}");
                copied.map(|_| sink)
            };
            for opened in [read(&message), copy(&message)] {
                if cfg!(feature = "fs") {
                    assert_eq!(opened.unwrap(), TEXT, "{suite:#x}");
                } else {
                    assert!(matches!(opened, Err(Error::SignedStream)), "{suite:#x}");
                }
            }
            // The error comes from the step that verifies, before there is a reader.
            let bad = with_a_bad_signature(message.clone());
            let refused = client.decrypt(&keyring).open(&bad[..]).unwrap().into_reader().map(|_| ());
            let expected = |error: &Error| match cfg!(feature = "fs") {
                true => is_integrity(error),
                false => matches!(error, Error::SignedStream),
            };
            assert!(refused.is_err_and(|error| expected(&error)), "{suite:#x}");
            assert!(copy(&bad).is_err_and(|error| expected(&error)), "{suite:#x}");

            // An asynchronous reader, and ranges, cannot wait.
            #[cfg(feature = "tokio")]
            {
                let opened = ready(client.decrypt(&keyring).open_async(Tokio(&message[..])).into_future()).unwrap();
                assert!(matches!(opened.into_reader().map(|_| ()), Err(Error::SignedStream)), "{suite:#x}");
            }
            if message == forge.message(TEXT) {
                let ranges = client.decrypt(&keyring).open_at(&message[..]).unwrap().into_ranges().map(|_| ());
                assert!(matches!(ranges, Err(Error::SignedStream)), "{suite:#x}");
                let opened = ready(client.decrypt(&keyring).open_remote(Object(message)).into_future()).unwrap();
                assert!(matches!(ready(opened.into_ranges()).map(|_| ()), Err(Error::SignedStream)), "{suite:#x}");
            }
        }
    }
}

/// Signed messages below and above what a verified copy keeps in memory.
#[cfg(feature = "fs")]
fn signed_messages() -> Vec<(RawAesKeyring, Vec<u8>, Vec<u8>)> {
    [0, 1, 100_000, (1 << 20) + 300_000]
        .into_iter()
        .map(|length| {
            let plaintext: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
            let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
            let message = new_client().encrypt(&keyring).bytes(&plaintext).wait().unwrap().message;
            (keyring, plaintext, message)
        })
        .collect()
}

#[cfg(feature = "fs")]
#[test]
fn attack_4_a_copy_releases_nothing_of_a_signed_message_before_its_signature_holds() {
    let client = new_client();
    for (keyring, plaintext, message) in signed_messages() {
        let mut sink = Vec::new();
        client.decrypt(&keyring).open(&message[..]).unwrap().copy_to(&mut sink).unwrap();
        assert!(sink == plaintext);

        let cut = message[..message.len() - 1].to_vec();
        let longer = [&message[..], b"x"].concat();
        for bad in [with_a_bad_signature(message), cut, longer] {
            let mut sink = Vec::new();
            assert!(client.decrypt(&keyring).open(&bad[..]).and_then(|message| message.copy_to(&mut sink)).is_err());
            assert!(sink.is_empty(), "{} bytes were released", sink.len());
        }
    }
    // An unframed signed message is handled in the same way.
    let forge = Forge::new(0x0578);
    let message = forge.unframed_message(TEXT);
    let mut sink = Vec::new();
    client.decrypt(&forge.keyring()).open(&message[..]).unwrap().copy_to(&mut sink).unwrap();
    assert_eq!(sink, TEXT);
    let bad = with_a_bad_signature(message);
    let mut sink = Vec::new();
    let refused = client.decrypt(&forge.keyring()).open(&bad[..]).and_then(|message| message.copy_to(&mut sink));
    assert!(matches!(refused, Err(Error::Integrity)) && sink.is_empty());
}

#[cfg(not(feature = "fs"))]
#[test]
fn attack_4_without_temporary_files_a_copy_of_a_signed_message_is_refused() {
    let (forge, client) = (Forge::new(0x0578), new_client());
    let (message, keyring) = (forge.message(TEXT), forge.keyring());
    let open = || client.decrypt(&keyring).open(&message[..]).unwrap();
    let mut sink = Vec::new();
    assert!(matches!(open().copy_to(&mut sink), Err(Error::SignedStream)) && sink.is_empty());
    assert!(matches!(open().into_reader(), Err(Error::SignedStream)));
}

#[cfg(feature = "fs")]
#[test]
fn attack_4_a_file_appears_only_once_the_signature_holds() {
    let client = new_client();
    for (keyring, plaintext, message) in signed_messages() {
        let folder = tempfile::tempdir().unwrap();
        let (sealed, target) = (folder.path().join("sealed"), folder.path().join("target"));
        let names = || {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
        };
        std::fs::write(&sealed, with_a_bad_signature(message.clone())).unwrap();
        let refused = client.decrypt(&keyring).file(&sealed, &target, Overwrite::Never);
        assert!(matches!(refused, Err(Error::Integrity)), "{refused:?}");
        assert_eq!(names(), BTreeSet::from(["sealed".to_owned()]));

        // An existing target is unchanged.
        std::fs::write(&target, "before").unwrap();
        let refused = client.decrypt(&keyring).file(&sealed, &target, Overwrite::Replace);
        assert!(matches!(refused, Err(Error::Integrity)), "{refused:?}");
        assert_eq!(std::fs::read(&target).unwrap(), b"before");
        assert_eq!(names().len(), 2);

        std::fs::write(&sealed, &message).unwrap();
        client.decrypt(&keyring).file(&sealed, &target, Overwrite::Replace).unwrap();
        assert!(std::fs::read(&target).unwrap() == plaintext);
        assert_eq!(names().len(), 2);
    }
}

#[test]
fn attack_16_a_frame_that_fails_releases_nothing() {
    for suite in FOUR {
        let forge = Forge::new(suite);
        let mut frames = forge.frames(TEXT);
        // The first byte of the content and the last of the tag, of a regular frame and of the
        // final one.
        for (index, before) in [(1, &TEXT[..5]), (3, REGULAR)] {
            let length = frames[index].len();
            for at in [length - 16 - 1, length - 1] {
                frames[index][at] ^= 1;
                refuses(&forge, &forge.with_body(&frames), before, is_integrity);
                frames[index][at] ^= 1;
            }
        }
        let mut unframed = Forge { content_type: 1, frame_length: 0, ..forge.clone() }.unframed(TEXT);
        *unframed.last_mut().unwrap() ^= 1;
        let forge = Forge { content_type: 1, frame_length: 0, ..forge };
        refuses(&forge, &forge.with_body(&[unframed]), b"", is_integrity);
    }
}

#[test]
fn attack_16_what_was_not_taken_away_is_cleared() {
    let forge = Forge::new(0x0478);
    let mut frames = forge.frames(TEXT);
    frames[2][20] ^= 1;
    let message = forge.with_body(&frames);
    let (received, body) = HeaderDecoder::new().decode(&message).unwrap();
    let keyring = forge.keyring();
    let client = new_client();
    let mut machine = client.decrypt(&keyring).machine(received).wait().unwrap();
    let two_frames = 2 * frames[0].len();
    machine.push(&body[..two_frames]).unwrap();
    assert_eq!(machine.output(), &TEXT[..10]);
    assert!(matches!(machine.push(&body[two_frames..]), Err(Error::Integrity)));
    assert!(machine.output().is_empty());
    assert!(matches!(machine.push(b""), Err(Error::Ended)));
    assert!(matches!(machine.finish().map(|_| ()), Err(Error::Ended)));
}

/// An object in a store.
struct Object(Vec<u8>);

impl GetRange for Object {
    type Bytes = Vec<u8>;

    async fn size(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    async fn get_range(&self, range: std::ops::Range<u64>) -> std::io::Result<Vec<u8>> {
        Ok(self.0[range.start as usize..range.end as usize].to_vec())
    }
}

/// A buffer is cleared as a whole even if the provider panics in the last frame of a range.
#[test]
fn attack_16_a_provider_that_panics_in_a_range_leaves_no_plaintext() {
    let builder = Client::builder_with_provider(Fronted::panicking_after_it_wrote());
    let client = builder.commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt).build();
    let forge = Forge::new(0x0478);
    let keyring = forge.keyring();
    let mut frames = forge.frames(TEXT);
    *frames[2].last_mut().unwrap() ^= 1;
    let message = forge.with_body(&frames);
    // The third frame is opened last, as a whole and in part.
    for (start, end) in [(0, 15), (0, 12), (5, 15), (10, 15), (11, 13)] {
        let reader = client.decrypt(&keyring).open_at(&message[..]).unwrap().into_ranges().unwrap();
        let mut buffer = vec![0xee; end - start];
        let read = AssertUnwindSafe(|| reader.read_at(start as u64, &mut buffer).map(|_| ()));
        assert!(catch_unwind(read).is_err(), "{start}..{end}");
        assert!(buffer.iter().all(|byte| *byte == 0), "{start}..{end}: {buffer:?}");
        assert_eq!(reader.read_range(0..10).unwrap(), TEXT[..10], "{start}..{end}");

        let opened = ready(client.decrypt(&keyring).open_remote(Object(message.clone())).into_future());
        let reader = ready(opened.unwrap().into_ranges()).unwrap();
        let mut buffer = vec![0xee; end - start];
        let read = AssertUnwindSafe(|| ready(reader.read_at(start as u64, &mut buffer)).map(|_| ()));
        assert!(catch_unwind(read).is_err(), "{start}..{end}");
        assert!(buffer.iter().all(|byte| *byte == 0), "{start}..{end}: {buffer:?}");
    }
}

/// The provider promises nothing about what it leaves behind if a tag does not verify.
#[test]
fn attack_16_a_provider_that_writes_before_it_verifies_releases_nothing() {
    let hasty = || {
        let builder = Client::builder_with_provider(Fronted::writing_before_it_verifies());
        builder.commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
    };
    let client = hasty().build();
    for suite in FOUR {
        let forge = Forge::new(suite);
        let keyring = forge.keyring();
        reading(&client, &keyring).accepts(&forge.message(TEXT), TEXT);
        let mut frames = forge.frames(TEXT);
        for (index, before) in [(0, &b""[..]), (1, &TEXT[..5]), (2, &TEXT[..10]), (3, REGULAR)] {
            *frames[index].last_mut().unwrap() ^= 1;
            let message = forge.with_body(&frames);
            reading(&client, &keyring).refuses(&message, before, is_integrity);
            if index < 3 {
                let decrypt = || client.decrypt(&keyring);
                let (start, end) = (index * 5, index * 5 + 5);
                for (start, end) in [(start, end), (start + 1, end - 1), (0, end), (0, TEXT.len())] {
                    let reader = decrypt().release_unverified().open_at(&message[..]).unwrap().into_ranges().unwrap();
                    let mut buffer = vec![0xee; end - start];
                    assert!(matches!(reader.read_at(start as u64, &mut buffer), Err(Error::Integrity)));
                    assert!(buffer.iter().all(|byte| *byte == 0), "{suite:#06x}, {start}..{end}: {buffer:?}");

                    let opened =
                        ready(decrypt().release_unverified().open_remote(Object(message.clone())).into_future());
                    let reader = ready(opened.unwrap().into_ranges());
                    let mut buffer = vec![0xee; end - start];
                    let refused = ready(reader.unwrap().read_at(start as u64, &mut buffer));
                    assert!(matches!(refused, Err(Error::Integrity)));
                    assert!(buffer.iter().all(|byte| *byte == 0), "{suite:#06x}, {start}..{end}: {buffer:?}");
                }
            }
            *frames[index].last_mut().unwrap() ^= 1;
        }
    }

    // Several threads, on a message that is long enough for them.
    let text: Vec<u8> = (0..400_000).map(|at: u32| (at % 251) as u8).collect();
    for suite in [0x0478, 0x0578] {
        let forge = Forge { frame_length: 4096, ..Forge::new(suite) };
        let keyring = forge.keyring();
        let (mut message, sealed) = (forge.message(&text), 4096 + 32);
        let altered = 60;
        message[forge.header().len() + altered * sealed + sealed - 1] ^= 1;
        for threads in [2, 3, 8] {
            let client = hasty().threads(threads).build();
            for Outcome { way, released, end } in reading(&client, &keyring).every_way(&message) {
                assert!(matches!(end, Err(Error::Integrity)), "{way}: {end:?}");
                assert!(text[..altered * 4096].starts_with(&released), "{way}: {} bytes", released.len());
            }
        }
    }
}

#[test]
fn attack_16_a_writer_that_failed_gives_nothing_out() {
    let long = vec![7; 3_000_000];
    let (short, keyring) = (&b"0123456789abcdef"[..], Forge::new(0x0478).keyring());
    // On the calling thread, and with other threads that seal.
    for (threads, frame_length, text) in [(1, 5, short), (1, 4096, &long), (3, 4096, &long)] {
        let client = client_builder().threads(threads).build();
        let encrypt = client.encrypt(&keyring).suite(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey);
        let encrypt = encrypt.frame_length(frame_length).plaintext_length_bound(text.len() as u64);
        let mut machine = encrypt.machine().wait().unwrap();
        let (first, second) = text.split_at(text.len() - 3);
        machine.push(first).unwrap();
        assert!(!machine.output().is_empty(), "the header and some frames are ready");
        let refused = machine.push(b"more than the bound");
        assert!(matches!(refused, Err(Error::PlaintextTooLong { declared: true, .. })), "{refused:?}");
        for _ in 0..2 {
            assert!(machine.output().is_empty());
            // Not even what would still be within the bound is accepted.
            assert!(matches!(machine.push(second), Err(Error::Ended)));
            assert!(matches!(machine.push(b""), Err(Error::Ended)));
            assert!(matches!(machine.settle(), Err(Error::Ended)));
            machine.consume(1);
        }
        assert!(matches!(machine.finish(), Err(Error::Ended)));
    }
}
