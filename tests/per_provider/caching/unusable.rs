//! Materials that cannot write or read any message: the request fails, and the next one calls
//! again.

use sealwax::keyring::{Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped};

use super::*;

/// What a keyring does wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Returns no encrypted data key.
    NoEncryptedDataKey,
    /// Returns a data key of this length.
    Length(usize),
    /// Claims to have unwrapped the encrypted data key at this index.
    Index(usize),
}

/// A keyring that can be faulty, and counts its requests.
struct Flaky {
    keyring: RawAesKeyring,
    fault: Mutex<Option<Fault>>,
    calls: AtomicUsize,
}

impl Flaky {
    fn new() -> Arc<Self> {
        Arc::new(Self { keyring: keyring(), fault: Mutex::default(), calls: AtomicUsize::new(0) })
    }

    fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn ask(&self) -> Option<Fault> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        *self.fault.lock().unwrap()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Keyring for Flaky {
    fn label(&self) -> Arc<str> {
        "flaky".into()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move {
            let mut wrapped = self.keyring.on_encrypt(request).await?;
            match self.ask() {
                Some(Fault::NoEncryptedDataKey) => wrapped.encrypted_data_keys.clear(),
                Some(Fault::Length(length)) => wrapped.data_key = Some(SecretBytes::zeroed(length)),
                Some(Fault::Index(_)) | None => {}
            }
            Ok(wrapped)
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let mut unwrapped = self.keyring.on_decrypt(request).await?;
            match self.ask() {
                Some(Fault::Length(length)) => unwrapped.data_key = SecretBytes::zeroed(length),
                Some(Fault::Index(index)) => unwrapped.encrypted_data_key = index,
                Some(Fault::NoEncryptedDataKey) | None => {}
            }
            Ok(unwrapped)
        })
    }
}

fn caching(flaky: &Arc<Flaky>) -> CachingManager<DefaultMaterialsManager<Arc<Flaky>>> {
    CachingManager::builder(DefaultMaterialsManager::new(flaky.clone()), cache(10), MINUTE).build().unwrap()
}

#[test]
fn materials_that_no_message_can_be_written_with_are_not_kept() {
    for fault in [Fault::NoEncryptedDataKey, Fault::Length(0), Fault::Length(16), Fault::Length(33)] {
        let flaky = Flaky::new();
        let manager = caching(&flaky);
        flaky.set(Some(fault));
        for calls in 1..=2 {
            let refused = encrypt(&manager, 1);
            assert!(matches!(refused, Err(Error::Materials(_))), "{fault:?}: {refused:?}");
            assert_eq!(flaky.calls(), calls, "{fault:?}");
        }
        // Once the keyring is healthy again, the next request succeeds, and its result is cached.
        flaky.set(None);
        let key = encrypt(&manager, 1).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(encrypt(&manager, 1).unwrap(), key, "{fault:?}");
        assert_eq!(flaky.calls(), 3, "{fault:?}");
    }
}

#[test]
fn materials_that_cannot_open_the_message_are_not_kept() {
    let message = new_client().encrypt(&keyring()).suite(UNSIGNED).bytes(TEXT).wait().unwrap().message;
    for fault in [Fault::Length(0), Fault::Length(5), Fault::Length(33), Fault::Index(1), Fault::Index(usize::MAX)] {
        let flaky = Flaky::new();
        let manager = caching(&flaky);
        let open = || new_client().decrypt_with(&manager).bytes(&message).wait();
        flaky.set(Some(fault));
        for calls in 1..=2 {
            let refused = open();
            assert!(matches!(refused, Err(Error::Materials(_))), "{fault:?}: {:?}", refused.map(|_| ()));
            assert_eq!(flaky.calls(), calls, "{fault:?}");
        }
        flaky.set(None);
        for _ in 0..2 {
            let opened = open().unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            assert_eq!((&*opened.plaintext, opened.opened_by.encrypted_data_key), (TEXT, 0), "{fault:?}");
        }
        assert_eq!(flaky.calls(), 3, "{fault:?}");
    }
}
