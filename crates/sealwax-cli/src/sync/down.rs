//! From objects to a directory.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sealwax::io::Overwrite;
use walkdir::WalkDir;

use super::outcome::Outcome;
use crate::{
    arguments::SyncArguments,
    failure::Failure,
    metadata::Metadata,
    objects::Listed,
    opening::Opening,
    partial::is_partial,
    place::{Kind, OpenDirectory, Place},
    session::Session,
    several::each,
    streams::Output,
};

/// An object to transfer, and the file that it becomes.
struct Object<'a> {
    listed: &'a Listed,
    /// The names of the directories and of the file.
    names: Vec<&'a str>,
}

pub(super) fn run(arguments: &SyncArguments, session: &Session) -> Result<(), Failure> {
    let SyncArguments { keys, delete, jobs, limits, report, from, to, .. } = arguments;
    session.check_outside(report.metadata.as_deref(), to)?;
    let (source, messages) = (session.objects.prefix(from)?, session.objects.messages()?);
    let listed = session.objects.list(&source)?;
    let opening = Opening::of_objects(session, keys, limits, true)?;
    let metadata = Metadata::open(report.metadata.as_deref())?;
    let fail = |error: io::Error| Failure::about(&to.display().to_string(), error);
    fs::create_dir_all(to).map_err(fail)?;
    let root = OpenDirectory::open(to).map_err(fail)?;

    let (mut outcome, mut objects, mut failures, mut kept) =
        (Outcome::default(), Vec::new(), Vec::new(), BTreeSet::new());
    for one in &listed {
        let names = one.object.names_below(&source);
        if one.length == 0 {
            outcome.skip(&one.object.name(), "an empty object is no message", session)?;
            continue;
        }
        if let Some(why) = names.iter().find_map(|name| refused(name)) {
            failures.push(Failure::other(format!("{}: {why}", one.object.name())));
            continue;
        }
        kept.insert(names.iter().collect::<PathBuf>());
        match place(&root, &names).and_then(|place| place.look()) {
            Ok(found)
                if found.kind == Kind::File
                    && messages.plaintext_length(one.length) == Some(found.length)
                    && found.modified.is_some_and(|modified| modified >= one.modified) =>
            {
                outcome.unchanged += 1;
            }
            _ => objects.push(Object { listed: one, names }),
        }
    }
    let bytes = objects.iter().map(|object| object.listed.length).sum();
    let mut tally = each(session, jobs.get(), bytes, &objects, |Object { listed, names }, bar| {
        let target = create(&root, names).map_err(|error| Failure::about(&listed.object.name(), error))?;
        if target.look().is_ok_and(|found| found.kind != Kind::File) {
            let text = "a link, a directory or a device exists under this name; remove it";
            return Err(Failure::usage(format!("{}: {text}", target.display())));
        }
        let (mut input, _) = session.objects.open_version(&listed.object, session.notes)?;
        input.set_progress(bar.clone());
        let output = Output::create_in(&target, Overwrite::Replace, &session.cleanup)?;
        // The next run compares the times.
        output.set_modified(listed.modified);
        let done = opening.open(input, output, false)?;
        bar.suspend(|| done.print(report, session, metadata.as_ref()))?;
        Ok(done.sizes.plaintext_length.unwrap_or(0))
    });
    for failure in failures {
        tally.fail(&failure);
        failure.say(session.json.as_ref());
    }
    // After a failure it is not known what the source has.
    if *delete && tally.failed == 0 {
        remove_others(to, &root, &kept, &mut outcome, session)?;
    }
    outcome.print(&tally, session)
}

/// Returns why no file can have the name of an object.
fn refused(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("the URL names this object and not a path; use sealwax cp"),
        "." | ".." => Some("the name would lead out of the directory"),
        _ if is_partial(OsStr::new(name)) => Some("the name is one of incomplete files"),
        _ if name.contains(['/', '\0']) || (cfg!(windows) && name.contains(['\\', ':'])) => {
            Some("no file can have this name")
        }
        _ => None,
    }
}

fn last<'a>(names: &[&'a str]) -> &'a str {
    names.last().copied().unwrap_or_default()
}

/// Returns the place of a file, whose directory must exist.
fn place(root: &Arc<OpenDirectory>, names: &[&str]) -> io::Result<Place> {
    let directory = root.below(&names[..names.len() - 1].iter().collect::<PathBuf>())?;
    Ok(Place { directory, name: last(names).into() })
}

/// Returns the place of a file, and creates its directories. Fails if a link is on the way.
fn create(root: &Arc<OpenDirectory>, names: &[&str]) -> io::Result<Place> {
    let directories = &names[..names.len() - 1];
    let directory = directories
        .iter()
        .try_fold(Arc::clone(root), |directory, name| directory.child_like(OsStr::new(name), root))?;
    Ok(Place { directory, name: last(names).into() })
}

/// Removes the files that no object has become.
fn remove_others(
    to: &Path,
    root: &Arc<OpenDirectory>,
    kept: &BTreeSet<PathBuf>,
    outcome: &mut Outcome,
    session: &Session,
) -> Result<(), Failure> {
    for entry in WalkDir::new(to).follow_links(false).min_depth(1) {
        let entry = entry.map_err(|error| Failure::other(error.to_string()))?;
        let path = entry.path().strip_prefix(to).unwrap_or(entry.path());
        if !entry.file_type().is_file() || is_partial(entry.file_name()) || kept.contains(path) {
            continue;
        }
        let name = entry.path().display().to_string();
        let fail = |error: io::Error| Failure::about(&name, error);
        let parent = root.below(path.parent().unwrap_or(Path::new(""))).map_err(fail)?;
        let place = Place { directory: parent, name: entry.file_name().to_owned() };
        if place.look().map_err(fail)?.kind == Kind::File && place.remove_unlocked().map_err(fail)?.is_some() {
            outcome.delete(&name, session)?;
        }
    }
    Ok(())
}
