//! Measures the store beside the bare inner store and AES-GCM alone, in one run.
//!
//!     cargo bench --package sealwax-object-store --features fs --bench store
//!
//! Each operation is done in turn on the inner store, on the sealed store over it with one thread and
//! with two, and with AES-GCM on one thread on the same bytes in frames of 64 KiB: into new memory for
//! what is written, which a store may keep, and into memory that is reused for what is read. The
//! table has medians, and the throughput of the sealed stores as a share of the slower of inner store
//! and AES-GCM. An upload has four parts in flight. `-- quick` takes fewer turns. Local files are in
//! the system's temporary directory.

use std::{
    collections::VecDeque,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store_0_14::{
    ObjectStore, ObjectStoreExt, PutPayload, Result, local::LocalFileSystem, memory::InMemory, path::Path,
};
use sealwax::{
    Client,
    crypto::{AeadKey, CryptoProvider, IV_LENGTH, RustCrypto},
    keyring::RawAesKeyring,
};
use sealwax_object_store::{Binding, SealedStore};
use tokio::task::JoinHandle;

const MIB: usize = 1 << 20;
const LENGTH: usize = 64 * MIB;
const PART: usize = 8 * MIB;
const IN_FLIGHT: usize = 4;
const FRAME: usize = 64 << 10;

fn seal(inner: Arc<dyn ObjectStore>, threads: usize) -> Result<SealedStore<Arc<dyn ObjectStore>>, sealwax::Error> {
    let keyring = RawAesKeyring::new("bench", "key", vec![7; 32])?;
    SealedStore::builder(inner, Client::builder().threads(threads).build()).keyring(keyring).build()
}

/// An operation that is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Put,
    Get,
    Multipart,
    Range,
}

impl Operation {
    fn length(self) -> usize {
        if self == Self::Range { 4 * MIB } else { LENGTH }
    }

    async fn run(self, store: &dyn ObjectStore, payload: &Bytes, turn: usize) -> Result<()> {
        let path = Path::from("object");
        match self {
            Self::Put => drop(store.put(&path, payload.clone().into()).await?),
            Self::Get => {
                let mut stream = store.get(&path).await?.into_stream();
                let mut length = 0;
                while let Some(bytes) = stream.next().await.transpose()? {
                    length += black_box(bytes).len();
                }
                assert_eq!(length, LENGTH);
            }
            Self::Multipart => {
                let mut upload = store.put_multipart(&path).await?;
                let mut parts = VecDeque::new();
                for part in (0..LENGTH).step_by(PART) {
                    if parts.len() == IN_FLIGHT {
                        join(parts.pop_front()).await?;
                    }
                    let part = PutPayload::from_bytes(payload.slice(part..part + PART));
                    parts.push_back(tokio::spawn(upload.put_part(part)));
                }
                while !parts.is_empty() {
                    join(parts.pop_front()).await?;
                }
                upload.complete().await?;
            }
            Self::Range => {
                let start = (turn * 7_654_321 % (LENGTH - 4 * MIB)) as u64;
                black_box(store.get_range(&path, start..start + 4 * MIB as u64).await?);
            }
        }
        Ok(())
    }
}

/// Waits for a part.
async fn join(part: Option<JoinHandle<Result<()>>>) -> Result<()> {
    part.expect("a part").await.expect("no panic")
}

/// Seals as many bytes in frames, into new memory if there is none.
fn aes(key: &dyn AeadKey, length: usize, payload: &[u8], out: Option<&mut Vec<u8>>) {
    let mut new = Vec::new();
    let out = out.unwrap_or_else(|| {
        new = vec![0; length];
        &mut new
    });
    for (frame, out) in payload[..length].chunks(FRAME).zip(out.chunks_mut(FRAME)) {
        black_box(key.seal(&[1; IV_LENGTH], b"frame", frame, out).expect("a tag"));
    }
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

async fn compare(name: &str, inner: Arc<dyn ObjectStore>, turns: usize) -> Result<(), Box<dyn std::error::Error>> {
    let sealed = [seal(inner.clone(), 1)?, seal(inner.clone(), 2)?];
    let stores: [&dyn ObjectStore; 3] = [&inner, &sealed[0], &sealed[1]];
    let payload = Bytes::from((0..LENGTH).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let key = RustCrypto.aes_gcm(&[7; 32])?;
    let mut out = vec![0; LENGTH];
    for operation in [Operation::Put, Operation::Get, Operation::Multipart, Operation::Range] {
        let turns = if operation == Operation::Range { 8 * turns } else { turns };
        let writes = matches!(operation, Operation::Put | Operation::Multipart);
        let (mut of_stores, mut alone) = ([const { Vec::new() }; 3], Vec::new());
        for turn in 0..turns {
            // All stores have an object at the same place, one at a time.
            for (store, times) in stores.into_iter().zip(&mut of_stores) {
                if turn == 0 || !writes {
                    Operation::Put.run(store, &payload, turn).await?;
                }
                if operation == Operation::Range {
                    // The object was opened before.
                    Operation::Range.run(store, &payload, turn + 1).await?;
                }
                let start = Instant::now();
                operation.run(store, &payload, turn).await?;
                times.push(start.elapsed());
            }
            let start = Instant::now();
            aes(&*key, operation.length(), &payload, (!writes).then_some(&mut out));
            alone.push(start.elapsed());
        }
        let rate = |times: &mut [Duration]| operation.length() as f64 / median(times) / 1e6;
        let ([bare, one, two], alone) = (of_stores.map(|mut times| rate(&mut times)), rate(&mut alone));
        let (operation, bound) = (format!("{operation:?}").to_lowercase(), bare.min(alone));
        println!(
            "{name:<8} {operation:<10} {bare:>8.0} {alone:>8.0} {one:>8.0} {:>6.2} {two:>8.0} {:>6.2}",
            one / bound,
            two / bound
        );
    }
    Ok(())
}

/// Lists many objects.
async fn list(turns: usize) -> Result<(), Box<dyn std::error::Error>> {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let keyring = RawAesKeyring::new("bench", "key", vec![7; 32])?;
    let sealed = SealedStore::builder(inner.clone(), Client::new()).keyring(keyring).binding(Binding::None).build()?;
    let object = {
        let path = Path::from("a");
        sealed.put(&path, "text".into()).await?;
        let object = inner.get(&path).await?.bytes().await?;
        inner.delete(&path).await?;
        object
    };
    for number in 0..100_000 {
        inner
            .put(&Path::from(format!("table/{:03}/{number:06}.parquet", number / 1000)), object.clone().into())
            .await?;
    }
    let (mut bare, mut own) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        for (store, times) in [(&inner as &dyn ObjectStore, &mut bare), (&sealed, &mut own)] {
            let start = Instant::now();
            let sizes: Vec<_> = store.list(None).map_ok(|meta| meta.size).try_collect().await?;
            times.push(start.elapsed());
            assert_eq!(sizes.len(), 100_000);
        }
    }
    let (bare, own) = (median(&mut bare) * 1e3, median(&mut own) * 1e3);
    println!("\n100,000 objects listed: {bare:.0} ms by the inner store, {own:.0} ms sealed, {:.2} times", own / bare);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let turns = if std::env::args().any(|argument| argument == "quick") { 5 } else { 25 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    runtime.block_on(async {
        println!("64 MiB, parts of 8 MiB, ranges of 4 MiB; MB/s");
        println!(
            "{:<8} {:<10} {:>8} {:>8} {:>8} {:>6} {:>8} {:>6}",
            "store", "", "inner", "AES-GCM", "sealed", "share", "2 threads", "share"
        );
        compare("memory", Arc::new(InMemory::new()), turns).await?;
        let directory = tempfile::tempdir()?;
        compare("files", Arc::new(LocalFileSystem::new_with_prefix(directory.path())?), turns).await?;
        list(turns).await
    })
}
