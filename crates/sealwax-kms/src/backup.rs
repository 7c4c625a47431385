//! Backups: one file in the format of a store, with all or one of its keys, sealed under a
//! passphrase.

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

/// The result of [`LocalKms::import_backup`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The ids of the keys that the store did not have.
    pub added: Vec<String>,
    /// The ids of the keys that the store had, but not with all of the material.
    pub completed: Vec<String>,
    /// The ids of the keys that the store had with all their material. Their state does not change.
    pub unchanged: Vec<String>,
    /// The aliases that already point to another key in the store, which they keep.
    pub aliases_kept: Vec<String>,
}

impl LocalKms {
    /// Writes all keys and aliases, or one key and its aliases, to a new file that is sealed under
    /// `root`, usually a [passphrase](Root::passphrase). The audit log is not included.
    ///
    /// Keys keep their ids: imported into any store, they decrypt what they decrypted before.
    ///
    /// # Errors
    /// [`LocalKmsError::NotFound`]; [`LocalKmsError::Io`] if the file exists or cannot be written;
    /// [`LocalKmsError::InvalidRequest`] if the root is a key file in the directory.
    /// ```
    /// use sealwax_kms::{LocalKms, Root};
    ///
    /// let (dir, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    /// let kms = LocalKms::create(dir.path().join("keys"))?;
    /// kms.create_key("archive")?;
    /// let file = dir.path().join("keys.backup");
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
    ) -> sealwax::Operation<impl Future<Output = Result<()>> + Send> {
        let (kms, file, key) = (self.clone(), file.into(), key.map(str::to_owned));
        sealwax::Operation::new(async move { kms.export_to(&file, key.as_deref(), &root).await })
    }

    async fn export_to(&self, file: &Path, key: Option<&str>, root: &Root) -> Result<()> {
        if root.is_in_folder() {
            return Err(LocalKmsError::InvalidRequest("a backup must not be sealed under a key file in its own directory; use a passphrase, or a key file elsewhere".into()));
        }
        let disk = Disk::new(file.parent().unwrap_or(Path::new("")));
        let store_id = self.store.session()?.loaded.contents.header.store_id.clone();
        // Not under the lock: a passphrase or a key service can take a long time.
        let (record, backup_key) = root.establish(&disk, &store_id).await?;
        let check = root_check(&backup_key, &store_id, &record).map_err(LocalKmsError::Crypto)?;

        let mut session = self.store.session()?;
        let found = session.export(key, &backup_key, Header { store_id, generation: 0, root: record, check });
        let event = key.into_iter().fold(Event::new("ExportKeys"), Event::key);
        // Log first, so that no backup exists that the log does not mention.
        let bytes = session.answer(event, found)?;
        disk.create_private(file, &bytes)
    }

    /// Adds the keys of a backup to this store: keys that are missing, and missing material of the
    /// others.
    ///
    /// Nothing in the store is changed or replaced, and no message changes. A key that was pending
    /// deletion when the backup was made is added as disabled, with no deletion scheduled.
    ///
    /// # Errors
    /// [`LocalKmsError::WrongRoot`] for a wrong passphrase, [`LocalKmsError::Damaged`] if the file
    /// was altered; as for [`create_key`](Self::create_key).
    pub fn import_backup(
        &self,
        file: impl Into<PathBuf>,
        root: Root,
    ) -> sealwax::Operation<impl Future<Output = Result<BackupReport>> + Send> {
        let (kms, file) = (self.clone(), file.into());
        sealwax::Operation::new(async move { kms.import_from(&file, &root).await })
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
    /// Returns the content of a backup file.
    fn export(&self, key: Option<&str>, backup_key: &sealwax::SecretBytes, header: Header) -> Result<Vec<u8>> {
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

/// Adds what is missing from `contents`.
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
                // The last generation encrypts. The existing ones keep their order, which is not
                // that of their times if a clock was set back.
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
