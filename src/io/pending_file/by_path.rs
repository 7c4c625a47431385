//! Temporary files that are created and renamed by their path.

use std::{
    fs::{File, Metadata},
    io,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::temporary_file;
use crate::error::{Error, Result};

/// The path of a file.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn of(target: &Path) -> Result<Self> {
        Ok(Self(target.to_owned()))
    }

    fn folder(&self) -> &Path {
        match self.0.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

/// A temporary file, which is removed unless it gets its final name.
pub(super) struct Temporary {
    file: NamedTempFile,
    target: PathBuf,
}

impl Temporary {
    pub(super) fn create(place: Place) -> Result<Self> {
        let file = temporary_file().tempfile_in(place.folder()).map_err(plain_error)?;
        Ok(Self { file, target: place.0 })
    }

    pub(super) fn as_file(&self) -> &File {
        self.file.as_file()
    }

    /// Renames the file to its final name.
    pub(super) fn persist(self, replace: bool) -> io::Result<()> {
        let Self { file, target } = self;
        let done = if replace { file.persist(target) } else { file.persist_noclobber(target) };
        done.map(drop).map_err(|error| error.error)
    }
}

/// Returns `None`: there are no permission bits.
pub(super) fn usual_mode(_: &Place) -> Result<Option<u32>> {
    Ok(None)
}

/// Returns `None`: there are no permission bits.
pub(super) fn mode_of(_: &Metadata) -> Option<u32> {
    None
}

/// Returns the error of the system without the temporary name, which means nothing to users.
fn plain_error(error: io::Error) -> Error {
    let inner = error.get_ref().and_then(std::error::Error::source).and_then(<dyn std::error::Error>::downcast_ref);
    match inner.and_then(io::Error::raw_os_error) {
        Some(code) => Error::Io(io::Error::from_raw_os_error(code).into()),
        None => Error::Io(error.into()),
    }
}
