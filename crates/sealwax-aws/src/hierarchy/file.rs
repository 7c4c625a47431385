//! Branch keys in a file.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use sealwax::keyring::BoxFuture;
use serde_json::{Map, Value, json};

use super::{BranchKeyItem, BranchKeyStorage, ItemValue, PutItem, StorageError, StorageErrorKind};

/// A storage of branch keys in a file, for one machine and for tests.
///
/// The file contains the items as JSON, in the form of DynamoDB. It is replaced as a whole when it
/// changes, so that a reader sees either the old state or the new one, which is durable when the
/// call returns. Processes take turns by a lock on the file of this name with `.lock` appended. The
/// futures do not wait: each performs a few file operations on the polling thread.
///
/// The keys in the file are encrypted by the key service, and all attributes are authenticated.
/// An earlier state of the file, which anyone with write access can restore, is not detected.
///
/// ```
/// use sealwax_aws::BranchKeyFile;
///
/// let dir = tempfile::tempdir()?;
/// let file = BranchKeyFile::new(dir.path().join("branch-keys.json"));
/// file.create()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct BranchKeyFile {
    path: PathBuf,
    name: String,
}

/// The items by id and type.
type Items = BTreeMap<(String, String), BranchKeyItem>;

impl BranchKeyFile {
    /// Creates a storage in this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { name: path.display().to_string(), path }
    }

    /// Creates the file, if it does not exist.
    ///
    /// # Errors
    /// The errors of the file system.
    pub fn create(&self) -> io::Result<()> {
        let _lock = self.lock()?;
        if self.path.try_exists()? { Ok(()) } else { self.write(&Items::new()) }
    }

    fn lock(&self) -> io::Result<File> {
        let mut name = OsString::from(&self.path);
        name.push(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(name)?;
        file.lock()?;
        Ok(file)
    }

    fn read(&self) -> io::Result<Items> {
        let text = fs::read(&self.path)?;
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it is not a file of branch keys");
        let value: Value = serde_json::from_slice(&text).map_err(|_| invalid())?;
        let items = value.get("items").and_then(Value::as_array).ok_or_else(invalid)?;
        let items = items.iter().map(|item| parse(item).map(|item| (key(&item), item)));
        items.collect::<Option<_>>().ok_or_else(invalid)
    }

    fn write(&self, items: &Items) -> io::Result<()> {
        let directory = self.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let items: Vec<_> = items.values().map(to_json).collect();
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer_pretty(&mut file, &json!({ "items": items }))?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        // The new name is durable only with its directory.
        #[cfg(unix)]
        File::open(directory)?.sync_all()?;
        Ok(())
    }

    fn put_all(&self, puts: &[PutItem]) -> Result<(), StorageError> {
        let _lock = self.lock().map_err(failed)?;
        let mut items = self.read().map_err(failed)?;
        if !puts.iter().all(|put| put.condition.holds(items.get(&key(&put.item)))) {
            return Err(StorageError::new(StorageErrorKind::ConditionFailed));
        }
        if puts.iter().any(|put| put.item.iter().any(|(_, value)| *value == ItemValue::Other)) {
            return Err(StorageError::new(StorageErrorKind::InvalidRequest));
        }
        items.extend(puts.iter().map(|put| (key(&put.item), put.item.clone())));
        self.write(&items).map_err(failed)
    }
}

impl BranchKeyStorage for BranchKeyFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn get<'a>(&'a self, id: &'a str, item: &'a str) -> BoxFuture<'a, Result<Option<BranchKeyItem>, StorageError>> {
        Box::pin(async move { Ok(self.read().map_err(failed)?.remove(&(id.to_owned(), item.to_owned()))) })
    }

    fn put<'a>(&'a self, puts: &'a [PutItem]) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async move { self.put_all(puts) })
    }

    fn items_of<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Vec<BranchKeyItem>, StorageError>> {
        Box::pin(async move {
            let items = self.read().map_err(failed)?;
            Ok(items.into_values().filter(|item| item.id() == id).collect())
        })
    }

    fn ids(&self) -> BoxFuture<'_, Result<Vec<String>, StorageError>> {
        Box::pin(async move {
            // They are in order, so equal ones follow each other.
            let mut ids: Vec<_> = self.read().map_err(failed)?.into_keys().map(|(id, _)| id).collect();
            ids.dedup();
            Ok(ids)
        })
    }
}

fn key(item: &BranchKeyItem) -> (String, String) {
    (item.id().to_owned(), item.kind().to_owned())
}

fn failed(error: io::Error) -> StorageError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => StorageErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => StorageErrorKind::AccessDenied,
        io::ErrorKind::InvalidData => StorageErrorKind::InvalidAnswer("it cannot be read"),
        _ => StorageErrorKind::Other,
    };
    StorageError::new(kind).caused_by(error)
}

fn to_json(item: &BranchKeyItem) -> Value {
    let attributes = item.iter().map(|(name, value)| {
        let value = match value {
            ItemValue::Text(text) => json!({ "S": text }),
            ItemValue::Number(number) => json!({ "N": number }),
            ItemValue::Bytes(bytes) => json!({ "B": BASE64_STANDARD.encode(bytes) }),
            ItemValue::Other => Value::Null,
        };
        (name.to_owned(), value)
    });
    attributes.collect::<Map<_, _>>().into()
}

fn parse(item: &Value) -> Option<BranchKeyItem> {
    let attribute = |(name, value): (&String, &Value)| {
        let members = value.as_object().filter(|members| members.len() == 1);
        let (kind, value) = members?.iter().next()?;
        let value = match (kind.as_str(), value.as_str()) {
            ("S", Some(text)) => ItemValue::Text(text.to_owned()),
            ("N", Some(number)) => ItemValue::Number(number.to_owned()),
            ("B", Some(text)) => ItemValue::Bytes(BASE64_STANDARD.decode(text).ok()?),
            _ => ItemValue::Other,
        };
        Some((name.clone(), value))
    };
    item.as_object()?.iter().map(attribute).collect()
}
