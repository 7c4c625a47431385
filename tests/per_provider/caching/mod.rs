//! The data-key cache: what is answered from it, what never is, and what happens with concurrent
//! requests.

#[cfg(feature = "metrics")]
mod counters;
mod crowds;
mod ids;
mod incomplete;
mod limits;
#[cfg(feature = "tokio")]
mod runtimes;
mod sharing;
mod unusable;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{BufRead, BufReader, Write},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use sealwax::{
    AlgorithmSuite, Client, CommitmentPolicy, ContextError, Direction, EncryptedDataKey, EncryptionContext, Error,
    Result, SecretBytes, UnwrapReason,
    crypto::SigningKey,
    keyring::{BoxFuture, KeyReport, RawAesKeyring},
    materials::{
        Cache, CacheEntry, CacheId, CachingManager, CachingManagerBuilder, DecryptionMaterials, DecryptionRequest,
        DefaultMaterialsManager, EncryptionMaterials, EncryptionRequest, MaterialsManager, MemoryCache, OpenedBy,
        RequiredContextManager,
    },
};

use super::support::{client_builder, client_for, new_client, pattern, provider, reading_client, skip, to_base64};

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;
const IDENTITY: AlgorithmSuite = AlgorithmSuite::Aes256GcmIv12Tag16NoKdf;
const MINUTE: Duration = Duration::from_secs(60);
const TEXT: &[u8] = b"a text of twenty-six bytes";

/// Waits without an executor, as any caller may.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (mut future, waker) = (pin!(future), Waker::from(Arc::new(Unpark(thread::current()))));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits, with a generous timeout, until a condition holds.
fn until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A gate at which futures wait until it is opened, forever if necessary.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, Vec<Waker>)>,
}

impl Gate {
    fn open(&self) {
        let wakers = {
            let mut state = self.state.lock().unwrap();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn pass(&self) {
        std::future::poll_fn(|context| {
            let mut state = self.state.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A manager that counts its requests, and behaves as a test wants.
struct Inner {
    manager: DefaultMaterialsManager<RawAesKeyring>,
    encryptions: AtomicUsize,
    decryptions: AtomicUsize,
    /// Calls for a context with this key wait here.
    gate: Option<(&'static str, Gate)>,
    failing: AtomicBool,
    /// The suite to use instead of the requested one.
    suite: Option<AlgorithmSuite>,
    lengths: Mutex<Vec<Option<u64>>>,
}

fn keyring() -> RawAesKeyring {
    RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap()
}

fn inner() -> Inner {
    Inner {
        manager: DefaultMaterialsManager::new(keyring()),
        encryptions: AtomicUsize::new(0),
        decryptions: AtomicUsize::new(0),
        gate: None,
        failing: AtomicBool::new(false),
        suite: None,
        lengths: Mutex::default(),
    }
}

fn gated(key: &'static str) -> Inner {
    Inner { gate: Some((key, Gate::default())), ..inner() }
}

impl Inner {
    fn encryptions(&self) -> usize {
        self.encryptions.load(Ordering::SeqCst)
    }

    fn decryptions(&self) -> usize {
        self.decryptions.load(Ordering::SeqCst)
    }

    fn open(&self) {
        self.gate.as_ref().unwrap().1.open();
    }

    async fn wait_and_fail(&self, context: &EncryptionContext) -> Result<()> {
        if let Some((key, gate)) = &self.gate
            && context.contains_key(key)
        {
            gate.pass().await;
        }
        if self.failing.load(Ordering::SeqCst) {
            return Err(Error::keyring("hsm://slot-1", "the session was closed"));
        }
        Ok(())
    }
}

impl MaterialsManager for Inner {
    fn encryption_materials<'a>(
        &'a self,
        mut request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(async move {
            self.encryptions.fetch_add(1, Ordering::SeqCst);
            self.lengths.lock().unwrap().push(request.max_plaintext_length);
            self.wait_and_fail(request.context).await?;
            if let Some(suite) = self.suite {
                (request.suite, request.policy) = (Some(suite), policy_for(suite));
            }
            self.manager.encryption_materials(request).await
        })
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        Box::pin(async move {
            self.decryptions.fetch_add(1, Ordering::SeqCst);
            self.wait_and_fail(request.context).await?;
            self.manager.decryption_materials(request).await
        })
    }
}

fn policy_for(suite: AlgorithmSuite) -> CommitmentPolicy {
    if suite.is_committing() {
        CommitmentPolicy::RequireEncryptAllowDecrypt
    } else {
        CommitmentPolicy::ForbidEncryptAllowDecrypt
    }
}

fn cache(capacity: usize) -> Arc<MemoryCache> {
    Arc::new(MemoryCache::new(capacity).unwrap())
}

fn builder(inner: &Inner) -> CachingManagerBuilder<&Inner> {
    CachingManager::builder(inner, cache(100), MINUTE)
}

/// Returns a clock that the test sets.
fn set_clock() -> (Arc<AtomicU64>, impl Fn() -> Duration + Send + Sync + Clone + 'static) {
    let nanoseconds = Arc::new(AtomicU64::new(1_000));
    let clock = nanoseconds.clone();
    (nanoseconds, move || Duration::from_nanos(clock.load(Ordering::SeqCst)))
}

/// Encrypts an unsigned text of this length; returns the message's wrapped data key, which
/// identifies its data key.
fn encrypt(manager: &dyn MaterialsManager, length: usize) -> Result<EncryptedDataKey> {
    encrypt_in(manager, &EncryptionContext::new(), length)
}

fn encrypt_in(manager: &dyn MaterialsManager, context: &EncryptionContext, length: usize) -> Result<EncryptedDataKey> {
    let text = vec![1; length];
    let client = new_client();
    let sealed = client.encrypt_with(manager).suite(UNSIGNED).context(context.clone()).bytes(&text).wait()?;
    Ok(sealed.header.encrypted_data_keys()[0].clone())
}

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    pairs.iter().copied().collect()
}

fn request<'a>(context: &'a EncryptionContext, suite: Option<AlgorithmSuite>) -> EncryptionRequest<'a> {
    let mut request = EncryptionRequest::new(provider(), CommitmentPolicy::RequireEncryptAllowDecrypt, context);
    (request.suite, request.max_plaintext_length) = (suite, Some(1));
    request
}

fn decryption<'a>(
    suite: AlgorithmSuite,
    context: &'a EncryptionContext,
    keys: &'a [EncryptedDataKey],
    expected: &'a EncryptionContext,
) -> DecryptionRequest<'a> {
    DecryptionRequest::new(provider(), CommitmentPolicy::RequireEncryptAllowDecrypt, suite, context, keys, expected)
}
