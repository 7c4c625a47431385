//! The key store: the life cycle of a key, with a clock that the test sets.
#![cfg(feature = "local-kms")]

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sealwax::{
    Client, EncryptionContext, Error, UnwrapReason,
    keyring::{KmsError, KmsErrorKind, MultiKeyring, RawAesKeyring},
    local_kms::{AuditFault, KeyState, LocalKms, LocalKmsError, PassphraseCost, Root, RootKind, WaitingPeriod},
};
use tempfile::TempDir;

const DAY: u64 = 24 * 60 * 60;
/// 2026-01-01
const START: u64 = 1_767_225_600;
const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };

/// A store with a clock.
struct Place {
    folder: TempDir,
    seconds: Arc<AtomicU64>,
    kms: LocalKms,
}

impl Place {
    fn new() -> Self {
        let (folder, seconds) = (tempfile::tempdir().unwrap(), Arc::new(AtomicU64::new(START)));
        let kms = builder(folder.path(), &seconds).create().wait().unwrap();
        Self { folder, seconds, kms }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn reopened(&self) -> LocalKms {
        builder(self.path(), &self.seconds).open().wait().unwrap()
    }

    fn days_pass(&self, days: u64) {
        self.seconds.fetch_add(days * DAY, Ordering::Relaxed);
    }

    fn key(&self, alias: &str) -> String {
        let key = self.kms.create_key("").unwrap().key_id;
        self.kms.create_alias(alias, &key).unwrap();
        key
    }
}

fn builder(folder: &Path, seconds: &Arc<AtomicU64>) -> sealwax::local_kms::LocalKmsBuilder {
    let seconds = seconds.clone();
    LocalKms::builder(folder).clock(move || at(seconds.load(Ordering::Relaxed)))
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn none() -> EncryptionContext {
    EncryptionContext::new()
}

fn seal(kms: &LocalKms, key: &str, text: &[u8]) -> Vec<u8> {
    Client::new().encrypt(&kms.keyring(key).unwrap()).context([("tenant", "blue")]).bytes(text).wait().unwrap().message
}

fn open(kms: &LocalKms, key: &str, message: &[u8]) -> Result<Vec<u8>, Error> {
    let opened = Client::new().decrypt(&kms.keyring(key).unwrap()).bytes(message).wait()?;
    Ok(opened.plaintext.to_vec())
}

/// Returns the kind of the error with which a message did not open.
fn kind(outcome: Result<Vec<u8>, Error>) -> KmsErrorKind {
    let Err(Error::NotUnwrapped(failure)) = outcome else { panic!("it opened, or failed of something else") };
    let UnwrapReason::Failed(cause) = &failure.attempts()[0].reason else { panic!("{failure}") };
    cause.downcast_ref::<KmsError>().expect("an error of the service").kind()
}

#[test]
fn messages_from_before_a_rotation_open_after_it_and_after_ten() {
    let place = Place::new();
    let key = place.key("main");
    let first = seal(&place.kms, "main", b"first");
    let mut messages = vec![first];
    for round in 1..=10 {
        place.days_pass(1);
        let after = place.kms.rotate_key("main").unwrap();
        assert_eq!((after.key_id.as_str(), after.generations), (key.as_str(), round + 1));
        assert_eq!(after.aliases, ["alias/main"]);
        assert_eq!(after.rotated, at(START + round as u64 * DAY));
        messages.push(seal(&place.kms, "main", b"later"));
    }
    let reopened = place.reopened();
    for kms in [&place.kms, &reopened] {
        for message in &messages {
            assert!(open(kms, "main", message).is_ok());
        }
    }
    // Different versions wrote them: the version of the backing key is in each wrapped key.
    let client = Client::new();
    let backing = |message: &Vec<u8>| {
        let opened = client.decrypt(&place.kms.keyring("main").unwrap()).bytes(message).wait().unwrap();
        let wrapped = &opened.header.encrypted_data_keys()[0];
        assert_eq!((wrapped.provider_id(), wrapped.provider_info()), ("sealwax-local", key.as_bytes()));
        wrapped.ciphertext()[1..17].to_vec()
    };
    let generations: std::collections::BTreeSet<_> = messages.iter().map(backing).collect();
    assert_eq!(generations.len(), 11);
}

#[test]
fn a_key_rotates_by_itself_when_its_period_is_over() {
    let place = Place::new();
    place.key("main");
    assert!(matches!(place.kms.enable_key_rotation("main", 0), Err(LocalKmsError::InvalidRequest(_))));
    assert_eq!(place.kms.enable_key_rotation("main", 90).unwrap().rotation_days, Some(90));
    let before = seal(&place.kms, "main", b"before");
    place.days_pass(89);
    seal(&place.kms, "main", b"still the first");
    assert_eq!(place.kms.describe_key("main").unwrap().generations, 1);
    place.days_pass(1);
    seal(&place.kms, "main", b"the second");
    assert_eq!(place.kms.describe_key("main").unwrap().generations, 2);
    assert_eq!(open(&place.kms, "main", &before).unwrap(), b"before");
    assert_eq!(place.kms.disable_key_rotation("main").unwrap().rotation_days, None);
    place.days_pass(1000);
    seal(&place.kms, "main", b"the second still");
    assert_eq!(place.kms.describe_key("main").unwrap().generations, 2);
}

#[test]
fn a_disabled_key_neither_encrypts_nor_decrypts_and_says_so() {
    let place = Place::new();
    place.key("main");
    let message = seal(&place.kms, "main", b"text");
    let blob = place.kms.encrypt("main", b"text", &none()).unwrap().ciphertext;
    assert_eq!(place.kms.disable_key("main").unwrap().state, KeyState::Disabled);
    let disabled = |error: LocalKmsError| matches!(error, LocalKmsError::Disabled { .. });
    for kms in [&place.kms, &place.reopened()] {
        assert_eq!(kind(open(kms, "main", &message)), KmsErrorKind::Disabled);
        assert!(Client::new().encrypt(&kms.keyring("main").unwrap()).bytes(b"text").wait().is_err());
        assert!(kms.generate_data_key("main", 32, &none()).is_err_and(disabled));
        assert!(kms.encrypt("main", b"text", &none()).is_err_and(disabled));
        assert!(kms.decrypt(&blob, &none()).is_err_and(disabled));
        assert!(kms.re_encrypt(&blob, &none(), "main", &none()).is_err_and(disabled));
        assert!(kms.rotate_key("main").is_err_and(disabled));
    }
    place.kms.enable_key("main").unwrap();
    assert_eq!(open(&place.kms, "main", &message).unwrap(), b"text");
}

#[test]
fn a_deletion_waits_can_be_cancelled_and_then_destroys() {
    let place = Place::new();
    let key = place.key("main");
    let message = seal(&place.kms, "main", b"text");
    for period in [WaitingPeriod::Days(6), WaitingPeriod::Days(31), WaitingPeriod::Sooner(Duration::from_secs(7 * DAY))]
    {
        assert!(matches!(place.kms.schedule_key_deletion("main", period), Err(LocalKmsError::InvalidRequest(_))));
    }
    let pending = place.kms.schedule_key_deletion("main", WaitingPeriod::Days(7)).unwrap();
    assert_eq!(pending.state, KeyState::PendingDeletion(at(START + 7 * DAY)));
    assert_eq!(kind(open(&place.kms, "main", &message)), KmsErrorKind::InvalidState);
    let waits = |error: LocalKmsError| {
        assert!(error.to_string().contains("2026-01-08"), "{error}");
        matches!(error, LocalKmsError::PendingDeletion { .. })
    };
    assert!(place.kms.encrypt("main", b"text", &none()).is_err_and(waits));
    assert!(place.kms.enable_key("main").is_err_and(waits));
    assert!(place.kms.disable_key("main").is_err_and(waits));
    assert!(place.kms.rotate_key("main").is_err_and(waits));
    assert!(place.kms.create_alias("other", "main").is_err_and(waits));
    assert!(place.kms.schedule_key_deletion("main", WaitingPeriod::Days(30)).is_err_and(waits));

    // Until the last second the deletion can be cancelled; the key is then disabled.
    place.seconds.store(START + 7 * DAY - 1, Ordering::Relaxed);
    assert_eq!(place.reopened().cancel_key_deletion("main").unwrap().state, KeyState::Disabled);
    assert!(matches!(place.kms.cancel_key_deletion("main"), Err(LocalKmsError::InvalidState { .. })));
    place.kms.enable_key("main").unwrap();
    assert_eq!(open(&place.kms, "main", &message).unwrap(), b"text");

    place.kms.schedule_key_deletion("main", WaitingPeriod::Sooner(Duration::from_secs(60))).unwrap();
    let sealed = fs::read(place.path().join("store.bin")).unwrap();
    let material = |bytes: &[u8]| bytes.windows(key.len()).any(|window| window == key.as_bytes());
    assert!(material(&sealed));
    place.seconds.fetch_add(60, Ordering::Relaxed);
    // The handle that was open all along does not use what it has in memory either.
    let keyring_message = place.kms.decrypt(&[1; 100], &none());
    assert!(keyring_message.is_err());
    assert!(matches!(place.kms.describe_key(&key), Err(LocalKmsError::NotFound { .. })));
    assert!(place.kms.list_aliases().unwrap().is_empty());
    let last_record = fs::read(place.path().join("store.bin")).unwrap();
    // The journal names the key in the line about its deletion until the next change; the record is
    // gone.
    place.key("other");
    assert!(last_record.len() < sealed.len());
    assert!(!material(&fs::read(place.path().join("store.bin")).unwrap()));
    assert_eq!(kind(open(&place.kms, "other", &message)), KmsErrorKind::NotFound);
}

#[test]
fn an_imported_key_is_that_material() {
    let (one, two) = (Place::new(), Place::new());
    assert!(matches!(one.kms.import_key(vec![7; 31], ""), Err(LocalKmsError::InvalidRequest(_))));
    let key = one.kms.import_key(vec![7; 32], "imported").unwrap();
    assert!(key.imported);
    let other = two.kms.import_key(vec![7; 32], "imported").unwrap();
    assert_ne!(key.key_id, other.key_id, "two stores have no key id in common");
    let blob = one.kms.encrypt(&key.key_id, b"text", &none()).unwrap().ciphertext;
    assert!(one.reopened().decrypt(&blob, &none()).unwrap().plaintext.ct_eq(b"text"));
    assert!(matches!(two.kms.decrypt(&blob, &none()), Err(LocalKmsError::InvalidCiphertext)));
    assert_eq!(one.kms.rotate_key(&key.key_id).unwrap().generations, 2);
}

#[test]
fn small_texts_are_bound_to_key_and_context_and_limited() {
    let place = Place::new();
    let (a, b) = (place.key("a"), place.key("b"));
    let context = EncryptionContext::from([("tenant", "blue")]);
    let sealed = place.kms.encrypt("a", &[9; 4096], &context).unwrap();
    assert_eq!(sealed.key_id, a);
    assert_eq!(place.kms.decrypt(&sealed.ciphertext, &context).unwrap().plaintext.as_bytes(), [9; 4096]);
    assert!(matches!(place.kms.encrypt("a", &[9; 4097], &context), Err(LocalKmsError::InvalidRequest(_))));
    assert!(place.kms.encrypt("a", b"", &context).is_ok());
    for length in [0, 1025] {
        let made = place.kms.generate_data_key("a", length, &context);
        assert!(matches!(made, Err(LocalKmsError::InvalidRequest(_))));
    }
    let green = EncryptionContext::from([("tenant", "green")]);
    for wrong in [&green, &none()] {
        assert!(matches!(place.kms.decrypt(&sealed.ciphertext, wrong), Err(LocalKmsError::InvalidCiphertext)));
    }
    let small = place.kms.encrypt("a", b"text", &context).unwrap().ciphertext;
    for position in 0..small.len() {
        let mut altered = small.clone();
        altered[position] ^= 1;
        assert!(
            matches!(place.kms.decrypt(&altered, &context), Err(LocalKmsError::InvalidCiphertext)),
            "byte {position} is not authenticated"
        );
        assert!(matches!(place.kms.decrypt(&small[..position], &context), Err(LocalKmsError::InvalidCiphertext)));
    }
    let moved = place.kms.re_encrypt(&small, &context, "b", &green).unwrap();
    assert_eq!(moved.key_id, b);
    assert!(place.kms.decrypt(&moved.ciphertext, &green).unwrap().plaintext.ct_eq(b"text"));
    assert!(place.kms.decrypt(&moved.ciphertext, &context).is_err());
}

#[test]
fn the_service_opens_only_under_the_key_that_is_named() {
    use sealwax::keyring::{KmsApi, KmsKeyring};

    let place = Place::new();
    let (a, b) = (place.key("a"), place.key("b"));
    let message = seal(&place.kms, "a", b"text");
    // A message whose wrapped key is relabelled as that of another key in the store.
    let keyring =
        |key: &str| KmsKeyring::new("sealwax-local", key, Arc::new(place.kms.clone()) as Arc<dyn KmsApi>).unwrap();
    assert!(Client::new().decrypt(&keyring(&a)).bytes(&message).wait().is_ok());
    let at = message.windows(a.len()).position(|window| window == a.as_bytes()).unwrap();
    let mut relabelled = message.clone();
    relabelled[at..at + b.len()].copy_from_slice(b.as_bytes());
    assert_eq!(kind(open(&place.kms, "a", &relabelled)), KmsErrorKind::IncorrectKey);
    // A keyring for one key does not open another's, unless it is configured to.
    assert!(Client::new().decrypt(&keyring(&b)).bytes(&message).wait().is_err());
    assert!(Client::new().decrypt(&keyring(&b).open_any_key()).bytes(&message).wait().is_ok());
}

#[test]
fn ten_thousand_messages_take_one_data_key_with_a_cache() {
    use sealwax::{
        AlgorithmSuite,
        materials::{CachingManager, DefaultMaterialsManager, MemoryCache},
    };

    let place = Place::new();
    place.key("main");
    let manager = DefaultMaterialsManager::new(place.kms.keyring("main").unwrap());
    let cache = Arc::new(MemoryCache::new(10).unwrap());
    let manager = CachingManager::builder(manager, cache, Duration::from_secs(600)).build().unwrap();
    let client = Client::new();
    let start = std::time::Instant::now();
    for _ in 0..10_000 {
        let suite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
        client.encrypt_with(&manager).suite(suite).bytes(&[7; 1024]).wait().unwrap();
    }
    println!("10,000 messages of 1 KiB in {:?}", start.elapsed());
    let asked = place.kms.audit_log().unwrap().iter().filter(|entry| entry.operation == "GenerateDataKey").count();
    assert_eq!(asked, 1);
}

#[cfg(feature = "conformance")]
#[test]
fn the_keyring_follows_the_rules_for_keyrings() {
    let place = Place::new();
    place.key("main");
    let keyring = place.kms.keyring("main").unwrap();
    sealwax::conformance::keyring(&keyring, sealwax::conformance::KeyringTraits::default()).wait().unwrap();
}

#[test]
fn aliases_name_keys_and_move() {
    let place = Place::new();
    let (a, b) = (place.key("a"), place.key("b"));
    assert!(matches!(place.kms.create_alias("alias/a", &b), Err(LocalKmsError::AliasExists { .. })));
    assert!(matches!(place.kms.update_alias("c", &b), Err(LocalKmsError::NotFound { .. })));
    for bad in ["", "alias/", "has space", "ä", &"x".repeat(251)] {
        assert!(matches!(place.kms.create_alias(bad, &a), Err(LocalKmsError::InvalidRequest(_))), "{bad}");
    }
    let message = seal(&place.kms, "a", b"text");
    assert_eq!(place.kms.update_alias("a", &b).unwrap().key_id, b);
    assert_eq!(place.kms.describe_key("alias/a").unwrap().aliases, ["alias/a", "alias/b"]);
    assert_eq!(place.kms.describe_key(a.rsplit('/').next().unwrap()).unwrap().key_id, a);
    // The message names the key, not the alias.
    assert_eq!(open(&place.kms, "a", &message).unwrap(), b"text");
    place.kms.delete_alias("a").unwrap();
    assert!(matches!(place.kms.delete_alias("a"), Err(LocalKmsError::NotFound { .. })));
    assert!(matches!(place.kms.keyring("a"), Err(LocalKmsError::NotFound { .. })));
    let names: Vec<_> = place.kms.list_aliases().unwrap().into_iter().map(|alias| alias.name).collect();
    assert_eq!(names, ["alias/b"]);
}

#[test]
fn a_message_under_the_store_and_a_raw_key_opens_with_the_raw_key_alone() {
    let place = Place::new();
    place.key("main");
    let raw = || RawAesKeyring::new("example", "recovery", vec![7; 32]).unwrap();
    let both = MultiKeyring::new(place.kms.keyring("main").unwrap()).child(raw());
    let sealed = Client::new().encrypt(&both).bytes(b"text").wait().unwrap();
    assert_eq!(Client::new().decrypt(&raw()).bytes(&sealed.message).wait().unwrap().plaintext, b"text");
    assert_eq!(open(&place.kms, "main", &sealed.message).unwrap(), b"text");
}

#[test]
fn a_change_by_another_handle_is_seen_at_once() {
    let place = Place::new();
    place.key("main");
    let message = seal(&place.kms, "main", b"text");
    let other = place.reopened();
    assert!(open(&other, "main", &message).is_ok());
    place.kms.disable_key("main").unwrap();
    assert_eq!(kind(open(&other, "main", &message)), KmsErrorKind::Disabled);
    other.enable_key("main").unwrap();
    assert!(open(&place.kms, "main", &message).is_ok());
    // A new root in the directory is picked up; a root of another kind cannot be, and the error
    // says so.
    other.rotate_root(Root::key_file_in_folder()).wait().unwrap();
    assert!(open(&place.kms, "main", &message).is_ok());
    other.rotate_root(Root::passphrase_with_cost(*b"long", CHEAP)).wait().unwrap();
    assert!(matches!(place.kms.list_keys(), Err(LocalKmsError::RootChanged { .. })));
    assert!(open(&other, "main", &message).is_ok());
}

#[test]
fn roots_of_every_kind_rotate_into_each_other_without_touching_a_message() {
    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    place.key("main");
    let message = seal(&place.kms, "main", b"text");
    let wrapping = Arc::new(RawAesKeyring::new("example", "root", vec![9; 32]).unwrap());
    let file = elsewhere.path().join("root.key");
    let roots: [(RootKind, Box<dyn Fn() -> Root>); 4] = [
        (RootKind::Passphrase, Box::new(|| Root::passphrase_with_cost(*b"correct horse", CHEAP))),
        (RootKind::Keyring, Box::new(move || Root::keyring(wrapping.clone()))),
        (RootKind::ExternalKeyFile, Box::new(move || Root::key_file(&file))),
        (RootKind::KeyFile, Box::new(Root::key_file_in_folder)),
    ];
    let mut kms = place.kms.clone();
    for (kind, root) in &roots {
        kms.rotate_root(root()).wait().unwrap();
        assert_eq!(LocalKms::root_kind(place.path()).unwrap(), Some(*kind));
        assert_eq!(open(&kms, "main", &message).unwrap(), b"text");
        kms = LocalKms::builder(place.path()).root(root()).open().wait().unwrap();
        assert_eq!(open(&kms, "main", &message).unwrap(), b"text", "{kind:?}");
        for (other, wrong) in &roots {
            let refused = LocalKms::builder(place.path()).root(wrong()).open().wait();
            assert_eq!(refused.is_ok(), other == kind, "{other:?} instead of {kind:?}");
        }
        let keys = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let keys = keys.filter(|name| name.ends_with(".key")).count();
        assert_eq!(keys, usize::from(*kind == RootKind::KeyFile), "old root keys are removed");
    }
    assert!(kms.verify_audit_log().unwrap().faults.is_empty());
}

#[test]
fn a_root_that_is_none_or_that_would_be_removed_is_refused() {
    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    let key = place.key("main");
    let refused = |file: &Path| {
        let refused = place.kms.rotate_root(Root::key_file(file)).wait();
        assert!(matches!(refused, Err(Error::Configuration(_))), "{}", file.display());
        assert!(place.reopened().describe_key(&key).is_ok(), "{}", file.display());
    };
    let present = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path());
    let present = present.into_iter().find(|path| path.extension().is_some_and(|part| part == "key")).unwrap();
    // Its own key, which would be removed as that of the old root, by either name; and a key that
    // would be removed as soon as it is created.
    refused(&present);
    fs::copy(&present, elsewhere.path().join("copy")).unwrap();
    refused(&elsewhere.path().join("copy"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&present, elsewhere.path().join("link")).unwrap();
        refused(&elsewhere.path().join("link"));
    }
    refused(&place.path().join("root-0123456789abcdef.key"));
    assert!(present.exists());

    place.kms.rotate_root(Root::key_file(elsewhere.path().join("root-0123456789abcdef.key"))).wait().unwrap();
    assert!(!present.exists());
}

#[test]
fn a_store_is_not_sealed_under_a_key_of_its_own() {
    let place = Place::new();
    let key = place.key("main");
    let own = || place.kms.keyring("main").unwrap();
    let refused = place.kms.rotate_root(Root::keyring(Arc::new(own()))).wait();
    assert!(matches!(refused, Err(Error::Configuration(_))));
    assert!(place.reopened().describe_key(&key).is_ok());

    // With another key beside it that is elsewhere, it opens.
    let elsewhere = || RawAesKeyring::new("example", "root", vec![9; 32]).unwrap();
    place.kms.rotate_root(Root::keyring(Arc::new(MultiKeyring::new(own()).child(elsewhere())))).wait().unwrap();
    let opened = builder(place.path(), &place.seconds).root(Root::keyring(Arc::new(elsewhere()))).open().wait();
    assert!(opened.unwrap().describe_key(&key).is_ok());
}

#[test]
fn a_wrong_root_is_one_clear_error() {
    let place = Place::new();
    place.kms.rotate_root(Root::passphrase_with_cost(*b"correct", CHEAP)).wait().unwrap();
    let text = |root| match LocalKms::builder(place.path()).root(root).open().wait() {
        Ok(_) => panic!("it opened"),
        Err(error) => std::error::Error::source(&error).unwrap().to_string(),
    };
    assert!(text(Root::passphrase(*b"wrong")).contains("wrong key file, passphrase or keyring"));
    assert!(text(Root::passphrase(*b"")).contains("wrong key file, passphrase or keyring"));
    assert!(text(Root::default()).contains("sealed under a passphrase"));

    let place = Place::new();
    let keys = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = keys.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "key")).unwrap();
    fs::write(&file, [1; 32]).unwrap();
    assert!(matches!(LocalKms::open(place.path()), Err(LocalKmsError::WrongRoot { .. })));
    fs::write(&file, [1; 33]).unwrap();
    assert!(matches!(LocalKms::open(place.path()), Err(LocalKmsError::Damaged { .. })));
    fs::remove_file(&file).unwrap();
    assert!(matches!(LocalKms::open(place.path()), Err(LocalKmsError::Damaged { .. })));
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_store() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("deep/store");
    LocalKms::create(&store).unwrap().create_key("").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store), 0o700);
    for entry in fs::read_dir(&store).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_backup_brings_keys_back_and_changes_nothing_that_is_there() {
    let (place, other, elsewhere) = (Place::new(), Place::new(), tempfile::tempdir().unwrap());
    let (a, b) = (place.key("a"), place.key("b"));
    let message = seal(&place.kms, "a", b"text");
    let passphrase = || Root::passphrase_with_cost(*b"backup", CHEAP);
    let (all, one) = (elsewhere.path().join("all"), elsewhere.path().join("one"));
    place.kms.export(&all, None, passphrase()).wait().unwrap();
    place.kms.export(&one, Some("a"), passphrase()).wait().unwrap();
    assert!(place.kms.export(&one, None, passphrase()).wait().is_err(), "a backup is never replaced");
    assert!(place.kms.export(elsewhere.path().join("x"), None, Root::default()).wait().is_err());

    assert!(other.kms.import_backup(&one, Root::passphrase(*b"wrong")).wait().is_err());
    let report = other.kms.import_backup(&one, passphrase()).wait().unwrap();
    assert_eq!((report.added, report.unchanged.len()), (vec![a.clone()], 0));
    assert_eq!(open(&other.kms, "a", &message).unwrap(), b"text");
    assert!(other.kms.describe_key("b").is_err());

    // Later changes remain; what is missing is added.
    place.kms.rotate_key("a").unwrap();
    let newer = seal(&place.kms, "a", b"newer");
    let newest = elsewhere.path().join("newest");
    place.kms.export(&newest, None, passphrase()).wait().unwrap();
    let here = other.key("mine");
    other.kms.update_alias("a", &here).unwrap();
    other.kms.disable_key(&a).unwrap();
    let report = other.kms.import_backup(&newest, passphrase()).wait().unwrap();
    assert_eq!((report.added, report.completed), (vec![b], vec![a.clone()]));
    assert_eq!(report.aliases_kept, ["alias/a"]);
    assert_eq!(other.kms.describe_key(&a).unwrap().state, KeyState::Disabled);
    other.kms.enable_key(&a).unwrap();
    assert_eq!(open(&other.reopened(), "b", &newer).unwrap(), b"newer");
    let again = other.kms.import_backup(&all, passphrase()).wait().unwrap();
    assert_eq!((again.added.len(), again.completed.len(), again.unchanged.len()), (0, 0, 2));

    let mut bytes = fs::read(&all).unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    fs::write(&all, bytes).unwrap();
    assert!(other.kms.import_backup(&all, passphrase()).wait().is_err());
}

#[test]
fn a_key_that_waited_for_its_deletion_comes_back_from_a_backup_and_stays() {
    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    let key = place.key("main");
    let message = seal(&place.kms, "main", b"text");
    place.kms.schedule_key_deletion(&key, WaitingPeriod::Days(7)).unwrap();
    let passphrase = || Root::passphrase_with_cost(*b"backup", CHEAP);
    let file = elsewhere.path().join("backup");
    place.kms.export(&file, None, passphrase()).wait().unwrap();
    place.days_pass(8);
    assert!(matches!(place.kms.describe_key(&key), Err(LocalKmsError::NotFound { .. })));

    let report = place.kms.import_backup(&file, passphrase()).wait().unwrap();
    assert_eq!(report.added, [key.as_str()]);
    assert_eq!(place.kms.describe_key(&key).unwrap().state, KeyState::Disabled);
    place.kms.enable_key(&key).unwrap();
    assert_eq!(open(&place.reopened(), "main", &message).unwrap(), b"text");
}

#[test]
fn an_import_does_not_bring_old_material_back_into_use() {
    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    // The clock was a year ahead when the key was created.
    place.days_pass(365);
    let key = place.key("main");
    place.seconds.store(START, Ordering::Relaxed);
    let passphrase = || Root::passphrase_with_cost(*b"backup", CHEAP);
    let file = elsewhere.path().join("backup");
    place.kms.export(&file, None, passphrase()).wait().unwrap();
    let old = place.kms.encrypt(&key, b"", &none()).unwrap().ciphertext;
    place.kms.rotate_key(&key).unwrap();
    let new = place.kms.encrypt(&key, b"", &none()).unwrap().ciphertext;
    place.kms.import_backup(&file, passphrase()).wait().unwrap();
    let after = place.kms.encrypt(&key, b"", &none()).unwrap().ciphertext;
    let backing = |ciphertext: &[u8]| ciphertext[1..17].to_vec();
    assert_ne!(backing(&after), backing(&old));
    assert_eq!(backing(&after), backing(&new));
}

#[test]
fn the_log_has_a_line_for_everything_and_no_context_values_unless_asked() {
    let place = Place::new();
    let key = place.key("main");
    let secret = EncryptionContext::from([("tenant", "do-not-log-me")]);
    let sealed = place.kms.encrypt("main", b"text", &secret).unwrap();
    place.kms.decrypt(&sealed.ciphertext, &secret).unwrap();
    assert!(place.kms.decrypt(&sealed.ciphertext, &none()).is_err());
    place.kms.describe_key("nobody").unwrap_err();
    let entries = place.kms.audit_log().unwrap();
    let said: Vec<_> = entries.iter().map(|entry| (entry.operation.as_str(), entry.outcome.as_str())).collect();
    assert_eq!(
        said,
        [
            ("CreateStore", "Success"),
            ("CreateKey", "Success"),
            ("CreateAlias", "Success"),
            ("Encrypt", "Success"),
            ("Decrypt", "Success"),
            ("Decrypt", "InvalidCiphertext"),
            ("DescribeKey", "NotFound"),
        ]
    );
    assert_eq!(entries[4].key_id.as_deref(), Some(key.as_str()));
    assert_eq!(entries[4].context_keys, ["tenant"]);
    assert_eq!(entries[2].alias.as_deref(), Some("alias/main"));
    assert_eq!(entries[6].key_id.as_deref(), Some("nobody"));
    assert_eq!(entries[0].time, "2026-01-01T00:00:00.000Z");
    assert!(!fs::read_to_string(place.path().join("audit.log")).unwrap().contains("do-not-log-me"));

    let loud = builder(place.path(), &place.seconds)
        .log_context_values(true)
        .sync_audit(true)
        .identity("alice")
        .open()
        .wait()
        .unwrap();
    loud.decrypt(&sealed.ciphertext, &secret).unwrap();
    let last = loud.audit_log().unwrap().pop().unwrap();
    assert_eq!(last.identity.as_deref(), Some("alice"));
    assert_eq!(last.context.unwrap()["tenant"], "do-not-log-me");
    assert!(loud.verify_audit_log().unwrap().faults.is_empty());
}

#[test]
fn the_log_tells_which_line_was_altered_or_is_missing() {
    let place = Place::new();
    for _ in 0..5 {
        place.kms.create_key("").unwrap();
    }
    place.kms.list_keys().unwrap();
    let path = place.path().join("audit.log");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = whole.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 7);
    let faults = |lines: &[String]| {
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let report = place.reopened().verify_audit_log().unwrap();
        fs::write(&path, &whole).unwrap();
        report.faults
    };
    assert_eq!(faults(&lines), []);
    let without = |gone: usize| [&lines[..gone], &lines[gone + 1..]].concat();
    for line in 0..6_usize {
        let sequence = line as u64 + 1;
        assert_eq!(faults(&without(line)), [AuditFault::Missing { first: sequence, last: sequence }], "{line}");
    }
    for line in 0..7_usize {
        let mut altered = lines.clone();
        altered[line] = altered[line].replace("Success", "Failure");
        assert_eq!(faults(&altered), [AuditFault::Altered { line: line as u64 + 1 }]);
    }
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert!(!faults(&swapped).is_empty());
    let mut twice = lines.clone();
    twice.insert(3, lines[2].clone());
    assert_eq!(faults(&twice)[0], AuditFault::Displaced { line: 4 });
    // Truncated before the last change: detected, because the store records its last change. Lines
    // after that cannot be missed.
    assert_eq!(faults(&lines[..4]), [AuditFault::Missing { first: 5, last: 5 }]);
    assert_eq!(faults(&lines[..6]), []);
    fs::remove_file(&path).unwrap();
    let report = place.reopened().verify_audit_log().unwrap();
    assert_eq!(report.faults, [AuditFault::Missing { first: 1, last: 5 }]);
    assert_eq!(report.head.unwrap().0, 6);
}

#[test]
fn a_forged_last_line_with_the_last_number_is_found_like_any_other() {
    let place = Place::new();
    place.key("main");
    let log = place.path().join("audit.log");
    let text = fs::read_to_string(&log).unwrap();
    let line = text.lines().last().unwrap().replacen("\"sequence\":3", &format!("\"sequence\":{}", u64::MAX), 1);
    assert!(line.contains("18446744073709551615"));
    fs::write(&log, format!("{text}{line}\n")).unwrap();
    let kms = place.reopened();
    kms.list_keys().unwrap();
    kms.list_aliases().unwrap();
    let report = kms.verify_audit_log().unwrap();
    assert_eq!(report.faults[0], AuditFault::Altered { line: 4 });
}

#[test]
fn an_older_copy_of_the_file_is_refused_by_who_knows_better() {
    let place = Place::new();
    let key = place.key("main");
    let file = place.path().join("store.bin");
    let old = fs::read(&file).unwrap();
    place.kms.disable_key(&key).unwrap();
    fs::write(place.path().join("old"), &old).unwrap();
    fs::rename(place.path().join("old"), &file).unwrap();
    let Err(LocalKmsError::Damaged { what, .. }) = place.kms.describe_key(&key) else { panic!("not refused") };
    assert!(what.contains("older copy"), "{what}");
    // A newly opened store cannot know; the log does.
    let reopened = place.reopened();
    assert_eq!(reopened.describe_key(&key).unwrap().state, KeyState::Enabled);
}

#[test]
fn who_may_write_the_folder_cannot_slip_a_root_of_their_own_under_an_open_store() {
    let place = Place::new();
    place.key("main");
    let passphrase = || Root::passphrase_with_cost(*b"correct", CHEAP);
    place.kms.rotate_root(passphrase()).wait().unwrap();
    let opened = builder(place.path(), &place.seconds).root(passphrase()).open().wait().unwrap();
    assert!(opened.describe_key("main").is_ok());

    // What a forger without the passphrase can make looks like this: a store of the same id, of a
    // later generation, with its root key beside it. The test makes it with the passphrase, in a
    // copy.
    let forged = tempfile::tempdir().unwrap();
    fs::copy(place.path().join("store.bin"), forged.path().join("store.bin")).unwrap();
    let forger = builder(forged.path(), &place.seconds).root(passphrase()).open().wait().unwrap();
    forger.rotate_root(Root::key_file_in_folder()).wait().unwrap();
    for entry in fs::read_dir(forged.path()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name == "store.bin" || name.starts_with("root-") {
            fs::rename(entry.path(), place.path().join(name)).unwrap();
        }
    }
    // The store that had a root in its directory until it was given a passphrase refuses it as
    // well.
    for kms in [&opened, &place.kms] {
        assert!(matches!(kms.generate_data_key("main", 32, &none()), Err(LocalKmsError::RootChanged { .. })));
    }
}

#[cfg(unix)]
#[test]
fn a_log_that_is_a_link_does_not_get_another_file_cut_off() {
    let place = Place::new();
    let (log, other) = (place.path().join("audit.log"), TempDir::new().unwrap());
    let file = other.path().join("file");
    fs::write(&file, b"a line\nand no end").unwrap();
    fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink(&file, &log).unwrap();
    assert!(matches!(place.kms.list_keys(), Err(LocalKmsError::Damaged { .. })));
    assert!(matches!(LocalKms::open(place.path()), Err(LocalKmsError::Damaged { .. })));
    assert_eq!(fs::read(&file).unwrap(), b"a line\nand no end");
}

#[cfg(unix)]
#[test]
fn a_lock_file_that_was_removed_keeps_nobody_apart_and_is_not_relied_on() {
    let place = Place::new();
    let hasty = builder(place.path(), &place.seconds).lock_timeout(Duration::from_millis(20)).open().wait().unwrap();
    fs::remove_file(place.path().join("lock")).unwrap();
    // Another process creates it anew and is at work.
    let other = fs::File::create(place.path().join("lock")).unwrap();
    other.lock().unwrap();
    assert!(matches!(hasty.create_key(""), Err(LocalKmsError::Busy { .. })));
    other.unlock().unwrap();
    hasty.create_key("").unwrap();
    assert_eq!(place.kms.list_keys().unwrap().len(), 1);
}

#[test]
fn a_store_that_is_gone_is_not_made_anew_over_its_log() {
    let place = Place::new();
    fs::remove_file(place.path().join("store.bin")).unwrap();
    assert!(matches!(place.kms.list_keys(), Err(LocalKmsError::NoStore { .. })));
    assert!(matches!(LocalKms::create(place.path()), Err(LocalKmsError::Damaged { .. })));
    assert!(matches!(LocalKms::open(place.path()), Err(LocalKmsError::Damaged { .. })));
    assert!(matches!(LocalKms::create(Place::new().path()), Err(LocalKmsError::StoreExists { .. })));
}
