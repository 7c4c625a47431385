//! Roots, and files that others may have replaced.

use std::{fs, path::Path, sync::Arc, time::Duration};

use sealwax::keyring::{MultiKeyring, RawAesKeyring};
use sealwax_kms::{KeyState, LocalKms, LocalKmsError, Root, RootKind, StoreWarning};
use tempfile::TempDir;

use super::*;

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
        assert!(matches!(refused, Err(LocalKmsError::InvalidRequest(_))), "{}", file.display());
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
fn a_root_key_from_elsewhere_that_was_moved_into_the_directory_is_not_swept() {
    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    place.kms.rotate_root(Root::key_file(elsewhere.path().join("root"))).wait().unwrap();
    let [moved, stale] = ["root-0123456789abcdef.key", "root-00000000000000aa.key"].map(|name| place.path().join(name));
    fs::rename(elsewhere.path().join("root"), &moved).unwrap();
    fs::write(&stale, [1; 32]).unwrap();
    let open = || builder(place.path(), &place.seconds).root(Root::key_file(&moved)).open().wait().unwrap();
    open().create_key("").unwrap();
    assert!(!stale.exists());
    assert_eq!(open().list_keys().unwrap().len(), 1);
}

#[test]
fn a_store_is_not_sealed_under_a_key_of_its_own() {
    let place = Place::new();
    let key = place.key("main");
    let own = || place.kms.keyring("main").unwrap();
    let refused = place.kms.rotate_root(Root::keyring(Arc::new(own()))).wait();
    assert!(matches!(refused, Err(LocalKmsError::InvalidRequest(_))));
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
        Err(error) => error.to_string(),
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
    let Err(LocalKmsError::RolledBack { generation: 3, logged: 4, .. }) = place.try_reopened() else {
        panic!("not refused")
    };
}

#[test]
fn a_store_older_than_its_log_is_refused_by_name_whatever_the_log_ends_with() {
    let place = Place::new();
    let key = place.key("main");
    let [file, log] = ["store.bin", "audit.log"].map(|name| place.path().join(name));
    let old = fs::read(&file).unwrap();
    place.kms.disable_key(&key).unwrap();
    let new = fs::read(&file).unwrap();
    // Also behind lines that are not changes, lines that anyone can write, and old lines again.
    place.kms.list_keys().unwrap();
    let whole = fs::read_to_string(&log).unwrap();
    let again = |line: usize| format!("{}\n", whole.lines().nth(line).unwrap());
    // The third line is the last that the old file knows.
    for tail in ["", "garbage\n", &again(0), &again(2), "not ended", &"x\n".repeat(100_000)] {
        fs::write(&log, format!("{whole}{tail}")).unwrap();
        fs::write(&file, &old).unwrap();
        let Err(refused) = place.try_reopened() else { panic!("not refused after {tail:.20}") };
        assert!(matches!(refused, LocalKmsError::RolledBack { generation: 3, logged: 4, .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("has generation 3, and the log has generation 4"), "{text}");
        fs::write(&file, &new).unwrap();
        assert_eq!(place.reopened().describe_key(&key).unwrap().state, KeyState::Disabled);
    }
    // A log that was moved away says nothing, and the next one starts at the store.
    fs::rename(&log, place.path().join("audit.1")).unwrap();
    place.kms.list_keys().unwrap();
    place.reopened().enable_key(&key).unwrap();
    fs::write(&file, &new).unwrap();
    assert!(matches!(place.try_reopened(), Err(LocalKmsError::RolledBack { generation: 4, logged: 5, .. })));
    fs::remove_file(&log).unwrap();
    assert_eq!(place.reopened().describe_key(&key).unwrap().state, KeyState::Disabled);
}

#[test]
fn a_log_from_before_generations_were_logged_goes_on() {
    // The store and its root key of the version before, with the key main and two lines after it.
    let place = Place::new();
    for (name, bytes) in [
        ("store.bin", &include_bytes!("before-generations/store.bin")[..]),
        ("audit.log", include_bytes!("before-generations/audit.log")),
        ("root-078646e45aed5c58.key", include_bytes!("before-generations/root.key")),
    ] {
        fs::write(place.path().join(name), bytes).unwrap();
    }
    let kms = place.reopened();
    assert_eq!(kms.audit_log().unwrap()[0].generation, None);
    kms.disable_key("main").unwrap();
    assert!(kms.verify_audit_log().unwrap().faults.is_empty());
    assert_eq!(kms.audit_log().unwrap().last().unwrap().generation, Some(4));
    fs::write(place.path().join("store.bin"), include_bytes!("before-generations/store.bin")).unwrap();
    assert!(matches!(place.try_reopened(), Err(LocalKmsError::RolledBack { generation: 3, logged: 4, .. })));
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
    assert!(matches!(place.kms.list_keys(), Err(LocalKmsError::UnsafeFile { .. })));
    assert!(matches!(LocalKms::open(place.path()), Err(LocalKmsError::UnsafeFile { .. })));
    assert_eq!(fs::read(&file).unwrap(), b"a line\nand no end");
}

/// Replaces a file of a store in every way that must be refused.
#[cfg(unix)]
fn disguises(file: &Path, elsewhere: &Path, mut check: impl FnMut(&str)) {
    use std::os::unix::fs::symlink;

    let kept = elsewhere.join("kept");
    for (what, make) in [
        ("symbolic link", &(|| symlink(&kept, file).unwrap()) as &dyn Fn()),
        ("hard link", &|| fs::hard_link(&kept, file).unwrap()),
        ("not a regular file", &|| {
            let made = std::process::Command::new("mkfifo").arg(file).status();
            assert!(made.unwrap().success());
        }),
        ("not a regular file", &|| fs::create_dir(file).unwrap()),
        ("not a regular file", &|| drop(std::os::unix::net::UnixListener::bind(file).unwrap())),
    ] {
        fs::rename(file, &kept).unwrap();
        make();
        check(what);
        // A directory is not removed like a file.
        fs::remove_file(file).or_else(|_| fs::remove_dir(file)).unwrap();
        fs::rename(&kept, file).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_link_or_a_pipe_in_the_place_of_a_file_is_refused_by_name() {
    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    let key = place.key("main");
    let names = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), 4);
    for name in names {
        disguises(&place.path().join(&name), elsewhere.path(), |what| {
            let refused = |outcome: Result<(), LocalKmsError>| {
                let Err(error) = outcome else { panic!("{name} as a {what} is not refused") };
                assert!(matches!(error, LocalKmsError::UnsafeFile { .. }), "{name} as a {what}: {error}");
                let text = error.to_string();
                assert!(text.contains(&name) && text.contains(what), "{text}");
            };
            refused(place.try_reopened().map(drop));
            // An open store has its root key in memory, and the same files open under one more name.
            if !name.starts_with("root-") && what != "hard link" {
                refused(place.kms.create_key("").map(drop));
            }
            if name == "store.bin" {
                refused(LocalKms::root_kind(place.path()).map(drop));
            }
        });
        assert_eq!(place.reopened().describe_key("main").unwrap().key_id, key);
        place.kms.create_key("").unwrap();
    }
}

#[cfg(unix)]
#[test]
fn what_others_can_write_or_read_is_warned_of_by_name() {
    use std::os::unix::fs::PermissionsExt as _;

    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let entries = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(place.kms.warnings().unwrap(), []);
    for path in entries.chain([place.path().to_owned()]) {
        let is_root_key = path.extension().is_some_and(|part| part == "key");
        let (private, public) = if path == place.path() { (0o700, 0o755) } else { (0o600, 0o644) };
        set(&path, public);
        let expected = StoreWarning::RootKeyReadableByOthers { path: path.clone() };
        let readable = if is_root_key { vec![expected] } else { vec![] };
        assert_eq!(place.reopened().warnings().unwrap(), readable);
        if !is_root_key {
            for mode in [private | 0o020, private | 0o002] {
                set(&path, mode);
                let warnings = place.reopened().warnings().unwrap();
                assert_eq!(warnings, [StoreWarning::WritableByOthers { path: path.clone() }]);
                assert!(warnings[0].to_string().contains(&*path.to_string_lossy()));
            }
        }
        set(&path, private);
    }
    let file = elsewhere.path().join("root");
    place.kms.rotate_root(Root::key_file(&file)).wait().unwrap();
    let open = || builder(place.path(), &place.seconds).root(Root::key_file(&file)).open().wait().unwrap();
    assert_eq!(open().warnings().unwrap(), []);
    set(&file, 0o640);
    assert_eq!(open().warnings().unwrap(), [StoreWarning::RootKeyReadableByOthers { path: file.clone() }]);
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
