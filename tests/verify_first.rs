//! A source that is read twice gives the plaintext of the bytes that were verified, or nothing.

use std::{
    fs::File,
    io::{self, Cursor, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sealwax::{
    Error, FormatError,
    io::{DecryptingReader, ReadAt, Seekable, Sequential, Verified},
};

use crate::{
    alone,
    forge::{Forge, ways::reads_all},
    heap::{Cost, cost, cost_once},
    support::pattern,
};

const MIB: usize = 1 << 20;
const SUITES: [u16; 6] = [0x0178, 0x0214, 0x0346, 0x0378, 0x0478, 0x0578];

/// A source that changes into another one: after a number of reads, or on request.
struct Changing {
    before: Vec<u8>,
    after: Vec<u8>,
    /// The number of reads before the change.
    reads_left: AtomicU64,
}

impl Changing {
    fn new(before: &[u8], after: Vec<u8>) -> Self {
        Self { before: before.to_vec(), after, reads_left: AtomicU64::new(u64::MAX) }
    }

    fn change(&self) {
        self.reads_left.store(0, Ordering::Relaxed);
    }

    fn now(&self) -> &Vec<u8> {
        if self.reads_left.load(Ordering::Relaxed) > 0 { &self.before } else { &self.after }
    }
}

impl ReadAt for Changing {
    fn size(&self) -> io::Result<u64> {
        self.now().size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let outcome = self.now().read_exact_at(offset, buffer);
        let _ = self.reads_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        outcome
    }
}

/// Returns a signed message, and one of another plaintext under the same key and message id whose
/// signature is invalid: an attacker who can unwrap the data key can write it.
fn twins(length: usize) -> (Forge, Vec<u8>, [Vec<u8>; 2]) {
    let forge = Forge { frame_length: 60_000, ..Forge::new(0x0578) };
    let text = pattern(length);
    let other: Vec<u8> = text.iter().map(|byte| byte ^ 0xff).collect();
    let mut messages = [forge.message(&text), forge.message(&other)];
    *messages[1].last_mut().unwrap() ^= 1;
    (forge, text, messages)
}

#[test]
fn every_message_reads_the_same() {
    let _alone = alone();
    for suite in SUITES {
        for length in [0, 1, 5, 17, 3 * MIB + 1] {
            let forge = Forge { frame_length: if length > 100 { 4096 } else { 5 }, ..Forge::new(suite) };
            let text = pattern(length);
            for message in [forge.message(&text), forge.unframed_message(&text)] {
                let what = format!("{suite:#06x}, {length}");
                let (client, keyring) = (reads_all(), forge.keyring());
                let decrypt = || client.decrypt(&keyring).context([("tenant", "blue")]);
                let mut plaintext = Vec::new();
                let mut reader =
                    decrypt().open_at(&message[..]).expect(&what).verify().expect(&what).into_reader().expect(&what);
                reader.read_to_end(&mut plaintext).expect(&what);
                assert!(plaintext == text, "{what}");
                assert_eq!(reader.read(&mut [0; 10]).unwrap(), 0);
                assert_eq!(reader.header().suite().id(), suite);

                let mut plaintext = Vec::new();
                let seekable = Seekable::new(Cursor::new(message.clone()));
                let opened = decrypt()
                    .open_at(seekable)
                    .expect(&what)
                    .verify()
                    .expect(&what)
                    .copy_to(&mut plaintext)
                    .expect(&what);
                assert!(plaintext == text, "{what}");
                assert_eq!(opened.header.suite().id(), suite);
            }
            let (client, keyring) = (reads_all(), forge.keyring());
            let message = forge.message(&text);
            let reader =
                client.decrypt(&keyring).open_at(&message[..]).unwrap().verify().unwrap().into_ranges().unwrap();
            assert_eq!(reader.len(), length as u64);
            for start in [0, length / 3, length.saturating_sub(1)] {
                for end in [start, length / 2, length] {
                    let expected = text.get(start..end).unwrap_or_default();
                    assert!(reader.read_range(start as u64..end as u64).unwrap() == expected, "{suite:#06x}");
                }
            }
            let unframed = forge.unframed_message(&text);
            let refused = client
                .decrypt(&keyring)
                .open_at(&unframed[..])
                .and_then(|message| message.verify())
                .and_then(|message| message.into_ranges());
            assert!(matches!(refused.err(), Some(Error::Unframed)));
        }
    }
}

#[test]
fn whatever_is_altered_releases_nothing() {
    let _alone = alone();
    for suite in [0x0378, 0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let (client, keyring) = (reads_all(), forge.keyring());
        let message = forge.message(b"0123456789abcdefg");
        let refuses = |message: &[u8], what: &str| {
            let mut released = Vec::new();
            let outcome = client
                .decrypt(&keyring)
                .open_at(message)
                .and_then(|message| message.verify())
                .and_then(|message| message.copy_to(&mut released));
            assert!(outcome.is_err() && released.is_empty(), "{suite:#06x}, {what}");
            assert!(
                client
                    .decrypt(&keyring)
                    .open_at(message)
                    .and_then(|message| message.verify())
                    .and_then(|message| message.into_reader())
                    .is_err(),
                "{suite:#06x}, {what}"
            );
            assert!(
                client
                    .decrypt(&keyring)
                    .open_at(message)
                    .and_then(|message| message.verify())
                    .and_then(|message| message.into_ranges())
                    .is_err(),
                "{suite:#06x}, {what}"
            );
        };
        for at in 0..message.len() {
            for bit in 0..8 {
                let mut altered = message.clone();
                altered[at] ^= 1 << bit;
                refuses(&altered, &format!("bit {bit} of byte {at}"));
            }
            refuses(&message[..at], &format!("the first {at} bytes"));
        }
        refuses(&[&message[..], b"x"].concat(), "one byte more");
    }
}

#[test]
fn attack_28_a_source_that_changes_after_it_was_verified_releases_nothing_of_the_change() {
    let _alone = alone();
    let (forge, text, [message, twin]) = twins(3 * MIB + 500_000);
    let (client, keyring) = (reads_all(), forge.keyring());
    // The twin is authentic under the data key, except for its signature: only the digests
    // distinguish it.
    let unverified = client.decrypt(&keyring).release_unverified().open_at(&twin[..]).unwrap().into_ranges().unwrap();
    assert_ne!(unverified.read_range(0..100).unwrap(), text[..100]);

    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut after = message.clone();
        change(&mut after);
        after
    };
    // The changed source, and the first segment in which it differs.
    let changes: Vec<(&str, Vec<u8>, usize)> = vec![
        ("another message", twin.clone(), 0),
        ("its second segment from another", with(&|after| after[MIB..2 * MIB].copy_from_slice(&twin[MIB..2 * MIB])), 1),
        (
            "two segments swapped",
            with(&|after| {
                let (first, second) = after.split_at_mut(2 * MIB);
                first[MIB..].swap_with_slice(&mut second[..MIB]);
            }),
            1,
        ),
        ("one byte", with(&|after| after[2 * MIB + 5] ^= 1), 2),
        ("cut within a segment", with(&|after| after.truncate(2 * MIB + 5)), 2),
        ("cut between segments", with(&|after| after.truncate(2 * MIB)), 2),
        ("longer", with(&|after| after.push(0)), 3),
        ("emptied", Vec::new(), 0),
    ];
    for (what, after, segment) in changes {
        let decrypt = || client.decrypt(&keyring);
        let mut reader =
            decrypt().open_at(Changing::new(&message, after.clone())).unwrap().verify().unwrap().into_reader().unwrap();
        reader.get_ref().get_ref().get_ref().change();
        let released = release(&mut reader, what);
        assert!(text.starts_with(&released), "{what}: something else was released");
        assert!(released.len() <= segment * MIB, "{what}: {} bytes", released.len());
        assert!(released.len() + 130_000 >= segment * MIB, "{what}: {} bytes", released.len());

        let ranges =
            decrypt().open_at(Changing::new(&message, after)).unwrap().verify().unwrap().into_ranges().unwrap();
        // The final frame, and with it the last segment, has been read.
        ranges.get_ref().get_ref().change();
        let (start, end) = ((segment * MIB).min(3 * MIB - 200_000) as u64, (segment * MIB + 100_000) as u64);
        if segment < 3 {
            let mut buffer = vec![0xee; (end - start) as usize];
            let error = ranges.read_at(start, &mut buffer).unwrap_err();
            assert!(matches!(error, Error::SourceChanged), "{what}: {error:?}");
            assert!(buffer.iter().all(|byte| *byte == 0), "{what}: something was released");
        }
    }
}

/// Reads up to the error, which must report a change, and returns what was released before it.
fn release(reader: &mut DecryptingReader<Sequential<Verified<Changing>>>, what: &str) -> Vec<u8> {
    let mut released = Vec::new();
    let error = Error::from(reader.read_to_end(&mut released).unwrap_err());
    assert!(matches!(error, Error::SourceChanged), "{what}: {error:?}");
    assert!(matches!(Error::from(reader.read(&mut [0; 10]).unwrap_err()), Error::Ended), "{what}");
    released
}

/// Returns how many reads the first pass over a message takes.
fn first_pass(forge: &Forge, message: &[u8]) -> u64 {
    let (client, keyring) = (reads_all(), forge.keyring());
    let source = Changing::new(message, Vec::new());
    let reader = client.decrypt(&keyring).open_at(source).unwrap().verify().unwrap().into_reader().unwrap();
    u64::MAX - reader.get_ref().get_ref().get_ref().reads_left.load(Ordering::Relaxed)
}

#[test]
fn attack_28_a_change_at_any_moment_releases_nothing_else() {
    let _alone = alone();
    let (forge, text, [message, twin]) = twins(2 * MIB + 100_000);
    let (client, keyring) = (reads_all(), forge.keyring());
    let (mut refused_at_first, mut refused_later, mut passed) = (0, 0, 0);
    // At the beginning of the first pass, and from its end to the end of the second.
    let end = first_pass(&forge, &message);
    for reads in (0..4).chain(end - 4..end + 5) {
        for after in [twin.clone(), message[..MIB + 7].to_vec()] {
            let source = Changing::new(&message, after);
            source.reads_left.store(reads, Ordering::Relaxed);
            let mut released = Vec::new();
            match client
                .decrypt(&keyring)
                .open_at(source)
                .and_then(|message| message.verify())
                .and_then(|message| message.copy_to(&mut released))
            {
                Ok(_) => {
                    assert!(released == text, "{reads}");
                    passed += 1;
                }
                Err(error) => {
                    assert!(text.starts_with(&released) && released.len() < text.len(), "{reads}: {error}");
                    if released.is_empty() { refused_at_first += 1 } else { refused_later += 1 }
                }
            }
        }
    }
    assert!(refused_at_first > 3 && refused_later > 1 && passed > 1, "{refused_at_first} {refused_later} {passed}");
}

#[test]
fn attack_28_a_source_that_grows_while_it_is_verified_is_refused() {
    let _alone = alone();
    let (forge, _, [message, _]) = twins(MIB + 500_000);
    let (client, keyring) = (reads_all(), forge.keyring());
    let longer = [&message[..], b"x"].concat();
    let reads = first_pass(&forge, &message);
    assert!(reads > 20, "{reads}");
    // Up to the last read of the first pass. The original is complete and authentic.
    for at in [1, 2, reads / 2, reads] {
        let growing = || {
            let source = Changing::new(&message, longer.clone());
            source.reads_left.store(at, Ordering::Relaxed);
            source
        };
        let decrypt = || client.decrypt(&keyring);
        let is_changed = |error: Option<Error>| matches!(error, Some(Error::SourceChanged));
        assert!(
            is_changed(
                decrypt()
                    .open_at(growing())
                    .and_then(|message| message.verify())
                    .and_then(|message| message.into_reader())
                    .err()
            ),
            "{at}"
        );
        assert!(
            is_changed(
                decrypt()
                    .open_at(growing())
                    .and_then(|message| message.verify())
                    .and_then(|message| message.into_ranges())
                    .err()
            ),
            "{at}"
        );
        let mut released = Vec::new();
        assert!(
            is_changed(
                decrypt()
                    .open_at(growing())
                    .and_then(|message| message.verify())
                    .and_then(|message| message.copy_to(&mut released))
                    .err()
            ),
            "{at}"
        );
        assert!(released.is_empty(), "{at}");
    }
}

#[test]
fn attack_28_a_source_that_grows_after_it_was_verified_is_refused_at_its_last_segment() {
    let _alone = alone();
    let (forge, text, [message, _]) = twins(3 * MIB + 500_000);
    let (client, keyring) = (reads_all(), forge.keyring());
    let longer = [&message[..], b"x"].concat();
    let mut reader = client
        .decrypt(&keyring)
        .open_at(Changing::new(&message, longer.clone()))
        .unwrap()
        .verify()
        .unwrap()
        .into_reader()
        .unwrap();
    reader.get_ref().get_ref().get_ref().change();
    let released = release(&mut reader, "longer");
    assert!(text.starts_with(&released) && released.len() <= 3 * MIB, "{} bytes", released.len());

    let reader = client
        .decrypt(&keyring)
        .open_at(Changing::new(&message, longer))
        .unwrap()
        .verify()
        .unwrap()
        .into_ranges()
        .unwrap();
    reader.get_ref().get_ref().change();
    // The last segment was read with the final frame; it is read again once another has been read.
    assert_eq!(reader.read_range(0..100).unwrap(), text[..100]);
    let (start, mut buffer) = (3 * MIB as u64 + 100_000, [0xee; 1000]);
    assert!(matches!(reader.read_at(start, &mut buffer), Err(Error::SourceChanged)));
    assert_eq!(buffer, [0; 1000]);
    // The segments before it have not changed.
    assert_eq!(reader.read_range(MIB as u64..MIB as u64 + 100).unwrap(), text[MIB..MIB + 100]);
}

/// A file of zeros behind a message, of the length it declares: the zeros are not stored. It counts
/// the bytes read from it.
#[derive(Clone)]
struct Sparse {
    message: Arc<Vec<u8>>,
    size: u64,
    read: Arc<AtomicU64>,
    longest: Arc<AtomicU64>,
}

impl ReadAt for Sparse {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.longest.fetch_max(buffer.len() as u64, Ordering::Relaxed);
        for (byte, at) in buffer.iter_mut().zip(offset..) {
            *byte = self.message.get(at as usize).copied().unwrap_or_default();
        }
        Ok(())
    }
}

#[test]
fn a_declared_length_costs_no_more_than_what_is_authentic() {
    let _alone = alone();
    for suite in [0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let (client, keyring) = (reads_all(), forge.keyring());
        let whole = forge.message(b"text");
        // Behind a whole message, behind regular frames without an end, and behind a header.
        let frames = forge.frames(&pattern(100_000));
        let endless = [forge.header(), frames[..frames.len() - 1].concat()].concat();
        for message in [whole, endless, forge.header()] {
            for bits in [30, 40, 50, 62] {
                let (read, longest): (Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
                let message = Arc::new(message.clone());
                let source = Sparse { message, size: 1 << bits, read: read.clone(), longest: longest.clone() };
                let mut released = Vec::new();
                let decrypt = || client.decrypt(&keyring);
                let outcomes = [
                    decrypt()
                        .open_at(source.clone())
                        .and_then(|message| message.verify())
                        .and_then(|message| message.into_reader())
                        .err(),
                    decrypt()
                        .open_at(source.clone())
                        .and_then(|message| message.verify())
                        .and_then(|message| message.into_ranges())
                        .err(),
                    decrypt()
                        .open_at(source)
                        .and_then(|message| message.verify())
                        .and_then(|message| message.copy_to(&mut released))
                        .err(),
                ];
                assert!(outcomes.iter().all(|error| matches!(error, Some(Error::Format(_)))), "{outcomes:?}");
                assert!(released.is_empty());
                let (read, longest) = (read.load(Ordering::Relaxed), longest.load(Ordering::Relaxed));
                assert!(read <= 3 * MIB as u64, "2^{bits} bytes: {read} were read in three ways");
                assert!(longest <= 64 * 1024, "2^{bits} bytes: {longest} in one read");
            }
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_message() {
    let _alone = alone();
    let most = |length: usize| {
        let forge = Forge { frame_length: 4096, ..Forge::new(0x0578) };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&forge.message(&pattern(length))).unwrap();
        let (client, keyring) = (reads_all(), forge.keyring());
        let cost =
            cost(|| client.decrypt(&keyring).open_at(&file).unwrap().verify().unwrap().copy_to(io::sink()).unwrap());
        cost.most
    };
    let (short, long) = (most(3 * MIB), most(24 * MIB));
    assert!(long < 4 * MIB, "{long}");
    assert!(long.abs_diff(short) < 64 * 1024, "{short} and {long}");
}

#[cfg(unix)]
#[test]
fn what_cannot_be_read_twice_is_refused_with_the_choices() {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};
    let _alone = alone();
    let forge = Forge::new(0x0578);
    let (client, keyring) = (reads_all(), forge.keyring());
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&forge.message(b"text")).unwrap();
    drop(theirs);
    let pipe = File::from(OwnedFd::from(ours));
    let error = client
        .decrypt(&keyring)
        .open_at(&pipe)
        .and_then(|message| message.verify())
        .and_then(|message| message.copy_to(Vec::new()))
        .unwrap_err();
    assert!(matches!(error, Error::NotSeekable(_)), "{error:?}");
    assert!(error.to_string().contains("copy") && error.to_string().contains("unverified"), "{error}");
}

#[test]
fn a_source_that_lies_about_its_length_is_found_out() {
    struct Liar(Vec<u8>, u64);
    impl ReadAt for Liar {
        fn size(&self) -> io::Result<u64> {
            Ok(self.1)
        }
        fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.0.read_exact_at(offset, buffer)
        }
    }
    let _alone = alone();
    let forge = Forge::new(0x0578);
    let (client, keyring) = (reads_all(), forge.keyring());
    let message = forge.message(b"text");
    for size in [message.len() as u64 + 1, 1 << 40, u64::MAX] {
        let Cost { most, .. } = cost_once(|| {
            let error = client
                .decrypt(&keyring)
                .open_at(Liar(message.clone(), size))
                .and_then(|message| message.verify())
                .and_then(|message| message.copy_to(Vec::new()))
                .unwrap_err();
            assert!(matches!(error, Error::Format(FormatError::Truncated)), "{size}: {error:?}");
        });
        assert!(most < 10 * MIB, "{size}: {most}");
    }
}
