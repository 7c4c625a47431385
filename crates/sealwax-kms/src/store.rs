//! The open store: each operation takes the lock, sees the newest state, makes at most one change
//! at a time, and is logged.

use std::{
    collections::HashMap,
    fs::{File, Metadata},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use sealwax::SecretBytes;

use super::{
    LocalKmsError, Root, StoreWarning,
    audit::{Event, Log, Scribe, Tail},
    disk::{Disk, LOCK_FILE, LOG_FILE, Locked, STORE_FILE, is_current, is_root_key, others_may},
    file::{Unverified, encode},
    record::{Contents, RootRecord, Timestamp},
    root::read_own_key,
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

/// A source of the time of day.
pub(super) type Clock = dyn Fn() -> SystemTime + Send + Sync;

/// Returns a file with its metadata, or `None` if that cannot be read, so that the next operation
/// reads the store again.
fn with_metadata(file: File) -> Option<(File, Metadata)> {
    let metadata = file.metadata().ok()?;
    Some((file, metadata))
}

/// The settings of an open store.
pub(super) struct Options {
    pub(super) clock: Arc<Clock>,
    pub(super) identity: Option<String>,
    pub(super) context_values: bool,
    pub(super) sync_audit: bool,
    pub(super) patience: Duration,
}

/// An open store.
pub(super) struct Store {
    pub(super) disk: Disk,
    options: Options,
    /// Where to read a root key again that another process has replaced, if it is in a file.
    root: Root,
    loaded: Mutex<Loaded>,
}

/// The state in memory.
pub(super) struct Loaded {
    lock: Arc<File>,
    root_key: SecretBytes,
    /// A root that this process tried to install, while it is unknown whether that succeeded.
    tried_root: Option<(RootRecord, SecretBytes)>,
    pub(super) contents: Contents,
    scribe: Scribe,
    /// The file that the contents were read from, kept open so that its inode number is not reused,
    /// and its metadata at that time.
    file: Option<(File, Metadata)>,
    /// Whether the directory entry of the file is known to be on disk. The process that replaced
    /// the file may have died before it synced the directory.
    settled: bool,
    log: Log,
    /// The tail after the last line that belongs to a change.
    journal: Tail,
    next_deletion: Option<Timestamp>,
    /// Unsealed key material that has been used, by generation.
    opened: HashMap<String, Arc<SecretBytes>>,
    owners: HashMap<String, String>,
}

/// The store under its lock and up to date.
pub(super) struct Session<'a> {
    // Drop order matters: the file lock is released before the mutex. It belongs to the open file,
    // which the threads share, so the next thread could otherwise acquire it and then lose it.
    _lock: Locked,
    store: &'a Store,
    pub(super) loaded: MutexGuard<'a, Loaded>,
    pub(super) now: Timestamp,
}

impl Store {
    /// Creates a store with these contents, which were read from or written to `file`.
    pub(super) fn new(
        disk: Disk,
        lock: Arc<File>,
        options: Options,
        root: &Root,
        root_key: SecretBytes,
        contents: Contents,
        file: File,
    ) -> Result<Self> {
        let scribe = Scribe {
            key: contents.open_audit_key(&root_key).map_err(LocalKmsError::Crypto)?,
            identity: options.identity.clone(),
            context_values: options.context_values,
        };
        let log = Log::open(&disk)?;
        let mut loaded = Loaded {
            lock,
            root_key,
            tried_root: None,
            contents,
            scribe,
            file: with_metadata(file),
            settled: false,
            log,
            journal: Tail::start(),
            next_deletion: None,
            opened: HashMap::new(),
            owners: HashMap::new(),
        };
        loaded.index(&disk)?;
        Ok(Self { disk, options, root: root.for_rereading(), loaded: Mutex::new(loaded) })
    }

    /// Returns what others may do with the files of the store and should not.
    pub(super) fn warnings(&self, root: &RootRecord) -> Vec<StoreWarning> {
        let mut warnings = Vec::new();
        if self.disk.is_read_only() {
            warnings.push(StoreWarning::ReadOnly { path: self.disk.folder().to_owned() });
        }
        let files = [STORE_FILE, LOG_FILE, LOCK_FILE].map(|name| self.disk.path(name));
        for path in [self.disk.folder().to_owned()].into_iter().chain(files) {
            if others_may(&path, 0o022) {
                warnings.push(StoreWarning::WritableByOthers { path });
            }
        }
        let root_key = self.root.file(self.disk.folder(), root);
        warnings.extend(root_key.filter(|path| others_may(path, 0o044)).map(StoreWarning::readable));
        warnings
    }

    /// Takes the lock, loads changes of other processes, finishes the last change, and deletes keys
    /// that are due.
    pub(super) fn session(&self) -> Result<Session<'_>> {
        // A panic may have left the state half-changed, so read it again.
        let mut loaded = self.loaded.lock().unwrap_or_else(|poisoned: PoisonError<MutexGuard<'_, Loaded>>| {
            let mut loaded = poisoned.into_inner();
            loaded.file = None;
            loaded
        });
        let lock = self.disk.lock(&mut loaded.lock, self.options.patience)?;
        let now = Timestamp::from((self.options.clock)());
        let mut session = Session { _lock: lock, store: self, loaded, now };
        session.refresh()?;
        session.finish_journal()?;
        session.destroy_what_is_due()?;
        Ok(session)
    }
}

impl Loaded {
    /// Updates what is derived from the contents.
    fn index(&mut self, disk: &Disk) -> Result<()> {
        let malformed = || LocalKmsError::damaged(&disk.path(STORE_FILE), "its journal is malformed");
        self.journal = Tail::of(&self.contents.journal).ok_or_else(malformed)?;
        self.next_deletion = self.contents.next_deletion();
        self.opened.clear();
        let keys = self.contents.keys.values();
        let owners = keys.flat_map(|key| key.backing.iter().map(|backing| (backing.id.clone(), key.id.clone())));
        self.owners = owners.collect();
        Ok(())
    }

    /// Returns the key that a generation of material belongs to.
    pub(super) fn owner(&self, backing_id: &str) -> Option<&str> {
        self.owners.get(backing_id).map(String::as_str)
    }

    /// Returns the material of a generation of a key, unsealed on first use.
    pub(super) fn material(&mut self, key_id: &str, backing_id: &str) -> Result<Arc<SecretBytes>> {
        if let Some(material) = self.opened.get(backing_id) {
            return Ok(material.clone());
        }
        let key = self.contents.keys.get(key_id);
        let backing = key.and_then(|key| key.backing.iter().find(|backing| backing.id == backing_id));
        let backing = backing.ok_or_else(|| LocalKmsError::NotFound { name: key_id.to_owned() })?;
        let material = Arc::new(backing.open(&self.root_key, key_id).map_err(LocalKmsError::Crypto)?);
        self.opened.insert(backing_id.to_owned(), material.clone());
        Ok(material)
    }

    pub(super) fn root_key(&self) -> &SecretBytes {
        &self.root_key
    }

    pub(super) fn audit_key(&self) -> (&SecretBytes, &Tail) {
        (&self.scribe.key, &self.journal)
    }
}

/// Syncs the directory, unless the entry of the store file is known to be on disk.
fn settle(disk: &Disk, settled: &mut bool) -> Result<()> {
    if !*settled {
        disk.sync_folder()?;
        *settled = true;
    }
    Ok(())
}

/// Removes files that nothing needs any more, such as the old root key if the process that replaced
/// it was killed. `new_root` is the name of a root key that is about to be used.
///
/// Must be called after the log has reached the journal, which shows that the store is durable: after
/// a crash of the machine it must not be one that needs the old root key.
fn sweep(disk: &Disk, loaded: &Loaded, new_root: Option<&str>) -> Result<()> {
    for path in disk.stale_files(loaded.contents.header.root.file_name())? {
        let name = path.file_name().and_then(|name| name.to_str());
        // A root key from elsewhere may have been moved here.
        let is_in_use = || read_own_key(&path).is_ok_and(|key| key.ct_eq(loaded.root_key.as_bytes()));
        if name.is_some_and(is_root_key) && (name == new_root || is_in_use()) {
            continue;
        }
        disk.remove(&path)?;
    }
    Ok(())
}

impl Session<'_> {
    fn disk(&self) -> &Disk {
        &self.store.disk
    }

    /// Reads the store again if another process has changed it.
    fn refresh(&mut self) -> Result<()> {
        let path = self.disk().path(STORE_FILE);
        let failed = || LocalKmsError::io("reading the metadata of", &path);
        if let Some((_, known)) = &self.loaded.file {
            match is_current(known, &path) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(self.gone()),
                Err(error) => return Err(failed()(error)),
            }
        }
        let (file, bytes) = self.disk().read_store()?.ok_or_else(|| self.gone())?;
        let unverified = Unverified::parse(&path, &bytes)?;
        let known = &self.loaded.contents.header;
        if unverified.header.store_id != known.store_id {
            return Err(LocalKmsError::damaged(&path, "it is not the store that was opened"));
        }
        let record = &unverified.header.root;
        let changed_root = match &self.loaded.tried_root {
            _ if *record == known.root => None,
            Some((tried, key)) if tried == record => Some(SecretBytes::from(key.as_bytes())),
            _ => {
                let folder = self.disk().folder();
                // Nothing here is authenticated yet. Anyone who can write to the directory could
                // seal a store of their own under a root key of their own beside it. A new root key
                // from the directory is trusted only if the old one was there too.
                let is_same_kind = record.kind() == known.root.kind();
                let key = if is_same_kind { self.store.root.reread(&path, folder, record)? } else { None };
                Some(key.ok_or_else(|| LocalKmsError::RootChanged { path: folder.to_owned() })?)
            }
        };
        let contents = unverified.open(changed_root.as_ref().unwrap_or(&self.loaded.root_key))?;
        let (was, is) = (known.generation, contents.header.generation);
        if is < was {
            let what = format!("it is an older copy: generation {is} after generation {was}");
            return Err(LocalKmsError::damaged(&path, what));
        }
        let loaded = &mut *self.loaded;
        if let Some(key) = changed_root {
            loaded.root_key = key;
        }
        loaded.tried_root = None;
        loaded.contents = contents;
        loaded.index(&self.store.disk)?;
        loaded.file = with_metadata(file);
        loaded.settled = false;
        Ok(())
    }

    /// Makes sure that the store as it was read is durable. Nothing may be encrypted under material
    /// that a crash of the machine could lose.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.disk().is_read_only() {
            return Err(self.disk().refuse_to_write());
        }
        settle(&self.store.disk, &mut self.loaded.settled)
    }

    fn gone(&self) -> LocalKmsError {
        LocalKmsError::NoStore { path: self.disk().folder().to_owned() }
    }

    /// Appends the line of the last change to the log, if the process that made that change did
    /// not. Afterwards the log reaches at least as far as the store's journal.
    ///
    /// Fails if the log has been written by a later generation of the store than the one on disk.
    fn finish_journal(&mut self) -> Result<()> {
        let disk = &self.store.disk;
        let loaded = &mut *self.loaded;
        let generation = loaded.contents.header.generation;
        let tail = loaded.log.tail(disk, &loaded.scribe.key, &loaded.journal)?;
        if let Some(logged) = tail.generation.filter(|logged| *logged > generation) {
            return Err(LocalKmsError::RolledBack { path: disk.path(STORE_FILE), generation, logged });
        }
        if disk.is_read_only() {
            return Ok(());
        }
        let Loaded { log, contents, journal, settled, .. } = loaded;
        log.reach(disk, &contents.journal, journal, || settle(disk, settled))
    }

    /// Deletes the keys whose waiting period is over. In a read-only store they stay, and cannot be
    /// used.
    fn destroy_what_is_due(&mut self) -> Result<()> {
        if self.disk().is_read_only() {
            return Ok(());
        }
        while self.loaded.next_deletion.is_some_and(|due| due <= self.now) {
            let now = self.now;
            let due = self.loaded.contents.keys.values().find(|key| key.deletion.is_some_and(|due| due <= now));
            let Some(id) = due.map(|key| key.id.clone()) else { break };
            let mut contents = self.loaded.contents.clone();
            contents.keys.remove(&id);
            contents.aliases.retain(|_, target| *target != id);
            self.commit(contents, Event::new("DeleteKey").key(&id), None)?;
        }
        Ok(())
    }

    /// Makes a change, entirely or not at all, and logs it either way.
    pub(super) fn change<T>(
        &mut self,
        event: Event,
        change: impl FnOnce(&mut Contents, &SecretBytes, Timestamp, &mut Event) -> Result<T>,
    ) -> Result<T> {
        let mut contents = self.loaded.contents.clone();
        let mut event = event;
        match change(&mut contents, self.loaded.root_key(), self.now, &mut event) {
            Ok(answer) => self.commit(contents, event, None).map(|()| answer),
            error => self.answer(event, error),
        }
    }

    /// Replaces the contents and logs the change: both or neither.
    ///
    /// The line is part of the written file (the journal), so it reaches the log even if this
    /// process dies before it appends it.
    pub(super) fn commit(&mut self, mut contents: Contents, event: Event, new_root: Option<SecretBytes>) -> Result<()> {
        if self.disk().is_read_only() {
            return Err(self.disk().refuse_to_write());
        }
        self.finish_journal()?;
        let disk = &self.store.disk;
        let loaded = &mut *self.loaded;
        sweep(disk, loaded, new_root.as_ref().and(contents.header.root.file_name()))?;
        // The journal's line is about to be replaced, so it and the lines before it must be on
        // disk.
        loaded.log.sync(disk)?;
        contents.header.generation = contents.header.generation.saturating_add(1);
        let tail = loaded.log.tail(disk, &loaded.scribe.key, &loaded.journal)?;
        let (line, tail) = loaded.scribe.line(event, self.now, contents.header.generation, tail)?;
        contents.journal.clone_from(&line);
        let bytes = encode(&contents, new_root.as_ref().unwrap_or(&loaded.root_key)).map_err(LocalKmsError::Crypto)?;
        // Until it is known which of the two files is on disk, the state in memory is invalid.
        loaded.file = None;
        loaded.tried_root = new_root.map(|key| (contents.header.root.clone(), key));
        let file = disk.replace(STORE_FILE, &bytes)?;
        if let Some((_, key)) = loaded.tried_root.take() {
            loaded.root_key = key;
        }
        loaded.contents = contents;
        loaded.index(disk)?;
        loaded.file = with_metadata(file);
        loaded.settled = true;
        // The change is made and its line is in the store. If it cannot be appended now, the next
        // operation does it.
        let _ = loaded.log.append(disk, &line, tail);
        Ok(())
    }

    /// Removes the root key that a change of the root has replaced. If this process is killed
    /// before, the next change does it.
    pub(super) fn sweep(&self) -> Result<()> {
        sweep(&self.store.disk, &self.loaded, None)
    }

    /// Logs an event that changed nothing. A read-only store performs what only reads without that.
    pub(super) fn log(&mut self, event: Event) -> Result<()> {
        if self.disk().is_read_only() {
            return if event.only_reads() { Ok(()) } else { Err(self.disk().refuse_to_write()) };
        }
        self.finish_journal()?;
        let disk = &self.store.disk;
        let loaded = &mut *self.loaded;
        let generation = loaded.contents.header.generation;
        let tail = loaded.log.tail(disk, &loaded.scribe.key, &loaded.journal)?;
        if tail.generation != Some(generation) {
            // The last line is from before generations were logged.
            settle(disk, &mut loaded.settled)?;
        }
        let (line, tail) = loaded.scribe.line(event, self.now, generation, tail)?;
        loaded.log.append(disk, &line, tail)?;
        if self.store.options.sync_audit { loaded.log.sync(disk) } else { Ok(()) }
    }

    /// Logs an event and then returns its result: no result is returned unless it is logged.
    pub(super) fn answer<T>(&mut self, mut event: Event, answer: Result<T>) -> Result<T> {
        if let Err(error) = &answer {
            event.outcome = error.outcome();
        }
        self.log(event)?;
        answer
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.disk().path(LOG_FILE)
    }
}
