//! Outputs that exist, which are compared and not written.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use zeroize::Zeroizing;

use crate::{failure::Failure, text::is_standard};

/// Opens an output that `--check` looks for, and returns it with its name.
pub(crate) fn open_existing(path: &Path) -> Result<(File, String), Failure> {
    if is_standard(path) {
        return Err(Failure::usage("--check needs an output file; use -o FILE"));
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => Ok((file, name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::to_do(format!("{name}: does not exist"))),
        Err(error) => Err(Failure::about(&name, error)),
    }
}

/// A sink that compares bytes with those of a file.
pub(crate) struct Comparison {
    existing: File,
    count: u64,
    /// Whether everything so far is in the file.
    equal: bool,
}

impl Comparison {
    pub(crate) fn new(existing: File) -> Self {
        Self { existing, count: 0, equal: true }
    }

    /// Returns how many bytes were written.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Returns whether the file consists of what was written, and nothing more.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        Ok(self.equal && self.existing.read(&mut [0])? == 0)
    }
}

impl Write for Comparison {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.equal {
            let mut existing = Zeroizing::new(Vec::with_capacity(bytes.len()));
            Read::by_ref(&mut self.existing).take(bytes.len() as u64).read_to_end(&mut existing)?;
            self.equal = **existing == *bytes;
        }
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
