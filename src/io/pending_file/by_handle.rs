//! Temporary files that are created and renamed in an open directory.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata, TryLockError},
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Component, Path},
    sync::Arc,
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, open, openat, renameat, statat, unlinkat};

use super::{not_a_file, temporary_file};
use crate::error::{Error, Result};

/// The permission bits, without those that change the user that a file runs as.
const PERMISSIONS: u32 = 0o777;

/// A handle for the entries of a directory needs no right to read it, where the system has such
/// handles.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ENTRIES: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ENTRIES: OFlags = OFlags::RDONLY;

/// A name in an open directory.
#[derive(Clone)]
pub(super) struct Place {
    directory: Arc<OwnedFd>,
    name: OsString,
}

/// What is known of an entry.
pub(super) struct Found {
    pub(super) is_file: bool,
    pub(super) mode: u32,
}

impl Place {
    pub(super) fn of(target: &Path) -> Result<Self> {
        let Some(name) = target.file_name().filter(|_| !target.as_os_str().as_encoded_bytes().ends_with(b"/")) else {
            return Err(not_a_file());
        };
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = open(folder, ENTRIES | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { directory: Arc::new(directory.map_err(io::Error::from)?), name: name.to_owned() })
    }

    pub(super) fn within(directory: BorrowedFd<'_>, name: &OsStr) -> Result<Self> {
        let mut components = Path::new(name).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(only)), None) if only == name => {}
            _ => return Err(Error::Configuration("the target is not a name in the directory".into())),
        }
        Ok(Self { directory: Arc::new(directory.try_clone_to_owned()?), name: name.to_owned() })
    }

    /// Returns what exists under the name. A link is not followed.
    pub(super) fn look(&self) -> io::Result<Option<Found>> {
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => {
                let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
                Ok(Some(Found { is_file, mode: Mode::from_raw_mode(found.st_mode).bits() & PERMISSIONS }))
            }
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A temporary file, which is removed unless it gets its final name.
pub(super) struct Temporary {
    file: File,
    target: Place,
    /// The temporary name, until it is gone.
    name: Option<OsString>,
}

impl Temporary {
    pub(super) fn create(target: Place) -> Result<Self> {
        loop {
            let this = Self::with_mode(target.clone(), 0o600)?;
            // The lock shows that the file is in use. A process that removes abandoned files can
            // have taken it first, and then the file is lost.
            let locked = this.file.try_lock();
            if !matches!(locked, Err(TryLockError::WouldBlock)) && this.file.metadata()?.nlink() > 0 {
                return Ok(this);
            }
        }
    }

    fn with_mode(target: Place, mode: u32) -> Result<Self> {
        let (file, name) = new_file(&target.directory, mode)?;
        Ok(Self { file, target, name: Some(name) })
    }

    pub(super) fn as_file(&self) -> &File {
        &self.file
    }

    /// Renames the file to its final name.
    pub(super) fn persist(mut self, replace: bool) -> io::Result<()> {
        // A directory that is writable but not readable cannot be synced. The system then writes
        // the new name to disk in its own time.
        let sync = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let sync = openat(&self.target.directory, ".", sync, Mode::empty()).map(File::from).ok();
        let Place { directory, name: target } = &self.target;
        if let Some(name) = &self.name {
            if replace {
                renameat(directory, name, directory, target)?;
                self.name = None;
            } else if rename_to_new(directory, name, target)? {
                self.name = None;
            } else {
                linkat(directory, name, directory, target, AtFlags::empty())?;
                let name = self.name.take();
                self.remove(name);
            }
        }
        sync.map_or(Ok(()), |sync| sync.sync_all())
    }

    fn remove(&self, name: Option<OsString>) {
        if let Some(name) = name {
            let _ = unlinkat(&self.target.directory, name, AtFlags::empty());
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let name = self.name.take();
        self.remove(name);
    }
}

/// Creates a file with a new name.
fn new_file(directory: &OwnedFd, mode: u32) -> io::Result<(File, OsString)> {
    let mut name = OsString::new();
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Only the name of the path is used.
    let made = temporary_file().disable_cleanup(true).make_in("/", |path| {
        name = path.file_name().unwrap_or_default().to_owned();
        Ok(File::from(openat(directory, &name, flags, Mode::from_raw_mode(mode as _))?))
    })?;
    Ok((made.into_parts().0, name))
}

/// Renames a file unless the new name exists, in one step. Returns `false` if the system or the
/// file system cannot do that.
#[cfg(target_os = "linux")]
fn rename_to_new(directory: &OwnedFd, old: &OsStr, new: &OsStr) -> io::Result<bool> {
    use rustix::{
        fs::{RenameFlags, renameat_with},
        io::Errno,
    };

    match renameat_with(directory, old, directory, new, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn rename_to_new(_: &OwnedFd, _: &OsStr, _: &OsStr) -> io::Result<bool> {
    Ok(false)
}

/// Returns the permission bits that any new file in the directory gets. The only way to learn them
/// is to create a file without explicit bits; it stays empty and is removed at once.
pub(super) fn usual_mode(place: &Place) -> Result<Option<u32>> {
    Ok(mode_of(&Temporary::with_mode(place.clone(), 0o666)?.file.metadata()?))
}

/// Returns the permission bits of a file, without those that change the user it runs as.
pub(super) fn mode_of(found: &Metadata) -> Option<u32> {
    Some(found.permissions().mode() & PERMISSIONS)
}
