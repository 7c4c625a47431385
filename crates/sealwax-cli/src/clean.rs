//! `sealwax clean`: removes incomplete files that a killed run left.

use std::{path::Path, sync::Arc};

use indicatif::{HumanBytes, HumanCount};
use sealwax::Escaped;
use serde::Serialize;
use serde_json::json;
use walkdir::{DirEntry, WalkDir};

use crate::{
    arguments::CleanArguments,
    failure::Failure,
    partial::is_partial,
    place::{Kind, OpenDirectory, Place},
    session::Session,
};

const BEING_WRITTEN: &str = "a running command is writing it";

pub(crate) fn run(arguments: &CleanArguments, session: &Session) -> Result<(), Failure> {
    let mut tally = Tally::default();
    for directory in &arguments.directories {
        tally.clean(directory, session).unwrap_or_else(|failure| tally.fail(&failure, session));
    }
    let is_json = session.emit(&tally)?;
    let Tally { files, bytes, failed } = tally;
    let plural = if files == 1 { "" } else { "s" };
    let text = format!("removed {} incomplete file{plural}, {}", HumanCount(files), HumanBytes(bytes));
    match failed {
        0 if is_json => Ok(()),
        0 => {
            session.notes.note(text);
            Ok(())
        }
        _ if is_json => Err(Failure::said(None)),
        _ => Err(Failure::other(format!("{text}; {} failed", HumanCount(failed)))),
    }
}

/// The outcome so far.
#[derive(Default, Serialize)]
struct Tally {
    files: u64,
    bytes: u64,
    failed: u64,
}

impl Tally {
    fn fail(&mut self, failure: &Failure, session: &Session) {
        self.failed += 1;
        failure.say(session.json.as_ref());
    }

    /// Cleans a directory and everything below it.
    fn clean(&mut self, directory: &Path, session: &Session) -> Result<(), Failure> {
        let fail = |path: &Path, error| Failure::about(&path.display().to_string(), error);
        let root = OpenDirectory::open(directory).map_err(|error| fail(directory, error))?;
        for entry in WalkDir::new(directory).follow_links(false).min_depth(1) {
            let removed = match entry {
                Ok(entry) if is_partial(entry.file_name()) => {
                    remove(&root, directory, &entry).and_then(|removed| removed.report(&entry, session))
                }
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
                Err(failure) => self.fail(&failure, session),
            }
        }
        Ok(())
    }
}

/// Removes the incomplete files that a killed run left in a directory and below it. What cannot be
/// removed stays there, for `sealwax clean` to report.
pub(crate) fn sweep(directory: &Path, session: &Session) {
    let Ok(root) = OpenDirectory::open(directory) else { return };
    let entries = WalkDir::new(directory).follow_links(false).min_depth(1).into_iter().filter_map(Result::ok);
    for entry in entries.filter(|entry| is_partial(entry.file_name())) {
        if let Ok(Removed::Gone(_)) = remove(&root, directory, &entry) {
            let name = entry.path().display().to_string();
            session.notes.note(format_args!("{}: removed, a killed run left it incomplete", Escaped(&name)));
        }
    }
}

/// What was done with an incomplete file.
enum Removed {
    /// It had this length.
    Gone(u64),
    BeingWritten,
    /// It is none, or not any more.
    Nothing,
}

impl Removed {
    /// Prints what was done, and returns the length of a file that was removed.
    fn report(self, entry: &DirEntry, session: &Session) -> Result<Option<u64>, Failure> {
        let name = entry.path().display().to_string();
        match self {
            Self::Gone(length) => {
                if !session.emit(&json!({ "removed": name, "length": length }))? {
                    session.notes.note(format_args!("{}: removed", Escaped(&name)));
                }
                Ok(Some(length))
            }
            Self::BeingWritten => {
                if !session.emit_skipped(&name, BEING_WRITTEN)? {
                    session.notes.note(format_args!("{}: skipped: {BEING_WRITTEN}", Escaped(&name)));
                }
                Ok(None)
            }
            Self::Nothing => Ok(None),
        }
    }
}

/// Removes an incomplete file that no process is writing.
fn remove(root: &Arc<OpenDirectory>, directory: &Path, entry: &DirEntry) -> Result<Removed, Failure> {
    let fail = |error: std::io::Error| Failure::about(&entry.path().display().to_string(), error);
    let parent = entry.path().parent().and_then(|parent| parent.strip_prefix(directory).ok());
    let parent = root.below(parent.unwrap_or(Path::new(""))).map_err(fail)?;
    let place = Place { directory: parent, name: entry.file_name().to_owned() };
    let removed = place.look().and_then(|found| match found.kind {
        Kind::File => Ok(match place.remove_unlocked()? {
            Some(length) => Removed::Gone(length),
            None => Removed::BeingWritten,
        }),
        _ => Ok(Removed::Nothing),
    });
    match removed {
        // It was completed meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Removed::Nothing),
        removed => removed.map_err(fail),
    }
}
