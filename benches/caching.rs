//! Measures the throughput of small messages with and without the data-key cache, the cost of a
//! cache hit, and the throughput of the official Python SDK, in one run.
//!
//!     cargo bench --bench caching
//!
//! The Python SDK takes part if `tests/peers/setup.sh` has installed it. The key is a raw AES key
//! in memory. With a key service, an uncached message costs a call of many milliseconds, and a
//! cached one costs what it does here.

use std::{
    collections::BTreeMap,
    hint::black_box,
    path::Path,
    process::Command,
    sync::{Arc, Barrier},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use sealwax::{
    AlgorithmSuite, Client, CommitmentPolicy, EncryptionContext,
    crypto::RustCrypto,
    keyring::RawAesKeyring,
    materials::{
        CachingManager, DecryptionRequest, DefaultMaterialsManager, EncryptionRequest, MaterialsManager, MemoryCache,
    },
};

const PLAINTEXT: [u8; 1024] = [5; 1024];
const TURNS: usize = 9;

type Manager = Box<dyn MaterialsManager>;

fn uncached() -> Manager {
    let keyring = RawAesKeyring::new("bench", "key", vec![7; 32]).unwrap();
    Box::new(DefaultMaterialsManager::new(keyring))
}

fn cached() -> Manager {
    let cache = Arc::new(MemoryCache::new(100).unwrap());
    Box::new(CachingManager::builder(uncached(), cache, Duration::from_secs(3_600)).build().unwrap())
}

/// A benchmark case: an operation, its count, and the number of threads.
struct Case {
    name: String,
    threads: usize,
    count: usize,
    run: Box<dyn Fn() + Send + Sync>,
    rates: Vec<f64>,
}

impl Case {
    fn new(name: impl Into<String>, threads: usize, count: usize, run: impl Fn() + Send + Sync + 'static) -> Self {
        Self { name: name.into(), threads, count, run: Box::new(run), rates: Vec::new() }
    }

    /// Returns the operations per second of all threads together.
    fn rate(&self) -> f64 {
        let barrier = Barrier::new(self.threads);
        let slowest = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let start = Instant::now();
                        (0..self.count).for_each(|_| (self.run)());
                        start.elapsed()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).max()
        });
        (self.threads * self.count) as f64 / slowest.unwrap().as_secs_f64()
    }

    fn median(&self) -> f64 {
        let mut rates = self.rates.clone();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    }
}

fn messages(manager: fn() -> Manager, how: &str, suite: AlgorithmSuite, threads: usize) -> [Case; 2] {
    let count = if suite.is_signed() { 100 } else { 20_000 };
    let (client, manager) = (Client::new(), Arc::new(manager()));
    let message = client.encrypt_with(&*manager).suite(suite).bytes(&PLAINTEXT).wait().unwrap().message;
    let name = |what| format!("{:#06x} {what}, {how}", suite.id());
    let (writer, reader) = ((client.clone(), manager.clone()), (client, manager));
    [
        Case::new(name("encrypt"), threads, count, move || {
            black_box(writer.0.encrypt_with(&*writer.1).suite(suite).bytes(&PLAINTEXT).wait().unwrap());
        }),
        Case::new(name("decrypt"), threads, count, move || {
            black_box(reader.0.decrypt_with(&*reader.1).bytes(&message).wait().unwrap());
        }),
    ]
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a hit is ready at once"),
    }
}

/// The manager alone: the cost of a hit.
fn hits(threads: usize) -> [Case; 2] {
    let suite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    let manager = Arc::new(cached());
    let sealed = Client::new().encrypt_with(&*manager).suite(suite).bytes(&PLAINTEXT).wait().unwrap();
    let keys = sealed.header.encrypted_data_keys().to_vec();
    Client::new().decrypt_with(&*manager).bytes(&sealed.message).wait().unwrap();
    let (writer, reader) = (manager.clone(), manager);
    let context = EncryptionContext::new();
    [
        Case::new("a hit alone, encrypt", threads, 200_000, move || {
            let context = EncryptionContext::new();
            let mut request = EncryptionRequest::new(&RustCrypto, CommitmentPolicy::default(), &context);
            (request.suite, request.max_plaintext_length) = (Some(suite), Some(1024));
            black_box(ready(writer.encryption_materials(request)).unwrap());
        }),
        Case::new("a hit alone, decrypt", threads, 200_000, move || {
            let policy = CommitmentPolicy::default();
            let request = DecryptionRequest::new(&RustCrypto, policy, suite, &context, &keys, &context);
            black_box(ready(reader.decryption_materials(request)).unwrap());
        }),
    ]
}

/// Returns the operations per second of the Python SDK, if it is installed.
fn python() -> BTreeMap<String, f64> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var_os("SEALWAX_PEERS_DIR").map_or_else(|| root.join("target/peers"), Into::into);
    let program = folder.join("py/bin/python");
    if !program.exists() {
        println!("The Python SDK is not installed (tests/peers/setup.sh) and takes no part.\n");
        return BTreeMap::new();
    }
    let output = Command::new(program).arg(root.join("benches/caching_peer.py")).arg("200").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn main() {
    let mut cases = Vec::new();
    for suite in [AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384] {
        for threads in [1, 2] {
            cases.extend(messages(uncached, "uncached", suite, threads));
            cases.extend(messages(cached, "cached", suite, threads));
        }
    }
    cases.extend(hits(1));
    cases.extend(hits(2));
    // The cases take turns, so that variations of the machine affect all of them; the first turn is
    // a warm-up and does not count.
    for turn in 0..=TURNS {
        for case in &mut cases {
            let rate = case.rate();
            if turn > 0 {
                case.rates.push(rate);
            }
        }
    }
    let python = python();
    println!("Messages of 1 KiB, raw AES keyring, {TURNS} turns\n");
    println!("| what | threads | a second | us each | Python SDK, a second |");
    println!("|---|---:|---:|---:|---:|");
    for case in &cases {
        let (rate, threads) = (case.median(), case.threads as f64);
        let theirs = python.get(&case.name).filter(|_| case.threads == 1);
        let theirs = theirs.map_or(String::new(), |rate| format!("{rate:.0}"));
        println!("| {} | {threads} | {rate:.0} | {:.2} | {theirs} |", case.name, threads * 1e6 / rate);
    }
}
