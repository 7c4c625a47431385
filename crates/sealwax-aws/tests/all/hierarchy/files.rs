//! Other storages: the conformance suite, and a file beside the embedded key store.

use std::{fs, sync::Arc};

use sealwax_aws::{BranchKeyFile, conformance};

use super::*;

#[tokio::test]
async fn storages_in_memory_and_in_a_file_conform() {
    conformance::storage(&Table::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = BranchKeyFile::new(directory.path().join("keys.json"));
    file.create().unwrap();
    conformance::storage(&file).await.unwrap();
}

/// A storage with one fault, which the suite must find.
struct Faulty(Table, Flaw);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    NoConditions,
    HalfWrites,
    DropsNumbers,
    RepeatsIds,
    MixesIds,
}

impl BranchKeyStorage for Faulty {
    fn name(&self) -> &str {
        "faulty"
    }

    fn get<'a>(&'a self, id: &'a str, item: &'a str) -> BoxFuture<'a, Result<Option<BranchKeyItem>, StorageError>> {
        Box::pin(async move {
            let mut found = self.0.get(id, item).await?;
            if self.1 == Flaw::DropsNumbers {
                found.as_mut().map(|item| item.remove("hierarchy-version"));
            }
            Ok(found)
        })
    }

    fn put<'a>(&'a self, puts: &'a [PutItem]) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async move {
            match self.1 {
                Flaw::NoConditions => {
                    puts.iter().for_each(|put| self.0.set(put.item.id(), put.item.kind(), put.item.clone()));
                    Ok(())
                }
                Flaw::HalfWrites => {
                    for put in puts {
                        self.0.put(std::slice::from_ref(put)).await?;
                    }
                    Ok(())
                }
                _ => self.0.put(puts).await,
            }
        })
    }

    fn items_of<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Vec<BranchKeyItem>, StorageError>> {
        Box::pin(async move {
            match self.1 {
                Flaw::MixesIds => Ok(self.0.items().into_values().filter(|item| item.id().starts_with(id)).collect()),
                _ => self.0.items_of(id).await,
            }
        })
    }

    fn ids(&self) -> BoxFuture<'_, Result<Vec<String>, StorageError>> {
        Box::pin(async move {
            match self.1 {
                Flaw::RepeatsIds => Ok(self.0.items().into_keys().map(|(id, _)| id).collect()),
                _ => self.0.ids().await,
            }
        })
    }
}

#[tokio::test]
async fn the_suite_finds_flaws() {
    for flaw in [Flaw::NoConditions, Flaw::HalfWrites, Flaw::DropsNumbers, Flaw::RepeatsIds, Flaw::MixesIds] {
        let outcome = conformance::storage(&Faulty(Table::default(), flaw)).await;
        assert!(outcome.is_err(), "{flaw:?}");
    }
}

#[tokio::test]
async fn a_file_keeps_branch_keys_for_other_processes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let kms = FakeKms::with_keys(&[KEY]);
    let open_store = || {
        let keys = KmsConfiguration::key(KEY).unwrap();
        BranchKeyStore::new(Arc::new(BranchKeyFile::new(&path)), kms.clone(), LOGICAL, keys).map(Arc::new).unwrap()
    };
    // A file that nobody created is not taken for an empty one.
    let missing = open_store().active_key(ID).await.err().expect("there is no file");
    assert!(matches!(&missing, BranchKeyError::Storage(error) if error.kind() == StorageErrorKind::NotFound));
    BranchKeyFile::new(&path).create().unwrap();
    BranchKeyFile::new(&path).create().unwrap();

    open_store().create_key(Some(ID), &context()).await.unwrap();
    let keyring = |store| AwsKmsHierarchicalKeyring::new(store, ID, MINUTE).unwrap();
    let message = seal(&keyring(open_store())).await.unwrap();
    open_store().version_key(ID).await.unwrap();
    assert_eq!(open(&keyring(open_store()), &message).await.unwrap(), b"text");
    assert_eq!(open_store().describe_key(ID).await.unwrap().versions.len(), 2);
    // Nothing is left beside the file and its lock.
    let mut names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["keys.json", "keys.json.lock"]);

    for damaged in ["", "[]", "{\"items\": 1}", "{\"items\": [1]}", "{\"items\": [{\"a\": {\"B\": \"?\"}}]}"] {
        fs::write(&path, damaged).unwrap();
        let error = open_store().active_key(ID).await.err().expect("it is damaged");
        assert!(
            matches!(&error, BranchKeyError::Storage(error)
            if error.kind() == StorageErrorKind::InvalidAnswer("it cannot be read")),
            "{damaged}: {error}"
        );
    }
}
