//! Where bytes come from and where they go: files, standard input and output, with a progress bar between.

use std::{
    fs::{File, Metadata},
    io::{self, IsTerminal, Read, Write},
    path::Path,
};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use sealwax::io::{Overwrite, PendingFile};
use zeroize::Zeroizing;

use crate::{failure::Failure, notes};

/// The path that stands for standard input or output.
const STANDARD: &str = "-";

/// Files of so many bytes are read in one go.
const SMALL: usize = 64 << 10;

/// Whether a path stands for standard input or output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path == Path::new(STANDARD)
}

/// A source of bytes, and what to call it.
pub(crate) struct Input {
    pub(crate) name: String,
    /// What the system knows of it, if it is a regular file.
    pub(crate) found: Option<Metadata>,
    reader: Box<dyn Read>,
    bar: ProgressBar,
    read: u64,
}

impl Input {
    /// With a progress bar of its own, if somebody watches.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let mut input = Self::open_silently(path)?;
        input.bar = bar(input.found.as_ref().map(Metadata::len));
        Ok(input)
    }

    /// As one of many, with the progress bar of them all.
    pub(crate) fn open_one_of_many(path: &Path, bar: &ProgressBar) -> Result<Self, Failure> {
        Ok(Self { bar: bar.clone(), ..Self::open_silently(path)? })
    }

    /// Without a progress bar.
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
            let how = "encrypt, decrypt and verify take one with --recursive";
            return Err(Failure::other(format!("{name}: this is a folder ({how})")));
        }
        let found = Some(found).filter(Metadata::is_file);
        Ok(Self { name, found, reader: Box::new(file), bar, read: 0 })
    }

    /// How many bytes were read so far.
    pub(crate) fn count(&self) -> u64 {
        self.read
    }

    /// The whole of a small regular file, or the beginning of what may be longer.
    pub(crate) fn read_ahead(&mut self) -> io::Result<Ahead> {
        let Some(found) = &self.found else { return Ok(Ahead::Begun(Zeroizing::default())) };
        if found.len() > SMALL as u64 {
            return Ok(Ahead::Begun(Zeroizing::default()));
        }
        // Room for all that is read, so that no copy of it stays behind when it grows.
        let mut bytes = Zeroizing::new(Vec::with_capacity(SMALL + 1));
        self.by_ref().take(SMALL as u64 + 1).read_to_end(&mut bytes)?;
        Ok(if bytes.len() > SMALL { Ahead::Begun(bytes) } else { Ahead::Whole(bytes) })
    }
}

/// What [`Input::read_ahead`] has read.
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

/// A bar for so many bytes, which shows itself only if somebody watches.
pub(crate) fn bar(length: Option<u64>) -> ProgressBar {
    if !notes::shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = match length {
        Some(length) => ProgressBar::new(length)
            .with_style(style("{wide_bar} {percent:>3}% {bytes:>10} of {total_bytes}, {bytes_per_sec}, {eta} left")),
        None => ProgressBar::no_length().with_style(style("{spinner} {bytes:>10}, {bytes_per_sec}")),
    };
    // It goes with the input, before what is said of the outcome.
    bar.with_finish(ProgressFinish::AndClear)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A sink of bytes, and what to call it.
pub(crate) struct Output {
    pub(crate) name: String,
    sink: Sink,
    written: u64,
    /// Whether writing to it has failed.
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

    /// Where a message goes, which is nothing for a terminal.
    pub(crate) fn create_for_message(path: &Path, force: bool) -> Result<Self, Failure> {
        let output = Self::create(path, force)?;
        if matches!(output.sink, Sink::Standard(_)) && io::stdout().is_terminal() {
            return Err(Failure::usage("a message is no text for a terminal: say -o OUT, or redirect the output"));
        }
        Ok(output)
    }

    /// What a failure is about that came up on the way from an input of this name.
    pub(crate) fn blame<'a>(&'a self, input: &'a str) -> &'a str {
        if self.failed { &self.name } else { input }
    }

    /// Whether what is written can be seen before it is committed.
    pub(crate) fn shows_at_once(&self) -> bool {
        matches!(self.sink, Sink::Standard(_))
    }

    /// The file that is being written, if it is one.
    pub(crate) fn file(&mut self) -> Option<&mut PendingFile> {
        match &mut self.sink {
            Sink::File(file) => Some(file),
            Sink::Standard(_) => None,
        }
    }

    /// Makes a file appear under its name; how many bytes it has.
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

/// Bytes that go nowhere, and their number.
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
fn standard_output() -> Result<Box<dyn Write + Send>, Failure> {
    let handle = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned();
    Ok(Box::new(File::from(handle.map_err(|error| Failure::about("standard output", error))?)))
}

#[cfg(not(unix))]
fn standard_output() -> Result<Box<dyn Write + Send>, Failure> {
    Ok(Box::new(io::stdout()))
}
