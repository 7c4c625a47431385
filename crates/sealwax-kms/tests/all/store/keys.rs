//! Keys: rotation, states, deletion, import, aliases, and what they encrypt.

use std::{
    fs,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sealwax::{
    Client, EncryptionContext,
    keyring::{KmsErrorKind, MultiKeyring, RawAesKeyring},
};
use sealwax_kms::{KeyState, LocalKmsError, LocalKmsKeyring, Root, WaitingPeriod};

use super::*;

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
    assert_eq!(kind(open_any(&place.kms, &message)), KmsErrorKind::NotFound);
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
    assert_eq!(kind(open(&place.kms, "b", &relabelled)), KmsErrorKind::IncorrectKey);
    // A keyring for one key does not open another's, unless it is configured to.
    assert!(Client::new().decrypt(&keyring(&b)).bytes(&message).wait().is_err());
    assert!(Client::new().decrypt(&keyring(&b).open_any_key()).bytes(&message).wait().is_ok());
}

#[test]
fn a_keyring_opens_only_its_key_and_the_discovery_keyring_any_key_of_the_store() {
    let (place, other) = (Place::new(), Place::new());
    let (a, b) = (place.key("a"), place.key("b"));
    let short = |id: &str| id.rsplit('/').next().unwrap().to_owned();
    let message = seal(&place.kms, "a", b"text");
    let opened_by = |keyring: &LocalKmsKeyring| {
        let opened = Client::new().decrypt(keyring).bytes(&message).wait();
        opened.map(|opened| opened.opened_by.keyring.to_string())
    };
    for name in ["a", "alias/a", &a, &short(&a)] {
        // The report names the key, by whichever name the keyring was made.
        assert_eq!(opened_by(&place.kms.keyring(name).unwrap()).unwrap(), format!("sealwax-local:{a}"));
    }
    for name in ["b", "alias/b", &b, &short(&b)] {
        assert!(no_match(open(&place.kms, name, &message)), "{name}");
    }
    assert_eq!(opened_by(&place.kms.discovery_keyring()).unwrap(), format!("sealwax-local:{a}"));
    // Whether the named key is disabled does not matter, nor does a key of another store.
    place.kms.disable_key("b").unwrap();
    assert!(no_match(open(&place.kms, "b", &message)));
    assert_eq!(kind(open_any(&other.kms, &message)), KmsErrorKind::NotFound);

    // A keyring that was made before an alias moved follows it.
    let keyring = place.kms.keyring("a").unwrap();
    place.kms.update_alias("a", &b).unwrap();
    assert!(opened_by(&keyring).is_err());
    place.kms.update_alias("a", &a).unwrap();
    assert!(opened_by(&keyring).is_ok());
    place.kms.delete_alias("a").unwrap();
    assert!(matches!(opened_by(&keyring), Err(Error::Keyring { .. })));
}

#[test]
fn the_discovery_keyring_does_not_encrypt() {
    let place = Place::new();
    place.key("main");
    let keyring = place.kms.discovery_keyring();
    let refused = Client::new().encrypt(&keyring).bytes(b"text").wait();
    assert!(refused.is_err_and(|error| error.to_string().contains("sealwax-local:* can only decrypt")));
    let traits = sealwax::conformance::KeyringTraits { encrypts: false, ..Default::default() };
    sealwax::conformance::keyring(&keyring, traits).wait().unwrap();
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
    // The message names the key, not the alias, and the alias no longer stands for that key.
    assert!(no_match(open(&place.kms, "a", &message)));
    assert_eq!(open(&place.kms, &a, &message).unwrap(), b"text");
    assert_eq!(open_any(&place.kms, &message).unwrap(), b"text");
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
fn the_start_of_an_id_names_a_key_unless_several_have_it() {
    let place = Place::new();
    let kms = &place.kms;
    let ids: Vec<_> = (0..40).map(|_| kms.create_key("").unwrap().key_id).collect();
    let last = |id: &str| id.rsplit_once('/').unwrap().1.to_owned();
    let start = |id: &str, length| last(id)[..length].to_owned();
    for id in &ids {
        for length in [8, 20, 36] {
            assert_eq!(kms.describe_key(&start(id, length)).unwrap().key_id, *id);
        }
        let whole = &id[..id.len() - 20];
        assert_eq!(kms.describe_key(whole).unwrap().key_id, *id);
        // Too short to be meant, even if it is unique.
        assert!(matches!(kms.describe_key(&start(id, 3)), Err(LocalKmsError::NotFound { .. })));
    }
    // Of another store.
    let other = format!("local:{}/key/{}", "0".repeat(32), start(&ids[0], 20));
    assert!(matches!(kms.describe_key(&other), Err(LocalKmsError::NotFound { .. })));

    // An alias comes first, and a keyring does not follow an id to another key.
    let four = start(&ids[0], 8);
    let sealed = seal(kms, &four, b"text");
    let keyring = kms.keyring(&four).unwrap();
    kms.create_alias(&four, &ids[1]).unwrap();
    assert_eq!(kms.describe_key(&four).unwrap().key_id, ids[1]);
    assert!(Client::new().decrypt(&keyring).bytes(&sealed).wait().is_ok());
    assert!(no_match(open(kms, &four, &sealed)));
}

#[test]
fn a_key_is_imported_with_its_alias_or_not_at_all() {
    let place = Place::new();
    let kms = &place.kms;
    let import = |alias| kms.import_key_with_alias([7; 32], "from outside", alias);
    let key = import("one").unwrap();
    assert_eq!((key.imported, key.aliases), (true, vec!["alias/one".to_owned()]));
    assert!(matches!(import("one"), Err(LocalKmsError::AliasExists { .. })));
    assert!(matches!(import("no alias"), Err(LocalKmsError::InvalidRequest(_))));
    assert_eq!(kms.list_keys().unwrap().len(), 1);
    let operations: Vec<_> = kms.audit_log().unwrap().into_iter().map(|line| line.operation).collect();
    assert!(!operations.iter().any(|operation| operation.contains("Delet")), "{operations:?}");
}
