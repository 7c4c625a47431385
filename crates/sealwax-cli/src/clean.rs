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
                Ok(entry) if is_partial(entry.file_name()) => remove(&root, directory, &entry, session),
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

/// Removes an incomplete file and returns its length, or `None` if it is none.
fn remove(
    root: &Arc<OpenDirectory>,
    directory: &Path,
    entry: &DirEntry,
    session: &Session,
) -> Result<Option<u64>, Failure> {
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
    match removed {
        Some(length) if !session.emit(&json!({ "removed": name, "length": length }))? => {
            session.notes.note(format_args!("{}: removed", Escaped(&name)));
        }
        None if !session.emit_skipped(&name, BEING_WRITTEN)? => {
            session.notes.note(format_args!("{}: skipped: {BEING_WRITTEN}", Escaped(&name)));
        }
        _ => {}
    }
    Ok(removed)
}
