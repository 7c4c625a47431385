//! A key management service in a folder: for those who have none, and as a stand-in for one.
//!
//! [`LocalKms`] has the operations of AWS KMS under their names, and answers through the same seam,
//! [`KmsApi`](crate::keyring::KmsApi). `docs/KEY-STORE.md` in the repository is the guide: from first use to rotation, backup and
//! disaster, with the form of the files and what an attacker can do with which of them.
//!
//! # What is in the folder
//!
//! | file | what |
//! |---|---|
//! | `store.bin` | all keys and aliases. Key material is sealed under the root key; the whole is authenticated under it |
//! | `root-….key` | the root key, mode 0600, unless the [root](Root) is elsewhere |
//! | `audit.log` | a line of JSON for every operation, each bound to the one before |
//! | `lock` | empty; locked by whoever is at work |
//!
//! # What a ciphertext is
//!
//! A version, the id of the backing key (one generation of a key's material), and AES-256-GCM under a key that is derived for this one
//! ciphertext from the backing key and a random salt of 256 bits, with HKDF-SHA-256. The usual random IV of 96 bits would limit a
//! backing key to 2^32 ciphertexts; a key for each has no such limit. Key id, backing key and encryption context are
//! authenticated with it.
//!
//! # Key ids
//!
//! `local:STORE-ID/key/KEY-ID`, both parts random: a message names its key, and wherever it is read, no other key must answer to
//! that name. Keys of two stores never collide, and a key that moves to another store in a backup keeps its id.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{
    audit::Event,
    builder::Existing,
    disk::{Disk, STORE_FILE},
    file::{Unverified, root_check},
    record::Contents,
    store::Store,
};
use crate::blocking::Operation;

mod aliases;
mod audit;
mod backup;
mod builder;
mod cipher;
mod disk;
mod error;
#[cfg(test)]
mod faults;
mod file;
mod keys;
mod lifecycle;
mod record;
mod root;
mod seal;
mod store;
mod verify;

pub use audit::AuditEntry;
pub use backup::BackupReport;
pub use builder::LocalKmsBuilder;
pub use cipher::MAX_PLAINTEXT;
pub use error::LocalKmsError;
pub use keys::{Alias, KeyMetadata, KeyState, WaitingPeriod};
pub use root::{PassphraseCost, Root, RootKind};
pub use verify::{AuditFault, AuditReport};

/// The key provider id in messages.
pub const PROVIDER_ID: &str = "sealwax-local";

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

/// A key management service in a folder.
///
/// Clones are handles of the same open store. Several threads, several handles and several processes can use one folder at
/// the same time. Every operation waits for the file operations it takes, also where it is asynchronous.
///
/// A change is on the disk, whole, when its method returns; a process that is killed leaves the old or the new state. An
/// answer is given once its line is in the audit log.
///
/// ```
/// use sealwax::{Client, local_kms::{KeyState, LocalKms}};
///
/// let folder = tempfile::tempdir()?;
/// let kms = LocalKms::create(folder.path())?;
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
    /// Makes a store in a folder, which is made if need be, with its root key in a file beside it. The type has an example.
    ///
    /// # Errors
    /// [`LocalKmsError::StoreExists`]; [`LocalKmsError::Damaged`] for a folder with an audit log but no store, which was one;
    /// [`LocalKmsError::Io`].
    pub fn create(folder: impl Into<PathBuf>) -> Result<Self> {
        ready(Self::builder(folder).make(Existing::Refuse))
    }

    /// Opens the store in a folder whose root key lies there too.
    ///
    /// # Errors
    /// [`LocalKmsError::NoStore`]; [`LocalKmsError::RootNeeded`] for a root of another kind; [`LocalKmsError::WrongRoot`],
    /// [`LocalKmsError::Damaged`], [`LocalKmsError::Busy`], [`LocalKmsError::Io`].
    ///
    /// ```
    /// # use sealwax::local_kms::LocalKms;
    /// # let folder = tempfile::tempdir()?;
    /// LocalKms::create(folder.path())?;
    /// assert!(LocalKms::open(folder.path())?.list_keys()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        ready(Self::builder(folder).read())
    }

    /// Opens or makes a store in ways of one's own.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use sealwax::local_kms::{LocalKms, Root};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let kms = LocalKms::builder(folder.path())
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

    /// What kind of root the store in a folder needs; none if there is no store. It is what the file says, unauthenticated: good
    /// to know what to ask a person for.
    ///
    /// # Errors
    /// [`LocalKmsError::Damaged`], [`LocalKmsError::Io`].
    ///
    /// ```
    /// # use sealwax::local_kms::{LocalKms, RootKind};
    /// # let folder = tempfile::tempdir()?;
    /// assert_eq!(LocalKms::root_kind(folder.path())?, None);
    /// LocalKms::create(folder.path())?;
    /// assert_eq!(LocalKms::root_kind(folder.path())?, Some(RootKind::KeyFile));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn root_kind(folder: impl AsRef<Path>) -> Result<Option<RootKind>> {
        let disk = Disk::new(folder.as_ref());
        let Some((_, bytes)) = disk.read_store()? else { return Ok(None) };
        Ok(Some(Unverified::parse(&disk.path(STORE_FILE), &bytes)?.header.root.kind()))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.store.disk.folder()
    }

    /// Gives the store a new root: everything is sealed again under it, and no message is touched. The file of the old root key, if it
    /// lies in the folder, is removed.
    ///
    /// What was copied before opens with the old root still: where that is known to someone, rotate the keys too.
    ///
    /// # Errors
    /// Those of the root; [`LocalKmsError::InvalidRequest`] for a key file with the present root key, and for a keyring over
    /// keys of this store alone; as [`create_key`](Self::create_key). Whatever fails, the store has the old root or the new one.
    ///
    /// ```
    /// # use sealwax::local_kms::{LocalKms, Root, RootKind};
    /// # let folder = tempfile::tempdir()?;
    /// let kms = LocalKms::create(folder.path())?;
    /// kms.rotate_root(Root::passphrase(b"correct horse battery staple".to_vec())).wait()?;
    /// assert_eq!(LocalKms::root_kind(folder.path())?, Some(RootKind::Passphrase));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate_root(&self, root: Root) -> Operation<impl Future<Output = crate::error::Result<()>> + Send> {
        let kms = self.clone();
        Operation::new(async move { kms.change_root(&root).await.map_err(Into::into) })
    }

    async fn change_root(&self, root: &Root) -> Result<()> {
        let store_id = self.store.session()?.loaded.contents.header.store_id.clone();
        // Without the lock: this can take as long as a passphrase or a key service takes.
        let (record, key) = root.establish(&self.store.disk, &store_id).await?;
        let mut session = self.store.session()?;
        let mut contents = session.loaded.contents.clone();
        let old = session.loaded.root_key();
        if key.ct_eq(old.as_bytes()) {
            let why =
                "the new root key is the present one: name a file that does not exist yet, or that has another key";
            return Err(LocalKmsError::InvalidRequest(why.into()));
        }
        if record.is_wrapped_only_under(|key_id| contents.keys.contains_key(key_id)) {
            let why =
                "a store sealed under a key of its own could never be opened again: name a key that lies elsewhere";
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
        contents.header.root = record.clone();
        record.install(&self.store.disk, &key)?;
        session.commit(contents, Event::new("RotateRoot"), Some(key))?;
        self.store.disk.sweep_root_keys(record.file_name())
    }

    /// The lines of the audit log, as they are: nothing is checked.
    ///
    /// # Errors
    /// [`LocalKmsError::Io`].
    ///
    /// ```
    /// # use sealwax::local_kms::LocalKms;
    /// # let folder = tempfile::tempdir()?;
    /// # let kms = LocalKms::create(folder.path())?;
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

    /// Checks the audit log: that every line is authentic and follows the one before, and that the log reaches as far as the
    /// store knows: to its last change.
    ///
    /// What cannot be found: that lines after the last change were cut off; and that the whole folder was exchanged for an older
    /// copy. Against both, keep [`AuditReport::head`] elsewhere and compare.
    ///
    /// # Errors
    /// [`LocalKmsError::Io`]. What is wrong with the log is in the report.
    ///
    /// ```
    /// # use sealwax::local_kms::LocalKms;
    /// # let folder = tempfile::tempdir()?;
    /// let kms = LocalKms::create(folder.path())?;
    /// kms.create_key("")?;
    /// assert!(kms.verify_audit_log()?.faults.is_empty());
    ///
    /// let log = folder.path().join("audit.log");
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

/// Drives a future that waits for nothing: a root in the folder asks nobody.
fn ready<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut outcome = None;
    let drive = async {
        outcome = Some(future.await);
        Ok(())
    };
    Operation::new(drive).wait().map_err(LocalKmsError::Crypto)?;
    outcome.unwrap_or(Err(LocalKmsError::Crypto(crate::error::Error::WouldBlockRuntime)))
}
