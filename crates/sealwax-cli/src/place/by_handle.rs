//! Directories as handles.

use std::{
    ffi::OsStr,
    fs::{File, TryLockError},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, mkdirat, open, openat, statat, unlinkat};
use sealwax::io::{Overwrite, PendingFile};

use super::{Found, Kind};

/// The device and inode of a file.
pub(super) type Identity = (u64, u64);

/// A handle for the entries of a directory needs no right to read it, where the system has such
/// handles.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ENTRIES: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ENTRIES: OFlags = OFlags::RDONLY;

pub(super) struct Handle(OwnedFd);

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, ENTRIES | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    pub(super) fn child(&self, name: &OsStr) -> io::Result<Self> {
        let flags = ENTRIES | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    pub(super) fn create_child(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        Ok(mkdirat(&self.0, name, Mode::from_raw_mode(mode as _))?)
    }

    #[allow(clippy::useless_conversion, reason = "modes have 16 bits on some systems")]
    pub(super) fn mode(&self) -> io::Result<u32> {
        Ok(Mode::from_raw_mode(fstat(&self.0)?.st_mode).bits().into())
    }

    pub(super) fn look(&self, name: &OsStr) -> io::Result<Found> {
        Ok(of(&statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Opens a file for reading. A pipe is opened without waiting for a writer.
    pub(super) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(openat(&self.0, name, flags, Mode::empty())?.into())
    }

    pub(super) fn is_same(&self, file: &File, found: &Found) -> bool {
        file.metadata().is_ok_and(|now| now.is_file() && (now.dev(), now.ino()) == found.identity)
    }

    pub(super) fn remove_unlocked(&self, name: &OsStr) -> io::Result<Option<u64>> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |mode| openat(&self.0, name, flags | mode, Mode::empty());
        // Some file systems lock only files that are open for writing, which not every file
        // permits.
        let file = File::from(open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY))?);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if !self.is_same(&file, &self.look(name)?) {
            return Err(io::ErrorKind::NotFound.into());
        }
        unlinkat(&self.0, name, AtFlags::empty())?;
        file.metadata().map(|found| Some(found.len()))
    }

    pub(super) fn create_file(&self, name: &OsStr, overwrite: Overwrite) -> Result<PendingFile, sealwax::Error> {
        PendingFile::create_in(&self.0, name, overwrite)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

// The types of the fields differ between systems.
#[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap, reason = "the types differ between systems")]
fn of(stat: &Stat) -> Found {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    let seconds = stat.st_mtime as i64;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second =
        if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(whole) } else { SystemTime::UNIX_EPOCH.checked_add(whole) };
    let modified = second.and_then(|second| second.checked_add(Duration::from_nanos(stat.st_mtime_nsec as u64)));
    let (device, inode) = (stat.st_dev as u64, stat.st_ino as u64);
    Found { kind, length: stat.st_size as u64, modified, identity: (device, inode) }
}
