//! Files that appear complete or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Whether an operation may replace an existing file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Keep an existing file; the operation fails.
    #[default]
    Never,
    /// Replace an existing file, at the end and in one step.
    Replace,
}

/// A file that is written under a temporary name in the directory of its target.
///
/// [`commit`](Self::commit) syncs the file to disk and renames it to its target in one step. A file
/// that is dropped without it is removed, and the target is unchanged.
///
/// ```
/// use std::io::Write;
/// use sealwax::io::{Overwrite, PendingFile};
///
/// let directory = tempfile::tempdir()?;
/// let target = directory.path().join("report.txt");
/// let mut file = PendingFile::create(&target, Overwrite::Never)?;
/// file.write_all(b"text")?;
/// assert!(!target.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read(&target)?, b"text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a pending file that is not committed is removed"]
pub struct PendingFile {
    file: NamedTempFile,
    target: PathBuf,
    overwrite: Overwrite,
    /// The permission bits that the file is given by [`commit`](Self::commit).
    mode: Option<u32>,
    /// The modification time that [`commit`](Self::commit) sets. Without one, the file keeps the
    /// time of the last write.
    modified: Option<SystemTime>,
}

impl PendingFile {
    /// Creates a file, which only its owner can read until it is committed.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the target exists and is not a regular file, or is a symbolic
    /// link to nothing. [`Error::Io`] of kind `AlreadyExists` if the target exists and may not be
    /// replaced, and of other kinds if the file cannot be created.
    pub fn create(target: impl AsRef<Path>, overwrite: Overwrite) -> Result<Self> {
        let mut target = target.as_ref().to_owned();
        let mut mode = None;
        match fs::metadata(&target) {
            Ok(found) if !found.is_file() => return Err(not_a_file()),
            Ok(_) if overwrite == Overwrite::Never => return Err(Error::Io(io::ErrorKind::AlreadyExists.into())),
            Ok(found) => {
                // The file that a symbolic link points to is replaced, not the link.
                target = fs::canonicalize(&target)?;
                mode = mode_of(&found);
            }
            // This is a symbolic link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound && target.is_symlink() => return Err(not_a_file()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let folder = folder_of(&target);
        let mode = match mode {
            None => usual_mode(folder).map_err(plain_error)?,
            mode => mode,
        };
        // The file must be owner-only from the start: a process that opens it keeps it open,
        // whatever mode is set later.
        let file = temporary_file().tempfile_in(folder).map_err(plain_error)?;
        Ok(Self { file, target, overwrite, mode, modified: None })
    }

    /// Sets the permission bits that the file has once it is committed. Only the read, write and
    /// execute bits (0o777) are used. The others are dropped, so that a writer who stores a mode in
    /// a message cannot decide which user a program runs as. Does nothing on platforms without
    /// permission bits.
    ///
    /// ```
    /// # use sealwax::io::{Overwrite, PendingFile};
    /// # let directory = tempfile::tempdir()?;
    /// # let target = directory.path().join("report.txt");
    /// let mut file = PendingFile::create(&target, Overwrite::Never)?;
    /// file.set_mode(0o640);
    /// file.commit()?;
    /// # #[cfg(unix)]
    /// # assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&target)?.permissions()) & 0o7777, 0o640);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_mode(&mut self, mode: u32) {
        self.mode = Some(mode & 0o777);
    }

    /// Sets the modification time that the file has once it is committed.
    pub fn set_modified(&mut self, time: SystemTime) {
        self.modified = Some(time);
    }

    /// Syncs the file to disk and renames it to its target. Its permissions are then those given to
    /// [`set_mode`](Self::set_mode), or else those of the file that it replaces, or else those of
    /// any new file.
    ///
    /// # Errors
    /// [`Error::Io`] if a step fails. The file is then removed and the target is unchanged, except
    /// if only the last step fails, which syncs the directory so that the new name is on disk.
    pub fn commit(self) -> Result<()> {
        let Self { file, target, overwrite, mode, modified } = self;
        #[cfg(unix)]
        if let Some(mode) = mode {
            file.as_file().set_permissions(permissions(mode))?;
        }
        #[cfg(not(unix))]
        let _: Option<u32> = mode;
        if let Some(modified) = modified {
            file.as_file().set_modified(modified)?;
        }
        file.as_file().sync_all()?;
        // A directory that is writable but not readable cannot be opened to be synced. The system
        // then writes the new name to disk in its own time.
        let folder = if cfg!(unix) { File::open(folder_of(&target)).ok() } else { None };
        match overwrite {
            Overwrite::Never => file.persist_noclobber(&target),
            Overwrite::Replace => file.persist(&target),
        }
        .map_err(|error| error.error)?;
        Ok(folder.map_or(Ok(()), |folder| folder.sync_all())?)
    }
}

/// Returns a builder of temporary files that only their owner can read.
fn temporary_file() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sealwax-").suffix(".partial");
    builder
}

/// Returns the permission bits that any new file in a directory gets. The only way to learn them is
/// to create a file without explicit bits; it stays empty and is removed at once.
#[cfg(unix)]
fn usual_mode(folder: &Path) -> io::Result<Option<u32>> {
    let file = temporary_file().permissions(permissions(0o666)).tempfile_in(folder)?;
    Ok(mode_of(&file.as_file().metadata()?))
}

#[cfg(not(unix))]
fn usual_mode(_: &Path) -> io::Result<Option<u32>> {
    Ok(None)
}

fn not_a_file() -> Error {
    Error::Configuration("the target is not a regular file".into())
}

/// Returns the permission bits of a file, without those that change the user it runs as.
#[cfg(unix)]
fn mode_of(found: &fs::Metadata) -> Option<u32> {
    Some(std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777)
}

#[cfg(not(unix))]
fn mode_of(_: &fs::Metadata) -> Option<u32> {
    None
}

#[cfg(unix)]
fn permissions(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

/// Returns the error of the system without the temporary name, which means nothing to users.
fn plain_error(error: io::Error) -> Error {
    let inner = error.get_ref().and_then(std::error::Error::source).and_then(<dyn std::error::Error>::downcast_ref);
    match inner.and_then(io::Error::raw_os_error) {
        Some(code) => Error::Io(io::Error::from_raw_os_error(code).into()),
        None => Error::Io(error.into()),
    }
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        collections::BTreeMap,
        os::unix::fs::{MetadataExt, PermissionsExt},
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    /// Watches a directory and keeps open every file that users other than the owner could open at
    /// any instant.
    fn spy(folder: &Path, over: &AtomicBool) -> Vec<File> {
        let mut found = BTreeMap::new();
        while !over.load(Ordering::Relaxed) {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let Ok(file) = File::open(entry.path()) else { continue };
                let metadata = file.metadata().unwrap();
                if metadata.permissions().mode() & 0o077 != 0 {
                    found.entry(metadata.ino()).or_insert(file);
                }
            }
        }
        found.into_values().collect()
    }

    #[test]
    fn nobody_else_can_open_a_file_before_it_is_committed() {
        for replaces in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("target");
            if replaces {
                fs::write(&target, "old").unwrap();
                fs::set_permissions(&target, permissions(0o600)).unwrap();
            }
            let over = AtomicBool::new(false);
            let seen = thread::scope(|scope| {
                let spy = scope.spawn(|| spy(folder.path(), &over));
                let pending: Vec<_> = (0..300)
                    .map(|_| {
                        let mut file = PendingFile::create(&target, Overwrite::Replace).unwrap();
                        file.write_all(b"secret").unwrap();
                        file
                    })
                    .collect();
                over.store(true, Ordering::Relaxed);
                let seen = spy.join().unwrap();
                drop(pending);
                seen
            });
            // Nothing is ever written to the file that exists briefly to learn the usual mode.
            for file in seen {
                assert_eq!(file.metadata().unwrap().len(), 0, "replaces: {replaces}");
            }
        }
    }
}
