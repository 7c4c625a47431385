//! Opening and creating a store.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use sealwax::{
    Operation,
    crypto::{CryptoProvider, RustCrypto},
};

use super::{
    LocalKms, LocalKmsError, Root,
    audit::{Event, Scribe, Tail},
    disk::{Disk, LOG_FILE, STORE_FILE},
    file::{Unverified, encode, root_check},
    record::{Bytes, Contents, Header, Timestamp},
    seal::{KEY_LENGTH, random_hex},
    store::{Clock, Options, Store},
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

/// The default time to wait for the lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// A builder that opens or creates a store, made by [`LocalKms::builder`].
#[must_use]
pub struct LocalKmsBuilder {
    folder: PathBuf,
    root: Root,
    options: Options,
    read_only: bool,
}

impl LocalKmsBuilder {
    pub(super) fn new(folder: PathBuf) -> Self {
        let options = Options {
            clock: Arc::new(SystemTime::now),
            identity: None,
            context_values: false,
            sync_audit: false,
            patience: PATIENCE,
        };
        Self { folder, root: Root::default(), options, read_only: false }
    }

    /// Sets where the root key comes from; by default a key file in the directory.
    pub fn root(mut self, root: Root) -> Self {
        self.root = root;
        self
    }

    /// Sets the clock for deletions, rotations and the log; by default the system clock.
    ///
    /// A clock that is set forward destroys keys before their time.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.options.clock = Arc::new(clock) as Arc<Clock>;
        self
    }

    /// Sets the caller name to record in the audit log, at most 256 bytes of it. Nothing verifies
    /// it: the program that opens the store vouches for it.
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.options.identity = Some(identity.into());
        self
    }

    /// Sets whether the log contains the values of encryption contexts, not only their keys.
    pub fn log_context_values(mut self, yes: bool) -> Self {
        self.options.context_values = yes;
        self
    }

    /// Sets whether the log line of every operation is synced to disk before the result is
    /// returned.
    ///
    /// By default only a change syncs its line, along with all lines before it. The line of an
    /// encryption or decryption is written without a sync: it survives the death of the process,
    /// but may be lost if the machine crashes within seconds.
    pub fn sync_audit(mut self, yes: bool) -> Self {
        self.options.sync_audit = yes;
        self
    }

    /// Sets how long to wait for other processes; by default 30 seconds.
    pub fn lock_timeout(mut self, patience: Duration) -> Self {
        self.options.patience = patience;
        self
    }

    /// Sets whether a store that this process cannot write to is opened read-only; by default that
    /// is an error.
    ///
    /// A read-only store decrypts and lists. It refuses everything that would change it, and
    /// everything that must be in the audit log, with [`LocalKmsError::ReadOnly`]. **Decryptions
    /// are not logged**, which [`LocalKms::warnings`] says. Keys whose waiting period is over stay
    /// in it, and cannot be used.
    pub fn allow_read_only(mut self, yes: bool) -> Self {
        self.read_only = yes;
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// As for [`LocalKms::open`], and the errors of the root.
    pub fn open(self) -> Operation<impl Future<Output = Result<LocalKms>> + Send> {
        Operation::new(self.read())
    }

    /// Creates the store.
    ///
    /// # Errors
    /// As for [`LocalKms::create`], and the errors of the root.
    pub fn create(self) -> Operation<impl Future<Output = Result<LocalKms>> + Send> {
        Operation::new(self.make(Existing::Refuse))
    }

    /// Opens the store, or creates it if it does not exist. If several processes do this at once,
    /// exactly one creates it.
    ///
    /// # Errors
    /// As for [`LocalKms::open`] and [`LocalKms::create`], and the errors of the root.
    pub fn open_or_create(self) -> Operation<impl Future<Output = Result<LocalKms>> + Send> {
        Operation::new(self.make(Existing::Open))
    }

    pub(super) async fn read(self) -> Result<LocalKms> {
        let Self { folder, root, options, read_only } = self;
        let mut disk = Disk::new(&folder);
        let path = disk.path(STORE_FILE);
        if !path.exists() {
            return Err(missing(&disk));
        }
        if read_only {
            disk.detect_read_only()?;
        }
        let mut lock = disk.lock_file()?;
        // The store and the root key that it names are read under one lock, because another process
        // may be replacing both.
        let locked = disk.lock(&mut lock, options.patience)?;
        let Some((file, bytes)) = disk.read_store()? else { return Err(missing(&disk)) };
        let unverified = Unverified::parse(&path, &bytes)?;
        let Header { store_id, root: record, .. } = &unverified.header;
        let in_file = root.reread(&path, &folder, record)?;
        drop(locked);
        let root_key = match in_file {
            Some(key) => key,
            None => root.acquire(&path, &folder, store_id, record).await?,
        };
        let contents = unverified.open(&root_key)?;
        let store = Store::new(disk, lock, options, &root, root_key, contents, file)?;
        // A session finishes an interrupted change and deletes keys that are due.
        drop(store.session()?);
        Ok(LocalKms { store: Arc::new(store) })
    }

    pub(super) async fn make(self, existing: Existing) -> Result<LocalKms> {
        let disk = Disk::new(&self.folder);
        if disk.path(STORE_FILE).exists() {
            return match existing {
                Existing::Refuse => Err(LocalKmsError::StoreExists { path: self.folder }),
                Existing::Open => self.read().await,
            };
        }
        if disk.path(LOG_FILE).exists() {
            return Err(missing(&disk));
        }
        disk.create_folder()?;
        let store_id = random_hex::<16>().map_err(LocalKmsError::Crypto)?;
        // Not under the lock: a passphrase or a key service can take a long time.
        let (record, root_key) = self.root.establish(&disk, &store_id).await?;
        let mut lock = disk.lock_file()?;
        let locked = disk.lock(&mut lock, self.options.patience)?;
        if disk.path(STORE_FILE).exists() {
            // Another process created it meanwhile.
            drop(locked);
            return match existing {
                Existing::Refuse => Err(LocalKmsError::StoreExists { path: self.folder }),
                Existing::Open => self.read().await,
            };
        }
        let now = Timestamp::from((self.options.clock)());
        let begin = || {
            let audit_key = RustCrypto.random_key(KEY_LENGTH)?;
            let check = root_check(&root_key, &store_id, &record)?;
            let mut contents = Contents {
                header: Header { store_id, generation: 1, root: record, check },
                journal: String::new(),
                audit_key: Bytes::default(),
                aliases: Default::default(),
                keys: Default::default(),
            };
            contents.seal_audit_key(&root_key, &audit_key)?;
            Ok((contents, audit_key))
        };
        let (mut contents, key) = begin().map_err(LocalKmsError::Crypto)?;
        let Options { identity, context_values, .. } = &self.options;
        let scribe = Scribe { key, identity: identity.clone(), context_values: *context_values };
        (contents.journal, _) =
            scribe.line(Event::new("CreateStore"), now, contents.header.generation, &Tail::start())?;
        contents.header.root.install(&disk, &root_key)?;
        let file = disk.replace(STORE_FILE, &encode(&contents, &root_key).map_err(LocalKmsError::Crypto)?)?;
        drop(locked);
        let store = Store::new(disk, lock, self.options, &self.root, root_key, contents, file)?;
        // Moves the first line from the journal to the log.
        drop(store.session()?);
        Ok(LocalKms { store: Arc::new(store) })
    }
}

/// What to do if the store exists already.
#[derive(Clone, Copy)]
pub(super) enum Existing {
    Refuse,
    Open,
}

/// Returns the error for a missing store, which is damage if an audit log shows that there was one.
fn missing(disk: &Disk) -> LocalKmsError {
    if disk.path(LOG_FILE).exists() {
        return LocalKmsError::damaged(&disk.path(STORE_FILE), "it is missing, but there is an audit log");
    }
    LocalKmsError::NoStore { path: disk.folder().to_owned() }
}
