//! The hierarchical keyring and its key store: known answers, every change of an item, faults, the
//! cache, races, and the official Python library live.

mod cache;
mod faults;
mod files;
mod items;
mod known_answers;
#[cfg(feature = "config")]
mod live;
#[cfg(feature = "config")]
mod network;
mod speed;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sealwax::{
    AlgorithmSuite, Client, EncryptionContext, Error,
    keyring::{BoxFuture, Keyring, KmsApi},
};
use sealwax_aws::{
    AwsKmsHierarchicalKeyring, BranchKeyError, BranchKeyItem, BranchKeyStorage, BranchKeyStore, ItemValue,
    KmsConfiguration, PutItem, StorageError, StorageErrorKind,
};

use crate::fake_kms::FakeKms;

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER: &str = "arn:aws:kms:eu-west-1:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab";
const MRK: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const MRK_FAR: &str = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
const LOGICAL: &str = "orders";
const ID: &str = "tenant-blue";
const ACTIVE: &str = "branch:ACTIVE";
const BEACON: &str = "beacon:ACTIVE";
const MINUTE: Duration = Duration::from_secs(60);
const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;

/// What a table does with its next call.
enum TableFault {
    Error(StorageErrorKind),
    /// The write is made, and its answer is lost.
    Written(StorageErrorKind),
    /// The read has another answer.
    Answer(Option<BranchKeyItem>),
    Hangs,
}

/// A table in memory, which counts its calls and fails on demand.
#[derive(Default)]
struct Table {
    items: Mutex<BTreeMap<(String, String), BranchKeyItem>>,
    faults: Mutex<VecDeque<TableFault>>,
    gets: AtomicUsize,
    puts: AtomicUsize,
}

impl Table {
    fn fail(&self, fault: TableFault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    fn items(&self) -> BTreeMap<(String, String), BranchKeyItem> {
        self.items.lock().unwrap().clone()
    }

    fn item(&self, kind: &str) -> BranchKeyItem {
        self.items()[&(ID.to_owned(), kind.to_owned())].clone()
    }

    /// Stores an item under an id and a type, whatever it says itself.
    fn set(&self, id: &str, kind: &str, item: BranchKeyItem) {
        self.items.lock().unwrap().insert((id.to_owned(), kind.to_owned()), item);
    }

    /// Returns the types of the versions of a branch key.
    fn versions(&self, id: &str) -> Vec<String> {
        let items = self.items().into_keys();
        items.filter(|(found, kind)| found == id && kind.starts_with("branch:version:")).map(|(_, kind)| kind).collect()
    }

    /// Returns the numbers of reads and writes since the last time.
    fn calls(&self) -> (usize, usize) {
        (self.gets.swap(0, Ordering::SeqCst), self.puts.swap(0, Ordering::SeqCst))
    }
}

impl BranchKeyStorage for Table {
    fn name(&self) -> &str {
        "table"
    }

    fn get<'a>(&'a self, id: &'a str, item: &'a str) -> BoxFuture<'a, Result<Option<BranchKeyItem>, StorageError>> {
        Box::pin(async move {
            self.gets.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let fault = self.faults.lock().unwrap().pop_front();
            match fault {
                Some(TableFault::Error(kind) | TableFault::Written(kind)) => return Err(StorageError::new(kind)),
                Some(TableFault::Answer(answer)) => return Ok(answer),
                Some(TableFault::Hangs) => std::future::pending().await,
                None => {}
            }
            Ok(self.items().get(&(id.to_owned(), item.to_owned())).cloned())
        })
    }

    fn put<'a>(&'a self, puts: &'a [PutItem]) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async move {
            self.puts.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let fault = self.faults.lock().unwrap().pop_front();
            match fault {
                Some(TableFault::Error(kind)) => return Err(StorageError::new(kind)),
                Some(TableFault::Hangs) => std::future::pending().await,
                _ => {}
            }
            let key = |put: &PutItem| (put.item.id().to_owned(), put.item.kind().to_owned());
            let mut items = self.items.lock().unwrap();
            if !puts.iter().all(|put| put.condition.holds(items.get(&key(put)))) {
                return Err(StorageError::new(StorageErrorKind::ConditionFailed));
            }
            items.extend(puts.iter().map(|put| (key(put), put.item.clone())));
            match fault {
                Some(TableFault::Written(kind)) => Err(StorageError::new(kind)),
                _ => Ok(()),
            }
        })
    }

    fn items_of<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Vec<BranchKeyItem>, StorageError>> {
        Box::pin(async move { Ok(self.items().into_values().filter(|item| item.id() == id).collect()) })
    }

    fn ids(&self) -> BoxFuture<'_, Result<Vec<String>, StorageError>> {
        Box::pin(async move {
            let mut ids: Vec<_> = self.items().into_keys().map(|(id, _)| id).collect();
            ids.dedup();
            Ok(ids)
        })
    }
}

/// A key store over a table and a fake service, with one branch key.
struct Setting {
    table: Arc<Table>,
    kms: Arc<FakeKms>,
    store: Arc<BranchKeyStore>,
}

impl Setting {
    async fn new() -> Self {
        let setting = Self::empty();
        setting.store.create_key(Some(ID), &context()).await.expect("a branch key");
        setting.table.calls();
        setting.kms.calls();
        setting
    }

    fn empty() -> Self {
        let (table, kms) = (Arc::new(Table::default()), FakeKms::with_keys(&[KEY, OTHER]));
        let store = Arc::new(store(&table, kms.clone(), KmsConfiguration::key(KEY).unwrap()));
        Self { table, kms, store }
    }

    fn keyring(&self) -> AwsKmsHierarchicalKeyring {
        AwsKmsHierarchicalKeyring::new(self.store.clone(), ID, MINUTE).expect("a keyring")
    }
}

fn store(table: &Arc<Table>, kms: Arc<dyn KmsApi>, keys: KmsConfiguration) -> BranchKeyStore {
    BranchKeyStore::new(table.clone(), kms, LOGICAL, keys).expect("a store")
}

fn context() -> EncryptionContext {
    EncryptionContext::from([("department", "sales"), ("", "Ünïcode \u{1f511}\n")])
}

fn text(value: &str) -> ItemValue {
    ItemValue::Text(value.to_owned())
}

async fn seal(keyring: &dyn Keyring) -> Result<Vec<u8>, Error> {
    Client::new().encrypt(keyring).suite(UNSIGNED).bytes(b"text").await.map(|sealed| sealed.message)
}

async fn open(keyring: &dyn Keyring, message: &[u8]) -> Result<Vec<u8>, Error> {
    Client::new().decrypt(keyring).bytes(message).await.map(|opened| opened.plaintext)
}

/// Returns the error of the key store behind an error of a message.
fn cause(error: &Error) -> &BranchKeyError {
    let source = std::error::Error::source(error).unwrap_or_else(|| panic!("{error} has no cause"));
    let found = std::iter::successors(Some(source), |error| error.source()).find_map(|error| error.downcast_ref());
    found.unwrap_or_else(|| panic!("{error}: {source}"))
}
