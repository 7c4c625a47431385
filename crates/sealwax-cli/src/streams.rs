//! Inputs and outputs: files, standard input and standard output, with a progress bar between them.

use std::{
    fs::{File, Metadata},
    io::{self, IsTerminal, Read, Write},
    path::Path,
};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use sealwax::{
    EncryptionContext, Error,
    io::{Overwrite, PendingFile},
};
use zeroize::Zeroizing;

pub(crate) use crate::text::{STANDARD, is_standard};
use crate::{
    cleanup::{Cleanup, Guarded},
    failure::Failure,
    notes::{Notes, say},
    place::{Found, Place},
    preserve,
    replaced::Replaced,
};

/// Files of at most this many bytes are read in one go.
const SMALL: usize = 64 << 10;

/// A source of bytes, and its name.
pub(crate) struct Input {
    pub(crate) name: String,
    /// The metadata of the input, if it is a regular file.
    pub(crate) found: Option<Metadata>,
    /// The pairs of the encryption context that an object is bound with; `None` for anything else.
    pub(crate) bound: Option<EncryptionContext>,
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

    /// Opens the file that was found in a place, one of many inputs that share a progress bar.
    pub(crate) fn open_found(place: &Place, found: &Found, bar: &ProgressBar) -> Result<Self, Failure> {
        Self::of_file(place.display(), place.open(found)?, bar.clone())
    }

    /// Opens an input without a progress bar.
    pub(crate) fn open_silently(path: &Path) -> Result<Self, Failure> {
        let bar = ProgressBar::hidden();
        if is_standard(path) {
            let reader = standard_input()?;
            return Ok(Self {
                name: "standard input".into(),
                found: None,
                bound: None,
                reader,
                file: None,
                bar,
                read: 0,
            });
        }
        let name = path.display().to_string();
        let fail = |error: io::Error| Failure::about(&name, error);
        Self::of_file(name.clone(), File::open(path).map_err(fail)?, bar)
    }

    fn of_file(name: String, file: File, bar: ProgressBar) -> Result<Self, Failure> {
        let fail = |error: io::Error| Failure::about(&name, error);
        let found = file.metadata().map_err(fail)?;
        if found.is_dir() {
            return Err(Failure::usage(format!("{name}: is a directory; use --recursive to process it")));
        }
        let found = Some(found).filter(Metadata::is_file);
        let again = found.is_some().then(|| file.try_clone()).transpose().map_err(fail)?;
        Ok(Self { name, found, bound: None, reader: Box::new(file), file: again, bar, read: 0 })
    }

    /// Returns an input of the bytes of an object.
    #[cfg(feature = "object-store")]
    pub(crate) fn of_object(
        name: String,
        reader: Box<dyn Read>,
        length: u64,
        bound: EncryptionContext,
        notes: Notes,
    ) -> Self {
        Self { name, found: None, bound: Some(bound), reader, file: None, bar: bar(Some(length), notes), read: 0 }
    }

    /// Shows the progress on a bar that several inputs share.
    #[cfg(feature = "object-store")]
    pub(crate) fn set_progress(&mut self, bar: ProgressBar) {
        self.bar = bar;
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
        if now.len() == before.len() && times(&now) == times(before) {
            return Ok(());
        }
        Err(changed(&self.name))
    }

    /// Fails if a path does not lead to this file any more.
    pub(crate) fn check_still_at(&self, path: &Path) -> Result<(), Failure> {
        #[cfg(unix)]
        if let Some(before) = &self.found {
            use std::os::unix::fs::MetadataExt;

            let now = std::fs::metadata(path).map_err(|error| Failure::about(&self.name, error))?;
            if (now.dev(), now.ino()) != (before.dev(), before.ino()) {
                return Err(changed(&self.name));
            }
        }
        #[cfg(not(unix))]
        let _ = path;
        Ok(())
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

/// Returns the times at which a file changed. The second cannot be put back.
#[cfg(unix)]
fn times(found: &Metadata) -> (Option<std::time::SystemTime>, (i64, i64)) {
    use std::os::unix::fs::MetadataExt;

    (found.modified().ok(), (found.ctime(), found.ctime_nsec()))
}

#[cfg(not(unix))]
fn times(found: &Metadata) -> Option<std::time::SystemTime> {
    found.modified().ok()
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
    /// The pairs of the encryption context that an object is bound with; `None` for anything else.
    pub(crate) bound: Option<EncryptionContext>,
    sink: Sink,
    /// Whether the output is a terminal.
    terminal: bool,
    written: u64,
    /// Whether a write has failed.
    failed: bool,
    /// The file that is replaced, if there is one.
    replaced: Option<Replaced>,
    /// Whether the file has the mode of another one.
    has_own_mode: bool,
}

enum Sink {
    File(Guarded<PendingFile>),
    /// Standard output, a pipe or a device: what is written is visible at once.
    Stream(Box<dyn Write + Send>),
    /// An object, which appears when it is complete.
    #[cfg(feature = "object-store")]
    Object(Guarded<Box<dyn Upload>>),
}

/// Something that appears under its name when it is committed.
#[cfg(feature = "object-store")]
pub(crate) trait Upload: Write + Send {
    fn commit(self: Box<Self>) -> io::Result<()>;
}

/// The result of [`Output::commit`].
pub(crate) struct Committed {
    /// The number of bytes that were written.
    pub(crate) length: u64,
    /// What of the replaced file is not kept, as text.
    pub(crate) warnings: Vec<String>,
}

impl Output {
    /// Creates an output. Only one that the user named may be a pipe or a device: a default name
    /// must not lead to a reader that someone else put there.
    pub(crate) fn create(path: &Path, named: bool, force: bool, cleanup: &Cleanup) -> Result<Self, Failure> {
        if is_standard(path) {
            warn_if_discarded();
            let (sink, terminal) = (Sink::Stream(standard_output()?), io::stdout().is_terminal());
            return Ok(Self { terminal, ..Self::new("standard output".into(), sink) });
        }
        let name = path.display().to_string();
        let stream = if named { open_stream(path) } else { Ok(None) };
        if let Some(file) = stream.map_err(|error| Failure::about(&name, error))? {
            let terminal = file.is_terminal();
            return Ok(Self { terminal, ..Self::new(name, Sink::Stream(Box::new(file))) });
        }
        let (overwrite, replaced) = match force {
            true => (Overwrite::Replace, Replaced::at(path)),
            false => (Overwrite::Never, None),
        };
        let file = cleanup.guard(|| PendingFile::create(path, overwrite));
        let file = file.map_err(|error| Failure::about(&name, error))?;
        Ok(Self { replaced, ..Self::new(name, Sink::File(file)) })
    }

    /// Creates a file in a place, whatever path leads there at the end.
    pub(crate) fn create_in(place: &Place, overwrite: Overwrite, cleanup: &Cleanup) -> Result<Self, Failure> {
        let name = place.display();
        let replaced = if overwrite == Overwrite::Replace { Replaced::in_place(place) } else { None };
        let file = cleanup.guard(|| place.create(overwrite)).map_err(|error| Failure::about(&name, error))?;
        Ok(Self { replaced, ..Self::new(name, Sink::File(file)) })
    }

    fn new(name: String, sink: Sink) -> Self {
        Self {
            name,
            bound: None,
            sink,
            terminal: false,
            written: 0,
            failed: false,
            replaced: None,
            has_own_mode: false,
        }
    }

    /// Returns an output into an object.
    #[cfg(feature = "object-store")]
    pub(crate) fn of_object(name: String, upload: Guarded<Box<dyn Upload>>, bound: EncryptionContext) -> Self {
        Self { bound: Some(bound), ..Self::new(name, Sink::Object(upload)) }
    }

    /// Gives a file this time of change.
    #[cfg(feature = "object-store")]
    pub(crate) fn set_modified(&self, time: std::time::SystemTime) {
        if let Sink::File(file) = &self.sink {
            file.with(|file| file.set_modified(time));
        }
    }

    /// Creates an output for a message, which must not be a terminal.
    pub(crate) fn create_for_message(
        path: &Path,
        named: bool,
        force: bool,
        cleanup: &Cleanup,
    ) -> Result<Self, Failure> {
        let output = Self::create(path, named, force, cleanup)?;
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

    /// Returns whether the output is a file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.sink, Sink::File(_))
    }

    /// Gives a file the mode and modification time in the context of its message, which must be
    /// verified.
    pub(crate) fn restore(&mut self, context: &EncryptionContext) -> Result<(), Failure> {
        let Sink::File(file) = &self.sink else { return Ok(()) };
        self.has_own_mode = file.with(|file| preserve::restore(context, file))?;
        Ok(())
    }

    /// Makes a file appear under its name, with the owner and the attributes of a file that it
    /// replaces.
    pub(crate) fn commit(self) -> Result<Committed, Failure> {
        let Self { name, replaced, has_own_mode, written, .. } = self;
        let warnings = match self.sink {
            Sink::File(file) => file.finish(|mut file| {
                let warnings = replaced.map(|replaced| replaced.give_to(&mut file, has_own_mode));
                file.commit().map(|()| warnings.unwrap_or_default())
            }),
            #[cfg(feature = "object-store")]
            Sink::Object(object) => object.finish(Upload::commit).map(|()| Vec::new()).map_err(Error::from),
            Sink::Stream(mut stream) => stream.flush().map(|()| Vec::new()).map_err(Error::from),
        };
        let warnings = warnings.map_err(|error| Failure::about(&name, error))?;
        Ok(Committed { length: written, warnings })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.sink {
            Sink::File(file) => file.with(|file| file.write(bytes)),
            #[cfg(feature = "object-store")]
            Sink::Object(object) => object.with(|object| object.write(bytes)),
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
            #[cfg(feature = "object-store")]
            Sink::Object(object) => object.with(Write::flush),
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
///
/// # Errors
/// If another user put the pipe into a directory in which every user may create files.
#[cfg(unix)]
fn open_stream(path: &Path) -> io::Result<Option<File>> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    let is_stream = |found: &Metadata| found.file_type().is_fifo() || found.file_type().is_char_device();
    if !std::fs::metadata(path).is_ok_and(|found| is_stream(&found)) {
        return Ok(None);
    }
    let file = File::options().write(true).open(path)?;
    let found = file.metadata()?;
    if !is_stream(&found) {
        return Err(io::Error::other("the file was replaced while it was opened"));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_shared = std::fs::metadata(parent).is_ok_and(|parent| parent.mode() & 0o1002 == 0o1002);
    let is_own = [rustix::process::geteuid().as_raw(), 0].contains(&found.uid());
    if found.file_type().is_fifo() && is_shared && !is_own {
        return Err(io::Error::other("the pipe belongs to another user; remove it or choose another name"));
    }
    Ok(Some(file))
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

/// Writes bytes that are no text to standard output, which must not be a terminal.
pub(crate) fn print_binary(bytes: &[u8]) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        return Err(binary_to_terminal());
    }
    print_plaintext(bytes)
}

/// Writes plaintext to standard output.
pub(crate) fn print_plaintext(bytes: &[u8]) -> Result<(), Failure> {
    warn_if_discarded();
    print(bytes)
}

fn binary_to_terminal() -> Failure {
    Failure::usage("refusing to write binary data to a terminal; use -o FILE or redirect standard output")
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

/// Prints a warning if standard output was probably closed when the program started. The runtime of
/// the standard library then opens `/dev/null` for it, for reading and writing, and everything that
/// is written is lost. This is no error, because a program that starts this one can discard its
/// output in the same way, and nothing distinguishes the two. A redirection by a shell opens it for
/// writing only.
#[cfg(unix)]
fn warn_if_discarded() {
    use rustix::fs::{OFlags, fcntl_getfl, fstat, stat};

    let (stdout, null) = (io::stdout(), stat("/dev/null").map(|null| (null.st_dev, null.st_ino)));
    let is_null = null.is_ok() && fstat(&stdout).map(|found| (found.st_dev, found.st_ino)) == null;
    if is_null && fcntl_getfl(&stdout).is_ok_and(|flags| flags.contains(OFlags::RDWR)) {
        say("sealwax: warning: standard output is closed, or is /dev/null: everything written to it is lost");
    }
}

#[cfg(not(unix))]
fn warn_if_discarded() {}

#[cfg(not(unix))]
fn standard_output() -> Result<Box<dyn Write + Send>, Failure> {
    Ok(Box::new(io::stdout()))
}
