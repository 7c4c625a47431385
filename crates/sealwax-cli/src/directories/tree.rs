//! The files of a directory tree, and where their outputs go: the same tree below another
//! directory.
//!
//! The output path follows from where the input was found, never from the content of a message. Links
//! are not followed, neither below the input directory nor below the output directory.

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use walkdir::{DirEntry, WalkDir};

use super::{Directory, Task, filter::Filter};
use crate::{
    failure::Failure,
    partial::is_partial,
    place::{Found, Kind, OpenDirectory, Place},
};

/// An entry of the walk.
pub(super) enum Met {
    File(Job),
    /// An entry that is not processed, and the reason.
    Skipped(PathBuf, Cow<'static, str>),
    /// An entry that the patterns leave out.
    Excluded,
    /// The directory of a key store, or a key file, that encrypts the files, and what to do with it.
    LeftOut(PathBuf, &'static str),
    Failed(Failure),
}

/// A file to process.
pub(crate) struct Job {
    pub(crate) from: Place,
    /// What the walk found there.
    pub(crate) found: Found,
    pub(super) to: Target<Place>,
}

/// Where an output goes.
#[derive(Clone)]
pub(super) enum Target<T> {
    /// Nothing is written.
    None,
    /// The output replaces the input.
    Input,
    To(T),
    /// The directory of the output does not exist, and is not to be created.
    Missing(PathBuf),
}

/// A directory to walk.
pub(super) struct Tree<'a> {
    task: Task,
    suffix: &'a OsStr,
    from: &'a Path,
    filter: Filter,
    /// The directories of the key stores that encrypt the files.
    stores: Vec<PathBuf>,
    /// The files of the keys that encrypt the files.
    key_files: Vec<PathBuf>,
    root: Pair,
    /// Whether output directories are created.
    creates: bool,
}

impl<'a> Tree<'a> {
    /// Fails if the directories cannot be used; creates nothing.
    pub(super) fn check(directory: &Directory<'a>) -> Result<(), Failure> {
        let Directory { task, tree, from, to, .. } = *directory;
        let suffix = tree.suffix.as_os_str();
        if suffix.as_encoded_bytes().iter().any(|byte| std::path::is_separator(char::from(*byte)) || *byte == 0) {
            return Err(Failure::usage("--suffix must not contain a path separator"));
        }
        Filter::new(tree)?;
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

    /// Opens the directories, and creates that of the outputs. The directories must have been
    /// checked.
    pub(super) fn new(directory: &Directory<'a>) -> Result<Self, Failure> {
        let Directory { task, tree, from, to, session, .. } = *directory;
        let (stores, key_files) = match task {
            Task::Encrypt => (session.store_directories(), session.key_files()),
            _ => (Vec::new(), Vec::new()),
        };
        let [stores, key_files] =
            [stores, key_files].map(|paths| paths.iter().map(|path| canonical(path)).collect::<Vec<_>>());
        let root = canonical(from);
        if let Some(store) = stores.iter().find(|store| root.starts_with(store)) {
            return Err(Failure::usage(format!(
                "{}: inside the key store {} that would encrypt it; use another --key, or sealwax keys export",
                from.display(),
                store.display()
            )));
        }
        let fail = |path: &Path, error: io::Error| Failure::about(&path.display().to_string(), error);
        let (creates, input) = (!directory.checks(), OpenDirectory::open(from).map_err(|error| fail(from, error))?);
        let output = match to {
            None if task == Task::Reencrypt => Target::Input,
            None => Target::None,
            Some(to) if creates => Target::To(open_or_create(to, &input).map_err(|error| fail(to, error))?),
            Some(to) => match OpenDirectory::open(to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Target::Missing(to.to_owned()),
                open => Target::To(open.map_err(|error| fail(to, error))?),
            },
        };
        let (root, filter) = (Pair { input, output }, Filter::new(tree)?);
        Ok(Self { task, suffix: &tree.suffix, from, filter, stores, key_files, root, creates })
    }

    /// Returns the total size of the files in bytes.
    pub(super) fn count_bytes(&self) -> u64 {
        let (mut entries, mut total) = (self.entries(), 0);
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else { continue };
            let kind = entry.file_type();
            if !self.filter.takes(self.below(&entry), kind.is_dir()) {
                if kind.is_dir() {
                    entries.skip_current_dir();
                }
            } else if kind.is_file() && self.name_of_target(entry.file_name()).is_some() {
                total += entry.metadata().map_or(0, |found| found.len());
            }
        }
        total
    }

    fn entries(&self) -> walkdir::IntoIter {
        let walk = WalkDir::new(self.from).follow_links(false).min_depth(1);
        match self.root.output {
            // Read the names of a directory before files in it are replaced, or the system could
            // return one twice.
            Target::Input => walk.sort_by_file_name().into_iter(),
            // Here the order shows.
            _ if self.task == Task::Inspect => walk.sort_by_file_name().into_iter(),
            _ => walk.into_iter(),
        }
    }

    /// Walks everything below the directory. An output directory is created before the entries in
    /// it are visited, or before the first of its files that the patterns choose.
    pub(super) fn walk(&self) -> impl Iterator<Item = Met> {
        let mut entries = self.entries();
        let mut cursor = Cursor { tree: self, below: PathBuf::new(), pair: self.root.clone() };
        std::iter::from_fn(move || {
            loop {
                let entry = match entries.next()? {
                    Ok(entry) => entry,
                    Err(error) => return Some(Met::Failed(of_walk(error))),
                };
                let (below, is_directory) = (self.below(&entry), entry.file_type().is_dir());
                if !self.filter.takes(below, is_directory) {
                    if is_directory {
                        entries.skip_current_dir();
                    }
                    return Some(Met::Excluded);
                }
                if !is_directory && is_one_of(&self.key_files, &entry) {
                    let why = "the key file that encrypts these files; keep a copy of it elsewhere";
                    return Some(Met::LeftOut(entry.into_path(), why));
                }
                if !is_directory {
                    return Some(self.meet(&entry, &mut cursor));
                }
                if is_one_of(&self.stores, &entry) {
                    entries.skip_current_dir();
                    let why = "the key store that encrypts these files; back it up with sealwax keys export";
                    return Some(Met::LeftOut(entry.into_path(), why));
                }
                if !self.filter.chooses_files()
                    && let Err(failure) = cursor.go_to(below)
                {
                    entries.skip_current_dir();
                    return Some(Met::Failed(failure));
                }
            }
        })
    }

    fn meet(&self, entry: &DirEntry, cursor: &mut Cursor<'_, '_>) -> Met {
        let skipped = |why: &'static str| Met::Skipped(entry.path().to_owned(), why.into());
        let Pair { input, output } = match cursor.go_to(self.below(entry).parent().unwrap_or(Path::new(""))) {
            Ok(pair) => pair,
            Err(failure) => return Met::Failed(failure),
        };
        let from = Place { directory: Arc::clone(input), name: entry.file_name().to_owned() };
        let found = match from.look() {
            Ok(found) => found,
            Err(error) => return Met::Failed(Failure::about(&from.display(), error)),
        };
        match found.kind {
            Kind::Link => return skipped("symbolic link"),
            Kind::Directory | Kind::Other => return skipped("not a regular file"),
            Kind::File if is_partial(&from.name) => {
                return skipped("an incomplete file of an interrupted run; sealwax clean removes it");
            }
            Kind::File => {}
        }
        let Some(name) = self.name_of_target(&from.name) else {
            let why = format!("the name does not end in {}", self.suffix.display());
            return Met::Skipped(entry.path().to_owned(), why.into());
        };
        if is_partial(&name) && !matches!(output, Target::None | Target::Input) {
            let why = "the name of the output is that of an incomplete file; rename the input";
            return Met::Failed(Failure::usage(format!("{}: {why}", from.display())));
        }
        let to = match output {
            Target::None => Target::None,
            Target::Input => Target::Input,
            Target::To(directory) => Target::To(Place { directory: Arc::clone(directory), name }),
            Target::Missing(directory) => Target::Missing(directory.join(name)),
        };
        Met::File(Job { from, found, to })
    }

    /// Returns an entry's path relative to the directory.
    fn below<'e>(&self, entry: &'e DirEntry) -> &'e Path {
        // Every entry below the directory has the directory's path as a prefix.
        entry.path().strip_prefix(self.from).unwrap_or(Path::new(entry.file_name()))
    }

    /// Returns the output name for a file of this name, or `None` if the file is to be skipped.
    fn name_of_target(&self, name: &OsStr) -> Option<OsString> {
        match self.task {
            Task::Encrypt => {
                let mut name = name.to_owned();
                name.push(self.suffix);
                Some(name)
            }
            Task::Reencrypt => without_suffix(name, self.suffix).map(|_| name.to_owned()),
            Task::Decrypt | Task::Verify | Task::Inspect => without_suffix(name, self.suffix),
        }
    }
}

/// Returns whether an entry has one of these paths, which have no links.
fn is_one_of(paths: &[PathBuf], entry: &DirEntry) -> bool {
    // Links are not followed below the directory, so few entries need to be resolved.
    paths.iter().any(|path| path.file_name() == Some(entry.file_name())) && paths.contains(&canonical(entry.path()))
}

/// An input directory, and the output directory for it.
#[derive(Clone)]
struct Pair {
    input: Arc<OpenDirectory>,
    output: Target<Arc<OpenDirectory>>,
}

impl Pair {
    /// Opens the directories of this name in both, and creates that of the outputs if it is
    /// missing. Neither may be a link.
    fn child(&self, name: &OsStr, creates: bool) -> Result<Self, Failure> {
        let fail =
            |parent: &OpenDirectory, error| Failure::about(&parent.path().join(name).display().to_string(), error);
        let input = self.input.child(name).map_err(|error| fail(&self.input, error))?;
        let output = match &self.output {
            Target::None => Target::None,
            Target::Input => Target::Input,
            Target::Missing(path) => Target::Missing(path.join(name)),
            Target::To(parent) => {
                let child = if creates { parent.child_like(name, &input) } else { parent.child(name) };
                match child {
                    Ok(child) => Target::To(child),
                    Err(error) if error.kind() == io::ErrorKind::NotFound && !creates => {
                        Target::Missing(parent.path().join(name))
                    }
                    Err(error) => {
                        let place = Place { directory: Arc::clone(parent), name: name.to_owned() };
                        if place.look().is_ok_and(|found| found.kind != Kind::Directory) {
                            let why = "a link or a file exists in place of this directory; remove it, nothing is written through links";
                            return Err(Failure::usage(format!("{}: {why}", place.display())));
                        }
                        return Err(fail(parent, error));
                    }
                }
            }
        };
        Ok(Self { input, output })
    }
}

/// The directories that the walk is in.
struct Cursor<'t, 'a> {
    tree: &'t Tree<'a>,
    /// The path relative to the directory.
    below: PathBuf,
    pair: Pair,
}

impl Cursor<'_, '_> {
    /// Opens the directories with this path, name by name, so that no link is followed.
    fn go_to(&mut self, below: &Path) -> Result<&Pair, Failure> {
        let (mut pair, rest) = match below.strip_prefix(&self.below) {
            Ok(rest) => (self.pair.clone(), rest),
            Err(_) => (self.tree.root.clone(), below),
        };
        for name in rest {
            pair = pair.child(name, self.tree.creates)?;
        }
        self.pair = pair;
        below.clone_into(&mut self.below);
        Ok(&self.pair)
    }
}

fn of_walk(error: walkdir::Error) -> Failure {
    let name = error.path().map(|path| path.display().to_string()).unwrap_or_default();
    let error = error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
    Failure::about(&name, error)
}

/// Opens an output directory, and creates it first if it does not exist, with the permissions of the
/// input directory.
fn open_or_create(path: &Path, input: &OpenDirectory) -> io::Result<Arc<OpenDirectory>> {
    match (OpenDirectory::open(path), path.file_name()) {
        (Err(error), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::create_dir_all(parent)?;
            OpenDirectory::open(parent)?.child_like(name, input)?;
            OpenDirectory::open(path)
        }
        (opened, _) => opened,
    }
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
    if matches!(task, Task::Encrypt | Task::Reencrypt) && from.starts_with(&to) {
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
