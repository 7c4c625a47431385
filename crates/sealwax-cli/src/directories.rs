//! Whole directories: every file becomes a message of its own, and several are processed in
//! parallel.

use std::{
    fmt::Write as _,
    fs::File,
    io::Read,
    iter::repeat_n,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use indicatif::{HumanBytes, HumanCount, ProgressBar};
use sealwax::{Escaped, materials::MaterialsManager};
use serde::Serialize;

use crate::{
    arguments::{DirectoryArguments, ReportArguments},
    failure::Failure,
    metadata::{self, Metadata},
    notes::say,
    provider,
    report::Report,
    session::Session,
    streams::{bar, is_standard},
};

mod cache;
mod tree;

use tree::{Job, Met, Target, Tree};

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
}

/// A directory, and the operation to perform on it.
pub(crate) struct Directory<'a> {
    pub(crate) task: Task,
    pub(crate) arguments: &'a DirectoryArguments,
    pub(crate) report: &'a ReportArguments,
    pub(crate) session: &'a Session,
    pub(crate) from: &'a Path,
    /// The output directory; `None` for an operation that writes no files.
    pub(crate) to: Option<&'a Path>,
    pub(crate) force: bool,
}

/// What is done with a file.
#[derive(Clone, Copy)]
pub(crate) enum Goal<'a> {
    /// Writes the output to this path.
    Write(&'a Path),
    /// Verifies the file, and that the existing file at this path is its plaintext.
    Compare(&'a Path),
    /// Verifies the file.
    Verify,
}

/// Returns a materials manager that the files of a directory share, if they are to share one.
pub(crate) fn sharing(
    arguments: &DirectoryArguments,
    manager: Box<dyn MaterialsManager>,
) -> Result<Box<dyn MaterialsManager>, Failure> {
    cache::shared(arguments.shared_by(), manager)
}

impl Directory<'_> {
    /// Fails if the directories cannot be used; creates nothing.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if is_standard(self.from) || self.to.is_some_and(is_standard) {
            return Err(Failure::usage("--recursive needs an input and an output directory; use -o DIR"));
        }
        if let Some(metadata) = self.report.metadata.as_deref() {
            for directory in [Some(self.from), self.to].into_iter().flatten() {
                metadata::check_outside(metadata, directory)?;
            }
        }
        Tree::check(self)
    }

    /// Runs `work` for every file, several in parallel, with its goal and one progress bar.
    ///
    /// If a file fails, the failure is reported and the others go on. At the end one line
    /// summarizes all.
    pub(crate) fn run(
        &self,
        work: impl Fn(&Job, Goal<'_>, &ProgressBar) -> Result<Report, Failure> + Sync,
    ) -> Result<(), Failure> {
        self.check()?;
        let metadata = Metadata::open(self.report.metadata.as_deref())?;
        let tree = Tree::new(self)?;
        // Count in advance only if the progress is shown.
        let bar = if self.session.notes.shows_progress() {
            bar(Some(tree.count_bytes()), self.session.notes)
        } else {
            ProgressBar::hidden()
        };
        let (tally, jobs) = (Mutex::new(Tally::default()), self.arguments.jobs().min(MOST_JOBS));
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
                    Met::KeyStore(path) => worker.leave_out(&path),
                    Met::Failed(failure) => worker.fail(failure),
                }
            }
            drop(sender);
            Ok::<(), Failure>(())
        })?;
        bar.finish_and_clear();
        let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        tally.print(self)
    }
}

/// Fails if an existing file does not begin with the header of a message, such as an empty file that
/// another program left. It is not verified.
fn check_message(path: &Path) -> Result<(), Failure> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Failure::about(&name, error))?;
    let (mut decoder, mut buffer) = (provider::client().build().header_decoder(), [0; 8 << 10]);
    let mut file = file.take(MAX_HEADER);
    loop {
        let count = file.read(&mut buffer).map_err(|error| Failure::about(&name, error))?;
        match decoder.push(&buffer[..count]) {
            Ok((_, Some(_))) => return Ok(()),
            Ok((_, None)) if count > 0 => {}
            _ => {
                return Err(Failure::exists(format!(
                    "{name}: the file exists and is not a message; use --force to replace it"
                )));
            }
        }
    }
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

impl<W: Fn(&Job, Goal<'_>, &ProgressBar) -> Result<Report, Failure>> Worker<'_, W> {
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
        let goal = match job.target(self.directory.force) {
            Ok(Target::Exists { path, older }) if self.directory.task == Task::Encrypt => {
                if let Err(failure) = check_message(path) {
                    return self.fail(failure);
                }
                let mut tally = lock(self.tally);
                tally.finished += 1;
                tally.older += u64::from(older);
                self.bar.inc(job.length);
                return;
            }
            Ok(Target::Exists { path, .. }) => Goal::Compare(path),
            Ok(Target::ToWrite(path)) => Goal::Write(path),
            Ok(Target::None) => Goal::Verify,
            Err(failure) => return self.fail(failure),
        };
        match (self.work)(job, goal, self.bar).and_then(|report| self.print(&report).map(|()| report)) {
            Ok(report) => {
                let mut tally = lock(self.tally);
                tally.compared += u64::from(matches!(goal, Goal::Compare(_)));
                tally.files += 1;
                tally.bytes += report.sizes.plaintext_length.unwrap_or(0);
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// Reports what was done with a file, if requested.
    fn print(&self, report: &Report) -> Result<(), Failure> {
        let is_json = self.bar.suspend(|| self.directory.session.emit(report))?;
        if !is_json && self.directory.report.verbose {
            let line = match &report.output {
                Some(output) => format!("{} -> {}", Escaped(&report.input), Escaped(output)),
                None => format!("{}: verified", Escaped(&report.input)),
            };
            self.bar.suspend(|| say(line));
        }
        report.append_to(self.metadata)
    }

    fn skip(&self, path: &Path, why: &str) {
        self.leave(path, why, |line| self.directory.session.notes.note(line));
    }

    /// Skips the key store whose keys encrypt the files, and prints that even with `--quiet`: the
    /// encrypted copy could not be decrypted without the store.
    fn leave_out(&self, path: &Path) {
        let why = "the key store that encrypts these files; back it up with sealwax keys export";
        self.leave(path, why, say);
    }

    fn leave(&self, path: &Path, why: &str, print: impl FnOnce(String)) {
        lock(self.tally).skipped += 1;
        let (name, session) = (path.display().to_string(), self.directory.session);
        self.bar.suspend(|| match session.emit(&serde_json::json!({ "skipped": name, "reason": why })) {
            Ok(true) => {}
            Ok(false) => print(format!("{}: skipped: {}", Escaped(&name), Escaped(why))),
            Err(failure) => failure.say(None),
        });
    }

    fn fail(&self, failure: Failure) {
        let mut tally = lock(self.tally);
        tally.failed += 1;
        tally.code = match tally.code {
            None => Some(Some(failure.code())),
            Some(code) => Some(code.filter(|code| *code == failure.code())),
        };
        if failure.stops_all() {
            tally.stopped.get_or_insert_with(|| failure.line());
        }
        drop(tally);
        self.bar.suspend(|| failure.say(self.directory.session.json.as_ref()));
    }
}

/// The outcome for all files.
#[derive(Default, Serialize)]
struct Tally {
    /// Files processed now.
    files: u64,
    /// Plaintext bytes in those files.
    bytes: u64,
    /// Of those, files whose output exists and is the plaintext of the message.
    compared: u64,
    /// Files whose output exists and is a message.
    finished: u64,
    /// Of those, files whose input has changed since.
    older: u64,
    /// Entries that are not files or not messages.
    skipped: u64,
    failed: u64,
    /// The exit code shared by all failures, if there is one.
    #[serde(skip)]
    code: Option<Option<u8>>,
    /// Set when continuing would be useless.
    #[serde(skip)]
    stopped: Option<String>,
}

impl Tally {
    /// Reports the outcome in one line.
    fn print(self, directory: &Directory<'_>) -> Result<(), Failure> {
        let (did, operation) = match directory.task {
            Task::Encrypt => ("encrypted", "encrypt"),
            Task::Decrypt => ("decrypted and verified", "decrypt"),
            Task::Verify => ("verified", "verify"),
        };
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let Self { files, bytes, compared, finished, older, skipped, failed, .. } = self;
        let mut text = format!("{did} {} file{}, {}", HumanCount(files), plural(files), HumanBytes(bytes));
        if compared > 0 {
            let _ = write!(text, ", of which {} exist and are the same", HumanCount(compared));
        }
        if finished > 0 {
            let _ = write!(text, "; {} skipped because they exist", HumanCount(finished));
        }
        if older > 0 {
            let _ = write!(text, ", of which {} changed since (--force encrypts them again)", HumanCount(older));
        }
        if skipped > 0 {
            let _ = write!(text, "; {} skipped", HumanCount(skipped));
        }
        if failed > 0 {
            let _ = write!(text, "; {} failed", HumanCount(failed));
        }
        if self.stopped.is_some() {
            text.push_str("; stopped, the remaining files were not processed");
        }
        #[derive(Serialize)]
        struct Line<'a> {
            operation: &'a str,
            #[serde(flatten)]
            tally: &'a Tally,
            stopped: bool,
        }
        let line = Line { operation, tally: &self, stopped: self.stopped.is_some() };
        let is_json = directory.session.emit(&line)?;
        match self.code {
            Some(code) if is_json => Err(Failure::said(code)),
            Some(code) => Err(Failure::of_many(text, code)),
            None if is_json => Ok(()),
            None => {
                directory.session.notes.note(text);
                Ok(())
            }
        }
    }
}
