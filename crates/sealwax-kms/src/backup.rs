//! Backups: one file in the format of a store, with all or one of its keys, sealed under a
//! passphrase.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    path::{Path, PathBuf},
};

use sealwax::SecretBytes;

use super::{
    LocalKms, LocalKmsError, Root,
    audit::{Event, shortened},
    disk::{Disk, read_all},
    file::{Unverified, encode, root_check},
    keys::{alias_name, check_description, check_rotation_days, is_key_id, is_random_id, printable},
    record::{BackingKey, Bytes, Contents, Header, KeyRecord, Timestamp},
    seal::{KEY_LENGTH, OVERHEAD},
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
    /// [`LocalKmsError::InvalidRequest`] if the root is a key file in the directory, or a passphrase
    /// of fewer than [`MIN_BACKUP_PASSPHRASE`](super::MIN_BACKUP_PASSPHRASE) characters.
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
        let disk = Disk::new(file.parent().unwrap_or(Path::new("")));
        disk.create_private(file, &self.backup_of(&disk, key, root).await?)
    }

    /// Returns a backup, as [`export`](Self::export) writes it to a file.
    ///
    /// # Errors
    /// As for [`export`](Self::export).
    pub fn export_bytes(
        &self,
        key: Option<&str>,
        root: Root,
    ) -> sealwax::Operation<impl Future<Output = Result<Vec<u8>>> + Send> {
        let (kms, key) = (self.clone(), key.map(str::to_owned));
        sealwax::Operation::new(async move { kms.backup_of(&kms.store.disk, key.as_deref(), &root).await })
    }

    /// Returns a backup for a file on this disk.
    async fn backup_of(&self, disk: &Disk, key: Option<&str>, root: &Root) -> Result<Vec<u8>> {
        if root.is_in_folder() {
            return Err(LocalKmsError::InvalidRequest("a backup must not be sealed under a key file in its own directory; use a passphrase, or a key file elsewhere".into()));
        }
        root.check_for_backup()?;
        let store_id = self.store.session()?.loaded.contents.header.store_id.clone();
        // Not under the lock: a passphrase or a key service can take a long time.
        let (record, backup_key) = root.establish(disk, &store_id).await?;
        let check = root_check(&backup_key, &store_id, &record).map_err(LocalKmsError::Crypto)?;

        let mut session = self.store.session()?;
        let found = session.export(key, &backup_key, Header { store_id, generation: 0, root: record, check });
        let event = key.into_iter().fold(Event::new("ExportKeys"), Event::key);
        // Log first, so that no backup exists that the log does not mention.
        session.answer(event, found)
    }

    /// Adds the keys of a backup to this store: keys that are missing, and missing material of the
    /// others.
    ///
    /// Nothing in the store is changed or replaced, and no message changes. A key that was pending
    /// deletion when the backup was made is added as disabled, with no deletion scheduled.
    ///
    /// # Errors
    /// [`LocalKmsError::WrongRoot`] for a wrong passphrase, [`LocalKmsError::Damaged`] if the file
    /// was altered, [`LocalKmsError::InvalidBackup`] if a field of it is invalid; as for [`create_key`](Self::create_key).
    pub fn import_backup(
        &self,
        file: impl Into<PathBuf>,
        root: Root,
    ) -> sealwax::Operation<impl Future<Output = Result<BackupReport>> + Send> {
        let (kms, file) = (self.clone(), file.into());
        sealwax::Operation::new(async move { kms.import_from(&file, &root).await })
    }

    /// Adds the keys of a backup in memory, as [`import_backup`](Self::import_backup) does those of
    /// a file. `name` stands for it in errors.
    ///
    /// # Errors
    /// As for [`import_backup`](Self::import_backup).
    pub fn import_backup_bytes(
        &self,
        name: &str,
        backup: impl Into<Vec<u8>>,
        root: Root,
    ) -> sealwax::Operation<impl Future<Output = Result<BackupReport>> + Send> {
        let (kms, name, backup) = (self.clone(), PathBuf::from(name), backup.into());
        sealwax::Operation::new(async move { kms.import_bytes(&name, &backup, &root).await })
    }

    async fn import_from(&self, path: &Path, root: &Root) -> Result<BackupReport> {
        let file = File::open(path).map_err(LocalKmsError::io("opening", path))?;
        self.import_bytes(path, &read_all(&file, path)?, root).await
    }

    async fn import_bytes(&self, path: &Path, bytes: &[u8], root: &Root) -> Result<BackupReport> {
        let backup = Unverified::parse(path, bytes)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let Header { store_id, root: record, .. } = &backup.header;
        let backup_key = root.acquire(path, folder, store_id, record).await?;
        let mut backup = backup.open(&backup_key)?;

        let invalid = |what| LocalKmsError::InvalidBackup { path: path.to_owned(), what };
        check(&backup).map_err(invalid)?;
        self.store.session()?.change(Event::new("ImportKeys"), |contents, root_key, _, _| {
            backup.reseal(&backup_key, root_key).map_err(LocalKmsError::Crypto)?;
            check_against(contents, &backup, root_key)?.map_err(invalid)?;
            Ok(merge(contents, backup))
        })
    }
}

impl super::store::Session<'_> {
    /// Returns the content of a backup file.
    fn export(&self, key: Option<&str>, backup_key: &SecretBytes, header: Header) -> Result<Vec<u8>> {
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
        for key in backup.keys.values_mut() {
            // Earlier versions accepted descriptions that no import accepts.
            key.description = printable(&key.description);
        }
        backup.reseal(self.loaded.root_key(), backup_key).map_err(LocalKmsError::Crypto)?;
        encode(&backup, backup_key).map_err(LocalKmsError::Crypto)
    }
}

/// The most generations of a key that are imported: one a day for almost 90 years.
const MAX_GENERATIONS: usize = 32_768;

/// Checks every field of a backup. Its tag only shows that it was made by someone who knew the
/// passphrase, not by this program.
fn check(backup: &Contents) -> Result<(), String> {
    if !is_random_id(&backup.header.store_id) {
        return Err("its store id is invalid".into());
    }
    let mut generations = HashSet::new();
    for (position, key) in backup.keys.values().enumerate() {
        let named =
            |what: &str| format!("key {} of {}, {}: {what}", position + 1, backup.keys.len(), shortened(&key.id));
        check_key(key).map_err(|what| named(&what))?;
        if !key.backing.iter().all(|backing| generations.insert(&backing.id)) {
            return Err(named("the id of one of its generations is not unique"));
        }
    }
    for (alias, id) in &backup.aliases {
        let named = |what: &str| format!("alias {}: {what}", shortened(alias));
        if alias_name(alias).ok().as_ref() != Some(alias) {
            return Err(named("the name is invalid"));
        }
        if !backup.keys.contains_key(id) {
            return Err(named("the key that it points to is missing"));
        }
    }
    Ok(())
}

fn check_key(key: &KeyRecord) -> Result<(), String> {
    let KeyRecord { id, description, created, imported: _, enabled: _, deletion, rotation_days, backing } = key;
    if !is_key_id(id) {
        return Err("the id is invalid".into());
    }
    let of_request = |error: LocalKmsError| error.to_string();
    check_description(description).map_err(of_request)?;
    rotation_days.map_or(Ok(()), check_rotation_days).map_err(of_request)?;
    let times = backing.iter().map(|backing| backing.created).chain([*created]).chain(*deletion);
    if !times.into_iter().all(Timestamp::is_valid) {
        return Err("a time is after the year 9999".into());
    }
    if backing.is_empty() || backing.len() > MAX_GENERATIONS {
        return Err(format!("it has {} generations of material", backing.len()));
    }
    if !backing.iter().all(|backing| is_random_id(&backing.id)) {
        return Err("the id of one of its generations is invalid".into());
    }
    if !backing.iter().all(|backing| backing.sealed.0.len() == OVERHEAD + KEY_LENGTH) {
        return Err(format!("its material does not have {KEY_LENGTH} bytes"));
    }
    Ok(())
}

/// Checks that the generations which the store already has are the same ones. Both are sealed under
/// `root_key`.
fn check_against(contents: &Contents, backup: &Contents, root_key: &SecretBytes) -> Result<Result<(), String>> {
    let ours = contents.keys.values().flat_map(|key| key.backing.iter().map(move |backing| (key, backing)));
    let ours: HashMap<_, _> = ours.map(|(key, backing)| (backing.id.as_str(), (key, backing))).collect();
    for key in backup.keys.values() {
        for backing in &key.backing {
            let Some((owner, known)) = ours.get(backing.id.as_str()) else { continue };
            let open = |key: &KeyRecord, backing: &BackingKey| backing.open(root_key, &key.id);
            let is_same = owner.id == key.id
                && open(owner, known)
                    .and_then(|known| Ok(known.ct_eq(open(key, backing)?.as_bytes())))
                    .map_err(LocalKmsError::Crypto)?;
            if !is_same {
                return Ok(Err(format!("key {}: the store has other material with the same id", key.id)));
            }
        }
    }
    Ok(Ok(()))
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

#[cfg(test)]
mod tests;
