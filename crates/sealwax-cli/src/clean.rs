//! `sealwax clean`: removes incomplete files that a killed run left.

use std::{path::Path, sync::Arc};

use indicatif::{HumanBytes, HumanCount};
use sealwax::Escaped;
use walkdir::{DirEntry, WalkDir};

use crate::{
    arguments::CleanArguments,
    failure::Failure,
    notes::{Notes, say},
    partial::is_partial,
    place::{Kind, OpenDirectory, Place},
    session::Session,
};

pub(crate) fn run(arguments: &CleanArguments, session: &Session) -> Result<(), Failure> {
    let mut tally = Tally::default();
    for directory in &arguments.directories {
        tally.clean(directory, session.notes).unwrap_or_else(|failure| tally.fail(&failure));
    }
    let Tally { files, bytes, failed } = tally;
    let plural = if files == 1 { "" } else { "s" };
    let text = format!("removed {} incomplete file{plural}, {}", HumanCount(files), HumanBytes(bytes));
    if failed > 0 {
        return Err(Failure::other(format!("{text}; {} failed", HumanCount(failed))));
    }
    session.notes.note(text);
    Ok(())
}

/// The outcome so far.
#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    failed: u64,
}

impl Tally {
    fn fail(&mut self, failure: &Failure) {
        self.failed += 1;
        say(failure.line(false));
    }

    /// Cleans a directory and everything below it.
    fn clean(&mut self, directory: &Path, notes: Notes) -> Result<(), Failure> {
        let fail = |path: &Path, error| Failure::about(&path.display().to_string(), error);
        let root = OpenDirectory::open(directory).map_err(|error| fail(directory, error))?;
        for entry in WalkDir::new(directory).follow_links(false).min_depth(1) {
            let removed = match entry {
                Ok(entry) if is_partial(entry.file_name()) => remove(&root, directory, &entry, notes),
                Ok(_) => continue,
                Err(error) => {
                    let path = error.path().unwrap_or(directory).to_owned();
                    let error = error.into_io_error().unwrap_or_else(|| std::io::ErrorKind::Other.into());
                    Err(fail(&path, error))
                }
            };
            match removed {
                Ok(Some(length)) => {
                    self.files += 1;
                    self.bytes += length;
                }
                Ok(None) => {}
                Err(failure) => self.fail(&failure),
            }
        }
        Ok(())
    }
}

/// Removes an incomplete file and returns its length, or `None` if it is none.
fn remove(root: &Arc<OpenDirectory>, directory: &Path, entry: &DirEntry, notes: Notes) -> Result<Option<u64>, Failure> {
    let name = entry.path().display().to_string();
    let fail = |error: std::io::Error| Failure::about(&name, error);
    let parent = entry.path().parent().and_then(|parent| parent.strip_prefix(directory).ok());
    let parent = root.below(parent.unwrap_or(Path::new(""))).map_err(fail)?;
    let place = Place { directory: parent, name: entry.file_name().to_owned() };
    match place.look() {
        Ok(found) if found.kind == Kind::File => {}
        Ok(_) => return Ok(None),
        // It was completed meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    }
    let removed = place.remove_unlocked().map_err(fail)?;
    let what = if removed.is_some() { "removed" } else { "skipped: a running command is writing it" };
    notes.note(format_args!("{}: {what}", Escaped(&name)));
    Ok(removed)
}
