//! Backups.

use std::{fs, sync::atomic::Ordering};

use sealwax_kms::{KeyState, LocalKmsError, Root, WaitingPeriod};

use super::*;

#[test]
fn a_backup_brings_keys_back_and_changes_nothing_that_is_there() {
    let (place, other, elsewhere) = (Place::new(), Place::new(), tempfile::tempdir().unwrap());
    let (a, b) = (place.key("a"), place.key("b"));
    let message = seal(&place.kms, "a", b"text");
    let passphrase = || Root::passphrase_with_cost(*b"of the backup", CHEAP);
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
    assert_eq!(open(&other.reopened(), &a, &newer).unwrap(), b"newer");
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
    let passphrase = || Root::passphrase_with_cost(*b"of the backup", CHEAP);
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
    let passphrase = || Root::passphrase_with_cost(*b"of the backup", CHEAP);
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
fn a_backup_under_a_short_passphrase_is_refused_unless_forced() {
    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    let key = place.key("main");
    let file = elsewhere.path().join("backup");
    // Characters count, not bytes.
    for short in ["", "eleven lett", "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}"] {
        let root = || Root::passphrase_with_cost(short.as_bytes().to_vec(), CHEAP);
        let refused = place.kms.export(&file, None, root()).wait();
        assert!(matches!(refused, Err(LocalKmsError::ShortPassphrase)) && !file.exists(), "{short}: not refused");
        place.kms.export(&file, None, root().allow_short_passphrase()).wait().unwrap();
        assert_eq!(Place::new().kms.import_backup(&file, root()).wait().unwrap().added, [key.as_str()]);
        fs::remove_file(&file).unwrap();
    }
    place.kms.export(&file, None, Root::passphrase_with_cost(*b"twelve lette", CHEAP)).wait().unwrap();
}
