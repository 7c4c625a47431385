//! The files of a directory tree, and where their outputs go: the same tree below another
//! directory.
//!
//! The output path follows from where the input was found, never from the content of a message. Links
//! are not followed, neither below the input directory nor below the output directory.

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, Metadata},
    io,
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

use walkdir::{DirEntry, WalkDir};

use super::{Directory, Task};
use crate::failure::Failure;

/// An entry of the walk.
pub(super) enum Met {
    File(Job),
    /// An entry that is not processed, and the reason.
    Skipped(PathBuf, Cow<'static, str>),
    /// The directory of a key store that encrypts the files.
    KeyStore(PathBuf),
    Failed(Failure),
}

/// A file to process.
pub(crate) struct Job {
    pub(crate) from: PathBuf,
    to: Option<PathBuf>,
    pub(super) length: u64,
    modified: Option<SystemTime>,
}

/// What exists at the output path.
pub(super) enum Target<'a> {
    /// Nothing is written.
    None,
    ToWrite(&'a Path),
    /// A file that is not replaced. Files appear only when they are complete, but this may be another
    /// file than the command would write.
    Exists {
        path: &'a Path,
        /// Whether the input was modified after this file.
        older: bool,
    },
}

impl Job {
    pub(super) fn target(&self, force: bool) -> Result<Target<'_>, Failure> {
        let Some(to) = &self.to else { return Ok(Target::None) };
        let fail = |why| Err(Failure::usage(format!("{}: {why}", to.display())));
        match fs::symlink_metadata(to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Target::ToWrite(to)),
            Err(error) => Err(Failure::about(&to.display().to_string(), error)),
            Ok(found) if found.is_symlink() => {
                fail("a symbolic link exists under this name; remove it, nothing is written through links")
            }
            Ok(found) if found.is_dir() => {
                fail("a directory exists under this name; remove it or choose another output directory")
            }
            Ok(found) if !found.is_file() => fail("not a regular file; remove it or choose another output directory"),
            Ok(_) if force => Ok(Target::ToWrite(to)),
            Ok(found) => {
                let older = self.modified.zip(found.modified().ok()).is_some_and(|(from, to)| from > to);
                Ok(Target::Exists { path: to, older })
            }
        }
    }
}

/// A directory to walk.
pub(super) struct Tree<'a> {
    task: Task,
    suffix: &'a OsStr,
    from: &'a Path,
    to: Option<&'a Path>,
    /// The directories of the key stores that encrypt the files.
    stores: Vec<PathBuf>,
}

impl<'a> Tree<'a> {
    /// Fails if the directories cannot be used; creates nothing.
    pub(super) fn check(directory: &Directory<'a>) -> Result<(), Failure> {
        let Directory { task, arguments, from, to, .. } = *directory;
        let suffix = arguments.suffix.as_os_str();
        if suffix.as_encoded_bytes().iter().any(|byte| std::path::is_separator(char::from(*byte)) || *byte == 0) {
            return Err(Failure::usage("--suffix must not contain a path separator"));
        }
        let name = from.display().to_string();
        let found = fs::metadata(from).map_err(|error| Failure::about(&name, error))?;
        if !found.is_dir() {
            return Err(Failure::usage(format!("{name}: not a directory; omit --recursive to process one file")));
        }
        let Some(to) = to else { return Ok(()) };
        check_apart(task, from, to)?;
        let name = to.display().to_string();
        match fs::metadata(to) {
            Ok(found) if !found.is_dir() => {
                Err(Failure::usage(format!("{name}: not a directory; --recursive writes to a directory")))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::about(&name, error)),
            _ => Ok(()),
        }
    }

    /// Creates the output directory. The directories must have been checked.
    pub(super) fn new(directory: &Directory<'a>) -> Result<Self, Failure> {
        let Directory { task, arguments, from, to, session, .. } = *directory;
        let suffix = arguments.suffix.as_os_str();
        let stores = match task {
            Task::Encrypt => session.store_directories().iter().map(|store| canonical(store)).collect(),
            Task::Decrypt | Task::Verify => Vec::new(),
        };
        let root = canonical(from);
        if let Some(store) = stores.iter().find(|store| root.starts_with(store)) {
            return Err(Failure::usage(format!(
                "{}: inside the key store {} that would encrypt it; use another --key, or sealwax keys export",
                from.display(),
                store.display()
            )));
        }
        if let Some(to) = to {
            fs::create_dir_all(to).map_err(|error| Failure::about(&to.display().to_string(), error))?;
        }
        Ok(Self { task, suffix, from, to, stores })
    }

    /// Returns the total size of the files in bytes.
    pub(super) fn count_bytes(&self) -> u64 {
        let files = self.entries().filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
        let ours = files.filter(|entry| self.name_of_target(entry.file_name()).is_some());
        ours.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
    }

    fn entries(&self) -> walkdir::IntoIter {
        WalkDir::new(self.from).follow_links(false).min_depth(1).into_iter()
    }

    /// Walks everything below the directory. An output directory is created before the entries in
    /// it are visited.
    pub(super) fn walk(&self) -> impl Iterator<Item = Met> {
        let mut entries = self.entries();
        std::iter::from_fn(move || {
            loop {
                let met = match entries.next()? {
                    Ok(entry) if self.is_key_store(&entry) => {
                        entries.skip_current_dir();
                        Met::KeyStore(entry.into_path())
                    }
                    Ok(entry) if entry.file_type().is_dir() => match self.make_directory(&entry) {
                        Ok(()) => continue,
                        Err(failure) => {
                            entries.skip_current_dir();
                            Met::Failed(failure)
                        }
                    },
                    Ok(entry) => self.meet(&entry),
                    Err(error) => Met::Failed(of_walk(error)),
                };
                return Some(met);
            }
        })
    }

    fn is_key_store(&self, entry: &DirEntry) -> bool {
        // Links are not followed below the directory, so few entries need to be resolved.
        !self.stores.is_empty()
            && entry.file_type().is_dir()
            && self.stores.iter().any(|store| store.file_name() == Some(entry.file_name()))
            && self.stores.contains(&canonical(entry.path()))
    }

    fn meet(&self, entry: &DirEntry) -> Met {
        let skipped = |why: &'static str| Met::Skipped(entry.path().to_owned(), why.into());
        if entry.file_type().is_symlink() {
            return skipped("symbolic link");
        }
        if !entry.file_type().is_file() {
            return skipped("not a regular file");
        }
        if is_partial(entry.file_name()) {
            return skipped("an incomplete file of an interrupted run; delete it");
        }
        let Some(name) = self.name_of_target(entry.file_name()) else {
            let why = format!("the name does not end in {}", self.suffix.display());
            return Met::Skipped(entry.path().to_owned(), why.into());
        };
        let found = match entry.metadata() {
            Ok(found) => found,
            Err(error) => return Met::Failed(of_walk(error)),
        };
        let to = self.to.map(|to| to.join(self.below(entry)).with_file_name(name));
        let (length, modified) = (found.len(), found.modified().ok());
        Met::File(Job { from: entry.path().to_owned(), to, length, modified })
    }

    /// Returns an entry's path relative to the directory.
    fn below<'e>(&self, entry: &'e DirEntry) -> &'e Path {
        // Every entry below the directory has the directory's path as a prefix.
        entry.path().strip_prefix(self.from).unwrap_or(Path::new(entry.file_name()))
    }

    /// Returns the output name for a file of this name, or `None` if the file is to be skipped.
    fn name_of_target(&self, name: &OsStr) -> Option<OsString> {
        if self.task == Task::Encrypt {
            let mut name = name.to_owned();
            name.push(self.suffix);
            return Some(name);
        }
        without_suffix(name, self.suffix)
    }

    /// Creates the output directory for this one, with the same permissions.
    fn make_directory(&self, entry: &DirEntry) -> Result<(), Failure> {
        let Some(to) = self.to else { return Ok(()) };
        let to = to.join(self.below(entry));
        let fail = |error: io::Error| Failure::about(&to.display().to_string(), error);
        match fs::symlink_metadata(&to) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => {
                let why =
                    "a link or a file exists in place of this directory; remove it, nothing is written through links";
                Err(Failure::usage(format!("{}: {why}", to.display())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let found = entry.metadata().map_err(of_walk)?;
                builder(&found).create(&to).map_err(fail)
            }
            Err(error) => Err(fail(error)),
        }
    }
}

/// Returns whether a file has the name of one that an interrupted run has not completed.
fn is_partial(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".sealwax-") && name.ends_with(b".partial")
}

fn of_walk(error: walkdir::Error) -> Failure {
    let name = error.path().map(|path| path.display().to_string()).unwrap_or_default();
    let error = error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
    Failure::about(&name, error)
}

#[cfg(unix)]
fn builder(found: &Metadata) -> DirBuilder {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

    let mut builder = DirBuilder::new();
    // The owner must be able to write into the directory.
    builder.mode(found.permissions().mode() & 0o777 | 0o700);
    builder
}

#[cfg(not(unix))]
fn builder(_: &Metadata) -> DirBuilder {
    DirBuilder::new()
}

/// Strips the suffix from a name; `None` if nothing usable remains.
#[cfg(unix)]
fn without_suffix(name: &OsStr, suffix: &OsStr) -> Option<OsString> {
    use std::os::unix::ffi::OsStrExt;

    let name = name.as_bytes().strip_suffix(suffix.as_bytes())?;
    // The remainder must not be one of the special directory names.
    let usable = !matches!(name, b"" | b"." | b"..");
    usable.then(|| OsStr::from_bytes(name).to_owned())
}

#[cfg(not(unix))]
fn without_suffix(name: &OsStr, suffix: &OsStr) -> Option<OsString> {
    let name = name.to_str()?.strip_suffix(suffix.to_str()?)?;
    let usable = !matches!(name, "" | "." | "..");
    usable.then(|| name.into())
}

/// Fails if the output directory is inside the input, or the input is inside the output.
fn check_apart(task: Task, from: &Path, to: &Path) -> Result<(), Failure> {
    let fail = |error: io::Error| Failure::about(&from.display().to_string(), error);
    let (from, to) = (fs::canonicalize(from).map_err(fail)?, canonical(to));
    if to.starts_with(&from) {
        return Err(Failure::usage("the output directory is inside the input directory; choose another with -o DIR"));
    }
    // Existing messages there would be indistinguishable from new ones.
    if task == Task::Encrypt && from.starts_with(&to) {
        return Err(Failure::usage("the input directory is inside the output directory; choose another with -o DIR"));
    }
    Ok(())
}

/// Returns the path without links and without `..`, as far as it exists; what follows can only be
/// directories that are to be created.
fn canonical(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut known = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            known.pop();
        } else {
            known.push(component);
            known = fs::canonicalize(&known).unwrap_or(known);
        }
    }
    known
}
