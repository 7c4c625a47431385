//! `--metadata`: one line of JSON per message.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use crate::failure::Failure;

/// The file that the lines are appended to.
pub(crate) struct Metadata {
    name: String,
    file: Mutex<File>,
}

impl Metadata {
    /// Opens the file, or creates one that only its owner can read, because an encryption context
    /// may be private.
    pub(crate) fn open(path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let name = path.display().to_string();
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| Failure::about(&name, error))?;
        Ok(Some(Self { name, file: Mutex::new(file) }))
    }

    /// Appends a line in a single system call, so that lines from several processes do not mix.
    pub(crate) fn append(&self, line: &impl Serialize) -> Result<(), Failure> {
        let fail = |error: io::Error| {
            let done = "the message is complete, but its line of metadata could not be written";
            Failure::other(format!("{}: {done}: {error}", self.name))
        };
        let mut line = serde_json::to_vec(line).map_err(|error| fail(error.into()))?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).map_err(fail)
    }
}
