//! The data-key cache: what is answered from it, what never is, and what happens when many ask at the same time.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{BufRead, BufReader, Write},
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
    AlgorithmSuite, Client, CommitmentPolicy, ContextError, EncryptedDataKey, EncryptionContext, Error, Result,
    SecretBytes, UnwrapReason,
    crypto::{RustCrypto, SigningKey},
    keyring::{BoxFuture, KeyReport, RawAesKeyring},
    materials::{
        Cache, CacheEntry, CacheId, CachingManager, CachingManagerBuilder, DecryptionMaterials, DecryptionRequest,
        DefaultMaterialsManager, EncryptionMaterials, EncryptionRequest, MaterialsManager, MemoryCache, OpenedBy,
        RequiredContextManager,
    },
};

use support::{reading_client, skip, to_base64};

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;
const IDENTITY: AlgorithmSuite = AlgorithmSuite::Aes256GcmIv12Tag16NoKdf;
const MINUTE: Duration = Duration::from_secs(60);
const TEXT: &[u8] = b"a text of twenty-six bytes";

// What the tests are made of.

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

/// Waits, with patience, until something is so.
fn until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A gate that futures wait at until it is opened, for ever if need be.
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

/// A manager that counts what it is asked, and does what a test wants of it.
struct Inner {
    manager: DefaultMaterialsManager<RawAesKeyring>,
    encryptions: AtomicUsize,
    decryptions: AtomicUsize,
    /// Calls for a context with this key wait here.
    gate: Option<(&'static str, Gate)>,
    failing: AtomicBool,
    /// The suite in the place of what is asked for.
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

/// A clock that a test sets.
fn set_clock() -> (Arc<AtomicU64>, impl Fn() -> Duration + Send + Sync + Clone + 'static) {
    let nanoseconds = Arc::new(AtomicU64::new(1_000));
    let clock = nanoseconds.clone();
    (nanoseconds, move || Duration::from_nanos(clock.load(Ordering::SeqCst)))
}

/// Encrypts a text of a length, unsigned; gives the message's wrapped data key, which tells data keys apart.
fn encrypt(manager: &dyn MaterialsManager, length: usize) -> Result<EncryptedDataKey> {
    encrypt_in(manager, &EncryptionContext::new(), length)
}

fn encrypt_in(manager: &dyn MaterialsManager, context: &EncryptionContext, length: usize) -> Result<EncryptedDataKey> {
    let text = vec![1; length];
    let client = Client::new();
    let sealed = client.encrypt_with(manager).suite(UNSIGNED).context(context.clone()).bytes(&text).wait()?;
    Ok(sealed.header.encrypted_data_keys()[0].clone())
}

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    pairs.iter().copied().collect()
}

fn request<'a>(context: &'a EncryptionContext, suite: Option<AlgorithmSuite>) -> EncryptionRequest<'a> {
    let mut request = EncryptionRequest::new(&RustCrypto, CommitmentPolicy::RequireEncryptAllowDecrypt, context);
    (request.suite, request.max_plaintext_length) = (suite, Some(1));
    request
}

/// A cache that keeps nothing and notes the ids.
#[derive(Default)]
struct Ids(Mutex<Vec<CacheId>>);

impl Cache for Ids {
    fn get(&self, id: &CacheId, _now: Duration) -> Option<Arc<CacheEntry>> {
        self.0.lock().unwrap().push(*id);
        None
    }

    fn put(&self, _id: CacheId, _entry: Arc<CacheEntry>) {}

    fn remove(&self, _id: &CacheId, _entry: &Arc<CacheEntry>) {}
}

/// A manager with materials for everything, right or not.
struct Anything;

impl MaterialsManager for Anything {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        let materials = EncryptionMaterials {
            suite: request.suite.unwrap_or(request.policy.default_suite()),
            context: request.context.clone(),
            required_context_keys: request.required_context_keys.clone(),
            data_key: SecretBytes::zeroed(32),
            encrypted_data_keys: Vec::new(),
            signing_key: None,
            key_report: KeyReport::default(),
        };
        Box::pin(async { Ok(materials) })
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        let materials = DecryptionMaterials {
            suite: request.suite,
            context: request.context.clone(),
            required_context_keys: BTreeSet::new(),
            data_key: SecretBytes::zeroed(32),
            verifying_key: None,
            opened_by: OpenedBy { keyring: "anything".into(), encrypted_data_key: 0 },
        };
        Box::pin(async { Ok(materials) })
    }
}

fn encryption_id(partition: &str, request: EncryptionRequest<'_>) -> CacheId {
    let ids = Arc::new(Ids::default());
    let manager = CachingManager::builder(Anything, ids.clone(), MINUTE).partition(partition).build().unwrap();
    block_on(manager.encryption_materials(request)).unwrap();
    ids.0.lock().unwrap()[0]
}

fn decryption_id(partition: &str, request: DecryptionRequest<'_>) -> CacheId {
    let ids = Arc::new(Ids::default());
    let manager = CachingManager::builder(Anything, ids.clone(), MINUTE).partition(partition).build().unwrap();
    block_on(manager.decryption_materials(request)).unwrap();
    ids.0.lock().unwrap()[0]
}

fn decryption<'a>(
    suite: AlgorithmSuite,
    context: &'a EncryptionContext,
    keys: &'a [EncryptedDataKey],
    expected: &'a EncryptionContext,
) -> DecryptionRequest<'a> {
    DecryptionRequest::new(&RustCrypto, CommitmentPolicy::RequireEncryptAllowDecrypt, suite, context, keys, expected)
}

fn hex(id: CacheId) -> String {
    id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

// Ids.

#[test]
fn ids_are_those_of_the_specification() {
    // Computed by tests/peers/cache_ids.py from the formulas of the specification.
    let (none, one, two) = (context(&[]), context(&[("a", "1")]), context(&[("b", "2"), ("a", "1")]));
    assert_eq!(
        hex(encryption_id("part", request(&none, None))),
        "43766942581f3f2ff9aae169e60a75440c8dbf345b5b23aac8621b2eb8e0f71a7d39d9d06984fb1a0cd34932fade10b9"
    );
    assert_eq!(
        hex(encryption_id("part", request(&two, None))),
        "5307d8679b7d2a6effbfedc89f793adb7d24e31d26aff6dbe322988b222805dfe6f037c44d8ea81af10b8d720c743739"
    );
    assert_eq!(
        hex(encryption_id("part", request(&one, Some(UNSIGNED)))),
        "06aff1d42269a60bd3d28d70c6473e54b5b4c7c3345dd83630e069bc4309f2cb9ae9225ff445a39f6c5864728b3cc217"
    );
    let keys = [EncryptedDataKey::new("ns2", "k2", *b"c"), EncryptedDataKey::new("ns", "k", [1, 2, 3])];
    let expected = "a234f3af54db3f6896e8e3102bab7fc076edeae802c0ff7cb64e142253224a83969d16649efedccc85a4847f04f7e0d9";
    assert_eq!(hex(decryption_id("part", decryption(SIGNED, &one, &keys, &none))), expected);
    let turned = [keys[1].clone(), keys[0].clone()];
    assert_eq!(hex(decryption_id("part", decryption(SIGNED, &one, &turned, &none))), expected);
}

/// The ids that `tests/peers/cache_ids.py` computes, by each of its ways.
#[derive(serde::Deserialize)]
struct PythonIds {
    spec: String,
    sdk: Option<String>,
    legacy: Option<String>,
}

#[test]
fn ids_agree_with_python() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var_os("SEALWAX_PEERS_DIR").map_or_else(|| root.join("target/peers"), Into::into);
    if !folder.join("py/.stamp").exists() {
        skip("SEALWAX_REQUIRE_PEERS", "the Python peer is not installed (tests/peers/setup.sh)");
        return;
    }
    let mut python = Command::new(folder.join("py/bin/python"))
        .arg(root.join("tests/peers/cache_ids.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut questions = python.stdin.take().unwrap();
    let mut answers = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut ask = |question: serde_json::Value| -> PythonIds {
        writeln!(questions, "{question}").unwrap();
        serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap()
    };
    let none = context(&[]);
    let contexts = [
        context(&[]),
        context(&[("tenant", "blue")]),
        context(&[("\u{10002}", "astral"), ("\u{ff61}", "bmp"), ("B", "\u{0}"), ("a", "z")]),
        (0..300).map(|at| (format!("key {at}"), "v".repeat(at))).collect(),
    ];
    let mut compared = 0;
    for (at, context) in contexts.iter().enumerate() {
        let as_json: BTreeMap<_, _> = context.iter().collect();
        let partition = ["p", "caf\u{e9} 42", "a longer name of a partition", "p"][at];
        let mut suites: Vec<_> = AlgorithmSuite::ALL.into_iter().map(Some).collect();
        suites.push(None);
        for suite in suites {
            let name = suite.map(|suite| format!("{:#06x}", suite.id()));
            let mut compare = |ours: CacheId, python: PythonIds| {
                assert_eq!(hex(ours), python.spec, "{name:?} {partition}");
                assert_eq!(Some(hex(ours)), python.sdk, "{name:?} {partition}");
                // The SDK's own caching manager is of the formula before: SHA-512.
                assert_eq!(python.legacy.map(|id| id.len()), Some(128));
                compared += 1;
            };
            if suite.is_none_or(|suite| suite.is_committing()) {
                let question = serde_json::json!({"partition": partition, "suite": name, "context": as_json});
                compare(encryption_id(partition, request(context, suite)), ask(question));
            }
            // Others are never in the cache, and have no id.
            let Some(suite) = suite.filter(|suite| *suite > IDENTITY) else { continue };
            let keys: Vec<_> = (0..=at)
                .map(|at| {
                    let ciphertext: Vec<u8> = (0..100).map(|byte| byte * 2 + 50 - at as u8).collect();
                    EncryptedDataKey::new(format!("provider \u{e9}{}", 9 - at), vec![at as u8; at * 40], ciphertext)
                })
                .collect();
            let fields = |key: &EncryptedDataKey| {
                [key.provider_id().as_bytes(), key.provider_info(), key.ciphertext()].map(to_base64)
            };
            let as_json_keys: Vec<_> = keys.iter().map(fields).collect();
            let question = serde_json::json!({
                "partition": partition, "suite": name, "context": as_json, "keys": as_json_keys,
            });
            compare(decryption_id(partition, decryption(suite, context, &keys, &none)), ask(question));
        }
    }
    drop(questions);
    python.wait().unwrap();
    assert_eq!(compared, 4 * (3 + 8));
}

#[test]
fn attack_23_an_id_says_all_that_a_request_says() {
    let (none, blue, green) = (context(&[]), context(&[("tenant", "blue")]), context(&[("tenant", "green")]));
    let tenant: BTreeSet<String> = ["tenant".to_owned()].into();
    let mut ids = vec![
        encryption_id("p", request(&blue, Some(UNSIGNED))),
        encryption_id("q", request(&blue, Some(UNSIGNED))),
        encryption_id("p", request(&blue, Some(SIGNED))),
        encryption_id("p", request(&blue, None)),
        encryption_id("p", request(&green, Some(UNSIGNED))),
        encryption_id("p", request(&none, Some(UNSIGNED))),
        encryption_id("p", request(&blue, Some(UNSIGNED)).with_required_context_keys(&tenant)),
    ];
    let key = |name: &str| EncryptedDataKey::new("example", name, [1; 40]);
    let (one, other, both) = ([key("1")], [key("2")], [key("1"), key("2")]);
    ids.extend([
        decryption_id("p", decryption(UNSIGNED, &blue, &one, &none)),
        decryption_id("q", decryption(UNSIGNED, &blue, &one, &none)),
        decryption_id("p", decryption(SIGNED, &blue, &one, &none)),
        decryption_id("p", decryption(UNSIGNED, &green, &one, &none)),
        decryption_id("p", decryption(UNSIGNED, &none, &one, &none)),
        decryption_id("p", decryption(UNSIGNED, &blue, &other, &none)),
        decryption_id("p", decryption(UNSIGNED, &blue, &both, &none)),
        decryption_id("p", decryption(UNSIGNED, &blue, &one, &blue)),
        decryption_id("p", decryption(UNSIGNED, &blue, &one, &green)),
        decryption_id("p", decryption(UNSIGNED, &none, &one, &blue)),
    ]);
    let count = ids.len();
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>().len(), count);
}

#[test]
fn attack_23_fields_cannot_be_traded_against_each_other() {
    // Who writes a message chooses both its encrypted data keys and its context; the formula of the specification joins them
    // without their lengths, so that this key could stand at the end of the one or at the beginning of the other.
    let innocent = context(&[("tenant", "blue")]);
    let rest = innocent.serialize().unwrap();
    // A key with an empty provider id: 00 00, a length of 256 and its bytes, and so on; read one byte later, behind the
    // zero byte of the formula, that is a context of one pair, whose key has 0 bytes: 00 01, 00 00, and so on.
    let pair_count_and_key = [0, 1, 0, 0];
    let info_length = u16::from_be_bytes([pair_count_and_key[1], pair_count_and_key[2]]);
    let mut info = vec![0x21; info_length.into()];
    let ciphertext = [5; 40];
    // The info begins with the rest of the key's length, then the length of the value, which is all that follows.
    info[0] = 0;
    let value_length = info.len() - 3 + 2 + ciphertext.len() + 1 + rest.len();
    info[1..3].copy_from_slice(&(value_length as u16).to_be_bytes());
    let stray = EncryptedDataKey::new("", info.clone(), ciphertext);
    let own = EncryptedDataKey::new("", "", [9; 40]);

    let mut value = info[3..].to_vec();
    value.extend_from_slice(&[0, 40]);
    value.extend_from_slice(&ciphertext);
    value.push(0);
    value.extend_from_slice(&rest);
    let forged = context(&[("", std::str::from_utf8(&value).unwrap())]);
    let (both, alone, none) = ([own.clone(), stray], [own], context(&[]));
    let (first, second) = (decryption(UNSIGNED, &innocent, &both, &none), decryption(UNSIGNED, &forged, &alone, &none));
    assert_eq!(decryption_id("p", first), decryption_id("p", second), "the two requests have one id");

    let manager = CachingManager::builder(Anything, cache(10), MINUTE).build().unwrap();
    let opened = block_on(manager.decryption_materials(first)).unwrap();
    assert_eq!(opened.context.get("tenant"), Some("blue"));
    let opened = block_on(manager.decryption_materials(second)).unwrap();
    assert_eq!(opened.context.get("tenant"), None, "the entry of one answered the other");
}

#[test]
fn attack_23_a_hit_skips_no_check_of_the_expected_context() {
    let inner = inner();
    let caching = builder(&inner).build().unwrap();
    let (client, blue) = (Client::new(), [("tenant", "blue")]);
    let stored = client.encrypt(&keyring()).context(blue).bytes(TEXT).wait().unwrap().message;
    let required = RequiredContextManager::new(["tenant"], DefaultMaterialsManager::new(keyring())).unwrap();
    let hidden = client.encrypt_with(&required).context(blue).bytes(TEXT).wait().unwrap().message;
    for _ in 0..3 {
        for message in [&stored, &hidden] {
            let opened = client.decrypt_with(&caching).context(blue).bytes(message).wait().unwrap();
            assert_eq!(opened.plaintext, TEXT);
        }
        assert_eq!(client.decrypt_with(&caching).bytes(&stored).wait().unwrap().plaintext, TEXT);
        // Who does not know the tenant has no use of the entry of who did.
        let refused = client.decrypt_with(&caching).bytes(&hidden).wait();
        assert!(matches!(refused, Err(Error::NotUnwrapped(_))));
        let refused = client.decrypt_with(&caching).context([("tenant", "green")]).bytes(&hidden).wait();
        assert!(matches!(refused, Err(Error::NotUnwrapped(_))));
        for expected in [("tenant", "green"), ("owner", "blue")] {
            assert!(client.decrypt_with(&caching).context([expected]).bytes(&stored).wait().is_err(), "{expected:?}");
        }
        let refused = client.decrypt_with(&caching).context([("tenant", "green")]).bytes(&stored).wait();
        assert!(matches!(refused, Err(Error::Context(ContextError::Mismatch))));
    }
}

#[test]
fn attack_23_required_keys_are_not_answered_from_entries_without() {
    let inner = inner();
    let caching = builder(&inner).build().unwrap();
    let required = RequiredContextManager::new(["tenant"], &caching).unwrap();
    let (client, blue) = (Client::new(), [("tenant", "blue")]);
    for _ in 0..2 {
        let stored = client.encrypt_with(&caching).context(blue).bytes(TEXT).wait().unwrap();
        assert_eq!(stored.header.context().get("tenant"), Some("blue"));
        let hidden = client.encrypt_with(&required).context(blue).bytes(TEXT).wait().unwrap();
        assert_eq!(hidden.header.context().get("tenant"), None);
        let opened = client.decrypt_with(&required).context(blue).bytes(&hidden.message).wait().unwrap();
        assert_eq!(opened.plaintext, TEXT);
    }
    assert_eq!(inner.encryptions(), 2);
    assert_eq!(inner.decryptions(), 1);
}

// Limits.

#[test]
fn unusable_configurations_are_refused() {
    let inner = inner();
    let refused = |builder: CachingManagerBuilder<&Inner>| match builder.build() {
        Err(Error::Configuration(why)) => why,
        other => panic!("{:?}", other.err()),
    };
    assert!(refused(CachingManager::builder(&inner, cache(1), Duration::ZERO)).contains("max_age"));
    assert!(refused(builder(&inner).max_messages(0)).contains("max_messages"));
    assert!(refused(builder(&inner).max_messages((1 << 32) + 1)).contains("max_messages"));
    assert!(refused(builder(&inner).max_bytes(0)).contains("max_bytes"));
    assert!(refused(builder(&inner).max_bytes(1 << 63)).contains("max_bytes"));
    assert!(refused(builder(&inner).partition("")).contains("partition"));
    assert!(refused(builder(&inner).partition("a\0b")).contains("partition"));
    assert!(matches!(MemoryCache::new(0), Err(Error::Configuration(_))));
    builder(&inner).max_messages(1 << 32).max_bytes((1 << 63) - 1).partition("p").build().unwrap();
    CachingManager::builder(&inner, cache(1), Duration::from_nanos(1)).max_messages(1).max_bytes(1).build().unwrap();
    // No overflow where an age has no end.
    let manager = CachingManager::builder(&inner, cache(1), Duration::MAX).build().unwrap();
    assert_eq!(encrypt(&manager, 1).unwrap(), encrypt(&manager, 1).unwrap());
}

#[test]
fn the_limit_on_messages_is_exact() {
    for limit in [1_usize, 2, 3, 10] {
        let inner = inner();
        let manager = builder(&inner).max_messages(limit as u64).build().unwrap();
        for message in 1..=limit * 3 {
            encrypt(&manager, 0).unwrap();
            assert_eq!(inner.encryptions(), message.div_ceil(limit), "{message} of {limit}");
        }
    }
}

#[test]
fn the_limit_on_bytes_is_exact() {
    let inner = inner();
    let manager = builder(&inner).max_bytes(100).build().unwrap();
    for (length, calls) in [(60, 1), (40, 1), (0, 1), (1, 2), (99, 2), (1, 3), (100, 4), (0, 4), (101, 5), (0, 5)] {
        encrypt(&manager, length).unwrap();
        assert_eq!(inner.encryptions(), calls, "{length}");
    }
    // The one of 101 bytes went past the cache, whose entry serves on; the inner manager was told its length.
    let lengths = inner.lengths.lock().unwrap();
    assert_eq!(*lengths, [None, None, None, None, Some(101)]);
}

#[test]
fn limits_are_exact_under_eight_threads() {
    const THREADS: usize = 8;
    let inner = inner();
    let by_messages = builder(&inner).max_messages(7).build().unwrap();
    let by_bytes = builder(&inner).max_bytes(1_000).build().unwrap();
    // By which limit and data key: the messages and bytes it was handed out for.
    let used = Mutex::new(HashMap::<(bool, Vec<u8>), (u64, u64)>::new());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (by_messages, by_bytes, used) = (&by_messages, &by_bytes, &used);
            scope.spawn(move || {
                for message in 0..140 {
                    // Lengths that fill the limit with and without a rest.
                    let length = [200, 200, 0, 999, 1_000, 1, 37][(thread + message) % 7];
                    for (which, manager) in [(true, by_messages), (false, by_bytes)] {
                        let key = encrypt(manager, length).unwrap();
                        let mut used = used.lock().unwrap();
                        let (messages, bytes) = used.entry((which, key.ciphertext().to_vec())).or_default();
                        *messages += 1;
                        *bytes += length as u64;
                    }
                }
            });
        }
    });
    let used = used.into_inner().unwrap();
    let messages: Vec<_> = used.iter().filter(|(key, _)| key.0).map(|(_, counts)| counts.0).collect();
    assert_eq!(messages.iter().sum::<u64>(), 1_120);
    assert!(messages.iter().all(|count| *count == 7), "not one more and not one less: {messages:?}");
    let bytes: Vec<_> = used.iter().filter(|(key, _)| !key.0).map(|(_, counts)| counts.1).collect();
    assert!(bytes.iter().all(|count| *count <= 1_000), "{bytes:?}");
    assert!(bytes.contains(&1_000), "the limit itself is reached");
    assert_eq!(used.len(), inner.encryptions());
}

#[test]
fn bytes_of_equal_messages_fill_the_limit_under_eight_threads() {
    let inner = inner();
    let manager = builder(&inner).max_bytes(1_000).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..100).for_each(|_| drop(encrypt(&manager, 100).unwrap())));
        }
    });
    assert_eq!(inner.encryptions(), 80);
}

#[test]
fn lengths_that_are_unknown_are_not_cached_and_bounds_are_counted() {
    let inner = inner();
    let manager = builder(&inner).max_bytes(100).build().unwrap();
    let client = Client::new();
    for _ in 0..2 {
        client.encrypt_with(&manager).copy(TEXT, &mut Vec::new()).wait().unwrap();
    }
    assert_eq!(inner.encryptions(), 2);
    for _ in 0..4 {
        client.encrypt_with(&manager).plaintext_length_bound(50).copy(TEXT, &mut Vec::new()).wait().unwrap();
    }
    assert_eq!(inner.encryptions(), 4, "two a key: the bound is counted, not the text");
    client.encrypt_with(&manager).plaintext_length_bound(101).copy(TEXT, &mut Vec::new()).wait().unwrap();
    assert_eq!(inner.encryptions(), 5);
}

#[test]
fn entries_expire_at_their_age_exactly() {
    let inner = inner();
    let (nanoseconds, clock) = set_clock();
    let cache = cache(10);
    let manager = |seconds| {
        CachingManager::builder(&inner, cache.clone(), Duration::from_secs(seconds))
            .partition("p")
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    let (long, short) = (manager(10), manager(4));
    let at = |instant: u64| nanoseconds.store(1_000 + instant, Ordering::SeqCst);
    let first = encrypt(&long, 1).unwrap();
    at(3_999_999_999);
    assert_eq!(encrypt(&short, 1).unwrap(), first);
    at(9_999_999_999);
    assert_eq!(encrypt(&long, 1).unwrap(), first);
    // For the one it is too old already.
    at(4_000_000_000);
    let second = encrypt(&short, 1).unwrap();
    assert_ne!(second, first);
    assert_eq!(encrypt(&long, 1).unwrap(), second, "which has the shorter life of its maker");
    at(8_000_000_000);
    let third = encrypt(&long, 1).unwrap();
    assert_ne!(third, second);
    at(18_000_000_000);
    assert_ne!(encrypt(&long, 1).unwrap(), third);
    assert_eq!(inner.encryptions(), 4);

    let message = Client::new().encrypt(&keyring()).bytes(TEXT).wait().unwrap().message;
    for (instant, calls) in [(20, 1), (29, 1), (30, 2), (39, 2), (41, 3)] {
        at(instant * 1_000_000_000);
        Client::new().decrypt_with(&long).bytes(&message).wait().unwrap();
        assert_eq!(inner.decryptions(), calls, "{instant}");
    }
}

#[test]
fn attack_24_nobody_gets_an_expired_key_however_many_ask_at_that_instant() {
    let inner = inner();
    let (nanoseconds, clock) = set_clock();
    let manager = builder(&inner).clock(clock).build().unwrap();
    for round in 0..50 {
        let old = encrypt(&manager, 1).unwrap();
        let calls = inner.encryptions();
        let gone = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut after = 0;
                    while after < 20 {
                        // Read before asking: who asks after that instant never gets the old key.
                        let expired = gone.load(Ordering::SeqCst);
                        let key = encrypt(&manager, 1).unwrap();
                        assert!(!expired || key != old, "round {round}");
                        after += usize::from(expired);
                    }
                });
            }
            nanoseconds.fetch_add(60_000_000_000, Ordering::SeqCst);
            gone.store(true, Ordering::SeqCst);
        });
        let after = inner.encryptions() - calls;
        assert_eq!(after, 1, "one call for all of round {round}");
        nanoseconds.fetch_add(60_000_000_000, Ordering::SeqCst);
    }
}

// What is shared, and what never is.

#[test]
fn partitions_are_apart_unless_they_are_the_same() {
    let inner = inner();
    let shared = cache(100);
    let manager = |partition: Option<&str>| {
        let builder = CachingManager::builder(&inner, shared.clone(), MINUTE);
        match partition {
            Some(name) => builder.partition(name),
            None => builder,
        }
        .build()
        .unwrap()
    };
    let managers = [manager(Some("p")), manager(Some("q")), manager(None), manager(None), manager(Some("p"))];
    let keys: Vec<_> = managers.iter().map(|manager| encrypt(manager, 1).unwrap()).collect();
    assert_eq!(inner.encryptions(), 4);
    assert_eq!(keys[0], keys[4]);
    assert_eq!(keys[..4].iter().map(EncryptedDataKey::ciphertext).collect::<BTreeSet<_>>().len(), 4);
    // The usage of a shared entry is counted for all.
    let cache = cache(10);
    let pair = [0, 1].map(|_| {
        CachingManager::builder(&inner, cache.clone(), MINUTE).partition("p").max_messages(3).build().unwrap()
    });
    let keys: Vec<_> = (0..6).map(|at| encrypt(&pair[at % 2], 1).unwrap()).collect();
    assert!(keys[..3].iter().all(|key| *key == keys[0]) && keys[3..].iter().all(|key| *key == keys[3]));
    assert_ne!(keys[0], keys[3]);
}

#[test]
fn attack_22_a_shared_cache_hands_back_no_suite_that_the_policy_forbids() {
    // CVE-2026-6550: who encrypts under another policy fills the shared entry for "no suite asked for".
    let inner = inner();
    let shared = cache(10);
    let managers: [CachingManager<&Inner>; 2] =
        [0, 1].map(|_| CachingManager::builder(&inner, shared.clone(), MINUTE).partition("p").build().unwrap());
    let old = Client::builder().commitment_policy(CommitmentPolicy::ForbidEncryptAllowDecrypt).build();
    let new = Client::new();
    let suite = |client: &Client, manager| {
        let sealed = client.encrypt_with(manager).bytes(TEXT).wait().unwrap();
        sealed.header.suite()
    };
    for _ in 0..3 {
        for manager in &managers {
            assert!(!suite(&old, manager).is_committing());
            assert!(!suite(&old, manager).is_committing());
            assert!(suite(&new, manager).is_committing());
            assert!(suite(&new, manager).is_committing());
        }
    }
    assert_eq!(inner.encryptions(), 12, "every change of the policy takes the entry's place");

    // The same where many wait for one call.
    let inner = gated("tenant");
    let manager = CachingManager::builder(&inner, cache(10), MINUTE).build().unwrap();
    thread::scope(|scope| {
        for at in 0..16 {
            let (manager, client) = (&manager, if at % 2 == 0 { &old } else { &new });
            scope.spawn(move || {
                let sealed = client.encrypt_with(manager).context([("tenant", "blue")]).bytes(TEXT).wait().unwrap();
                assert_eq!(sealed.header.suite().is_committing(), at % 2 == 1);
            });
        }
        until("the first call", || inner.encryptions() > 0);
        thread::sleep(Duration::from_millis(20));
        inner.open();
    });

    // A message that the policy forbids is not read from an entry either.
    let inner = self::inner();
    let manager = builder(&inner).build().unwrap();
    let message = old.encrypt(&keyring()).bytes(TEXT).wait().unwrap().message;
    let (context, none) = (context(&[]), EncryptionContext::new());
    let header = old.header_decoder().decode(&message).unwrap().0;
    assert!(reading_client().decrypt_with(&manager).bytes(&message).wait().is_ok());
    assert!(matches!(new.decrypt_with(&manager).bytes(&message).wait(), Err(Error::Commitment { .. })));
    let header = header.header();
    let mut request = decryption(header.suite(), header.context(), header.encrypted_data_keys(), &none);
    request.policy = CommitmentPolicy::RequireEncryptRequireDecrypt;
    assert!(matches!(block_on(manager.decryption_materials(request)), Err(Error::Commitment { .. })));
    let mut request = self::request(&context, Some(AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha256));
    request.policy = CommitmentPolicy::RequireEncryptRequireDecrypt;
    assert!(matches!(block_on(manager.encryption_materials(request)), Err(Error::Commitment { .. })));
    assert_eq!((inner.encryptions(), inner.decryptions()), (0, 1));
}

/// A cache that gives any entry it has for any id.
#[derive(Default)]
struct Liar(Mutex<Option<Arc<CacheEntry>>>);

impl Cache for Liar {
    fn get(&self, _id: &CacheId, _now: Duration) -> Option<Arc<CacheEntry>> {
        self.0.lock().unwrap().clone()
    }

    fn put(&self, _id: CacheId, entry: Arc<CacheEntry>) {
        *self.0.lock().unwrap() = Some(entry);
    }

    fn remove(&self, _id: &CacheId, _entry: &Arc<CacheEntry>) {}
}

#[test]
fn attack_22_a_cache_that_mixes_entries_up_is_not_believed() {
    let inner = inner();
    let (nanoseconds, clock) = set_clock();
    let manager = CachingManager::builder(&inner, Arc::new(Liar::default()), MINUTE).clock(clock).build().unwrap();
    let (blue, green) = (context(&[("tenant", "blue")]), context(&[("tenant", "green")]));
    let first = encrypt_in(&manager, &blue, 1).unwrap();
    assert_eq!(encrypt_in(&manager, &blue, 1).unwrap(), first);
    assert_ne!(encrypt_in(&manager, &green, 1).unwrap(), first);
    assert_eq!(inner.encryptions(), 2);
    // Nor one that gives what is too old, or what is for the other direction.
    nanoseconds.fetch_add(60_000_000_000, Ordering::SeqCst);
    encrypt_in(&manager, &green, 1).unwrap();
    assert_eq!(inner.encryptions(), 3);
    let client = Client::new();
    let message = client.encrypt(&keyring()).bytes(TEXT).wait().unwrap().message;
    assert_eq!(client.decrypt_with(&manager).bytes(&message).wait().unwrap().plaintext, TEXT);
    encrypt_in(&manager, &green, 1).unwrap();
    assert_eq!(inner.encryptions(), 4);
}

#[test]
fn an_entry_lives_no_longer_than_its_maker_said() {
    let inner = inner();
    let (nanoseconds, clock) = set_clock();
    let liar = Arc::new(Liar::default());
    let [short, long] = [4, 10].map(|seconds| {
        let builder = CachingManager::builder(&inner, liar.clone(), Duration::from_secs(seconds));
        builder.partition("p").clock(clock.clone()).build().unwrap()
    });
    let first = encrypt(&short, 1).unwrap();
    assert_eq!(encrypt(&long, 1).unwrap(), first);
    nanoseconds.fetch_add(4_000_000_000, Ordering::SeqCst);
    assert_ne!(encrypt(&long, 1).unwrap(), first);
}

/// A cache in memory whose answers are looked at.
struct LookedAt(MemoryCache);

impl Cache for LookedAt {
    fn get(&self, id: &CacheId, now: Duration) -> Option<Arc<CacheEntry>> {
        self.0.get(id, now).inspect(|entry| assert!(!entry.is_expired(now)))
    }

    fn put(&self, id: CacheId, entry: Arc<CacheEntry>) {
        self.0.put(id, entry);
    }

    fn remove(&self, id: &CacheId, entry: &Arc<CacheEntry>) {
        self.0.remove(id, entry);
    }
}

#[test]
fn the_cache_in_memory_gives_nothing_that_is_expired() {
    let inner = inner();
    let (nanoseconds, clock) = set_clock();
    let cache = Arc::new(LookedAt(MemoryCache::new(10).unwrap()));
    let manager = CachingManager::builder(&inner, cache.clone(), MINUTE).clock(clock).build().unwrap();
    let contexts: Vec<_> = (0..10).map(|at| context(&[("at", &at.to_string())])).collect();
    for context in &contexts {
        encrypt_in(&manager, context, 1).unwrap();
    }
    nanoseconds.fetch_add(60_000_000_000, Ordering::SeqCst);
    encrypt_in(&manager, &contexts[9], 1).unwrap();
    assert_eq!((inner.encryptions(), cache.0.len()), (11, 10 - 2 * 2 - 1 + 1), "two of the oldest go at each look");
}

#[test]
fn what_is_used_up_goes_even_if_nothing_takes_its_place() {
    let inner = inner();
    let cache = cache(10);
    let manager = CachingManager::builder(&inner, cache.clone(), MINUTE).max_messages(1).build().unwrap();
    encrypt(&manager, 1).unwrap();
    assert_eq!(cache.len(), 1);
    inner.failing.store(true, Ordering::SeqCst);
    encrypt(&manager, 1).unwrap_err();
    assert!(cache.is_empty());
}

#[test]
fn attack_22_materials_of_another_suite_than_asked_for_are_not_kept() {
    let inner = Inner { suite: Some(SIGNED), ..inner() };
    let manager = builder(&inner).build().unwrap();
    for calls in 1..4 {
        let sealed = Client::new().encrypt_with(&manager).suite(UNSIGNED).bytes(TEXT).wait().unwrap();
        assert_eq!(sealed.header.suite(), SIGNED);
        assert_eq!(inner.encryptions(), calls);
    }
}

#[test]
fn suites_without_key_derivation_are_never_cached() {
    let old = Client::builder().commitment_policy(CommitmentPolicy::ForbidEncryptAllowDecrypt).build();
    let shared = cache(10);
    // Asked for.
    let inner = inner();
    let manager = CachingManager::builder(&inner, shared.clone(), MINUTE).build().unwrap();
    let mut keys = BTreeSet::new();
    for calls in 1..4 {
        let sealed = old.encrypt_with(&manager).suite(IDENTITY).bytes(TEXT).wait().unwrap();
        keys.insert(sealed.header.encrypted_data_keys()[0].ciphertext().to_vec());
        for _ in 0..2 {
            assert_eq!(old.decrypt_with(&manager).bytes(&sealed.message).wait().unwrap().plaintext, TEXT);
        }
        assert_eq!((inner.encryptions(), inner.decryptions()), (calls, calls * 2));
    }
    assert_eq!(keys.len(), 3);
    // Nobody waits for another's.
    let inner = gated("tenant");
    let manager = CachingManager::builder(&inner, shared.clone(), MINUTE).build().unwrap();
    let blue = context(&[("tenant", "blue")]);
    let mut request = request(&blue, Some(IDENTITY));
    request.policy = CommitmentPolicy::ForbidEncryptAllowDecrypt;
    let mut futures: Vec<_> = (0..5).map(|_| manager.encryption_materials(request)).collect();
    assert!(futures.iter_mut().all(|future| poll_once(future.as_mut()).is_pending()));
    assert_eq!(inner.encryptions(), 5);
    drop(futures);
    // Not asked for, but what the inner manager gives; by itself and to many at the same time.
    let inner = Inner { suite: Some(IDENTITY), ..gated("tenant") };
    let manager = CachingManager::builder(&inner, shared.clone(), MINUTE).build().unwrap();
    let keys = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let sealed = old.encrypt_with(&manager).context([("tenant", "blue")]).bytes(TEXT).wait().unwrap();
                assert_eq!(sealed.header.suite(), IDENTITY);
                keys.lock().unwrap().insert(sealed.header.encrypted_data_keys()[0].ciphertext().to_vec());
            });
        }
        until("the first call", || inner.encryptions() > 0);
        inner.open();
    });
    assert_eq!(keys.into_inner().unwrap().len(), 20);
    assert_eq!(inner.encryptions(), 20);
    assert!(shared.is_empty());
}

#[test]
fn a_full_cache_forgets_what_was_used_least_recently() {
    let inner = inner();
    let cache = cache(3);
    let manager = CachingManager::builder(&inner, cache.clone(), MINUTE).build().unwrap();
    let in_context = |name: &str| encrypt_in(&manager, &context(&[("name", name)]), 1).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(in_context);
    assert_eq!(in_context("a"), a);
    let d = in_context("d");
    assert_eq!(cache.len(), 3);
    assert_eq!((in_context("c"), in_context("a"), in_context("d")), (c, a, d));
    assert_eq!(inner.encryptions(), 4);
    assert_ne!(in_context("b"), b);
    assert_eq!(inner.encryptions(), 5);
    cache.clear();
    assert!(cache.is_empty());
    assert_ne!(in_context("d"), encrypt_in(&manager, &context(&[("name", "a")]), 1).unwrap());
}

/// Notes the signing keys that its inner manager makes, without holding them.
struct Watching {
    inner: DefaultMaterialsManager<RawAesKeyring>,
    keys: Mutex<Vec<Weak<dyn SigningKey>>>,
}

impl Watching {
    fn alive(&self) -> usize {
        self.keys.lock().unwrap().iter().filter(|key| key.strong_count() > 0).count()
    }
}

impl MaterialsManager for Watching {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(async move {
            let materials = self.inner.encryption_materials(request).await?;
            self.keys.lock().unwrap().push(Arc::downgrade(materials.signing_key.as_ref().unwrap()));
            Ok(materials)
        })
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        self.inner.decryption_materials(request)
    }
}

#[test]
fn what_is_forgotten_is_dropped() {
    let watching = Arc::new(Watching { inner: DefaultMaterialsManager::new(keyring()), keys: Mutex::default() });
    let (nanoseconds, clock) = set_clock();
    let cache = cache(2);
    let manager = CachingManager::builder(watching.clone(), cache.clone(), MINUTE)
        .max_messages(2)
        .clock(clock.clone())
        .build()
        .unwrap();
    let client = Client::new();
    let encrypt =
        |name: &str| drop(client.encrypt_with(&manager).context([("name", name)]).bytes(TEXT).wait().unwrap());
    encrypt("a");
    encrypt("a");
    assert_eq!((watching.alive(), cache.len()), (1, 1));
    encrypt("a");
    assert_eq!((watching.alive(), cache.len()), (1, 1), "used up, and replaced");
    encrypt("b");
    encrypt("c");
    assert_eq!((watching.alive(), cache.len()), (2, 2), "the one of a is evicted");
    nanoseconds.fetch_add(60_000_000_000, Ordering::SeqCst);
    encrypt("d");
    assert_eq!((watching.alive(), cache.len()), (1, 1), "expired ones go when anything is asked for");
    nanoseconds.fetch_add(60_000_000_000, Ordering::SeqCst);
    cache.remove_expired(clock());
    assert_eq!((watching.alive(), cache.len()), (0, 0), "or when they are told to");
    // One that is in use lives until its last user is done.
    let (context, mut machines) = ([("name", "e")], Vec::new());
    machines.push(client.encrypt_with(&manager).context(context).plaintext_length_bound(9).machine().wait().unwrap());
    cache.clear();
    assert_eq!(watching.alive(), 1);
    machines.clear();
    assert_eq!(watching.alive(), 0);
}

// Round trips.

#[test]
fn messages_under_one_data_key_open_like_any_others() {
    for suite in AlgorithmSuite::ALL {
        let client = support::client_for(suite);
        let inner = inner();
        let manager = builder(&inner).build().unwrap();
        let mut messages = Vec::new();
        for length in [0, 1, 4_096, 10_000] {
            let text = support::pattern(length);
            let context = [("purpose", "test")];
            let sealed = client.encrypt_with(&manager).suite(suite).context(context).bytes(&text).wait().unwrap();
            messages.push((text, sealed));
        }
        for (text, sealed) in &messages {
            // With the cache, and without.
            assert_eq!(client.decrypt(&keyring()).bytes(&sealed.message).wait().unwrap().plaintext, *text);
            let opened = client.decrypt_with(&manager).context([("purpose", "test")]).bytes(&sealed.message).wait();
            let opened = opened.unwrap();
            assert_eq!(opened.plaintext, *text);
            assert_eq!(&*opened.opened_by.keyring, "raw-aes://example/key-1");
            assert_eq!(&*sealed.key_report.wrapped()[0].keyring, "raw-aes://example/key-1");
        }
        let calls = if suite <= IDENTITY { 4 } else { 1 };
        assert_eq!((inner.encryptions(), inner.decryptions()), (calls, calls), "{suite}");
        let ids: BTreeSet<_> = messages.iter().map(|(_, sealed)| sealed.header.message_id().to_vec()).collect();
        assert_eq!(ids.len(), 4, "each message has a key of its own, from its id");
        let public_keys: BTreeSet<_> =
            messages.iter().filter_map(|(_, sealed)| sealed.header.context().get("aws-crypto-public-key")).collect();
        assert_eq!(public_keys.len(), usize::from(suite.is_signed()));
        // An altered message is refused with a cached key as with any.
        let mut altered = messages[2].1.message.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(client.decrypt_with(&manager).bytes(&altered).wait().is_err());
    }
}

#[test]
fn the_place_of_the_opened_key_is_that_of_the_message() {
    let inner = inner();
    let manager = builder(&inner).build().unwrap();
    let context = context(&[]);
    let own = Client::new().encrypt(&keyring()).suite(UNSIGNED).bytes(TEXT).wait().unwrap();
    let (own, other) = (own.header.encrypted_data_keys()[0].clone(), EncryptedDataKey::new("other", "key", [1; 40]));
    for (keys, place) in [([own.clone(), other.clone()], 0), ([other.clone(), own.clone()], 1), ([own, other], 0)] {
        let materials =
            block_on(manager.decryption_materials(decryption(UNSIGNED, &context, &keys, &context))).unwrap();
        assert_eq!(materials.opened_by.encrypted_data_key, place);
    }
    assert_eq!(inner.decryptions(), 1);
}

// Many at the same time.

const CROWD: usize = 1_000;

#[test]
fn a_thousand_who_wait_make_one_call() {
    let inner = gated("tenant");
    let manager = builder(&inner).build().unwrap();
    let blue = context(&[("tenant", "blue")]);
    let keys = Mutex::new(BTreeSet::new());
    let asked = AtomicUsize::new(0);
    thread::scope(|scope| {
        // Half of them on threads, and half of them as futures on one.
        for _ in 0..CROWD / 2 {
            scope.spawn(|| {
                asked.fetch_add(1, Ordering::SeqCst);
                let key = encrypt_in(&manager, &blue, 1).unwrap();
                keys.lock().unwrap().insert(key.ciphertext().to_vec());
            });
        }
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut futures: Vec<_> =
                    (0..CROWD / 2).map(|_| manager.encryption_materials(request(&blue, Some(UNSIGNED)))).collect();
                asked.fetch_add(CROWD / 2, Ordering::SeqCst);
                std::future::poll_fn(|context| {
                    futures.retain_mut(|future| match future.as_mut().poll(context) {
                        Poll::Pending => true,
                        Poll::Ready(materials) => {
                            let key = materials.unwrap().encrypted_data_keys[0].ciphertext().to_vec();
                            keys.lock().unwrap().insert(key);
                            false
                        }
                    });
                    if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            });
        });
        until("all have asked", || asked.load(Ordering::SeqCst) == CROWD);
        // What concerns another entry waits for nobody.
        encrypt(&manager, 1).unwrap();
        assert_eq!(inner.encryptions(), 2);
        inner.open();
    });
    assert_eq!(inner.encryptions(), 2);
    assert_eq!(keys.into_inner().unwrap().len(), 1);
}

#[test]
fn a_failure_is_shared_by_all_who_waited_for_it() {
    let inner = gated("tenant");
    inner.failing.store(true, Ordering::SeqCst);
    let manager = builder(&inner).build().unwrap();
    let blue = context(&[("tenant", "blue")]);
    let mut futures: Vec<_> =
        (0..CROWD).map(|_| manager.encryption_materials(request(&blue, Some(UNSIGNED)))).collect();
    assert!(futures.iter_mut().all(|future| poll_once(future.as_mut()).is_pending()));
    inner.open();
    for future in futures {
        let Err(error) = block_on(future) else { panic!("a success") };
        assert_eq!(error.to_string(), "keyring hsm://slot-1 failed");
        let sources = std::iter::successors(std::error::Error::source(&error), |error| error.source());
        let texts: Vec<_> = sources.map(ToString::to_string).collect();
        assert_eq!(texts.last().unwrap(), "the session was closed", "{texts:?}");
    }
    assert_eq!(inner.encryptions(), 1);
    // Who fails alone has the error itself.
    let error = encrypt_in(&manager, &blue, 1).unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the session was closed");
    assert_eq!(inner.encryptions(), 2);
    // A failure is not kept: who asks later has another try.
    inner.failing.store(false, Ordering::SeqCst);
    encrypt_in(&manager, &blue, 1).unwrap();
    assert_eq!(inner.encryptions(), 3);

    // On decryption, the attempts are told to all.
    let inner = gated("tenant");
    let manager = builder(&inner).build().unwrap();
    let (keys, none) = ([EncryptedDataKey::new("example", "other", [1; 40])], context(&[]));
    let mut futures: Vec<_> =
        (0..10).map(|_| manager.decryption_materials(decryption(UNSIGNED, &blue, &keys, &none))).collect();
    assert!(futures.iter_mut().all(|future| poll_once(future.as_mut()).is_pending()));
    inner.open();
    for future in futures {
        let Err(Error::NotUnwrapped(failure)) = block_on(future) else { panic!("another outcome") };
        assert!(matches!(failure.attempts()[0].reason, UnwrapReason::NoMatch));
    }
    assert_eq!(inner.decryptions(), 1);
}

#[test]
fn a_crowd_of_threads_makes_few_calls_to_a_failing_manager() {
    let inner = gated("tenant");
    inner.failing.store(true, Ordering::SeqCst);
    let manager = builder(&inner).build().unwrap();
    let (blue, asked) = (context(&[("tenant", "blue")]), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| {
                asked.fetch_add(1, Ordering::SeqCst);
                assert!(encrypt_in(&manager, &blue, 1).is_err());
            });
        }
        until("all have asked", || asked.load(Ordering::SeqCst) == CROWD);
        thread::sleep(Duration::from_millis(50));
        inner.open();
    });
    // One call for all; a few more for threads that had said they asked, and had not yet.
    assert!(inner.encryptions() <= 20, "{}", inner.encryptions());
}

#[test]
fn a_manager_that_hangs_is_asked_once_and_holds_up_nobody_else() {
    let inner = gated("tenant");
    let manager = builder(&inner).build().unwrap();
    let blue = context(&[("tenant", "blue")]);
    let mut futures: Vec<_> =
        (0..CROWD).map(|_| manager.encryption_materials(request(&blue, Some(UNSIGNED)))).collect();
    for _ in 0..3 {
        assert!(futures.iter_mut().all(|future| poll_once(future.as_mut()).is_pending()));
    }
    assert_eq!(inner.encryptions(), 1);
    for at in 0..100 {
        encrypt_in(&manager, &context(&[("other", &at.to_string())]), 1).unwrap();
    }
    assert_eq!(inner.encryptions(), 101);
    // All give up: nothing is left behind, and the next to come calls again.
    drop(futures);
    let mut next = manager.encryption_materials(request(&blue, Some(UNSIGNED)));
    assert!(poll_once(next.as_mut()).is_pending());
    assert_eq!(inner.encryptions(), 102);
    inner.open();
    assert!(block_on(next).is_ok());
}

#[test]
fn whoever_waits_goes_on_if_the_first_gives_up() {
    let inner = gated("tenant");
    let manager = builder(&inner).build().unwrap();
    let blue = context(&[("tenant", "blue")]);
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        // The first is polled once and dropped while others sleep.
        let mut first = manager.encryption_materials(request(&blue, Some(UNSIGNED)));
        assert!(poll_once(first.as_mut()).is_pending());
        for _ in 0..50 {
            scope.spawn(|| {
                encrypt_in(&manager, &blue, 1).unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        thread::sleep(Duration::from_millis(20));
        assert_eq!((inner.encryptions(), done.load(Ordering::SeqCst)), (1, 0));
        drop(first);
        until("another calls", || inner.encryptions() == 2);
        inner.open();
        until("all are served", || done.load(Ordering::SeqCst) == 50);
    });
    assert_eq!(inner.encryptions(), 2);

    // One after the other, each in its turn the first; some of those who wait go too.
    let inner = gated("tenant");
    let manager = builder(&inner).build().unwrap();
    let mut futures: Vec<_> = (0..100).map(|_| manager.encryption_materials(request(&blue, Some(UNSIGNED)))).collect();
    assert!(futures.iter_mut().all(|future| poll_once(future.as_mut()).is_pending()));
    while futures.len() > 2 {
        drop(futures.pop());
        drop(futures.remove(0));
        assert!(futures.iter_mut().all(|future| poll_once(future.as_mut()).is_pending()));
    }
    assert_eq!(inner.encryptions(), 50);
    inner.open();
    assert!(futures.into_iter().all(|future| block_on(future).is_ok()));
    assert_eq!(inner.encryptions(), 50);
}

#[test]
fn a_panic_of_the_inner_manager_leaves_nobody_waiting() {
    struct Panics(AtomicUsize, Inner);
    impl MaterialsManager for Panics {
        fn encryption_materials<'a>(
            &'a self,
            request: EncryptionRequest<'a>,
        ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
            Box::pin(async move {
                let calls = self.0.fetch_add(1, Ordering::SeqCst);
                self.1.gate.as_ref().unwrap().1.pass().await;
                assert!(calls > 0, "the first call panics");
                self.1.encryption_materials(request).await
            })
        }

        fn decryption_materials<'a>(
            &'a self,
            request: DecryptionRequest<'a>,
        ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
            self.1.decryption_materials(request)
        }
    }
    let inner = Panics(AtomicUsize::new(0), gated("tenant"));
    let manager = CachingManager::builder(&inner, cache(10), MINUTE).build().unwrap();
    let (panicked, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..10)
            .map(|_| {
                scope.spawn(|| {
                    encrypt(&manager, 1).unwrap();
                    served.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        until("the first call", || inner.0.load(Ordering::SeqCst) > 0);
        inner.1.open();
        for thread in threads {
            panicked.fetch_add(usize::from(thread.join().is_err()), Ordering::SeqCst);
        }
    });
    assert_eq!((panicked.into_inner(), served.into_inner()), (1, 9));
}

/// Many threads, few entries, a small cache, short ages, small limits, and callers that give up: whatever the
/// interleaving, no key serves more than it may, and everyone gets an answer.
#[test]
fn a_storm_of_threads_breaks_no_limit() {
    let inner = inner();
    let (nanoseconds, clock) = set_clock();
    let manager = CachingManager::builder(&inner, cache(3), Duration::from_micros(50))
        .max_messages(5)
        .max_bytes(4_000)
        .clock(clock)
        .build()
        .unwrap();
    let contexts: Vec<_> = (0..6).map(|at| context(&[("at", &at.to_string())])).collect();
    let used: Mutex<HashMap<Vec<u8>, (u64, u64)>> = Mutex::default();
    thread::scope(|scope| {
        for thread in 0..8_usize {
            let (manager, contexts, used, nanoseconds) = (&manager, &contexts, &used, &nanoseconds);
            scope.spawn(move || {
                let mut state = thread * 7 + 1;
                for _ in 0..2_000 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let dice = state >> 33;
                    let mut request = request(&contexts[dice % 6], Some(UNSIGNED));
                    let length = (dice / 6 % 1_500) as u64;
                    request.max_plaintext_length = Some(length);
                    nanoseconds.fetch_add(1_000, Ordering::SeqCst);
                    let mut future = manager.encryption_materials(request);
                    // Some look once, and go whatever they see: what they may have got counts as used.
                    if dice % 11 == 0 {
                        let _ = poll_once(future.as_mut());
                        continue;
                    }
                    let key = block_on(future).unwrap().encrypted_data_keys[0].ciphertext().to_vec();
                    let mut used = used.lock().unwrap();
                    let (messages, bytes) = used.entry(key).or_default();
                    (*messages, *bytes) = (*messages + 1, *bytes + length);
                    assert!(*messages <= 5 && *bytes <= 4_000);
                }
            });
        }
    });
}

#[cfg(feature = "metrics")]
mod counters {
    use ::metrics::{
        Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
        with_local_recorder,
    };

    use super::*;

    /// Adds up whatever is counted, by name and labels.
    #[derive(Clone, Default)]
    struct Sums(Arc<Mutex<BTreeMap<String, u64>>>);

    struct Sum(Sums, String);

    impl Sum {
        fn add(&self, value: u64) {
            *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
        }
    }

    impl CounterFn for Sum {
        fn increment(&self, value: u64) {
            self.add(value);
        }

        fn absolute(&self, _value: u64) {}
    }

    impl HistogramFn for Sum {
        fn record(&self, value: f64) {
            assert!((0.0..60.0).contains(&value));
            self.add(1);
        }
    }

    impl Sums {
        fn of(&self, key: &Key) -> Arc<Sum> {
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(Sum(self.clone(), format!("{} {}", key.name(), labels.join(" "))))
        }
    }

    impl Recorder for Sums {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.of(key))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.of(key))
        }
    }

    #[test]
    fn the_cache_counts_what_it_does() {
        let sums = Sums::default();
        let inner = inner();
        let (nanoseconds, clock) = set_clock();
        with_local_recorder(&sums, || {
            let manager = CachingManager::builder(&inner, cache(2), MINUTE).clock(clock).build().unwrap();
            let client = Client::new();
            let message = client.encrypt(&keyring()).bytes(TEXT).wait().unwrap().message;
            for name in ["a", "a", "a", "b", "c"] {
                encrypt_in(&manager, &context(&[("name", name)]), 1).unwrap();
            }
            nanoseconds.fetch_add(60_000_000_000, Ordering::SeqCst);
            client.encrypt_with(&manager).copy(TEXT, &mut Vec::new()).wait().unwrap();
            for _ in 0..3 {
                client.decrypt_with(&manager).bytes(&message).wait().unwrap();
            }
            inner.failing.store(true, Ordering::SeqCst);
            encrypt_in(&manager, &context(&[("name", "a")]), 1).unwrap_err();
        });
        let expected = [
            ("sealwax_cache_bypasses_total operation=encrypt", 1),
            ("sealwax_cache_evictions_total cause=age", 2),
            ("sealwax_cache_evictions_total cause=capacity", 1),
            ("sealwax_cache_hits_total operation=decrypt", 2),
            ("sealwax_cache_hits_total operation=encrypt", 2),
            ("sealwax_cache_inner_call_seconds operation=decrypt", 1),
            ("sealwax_cache_inner_call_seconds operation=encrypt", 5),
            ("sealwax_cache_inner_calls_total operation=decrypt outcome=ok", 1),
            ("sealwax_cache_inner_calls_total operation=encrypt outcome=error", 1),
            ("sealwax_cache_inner_calls_total operation=encrypt outcome=ok", 4),
            ("sealwax_cache_misses_total operation=decrypt", 1),
            ("sealwax_cache_misses_total operation=encrypt", 4),
        ];
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(*sums.0.lock().unwrap(), expected);
    }
}
