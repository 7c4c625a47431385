//! Measures the cost of a range of 1 MiB out of a long message, compared with reading its bytes, in
//! one run.
//!
//!     cargo bench --bench ranges
//!
//! The message is in a file of 1 GiB, which the system keeps in memory once it is written. For each
//! frame length, ranges at random places are read through the range reader and, alternately, their
//! ciphertext alone from the same file; the table gives medians. Then the same library reads from an
//! object store in memory that answers each request after 10 ms. `cargo bench --bench ranges --
//! quick` uses a message of 256 MiB.

use std::{
    fs::File,
    hint::black_box,
    io::{self, Read},
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use sealwax::{
    AlgorithmSuite, Client,
    io::{GetRange, ReadAt},
    keyring::RawAesKeyring,
};

const MIB: u64 = 1 << 20;
const TURNS: usize = 200;

/// A file that counts the bytes read from it.
struct Counting {
    file: File,
    read: AtomicU64,
}

impl ReadAt for Counting {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.file.read_exact_at(offset, buffer)
    }
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn measure(length: u64, frame_length: u32) -> Result<(), Box<dyn std::error::Error>> {
    let keyring = RawAesKeyring::new("bench", "key", vec![7; 32])?;
    let client = Client::new();
    let mut file = tempfile::tempfile()?;
    let encrypt = client.encrypt(&keyring).suite(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey);
    encrypt.frame_length(frame_length).copy(io::repeat(5).take(length), &mut file)?;

    let start = Instant::now();
    let source = Counting { file, read: AtomicU64::new(0) };
    let reader = client.decrypt(&keyring).open_at(source)?.into_ranges()?;
    let opening = (start.elapsed().as_secs_f64() * 1e3, reader.get_ref().read.swap(0, Ordering::Relaxed));
    assert_eq!(reader.len(), length);

    let mut plaintext = vec![0; MIB as usize];
    let (mut ranges, mut readings, mut most) = (Vec::new(), Vec::new(), 0);
    let mut place: u64 = 1;
    for _ in 0..TURNS {
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let offset = (place >> 20) % (length - MIB);
        let plan = reader.plan(offset..offset + MIB);

        let start = Instant::now();
        let mut ciphertext = vec![0; (plan.end - plan.start) as usize];
        reader.get_ref().file.read_exact_at(plan.start, &mut ciphertext)?;
        readings.push(start.elapsed());
        black_box(ciphertext);

        let start = Instant::now();
        assert_eq!(reader.read_at(offset, &mut plaintext)?, plaintext.len());
        ranges.push(start.elapsed());
        assert!(plaintext.iter().all(|byte| *byte == 5));
        most = most.max(reader.get_ref().read.swap(0, Ordering::Relaxed));
    }
    let (range, reading) = (median(&mut ranges), median(&mut readings));
    println!(
        "{frame_length:>12} {:>10.3} {:>10} {most:>12} {reading:>10.3} {range:>10.3} {:>10.3}",
        opening.0,
        opening.1,
        range - reading
    );
    Ok(())
}

/// An object that is read with a latency of 10 ms.
struct Remote(Vec<u8>);

impl GetRange for Remote {
    type Bytes = Vec<u8>;

    async fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let found = self.0.get(range.start as usize..range.end as usize);
        found.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Reads 64 MiB from an object store in several ways.
async fn remote() -> Result<(), Box<dyn std::error::Error>> {
    let keyring = RawAesKeyring::new("bench", "key", vec![7; 32])?;
    let client = Client::new();
    let plaintext = vec![5; 64 << 20];
    let message = client.encrypt(&keyring).unsigned().frame_length(64 << 10).bytes(&plaintext).await?.message;
    let took = |what: &str, start: Instant| println!("{what:<56} {:>8.1}", start.elapsed().as_secs_f64() * 1e3);
    println!("\n64 MiB from an object store with a latency of 10 ms; times in ms");

    let start = Instant::now();
    let reader = client.decrypt(&keyring).open_remote(Remote(message)).await?.into_ranges().await?;
    took("open", start);
    let start = Instant::now();
    assert!(reader.read_range(0..u64::MAX).await? == plaintext);
    took("one range", start);
    let ranges: Vec<_> = (0..64).map(|index| index * MIB..(index + 1) * MIB).collect();
    let start = Instant::now();
    for range in &ranges {
        black_box(reader.read_range(range.clone()).await?);
    }
    took("64 ranges of 1 MiB, one after another", start);
    let start = Instant::now();
    black_box(reader.read_ranges(&ranges).await?);
    took("64 ranges of 1 MiB, with read_ranges", start);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "quick");
    let length = if quick { 256 * MIB } else { 1024 * MIB };
    println!("1 MiB out of {} MiB, {TURNS} places; times in ms, lengths in bytes", length / MIB);
    println!(
        "{:>12} {:>10} {:>10} {:>12} {:>10} {:>10} {:>10}",
        "frame length", "opening", "it reads", "a range reads", "reading", "range", "beside it"
    );
    for frame_length in [4096, 64 << 10, 1 << 20] {
        measure(length, frame_length)?;
    }
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(remote())
}
