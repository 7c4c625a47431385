//! Whole paths of objects: each of them is verified or re-encrypted, several at a time.

use std::path::Path;

use indicatif::ProgressBar;

use crate::{
    arguments::{DirectoryArguments, ReportArguments},
    directories::Task,
    failure::Failure,
    metadata::Metadata,
    objects::{Object, Version},
    report::Report,
    session::Session,
    several::each,
    streams::Input,
};

/// Opens every object below a URL, and runs `work` with it. At the end one line summarizes all.
pub(crate) fn run(
    task: Task,
    directories: &DirectoryArguments,
    report: &ReportArguments,
    session: &Session,
    url: &Path,
    work: impl Fn(&Object, Input, Version) -> Result<Report, Failure> + Sync,
) -> Result<(), Failure> {
    let tree = &directories.tree;
    if !tree.include.is_empty() || !tree.exclude.is_empty() {
        return Err(Failure::usage("--include and --exclude do not work on objects; name a longer path"));
    }
    let metadata = Metadata::open(report.metadata.as_deref())?;
    let (mut listed, prefix) = (Vec::new(), session.objects.prefix(url)?);
    let mut skipped = 0;
    for one in session.objects.list_or_one(&prefix)? {
        // What some programs leave as a directory.
        if one.length > 0 {
            listed.push(one);
        } else {
            skipped += 1;
            session.emit_skipped(&one.object.name(), "an empty object is no message")?;
        }
    }
    let bytes = listed.iter().map(|one| one.length).sum();
    let mut tally = each(session, directories.jobs(), bytes, &listed, |one, bar: &ProgressBar| {
        let (mut input, version) = session.objects.open_version(&one.object, session.notes)?;
        input.set_progress(bar.clone());
        let done = work(&one.object, input, version)?;
        bar.suspend(|| done.print(report, session, metadata.as_ref()))?;
        Ok(done.sizes.plaintext_length.unwrap_or(0))
    });
    tally.skipped = skipped;
    tally.print(task, false, session)
}
