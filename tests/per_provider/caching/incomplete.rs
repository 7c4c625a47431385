//! Data keys that were wrapped while a wrapping key was down: how long they are used, and that this
//! is not much longer than the outage.

use sealwax::keyring::{Keyring, MultiKeyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped};

use super::*;

/// A keyring that can be down.
struct Recovery(Arc<AtomicBool>, RawAesKeyring);

impl Keyring for Recovery {
    fn label(&self) -> Arc<str> {
        "recovery".into()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        if self.0.load(Ordering::SeqCst) {
            return Box::pin(async { Err(Error::keyring("recovery", "the service is down")) });
        }
        self.1.on_encrypt(request)
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        self.1.on_decrypt(request)
    }
}

/// A manager that writes under a main key and, if it is up, a recovery key, with settings of the
/// test.
struct Scene {
    manager: CachingManager<DefaultMaterialsManager<MultiKeyring>>,
    down: Arc<AtomicBool>,
    nanoseconds: Arc<AtomicU64>,
}

fn scene(max_age: u64, max_age_incomplete: Option<u64>) -> Scene {
    scene_over(cache(10), max_age, max_age_incomplete)
}

fn scene_over(cache: Arc<MemoryCache>, max_age: u64, max_age_incomplete: Option<u64>) -> Scene {
    let down = Arc::new(AtomicBool::new(true));
    let recovery = Recovery(down.clone(), RawAesKeyring::new("example", "recovery", vec![8; 32]).unwrap());
    let keyring = MultiKeyring::new(keyring()).child(recovery).require(0);
    let (nanoseconds, clock) = set_clock();
    let inner = DefaultMaterialsManager::new(keyring);
    let builder = CachingManager::builder(inner, cache, Duration::from_secs(max_age)).clock(clock).partition("p");
    let builder = match max_age_incomplete {
        Some(seconds) => builder.max_age_incomplete(Duration::from_secs(seconds)),
        None => builder,
    };
    Scene { manager: builder.build().unwrap(), down, nanoseconds }
}

impl Scene {
    fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Sets the clock to milliseconds.
    fn at(&self, milliseconds: u64) {
        self.nanoseconds.store(milliseconds * 1_000_000, Ordering::SeqCst);
    }

    /// Writes a message, which must open under each key that is reported to have wrapped its data
    /// key. Returns the data key in wrapped form, and the number of keys that wrapped it.
    fn write(&self) -> (EncryptedDataKey, usize) {
        let client = new_client();
        let sealed = client.encrypt_with(&self.manager).suite(UNSIGNED).bytes(TEXT).wait().unwrap();
        let keys = sealed.header.encrypted_data_keys();
        assert_eq!(sealed.key_report.wrapped().len(), keys.len());
        assert_eq!(sealed.key_report.failed().len(), 2 - keys.len(), "the report of the message says what is missing");
        assert_eq!(client.decrypt(&keyring()).bytes(&sealed.message).wait().unwrap().plaintext, TEXT);
        (keys[0].clone(), keys.len())
    }
}

#[test]
fn attack_31_what_was_written_while_a_key_was_down_is_not_served_once_it_is_back() {
    let scene = scene(60, None);
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let (key, wrapped) = scene.write();
        assert_eq!(wrapped, 1);
        assert!(seen.insert(key.ciphertext().to_vec()), "a data key that is not complete serves one message");
    }
    scene.set_down(false);
    // At once, and at the same instant of the clock.
    let (complete, wrapped) = scene.write();
    assert_eq!(wrapped, 2);
    assert!(seen.insert(complete.ciphertext().to_vec()));
    for milliseconds in [1, 30_000, 59_999] {
        scene.at(milliseconds);
        assert_eq!(scene.write(), (complete.clone(), 2));
    }
    // A complete one is used while the key is down, up to its maximum age and no longer.
    scene.set_down(true);
    assert_eq!(scene.write(), (complete.clone(), 2));
    scene.at(60_001);
    let (key, wrapped) = scene.write();
    assert_eq!(wrapped, 1);
    assert_ne!(key, complete);
    assert_ne!(scene.write().0, key);
}

#[test]
fn attack_31_many_who_ask_while_a_key_is_down_share_nothing() {
    let scene = scene(60, None);
    let keys = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let (key, wrapped) = scene.write();
                    assert_eq!(wrapped, 1);
                    keys.lock().unwrap().insert(key.ciphertext().to_vec());
                }
            });
        }
    });
    assert_eq!(keys.into_inner().unwrap().len(), 80);
    scene.set_down(false);
    assert_eq!(scene.write().1, 2);
}

#[test]
fn attack_31_an_incomplete_data_key_is_served_for_its_own_age_at_most() {
    let scene = scene(60, Some(5));
    scene.at(1_000);
    let (incomplete, wrapped) = scene.write();
    assert_eq!(wrapped, 1);
    scene.at(2_000);
    assert_eq!(scene.write(), (incomplete.clone(), 1), "it costs no call");
    scene.set_down(false);
    scene.at(5_999);
    assert_eq!(scene.write(), (incomplete.clone(), 1));
    scene.at(6_000);
    let (complete, wrapped) = scene.write();
    assert_eq!(wrapped, 2);
    assert_ne!(complete, incomplete);
    // A complete one keeps its whole age, whatever happens to the key meanwhile.
    scene.set_down(true);
    scene.at(65_999);
    assert_eq!(scene.write(), (complete.clone(), 2));
    scene.at(66_000);
    let (second, wrapped) = scene.write();
    assert_eq!(wrapped, 1);
    // While the key remains down, a new one is made every five seconds.
    scene.at(70_999);
    assert_eq!(scene.write(), (second.clone(), 1));
    scene.at(71_000);
    assert_ne!(scene.write().0, second);
}

#[test]
fn attack_31_an_incomplete_data_key_is_never_served_beyond_the_age_of_others() {
    let scene = scene(60, Some(3_600));
    scene.at(0);
    let (incomplete, _) = scene.write();
    scene.set_down(false);
    scene.at(59_999);
    assert_eq!(scene.write(), (incomplete, 1));
    scene.at(60_000);
    assert_eq!(scene.write().1, 2);

    // Nor by another manager over the same cache, which keeps its own for longer.
    let shared = cache(10);
    let (short, long) = (scene_over(shared.clone(), 60, Some(3_600)), scene_over(shared, 7_200, Some(7_200)));
    long.set_down(false);
    short.at(0);
    long.at(0);
    let (incomplete, _) = short.write();
    long.at(59_999);
    assert_eq!(long.write(), (incomplete, 1));
    long.at(60_000);
    assert_eq!(long.write().1, 2);
}

#[test]
fn attack_31_the_age_of_incomplete_data_keys_is_each_managers_own() {
    // A manager without this setting shares the cache and the partition with one that has it.
    let shared = cache(10);
    let (lenient, strict) = (scene_over(shared.clone(), 60, Some(30)), scene_over(shared, 60, None));
    let (incomplete, wrapped) = lenient.write();
    assert_eq!((lenient.write(), wrapped), ((incomplete.clone(), 1), 1));
    let (own, wrapped) = strict.write();
    assert_eq!(wrapped, 1);
    assert_ne!(own, incomplete, "what another manager cached is not complete");
    assert_ne!(strict.write().0, own, "it serves one message");
    // Nor once its own keyring is healthy.
    let (incomplete, _) = lenient.write();
    strict.set_down(false);
    let (complete, wrapped) = strict.write();
    assert_eq!(wrapped, 2);
    assert_ne!(complete, incomplete);

    // A manager with a smaller age stops earlier, and the other one does not.
    for (milliseconds, serves) in [(2_999, true), (3_000, false)] {
        let shared = cache(10);
        let (long, short) = (scene_over(shared.clone(), 60, Some(30)), scene_over(shared, 60, Some(3)));
        long.at(0);
        let (incomplete, _) = long.write();
        for scene in [&long, &short] {
            scene.at(milliseconds);
        }
        assert_eq!(long.write(), (incomplete.clone(), 1));
        assert_eq!(short.write().0 == incomplete, serves, "{milliseconds}");
    }
}

#[test]
fn an_age_of_zero_for_incomplete_data_keys_is_refused() {
    let inner = inner();
    let refused = builder(&inner).max_age_incomplete(Duration::ZERO).build();
    assert!(matches!(refused.err(), Some(Error::Configuration(why)) if why.contains("max_age_incomplete")));
    builder(&inner).max_age_incomplete(Duration::from_nanos(1)).build().unwrap();
}
