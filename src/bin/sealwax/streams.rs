//! Where bytes come from and where they go: files, standard input and output, with a progress bar between.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::Path,
};

use indicatif::{ProgressBar, ProgressStyle};
use sealwax::io::{Overwrite, PendingFile};

use crate::{arguments::StreamArguments, failure::Failure};

/// The path that stands for standard input or output.
const STANDARD: &str = "-";

/// A source of bytes, and what to call it.
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) length: Option<u64>,
    reader: Box<dyn Read>,
}

impl Input {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new(STANDARD) {
            return Ok(Self { name: "standard input".into(), length: None, reader: standard_input()? });
        }
        let name = path.display().to_string();
        let fail = |error: io::Error| Failure::about(&name, error);
        let file = File::open(path).map_err(fail)?;
        let found = file.metadata().map_err(fail)?;
        if found.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        }
        let length = found.is_file().then_some(found.len());
        Ok(Self { name, length, reader: Box::new(file) })
    }

    /// The bytes, with a progress bar if standard error is a terminal.
    pub(crate) fn with_progress(self) -> impl Read {
        // A bar that is drawn to anything but a terminal hides itself.
        let bar = match self.length {
            Some(length) => ProgressBar::new(length).with_style(style(
                "{wide_bar} {percent:>3}% {bytes:>10} of {total_bytes}, {bytes_per_sec}, {eta} left",
            )),
            None => ProgressBar::no_length().with_style(style("{spinner} {bytes:>10}, {bytes_per_sec}")),
        };
        bar.wrap_read(self.reader)
    }

    /// The bytes alone.
    pub(crate) fn into_reader(self) -> Box<dyn Read> {
        self.reader
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A sink of bytes, and what to call it.
pub(crate) struct Output {
    pub(crate) name: String,
    sink: Sink,
}

enum Sink {
    File(Box<PendingFile>),
    Standard(Box<dyn Write>),
}

impl Output {
    pub(crate) fn create(arguments: &StreamArguments) -> Result<Self, Failure> {
        let path = &arguments.output;
        if path == Path::new(STANDARD) {
            return Ok(Self { name: "standard output".into(), sink: Sink::Standard(standard_output()?) });
        }
        let name = path.display().to_string();
        let overwrite = if arguments.force { Overwrite::Replace } else { Overwrite::Never };
        let file = PendingFile::create(path, overwrite).map_err(|error| Failure::about(&name, error))?;
        Ok(Self { name, sink: Sink::File(Box::new(file)) })
    }

    /// Whether what is written can be seen before it is committed.
    pub(crate) fn shows_at_once(&self) -> bool {
        matches!(self.sink, Sink::Standard(_))
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.sink, Sink::Standard(_)) && io::stdout().is_terminal()
    }

    /// Makes a file appear under its name.
    pub(crate) fn commit(self) -> Result<(), Failure> {
        match self.sink {
            Sink::File(file) => file.commit().map_err(|error| Failure::about(&self.name, error)),
            Sink::Standard(mut stdout) => stdout.flush().map_err(|error| Failure::about(&self.name, error)),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::File(file) => file.write(bytes),
            Sink::Standard(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::File(file) => file.flush(),
            Sink::Standard(stdout) => stdout.flush(),
        }
    }
}

/// Standard input without the buffer that the library has for lines.
#[cfg(unix)]
fn standard_input() -> Result<Box<dyn Read>, Failure> {
    let handle = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned();
    Ok(Box::new(File::from(handle.map_err(|error| Failure::about("standard input", error))?)))
}

#[cfg(not(unix))]
fn standard_input() -> Result<Box<dyn Read>, Failure> {
    Ok(Box::new(io::stdin()))
}

/// Standard output without the buffer that the library has for lines.
#[cfg(unix)]
fn standard_output() -> Result<Box<dyn Write>, Failure> {
    let handle = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned();
    Ok(Box::new(File::from(handle.map_err(|error| Failure::about("standard output", error))?)))
}

#[cfg(not(unix))]
fn standard_output() -> Result<Box<dyn Write>, Failure> {
    Ok(Box::new(io::stdout()))
}
