//! Branch keys on one machine: the store as the key service, and a file for the items.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use sealwax::{Client, EncryptionContext};
use sealwax_aws::{AwsKmsHierarchicalKeyring, BranchKeyError, BranchKeyFile, BranchKeyStore, KmsConfiguration};
use sealwax_kms::LocalKms;

/// The directory and the key of a process that rotates.
const ROTATES: &str = "SEALWAX_TEST_ROTATES";

fn store(directory: &Path, kms: LocalKms, key: &str) -> Arc<BranchKeyStore> {
    let keys = KmsConfiguration::other_service(key).unwrap();
    let file = BranchKeyFile::new(directory.join("branch-keys.json"));
    Arc::new(BranchKeyStore::new(Arc::new(file), Arc::new(kms), "orders", keys).unwrap())
}

/// Creates a key store, a file and a branch key, and returns the KMS key.
fn create(directory: &Path) -> (LocalKms, String) {
    let kms = LocalKms::create(directory.join("keys")).unwrap();
    let key = kms.create_key("branch keys").unwrap().key_id;
    BranchKeyFile::new(directory.join("branch-keys.json")).create().unwrap();
    let context = EncryptionContext::from([("tenant", "blue")]);
    store(directory, kms.clone(), &key).create_key(Some("blue"), &context).wait().unwrap();
    (kms, key)
}

#[test]
fn a_hierarchy_needs_no_other_machine() {
    let directory = tempfile::tempdir().unwrap();
    let (kms, key) = create(directory.path());
    let store = store(directory.path(), kms.clone(), &key);
    let keyring = |store| AwsKmsHierarchicalKeyring::new(store, "blue", Duration::from_secs(60)).unwrap();
    let client = Client::new();
    let sealed = client.encrypt(&keyring(store.clone())).bytes(b"text").wait().unwrap();
    store.version_key("blue").wait().unwrap();
    // A rotation of the key that wraps branch keys, too.
    kms.rotate_key(&key).unwrap();
    store.version_key("blue").wait().unwrap();
    let opened = client.decrypt(&keyring(store.clone())).bytes(&sealed.message).wait().unwrap();
    assert_eq!(opened.plaintext, b"text");
    assert_eq!(store.describe_key("blue").wait().unwrap().versions.len(), 3);
    let operations: Vec<_> = kms.audit_log().unwrap().into_iter().map(|entry| entry.operation).collect();
    let count = |name: &str| operations.iter().filter(|operation| *operation == name).count();
    assert_eq!((count("GenerateDataKeyWithoutPlaintext"), count("ReEncrypt"), count("Decrypt")), (4, 5, 2));
    assert_eq!(count("GenerateDataKey"), 0);

    // Another key of the store is refused before it is used, and a disabled one by the store.
    let other = kms.create_key("another").unwrap().key_id;
    let error = self::store(directory.path(), kms.clone(), &other).active_key("blue").wait().err().unwrap();
    assert!(matches!(error, BranchKeyError::OtherKey { .. }), "{error}");
    kms.disable_key(&key).unwrap();
    let error = client.decrypt(&keyring(store)).bytes(&sealed.message).wait().err().unwrap();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("the key is disabled"), "{error}");
}

/// What a process of the next test does.
#[test]
fn rotate_in_a_process_of_its_own() {
    let Ok(setting) = std::env::var(ROTATES) else { return };
    let (directory, key) = setting.split_once('|').unwrap();
    // 64 processes take turns at the store.
    let kms = LocalKms::builder(Path::new(directory).join("keys")).lock_timeout(Duration::from_secs(300));
    let kms = kms.open().wait().unwrap();
    match store(Path::new(directory), kms, key).version_key("blue").wait() {
        Ok(version) => println!("won {version}"),
        Err(BranchKeyError::Changed { .. }) => println!("lost"),
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

#[test]
fn of_64_processes_that_rotate_at_once_each_wins_or_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (kms, key) = create(directory.path());
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "hierarchy::rotate_in_a_process_of_its_own", "--nocapture"]);
        command.env(ROTATES, format!("{}|{key}", directory.path().display()));
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..64).map(|_| start()).collect();
    let (mut won, mut lost) = (Vec::new(), 0);
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        match text.lines().find_map(|line| line.split_once("won ").map(|(_, version)| version)) {
            Some(version) => won.push(version.to_owned()),
            None => lost += usize::from(text.contains("lost")),
        }
    }
    assert_eq!(won.len() + lost, 64);
    let store = store(directory.path(), kms, &key);
    let description = store.describe_key("blue").wait().unwrap();
    assert_eq!(description.versions.len(), 1 + won.len());
    assert!(won.contains(&description.active));
    for version in &won {
        store.key_version("blue", version).wait().unwrap();
    }
}
