//! Files that appear whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Whether a file may take the place of another.
///
/// ```
/// assert_eq!(sealwax::io::Overwrite::default(), sealwax::io::Overwrite::Never);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// An existing file is kept, and the operation refused.
    #[default]
    Never,
    /// An existing file is replaced, at the end and at one stroke.
    Replace,
}

/// A file being written under another name beside its target.
///
/// [`commit`](Self::commit) brings it to the disk and gives it its name in one step; a file that is dropped without it is
/// removed, and the target is as it was.
///
/// ```
/// use std::io::Write;
/// use sealwax::io::{Overwrite, PendingFile};
///
/// let folder = tempfile::tempdir()?;
/// let target = folder.path().join("report.txt");
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
    /// The permission bits it gets in the end.
    mode: Option<u32>,
    /// The time of its last change that it gets in the end, if not that of the last write.
    modified: Option<SystemTime>,
}

impl PendingFile {
    /// Starts a file, which until it is committed only its owner can read.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the target exists and is not a regular file; [`Error::Io`], of kind `AlreadyExists` if it
    /// exists and may not be replaced, of others if the file cannot be created.
    pub fn create(target: impl AsRef<Path>, overwrite: Overwrite) -> Result<Self> {
        let mut target = target.as_ref().to_owned();
        let mut mode = None;
        match fs::metadata(&target) {
            Ok(found) if !found.is_file() => return Err(not_a_file()),
            Ok(_) if overwrite == Overwrite::Never => return Err(Error::Io(io::ErrorKind::AlreadyExists.into())),
            Ok(found) => {
                // What a link points to is replaced, not the link.
                target = fs::canonicalize(&target)?;
                mode = mode_of(&found);
            }
            // A link that points to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound && target.is_symlink() => return Err(not_a_file()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let folder = folder_of(&target);
        let mode = match mode {
            None => usual_mode(folder).map_err(plain_error)?,
            mode => mode,
        };
        // Made as its owner's alone: whoever opens a file keeps it open, whatever becomes of its mode.
        let file = temporary_file().tempfile_in(folder).map_err(plain_error)?;
        Ok(Self { file, target, overwrite, mode, modified: None })
    }

    /// Sets the permission bits that the file has once it is committed: those to read, write and execute (0o777); others are left
    /// out, so that nobody who writes a mode into a message decides who a program runs as. Does nothing where files have
    /// no such bits.
    ///
    /// ```
    /// # use sealwax::io::{Overwrite, PendingFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let target = folder.path().join("report.txt");
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

    /// Sets the time of its last change that the file has once it is committed.
    ///
    /// ```
    /// # use sealwax::io::{Overwrite, PendingFile};
    /// # let folder = tempfile::tempdir()?;
    /// # let target = folder.path().join("report.txt");
    /// let mut file = PendingFile::create(&target, Overwrite::Never)?;
    /// file.set_modified(std::time::SystemTime::UNIX_EPOCH);
    /// file.commit()?;
    /// assert_eq!(std::fs::metadata(&target)?.modified()?, std::time::SystemTime::UNIX_EPOCH);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_modified(&mut self, time: SystemTime) {
        self.modified = Some(time);
    }

    /// Brings the file to the disk and gives it its name. Its permissions are then those of the file it replaces, or those
    /// of any new file.
    ///
    /// # Errors
    /// [`Error::Io`]; the file is then removed and the target as it was, unless all that failed is to bring the new name to
    /// the disk, which is the last step.
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
        // A folder that may be written but not read cannot be opened to be synced: then the system does so in its time.
        let folder = if cfg!(unix) { File::open(folder_of(&target)).ok() } else { None };
        match overwrite {
            Overwrite::Never => file.persist_noclobber(&target),
            Overwrite::Replace => file.persist(&target),
        }
        .map_err(|error| error.error)?;
        Ok(folder.map_or(Ok(()), |folder| folder.sync_all())?)
    }
}

/// How files are made that get their name later; only their owner can read them.
fn temporary_file() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sealwax-").suffix(".partial");
    builder
}

/// The permission bits that any new file in a folder gets. They are known only from one that is made without bits of its own: it stays
/// empty, and goes at once.
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

/// The permission bits of a file, without those that change who runs it.
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

/// What the system said, without the temporary name, which means nothing to anyone.
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

    /// Keeps every file open that others than its owner may open, at any instant.
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
            // Nothing is ever written to what is there for a moment to learn the usual mode from.
            for file in seen {
                assert_eq!(file.metadata().unwrap().len(), 0, "replaces: {replaces}");
            }
        }
    }
}
