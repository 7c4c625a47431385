//! What is shared, what never is, and what is removed.

use super::*;

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
    // The usage of a shared entry is counted for all its users.
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
    // CVE-2026-6550: a caller that encrypts under another policy fills the shared entry for "no
    // suite requested".
    let inner = inner();
    let shared = cache(10);
    let managers: [CachingManager<&Inner>; 2] =
        [0, 1].map(|_| CachingManager::builder(&inner, shared.clone(), MINUTE).partition("p").build().unwrap());
    let old = client_builder().commitment_policy(CommitmentPolicy::ForbidEncryptAllowDecrypt).build();
    let new = new_client();
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

    // The same if many wait for one call.
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

/// A cache that returns any of its entries for any id.
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
    // Nor a cache that returns an entry that is too old, or one for the other direction.
    nanoseconds.fetch_add(60_000_000_000, Ordering::SeqCst);
    encrypt_in(&manager, &green, 1).unwrap();
    assert_eq!(inner.encryptions(), 3);
    let client = new_client();
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

/// A cache in memory whose answers are recorded.
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
        let sealed = new_client().encrypt_with(&manager).suite(UNSIGNED).bytes(TEXT).wait().unwrap();
        assert_eq!(sealed.header.suite(), SIGNED);
        assert_eq!(inner.encryptions(), calls);
    }
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

/// Records the signing keys that its inner manager makes, without holding them.
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
    let client = new_client();
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
    // A key in use lives until its last user is done.
    let (context, mut machines) = ([("name", "e")], Vec::new());
    machines.push(client.encrypt_with(&manager).context(context).plaintext_length_bound(9).machine().wait().unwrap());
    cache.clear();
    assert_eq!(watching.alive(), 1);
    machines.clear();
    assert_eq!(watching.alive(), 0);
}

#[test]
fn messages_under_one_data_key_open_like_any_others() {
    for suite in AlgorithmSuite::ALL {
        let client = client_for(suite);
        let inner = inner();
        let manager = builder(&inner).build().unwrap();
        let mut messages = Vec::new();
        for length in [0, 1, 4_096, 10_000] {
            let text = pattern(length);
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
        // An altered message is refused with a cached key as with any other.
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
    let own = new_client().encrypt(&keyring()).suite(UNSIGNED).bytes(TEXT).wait().unwrap();
    let (own, other) = (own.header.encrypted_data_keys()[0].clone(), EncryptedDataKey::new("other", "key", [1; 40]));
    for (keys, place) in [([own.clone(), other.clone()], 0), ([other.clone(), own.clone()], 1), ([own, other], 0)] {
        let materials =
            block_on(manager.decryption_materials(decryption(UNSIGNED, &context, &keys, &context))).unwrap();
        assert_eq!(materials.opened_by.encrypted_data_key, place);
    }
    assert_eq!(inner.decryptions(), 1);
}
