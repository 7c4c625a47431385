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

mod attacks;
mod extremes;

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

/// Opens a message in an object for reading at any offset.
async fn remote<S: GetRange + Sync>(decrypt: Decrypt<'_>, object: S) -> Result<AsyncRangeReader<S>> {
    decrypt.open_remote(object).await?.into_ranges().await
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
