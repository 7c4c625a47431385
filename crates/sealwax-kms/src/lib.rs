//! A key management service in a local directory, for use without a remote service or as a stand-in
//! for one.
//!
//! [`LocalKms`] has the operations of AWS KMS under their names and implements the same interface,
//! [`KmsApi`](sealwax::keyring::KmsApi). The guide is `docs/KEY-STORE.md` in the repository: it
//! covers first use, rotation, backup and recovery, the file formats, and what an attacker can do
//! with each file.
//!
//! # Files in the directory
//!
//! | file | content |
//! |---|---|
//! | `store.bin` | all keys and aliases; key material is sealed under the root key, which also authenticates the whole file |
//! | `root-….key` | the root key, mode 0600, unless the [root](Root) is elsewhere |
//! | `audit.log` | one line of JSON for each operation, chained to the line before |
//! | `lock` | empty; locked while a process works on the store |
//!
//! # Ciphertext format
//!
//! A version byte, the id of the backing key (one generation of a key's material), and AES-256-GCM
//! under a key derived for this ciphertext alone, from the backing key and a random 256-bit salt,
//! with HKDF-SHA-256. Random 96-bit IVs would limit a backing key to 2^32 ciphertexts; one key per
//! ciphertext has no such limit. The key id, the backing key id and the encryption context are
//! authenticated.
//!
//! # Key ids
//!
//! `local:STORE-ID/key/KEY-ID`, where both parts are random. A message names its key, and wherever
//! it is decrypted, no other key may have that name. Keys of two stores never collide, and a key
//! that moves to another store in a backup keeps its id.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sealwax::Operation;

use self::{
    audit::Event,
    disk::{Disk, STORE_FILE},
    file::{Unverified, root_check},
    record::Contents,
    store::Store,
};

mod aliases;
mod audit;
mod backup;
mod builder;
mod cipher;
mod cost;
mod disk;
mod error;
#[cfg(test)]
mod faults;
mod file;
mod keyring;
mod keys;
mod lifecycle;
mod record;
mod root;
mod seal;
#[cfg(feature = "server")]
pub mod server;
mod store;
mod verify;

pub use audit::AuditEntry;
pub use backup::BackupReport;
pub use builder::LocalKmsBuilder;
pub use cipher::MAX_PLAINTEXT;
pub use cost::{MIN_BACKUP_PASSPHRASE, PassphraseCost};
pub use error::{LocalKmsError, StoreWarning};
pub use keyring::LocalKmsKeyring;
pub use keys::{Alias, KeyMetadata, KeyState, WaitingPeriod};
pub use root::{Root, RootKind};
pub use verify::{AuditFault, AuditReport};

/// The key provider id of a store's keys in messages.
pub const PROVIDER_ID: &str = "sealwax-local";

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

/// A key management service in a local directory.
///
/// Clones are handles to the same open store. Several threads, handles and processes can use one
/// directory at the same time. Every operation blocks on its file operations, even where it is
/// asynchronous.
///
/// A change is durable when its method returns; a process that is killed leaves the old or the new
/// state. An operation returns its result only after its line has been appended to the audit log.
/// ```
/// use sealwax::Client;
/// use sealwax_kms::{KeyState, LocalKms};
///
/// let dir = tempfile::tempdir()?;
/// let kms = LocalKms::create(dir.path())?;
/// let key = kms.create_key("for the archive")?;
/// kms.create_alias("archive", &key.key_id)?;
///
/// let sealed = Client::new().encrypt(&kms.keyring("archive")?).bytes(b"text").wait()?;
/// kms.rotate_key("archive")?;
/// let opened = Client::new().decrypt(&kms.keyring("archive")?).bytes(&sealed.message).wait()?;
/// assert_eq!(opened.plaintext, b"text");
///
/// kms.disable_key("archive")?;
/// assert!(Client::new().decrypt(&kms.keyring("archive")?).bytes(&sealed.message).wait().is_err());
/// assert_eq!(kms.describe_key("archive")?.state, KeyState::Disabled);
/// assert_eq!(kms.list_aliases()?[0].name, "alias/archive");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LocalKms {
    store: Arc<Store>,
}

impl LocalKms {
    /// Creates a store in a directory, which is created if it does not exist, with its root key in
    /// a file beside it.
    ///
    /// # Errors
    /// [`LocalKmsError::StoreExists`]; [`LocalKmsError::Damaged`] if the directory has an audit log
    /// but no store, which means that the store is lost; [`LocalKmsError::Io`].
    pub fn create(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(folder).create().wait()
    }

    /// Opens a store whose root key is in its directory.
    ///
    /// # Errors
    /// [`LocalKmsError::NoStore`]; [`LocalKmsError::RootNeeded`] if the store has a root of another
    /// kind; [`LocalKmsError::WrongRoot`], [`LocalKmsError::Damaged`], [`LocalKmsError::Busy`],
    /// [`LocalKmsError::Io`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(folder).open().wait()
    }

    /// Returns a builder, to open or create a store with other settings.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use sealwax_kms::{LocalKms, Root};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let kms = LocalKms::builder(dir.path())
    ///     .root(Root::passphrase(b"correct horse battery staple".to_vec()))
    ///     .identity("nightly backup")
    ///     .clock(|| UNIX_EPOCH + Duration::from_secs(1_800_000_000))
    ///     .create()
    ///     .wait()?;
    /// assert_eq!(kms.create_key("")?.created, UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(folder: impl Into<PathBuf>) -> LocalKmsBuilder {
        LocalKmsBuilder::new(folder.into())
    }

    /// Returns the kind of root that the store in a directory needs, or `None` if there is no
    /// store.
    ///
    /// This reads the file without authenticating it. Use it only to decide what to ask the user
    /// for.
    ///
    /// # Errors
    /// [`LocalKmsError::Damaged`], [`LocalKmsError::Io`].
    ///
    /// ```
    /// # use sealwax_kms::{LocalKms, RootKind};
    /// # let dir = tempfile::tempdir()?;
    /// assert_eq!(LocalKms::root_kind(dir.path())?, None);
    /// LocalKms::create(dir.path())?;
    /// assert_eq!(LocalKms::root_kind(dir.path())?, Some(RootKind::KeyFile));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn root_kind(folder: impl AsRef<Path>) -> Result<Option<RootKind>> {
        let disk = Disk::new(folder.as_ref());
        let Some((_, bytes)) = disk.read_store()? else { return Ok(None) };
        Ok(Some(Unverified::parse(&disk.path(STORE_FILE), &bytes)?.header.root.kind()))
    }

    /// Returns the directory of the store.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.store.disk.folder()
    }

    /// Returns the permissions that other users have on the files of the store and should not. On
    /// systems other than Unix there are none.
    ///
    /// Files that no store creates, such as links and pipes, are not warned of but refused, with
    /// [`LocalKmsError::UnsafeFile`].
    ///
    /// # Errors
    /// As for [`create_key`](Self::create_key).
    ///
    /// ```
    /// # use sealwax_kms::LocalKms;
    /// # let dir = tempfile::tempdir()?;
    /// let kms = LocalKms::create(dir.path())?;
    /// for warning in kms.warnings()? {
    ///     eprintln!("warning: {warning}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn warnings(&self) -> Result<Vec<StoreWarning>> {
        let session = self.store.session()?;
        Ok(self.store.warnings(&session.loaded.contents.header.root))
    }

    /// Replaces the root key: reseals everything under the new one. Messages do not change. If the
    /// old root key is in a file in the directory, that file is removed.
    ///
    /// Earlier copies of the store can still be opened with the old root. If someone else may have
    /// it, rotate the keys too.
    ///
    /// # Errors
    /// The errors of the root; [`LocalKmsError::InvalidRequest`] for a key file with the current
    /// root key, or a keyring that uses only keys of this store; the errors of
    /// [`create_key`](Self::create_key). After any error the store has either the old root or the
    /// new one.
    ///
    /// ```
    /// # use sealwax_kms::{LocalKms, Root, RootKind};
    /// # let dir = tempfile::tempdir()?;
    /// let kms = LocalKms::create(dir.path())?;
    /// kms.rotate_root(Root::passphrase(b"correct horse battery staple".to_vec())).wait()?;
    /// assert_eq!(LocalKms::root_kind(dir.path())?, Some(RootKind::Passphrase));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate_root(&self, root: Root) -> Operation<impl Future<Output = Result<()>> + Send> {
        let kms = self.clone();
        Operation::new(async move { kms.change_root(&root).await })
    }

    async fn change_root(&self, root: &Root) -> Result<()> {
        if self.store.disk.is_read_only() {
            return Err(self.store.disk.refuse_to_write());
        }
        let store_id = self.store.session()?.loaded.contents.header.store_id.clone();
        // Not under the lock: a passphrase or a key service can take a long time.
        let (record, key) = root.establish(&self.store.disk, &store_id).await?;
        let mut session = self.store.session()?;
        let mut contents = session.loaded.contents.clone();
        let old = session.loaded.root_key();
        if key.ct_eq(old.as_bytes()) {
            let why = "the new root key is the current one; use a file that does not exist yet or contains another key";
            return Err(LocalKmsError::InvalidRequest(why.into()));
        }
        if record.is_wrapped_only_under(|key_id| contents.keys.contains_key(key_id)) {
            let why = "a store sealed under its own key could never be opened again; use a key from elsewhere";
            return Err(LocalKmsError::InvalidRequest(why.into()));
        }
        let reseal = |contents: &mut Contents| {
            let audit_key = contents.open_audit_key(old)?;
            contents.reseal(old, &key)?;
            contents.seal_audit_key(&key, &audit_key)?;
            contents.header.check = root_check(&key, &store_id, &record)?;
            Ok(())
        };
        reseal(&mut contents).map_err(LocalKmsError::Crypto)?;
        record.install(&self.store.disk, &key)?;
        contents.header.root = record;
        session.commit(contents, Event::new("RotateRoot"), Some(key))?;
        session.sweep()
    }

    /// Returns the lines of the audit log without checking them.
    ///
    /// # Errors
    /// [`LocalKmsError::Io`].
    ///
    /// ```
    /// # use sealwax_kms::LocalKms;
    /// # let dir = tempfile::tempdir()?;
    /// # let kms = LocalKms::create(dir.path())?;
    /// let key = kms.create_key("")?;
    /// let log = kms.audit_log()?;
    /// assert_eq!((log[1].operation.as_str(), log[1].outcome.as_str()), ("CreateKey", "Success"));
    /// assert_eq!(log[1].key_id, Some(key.key_id));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn audit_log(&self) -> Result<Vec<AuditEntry>> {
        let session = self.store.session()?;
        verify::entries(&session.log_path())
    }

    /// Checks the audit log: every line must be authentic and follow the one before, and the log
    /// must contain the store's last change.
    ///
    /// This cannot detect that lines after the last change were cut off, or that the whole
    /// directory was replaced by an older copy. To detect both, keep a copy of
    /// [`AuditReport::head`] elsewhere and compare it.
    ///
    /// # Errors
    /// [`LocalKmsError::Io`]. Faults of the log are in the report.
    ///
    /// ```
    /// # use sealwax_kms::LocalKms;
    /// # let dir = tempfile::tempdir()?;
    /// let kms = LocalKms::create(dir.path())?;
    /// kms.create_key("")?;
    /// assert!(kms.verify_audit_log()?.faults.is_empty());
    ///
    /// let log = dir.path().join("audit.log");
    /// let text = std::fs::read_to_string(&log)?.replace("CreateStore", "CreateXXXXX");
    /// std::fs::write(&log, text)?;
    /// assert_eq!(kms.verify_audit_log()?.faults[0].to_string(), "line 1 was altered");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify_audit_log(&self) -> Result<AuditReport> {
        let session = self.store.session()?;
        let (key, journal) = session.loaded.audit_key();
        verify::verify(&session.log_path(), key, journal)
    }
}
