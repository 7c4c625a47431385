//! `wait` on the threads of a Tokio runtime, which must not be blocked: a local keyring never
//! waits, and one that does wait gets an error.

use sealwax::keyring::{Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped};

use super::*;

/// A local keyring that computes for a while, as RSA does. It never waits.
struct Slow(RawAesKeyring);

impl Slow {
    fn work() {
        thread::sleep(Duration::from_millis(2));
    }
}

impl Keyring for Slow {
    fn label(&self) -> Arc<str> {
        self.0.label()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move {
            Self::work();
            self.0.on_encrypt(request).await
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            Self::work();
            self.0.on_decrypt(request).await
        })
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap()
}

#[test]
fn waiting_with_a_local_keyring_never_fails_however_many_miss_at_once() {
    const TASKS: usize = 4;
    const MESSAGES: usize = 50;
    const PER_KEY: usize = 2;
    let inner = DefaultMaterialsManager::new(Slow(keyring()));
    let manager = CachingManager::builder(inner, cache(10), MINUTE).max_messages(PER_KEY as u64).build().unwrap();
    let manager = Arc::new(manager);
    let used: Arc<Mutex<HashMap<Vec<u8>, usize>>> = Arc::default();
    runtime().block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (manager, used) = (manager.clone(), used.clone());
                tokio::spawn(async move {
                    let client = new_client();
                    for at in 0..MESSAGES {
                        let encrypt = client.encrypt_with(&*manager).suite(UNSIGNED);
                        let sealed = encrypt.bytes(TEXT).wait().unwrap_or_else(|error| panic!("{at}: {error}"));
                        let key = sealed.header.encrypted_data_keys()[0].ciphertext().to_vec();
                        *used.lock().unwrap().entry(key).or_default() += 1;
                        let opened = client.decrypt_with(&*manager).bytes(&sealed.message).wait();
                        assert_eq!(opened.unwrap_or_else(|error| panic!("{at}: {error}")).plaintext, TEXT);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let used = used.lock().unwrap();
    assert_eq!(used.values().sum::<usize>(), TASKS * MESSAGES);
    assert!(used.values().all(|messages| *messages <= PER_KEY), "no data key serves more than it may");
}

#[test]
fn waiting_with_a_keyring_that_waits_is_refused_and_holds_up_nobody() {
    let inner = Arc::new(gated("tenant"));
    let manager = Arc::new(CachingManager::builder(inner.clone(), cache(10), MINUTE).build().unwrap());
    let encrypt = |manager: &CachingManager<Arc<Inner>>| {
        let client = new_client();
        client.encrypt_with(manager).suite(UNSIGNED).context([("tenant", "blue")]).bytes(TEXT).wait()
    };
    let is_refused =
        move |manager: &CachingManager<Arc<Inner>>| matches!(encrypt(manager), Err(Error::WouldBlockRuntime));
    runtime().block_on(async {
        // Alone, and while the call of another caller is in progress.
        assert!(is_refused(&manager));
        let (blue, leader) = (context(&[("tenant", "blue")]), manager.clone());
        let waiting = tokio::spawn(async move { leader.encryption_materials(request(&blue, Some(UNSIGNED))).await });
        while inner.encryptions() < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..4 {
            let manager = manager.clone();
            assert!(tokio::spawn(async move { is_refused(&manager) }).await.unwrap());
        }
        inner.open();
        let materials = waiting.await.unwrap().unwrap();
        // The result of the caller that waited is in the cache, and needs no waiting.
        let sealed = encrypt(&manager).unwrap();
        assert_eq!(sealed.header.encrypted_data_keys(), materials.encrypted_data_keys);
    });
}
