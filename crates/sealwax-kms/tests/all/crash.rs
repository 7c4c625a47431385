//! The key store when processes are killed, run concurrently, or find its files altered.
//!
//! The child processes are this test program itself, started again with an environment variable
//! that selects their role. `SEALWAX_KILLS` sets how many are killed; the default is 100. The full
//! claim is 1,000.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sealwax::EncryptionContext;
use sealwax_kms::{KeyState, LocalKms, LocalKmsError, PassphraseCost, Root, WaitingPeriod};

use crate::support;

const ROLE: &str = "SEALWAX_TEST_ROLE";
const FOLDER: &str = "SEALWAX_TEST_FOLDER";
const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };

fn none() -> EncryptionContext {
    EncryptionContext::new()
}

/// Starts this program again, with this role only.
fn child(role: &str, folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::child_process", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns the lines that a child prints, without those of the test harness. Lines that a kill has
/// truncated are omitted.
fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    std::iter::from_fn(move || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line)
    })
    .filter(|line| line.ends_with('\n'))
    .filter_map(|line| line.rsplit_once("sealwax:").map(|(_, rest)| rest.trim().to_owned()))
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "sealwax:{line}").and_then(|()| out.flush()).unwrap();
}

/// Not a test: the work of the child processes.
#[test]
fn child_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
    match role.as_str() {
        "churn" => churn(&folder),
        "work" => work(&folder),
        "hold" => hold(&folder),
        _ => panic!("no such role"),
    }
}

/// Changes the store at random, forever. Prints each key before it can be lost, with something
/// sealed under it.
fn churn(folder: &Path) {
    let mut kms = LocalKms::builder(folder).open_or_create().wait().unwrap();
    let backup = folder.with_extension(std::process::id().to_string());
    let passphrase = || Root::passphrase_with_cost(*b"correct horse", CHEAP);
    kms.export(&backup, None, passphrase()).wait().unwrap();
    tell("ready");
    let mut random = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 20;
    loop {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let keys = kms.list_keys().unwrap();
        let kept: Vec<_> = keys.iter().filter(|key| key.description == "kept").collect();
        let any = kept.get(random as usize % kept.len().max(1)).map(|key| key.key_id.clone());
        match (random >> 32) % 11 {
            0 | 1 if keys.len() < 20 => {
                let key = kms.create_key("kept").unwrap().key_id;
                let sealed = kms.encrypt(&key, key.as_bytes(), &none()).unwrap().ciphertext;
                tell(&format!("kept {}", support::to_base64(&sealed)));
            }
            2 => {
                let key = kms.create_key("doomed").unwrap().key_id;
                kms.schedule_key_deletion(&key, WaitingPeriod::Sooner(Duration::ZERO)).unwrap();
            }
            3 | 4 => {
                let Some(key) = any else { continue };
                kms.rotate_key(&key).unwrap();
                let sealed = kms.encrypt(&key, key.as_bytes(), &none()).unwrap().ciphertext;
                tell(&format!("kept {}", support::to_base64(&sealed)));
            }
            5 => drop(any.map(|key| kms.disable_key(&key).and_then(|_| kms.enable_key(&key)))),
            6 => drop(any.map(|key| kms.create_alias("main", &key).or_else(|_| kms.update_alias("main", &key)))),
            7 => kms.rotate_root(Root::key_file_in_folder()).wait().unwrap(),
            8 => kms = LocalKms::open(folder).unwrap(),
            9 => drop(kms.import_backup(&backup, passphrase()).wait().unwrap()),
            _ => drop(any.map(|key| kms.encrypt(&key, b"text", &none()))),
        }
    }
}

/// Does its share of countable work.
fn work(folder: &Path) {
    let kms = LocalKms::builder(folder).open_or_create().wait().unwrap();
    for round in 0..WORK {
        let key = kms.create_key(&format!("by {} in {round}", std::process::id())).unwrap().key_id;
        let sealed = kms.encrypt(&key, b"text", &none()).unwrap().ciphertext;
        assert!(kms.decrypt(&sealed, &none()).unwrap().plaintext.ct_eq(b"text"));
        if round == WORK / 2 {
            kms.rotate_root(Root::key_file_in_folder()).wait().unwrap();
        }
    }
    tell("done");
}

const WORK: usize = 25;
const WORKERS: usize = 8;

/// Holds the lock until it is killed.
fn hold(folder: &Path) {
    let file = fs::OpenOptions::new().write(true).open(folder.join("lock")).unwrap();
    file.lock().unwrap();
    tell("held");
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn killed_at_any_instant_no_key_is_lost_and_the_log_is_whole() {
    let kills: u64 = env::var("SEALWAX_KILLS").map_or(100, |value| value.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut folder = folder.path().join("0");
    let (mut known, mut changes): (BTreeSet<Vec<u8>>, u64) = (BTreeSet::new(), 0);
    for kill in 0..kills {
        // Create a new store occasionally, so that kills also hit its creation.
        if kill % 25 == 0 {
            folder.set_file_name(kill.to_string());
            known.clear();
        }
        let mut child = child("churn", &folder);
        let told = lines(&mut child);
        let reader = thread::spawn(move || told.collect::<Vec<_>>());
        // From the start of the process to well into its work, at no fixed step.
        let wait = if kill % 25 == 0 { kill * 37 % 4_000 } else { 2_000 + kill * 7_919 % 40_000 };
        thread::sleep(Duration::from_micros(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        known.extend(
            reader.join().unwrap().iter().filter_map(|line| line.strip_prefix("kept ").map(support::from_base64)),
        );

        let made = folder.join("store.bin").exists();
        let kms = match LocalKms::open(&folder) {
            Ok(kms) => kms,
            Err(LocalKmsError::NoStore { .. }) if !made => continue,
            Err(error) => panic!("after kill {kill}: {error}"),
        };
        // A key can have been disabled for a moment.
        for key in kms.list_keys().unwrap() {
            assert!(!matches!(key.state, KeyState::PendingDeletion(_)), "after kill {kill}");
            kms.enable_key(&key.key_id).unwrap();
        }
        for sealed in &known {
            let opened = kms.decrypt(sealed, &none()).unwrap_or_else(|error| panic!("after kill {kill}: {error}"));
            assert!(kms.describe_key(&opened.key_id).is_ok());
        }
        // The next change sweeps whatever the killed process has left.
        let key = kms.create_key("doomed").unwrap().key_id;
        kms.schedule_key_deletion(&key, WaitingPeriod::Sooner(Duration::ZERO)).unwrap();
        kms.list_keys().unwrap();
        let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        let [log, lock, root_key, store] = &left[..] else { panic!("after kill {kill}: {left:?}") };
        assert_eq!([log, lock, store], ["audit.log", "lock", "store.bin"]);
        assert!(root_key.to_str().unwrap().starts_with("root-"));

        let report = kms.verify_audit_log().unwrap();
        assert!(report.faults.is_empty(), "after kill {kill}: {:?}", report.faults);
        changes = changes.max(report.lines);
    }
    assert!(changes > 100, "the processes were killed before they did anything: {changes} lines");
    support::say(&format!("{kills} processes killed; {} ciphertexts in the last store, {changes} lines", known.len()));
}

#[test]
fn eight_processes_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("store");
    // One of the workers also creates the store.
    let children: Vec<_> = (0..WORKERS).map(|_| child("work", &folder)).collect();
    for mut child in children {
        let told: Vec<_> = lines(&mut child).collect();
        assert!(child.wait().unwrap().success());
        assert_eq!(told, ["done"]);
    }
    let kms = LocalKms::open(&folder).unwrap();
    assert_eq!(kms.list_keys().unwrap().len(), WORKERS * WORK);
    let report = kms.verify_audit_log().unwrap();
    assert_eq!(report.faults, []);
    let entries = kms.audit_log().unwrap();
    let count = |operation: &str| entries.iter().filter(|entry| entry.operation == operation).count();
    assert_eq!((count("CreateStore"), count("RotateRoot")), (1, WORKERS));
    assert_eq!(
        (count("CreateKey"), count("Encrypt"), count("Decrypt")),
        (WORKERS * WORK, WORKERS * WORK, WORKERS * WORK)
    );
}

#[test]
fn threads_of_one_process_lose_no_update_either() {
    let folder = tempfile::tempdir().unwrap();
    let kms = LocalKms::create(folder.path()).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            let (shared, own) = (kms.clone(), LocalKms::open(folder.path()).unwrap());
            scope.spawn(move || {
                for _ in 0..10 {
                    shared.create_key("").unwrap();
                    own.create_key("").unwrap();
                }
            });
        }
    });
    assert_eq!(kms.list_keys().unwrap().len(), 80);
    assert!(kms.verify_audit_log().unwrap().faults.is_empty());
}

#[test]
fn a_store_opens_while_its_root_changes() {
    let folder = tempfile::tempdir().unwrap();
    let kms = LocalKms::create(folder.path()).unwrap();
    // It must not happen that a store is read and the root key that it named is then gone.
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            (0..150).for_each(|_| kms.rotate_root(Root::default()).wait().unwrap());
            done.store(true, Ordering::Relaxed);
        });
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    LocalKms::open(folder.path()).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_lock_ends_with_its_holder_and_a_holder_that_lives_is_not_waited_for_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let patience = Duration::from_millis(100);
    let kms = LocalKms::builder(folder.path()).lock_timeout(patience).create().wait().unwrap();
    let mut holder = child("hold", folder.path());
    assert_eq!(lines(&mut holder).next().as_deref(), Some("held"));
    assert!(matches!(kms.create_key(""), Err(LocalKmsError::Busy { .. })));
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(folder.path().join("lock").exists());
    kms.create_key("").unwrap();
}

/// Returns a small store, the names of its files, and something sealed in it.
fn victim(folder: &Path, root: impl Fn() -> Root) -> (Vec<PathBuf>, Vec<u8>) {
    let kms = LocalKms::builder(folder).root(root()).create().wait().unwrap();
    let key = kms.create_key("one").unwrap().key_id;
    kms.create_key("two").unwrap();
    kms.create_alias("main", &key).unwrap();
    let sealed = kms.encrypt("main", b"text", &none()).unwrap().ciphertext;
    kms.update_key_description(&key, "changed").unwrap();
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    (files.filter(|path| !path.ends_with("lock")).collect(), sealed)
}

/// Flips a bit in every byte of every file, and checks that each is detected.
fn flip_every_byte(root: impl Fn() -> Root) {
    let folder = tempfile::tempdir().unwrap();
    let (files, sealed) = victim(folder.path(), &root);
    let open = || LocalKms::builder(folder.path()).root(root()).open().wait();
    let before: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    let mut records = 0;
    for (path, whole) in files.iter().zip(&before) {
        let name = path.file_name().unwrap().to_str().unwrap();
        for position in 0..whole.len() {
            let mut altered = whole.clone();
            altered[position] ^= 1 << (position % 8);
            fs::write(path, &altered).unwrap();
            if name == "audit.log" {
                let kms = open().unwrap_or_else(|error| panic!("a log does not keep a store from opening: {error}"));
                let report = kms.verify_audit_log().unwrap();
                // The end of the last line then looks truncated; the store knows that line and
                // writes it again.
                let healed = position == whole.len() - 1 && fs::read(path).unwrap() == *whole;
                assert!(
                    healed || !report.faults.is_empty(),
                    "byte {position} of the log was altered, and nobody noticed"
                );
            } else {
                let Err(error) = open() else { panic!("byte {position} of {name} was altered, and nobody noticed") };
                let text = error.to_string();
                assert!(text.contains("store.bin") || text.contains(name), "byte {position} of {name}: {text}");
                records += usize::from(text.contains("the record of key"));
            }
            fs::write(path, whole).unwrap();
        }
    }
    assert!(records > 100, "damage to a record is named as such: {records}");
    // Nothing else was damaged: what was restored is as before.
    for (path, whole) in files.iter().zip(&before) {
        assert!(fs::read(path).unwrap() == *whole);
    }
    let kms = open().unwrap();
    assert!(kms.decrypt(&sealed, &none()).unwrap().plaintext.ct_eq(b"text"));
    assert!(kms.verify_audit_log().unwrap().faults.is_empty());
}

#[test]
fn every_flipped_byte_is_found_and_harms_nothing_else() {
    flip_every_byte(Root::key_file_in_folder);
}

#[test]
fn every_flipped_byte_is_found_under_a_passphrase() {
    flip_every_byte(|| Root::passphrase_with_cost(*b"correct", CHEAP));
}

#[test]
fn every_truncation_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _) = victim(folder.path(), Root::default);
    let path = folder.path().join("store.bin");
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let found = matches!(
            LocalKms::open(folder.path()),
            Err(LocalKmsError::Damaged { .. } | LocalKmsError::WrongRoot { .. })
        );
        assert!(found, "cut off at {length}");
    }
    fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
    assert!(LocalKms::open(folder.path()).is_err());
}
