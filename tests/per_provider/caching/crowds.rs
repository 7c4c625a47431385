//! Concurrent requests: one call for all that wait, and none left waiting.

use super::*;

const CROWD: usize = 1_000;

#[test]
fn a_thousand_who_wait_make_one_call() {
    let inner = gated("tenant");
    let manager = builder(&inner).build().unwrap();
    let blue = context(&[("tenant", "blue")]);
    let keys = Mutex::new(BTreeSet::new());
    let asked = AtomicUsize::new(0);
    thread::scope(|scope| {
        // Half of them on threads, and half of them as futures on one thread.
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
        // A request for another entry does not wait.
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
    // A request that fails alone gets the error itself.
    let error = encrypt_in(&manager, &blue, 1).unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the session was closed");
    assert_eq!(inner.encryptions(), 2);
    // A failure is not kept: a later request calls again.
    inner.failing.store(false, Ordering::SeqCst);
    encrypt_in(&manager, &blue, 1).unwrap();
    assert_eq!(inner.encryptions(), 3);

    // On decryption, all waiting requests get the attempts.
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
    // One call for all, and a few more for threads that had announced their request but not yet
    // made it.
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
    // All give up: nothing is left behind, and the next request calls again.
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

    // One after the other becomes the leader; some of the followers are dropped too.
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

/// Many threads, few entries, a small cache, short ages, small limits, and callers that give up:
/// whatever the interleaving, no key is used more than it may be, and every caller gets an answer.
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
                    // Some poll once, and are dropped whatever the result: what they may have
                    // received counts as used.
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

/// A manager over another one that refuses a commitment policy.
struct Refusing<'a>(&'a Inner, CommitmentPolicy);

impl MaterialsManager for Refusing<'_> {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(async move {
            let policy = request.policy;
            let materials = self.0.encryption_materials(request).await?;
            if policy == self.1 {
                return Err(Error::Commitment { suite: materials.suite, policy, operation: Direction::Encrypt });
            }
            Ok(materials)
        })
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        Box::pin(async move {
            let DecryptionRequest { suite, policy, .. } = request;
            let materials = self.0.decryption_materials(request).await?;
            if policy == self.1 {
                return Err(Error::Commitment { suite, policy, operation: Direction::Decrypt });
            }
            Ok(materials)
        })
    }
}

#[test]
fn attack_22_a_follower_is_not_refused_for_the_policy_of_the_leader() {
    let (refused, allowed) =
        (CommitmentPolicy::RequireEncryptAllowDecrypt, CommitmentPolicy::RequireEncryptRequireDecrypt);
    let (blue, none) = (context(&[("tenant", "blue")]), EncryptionContext::new());
    let sealed = new_client().encrypt(&keyring()).suite(UNSIGNED).context(blue.clone()).bytes(TEXT).wait().unwrap();
    let keys = sealed.header.encrypted_data_keys();

    let inner = gated("tenant");
    let manager = CachingManager::builder(Refusing(&inner, refused), cache(10), MINUTE).build().unwrap();
    let encrypting = |policy| {
        let mut request = request(&blue, Some(UNSIGNED));
        request.policy = policy;
        manager.encryption_materials(request)
    };
    let decrypting = |policy| {
        let mut request = decryption(UNSIGNED, &blue, keys, &none);
        request.policy = policy;
        manager.decryption_materials(request)
    };
    let (mut leader, mut follower) = (encrypting(refused), encrypting(allowed));
    let (mut reading_leader, mut reading_follower) = (decrypting(refused), decrypting(allowed));
    assert!(poll_once(leader.as_mut()).is_pending() && poll_once(follower.as_mut()).is_pending());
    assert!(poll_once(reading_leader.as_mut()).is_pending() && poll_once(reading_follower.as_mut()).is_pending());
    assert_eq!((inner.encryptions(), inner.decryptions()), (1, 1), "the followers wait");
    inner.open();
    let error = block_on(leader).err().expect("the policy of the leader");
    assert!(matches!(error, Error::Commitment { policy, .. } if policy == refused), "{error:?}");
    block_on(follower).unwrap_or_else(|error| panic!("{error}"));
    let error = block_on(reading_leader).err().expect("the policy of the leader");
    assert!(matches!(error, Error::Commitment { policy, .. } if policy == refused), "{error:?}");
    block_on(reading_follower).unwrap_or_else(|error| panic!("{error}"));
}

/// A waker that panics, as that of an executor with a full queue can.
struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new("the queue is full"));
    }
}

/// A waker that counts how often it is called.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_waker_that_panics_keeps_no_other_follower_waiting() {
    /// How a leader ends.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum End {
        Finished,
        Dropped,
        /// Dropped because the thread panics.
        Unwound,
    }
    let blue = context(&[("tenant", "blue")]);
    for end in [End::Finished, End::Dropped, End::Unwound] {
        let inner = gated("tenant");
        let manager = builder(&inner).build().unwrap();
        let ask = || manager.encryption_materials(request(&blue, Some(UNSIGNED)));
        let mut leader = ask();
        assert!(poll_once(leader.as_mut()).is_pending());
        // Two that panic, with others before, between and after them.
        let counts: [Arc<Counting>; 3] = Default::default();
        let [before, between, behind] = counts.clone().map(Waker::from);
        let panicking = Waker::from(Arc::new(Panicking));
        let mut followers: Vec<_> = [&before, &panicking, &between, &panicking, &behind].map(|_| ask()).into();
        let wakers = [&before, &panicking, &between, &panicking, &behind];
        for (follower, waker) in followers.iter_mut().zip(wakers) {
            assert!(follower.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        if end == End::Finished {
            inner.open();
        }
        // The panic is not hidden.
        let outcome = catch_unwind(AssertUnwindSafe(|| match end {
            End::Finished => drop(poll_once(leader.as_mut())),
            End::Dropped => drop(leader),
            End::Unwound => {
                let _leader = leader;
                resume_unwind(Box::new("another panic"));
            }
        }));
        let expected = if end == End::Unwound { "another panic" } else { "the queue is full" };
        assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&expected), "{end:?}");
        for count in &counts {
            assert_eq!(count.0.load(Ordering::SeqCst), 1, "{end:?}: a follower was not woken");
        }
        inner.open();
        for follower in followers {
            block_on(follower).unwrap_or_else(|error| panic!("{end:?}: {error}"));
        }
    }
}
