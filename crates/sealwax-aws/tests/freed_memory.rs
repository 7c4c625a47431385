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

use std::{sync::Arc, time::Duration};

use cases::{Cases, WRAPPING_KEY, text_and_wrapping_key};
use sealwax::keyring::{BoxFuture, MultiKeyring, RawAesKeyring};
use sealwax_aws::{
    AwsKmsHierarchicalKeyring, AwsKmsKeyring, BranchKeyItem, BranchKeyStorage, BranchKeyStore, ItemValue,
    KmsConfiguration, PutItem, StorageError,
};
use service::{Kms, masked, round_trip};

const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

#[global_allocator]
static ALLOCATOR: scanner::ScanningAllocator = scanner::ScanningAllocator;

#[test]
fn answers_of_aws_kms_are_wiped() {
    let mut cases = Cases::new();
    let secrets = text_and_wrapping_key();
    let aws = || AwsKmsKeyring::new(ARN, Arc::new(Kms)).unwrap();
    let aes = || RawAesKeyring::new("example", "key-1", WRAPPING_KEY.to_vec()).unwrap();
    round_trip(&mut cases, "AwsKmsKeyring", &secrets, aws, aws);
    let wraps = || MultiKeyring::new(aes()).child(aws());
    round_trip(&mut cases, "MultiKeyring, AWS KMS wraps", &secrets, wraps, aws);
}

/// A storage in which every branch key is the wrapping key, as the service masks it.
struct Masked;

impl BranchKeyStorage for Masked {
    fn name(&self) -> &str {
        "masked"
    }

    fn get<'a>(&'a self, id: &'a str, kind: &'a str) -> BoxFuture<'a, Result<Option<BranchKeyItem>, StorageError>> {
        let mut item = BranchKeyItem::new(id, kind);
        item.insert("enc", ItemValue::Bytes(masked(&WRAPPING_KEY).as_bytes().to_vec()));
        item.insert("hierarchy-version", ItemValue::Number("1".to_owned()));
        let text = |text: &str| ItemValue::Text(text.to_owned());
        item.insert("kms-arn", text(ARN));
        item.insert("create-time", text("2026-11-25T22:12:39.775015Z"));
        if kind == "branch:ACTIVE" {
            item.insert("version", text("branch:version:0f8fad5b-d9cb-469f-a165-70867728950e"));
        }
        Box::pin(async move { Ok(Some(item)) })
    }

    fn put<'a>(&'a self, _: &'a [PutItem]) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async { Ok(()) })
    }

    fn items_of<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<BranchKeyItem>, StorageError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn ids(&self) -> BoxFuture<'_, Result<Vec<String>, StorageError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

#[test]
fn branch_keys_are_wiped_with_their_cache() {
    let mut cases = Cases::new();
    let secrets = text_and_wrapping_key();
    let hierarchy = || {
        let keys = KmsConfiguration::key(ARN).unwrap();
        let store = Arc::new(BranchKeyStore::new(Arc::new(Masked), Arc::new(Kms), "orders", keys).unwrap());
        AwsKmsHierarchicalKeyring::new(store, "orders", Duration::from_secs(60)).unwrap()
    };
    round_trip(&mut cases, "AwsKmsHierarchicalKeyring", &secrets, hierarchy, hierarchy);
}
