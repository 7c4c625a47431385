//! No poll waits for another thread: with several threads, a task is woken when they are done.

use std::{
    fmt,
    io::{self, Cursor},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use sealwax::{
    AlgorithmSuite, Client, Result,
    crypto::{
        AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, Iv, RustCrypto, SignatureAlgorithm, SigningKey, Tag,
        VerifyingKey,
    },
    io::{GetRange, Pieces, Tokio},
    keyring::RawAesKeyring,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;

/// Lets worker threads continue only as the executor's other tasks run: each turn of such a task
/// releases one frame.
#[derive(Default)]
struct Gate {
    turns: Mutex<u64>,
    opened: Condvar,
    /// How often a worker had to wait.
    waited: AtomicUsize,
    /// Set while messages are prepared, and once a test is over.
    wide_open: AtomicBool,
}

impl Gate {
    fn turn(&self) {
        *self.turns.lock().unwrap() += 64;
        self.opened.notify_all();
    }

    /// Called by each seal and open. The executor's thread always passes.
    fn pass(&self) {
        if thread::current().name() != Some("sealwax-worker") || self.wide_open.load(Ordering::SeqCst) {
            return;
        }
        let mut turns = self.turns.lock().unwrap();
        if *turns == 0 {
            self.waited.fetch_add(1, Ordering::SeqCst);
        }
        while *turns == 0 {
            let (guard, timeout) = self.opened.wait_timeout(turns, Duration::from_secs(20)).unwrap();
            turns = guard;
            assert!(!timeout.timed_out(), "the other tasks of the executor do not run: a poll is parked");
        }
        *turns -= 1;
    }
}

/// RustCrypto, whose worker threads wait at the gate.
#[derive(Clone)]
struct Gated(Arc<Gate>);

impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gated")
    }
}

struct GatedKey(Box<dyn AeadKey>, Arc<Gate>);

impl AeadKey for GatedKey {
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag> {
        self.1.pass();
        self.0.seal_in_place(iv, aad, text)
    }

    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()> {
        self.1.pass();
        self.0.open_in_place(iv, aad, text, tag)
    }
}

impl CryptoProvider for Gated {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        RustCrypto.random(out)
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        Ok(Box::new(GatedKey(RustCrypto.aes_gcm(key)?, self.0.clone())))
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        RustCrypto.hkdf(hash, salt, key, outputs)
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        RustCrypto.digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        RustCrypto.generate_signing_key(algorithm)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        RustCrypto.verifying_key(algorithm, compressed)
    }
}

/// Runs work on a single-threaded runtime, beside a task that opens the gate a little at each of
/// its turns. If a poll parked the only thread, nothing would open the gate, and the worker that
/// waits at it would give up.
fn beside_another_task(work: impl AsyncFn(Client, RawAesKeyring)) {
    let gate = Arc::new(Gate::default());
    let client = Client::builder_with_provider(Gated(gate.clone())).threads(2).build();
    let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let opens = async {
            loop {
                gate.turn();
                tokio::task::yield_now().await;
                // The gate is sometimes closed for longer than the executor needs for everything
                // else.
                while *gate.turns.lock().unwrap() > 0 {
                    tokio::task::yield_now().await;
                }
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::select! {
            () = work(client, keyring) => {}
            () = opens => unreachable!("it goes on for ever"),
        }
        gate.wide_open.store(true, Ordering::SeqCst);
        gate.turn();
    });
    assert!(gate.waited.load(Ordering::SeqCst) > 3, "the workers had nothing to wait for");
}

fn text() -> Vec<u8> {
    (0..6_000_000_u32).map(|at| (at % 251) as u8).collect()
}

/// Returns a message made without a gate.
fn message(keyring: &RawAesKeyring, text: &[u8]) -> Vec<u8> {
    Client::new().encrypt(keyring).suite(SUITE).bytes(text).wait().unwrap().message
}

#[test]
fn polls_of_readers_never_park() {
    beside_another_task(async |client, keyring| {
        let text = text();
        let mut sealed = Vec::new();
        let mut reader = client.encrypt(&keyring).suite(SUITE).reader(Tokio(&text[..])).await.unwrap();
        reader.read_to_end(&mut sealed).await.unwrap();
        let mut opened = Vec::new();
        let mut reader = client.decrypt(&keyring).open_async(Tokio(&sealed[..])).await.unwrap().into_reader().unwrap();
        reader.read_to_end(&mut opened).await.unwrap();
        assert!(opened == text);
    });
}

#[test]
fn polls_of_writers_never_park() {
    beside_another_task(async |client, keyring| {
        let text = text();
        let mut writer = client.encrypt(&keyring).suite(SUITE).writer(Tokio(Cursor::new(Vec::new()))).await.unwrap();
        writer.write_all(&text[..3_000_000]).await.unwrap();
        writer.flush().await.unwrap();
        writer.write_all(&text[3_000_000..]).await.unwrap();
        writer.shutdown().await.unwrap();
        let sealed = writer.into_inner().0.into_inner();
        let mut writer = client.decrypt(&keyring).writer(Tokio(Cursor::new(Vec::new())));
        writer.write_all(&sealed[..2_000_000]).await.unwrap();
        writer.flush().await.unwrap();
        writer.write_all(&sealed[2_000_000..]).await.unwrap();
        writer.shutdown().await.unwrap();
        assert!(writer.into_inner().0.into_inner() == text);
    });
}

/// An object whose bytes are there at once.
struct Object(Vec<u8>);

impl GetRange for Object {
    type Bytes = Vec<u8>;

    async fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        Ok(self.0[range.start as usize..range.end as usize].to_vec())
    }
}

#[test]
fn polls_of_a_verification_never_park() {
    beside_another_task(async |client, keyring| {
        let text = text();
        let mut writer = client.encrypt(&keyring).writer(Tokio(Cursor::new(Vec::new()))).await.unwrap();
        writer.write_all(&text).await.unwrap();
        writer.shutdown().await.unwrap();
        let object = Object(writer.into_inner().0.into_inner());
        let opened = client.decrypt(&keyring).open_remote(object).await.unwrap();
        let ranges = opened.verify().await.unwrap().into_ranges().await.unwrap();
        assert!(ranges.read_range(0..u64::MAX).await.unwrap() == text);
    });
}

#[test]
fn polls_of_streams_never_park() {
    beside_another_task(async |client, keyring| {
        let text = text();
        let pieces = |bytes: Vec<u8>| {
            let pieces: Vec<_> = bytes.chunks(100_000).map(|piece| io::Result::Ok(piece.to_vec())).collect();
            stream::iter(pieces)
        };
        let sealing = client.encrypt(&keyring).suite(SUITE).reader(Pieces::new(pieces(text.clone()))).await.unwrap();
        let sealed: Vec<_> = sealing.try_collect().await.unwrap();
        let opening = client
            .decrypt(&keyring)
            .open_async(Pieces::new(pieces(sealed.concat())))
            .await
            .unwrap()
            .into_reader()
            .unwrap();
        let opened: Vec<_> = opening.try_collect().await.unwrap();
        assert!(opened.concat() == text);
    });
}

#[test]
fn a_fault_behind_frames_of_other_threads_does_not_park_either() {
    beside_another_task(async |client, keyring| {
        let text = text();
        let mut message = message(&keyring, &text);
        // The sequence number of a frame near the end: the frames before it are in progress when it
        // is read.
        let at = message.len() - 100 * (4096 + 32);
        let number = message[at..].windows(4).position(|window| window[..2] == [0, 0] && window[2] == 5).unwrap() + at;
        message[number + 3] ^= 1;
        let mut released = Vec::new();
        let mut reader = client.decrypt(&keyring).open_async(Tokio(&message[..])).await.unwrap().into_reader().unwrap();
        let error = reader.read_to_end(&mut released).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(text.starts_with(&released) && released.len() > 5_000_000, "{}", released.len());
        // After its error, the stream ends.
        let mut opening = client
            .decrypt(&keyring)
            .open_async(Pieces::new(stream::iter([io::Result::Ok(message)])))
            .await
            .unwrap()
            .into_reader()
            .unwrap();
        let mut errors = 0;
        while let Some(piece) = opening.next().await {
            errors += usize::from(piece.is_err());
        }
        assert_eq!(errors, 1);
    });
}

/// A source and sink of the standard library that must not be used on this thread, which is an
/// executor's.
struct Blocking;

impl io::Read for Blocking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("a future read a blocking source");
    }
}

impl io::Write for Blocking {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("a future wrote to a blocking sink");
    }

    fn flush(&mut self) -> io::Result<()> {
        panic!("a future flushed a blocking sink");
    }
}

#[tokio::test]
async fn a_future_never_touches_a_blocking_source_or_sink() {
    let (client, keyring) = (Client::new(), RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap());
    // Only these futures are given one: they wait for the keys. Everything that reads or writes at
    // once returns a `Result`, which does not compile with `.await`.
    let reader = client.encrypt(&keyring).reader(Blocking).await.unwrap();
    assert!(reader.header().suite().is_signed());
    let writer = client.encrypt(&keyring).writer(Blocking).await.unwrap();
    assert!(writer.header().suite().is_signed());
    let _: Result<sealwax::Encrypted<()>> = client.encrypt(&keyring).copy(&b"text"[..], io::sink());
}

#[test]
fn blocking_operations_work_with_local_keys_inside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (client, keyring) = (Client::new(), RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap());
        let mut message = Vec::new();
        client.encrypt(&keyring).unsigned().copy(&b"some text"[..], &mut message).unwrap();
        let mut opened = Vec::new();
        client.decrypt(&keyring).open(&message[..]).unwrap().copy_to(&mut opened).unwrap();
        assert_eq!(opened, b"some text");
        assert_eq!(
            client.decrypt(&keyring).open_at(&message[..]).unwrap().into_ranges().unwrap().read_range(5..9).unwrap(),
            b"text"
        );
    });
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The outcome of a task that a worker thread woke: the name of that thread, and whether anything
/// panicked on it.
type Ended = (Option<String>, bool);

/// A task that only its wakers own. It does not return to an executor: waking it ends or continues
/// it immediately, on the same thread.
struct Task {
    work: Mutex<Option<Work>>,
    /// Whether a worker thread that wakes the task drops the work instead of polling it.
    drops: bool,
    /// Whether it was woken during a poll.
    again: AtomicBool,
    ended: mpsc::Sender<Ended>,
}

impl Task {
    /// Polls the work until it is pending or done; drops it when it is done.
    fn run(self: &Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        while self.again.load(Ordering::SeqCst) {
            // Another thread is polling it, and will poll it again.
            let Ok(mut work) = self.work.try_lock() else { return };
            self.again.store(false, Ordering::SeqCst);
            let Some(polled) = work.as_mut() else { return };
            let waker = Waker::from(self.clone());
            if polled.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                *work = None;
            }
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let name = thread::current().name().map(str::to_owned);
        let outcome =
            catch_unwind(AssertUnwindSafe(|| match self.drops && name.as_deref() == Some("sealwax-worker") {
                true => drop(self.work.lock().unwrap().take()),
                false => self.run(),
            }));
        // It is locked during a poll, which can wake the task as well.
        if outcome.is_err() || self.work.try_lock().is_ok_and(|work| work.is_none()) {
            let _ = self.ended.send((name, outcome.is_err()));
        }
    }
}

/// Makes a writer wait for a worker thread, which is held at the gate, and leaves the task to its
/// waker alone. Returns the outcome once the gate is open.
fn woken_by_a_worker(drops: bool, threads: usize) -> Ended {
    let gate = Arc::new(Gate::default());
    let client = Client::builder_with_provider(Gated(gate.clone())).threads(threads).build();
    let held = gate.clone();
    let work = async move {
        let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
        let mut writer = client.encrypt(&keyring).suite(SUITE).writer(Tokio(tokio::io::sink())).await.unwrap();
        let text = vec![1; 1_000_000];
        // Until a worker has a batch: on a busy machine this thread can be done before one has
        // started. The flush then waits for that batch.
        while held.waited.load(Ordering::SeqCst) == 0 {
            writer.write_all(&text).await.unwrap();
            writer.flush().await.unwrap();
        }
    };
    let (ended, outcome) = mpsc::channel();
    let task = Arc::new(Task { work: Mutex::new(Some(Box::pin(work))), drops, again: AtomicBool::new(false), ended });
    task.run();
    assert!(task.work.lock().unwrap().is_some(), "it did not wait");
    drop(task);
    let start = Instant::now();
    while gate.waited.load(Ordering::SeqCst) == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "no worker is at the gate");
        thread::yield_now();
    }
    gate.wide_open.store(true, Ordering::SeqCst);
    gate.turn();
    outcome.recv_timeout(Duration::from_secs(20)).expect("the worker hangs, or the task was not woken")
}

#[test]
fn a_worker_thread_that_drops_the_machine_does_not_wait_for_itself() {
    for threads in [2, 3] {
        // Because it owns the task and nothing else will poll it, or because it polls it to its
        // end.
        for drops in [true, false] {
            let (name, panicked) = woken_by_a_worker(drops, threads);
            assert_eq!(name.as_deref(), Some("sealwax-worker"), "{threads} threads, drops: {drops}");
            assert!(!panicked, "{threads} threads, drops: {drops}");
        }
    }
}
