//! Files that appear complete or not at all.

#[cfg(unix)]
mod by_handle;
#[cfg(not(unix))]
mod by_path;

#[cfg(unix)]
use std::{ffi::OsStr, os::fd::AsFd};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::SystemTime,
};

#[cfg(unix)]
use by_handle::{Place, Temporary, mode_of, usual_mode};
#[cfg(not(unix))]
use by_path::{Place, Temporary, mode_of, usual_mode};

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
/// On Unix, the directory is opened once, and everything happens in that directory: if its path is
/// made to lead elsewhere meanwhile, nothing is written there. Until the file is committed it is
/// locked (`File::lock`), as far as the file system has locks, so that another process can tell it
/// from one that a killed process left.
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
    file: Temporary,
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
        let place = Place::of(&target)?;
        Self::create_at(place, overwrite, mode)
    }

    /// Creates a file in an open directory, as [`create`](Self::create) does, whatever path leads
    /// to that directory now. The directory can be opened with `O_PATH`. No link is followed: a
    /// symbolic link in the place of the target is an error, and one that appears there later is
    /// replaced.
    ///
    /// ```
    /// # use std::{fs::File, io::Write};
    /// # use sealwax::io::{Overwrite, PendingFile};
    /// # let directory = tempfile::tempdir()?;
    /// let open = File::open(directory.path())?;
    /// let mut file = PendingFile::create_in(&open, "report.txt", Overwrite::Never)?;
    /// file.write_all(b"text")?;
    /// file.commit()?;
    /// assert_eq!(std::fs::read(directory.path().join("report.txt"))?, b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Configuration`] if the name is not that of an entry of the directory, such as `..` or
    /// a path, or if the target exists and is not a regular file. Otherwise as for
    /// [`create`](Self::create).
    #[cfg(unix)]
    pub fn create_in(directory: impl AsFd, name: impl AsRef<OsStr>, overwrite: Overwrite) -> Result<Self> {
        let place = Place::within(directory.as_fd(), name.as_ref())?;
        let mode = match place.look()? {
            Some(found) if !found.is_file => return Err(not_a_file()),
            Some(_) if overwrite == Overwrite::Never => return Err(Error::Io(io::ErrorKind::AlreadyExists.into())),
            found => found.map(|found| found.mode),
        };
        Self::create_at(place, overwrite, mode)
    }

    /// Creates a file with this mode, or that of any new file in its directory.
    fn create_at(place: Place, overwrite: Overwrite, mode: Option<u32>) -> Result<Self> {
        let mode = match mode {
            None => usual_mode(&place)?,
            mode => mode,
        };
        // The file must be owner-only from the start: a process that opens it keeps it open,
        // whatever mode is set later.
        Ok(Self { file: Temporary::create(place)?, overwrite, mode, modified: None })
    }

    /// Returns the open file, to set what this type has no method for, such as its owner. Setting
    /// its mode has no effect: [`commit`](Self::commit) sets it.
    #[must_use]
    pub fn as_file(&self) -> &File {
        self.file.as_file()
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
    /// any new file. The owner, the access control list and the extended attributes of a file that
    /// it replaces are not kept.
    ///
    /// # Errors
    /// [`Error::Io`] if a step fails. The file is then removed and the target is unchanged, except
    /// if only the last step fails, which syncs the directory so that the new name is on disk.
    pub fn commit(self) -> Result<()> {
        let Self { file, overwrite, mode, modified } = self;
        #[cfg(unix)]
        if let Some(mode) = mode {
            file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        }
        #[cfg(not(unix))]
        let _: Option<u32> = mode;
        if let Some(modified) = modified {
            file.as_file().set_modified(modified)?;
        }
        file.as_file().sync_all()?;
        Ok(file.persist(overwrite == Overwrite::Replace)?)
    }
}

/// Returns a builder of temporary files that only their owner can read.
fn temporary_file() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sealwax-").suffix(".partial");
    builder
}

fn not_a_file() -> Error {
    Error::Configuration("the target is not a regular file".into())
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file().write(bytes)
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
                fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
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

    /// Moves a directory away and puts a link to another one in its place.
    fn swap(root: &Path) {
        fs::rename(root.join("folder"), root.join("moved")).unwrap();
        fs::create_dir(root.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", root.join("folder")).unwrap();
    }

    #[test]
    fn attack_33_a_link_in_the_place_of_the_directory_does_not_redirect_a_file() {
        for (by_path, commits) in [(true, true), (true, false), (false, true), (false, false)] {
            for overwrite in [Overwrite::Never, Overwrite::Replace] {
                let root = tempfile::tempdir().unwrap();
                let folder = root.path().join("folder");
                fs::create_dir(&folder).unwrap();
                let mut file = if by_path {
                    PendingFile::create(folder.join("target"), overwrite).unwrap()
                } else {
                    PendingFile::create_in(File::open(&folder).unwrap(), "target", overwrite).unwrap()
                };
                swap(root.path());
                file.write_all(b"text").unwrap();
                if commits {
                    file.commit().unwrap();
                    assert_eq!(fs::read(root.path().join("moved/target")).unwrap(), b"text");
                } else {
                    drop(file);
                    assert_eq!(fs::read_dir(root.path().join("moved")).unwrap().count(), 0);
                }
                assert_eq!(fs::read_dir(root.path().join("elsewhere")).unwrap().count(), 0);
            }
        }
    }

    #[test]
    fn attack_33_a_link_in_the_place_of_the_target_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (target, precious) = (root.path().join("target"), root.path().join("precious"));
        fs::write(&precious, "precious").unwrap();
        let directory = File::open(root.path()).unwrap();
        let create = |overwrite| PendingFile::create_in(&directory, "target", overwrite);
        for overwrite in [Overwrite::Never, Overwrite::Replace] {
            let mut file = create(overwrite).unwrap();
            file.write_all(b"text").unwrap();
            std::os::unix::fs::symlink("precious", &target).unwrap();
            let refused = file.commit();
            assert_eq!(refused.is_ok(), overwrite == Overwrite::Replace);
            fs::remove_file(&target).unwrap();
        }
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        std::os::unix::fs::symlink("precious", &target).unwrap();
        assert!(matches!(create(Overwrite::Replace), Err(Error::Configuration(_))));
    }

    #[test]
    fn a_name_in_a_directory_is_one_name() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("below")).unwrap();
        let directory = File::open(root.path()).unwrap();
        for name in ["", ".", "..", "/", "/target", "below/target", "../target", "target/"] {
            let refused = PendingFile::create_in(&directory, name, Overwrite::Replace);
            assert!(matches!(refused, Err(Error::Configuration(_))), "{name:?}");
        }
        assert!(matches!(
            PendingFile::create(root.path().join("new/"), Overwrite::Never),
            Err(Error::Configuration(_))
        ));
        assert!(matches!(
            PendingFile::create_in(&directory, "below", Overwrite::Replace),
            Err(Error::Configuration(_))
        ));
        fs::write(root.path().join("target"), "").unwrap();
        let exists = PendingFile::create_in(&directory, "target", Overwrite::Never);
        assert!(matches!(exists, Err(Error::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists));
    }

    #[test]
    fn a_pending_file_is_locked_and_an_abandoned_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let file = PendingFile::create(root.path().join("target"), Overwrite::Never).unwrap();
        let only = || fs::read_dir(root.path()).unwrap().next().unwrap().unwrap().path();
        let path = only();
        assert!(matches!(File::open(&path).unwrap().try_lock(), Err(fs::TryLockError::WouldBlock)));
        file.commit().unwrap();
        assert!(File::open(only()).unwrap().try_lock().is_ok());
    }
}
