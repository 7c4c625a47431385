//! How long, for how many messages and for how many bytes a data key is used.

use super::*;

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
    // An unlimited age must not overflow.
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
    // The one of 101 bytes bypassed the cache, whose entry remains; the inner manager received its
    // length.
    let lengths = inner.lengths.lock().unwrap();
    assert_eq!(*lengths, [None, None, None, None, Some(101)]);
}

#[test]
fn limits_are_exact_under_eight_threads() {
    const THREADS: usize = 8;
    let inner = inner();
    let by_messages = builder(&inner).max_messages(7).build().unwrap();
    let by_bytes = builder(&inner).max_bytes(1_000).build().unwrap();
    // By limit and data key: the messages and bytes that it was returned for.
    let used = Mutex::new(HashMap::<(bool, Vec<u8>), (u64, u64)>::new());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (by_messages, by_bytes, used) = (&by_messages, &by_bytes, &used);
            scope.spawn(move || {
                for message in 0..140 {
                    // Lengths that fill the limit exactly, and lengths that do not.
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
    let client = new_client();
    for _ in 0..2 {
        client.encrypt_with(&manager).copy(TEXT, &mut Vec::new()).unwrap();
    }
    assert_eq!(inner.encryptions(), 2);
    for _ in 0..4 {
        client.encrypt_with(&manager).plaintext_length_bound(50).copy(TEXT, &mut Vec::new()).unwrap();
    }
    assert_eq!(inner.encryptions(), 4, "two a key: the bound is counted, not the text");
    client.encrypt_with(&manager).plaintext_length_bound(101).copy(TEXT, &mut Vec::new()).unwrap();
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
    // For one of them it is too old already.
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

    let message = new_client().encrypt(&keyring()).bytes(TEXT).wait().unwrap().message;
    for (instant, calls) in [(20, 1), (29, 1), (30, 2), (39, 2), (41, 3)] {
        at(instant * 1_000_000_000);
        new_client().decrypt_with(&long).bytes(&message).wait().unwrap();
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
                        // Read before the request: a request after that instant never gets the old
                        // key.
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

#[test]
fn suites_without_key_derivation_are_never_cached() {
    let old = client_builder().commitment_policy(CommitmentPolicy::ForbidEncryptAllowDecrypt).build();
    let shared = cache(10);
    // The suite is requested.
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
    // No request waits for another.
    let inner = gated("tenant");
    let manager = CachingManager::builder(&inner, shared.clone(), MINUTE).build().unwrap();
    let blue = context(&[("tenant", "blue")]);
    let mut request = request(&blue, Some(IDENTITY));
    request.policy = CommitmentPolicy::ForbidEncryptAllowDecrypt;
    let mut futures: Vec<_> = (0..5).map(|_| manager.encryption_materials(request)).collect();
    assert!(futures.iter_mut().all(|future| poll_once(future.as_mut()).is_pending()));
    assert_eq!(inner.encryptions(), 5);
    drop(futures);
    // The suite is not requested, but returned by the inner manager; for one request and for many
    // concurrent ones.
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
