//! Names in open directories.
//!
//! On Unix, a directory is opened once, and its entries are then looked at, opened and created in
//! it, without following links: if the path of the directory is made to lead elsewhere, nothing is
//! read or written there. On other systems a directory is its path, and a link that appears between
//! a check and the use of a path is followed.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use sealwax::io::{Overwrite, PendingFile};

use crate::failure::Failure;

#[cfg(unix)]
mod by_handle;
#[cfg(not(unix))]
mod by_path;

#[cfg(unix)]
use by_handle::{Handle, Identity};
#[cfg(not(unix))]
use by_path::{Handle, Identity};

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    Other,
}

/// What is known of an entry. Of a link, this is about the link.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) length: u64,
    pub(crate) modified: Option<SystemTime>,
    identity: Identity,
}

/// An open directory.
pub(crate) struct OpenDirectory {
    handle: Handle,
    path: PathBuf,
}

impl OpenDirectory {
    /// Opens a directory that the user named. Links in its path are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { handle: Handle::open(path)?, path: path.to_owned() }))
    }

    /// Opens a directory in this one. Fails if a link or a file has its name.
    pub(crate) fn child(&self, name: &OsStr) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { handle: self.handle.child(name)?, path: self.path.join(name) }))
    }

    /// Opens a directory in this one, and creates it first if it does not exist, with the
    /// permissions of another one.
    pub(crate) fn child_like(&self, name: &OsStr, other: &Self) -> io::Result<Arc<Self>> {
        match self.child(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The owner must be able to write into the directory.
                let mode = other.handle.mode()? & 0o777 | 0o700;
                match self.handle.create_child(name, mode) {
                    // Another process created it first.
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
                self.child(name)
            }
            outcome => outcome,
        }
    }

    /// Opens the directory with this path below this one. Fails if a link is on the way.
    pub(crate) fn below(self: &Arc<Self>, path: &Path) -> io::Result<Arc<Self>> {
        path.iter().try_fold(Arc::clone(self), |directory, name| directory.child(name))
    }

    /// Returns the path that the directory was opened by, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A name in an open directory.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) directory: Arc<OpenDirectory>,
    pub(crate) name: OsString,
}

impl Place {
    /// Returns the path of the place, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path.join(&self.name)
    }

    pub(crate) fn display(&self) -> String {
        self.path().display().to_string()
    }

    /// Returns what exists in this place. A link is not followed.
    pub(crate) fn look(&self) -> io::Result<Found> {
        self.directory.handle.look(&self.name)
    }

    /// Opens the regular file that was found in this place. Fails if anything else is there now,
    /// and never waits for a pipe.
    pub(crate) fn open(&self, found: &Found) -> Result<File, Failure> {
        match self.directory.handle.open_file(&self.name) {
            Ok(file) if self.directory.handle.is_same(&file, found) => Ok(file),
            Ok(_) => Err(self.replaced()),
            // What is there now, such as a link, cannot be opened.
            Err(_) if !self.look().is_ok_and(|now| now.kind == Kind::File) => Err(self.replaced()),
            Err(error) => Err(Failure::about(&self.display(), error)),
        }
    }

    /// Fails if the file that was found in this place is not there any more.
    pub(crate) fn check_same(&self, found: &Found) -> Result<(), Failure> {
        match self.look() {
            Ok(now) if now.kind == found.kind && now.identity == found.identity => Ok(()),
            _ => Err(self.replaced()),
        }
    }

    fn replaced(&self) -> Failure {
        let fix = "try again when nothing changes the directory";
        Failure::other(format!("{}: the file was removed or replaced during the run; {fix}", self.display()))
    }

    /// Creates a file that gets this place when it is committed.
    pub(crate) fn create(&self, overwrite: Overwrite) -> Result<PendingFile, sealwax::Error> {
        self.directory.handle.create_file(&self.name, overwrite)
    }

    /// Removes a file that no process has locked, and returns its length; `None` if it is locked.
    pub(crate) fn remove_unlocked(&self) -> io::Result<Option<u64>> {
        self.directory.handle.remove_unlocked(&self.name)
    }

    #[cfg(unix)]
    pub(crate) fn handle(&self) -> std::os::fd::BorrowedFd<'_> {
        self.directory.handle.as_fd()
    }
}
