//! The records of the endpoint in an embedded database, each sealed under the root key.
//!
//! Names of records are in clear, so that they can be listed without opening them. The head holds a
//! digest of the whole set of records: the XOR of a keyed tag of each. A record that is altered,
//! removed, added or replaced by an earlier version changes it, and every change updates it at the
//! cost of that change alone.

use std::{path::PathBuf, sync::Mutex};

use redb::{Database, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use sealwax::SecretBytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    LocalKmsError, Root,
    disk::Disk,
    record::{Bytes, RootRecord},
    seal::{joined, open, random_hex, seal, tag},
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

const FILE: &str = "kms.redb";
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
const HEAD: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("head");
const RECORD: &str = "endpoint record";
const MEMBER: &str = "endpoint set";
const CHECK: &str = "endpoint root check";
/// How much of the database is cached in memory, in bytes.
const CACHE: usize = 32 << 20;

/// The part of the head that is read without the root key. It is authenticated by the root key that
/// it leads to, as its `check`.
#[derive(Serialize, Deserialize)]
struct Clear {
    store_id: String,
    root: RootRecord,
    check: Bytes,
}

/// The part of the head that is sealed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Incremented at each change.
    pub(crate) generation: u64,
    /// The XOR of the tags of all records.
    set: Vec<u8>,
    /// The audit record of the last change, which is part of that change: the process may die before
    /// it is in the log.
    pub(crate) journal: String,
}

/// Records to write, or, without a value, to remove.
#[derive(Default)]
pub(crate) struct Changes(pub(crate) Vec<(String, Option<SecretBytes>)>);

impl Changes {
    pub(crate) fn put(&mut self, name: impl Into<String>, record: &impl Serialize) -> Result<()> {
        self.0.push((name.into(), Some(SecretBytes::from(encode(record)?))));
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: impl Into<String>) {
        self.0.push((name.into(), None));
    }
}

/// The open database. One process can have it open.
pub(crate) struct Storage {
    database: Database,
    root_key: SecretBytes,
    pub(crate) store_id: String,
    path: PathBuf,
    head: Mutex<Head>,
}

/// The records at one moment.
pub(crate) struct Snapshot<'a> {
    storage: &'a Storage,
    table: ReadOnlyTable<&'static str, &'static [u8]>,
}

fn encode(record: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let failed = |error: ciborium::ser::Error<_>| LocalKmsError::InvalidRequest(error.to_string());
    ciborium::into_writer(record, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

impl Storage {
    /// Opens the database in a directory, or creates it, and verifies all records.
    ///
    /// # Errors
    /// If another process has it open, the root does not open it, or a record was altered.
    pub(crate) async fn open(directory: PathBuf, root: &Root) -> Result<Self> {
        let disk = Disk::new(&directory);
        disk.create_folder()?;
        let path = disk.path(FILE);
        let failed = |error: redb::DatabaseError| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => LocalKmsError::Busy { path: path.clone() },
            error => LocalKmsError::damaged(&path, error.to_string()),
        };
        let database = redb::Builder::new().set_cache_size(CACHE).create(&path).map_err(failed)?;
        private(&path)?;
        let damaged = |error: redb::Error| LocalKmsError::damaged(&path, error.to_string());
        let clear = read_clear(&database).map_err(damaged)?;
        if let Some(clear) = clear {
            let clear: Clear = ciborium::from_reader(clear.as_slice())
                .map_err(|_| LocalKmsError::damaged(&path, "its header is malformed"))?;
            let root_key = root.acquire(&path, &directory, &clear.store_id, &clear.root).await?;
            let check = check(&root_key, &clear.store_id, &clear.root)?;
            if !check.ct_eq(&clear.check.0) {
                return Err(LocalKmsError::WrongRoot { path });
            }
            let head = Head { generation: 0, set: Vec::new(), journal: String::new() };
            let storage = Self { database, root_key, store_id: clear.store_id, path, head: Mutex::new(head) };
            storage.verify()?;
            return Ok(storage);
        }
        let store_id = random_hex::<16>().map_err(LocalKmsError::Crypto)?;
        let (record, root_key) = root.establish(&disk, &store_id).await?;
        record.install(&disk, &root_key)?;
        let check = Bytes(check(&root_key, &store_id, &record)?.as_bytes().to_vec());
        let clear = encode(&Clear { store_id: store_id.clone(), root: record, check })?;
        let head = Head { generation: 0, set: vec![0; 32], journal: String::new() };
        let storage = Self { database, root_key, store_id, path, head: Mutex::new(head) };
        storage.write(&Changes::default(), String::new(), Some(&clear))?;
        disk.sync_folder()?;
        Ok(storage)
    }

    fn damaged<E: Into<redb::Error>>(&self) -> impl Fn(E) -> LocalKmsError {
        |error| LocalKmsError::damaged(&self.path, error.into().to_string())
    }

    /// Reads the head, and fails unless it is that of the records.
    fn verify(&self) -> Result<()> {
        let transaction = self.database.begin_read().map_err(self.damaged())?;
        let table = transaction.open_table(HEAD).map_err(self.damaged())?;
        let sealed = table.get("sealed").map_err(self.damaged())?;
        let altered = || LocalKmsError::damaged(&self.path, "its head was altered");
        let sealed = sealed.ok_or_else(altered)?;
        let head = open(&self.root_key, RECORD, self.store_id.as_bytes(), sealed.value()).map_err(|_| altered())?;
        let head: Head = ciborium::from_reader(head.as_bytes()).map_err(|_| altered())?;
        let mut set = vec![0; 32];
        let records = transaction.open_table(RECORDS).map_err(self.damaged())?;
        for entry in records.iter().map_err(self.damaged())? {
            let (name, value) = entry.map_err(self.damaged())?;
            self.toggle(&mut set, name.value(), value.value())?;
        }
        if set != head.set {
            return Err(LocalKmsError::damaged(&self.path, "a record was altered, added, removed or put back"));
        }
        *self.lock() = head;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn head(&self) -> Head {
        self.lock().clone()
    }

    /// Adds a record to the digest of the set, or removes it.
    fn toggle(&self, set: &mut [u8], name: &str, value: &[u8]) -> Result<()> {
        let tag = tag(&self.root_key, MEMBER, &joined(&[name.as_bytes(), value])).map_err(LocalKmsError::Crypto)?;
        set.iter_mut().zip(tag.as_bytes()).for_each(|(set, tag)| *set ^= tag);
        Ok(())
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot<'_>> {
        let transaction = self.database.begin_read().map_err(self.damaged())?;
        Ok(Snapshot { storage: self, table: transaction.open_table(RECORDS).map_err(self.damaged())? })
    }

    /// Makes changes, all or none, and returns when they are on disk. `journal` is their audit record.
    pub(crate) fn commit(&self, changes: &Changes, journal: String) -> Result<u64> {
        self.write(changes, journal, None)
    }

    fn write(&self, changes: &Changes, journal: String, clear: Option<&[u8]>) -> Result<u64> {
        let mut current = self.lock();
        let mut head = Head { generation: current.generation + 1, journal, set: current.set.clone() };
        let transaction = self.database.begin_write().map_err(self.damaged())?;
        {
            let mut table = transaction.open_table(RECORDS).map_err(self.damaged())?;
            for (name, record) in &changes.0 {
                let old = match record {
                    Some(record) => {
                        let sealed = seal(&self.root_key, RECORD, name.as_bytes(), record.as_bytes());
                        let sealed = sealed.map_err(LocalKmsError::Crypto)?;
                        self.toggle(&mut head.set, name, &sealed)?;
                        table.insert(name.as_str(), sealed.as_slice())
                    }
                    None => table.remove(name.as_str()),
                };
                if let Some(old) = old.map_err(self.damaged())? {
                    self.toggle(&mut head.set, name, old.value())?;
                }
            }
            let mut table = transaction.open_table(HEAD).map_err(self.damaged())?;
            if let Some(clear) = clear {
                table.insert("clear", clear).map_err(self.damaged())?;
            }
            let sealed = seal(&self.root_key, RECORD, self.store_id.as_bytes(), &encode(&head)?);
            let sealed = sealed.map_err(LocalKmsError::Crypto)?;
            table.insert("sealed", sealed.as_slice()).map_err(self.damaged())?;
        }
        transaction.commit().map_err(self.damaged())?;
        *current = head;
        Ok(current.generation)
    }

    /// Returns a key that depends on the root key, for another purpose.
    pub(crate) fn derived(&self, purpose: &str) -> Result<SecretBytes> {
        tag(&self.root_key, purpose, self.store_id.as_bytes()).map_err(LocalKmsError::Crypto)
    }
}

impl Snapshot<'_> {
    pub(crate) fn bytes(&self, name: &str) -> Result<Option<SecretBytes>> {
        let Some(sealed) = self.table.get(name).map_err(self.storage.damaged())? else { return Ok(None) };
        let opened = open(&self.storage.root_key, RECORD, name.as_bytes(), sealed.value());
        opened.map(Some).map_err(|_| self.malformed(name))
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        ciborium::from_reader(bytes.as_bytes()).map(Some).map_err(|_| self.malformed(name))
    }

    fn malformed(&self, name: &str) -> LocalKmsError {
        LocalKmsError::damaged(&self.storage.path, format!("record {name} was altered"))
    }

    /// Returns the ends of at most `limit` names with a prefix, in order, after the one with the end
    /// `after`.
    pub(crate) fn names(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        let start = format!("{prefix}{after}");
        let mut names = Vec::new();
        for entry in self.table.range(start.as_str()..).map_err(self.storage.damaged())? {
            let (name, _) = entry.map_err(self.storage.damaged())?;
            let Some(rest) = name.value().strip_prefix(prefix) else { break };
            if rest == after {
                continue;
            }
            if names.len() == limit {
                break;
            }
            names.push(rest.to_owned());
        }
        Ok(names)
    }
}

fn check(root_key: &SecretBytes, store_id: &str, root: &RootRecord) -> Result<SecretBytes> {
    tag(root_key, CHECK, &joined(&[store_id.as_bytes(), &encode(root)?])).map_err(LocalKmsError::Crypto)
}

fn read_clear(database: &Database) -> Result<Option<Vec<u8>>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(HEAD) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(table.get("clear")?.map(|value| value.value().to_vec()))
}

/// Takes all permissions of others on the file away.
#[cfg(unix)]
fn private(path: &std::path::Path) -> Result<()> {
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, owner_only).map_err(LocalKmsError::io("restricting the permissions of", path))
}

#[cfg(not(unix))]
fn private(_: &std::path::Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use sealwax::Operation;

    use super::*;

    fn opened(directory: &std::path::Path) -> Result<Storage> {
        let directory = directory.to_owned();
        Operation::new(async move { Storage::open(directory, &Root::default()).await }).wait()
    }

    fn change(name: &str, value: Option<&str>) -> Changes {
        let mut changes = Changes::default();
        match value {
            Some(value) => changes.put(name, &value).unwrap(),
            None => changes.remove(name),
        }
        changes
    }

    #[test]
    fn changes_survive_and_names_are_listed_in_pages() {
        let directory = tempfile::tempdir().unwrap();
        let storage = opened(directory.path()).unwrap();
        for name in ["a/1", "a/2", "a/3", "b/1"] {
            storage.commit(&change(name, Some(name)), "event".into()).unwrap();
        }
        storage.commit(&change("a/2", None), "last".into()).unwrap();
        assert!(matches!(opened(directory.path()), Err(LocalKmsError::Busy { .. })));
        drop(storage);
        let storage = opened(directory.path()).unwrap();
        assert_eq!((storage.head().generation, storage.head().journal.as_str()), (6, "last"));
        let snapshot = storage.snapshot().unwrap();
        assert_eq!(snapshot.names("a/", "", 10).unwrap(), ["1", "3"]);
        assert_eq!(snapshot.names("a/", "1", 10).unwrap(), ["3"]);
        assert_eq!(snapshot.names("a/", "", 1).unwrap(), ["1"]);
        assert_eq!(snapshot.get::<String>("b/1").unwrap().as_deref(), Some("b/1"));
        assert_eq!(snapshot.get::<String>("a/2").unwrap(), None);
    }

    #[test]
    fn records_that_were_altered_removed_or_put_back_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let storage = opened(directory.path()).unwrap();
        storage.commit(&change("a", Some("disabled at first")), String::new()).unwrap();
        let raw = |storage: &Storage, name: &str| {
            let table = storage.database.begin_read().unwrap().open_table(RECORDS).unwrap();
            table.get(name).unwrap().unwrap().value().to_vec()
        };
        let old = raw(&storage, "a");
        assert!(!old.windows(8).any(|part| part == b"disabled"), "a record is in clear");
        storage.commit(&change("a", Some("new")), String::new()).unwrap();
        storage.commit(&change("b", Some("other")), String::new()).unwrap();
        let (new, other) = (raw(&storage, "a"), raw(&storage, "b"));
        drop(storage);
        let tamper = |name: &str, value: Option<&[u8]>| {
            let database = Database::create(directory.path().join(FILE)).unwrap();
            let transaction = database.begin_write().unwrap();
            let mut table = transaction.open_table(RECORDS).unwrap();
            match value {
                Some(value) => drop(table.insert(name, value).unwrap()),
                None => drop(table.remove(name).unwrap()),
            }
            drop(table);
            transaction.commit().unwrap();
        };
        let mut altered = new.clone();
        altered[40] ^= 1;
        for (name, value) in [("a", Some(&old[..])), ("a", Some(&altered)), ("a", None), ("c", Some(&other))] {
            tamper(name, value);
            assert!(matches!(opened(directory.path()), Err(LocalKmsError::Damaged { .. })), "{name}");
            tamper("a", Some(&new));
            tamper("c", None);
            drop(opened(directory.path()).unwrap());
        }
    }
}
