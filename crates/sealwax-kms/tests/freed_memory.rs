//! Tests that no block of the heap holds a secret when it is freed, as in the file of the same name
//! of sealwax, with its scanner.
// `GlobalAlloc` is an unsafe trait. Everywhere but in the programs of this name, `unsafe` is an error.
#![allow(unsafe_code)]

#[path = "../../../tests/freed_memory/cases.rs"]
mod cases;
#[path = "../../../tests/freed_memory/scanner.rs"]
mod scanner;
#[path = "../../../tests/freed_memory/service.rs"]
mod service;

use std::{fs, sync::Arc};

use cases::{Cases, WRAPPING_KEY, text_and_wrapping_key};
use scanner::{Kind, Secret, learn, parts};
use sealwax::{
    EncryptionContext,
    crypto::{CryptoProvider, RustCrypto},
    keyring::RawAesKeyring,
};
use sealwax_kms::{LocalKms, PassphraseCost, Root};
use service::{MESSAGE, open, seal};

#[global_allocator]
static ALLOCATOR: scanner::ScanningAllocator = scanner::ScanningAllocator;

const PASSPHRASE: &[u8; 32] = b"correct horse battery staple 123";
const MATERIAL: &[u8; 32] = b"imported key material, 32 bytes.";

/// Creates a store under a root and works with it: with an imported key and a new one, before
/// and after a rotation, and after opening it again.
fn live(cases: &mut Cases, name: &str, secrets: &[Secret], root: impl Fn() -> Root) {
    let folder = tempfile::tempdir().unwrap();
    let builder = || LocalKms::builder(folder.path()).root(root());
    let mut messages: Vec<&[u8]> = Vec::with_capacity(8);
    let secrets = cases.run(&format!("{name}: made"), secrets, &MESSAGE, || {
        let kms = builder().create().wait().unwrap();
        let imported = kms.import_key(MATERIAL.to_vec(), "").unwrap().key_id;
        let made = kms.create_key("").unwrap().key_id;
        for key in [&imported, &made] {
            messages.push(seal(&kms.keyring(key).unwrap()));
            kms.rotate_key(key).unwrap();
            messages.push(seal(&kms.keyring(key).unwrap()));
        }
        let made = kms.generate_data_key(&made, 32, &EncryptionContext::new()).unwrap();
        learn(Kind::DataKey, made.plaintext.as_bytes());
    });
    cases.run(&format!("{name}: opened"), &secrets, &MESSAGE, || {
        let kms = builder().open().wait().unwrap();
        for message in &messages {
            open(&kms.discovery_keyring(), message);
        }
    });
    cases.run(&format!("{name}: another root"), &secrets, &MESSAGE, || {
        let kms = builder().open().wait().unwrap();
        kms.rotate_root(Root::key_file_in_folder()).wait().unwrap();
        kms.rotate_root(root()).wait().unwrap();
    });
}

#[test]
fn the_key_store_wipes_its_keys_and_the_data_keys_it_makes() {
    let mut cases = Cases::new();
    let mut secrets = text_and_wrapping_key();
    secrets.extend(parts(Kind::Passphrase, PASSPHRASE));
    secrets.extend(parts(Kind::PrivateKey, MATERIAL));
    live(&mut cases, "a root key in the folder", &secrets, Root::key_file_in_folder);
    let cost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };
    live(&mut cases, "a passphrase", &secrets, || Root::passphrase_with_cost(PASSPHRASE.to_vec(), cost));
    live(&mut cases, "a root keyring", &secrets, || {
        Root::keyring(Arc::new(RawAesKeyring::new("example", "root", WRAPPING_KEY.to_vec()).unwrap()))
    });
    // A key file elsewhere is known before a store is created with it.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.key");
    let root_key = RustCrypto.random_key(32).unwrap();
    fs::write(&path, root_key.as_bytes()).unwrap();
    secrets.extend(parts(Kind::RootKey, root_key.as_bytes()));
    live(&mut cases, "a key file", &secrets, || Root::key_file(&path));
}
