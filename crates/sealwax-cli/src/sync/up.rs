//! From a directory to objects.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use walkdir::WalkDir;

use super::outcome::Outcome;
use crate::{
    arguments::SyncArguments,
    encrypt::Sealing,
    failure::Failure,
    keyring,
    metadata::Metadata,
    objects::{Listed, Mode, Object},
    partial::is_partial,
    place::{Found, Kind, OpenDirectory, Place},
    session::Session,
    several::each,
    streams::Input,
};

/// A file to transfer, and the object that it becomes.
struct File {
    place: Place,
    found: Found,
    object: Object,
}

pub(super) fn run(arguments: &SyncArguments, session: &Session) -> Result<(), Failure> {
    let SyncArguments { keys, delete, jobs, report, from, to, .. } = arguments;
    session.check_outside(report.metadata.as_deref(), from)?;
    let fail = |error: std::io::Error| Failure::about(&from.display().to_string(), error);
    let root = OpenDirectory::open(from).map_err(fail)?;
    let (target, messages) = (session.objects.prefix(to)?, session.objects.messages()?);
    let listed = session.objects.list(&target)?;
    let mut existing: BTreeMap<_, _> = listed.iter().map(|one| (one.object.path().to_owned(), one)).collect();

    let keyring = keyring::to_encrypt(session, &keys.keys, None, false)?;
    let sealing = Sealing::of_objects(session, keys, keyring, true)?;
    let metadata = Metadata::open(report.metadata.as_deref())?;
    let (mut outcome, mut files, mut failures) = (Outcome::default(), Vec::new(), Vec::new());
    for entry in WalkDir::new(from).follow_links(false).min_depth(1).sort_by_file_name() {
        match file(entry, from, &root, &target) {
            Ok(Met::File(file)) => {
                let known = existing.remove(file.object.path());
                let length = known.and_then(|known| messages.plaintext_length(known.length));
                if length == Some(file.found.length)
                    && known.is_some_and(|known| is_current(file.found.modified, known))
                {
                    outcome.unchanged += 1;
                } else {
                    files.push(file);
                }
            }
            Ok(Met::Skipped(name, why)) => outcome.skip(&name, why, session)?,
            Ok(Met::Directory) => {}
            Err(failure) => failures.push(failure),
        }
    }
    let bytes = files.iter().map(|file| file.found.length).sum();
    let mut tally = each(session, jobs.get(), bytes, &files, |file, bar| {
        wait_for_the_next_second(file.found.modified);
        let input = Input::open_found(&file.place, &file.found, bar)?;
        let output = session.objects.create_object(&file.object, Mode::Replace, &session.cleanup)?;
        let done = sealing.seal(input, output)?;
        bar.suspend(|| done.print(report, session, metadata.as_ref()))?;
        Ok(done.sizes.plaintext_length.unwrap_or(0))
    });
    for failure in failures {
        tally.fail(&failure);
        failure.say(session.json.as_ref());
    }
    // After a failure it is not known what the source has.
    if *delete && tally.failed == 0 {
        for one in existing.into_values() {
            session.objects.delete(&one.object)?;
            outcome.delete(&one.object.name(), session)?;
        }
    }
    outcome.print(&tally, session)
}

/// What is found in a directory.
enum Met {
    File(File),
    Directory,
    Skipped(String, &'static str),
}

fn file(
    entry: walkdir::Result<walkdir::DirEntry>,
    from: &Path,
    root: &Arc<OpenDirectory>,
    target: &Object,
) -> Result<Met, Failure> {
    let entry = entry.map_err(|error| {
        let path = error.path().unwrap_or(from).display().to_string();
        Failure::about(&path, error.into_io_error().unwrap_or_else(|| std::io::ErrorKind::Other.into()))
    })?;
    let name = entry.path().display().to_string();
    if entry.file_type().is_dir() {
        return Ok(Met::Directory);
    }
    if is_partial(entry.file_name()) {
        return Ok(Met::Skipped(name, "incomplete"));
    }
    let fail = |error: std::io::Error| Failure::about(&name, error);
    let path = entry.path().strip_prefix(from).unwrap_or(entry.path());
    let parent = root.below(path.parent().unwrap_or(Path::new(""))).map_err(fail)?;
    let place = Place { directory: parent, name: entry.file_name().to_owned() };
    let found = place.look().map_err(fail)?;
    if found.kind != Kind::File {
        return Ok(Met::Skipped(name, "not a regular file"));
    }
    let parts: Option<Vec<_>> = path.iter().map(|part| part.to_str()).collect();
    let parts =
        parts.ok_or_else(|| Failure::usage(format!("{name}: the name is not UTF-8, as that of an object is")))?;
    Ok(Met::File(File { place, found, object: target.below(&parts.join("/"))? }))
}

/// Returns whether an object was written after the file changed, or the file is a copy of it.
///
/// Stores have times in whole seconds, so an object that was written in the second in which the file
/// changed may be older.
fn is_current(modified: Option<SystemTime>, object: &Listed) -> bool {
    modified.is_some_and(|modified| modified == object.modified || second(modified) < second(object.modified))
}

fn second(time: SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i128::from(after.as_secs()),
        Err(before) => -1 - i128::from(before.duration().as_secs()),
    }
}

/// Waits until the second in which a file was changed is over, so that the object is newer.
fn wait_for_the_next_second(modified: Option<SystemTime>) {
    let Some(modified) = modified else { return };
    let now = SystemTime::now();
    if second(modified) == second(now)
        && let Ok(since) = now.duration_since(SystemTime::UNIX_EPOCH)
    {
        thread::sleep(Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into()));
    }
}
