//! `--metadata`: one line of JSON per message.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use crate::{failure::Failure, json, text::is_standard};

/// The file that the lines are appended to.
pub(crate) struct Metadata {
    name: String,
    file: Mutex<Box<dyn Write + Send>>,
}

/// Fails if the file that an option names is one of the inputs or outputs.
pub(crate) fn check_apart<'a>(
    option: &str,
    file: Option<&Path>,
    files: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    match files.into_iter().find(|other| is_same(file, other)) {
        Some(other) => {
            let name = other.display();
            Err(Failure::usage(format!("{name}: {option} names an input or output; choose another file")))
        }
        None => Ok(()),
    }
}

/// Fails if the file that an option names is in this directory, whose files are inputs or outputs,
/// or those of a key store.
pub(crate) fn check_outside(option: &str, file: Option<&Path>, directory: &Path) -> Result<(), Failure> {
    let Some(file) = file.filter(|file| !is_standard(file)) else { return Ok(()) };
    if !resolve(file).starts_with(resolve(directory)) {
        return Ok(());
    }
    let (name, directory) = (file.display(), directory.display());
    Err(Failure::usage(format!("{name}: {option} names a file in {directory}; choose one outside of it")))
}

fn is_same(one: &Path, other: &Path) -> bool {
    if is_standard(one) || is_standard(other) {
        return is_standard(one) && is_standard(other);
    }
    #[cfg(unix)]
    if let (Ok(one), Ok(other)) = (fs::metadata(one), fs::metadata(other)) {
        use std::os::unix::fs::MetadataExt;

        return one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino());
    }
    resolve(one) == resolve(other)
}

/// Returns a path without links, as far as it exists.
fn resolve(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    fs::canonicalize(&path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolve(parent).join(name),
        _ => path,
    })
}

impl Metadata {
    /// Opens the file, or creates one that only its owner can read, because an encryption context
    /// may be private.
    pub(crate) fn open(path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        if is_standard(path) {
            return Ok(Some(Self { name: "standard output".into(), file: Mutex::new(Box::new(io::stdout())) }));
        }
        let name = path.display().to_string();
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| Failure::about(&name, error))?;
        Ok(Some(Self { name, file: Mutex::new(Box::new(file)) }))
    }

    /// Appends a line in a single system call, so that lines from several processes do not mix.
    pub(crate) fn append(&self, line: &impl Serialize) -> Result<(), Failure> {
        let fail = |error: io::Error| {
            let done = "the message is complete, but its line of metadata could not be written";
            Failure::other(format!("{}: {done}: {error}", self.name))
        };
        let line = json::line(line).map_err(fail)?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes()).map_err(fail)
    }
}
