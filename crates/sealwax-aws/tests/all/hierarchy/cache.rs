//! The cache of branch keys: how often the storage and the service are called, and until when a
//! branch key is used.

use std::sync::atomic::AtomicU64;

use futures_util::future::join_all;
use sealwax::{
    UnwrapReason,
    keyring::{KmsErrorKind, KmsOperation},
    materials::MemoryCache,
};
use sealwax_aws::{BranchKeyCache, BranchKeyIdSupplier};

use super::*;
use crate::fake_kms::Fault;

/// Returns a cache of branch keys with a clock that is set in milliseconds.
fn clocked() -> (Arc<AtomicU64>, Arc<BranchKeyCache>) {
    let time = Arc::new(AtomicU64::new(1_000_000));
    let read = time.clone();
    let clock = move || Duration::from_millis(read.load(Ordering::SeqCst));
    (time, Arc::new(BranchKeyCache::new(Arc::new(MemoryCache::new(1000).unwrap())).clock(clock)))
}

fn advance(time: &AtomicU64, milliseconds: u64) {
    time.fetch_add(milliseconds, Ordering::SeqCst);
}

#[tokio::test]
async fn ten_thousand_messages_take_two_calls() {
    let setting = Setting::new().await;
    let keyring = setting.keyring();
    for _ in 0..10_000 {
        let message = seal(&keyring).await.unwrap();
        assert_eq!(open(&keyring, &message).await.unwrap(), b"text");
    }
    // The active branch key and its version are separate entries.
    assert_eq!(setting.table.calls(), (2, 0));
    assert_eq!(setting.kms.calls().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_callers_of_a_cold_cache_take_one_call() {
    let setting = Setting::new().await;
    let keyring = Arc::new(setting.keyring());
    let spawn = || {
        let keyring = keyring.clone();
        tokio::spawn(async move { seal(&*keyring).await.map_err(|error| error.to_string()) })
    };
    let tasks: Vec<_> = (0..200).map(|_| spawn()).collect();
    let messages = join_all(tasks).await;
    assert_eq!((setting.table.calls(), setting.kms.calls().len()), ((1, 0), 1));
    let message = messages.into_iter().map(|task| task.unwrap().unwrap()).next_back().unwrap();
    let open = || {
        let (keyring, message) = (keyring.clone(), message.clone());
        tokio::spawn(async move { open(&*keyring, &message).await.map_err(|error| error.to_string()) })
    };
    let tasks: Vec<_> = (0..200).map(|_| open()).collect();
    for task in join_all(tasks).await {
        assert_eq!(task.unwrap().unwrap(), b"text");
    }
    assert_eq!((setting.table.calls(), setting.kms.calls().len()), ((1, 0), 1));
}

#[tokio::test]
async fn a_branch_key_is_used_to_the_end_of_its_age_and_no_longer() {
    let setting = Setting::new().await;
    let (time, cache) = clocked();
    let keyring = setting.keyring().cache(cache);
    let old = seal(&keyring).await.unwrap();
    setting.store.version_key(ID).await.unwrap();
    setting.kms.calls();
    advance(&time, 53_999);
    seal(&keyring).await.unwrap();
    assert_eq!(setting.kms.calls(), []);
    // In the last tenth it is refreshed, once.
    advance(&time, 1);
    seal(&keyring).await.unwrap();
    seal(&keyring).await.unwrap();
    assert_eq!(setting.kms.asked(), [(KmsOperation::Decrypt, KEY.to_owned())]);
    // The refreshed one has an age of its own.
    advance(&time, 53_999);
    let new = seal(&keyring).await.unwrap();
    assert_eq!(setting.kms.calls(), []);
    // Without access, it is used until its end.
    setting.kms.disable(KEY);
    advance(&time, 6_000);
    seal(&keyring).await.unwrap();
    assert_eq!(setting.kms.calls().len(), 1);
    advance(&time, 1);
    let error = seal(&keyring).await.unwrap_err();
    assert!(matches!(cause(&error), BranchKeyError::Kms(error) if error.kind() == KmsErrorKind::Disabled));
    for message in [old, new] {
        let Err(Error::NotUnwrapped(failure)) = open(&keyring, &message).await else { panic!("it opens") };
        assert!(matches!(failure.attempts()[0].reason, UnwrapReason::Failed(_)));
    }
}

#[tokio::test]
async fn a_refresh_that_fails_serves_the_cached_branch_key() {
    let setting = Setting::new().await;
    let (time, cache) = clocked();
    let keyring = setting.keyring().cache(cache);
    seal(&keyring).await.unwrap();
    setting.kms.calls();
    advance(&time, 55_000);
    setting.kms.fail(std::iter::repeat_n(Fault::Error(KmsErrorKind::Throttled), 2));
    for _ in 0..20 {
        seal(&keyring).await.unwrap();
    }
    // The next attempt is made after a second.
    assert_eq!(setting.kms.calls().len(), 1);
    advance(&time, 999);
    seal(&keyring).await.unwrap();
    assert_eq!(setting.kms.calls().len(), 0);
    advance(&time, 1);
    seal(&keyring).await.unwrap();
    assert_eq!(setting.kms.calls().len(), 1);
    advance(&time, 1_000);
    seal(&keyring).await.unwrap();
    // This one succeeded, so the age starts again.
    assert_eq!(setting.kms.calls().len(), 1);
    advance(&time, 50_000);
    seal(&keyring).await.unwrap();
    assert_eq!(setting.kms.calls().len(), 0);
}

#[tokio::test]
async fn while_one_caller_refreshes_the_others_do_not_wait() {
    let setting = Setting::new().await;
    let (time, cache) = clocked();
    let keyring = Arc::new(setting.keyring().cache(cache));
    seal(&*keyring).await.unwrap();
    setting.kms.calls();
    advance(&time, 55_000);
    setting.kms.fail([Fault::Hangs]);
    let refreshing = tokio::spawn({
        let keyring = keyring.clone();
        async move { seal(&*keyring).await.is_ok() }
    });
    while setting.kms.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        seal(&*keyring).await.unwrap();
    }
    assert_eq!(setting.kms.calls().len(), 1);
    // If that caller gives up, the next one refreshes.
    refreshing.abort();
    let _ = refreshing.await;
    seal(&*keyring).await.unwrap();
    assert_eq!(setting.kms.calls().len(), 1);
}

#[tokio::test]
async fn a_caller_that_cannot_wait_is_served_while_there_is_something_to_serve() {
    let setting = Setting::new().await;
    let (time, cache) = clocked();
    let keyring = setting.keyring().cache(cache);
    let wait = || Client::new().encrypt(&keyring).suite(UNSIGNED).bytes(b"text").wait();
    assert!(matches!(cause_text(&wait().err().unwrap()), text if text.contains("`wait` would block")));
    seal(&keyring).await.unwrap();
    setting.kms.calls();
    // In the last part of the age, too: it could not refresh the branch key.
    advance(&time, 55_000);
    wait().unwrap();
    assert_eq!(setting.kms.calls(), []);
}

/// Returns the texts of an error and its causes.
fn cause_text(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_failed_fetch_fails_its_callers_and_does_not_hold_up_the_next() {
    let setting = Setting::new().await;
    let keyring = setting.keyring();
    setting.kms.fail([Fault::Error(KmsErrorKind::Throttled)]);
    let outcomes = join_all((0..50).map(|_| seal(&keyring))).await;
    for outcome in &outcomes {
        let error = outcome.as_ref().expect_err("the fetch failed");
        assert!(matches!(cause(error), BranchKeyError::Kms(error) if error.kind() == KmsErrorKind::Throttled));
    }
    assert_eq!(setting.kms.calls().len(), 1);
    let start = std::time::Instant::now();
    seal(&keyring).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn keyrings_share_what_has_the_same_partition_and_name() {
    let setting = Setting::new().await;
    let (_, cache) = clocked();
    let with = |partition: Option<&str>| {
        let keyring = setting.keyring().cache(cache.clone());
        match partition {
            Some(partition) => keyring.partition(partition).unwrap(),
            None => keyring,
        }
    };
    for (partition, calls) in [(Some("a"), 1), (Some("a"), 0), (Some("b"), 1), (None, 1), (None, 1), (Some("a"), 0)] {
        seal(&with(partition)).await.unwrap();
        assert_eq!(setting.kms.calls().len(), calls, "{partition:?}");
    }
    for partition in ["", "a\0b"] {
        assert!(setting.keyring().partition(partition).is_err());
    }
    // A keyring with a shorter age does not use what one with a longer age stored.
    let (time, cache) = clocked();
    let aged = |age| {
        let keyring = AwsKmsHierarchicalKeyring::new(setting.store.clone(), ID, Duration::from_secs(age)).unwrap();
        keyring.cache(cache.clone()).partition("p").unwrap()
    };
    seal(&aged(3600)).await.unwrap();
    setting.kms.calls();
    advance(&time, 30_000);
    seal(&aged(30)).await.unwrap();
    assert_eq!(setting.kms.calls().len(), 1);
}

#[tokio::test]
async fn a_supplier_chooses_the_branch_key() {
    let setting = Setting::new().await;
    setting.store.create_key(Some("tenant-red"), &context()).await.unwrap();
    let supplier = |context: &EncryptionContext| {
        let tenant = context.get("tenant").ok_or("the message has no tenant")?;
        Ok(format!("tenant-{tenant}"))
    };
    let keyring = AwsKmsHierarchicalKeyring::with_supplier(setting.store.clone(), supplier, MINUTE).unwrap();
    let client = Client::new();
    for tenant in ["blue", "red"] {
        // Signed: the supplier sees the public key too.
        let sealed = client.encrypt(&keyring).context([("tenant", tenant)]).bytes(b"text").await.unwrap();
        let key = &sealed.header.encrypted_data_keys()[0];
        assert_eq!(key.provider_info(), format!("tenant-{tenant}").as_bytes());
        assert_eq!(open(&keyring, &sealed.message).await.unwrap(), b"text");
        let other = AwsKmsHierarchicalKeyring::new(setting.store.clone(), "tenant-other", MINUTE).unwrap();
        setting.kms.calls();
        let Err(Error::NotUnwrapped(failure)) = open(&other, &sealed.message).await else { panic!("it opens") };
        assert!(matches!(failure.attempts()[0].reason, UnwrapReason::NoMatch));
        assert_eq!(setting.kms.calls(), []);
    }
    let error = client.encrypt(&keyring).bytes(b"text").await.expect_err("there is no tenant");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the message has no tenant");
    let sealed = client.encrypt(&setting.keyring()).bytes(b"text").await.unwrap();
    let Err(Error::NotUnwrapped(failure)) = open(&keyring, &sealed.message).await else { panic!("it opens") };
    assert!(matches!(&failure.attempts()[0].reason, UnwrapReason::Failed(why) if why.to_string().contains("tenant")));

    let empty: fn(&EncryptionContext) -> Result<String, sealwax::BoxError> = |_| Ok(String::new());
    assert!(empty.branch_key_id(&context()).is_ok());
    let keyring = AwsKmsHierarchicalKeyring::with_supplier(setting.store.clone(), empty, MINUTE).unwrap();
    assert!(seal(&keyring).await.is_err());
    assert!(AwsKmsHierarchicalKeyring::new(setting.store.clone(), "", MINUTE).is_err());
    assert!(AwsKmsHierarchicalKeyring::new(setting.store.clone(), ID, Duration::ZERO).is_err());
}

#[tokio::test]
async fn attack_altered_data_keys_of_a_hierarchy_are_refused() {
    use sealwax::{
        EncryptedDataKey,
        crypto::RustCrypto,
        keyring::{UnwrapRequest, WrapRequest},
    };

    let setting = Setting::new().await;
    let keyring = setting.keyring();
    let none = EncryptionContext::new();
    let made = keyring.on_encrypt(WrapRequest::new(&RustCrypto, UNSIGNED, &none)).await.unwrap();
    let good = &made.encrypted_data_keys[0];
    let unwrap = async |keys: &[EncryptedDataKey], context: &EncryptionContext| {
        keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, UNSIGNED, context, keys)).await.map(|found| found.data_key)
    };
    let with = |bytes: &[u8]| [EncryptedDataKey::new("aws-kms-hierarchy", ID, bytes)];
    assert!(unwrap(&with(good.ciphertext()), &none).await.is_ok());
    assert!(unwrap(&with(good.ciphertext()), &EncryptionContext::from([("a", "b")])).await.is_err());
    for at in 0..good.ciphertext().len() {
        let mut bytes = good.ciphertext().to_vec();
        bytes[at] ^= 0x80;
        assert!(unwrap(&with(&bytes), &none).await.is_err(), "byte {at}");
    }
    setting.kms.calls();
    setting.table.calls();
    for length in (0..good.ciphertext().len()).chain([good.ciphertext().len() + 1, 76, 84]) {
        let mut bytes = good.ciphertext().to_vec();
        bytes.resize(length, 0);
        assert!(unwrap(&with(&bytes), &none).await.is_err(), "{length} bytes");
    }
    // What cannot be one of its data keys is not asked for, and the next one is tried.
    let strange = [
        EncryptedDataKey::new("aws-kms-hierarchy", [0xff, 0xfe], good.ciphertext()),
        EncryptedDataKey::new("aws-kms", ID, good.ciphertext()),
        EncryptedDataKey::new("aws-kms-hierarchy", ID, [0; 10]),
        good.clone(),
    ];
    assert!(unwrap(&strange[..3], &none).await.is_err());
    assert!(unwrap(&strange, &none).await.is_ok());
    assert_eq!((setting.kms.calls(), setting.table.calls()), (vec![], (0, 0)));
}

#[tokio::test]
async fn a_hierarchical_keyring_conforms() {
    let keyring = Setting::new().await.keyring();
    sealwax::conformance::keyring(&keyring, sealwax::conformance::KeyringTraits::default()).await.unwrap();
}
