//! File operations on a store's directory, in single steps that tests can make fail.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::LocalKmsError;

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

/// The store file.
pub(super) const STORE_FILE: &str = "store.bin";
/// The audit log.
pub(super) const LOG_FILE: &str = "audit.log";
/// The lock file, which is empty and is never removed.
pub(super) const LOCK_FILE: &str = "lock";
/// The prefix and suffix of the name of a file that is being written.
const PARTIAL: (&str, &str) = (".store-", ".partial");
/// The prefix and suffix of the name of a root key in the directory.
const ROOT_KEY: (&str, &str) = ("root-", ".key");
/// The longest store in bytes that is read, enough for a quarter of a million keys.
const MAX_FILE: u64 = 256 << 20;

/// How many lock files are opened in turn to find one that is not replaced.
const MOST_LOCK_FILES: usize = 4;

/// A file operation that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    OpenRoot,
    OpenToWrite,
    Create,
    Write,
    SyncFile,
    Rename,
    SyncFolder,
    Append,
    SyncLog,
    CutLog,
    Remove,
}

/// Asks the tests whether a step fails.
#[cfg(test)]
pub(super) fn step(step: Step) -> io::Result<()> {
    super::faults::hit(step)
}

#[cfg(not(test))]
#[allow(clippy::unnecessary_wraps, reason = "in tests it does fail")]
pub(super) fn step(_: Step) -> io::Result<()> {
    Ok(())
}

/// The directory of a store.
pub(super) struct Disk {
    folder: PathBuf,
    read_only: bool,
}

impl Disk {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), read_only: false }
    }

    /// Stops writing to the directory if this process has no permission to write to the lock or the
    /// log, or the file system is read-only.
    pub(super) fn detect_read_only(&mut self) -> Result<()> {
        let denied = |opened: Result<()>| match opened {
            Err(LocalKmsError::Io { source, .. }) if is_denied(source.kind()) => Ok(true),
            opened => opened.map(|()| false),
        };
        self.read_only = denied(self.lock_file().map(drop))? || denied(self.open_log().map(drop))?;
        Ok(())
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Returns the error for what a read-only store cannot do.
    pub(super) fn refuse_to_write(&self) -> LocalKmsError {
        LocalKmsError::ReadOnly { path: self.folder.clone() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Creates the directory, owner-only, if it does not exist.
    pub(super) fn create_folder(&self) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.folder).map_err(LocalKmsError::io("creating", &self.folder))
    }

    /// Opens the lock file, creating it if it does not exist. In a read-only directory without one,
    /// the store file takes its place.
    pub(super) fn lock_file(&self) -> Result<Arc<File>> {
        let path = self.path(LOCK_FILE);
        if self.read_only {
            let read = |path: &Path| open_own(path, OpenOptions::new().read(true));
            return Ok(Arc::new(match unless_missing(read(&path))? {
                Some(file) => file,
                None => read(&self.path(STORE_FILE))?,
            }));
        }
        open_to_write(&path, private().read(true).write(true).create(true)).map(Arc::new)
    }

    /// Waits for the lock. If the file was removed or replaced, the lock of the open file excludes
    /// nobody else, so the current file is opened and locked instead.
    pub(super) fn lock(&self, file: &mut Arc<File>, patience: Duration) -> Result<Locked> {
        for _ in 0..MOST_LOCK_FILES {
            let locked = self.wait_for_lock(file, patience)?;
            if is_same_file(file, &self.path(LOCK_FILE)) || !self.folder.exists() {
                return Ok(locked);
            }
            drop(locked);
            *file = self.lock_file()?;
        }
        // The file system gives one file several inode numbers, or someone keeps replacing the
        // file.
        self.wait_for_lock(file, patience)
    }

    /// Waits for the lock by polling, so that a stopped holder does not block the caller beyond
    /// `patience`. The system releases the lock when its holder dies.
    fn wait_for_lock(&self, file: &Arc<File>, patience: Duration) -> Result<Locked> {
        let (start, mut pause) = (Instant::now(), Duration::from_micros(50));
        loop {
            // A lock for writing needs a file that is open for writing, on some file systems.
            match if self.read_only { file.try_lock_shared() } else { file.try_lock() } {
                Ok(()) => return Ok(Locked(file.clone())),
                Err(TryLockError::WouldBlock) if start.elapsed() >= patience => {
                    return Err(LocalKmsError::Busy { path: self.path(LOCK_FILE) });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) => {
                    return Err(LocalKmsError::io("locking", &self.path(LOCK_FILE))(error));
                }
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
    }

    /// Opens and reads the store file; returns `None` if it does not exist.
    pub(super) fn read_store(&self) -> Result<Option<(File, Vec<u8>)>> {
        let path = self.path(STORE_FILE);
        let Some(file) = unless_missing(open_own(&path, OpenOptions::new().read(true)))? else { return Ok(None) };
        read_all(&file, &path).map(|bytes| Some((file, bytes)))
    }

    /// Replaces the file with this name atomically: afterwards it is the old or the new one, whole.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<File> {
        let path = self.path(name);
        let failed = |action| LocalKmsError::io(action, &path);
        step(Step::Create).map_err(failed("creating"))?;
        let mut builder = tempfile::Builder::new();
        let mut file =
            builder.prefix(PARTIAL.0).suffix(PARTIAL.1).tempfile_in(&self.folder).map_err(failed("creating"))?;
        if let Err(error) = step(Step::Write) {
            // Like a full disk: a part has been written.
            file.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default()).map_err(failed("writing"))?;
            return Err(failed("writing")(error));
        }
        file.write_all(bytes).map_err(failed("writing"))?;
        step(Step::SyncFile).and_then(|()| file.as_file().sync_all()).map_err(failed("syncing"))?;
        step(Step::Rename).map_err(failed("replacing"))?;
        let file = file.persist(&path).map_err(|error| failed("replacing")(error.error))?;
        self.sync_folder()?;
        Ok(file)
    }

    /// Creates an owner-only file that did not exist, and syncs it. On failure the file is removed.
    pub(super) fn create_private(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let failed = || LocalKmsError::io("creating", path);
        step(Step::Create).map_err(failed())?;
        let mut file = private().write(true).create_new(true).open(path).map_err(failed())?;
        let mut write = || {
            step(Step::Write)?;
            file.write_all(bytes)?;
            step(Step::SyncFile)?;
            file.sync_all()
        };
        if let Err(error) = write() {
            // A partial backup must not pass for a backup, and a partial root key must not prevent
            // another attempt.
            let _ = fs::remove_file(path);
            return Err(failed()(error));
        }
        sync(path.parent().unwrap_or(&self.folder)).map_err(LocalKmsError::io("syncing the directory of", path))
    }

    pub(super) fn sync_folder(&self) -> Result<()> {
        let synced = step(Step::SyncFolder).and_then(|()| sync(&self.folder));
        synced.map_err(LocalKmsError::io("syncing", &self.folder))
    }

    /// Opens the log for reading and appending. Returns `None` if it does not exist in a read-only
    /// directory.
    pub(super) fn open_log(&self) -> Result<Option<File>> {
        let path = self.path(LOG_FILE);
        if self.read_only {
            return unless_missing(open_own(&path, OpenOptions::new().read(true)));
        }
        open_to_write(&path, private().read(true).append(true).create(true)).map(Some)
    }

    pub(super) fn append(&self, mut log: &File, bytes: &[u8]) -> Result<()> {
        let path = self.path(LOG_FILE);
        let failed = || LocalKmsError::io("appending to", &path);
        if let Err(error) = step(Step::Append) {
            log.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default()).map_err(failed())?;
            return Err(failed()(error));
        }
        log.write_all(bytes).map_err(failed())
    }

    pub(super) fn sync_log(&self, log: &File) -> Result<()> {
        let synced = step(Step::SyncLog).and_then(|()| log.sync_data());
        synced.map_err(LocalKmsError::io("syncing", &self.path(LOG_FILE)))
    }

    pub(super) fn cut_log(&self, log: &File, length: u64) -> Result<()> {
        let cut = step(Step::CutLog).and_then(|()| log.set_len(length));
        cut.map_err(LocalKmsError::io("removing an incomplete line from", &self.path(LOG_FILE)))
    }

    /// Returns the files that nothing needs any more: the partial file that a killed process may
    /// have left, and root keys other than the one with this name.
    pub(super) fn stale_files(&self, root_key: Option<&str>) -> Result<Vec<PathBuf>> {
        let failed = || LocalKmsError::io("looking for old files in", &self.folder);
        let mut stale = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let is_stale = |name: &str| {
                name.starts_with(PARTIAL.0) && name.ends_with(PARTIAL.1) || is_root_key(name) && Some(name) != root_key
            };
            if entry.file_name().to_str().is_some_and(is_stale) {
                stale.push(entry.path());
            }
        }
        Ok(stale)
    }

    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        step(Step::Remove).and_then(|()| fs::remove_file(path)).map_err(LocalKmsError::io("removing", path))
    }
}

/// Returns the file name of a root key in the directory.
pub(super) fn root_key_name(id: &str) -> String {
    format!("{}{id}{}", ROOT_KEY.0, ROOT_KEY.1)
}

/// Returns whether [`root_key_name`] makes such names. A header that names any other file is not
/// followed.
pub(super) fn is_root_key(name: &str) -> bool {
    let id = name.strip_prefix(ROOT_KEY.0).and_then(|rest| rest.strip_suffix(ROOT_KEY.1));
    id.is_some_and(|id| id.len() == 16 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

fn is_denied(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn open_to_write(path: &Path, options: &mut OpenOptions) -> Result<File> {
    step(Step::OpenToWrite).map_err(LocalKmsError::io("opening", path))?;
    open_own(path, options)
}

/// Opens a file in the directory of a store. A link there could direct what is written to any other
/// file, and a pipe would not answer, so both are refused.
pub(super) fn open_own(path: &Path, options: &mut OpenOptions) -> Result<File> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;

        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits().cast_signed());
    }
    let refused = |why| LocalKmsError::UnsafeFile { path: path.to_owned(), why };
    let found = match options.open(path) {
        Ok(file) => file,
        Err(error) => {
            let why = fs::symlink_metadata(path).ok().as_ref().and_then(oddity);
            return Err(why.map_or_else(|| LocalKmsError::io("opening", path)(error), refused));
        }
    };
    let metadata = found.metadata().map_err(LocalKmsError::io("reading the metadata of", path))?;
    match oddity(&metadata) {
        Some(why) => Err(refused(why)),
        None => Ok(found),
    }
}

/// Returns what distinguishes a file from those that a store creates.
fn oddity(metadata: &fs::Metadata) -> Option<&'static str> {
    if metadata.is_symlink() {
        return Some("it is a symbolic link, which is not followed");
    }
    if !metadata.is_file() {
        return Some("it is not a regular file");
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(metadata) > 1 {
        return Some("it has a second name (a hard link); replace it by a copy of itself");
    }
    None
}

/// Returns `None` for a file that does not exist.
pub(super) fn unless_missing<T>(opened: Result<T>) -> Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(LocalKmsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether users other than the owner of a file have one of these permissions.
#[cfg(unix)]
pub(super) fn others_may(path: &Path, permissions: u32) -> bool {
    fs::metadata(path).is_ok_and(|found| std::os::unix::fs::MetadataExt::mode(&found) & permissions & 0o077 != 0)
}

/// Other systems have other permissions, which are not checked.
#[cfg(not(unix))]
pub(super) fn others_may(_: &Path, _: u32) -> bool {
    false
}

/// Reads an open file from its start, up to a limit.
pub(super) fn read_all(mut file: &File, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(LocalKmsError::io("reading", path))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(LocalKmsError::damaged(path, "it is longer than any valid key store"));
    }
    Ok(bytes)
}

/// Returns whether the file at this path is still the open one and unchanged.
///
/// On Unix this is exact, because an inode number is not reused while the file is open. Elsewhere
/// the length and the modification time decide.
pub(super) fn is_current(open: &fs::Metadata, path: &Path) -> io::Result<bool> {
    // A link to the file is not the file.
    let now = fs::symlink_metadata(path)?;
    #[cfg(unix)]
    let same = {
        use std::os::unix::fs::MetadataExt as _;
        (now.dev(), now.ino()) == (open.dev(), open.ino())
    };
    #[cfg(not(unix))]
    let same = true;
    Ok(same && now.len() == open.len() && now.modified()? == open.modified()?)
}

/// Returns whether the path still names the open file.
#[cfg(unix)]
fn is_same_file(open: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let number = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, now) = (open.metadata().map(number), fs::symlink_metadata(path).map(number));
    open.ok().is_some_and(|open| now.is_ok_and(|now| now == open))
}

/// On other systems an open file keeps its name.
#[cfg(not(unix))]
fn is_same_file(_: &File, _: &Path) -> bool {
    true
}

/// Returns options that create owner-only files.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn sync(folder: &Path) -> io::Result<()> {
    File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()
}

/// Other systems cannot open a directory, and write its changes to disk themselves.
#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A guard for the lock.
pub(super) struct Locked(Arc<File>);

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing the file, or the end of the process, would release it too.
        let _ = self.0.unlock();
    }
}
