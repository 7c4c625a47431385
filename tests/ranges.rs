//! Range reads: they return what a slice of the plaintext contains, read no more than necessary,
//! and refuse what is altered.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use proptest::{collection::vec, prelude::*, sample::select};
use sealwax::{
    AlgorithmSuite, Client, Decrypt, Error, FormatError, LimitError, Result,
    io::{AsyncRangeReader, GetRange, RangeReader, ReadAt, Seekable},
};

use crate::{
    forge::{Forge, ways::reads_all},
    support::pattern,
};

const UNSIGNED: [u16; 7] = [0x0014, 0x0046, 0x0078, 0x0114, 0x0146, 0x0178, 0x0478];
const SIGNED: [u16; 4] = [0x0214, 0x0346, 0x0378, 0x0578];

/// Returns a message with frames of this length, and one whose final frame is empty because the one
/// before is full.
fn messages(forge: &Forge, text: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = vec![forge.message(text)];
    let frame_length = forge.frame_length as usize;
    if !text.is_empty() && text.len().is_multiple_of(frame_length) {
        let mut frames: Vec<_> =
            text.chunks(frame_length).enumerate().map(|(at, frame)| forge.regular(at as u32 + 1, frame)).collect();
        frames.push(forge.last(frames.len() as u32 + 1, b""));
        messages.push(forge.with_body(&frames));
    }
    messages
}

fn open<S: ReadAt>(forge: &Forge, source: S) -> Result<RangeReader<S>> {
    reads_all().decrypt(&forge.keyring()).open_at(source).and_then(|message| message.into_ranges())
}

/// Opens and reads a whole message, which touches all its bytes.
fn read_all<S: ReadAt>(forge: &Forge, source: S) -> Result<Vec<u8>> {
    let reader = open(forge, source)?;
    reader.read_range(0..reader.len())
}

/// What a test observes or changes in a source.
struct Watched {
    bytes: Vec<u8>,
    /// How many bytes were read, in how many calls.
    read: AtomicU64,
    calls: AtomicU64,
    /// The amount by which the reported length differs from the true one.
    lies: AtomicU64,
    /// Whether every byte that is read is altered.
    altered: AtomicBool,
}

impl Watched {
    fn new(bytes: Vec<u8>) -> Self {
        let (read, calls, lies) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { bytes, read, calls, lies, altered: AtomicBool::new(false) }
    }

    fn counted(&self) -> (u64, u64) {
        (self.calls.swap(0, Ordering::Relaxed), self.read.swap(0, Ordering::Relaxed))
    }
}

impl ReadAt for Watched {
    fn size(&self) -> io::Result<u64> {
        Ok((self.bytes.len() as u64).wrapping_add(self.lies.load(Ordering::Relaxed)))
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.bytes.read_exact_at(offset, buffer)?;
        if self.altered.load(Ordering::Relaxed) {
            buffer.iter_mut().for_each(|byte| *byte ^= 1);
        }
        Ok(())
    }
}

/// An object in a store; the number is how much more than requested it returns.
struct Object(Vec<u8>, isize);

impl GetRange for Object {
    type Bytes = Vec<u8>;

    async fn size(&self) -> io::Result<u64> {
        tokio::task::yield_now().await;
        Ok(self.0.len() as u64)
    }

    async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        tokio::task::yield_now().await;
        let mut bytes = self.0[range.start as usize..range.end as usize].to_vec();
        bytes.resize(bytes.len().saturating_add_signed(self.1), 0);
        Ok(bytes)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn ranges_are_slices(
        suite in select(&UNSIGNED[..]),
        frame_length in select(vec![1_u32, 5, 16, 100, 1000]),
        frames in 0_usize..9,
        rest in 0_usize..1000,
        ranges in vec((0_usize..10_000, 0_usize..10_000), 1..24),
    ) {
        let text = pattern(frames * frame_length as usize + rest % frame_length as usize);
        let forge = Forge { frame_length, ..Forge::new(suite) };
        for message in messages(&forge, &text) {
            let reader = open(&forge, &message[..]).unwrap();
            prop_assert_eq!(reader.len(), text.len() as u64);
            let object = Object(message.clone(), 0);
            let (client, keyring) = (reads_all(), forge.keyring());
            let async_reader = block_on(remote(client.decrypt(&keyring), object)).unwrap();
            for &(start, end) in &ranges {
                // Half of the ranges are past the end.
                let (start, end) = (start % (text.len() * 2 + 1), end % (text.len() * 2 + 1));
                let expected = text.get(start..end.min(text.len())).unwrap_or_default();
                let range = start as u64..end as u64;
                prop_assert_eq!(&reader.read_range(range.clone()).unwrap()[..], expected);
                prop_assert_eq!(&block_on(async_reader.read_range(range.clone())).unwrap()[..], expected);
                let pieces: Vec<_> = reader.pieces(range.clone()).collect::<Result<_>>().unwrap();
                prop_assert_eq!(&pieces.concat()[..], expected);
                let mut buffer = vec![0xee; end.saturating_sub(start)];
                prop_assert_eq!(reader.read_at(start as u64, &mut buffer).unwrap(), expected.len());
                prop_assert_eq!(&buffer[..expected.len()], expected);
                // The plan is sufficient: with everything else altered the result is the same.
                let plan = reader.plan(range.clone());
                prop_assert_eq!(async_reader.plan(range.clone()), plan.clone());
                prop_assert_eq!(plan.is_empty(), expected.is_empty());
                let fresh = open(&forge, Masked { bytes: &message, shown: AtomicBool::new(true), plan }).unwrap();
                fresh.get_ref().shown.store(false, Ordering::Relaxed);
                prop_assert_eq!(&fresh.read_range(range).unwrap()[..], expected);
            }
        }
    }

    #[test]
    fn reading_and_seeking_is_as_in_a_slice(
        length in 0_usize..3000,
        steps in vec((0_u8..4, -4000_i64..4000, 0_usize..700), 1..40),
    ) {
        let text = pattern(length);
        let forge = Forge { frame_length: 256, ..Forge::new(0x0478) };
        let mut reader = open(&forge, forge.message(&text)).unwrap();
        let mut slice = Cursor::new(&text);
        for (kind, offset, count) in steps {
            let to = match kind {
                0 => SeekFrom::Start(offset.unsigned_abs()),
                1 => SeekFrom::End(offset),
                2 => SeekFrom::Current(offset),
                _ => SeekFrom::Current(0),
            };
            prop_assert_eq!(reader.seek(to).ok(), slice.seek(to).ok());
            let (mut ours, mut theirs) = (vec![0; count], vec![0; count]);
            let taken = slice.read(&mut theirs).unwrap();
            prop_assert_eq!(reader.read(&mut ours).unwrap(), taken);
            prop_assert_eq!(ours, theirs);
        }
    }
}

/// A message of which only the planned part can be read, once it is closed.
struct Masked<'a> {
    bytes: &'a [u8],
    shown: AtomicBool,
    plan: Range<u64>,
}

impl ReadAt for Masked<'_> {
    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if self.shown.load(Ordering::Relaxed) || (self.plan.start <= offset && end <= self.plan.end) {
            self.bytes.read_exact_at(offset, buffer)
        } else {
            Err(io::Error::other(format!("{offset}..{end} is outside of the plan {:?}", self.plan)))
        }
    }
}

#[test]
fn every_source_gives_the_same() {
    let text = pattern(10_000);
    let forge = Forge { frame_length: 1000, ..Forge::new(0x0478) };
    let message = forge.message(&text);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&message).unwrap();
    assert_eq!(read_all(&forge, &message[..]).unwrap(), text);
    assert_eq!(read_all(&forge, message.clone()).unwrap(), text);
    assert_eq!(read_all(&forge, Arc::new(message.clone())).unwrap(), text);
    assert_eq!(read_all(&forge, Box::new(&file)).unwrap(), text);
    assert_eq!(read_all(&forge, Seekable::new(Cursor::new(message))).unwrap(), text);
    assert_eq!(read_all(&forge, Seekable::new(&file)).unwrap(), text);
    let mut all = Vec::new();
    BufReader::new(open(&forge, file).unwrap()).read_to_end(&mut all).unwrap();
    assert_eq!(all, text);
}

#[test]
fn one_frame_kept_serves_its_neighbours() {
    let text = pattern(100_000);
    let forge = Forge { frame_length: 10_000, ..Forge::new(0x0478) };
    let reader = open(&forge, Watched::new(forge.message(&text))).unwrap();
    reader.get_ref().counted();
    // The final frame was opened when the message was.
    assert_eq!(reader.read_range(95_000..100_000).unwrap(), text[95_000..]);
    assert_eq!(reader.get_ref().counted(), (0, 0));
    for start in (20_000..29_000).step_by(100) {
        assert_eq!(reader.read_range(start..start + 100).unwrap(), text[start as usize..][..100]);
    }
    assert_eq!(reader.get_ref().counted(), (1, 10_032));
    // Only what the kept frame does not contain is fetched, whether it is at the front or at the
    // back.
    assert_eq!(reader.read_range(25_000..35_000).unwrap(), text[25_000..35_000]);
    assert_eq!(reader.get_ref().counted(), (1, 10_032));
    assert_eq!(reader.read_range(25_000..35_000).unwrap(), text[25_000..35_000]);
    assert_eq!(reader.get_ref().counted(), (1, 10_032));
}

#[test]
fn a_range_reads_no_more_than_its_frames() {
    const MIB: u64 = 1 << 20;
    for frame_length in [4096_u32, 64 << 10, 1 << 20] {
        let client = Client::new();
        let text = pattern(4 << 20);
        let keyring = Forge::new(0x0478).keyring();
        let encrypt = client.encrypt(&keyring).suite(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey);
        let message = encrypt.frame_length(frame_length).bytes(&text).wait().unwrap().message;
        for start in [0, 1, 777_777, u64::from(frame_length)] {
            let reader =
                client.decrypt(&keyring).open_at(Watched::new(message.clone())).unwrap().into_ranges().unwrap();
            let opening = reader.get_ref().counted();
            let range = start..start + MIB;
            assert_eq!(reader.read_range(range.clone()).unwrap(), text[start as usize..][..MIB as usize]);
            let reading = reader.get_ref().counted();
            assert_eq!(reading.0, 1, "one contiguous read");
            let sealed = u64::from(frame_length) + 32;
            let frames = MIB.div_ceil(u64::from(frame_length)) * sealed;
            let header_and_final = reader.header().length() as u64 + sealed + 8;
            assert!(opening.1 + reading.1 <= frames + 2 * sealed + header_and_final, "{frame_length}: {reading:?}");
            assert_eq!(reading.1, {
                let plan = reader.plan(range);
                plan.end - plan.start
            });
        }
    }
}

#[test]
fn eight_threads_read_at_once() {
    let text = pattern(300_000);
    let forge = Forge { frame_length: 1000, ..Forge::new(0x0178) };
    let reader = open(&forge, forge.message(&text)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let (reader, text) = (&reader, &text);
            scope.spawn(move || {
                let mut seed = thread * 7919 + 1;
                for _ in 0..400 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let start = (seed >> 33) % text.len();
                    let end = (start + (seed >> 20) % 5000).min(text.len());
                    assert_eq!(reader.read_range(start as u64..end as u64).unwrap(), text[start..end]);
                }
            });
        }
    });
}

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

/// Opens a message in an object for reading at any offset.
async fn remote<S: GetRange + Sync>(decrypt: Decrypt<'_>, object: S) -> Result<AsyncRangeReader<S>> {
    decrypt.open_remote(object).await?.into_ranges().await
}

/// An object that counts its requests.
struct Requests(Object, AtomicU64);

impl GetRange for Requests {
    type Bytes = Vec<u8>;

    async fn size(&self) -> io::Result<u64> {
        self.0.size().await
    }

    async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get_range(range).await
    }
}

#[test]
fn a_long_header_takes_few_requests() {
    // Anyone can write a header up to the limit of 1 MiB: nothing in it is authenticated before it
    // is read.
    let mut forge = Forge::new(0x0478);
    forge.keys = vec![["example".into(), b"other".to_vec(), vec![7; 60_000]]; 16];
    forge.keys.push(Forge::new(0x0478).keys.remove(0));
    forge.key_count = 17;
    let long = forge.message(b"text");
    assert!(forge.header().len() > 960_000);
    let short = Forge::new(0x0478).message(b"text");
    for (message, most) in [(long, 12), (short, 2)] {
        let (client, keyring) = (reads_all(), forge.keyring());
        let object = Requests(Object(message.clone(), 0), AtomicU64::new(0));
        let reader = block_on(remote(client.decrypt(&keyring), &object)).unwrap();
        let requests = object.1.load(Ordering::Relaxed);
        assert!(requests <= most, "{requests} requests for a message of {} bytes", message.len());
        assert_eq!(block_on(reader.read_range(0..4)).unwrap(), b"text");

        let reader = client.decrypt(&keyring).open_at(Watched::new(message)).unwrap().into_ranges().unwrap();
        let (calls, read) = reader.get_ref().counted();
        let header = reader.header().length() as u64;
        assert!(calls <= most, "{calls}");
        assert!(read <= 2 * header + 4096, "{read} bytes for a header of {header}");
    }
}

/// A message that is mostly a hole: it has its header, and what is at its end.
struct Sparse {
    header: Vec<u8>,
    size: u64,
    end: Vec<u8>,
}

impl Sparse {
    /// Returns a message of this many regular frames, of which only the last one exists, and a
    /// final frame.
    fn new(forge: &Forge, regular_frames: u64, last: &[u8], end: &[u8]) -> Self {
        let header = forge.header();
        let size = header.len() as u64 + regular_frames * (u64::from(forge.frame_length) + 32) + end.len() as u64;
        Self { header, size, end: [last, end].concat() }
    }
}

impl ReadAt for Sparse {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = self.size - self.end.len() as u64;
        for (byte, at) in buffer.iter_mut().zip(offset..) {
            let there = match at.checked_sub(end) {
                Some(at) => self.end.get(at as usize),
                None => self.header.get(at as usize),
            };
            *byte = there.copied().unwrap_or_default();
        }
        Ok(())
    }
}

#[test]
fn the_final_frame_bears_the_last_number_at_the_most() {
    let forge = Forge::new(0x0478);
    let most = u64::from(u32::MAX) - 1;
    let (last, end) = (forge.regular(u32::MAX - 1, b"abcde"), forge.last(u32::MAX, b"fg"));
    let reader = open(&forge, Sparse::new(&forge, most, &last, &end)).unwrap();
    assert_eq!(reader.len(), most * 5 + 2);
    assert_eq!(reader.read_range(reader.len() - 5..u64::MAX).unwrap(), b"cdefg");
    assert!(matches!(reader.read_range(reader.len() - 8..reader.len()), Err(Error::Integrity)), "a hole");
    for (more, number) in [(1, u32::MAX), (1, 0), (2, 1), (1 << 40, u32::MAX)] {
        let end = forge.last(number, b"fg");
        let refused = open(&forge, Sparse::new(&forge, most + more, &last, &end));
        assert!(matches!(refused.err(), Some(Error::Format(FormatError::FinalFramePosition))), "{more}");
    }
}

/// Anyone who can wrap a data key can declare a plaintext that is longer than any memory.
#[test]
fn a_range_longer_than_memory_is_an_error() {
    let forge = Forge { frame_length: 64 << 20, ..Forge::new(0x0478) };
    let sparse = || Sparse::new(&forge, u64::from(u32::MAX) - 1, b"", &forge.last(u32::MAX, b"fg"));
    let out_of_memory = |error| matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::OutOfMemory);
    let reader = open(&forge, sparse()).unwrap();
    assert!(out_of_memory(reader.read_range(0..reader.len()).unwrap_err()));
    assert_eq!(reader.read_range(reader.len() - 2..reader.len()).unwrap(), b"fg");
}

#[test]
fn the_callers_limit_on_frames_acts_before_any_key() {
    let forge = Forge { frame_length: 2000, ..Forge::new(0x0478) };
    let message = forge.message(b"text");
    let client = Client::builder().max_frame_length(1999).build();
    let refused = client.decrypt(&forge.keyring()).open_at(&message[..]).and_then(|message| message.into_ranges());
    assert!(matches!(refused.err(), Some(Error::Limit(LimitError::FrameLength { limit: 1999, found: 2000 }))));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_with_the_choices() {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let forge = Forge::new(0x0478);
    let error = open(&forge, File::from(OwnedFd::from(ours))).err().unwrap();
    assert!(matches!(error, Error::NotSeekable(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("copy") && text.contains("unverified"), "{text}");
}
