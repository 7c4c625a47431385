//! Backups: the keys of a store, or one of them, sealed under a passphrase in one file of the store's own form.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use super::{
    LocalKms, LocalKmsError, Root,
    audit::Event,
    disk::{Disk, read_all},
    file::{Unverified, encode, root_check},
    record::{Bytes, Contents, Header},
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

/// What an import of a backup did. [`LocalKms::import_backup`] has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The ids of the keys that are new in the store.
    pub added: Vec<String>,
    /// The ids of the keys that were there, and got older or newer material that was not.
    pub completed: Vec<String>,
    /// The ids of the keys that were there with all their material. Their state stays as it is.
    pub unchanged: Vec<String>,
    /// The aliases that point to another key in the store, and stay so.
    pub aliases_kept: Vec<String>,
}

impl LocalKms {
    /// Writes all keys and aliases, or those of one key, into a file that did not exist, sealed under this root: as a rule a
    /// [passphrase](Root::passphrase). The audit log is not part of it.
    ///
    /// Keys keep their ids: imported into any store, they open what they opened before.
    ///
    /// # Errors
    /// [`LocalKmsError::NotFound`]; [`LocalKmsError::Io`] if the file exists or cannot be written; [`LocalKmsError::InvalidRequest`] for a
    /// key file in the folder as its root.
    ///
    /// ```
    /// use sealwax::local_kms::{LocalKms, Root};
    ///
    /// let (folder, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    /// let kms = LocalKms::create(folder.path().join("keys"))?;
    /// kms.create_key("archive")?;
    /// let file = folder.path().join("keys.backup");
    /// kms.export(&file, None, Root::passphrase(b"long and secret".to_vec())).wait()?;
    ///
    /// let another = LocalKms::create(other.path())?;
    /// let report = another.import_backup(&file, Root::passphrase(b"long and secret".to_vec())).wait()?;
    /// assert_eq!(report.added.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(
        &self,
        file: impl Into<PathBuf>,
        key: Option<&str>,
        root: Root,
    ) -> crate::blocking::Operation<impl Future<Output = crate::error::Result<()>> + Send> {
        let (kms, file, key) = (self.clone(), file.into(), key.map(str::to_owned));
        crate::blocking::Operation::new(
            async move { kms.export_to(&file, key.as_deref(), &root).await.map_err(Into::into) },
        )
    }

    async fn export_to(&self, file: &Path, key: Option<&str>, root: &Root) -> Result<()> {
        if root.is_in_folder() {
            return Err(LocalKmsError::InvalidRequest("a backup beside its own key file protects nothing".into()));
        }
        let disk = Disk::new(file.parent().unwrap_or(Path::new("")));
        let store_id = self.store.session()?.loaded.contents.header.store_id.clone();
        // Without the lock: this can take as long as a passphrase or a key service takes.
        let (record, backup_key) = root.establish(&disk, &store_id).await?;
        let check = root_check(&backup_key, &store_id, &record).map_err(LocalKmsError::Crypto)?;

        let mut session = self.store.session()?;
        let found = session.export(key, &backup_key, Header { store_id, generation: 0, root: record, check });
        let event = key.into_iter().fold(Event::new("ExportKeys"), Event::key);
        // Logged before it is written: no backup is made that the log does not know.
        let bytes = session.answer(event, found)?;
        disk.create_private(file, &bytes)
    }

    /// Takes the keys of a backup into this store: those that are missing, and what is missing of those that are there. Nothing
    /// that is there is changed, and no message is touched. A key that waited for its deletion when the backup was made comes back
    /// disabled, and waits no more.
    ///
    /// # Errors
    /// [`LocalKmsError::WrongRoot`] for another passphrase, [`LocalKmsError::Damaged`] for a file that was altered; as
    /// [`create_key`](Self::create_key). [`export`](Self::export) has an example.
    pub fn import_backup(
        &self,
        file: impl Into<PathBuf>,
        root: Root,
    ) -> crate::blocking::Operation<impl Future<Output = crate::error::Result<BackupReport>> + Send> {
        let (kms, file) = (self.clone(), file.into());
        crate::blocking::Operation::new(async move { kms.import_from(&file, &root).await.map_err(Into::into) })
    }

    async fn import_from(&self, path: &Path, root: &Root) -> Result<BackupReport> {
        let file = File::open(path).map_err(LocalKmsError::io("opening", path))?;
        let bytes = read_all(&file, path)?;
        let backup = Unverified::parse(path, &bytes)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let Header { store_id, root: record, .. } = &backup.header;
        let backup_key = root.acquire(path, folder, store_id, record).await?;
        let mut backup = backup.open(&backup_key)?;

        self.store.session()?.change(Event::new("ImportKeys"), |contents, root_key, _, _| {
            backup.reseal(&backup_key, root_key).map_err(LocalKmsError::Crypto)?;
            Ok(merge(contents, backup))
        })
    }
}

impl super::store::Session<'_> {
    /// The file of a backup.
    fn export(&self, key: Option<&str>, backup_key: &crate::secret::SecretBytes, header: Header) -> Result<Vec<u8>> {
        let contents = &self.loaded.contents;
        let mut backup = Contents {
            header,
            journal: String::new(),
            audit_key: Bytes::default(),
            aliases: contents.aliases.clone(),
            keys: match key {
                Some(name) => BTreeMap::from([contents.resolve(name).map(|key| (key.id.clone(), key.clone()))?]),
                None => contents.keys.clone(),
            },
        };
        backup.aliases.retain(|_, id| backup.keys.contains_key(id));
        backup.reseal(self.loaded.root_key(), backup_key).map_err(LocalKmsError::Crypto)?;
        encode(&backup, backup_key).map_err(LocalKmsError::Crypto)
    }
}

/// Adds what is missing.
fn merge(contents: &mut Contents, backup: Contents) -> BackupReport {
    let mut report = BackupReport::default();
    for (id, theirs) in backup.keys {
        let Some(ours) = contents.keys.get_mut(&id) else {
            report.added.push(id.clone());
            contents.keys.insert(id, theirs.without_deletion());
            continue;
        };
        let before = ours.backing.len();
        for backing in theirs.backing {
            if !ours.backing.iter().any(|known| known.id == backing.id) {
                // The last is the one that encrypts. What is there keeps its order, which is not that of its times where a clock was
                // set back.
                let older = ours.backing.iter().rposition(|known| known.created <= backing.created);
                ours.backing.insert(older.map_or(0, |older| older + 1), backing);
            }
        }
        if ours.backing.len() > before { report.completed.push(id) } else { report.unchanged.push(id) }
    }
    for (alias, id) in backup.aliases {
        match contents.aliases.get(&alias) {
            Some(known) if *known != id => report.aliases_kept.push(alias),
            _ => {
                contents.aliases.insert(alias, id);
            }
        }
    }
    report
}
