//! Inputs and outputs: files, standard input and standard output, with a progress bar between them.

use std::{
    fs::{File, Metadata},
    io::{self, IsTerminal, Read, Write},
    path::Path,
};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use sealwax::{
    Error,
    io::{Overwrite, PendingFile},
};
use zeroize::Zeroizing;

pub(crate) use crate::text::{STANDARD, is_standard};
use crate::{
    cleanup::{Cleanup, Guarded},
    failure::Failure,
    notes::Notes,
};

/// Files of at most this many bytes are read in one go.
const SMALL: usize = 64 << 10;

/// A source of bytes, and its name.
pub(crate) struct Input {
    pub(crate) name: String,
    /// The metadata of the input, if it is a regular file.
    pub(crate) found: Option<Metadata>,
    reader: Box<dyn Read>,
    /// Another handle of a regular file, for [`Input::check_unchanged`].
    file: Option<File>,
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
            let reader = standard_input()?;
            return Ok(Self { name: "standard input".into(), found: None, reader, file: None, bar, read: 0 });
        }
        let name = path.display().to_string();
        let fail = |error: io::Error| Failure::about(&name, error);
        let file = File::open(path).map_err(fail)?;
        let found = file.metadata().map_err(fail)?;
        if found.is_dir() {
            return Err(Failure::usage(format!("{name}: is a directory; use --recursive to process it")));
        }
        let found = Some(found).filter(Metadata::is_file);
        let again = found.is_some().then(|| file.try_clone()).transpose().map_err(fail)?;
        Ok(Self { name, found, reader: Box::new(file), file: again, bar, read: 0 })
    }

    /// Shows no progress, because the output is on the same terminal.
    pub(crate) fn hide_progress(&mut self) {
        self.bar = ProgressBar::hidden();
    }

    /// Returns how many bytes have been read so far.
    pub(crate) fn count(&self) -> u64 {
        self.read
    }

    /// Fails if a regular file has changed since it was opened: what was read may be a mixture of its
    /// old and new content.
    pub(crate) fn check_unchanged(&self) -> Result<(), Failure> {
        let Some((file, before)) = self.file.as_ref().zip(self.found.as_ref()) else { return Ok(()) };
        let now = file.metadata().map_err(|error| Failure::about(&self.name, error))?;
        if now.len() == before.len() && now.modified().ok() == before.modified().ok() {
            return Ok(());
        }
        Err(changed(&self.name))
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

/// Returns the failure for a file that changed while it was read.
pub(crate) fn changed(name: &str) -> Failure {
    let fix = "try again when nothing writes to it, or pipe it to standard input";
    Failure::other(format!("{name}: the file changed while it was read; {fix}"))
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
    /// Whether the output is a terminal.
    terminal: bool,
    written: u64,
    /// Whether a write has failed.
    failed: bool,
}

enum Sink {
    File(Guarded<PendingFile>),
    /// Standard output, a pipe or a device: what is written is visible at once.
    Stream(Box<dyn Write + Send>),
}

impl Output {
    pub(crate) fn create(path: &Path, force: bool, cleanup: &Cleanup) -> Result<Self, Failure> {
        if is_standard(path) {
            check_open()?;
            let (sink, terminal) = (Sink::Stream(standard_output()?), io::stdout().is_terminal());
            return Ok(Self { name: "standard output".into(), sink, terminal, written: 0, failed: false });
        }
        let name = path.display().to_string();
        if let Some(file) = open_stream(path).map_err(|error| Failure::about(&name, error))? {
            let terminal = file.is_terminal();
            return Ok(Self { name, sink: Sink::Stream(Box::new(file)), terminal, written: 0, failed: false });
        }
        let overwrite = if force { Overwrite::Replace } else { Overwrite::Never };
        let file =
            cleanup.guard(|| PendingFile::create(path, overwrite)).map_err(|error| Failure::about(&name, error))?;
        Ok(Self { name, sink: Sink::File(file), terminal: false, written: 0, failed: false })
    }

    /// Creates an output for a message, which must not be a terminal.
    pub(crate) fn create_for_message(path: &Path, force: bool, cleanup: &Cleanup) -> Result<Self, Failure> {
        let output = Self::create(path, force, cleanup)?;
        if output.terminal {
            return Err(binary_to_terminal());
        }
        Ok(output)
    }

    /// Returns whether the output is a terminal, which may show the progress too.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Returns the failure for an error on the way from the input of this name.
    pub(crate) fn failure(&self, input: &str, error: Error) -> Failure {
        let temporary = std::env::temp_dir();
        // What goes to a stream is kept in a temporary file until it is verified.
        if self.shows_at_once() && !self.failed && matches!(&error, Error::Io(inner) if is_about_files(inner.kind())) {
            let name = temporary.display().to_string();
            return Failure::about(
                &format!("{name}: cannot write a temporary file; set TMPDIR to another directory"),
                error,
            );
        }
        Failure::about(if self.failed { &self.name } else { input }, error)
    }

    /// Returns whether what is written is visible before it is committed.
    pub(crate) fn shows_at_once(&self) -> bool {
        matches!(self.sink, Sink::Stream(_))
    }

    /// Returns the file being written, if the output is one.
    pub(crate) fn file(&self) -> Option<&Guarded<PendingFile>> {
        match &self.sink {
            Sink::File(file) => Some(file),
            Sink::Stream(_) => None,
        }
    }

    /// Makes a file appear under its name, and returns its length in bytes.
    pub(crate) fn commit(self) -> Result<u64, Failure> {
        match self.sink {
            Sink::File(file) => file.finish(PendingFile::commit).map_err(|error| Failure::about(&self.name, error))?,
            Sink::Stream(mut stream) => stream.flush().map_err(|error| Failure::about(&self.name, error))?,
        }
        Ok(self.written)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.sink {
            Sink::File(file) => file.with(|file| file.write(bytes)),
            Sink::Stream(stream) => stream.write(bytes),
        };
        match &written {
            Ok(count) => self.written += *count as u64,
            Err(error) => self.failed |= error.kind() != io::ErrorKind::Interrupted,
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::File(file) => file.with(Write::flush),
            Sink::Stream(stream) => stream.flush(),
        }
    }
}

/// Returns whether an error is one of creating or writing a file, and not of reading one.
fn is_about_files(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};

    matches!(kind, NotADirectory | NotFound | PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
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

/// Opens an existing pipe or character device, such as `/dev/null` or one that the shell makes for a
/// process substitution. Returns `None` for anything else.
#[cfg(unix)]
fn open_stream(path: &Path) -> io::Result<Option<File>> {
    use std::os::unix::fs::FileTypeExt;

    let kind = std::fs::metadata(path).map(|found| found.file_type());
    match kind {
        Ok(kind) if kind.is_fifo() || kind.is_char_device() => File::options().write(true).open(path).map(Some),
        _ => Ok(None),
    }
}

#[cfg(not(unix))]
fn open_stream(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Writes text to standard output, and reports a reader that is gone.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = standard_output()?;
    output.write_all(bytes).and_then(|()| output.flush()).map_err(|error| Failure::about("standard output", error))
}

/// Writes bytes that are no text to standard output, which must be open and not be a terminal.
pub(crate) fn print_binary(bytes: &[u8]) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        return Err(binary_to_terminal());
    }
    print_plaintext(bytes)
}

/// Writes plaintext to standard output, which must be open.
pub(crate) fn print_plaintext(bytes: &[u8]) -> Result<(), Failure> {
    check_open()?;
    print(bytes)
}

fn binary_to_terminal() -> Failure {
    Failure::usage("refusing to write binary data to a terminal; use -o FILE or redirect standard output")
}

/// A sink that compares bytes with those of a file.
pub(crate) struct Comparison {
    existing: File,
    count: u64,
    /// Whether everything so far is in the file.
    equal: bool,
}

impl Comparison {
    pub(crate) fn new(existing: &Path) -> io::Result<Self> {
        Ok(Self { existing: File::open(existing)?, count: 0, equal: true })
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

/// Fails if standard output was closed when the program started. The runtime of the standard library
/// then opens `/dev/null` for it, for reading and writing, and everything that is written is lost. A
/// redirection by a shell opens it for writing only.
#[cfg(unix)]
fn check_open() -> Result<(), Failure> {
    use rustix::fs::{OFlags, fcntl_getfl, fstat, stat};

    let (stdout, null) = (io::stdout(), stat("/dev/null").map(|null| (null.st_dev, null.st_ino)));
    let is_null = null.is_ok() && fstat(&stdout).map(|found| (found.st_dev, found.st_ino)) == null;
    if is_null && fcntl_getfl(&stdout).is_ok_and(|flags| flags.contains(OFlags::RDWR)) {
        let fix = "redirect it to a file, or use sealwax verify to check a message without writing it";
        return Err(Failure::other(format!("standard output: it is closed; {fix}")));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_open() -> Result<(), Failure> {
    Ok(())
}

#[cfg(not(unix))]
fn standard_output() -> Result<Box<dyn Write + Send>, Failure> {
    Ok(Box::new(io::stdout()))
}
