//! Whole directories: every file becomes a message of its own, and several are processed in
//! parallel.

use std::{
    fs::File,
    io::Read,
    iter::repeat_n,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::SystemTime,
};

use indicatif::ProgressBar;
use sealwax::{
    Escaped, Header,
    crypto::{IV_LENGTH, TAG_LENGTH},
    io::Overwrite,
    materials::MaterialsManager,
};

use crate::{
    arguments::{DirectoryArguments, ReportArguments, TreeArguments},
    clean::sweep,
    failure::Failure,
    metadata::Metadata,
    notes::say,
    place::{Found, Kind, Place},
    provider,
    report::Report,
    session::Session,
    streams::{bar, is_standard},
};

mod cache;
mod filter;
mod tally;
mod tree;

pub(crate) use tally::Tally;
pub(crate) use tree::Job;

use tree::{Met, Target, Tree};

/// The most files processed in parallel, whatever was requested: more threads gain nothing, and the
/// system may not have them.
const MOST_JOBS: usize = 1024;

/// How much of an existing file is searched for the header of a message, in bytes.
const MAX_HEADER: u64 = 1 << 20;

/// The operation to perform on every file of a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Encrypt,
    Decrypt,
    Verify,
    Reencrypt,
    Inspect,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Verify => "verify",
            Self::Reencrypt => "reencrypt",
            Self::Inspect => "inspect",
        }
    }
}

/// What is done with output files that exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Keep,
    Replace,
    /// Replaces those that are older than their input.
    Update,
    /// Writes nothing at all, and checks them.
    Check,
}

impl Existing {
    /// Returns what the flags of a command ask for.
    pub(crate) fn of(force: bool, update: bool, check: bool) -> Self {
        match (force, update, check) {
            (_, _, true) => Self::Check,
            (true, ..) => Self::Replace,
            (_, true, _) => Self::Update,
            _ => Self::Keep,
        }
    }
}

/// A directory, and the operation to perform on it.
pub(crate) struct Directory<'a> {
    pub(crate) task: Task,
    pub(crate) tree: &'a TreeArguments,
    /// The number of files to process in parallel.
    pub(crate) jobs: usize,
    pub(crate) report: &'a ReportArguments,
    pub(crate) session: &'a Session,
    pub(crate) from: &'a Path,
    /// The output directory; `None` for an operation that writes no files, or replaces its inputs.
    pub(crate) to: Option<&'a Path>,
    pub(crate) existing: Existing,
}

/// What is done with a file.
#[derive(Clone, Copy)]
pub(crate) enum Goal<'a> {
    /// Writes the output to this place.
    Write(&'a Place, Overwrite),
    /// Compares the message and the plaintext, of which one is the file and the other was found in
    /// this place.
    Compare(&'a Place, &'a Found),
    /// Only reads the file.
    Read,
}

/// What was done with a file.
pub(crate) enum Done {
    Reported(Box<Report>),
    /// Everything was printed; the plaintext has this length.
    Printed(u64),
}

impl From<Report> for Done {
    fn from(report: Report) -> Self {
        Self::Reported(Box::new(report))
    }
}

/// Returns a materials manager that the files of a directory share, if they are to share one.
pub(crate) fn sharing(
    arguments: &DirectoryArguments,
    manager: Box<dyn MaterialsManager>,
) -> Result<Box<dyn MaterialsManager>, Failure> {
    cache::shared(arguments.shared_by(), manager)
}

impl Directory<'_> {
    /// Returns whether outputs are only checked.
    pub(crate) fn checks(&self) -> bool {
        self.existing == Existing::Check
    }

    /// Fails if the directories cannot be used; creates nothing.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if is_standard(self.from) || self.to.is_some_and(is_standard) {
            return Err(Failure::usage("--recursive needs directories, not standard input or output"));
        }
        for directory in [Some(self.from), self.to].into_iter().flatten() {
            self.session.check_outside(self.report.metadata.as_deref(), directory)?;
        }
        Tree::check(self)
    }

    /// Runs `work` for every file, several in parallel, with its goal and one progress bar.
    ///
    /// If a file fails, the failure is reported and the others go on. At the end one line
    /// summarizes all.
    pub(crate) fn run(
        &self,
        work: impl Fn(&Job, Goal<'_>, &ProgressBar) -> Result<Done, Failure> + Sync,
    ) -> Result<(), Failure> {
        self.check()?;
        let metadata = Metadata::open(self.report.metadata.as_deref())?;
        allow_open_files();
        if !self.checks() {
            let written = self.to.or(Some(self.from).filter(|_| self.task == Task::Reencrypt));
            written.into_iter().for_each(|directory| sweep(directory, self.session));
        }
        let tree = Tree::new(self)?;
        // Count in advance only if the progress is shown.
        let bar = if self.session.notes.shows_progress() {
            bar(Some(tree.count_bytes()), self.session.notes)
        } else {
            ProgressBar::hidden()
        };
        let (tally, jobs) = (Mutex::new(Tally::default()), self.jobs.min(MOST_JOBS));
        let worker = Worker { directory: self, bar: &bar, tally: &tally, metadata: metadata.as_ref(), work: &work };
        let (sender, receiver) = sync_channel(2 * jobs);
        let receiver = Arc::new(Mutex::new(receiver));
        thread::scope(|scope| {
            for receiver in repeat_n(receiver, jobs) {
                let worker = &worker;
                // The threads that were started end when the sender is dropped.
                let started = thread::Builder::new().spawn_scoped(scope, move || worker.run(&receiver));
                started.map_err(|error| {
                    let text = format!("cannot start {jobs} threads: {error}; use --jobs with a smaller number");
                    Failure::other(text)
                })?;
            }
            for met in tree.walk() {
                if lock(&tally).stopped.is_some() {
                    break;
                }
                match met {
                    // Sending fails only if all workers have panicked, which the end of the scope
                    // reports.
                    Met::File(job) => drop(sender.send(job)),
                    Met::Skipped(path, why) => worker.skip(&path, &why),
                    Met::Excluded => lock(&tally).excluded += 1,
                    Met::LeftOut(path, why) => worker.leave_out(&path, why),
                    Met::Failed(failure) => worker.fail(&failure),
                }
            }
            drop(sender);
            Ok::<(), Failure>(())
        })?;
        bar.finish_and_clear();
        let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        tally.print(self.task, self.checks(), self.session)
    }
}

/// Allows as many open files as the system permits: several threads hold files and directories
/// open.
#[cfg(unix)]
fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If this fails, the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

#[cfg(not(unix))]
fn allow_open_files() {}

/// Fails if an existing file does not begin with the header of a message, such as an empty file that
/// another program left, or if it is too short for a plaintext of this length. It is not verified.
pub(crate) fn check_message(name: &str, file: File, plaintext_length: Option<u64>) -> Result<(), Failure> {
    let (mut decoder, mut buffer) = (provider::client().build().header_decoder(), [0; 8 << 10]);
    let length = file.metadata().map_err(|error| Failure::about(name, error))?.len();
    let mut file = file.take(MAX_HEADER);
    loop {
        let count = file.read(&mut buffer).map_err(|error| Failure::about(name, error))?;
        match decoder.push(&buffer[..count]) {
            Ok((_, Some(received))) => {
                return if plaintext_length.is_some_and(|wanted| length < least_length(received.header(), wanted)) {
                    let fix = "use --force to replace it";
                    Err(Failure::exists(format!("{name}: the file exists and is not a whole message; {fix}")))
                } else {
                    Ok(())
                };
            }
            Ok((_, None)) if count > 0 => {}
            _ => {
                return Err(Failure::exists(format!(
                    "{name}: the file exists and is not a message; use --force to replace it"
                )));
            }
        }
    }
}

/// Returns the least length of a message with this header and a plaintext of this length, in bytes.
fn least_length(header: &Header, plaintext: u64) -> u64 {
    // A sequence number, an initialization vector and a tag; in the final frame also a marker and a
    // length.
    const FRAME: u64 = 4 + IV_LENGTH as u64 + TAG_LENGTH as u64;
    const FINAL: u64 = FRAME + 8;
    const UNFRAMED: u64 = IV_LENGTH as u64 + 8 + TAG_LENGTH as u64;

    let body = match header.content_type().frame_length() {
        // The final frame may be full.
        Some(frame) => plaintext.div_ceil(frame.into()).saturating_sub(1).saturating_mul(FRAME).saturating_add(FINAL),
        None => UNFRAMED,
    };
    // A signature may be a few bytes shorter than its usual length.
    let footer = if header.suite().is_signed() { 2 } else { 0 };
    (header.length() as u64 + footer).saturating_add(body).saturating_add(plaintext)
}

/// Returns whether an input may have changed since its output was written, by the times of both. An
/// input that was written at the same time may have changed after it was read.
pub(crate) fn may_be_outdated(input: Option<SystemTime>, output: Option<SystemTime>) -> bool {
    input.zip(output).is_none_or(|(input, output)| input >= output)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of one thread.
struct Worker<'a, W> {
    directory: &'a Directory<'a>,
    bar: &'a ProgressBar,
    tally: &'a Mutex<Tally>,
    metadata: Option<&'a Metadata>,
    work: &'a W,
}

impl<W: Fn(&Job, Goal<'_>, &ProgressBar) -> Result<Done, Failure>> Worker<'_, W> {
    fn run(&self, jobs: &Mutex<Receiver<Job>>) {
        loop {
            let job = lock(jobs).recv();
            let Ok(job) = job else { return };
            if lock(self.tally).stopped.is_none() {
                self.take(&job);
            }
        }
    }

    fn take(&self, job: &Job) {
        match self.process(job) {
            Ok(Some(length)) => {
                let mut tally = lock(self.tally);
                tally.files += 1;
                tally.bytes += length;
            }
            Ok(None) => self.bar.inc(job.found.length),
            Err(failure) => self.fail(&failure),
        }
    }

    /// Returns the length of the plaintext, or `None` if there was nothing to do.
    fn process(&self, job: &Job) -> Result<Option<u64>, Failure> {
        // What is found in the place of the output lives as long as the goal.
        let mut existing = None;
        let Some(goal) = self.goal(job, &mut existing)? else { return Ok(None) };
        let length = match (self.work)(job, goal, self.bar)? {
            Done::Reported(report) => {
                self.print(&report)?;
                report.sizes.plaintext_length.unwrap_or(0)
            }
            Done::Printed(length) => length,
        };
        lock(self.tally).compared += u64::from(matches!(goal, Goal::Compare(..)));
        Ok(Some(length))
    }

    /// Returns what is to be done with a file; `None` if its output counts as finished.
    fn goal<'j>(&self, job: &'j Job, existing: &'j mut Option<Found>) -> Result<Option<Goal<'j>>, Failure> {
        let Directory { task, existing: wanted, .. } = *self.directory;
        let missing = |path: &Path| Failure::to_do(format!("{}: does not exist", path.display()));
        let place = match &job.to {
            Target::None => return Ok(Some(Goal::Read)),
            Target::Input => return Ok(Some(Goal::Write(&job.from, Overwrite::Replace))),
            Target::Missing(path) => return Err(missing(path)),
            Target::To(place) => place,
        };
        let fail = |why| Err(Failure::usage(format!("{}: {why}", place.display())));
        let found = match place.look() {
            Ok(found) => existing.insert(found),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let overwrite = if wanted == Existing::Replace { Overwrite::Replace } else { Overwrite::Never };
                return if wanted == Existing::Check {
                    Err(missing(&place.path()))
                } else {
                    Ok(Some(Goal::Write(place, overwrite)))
                };
            }
            Err(error) => return Err(Failure::about(&place.display(), error)),
        };
        match (found.kind, wanted) {
            (Kind::Link, _) => {
                fail("a symbolic link exists under this name; remove it, nothing is written through links")
            }
            (Kind::Directory, _) => {
                fail("a directory exists under this name; remove it or choose another output directory")
            }
            (Kind::Other, _) => fail("not a regular file; remove it or choose another output directory"),
            (Kind::File, Existing::Replace) => Ok(Some(Goal::Write(place, Overwrite::Replace))),
            (Kind::File, Existing::Check) => Ok(Some(Goal::Compare(place, found))),
            (Kind::File, _) if task == Task::Decrypt => Ok(Some(Goal::Compare(place, found))),
            (Kind::File, _) => {
                let outdated = may_be_outdated(job.found.modified, found.modified);
                let length = Some(job.found.length).filter(|_| task == Task::Encrypt && !outdated);
                check_message(&place.display(), place.open(found)?, length)?;
                if wanted == Existing::Update && outdated {
                    return Ok(Some(Goal::Write(place, Overwrite::Replace)));
                }
                let mut tally = lock(self.tally);
                tally.finished += 1;
                let times = job.found.modified.zip(found.modified);
                tally.older += u64::from(times.is_some_and(|(input, output)| input > output));
                Ok(None)
            }
        }
    }

    /// Reports what was done with a file: warnings always, and the rest if requested.
    fn print(&self, report: &Report) -> Result<(), Failure> {
        self.bar.suspend(|| {
            if self.directory.session.emit(report)? {
                return Ok(());
            }
            report.warn();
            if self.directory.report.verbose {
                say(match &report.output {
                    Some(output) => format!("{} -> {}", Escaped(&report.input), Escaped(output)),
                    None => format!("{}: verified", Escaped(&report.input)),
                });
            }
            Ok::<(), Failure>(())
        })?;
        report.append_to(self.metadata)
    }

    fn skip(&self, path: &Path, why: &str) {
        self.leave(path, why, |line| self.directory.session.notes.note(line));
    }

    /// Skips the key store or key file that encrypts the files, and prints that even with `--quiet`:
    /// the encrypted copy could not be decrypted without it.
    fn leave_out(&self, path: &Path, why: &str) {
        self.leave(path, why, say);
    }

    fn leave(&self, path: &Path, why: &str, print: impl FnOnce(String)) {
        lock(self.tally).skipped += 1;
        let (name, session) = (path.display().to_string(), self.directory.session);
        self.bar.suspend(|| match session.emit_skipped(&name, why) {
            Ok(true) => {}
            Ok(false) => print(format!("{}: skipped: {}", Escaped(&name), Escaped(why))),
            Err(failure) => failure.say(None),
        });
    }

    fn fail(&self, failure: &Failure) {
        lock(self.tally).fail(failure);
        self.bar.suspend(|| failure.say(self.directory.session.json.as_ref()));
    }
}
