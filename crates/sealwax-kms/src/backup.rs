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

    /// Adds the keys of a backup in memory, as [`import_backup`](Self::import_backup) does those of a
    /// file. `name` stands for it in errors.
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
mod tests {
    use std::time::SystemTime;

    use super::{super::seal::random_hex, *};
    use crate::PassphraseCost;

    const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };
    const PASSPHRASE: &[u8] = b"correct horse battery staple";

    fn passphrase() -> Root {
        Root::passphrase_with_cost(PASSPHRASE, CHEAP)
    }

    /// A store with the keys main and other, and a backup of it.
    struct Fixture {
        folder: tempfile::TempDir,
        kms: LocalKms,
        file: PathBuf,
        keys: [String; 2],
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let kms = LocalKms::create(folder.path().join("store")).unwrap();
            let keys = ["main", "other"].map(|alias| kms.create_key_with_alias(alias, alias).unwrap().key_id);
            kms.rotate_key("main").unwrap();
            kms.enable_key_rotation("main", 90).unwrap();
            let file = folder.path().join("backup");
            kms.export(&file, None, passphrase()).wait().unwrap();
            Self { folder, kms, file, keys }
        }

        /// Returns the error of importing the backup after a change that its tag covers, into a
        /// store that has none of the keys or into the one that has all.
        fn error(&self, into_own: bool, change: impl Fn(&mut Contents, &SecretBytes, &[String; 2])) -> Option<String> {
            let bytes = std::fs::read(&self.file).unwrap();
            let backup = Unverified::parse(&self.file, &bytes).unwrap();
            let (nowhere, Header { store_id, root, .. }) = (Path::new(""), &backup.header);
            let key =
                sealwax::Operation::new(passphrase().acquire(&self.file, nowhere, store_id, root)).wait().unwrap();
            let mut contents = backup.open(&key).unwrap();
            change(&mut contents, &key, &self.keys);
            let forged = self.folder.path().join("forged");
            let Header { store_id, root, .. } = &contents.header;
            contents.header.check = root_check(&key, store_id, root).unwrap();
            std::fs::write(&forged, encode(&contents, &key).unwrap()).unwrap();

            let folder = tempfile::tempdir().unwrap();
            let kms = if into_own { self.kms.clone() } else { LocalKms::create(folder.path()).unwrap() };
            kms.create_key_with_alias("", "default").ok();
            let state = || (kms.list_keys().unwrap(), kms.list_aliases().unwrap());
            let before = state();
            let error = kms.import_backup(&forged, passphrase()).wait().err()?;
            assert_eq!(state(), before, "nothing was imported: {error}");
            assert!(matches!(error, LocalKmsError::InvalidBackup { .. } | LocalKmsError::Damaged { .. }), "{error}");
            let text = error.to_string();
            assert_eq!(sealwax::Escaped(&text).to_string(), text);
            assert!(text.contains("forged") && text.len() < 1000, "{text}");
            Some(text)
        }
    }

    /// Gives a key another id, and its material with it.
    fn rename(contents: &mut Contents, root: &SecretBytes, from: &str, to: &str) {
        let mut key = contents.keys.remove(from).unwrap();
        for backing in &mut key.backing {
            let material = backing.open(root, from).unwrap();
            backing.seal(root, to, &material).unwrap();
        }
        key.id = to.to_owned();
        contents.aliases.values_mut().filter(|id| *id == from).for_each(|id| to.clone_into(id));
        contents.keys.insert(to.to_owned(), key);
    }

    #[test]
    fn every_field_of_a_backup_is_checked() {
        let fixture = Fixture::new();
        assert_eq!(fixture.error(false, |_, _, _| ()), None);
        type Change = Box<dyn Fn(&mut Contents, &SecretBytes, &[String; 2])>;
        let on_main = |change: fn(&mut KeyRecord)| -> Change {
            Box::new(move |contents, _, [main, _]| change(contents.keys.get_mut(main).unwrap()))
        };
        let named = |id: &'static str| -> Change {
            Box::new(move |contents, root, [main, _]| rename(contents, root, main, id))
        };
        let aliased = |alias: &'static str| -> Change {
            Box::new(move |contents, _, [main, _]| drop(contents.aliases.insert(alias.into(), main.clone())))
        };
        let invalid = "its records are malformed";
        let cases: Vec<(&str, Change)> = vec![
            (invalid, named("alias/default")),
            (invalid, named("")),
            (invalid, named("local:x/key/y")),
            (invalid, named("local:0123456789abcdef0123456789abcdef/key/01234567-0123-0123-0123-01234567\u{1b}[2J")),
            (invalid, named("local:0123456789abcdef0123456789abcdef/key/01234567-0123-0123-0123-0123456789AB")),
            (invalid, named("local:0123456789abcdef0123456789abcdef/key/01234567-0123-0123-0123-0123456789ab-")),
            ("at most 8192 bytes", on_main(|key| key.description = "x".repeat(8193))),
            ("control characters", on_main(|key| key.description = "a\u{1b}[2J".into())),
            ("control characters", on_main(|key| key.description = "a\u{9b}2J".into())),
            ("control characters", on_main(|key| key.description = "a\u{202e}b".into())),
            ("after the year 9999", on_main(|key| key.created = Timestamp(u64::MAX))),
            ("after the year 9999", on_main(|key| key.deletion = Some(Timestamp(253_402_300_800_000)))),
            ("after the year 9999", on_main(|key| key.backing[1].created = Timestamp(u64::MAX))),
            ("1 to 2,560 days", on_main(|key| key.rotation_days = Some(0))),
            ("1 to 2,560 days", on_main(|key| key.rotation_days = Some(2561))),
            ("0 generations", on_main(|key| key.backing.clear())),
            ("generations is invalid", on_main(|key| key.backing[0].id = "\u{1b}".into())),
            ("generations is invalid", on_main(|key| key.backing[0].id.make_ascii_uppercase())),
            ("generations is invalid", on_main(|key| key.backing[0].id = String::new())),
            ("is not unique", on_main(|key| key.backing.extend_from_within(..1))),
            (
                "is not unique",
                Box::new(|contents, root, [main, other]| {
                    let id = contents.keys[main].backing[0].id.clone();
                    let backing = &mut contents.keys.get_mut(other).unwrap().backing[0];
                    let material = backing.open(root, other).unwrap();
                    backing.id = id;
                    backing.seal(root, other, &material).unwrap();
                }),
            ),
            ("does not have 32 bytes", on_main(|key| key.backing[0].sealed.0.truncate(79))),
            (
                "does not have 32 bytes",
                Box::new(|contents, root, [main, _]| {
                    let short = SecretBytes::from([7; 31]);
                    contents.keys.get_mut(main).unwrap().backing[0].seal(root, main, &short).unwrap();
                }),
            ),
            ("the name is invalid", aliased("default")),
            ("the name is invalid", aliased("alias/")),
            ("the name is invalid", aliased("alias/\u{1b}[2J")),
            (
                "points to is missing",
                Box::new(|contents, _, _| drop(contents.aliases.insert("alias/x".into(), "alias/y".into()))),
            ),
            ("store id is invalid", Box::new(|contents, _, _| contents.header.store_id = "\u{1b}".into())),
        ];
        for (position, (expected, change)) in cases.iter().enumerate() {
            for into_own in [false, true] {
                let text =
                    fixture.error(into_own, change).unwrap_or_else(|| panic!("{position}, {expected}: imported"));
                assert!(text.contains(expected), "{position}, {expected}: {text}");
            }
        }
    }

    #[test]
    fn an_import_does_not_contradict_what_the_store_has() {
        let fixture = Fixture::new();
        let other_material = fixture.error(true, |contents, root, [main, _]| {
            let material = SecretBytes::from([7; 32]);
            contents.keys.get_mut(main).unwrap().backing[0].seal(root, main, &material).unwrap();
        });
        assert!(other_material.unwrap().contains("other material with the same id"));
        // A new key that would take a generation of another over.
        let taken = fixture.error(true, |contents, root, [main, _]| {
            let id = format!("local:{}/key/00000000-0000-4000-a000-000000000000", random_hex::<16>().unwrap());
            rename(contents, root, main, &id);
        });
        assert!(taken.unwrap().contains("other material with the same id"));
    }

    #[test]
    fn two_records_of_one_key_or_a_field_of_another_type_are_refused() {
        let fixture = Fixture::new();
        let bytes = std::fs::read(&fixture.file).unwrap();
        let whole = |from: &[u8], to: &[u8], count: usize| {
            assert_eq!(from.len(), to.len());
            let (mut bytes, mut changed) = (bytes.clone(), 0);
            while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
                bytes[at..at + to.len()].copy_from_slice(to);
                changed += 1;
            }
            assert!(changed >= count, "{changed}");
            bytes
        };
        let forge = |mut bytes: Vec<u8>| {
            let parsed = Unverified::parse(&fixture.file, &bytes).unwrap();
            let (nowhere, Header { store_id, root, .. }) = (Path::new(""), &parsed.header);
            let key = sealwax::Operation::new(passphrase().acquire(&fixture.file, nowhere, store_id, root)).wait();
            let end = bytes.len() - 32;
            let tag = super::super::seal::tag(&key.unwrap(), "store file", &bytes[..end]).unwrap();
            bytes[end..].copy_from_slice(tag.as_bytes());
            std::fs::write(&fixture.file, bytes).unwrap();
            let refused = fixture.kms.import_backup(&fixture.file, passphrase()).wait();
            matches!(refused, Err(LocalKmsError::Damaged { what, .. }) if what.contains("malformed"))
        };
        let [main, other] = &fixture.keys;
        assert!(!forge(bytes.clone()));
        assert!(forge(whole(other.as_bytes(), main.as_bytes(), 2)));
        // `imported` is a boolean.
        assert!(forge(whole(b"imported\xf4", b"imported\x07", 2)));
        assert!(forge(whole(b"imported\xf4", b"Imported\xf4", 2)));
    }

    #[test]
    fn a_description_of_an_earlier_version_survives_a_backup() {
        let fixture = Fixture::new();
        let Fixture { kms, keys: [main, _], .. } = &fixture;
        let description = "two\nlines";
        assert!(matches!(kms.create_key(description), Err(LocalKmsError::InvalidRequest(_))));
        let changed = kms.store.session().unwrap().change(Event::new("Test"), |contents, _, _, _| {
            contents.key_mut(main)?.description = description.into();
            Ok(())
        });
        changed.unwrap();
        let file = fixture.folder.path().join("another");
        kms.export(&file, None, passphrase()).wait().unwrap();
        let other = LocalKms::create(fixture.folder.path().join("other")).unwrap();
        other.import_backup(&file, passphrase()).wait().unwrap();
        assert_eq!(other.describe_key(main).unwrap().description, r"two\u{a}lines");
        assert_eq!(kms.describe_key(main).unwrap().description, description);
        assert!(other.describe_key(main).unwrap().created <= SystemTime::now());
    }
}
