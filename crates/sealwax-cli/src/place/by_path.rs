//! Directories as paths, on systems without handles for them.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use sealwax::io::{Overwrite, PendingFile};

use super::{Found, Kind};

/// Files have no identity here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity;

pub(super) struct Handle(PathBuf);

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if fs::metadata(path)?.is_dir() { Ok(Self(path.to_owned())) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    pub(super) fn child(&self, name: &OsStr) -> io::Result<Self> {
        match self.look(name)?.kind {
            Kind::Directory => Ok(Self(self.0.join(name))),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn create_child(&self, name: &OsStr, _: u32) -> io::Result<()> {
        fs::create_dir(self.0.join(name))
    }

    pub(super) fn mode(&self) -> io::Result<u32> {
        Ok(0)
    }

    pub(super) fn look(&self, name: &OsStr) -> io::Result<Found> {
        let found = fs::symlink_metadata(self.0.join(name))?;
        let kind = match found.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        Ok(Found { kind, length: found.len(), modified: found.modified().ok(), identity: Identity })
    }

    pub(super) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        File::open(self.0.join(name))
    }

    pub(super) fn is_same(&self, file: &File, _: &Found) -> bool {
        file.metadata().is_ok_and(|now| now.is_file())
    }

    /// Files that are written are not locked here, so that nothing shows which are abandoned.
    pub(super) fn remove_unlocked(&self, _: &OsStr) -> io::Result<Option<u64>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn create_file(&self, name: &OsStr, overwrite: Overwrite) -> Result<PendingFile, sealwax::Error> {
        PendingFile::create(self.0.join(name), overwrite)
    }
}
