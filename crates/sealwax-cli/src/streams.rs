//! Inputs and outputs: files, standard input and standard output, with a progress bar between them.

use std::{
    fs::{File, Metadata},
    io::{self, IsTerminal, Read, Write},
    path::Path,
};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use sealwax::io::{Overwrite, PendingFile};
use zeroize::Zeroizing;

use crate::{failure::Failure, notes::Notes};

/// The path that stands for standard input or output.
const STANDARD: &str = "-";

/// Files of at most this many bytes are read in one go.
const SMALL: usize = 64 << 10;

/// Returns whether a path stands for standard input or output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path == Path::new(STANDARD)
}

/// A source of bytes, and its name.
pub(crate) struct Input {
    pub(crate) name: String,
    /// The metadata of the input, if it is a regular file.
    pub(crate) found: Option<Metadata>,
    reader: Box<dyn Read>,
    bar: ProgressBar,
    read: u64,
}

impl Input {
    /// Opens an input with its own progress bar, which is shown on a terminal only.
    pub(crate) fn open(path: &Path, notes: Notes) -> Result<Self, Failure> {
        let mut input = Self::open_silently(path)?;
        input.bar = bar(input.found.as_ref().map(Metadata::len), notes);
        Ok(input)
    }

    /// Opens one of many inputs, which share a progress bar.
    pub(crate) fn open_one_of_many(path: &Path, bar: &ProgressBar) -> Result<Self, Failure> {
        Ok(Self { bar: bar.clone(), ..Self::open_silently(path)? })
    }

    /// Opens an input without a progress bar.
    pub(crate) fn open_silently(path: &Path) -> Result<Self, Failure> {
        let bar = ProgressBar::hidden();
        if is_standard(path) {
            return Ok(Self { name: "standard input".into(), found: None, reader: standard_input()?, bar, read: 0 });
        }
        let name = path.display().to_string();
        let fail = |error: io::Error| Failure::about(&name, error);
        let file = File::open(path).map_err(fail)?;
        let found = file.metadata().map_err(fail)?;
        if found.is_dir() {
            return Err(Failure::usage(format!("{name}: is a directory; use --recursive to process it")));
        }
        let found = Some(found).filter(Metadata::is_file);
        Ok(Self { name, found, reader: Box::new(file), bar, read: 0 })
    }

    /// Returns how many bytes have been read so far.
    pub(crate) fn count(&self) -> u64 {
        self.read
    }

    /// Reads the whole of a small regular file, or the beginning of anything that may be longer.
    pub(crate) fn read_ahead(&mut self) -> io::Result<Ahead> {
        let Some(found) = &self.found else { return Ok(Ahead::Begun(Zeroizing::default())) };
        if found.len() > SMALL as u64 {
            return Ok(Ahead::Begun(Zeroizing::default()));
        }
        // Reserve room for everything that is read: a reallocation would leave a copy of it behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(SMALL + 1));
        self.by_ref().take(SMALL as u64 + 1).read_to_end(&mut bytes)?;
        Ok(if bytes.len() > SMALL { Ahead::Begun(bytes) } else { Ahead::Whole(bytes) })
    }
}

/// The result of [`Input::read_ahead`].
pub(crate) enum Ahead {
    Whole(Zeroizing<Vec<u8>>),
    Begun(Zeroizing<Vec<u8>>),
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read += count as u64;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

/// Returns a bar for this many bytes, which is shown on a terminal only.
pub(crate) fn bar(length: Option<u64>, notes: Notes) -> ProgressBar {
    if !notes.shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = match length {
        Some(length) => ProgressBar::new(length)
            .with_style(style("{wide_bar} {percent:>3}% {bytes:>10} of {total_bytes}, {bytes_per_sec}, {eta} left")),
        None => ProgressBar::no_length().with_style(style("{spinner} {bytes:>10}, {bytes_per_sec}")),
    };
    // The bar is cleared when the input is dropped, before the outcome is printed.
    bar.with_finish(ProgressFinish::AndClear)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A sink of bytes, and its name.
pub(crate) struct Output {
    pub(crate) name: String,
    sink: Sink,
    written: u64,
    /// Whether a write has failed.
    failed: bool,
}

enum Sink {
    File(Box<PendingFile>),
    Standard(Box<dyn Write + Send>),
}

impl Output {
    pub(crate) fn create(path: &Path, force: bool) -> Result<Self, Failure> {
        if is_standard(path) {
            let sink = Sink::Standard(standard_output()?);
            return Ok(Self { name: "standard output".into(), sink, written: 0, failed: false });
        }
        let name = path.display().to_string();
        let overwrite = if force { Overwrite::Replace } else { Overwrite::Never };
        let file = PendingFile::create(path, overwrite).map_err(|error| Failure::about(&name, error))?;
        Ok(Self { name, sink: Sink::File(Box::new(file)), written: 0, failed: false })
    }

    /// Creates an output for a message, which must not be a terminal.
    pub(crate) fn create_for_message(path: &Path, force: bool) -> Result<Self, Failure> {
        let output = Self::create(path, force)?;
        if matches!(output.sink, Sink::Standard(_)) && io::stdout().is_terminal() {
            return Err(Failure::usage(
                "refusing to write binary data to a terminal; use -o FILE or redirect standard output",
            ));
        }
        Ok(output)
    }

    /// Returns the name to report for a failure on the way from the input of this name.
    pub(crate) fn blame<'a>(&'a self, input: &'a str) -> &'a str {
        if self.failed { &self.name } else { input }
    }

    /// Returns whether what is written is visible before it is committed.
    pub(crate) fn shows_at_once(&self) -> bool {
        matches!(self.sink, Sink::Standard(_))
    }

    /// Returns the file being written, if the output is one.
    pub(crate) fn file(&mut self) -> Option<&mut PendingFile> {
        match &mut self.sink {
            Sink::File(file) => Some(file),
            Sink::Standard(_) => None,
        }
    }

    /// Makes a file appear under its name, and returns its length in bytes.
    pub(crate) fn commit(self) -> Result<u64, Failure> {
        match self.sink {
            Sink::File(file) => file.commit().map_err(|error| Failure::about(&self.name, error))?,
            Sink::Standard(mut stdout) => stdout.flush().map_err(|error| Failure::about(&self.name, error))?,
        }
        Ok(self.written)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.sink {
            Sink::File(file) => file.write(bytes),
            Sink::Standard(stdout) => stdout.write(bytes),
        };
        match &written {
            Ok(count) => self.written += *count as u64,
            Err(error) => self.failed |= error.kind() != io::ErrorKind::Interrupted,
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::File(file) => file.flush(),
            Sink::Standard(stdout) => stdout.flush(),
        }
    }
}

/// A sink that discards bytes and counts them.
#[derive(Default)]
pub(crate) struct Nowhere {
    pub(crate) count: u64,
}

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns standard input without the standard library's buffer.
#[cfg(unix)]
fn standard_input() -> Result<Box<dyn Read>, Failure> {
    let handle = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned();
    Ok(Box::new(File::from(handle.map_err(|error| Failure::about("standard input", error))?)))
}

#[cfg(not(unix))]
fn standard_input() -> Result<Box<dyn Read>, Failure> {
    Ok(Box::new(io::stdin()))
}

/// Returns standard output without the standard library's line buffer.
#[cfg(unix)]
fn standard_output() -> Result<Box<dyn Write + Send>, Failure> {
    let handle = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned();
    Ok(Box::new(File::from(handle.map_err(|error| Failure::about("standard output", error))?)))
}

#[cfg(not(unix))]
fn standard_output() -> Result<Box<dyn Write + Send>, Failure> {
    Ok(Box::new(io::stdout()))
}
