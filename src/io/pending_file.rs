//! Files that appear whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
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
}

impl PendingFile {
    /// Starts a file. Its permissions are those of the file it replaces, or those of any new file.
    ///
    /// # Errors
    /// [`Error::Io`]: of kind `AlreadyExists` if the target exists and may not be replaced, of kind `InvalidInput` if the
    /// target is not a regular file, of others if the file cannot be created.
    pub fn create(target: impl AsRef<Path>, overwrite: Overwrite) -> Result<Self> {
        let mut target = target.as_ref().to_owned();
        let mut permissions = None;
        match fs::metadata(&target) {
            Ok(found) if !found.is_file() => {
                let why = "the target is not a regular file";
                return Err(Error::Io(io::Error::new(io::ErrorKind::InvalidInput, why)));
            }
            Ok(_) if overwrite == Overwrite::Never => return Err(already_exists()),
            Ok(found) => {
                // What a link points to is replaced, not the link.
                target = fs::canonicalize(&target)?;
                permissions = Some(found.permissions());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if overwrite == Overwrite::Never && target.is_symlink() {
                    return Err(already_exists());
                }
            }
            Err(error) => return Err(error.into()),
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".sealwax-").suffix(".partial");
        let file =
            builder.permissions(permissions.unwrap_or_else(usual_permissions)).tempfile_in(folder_of(&target))?;
        Ok(Self { file, target, overwrite })
    }

    /// Brings the file to the disk and gives it its name.
    ///
    /// # Errors
    /// [`Error::Io`]; the file is then removed and the target as it was.
    pub fn commit(self) -> Result<()> {
        let Self { file, target, overwrite } = self;
        file.as_file().sync_all()?;
        match overwrite {
            Overwrite::Never => file.persist_noclobber(&target),
            Overwrite::Replace => file.persist(&target),
        }
        .map_err(|error| error.error)?;
        sync_folder(folder_of(&target))
    }
}

fn already_exists() -> Error {
    Error::Io(io::ErrorKind::AlreadyExists.into())
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The permissions of a new file, from which the system takes what the user's mask withholds.
#[cfg(unix)]
fn usual_permissions() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

#[cfg(not(unix))]
fn usual_permissions() -> fs::Permissions {
    fs::metadata(".").map(|found| found.permissions()).unwrap_or_else(|_| unreachable!("the working folder exists"))
}

/// Brings the new name to the disk, where folders can be synced.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> Result<()> {
    Ok(File::open(folder)?.sync_all()?)
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<()> {
    Ok(())
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
