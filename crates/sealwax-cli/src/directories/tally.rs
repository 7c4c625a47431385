//! The outcome for all files of a directory.

use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::Task;
use crate::{
    failure::{Failure, SharedCode},
    session::Session,
};

#[derive(Default, Serialize)]
pub(crate) struct Tally {
    /// Files processed now.
    pub(crate) files: u64,
    /// Plaintext bytes in those files, as far as they are known.
    pub(crate) bytes: u64,
    /// Of those, files whose output exists and is the plaintext of the message.
    pub(crate) compared: u64,
    /// Files whose output exists and is a message.
    pub(crate) finished: u64,
    /// Of those, files whose input has changed since.
    pub(crate) older: u64,
    /// Entries that are not files or not messages.
    pub(crate) skipped: u64,
    /// Files and directories that the patterns leave out.
    pub(crate) excluded: u64,
    /// Files whose output `--check` found missing or different.
    pub(crate) to_do: u64,
    pub(crate) failed: u64,
    #[serde(skip)]
    pub(crate) code: SharedCode,
    /// Set when continuing would be useless.
    #[serde(skip)]
    pub(crate) stopped: Option<String>,
}

impl Tally {
    pub(crate) fn fail(&mut self, failure: &Failure) {
        if failure.is_to_do() {
            self.to_do += 1;
        } else {
            self.failed += 1;
        }
        self.code.add(failure);
        if failure.stops_all() {
            self.stopped.get_or_insert_with(|| failure.line());
        }
    }

    /// Reports the outcome in one line.
    pub(crate) fn print(self, task: Task, checks: bool, session: &Session) -> Result<(), Failure> {
        let operation = task.name();
        let text = self.text(task, checks);
        #[derive(Serialize)]
        struct Line<'a> {
            operation: &'a str,
            #[serde(flatten)]
            tally: &'a Tally,
            stopped: bool,
        }
        let line = Line { operation, tally: &self, stopped: self.stopped.is_some() };
        let json = session.emit(&line)?;
        self.code.outcome(&text, json)?;
        if task == Task::Verify && self.files == 0 && self.excluded == 0 {
            let text = "nothing was verified: there is no message; use --suffix for other names";
            return Err(if json { Failure::said(Some(2)) } else { Failure::usage(text) });
        }
        if !json {
            session.notes.note(text);
        }
        Ok(())
    }

    fn text(&self, task: Task, checks: bool) -> String {
        let Self { files, bytes, compared, finished, older, skipped, excluded, to_do, failed, .. } = self;
        let did = match task {
            _ if checks => "checked",
            Task::Encrypt => "encrypted",
            Task::Decrypt => "decrypted and verified",
            Task::Verify => "verified",
            Task::Reencrypt => "re-encrypted",
            Task::Inspect => "inspected",
        };
        let plural = if *files == 1 { "" } else { "s" };
        let mut text = format!("{did} {} file{plural}", HumanCount(*files));
        if task != Task::Reencrypt {
            let _ = write!(text, ", {}", HumanBytes(*bytes));
        }
        if *compared > 0 {
            let _ = write!(text, ", of which {} exist and are the same", HumanCount(*compared));
        }
        if *finished > 0 {
            let _ = write!(text, "; {} skipped because they exist", HumanCount(*finished));
        }
        if *older > 0 {
            let fix = if task == Task::Encrypt { " (--update encrypts them again)" } else { "" };
            let _ = write!(text, ", of which {} changed since{fix}", HumanCount(*older));
        }
        for (count, what) in
            [(skipped, "skipped"), (excluded, "left out"), (to_do, "missing or different"), (failed, "failed")]
        {
            if *count > 0 {
                let _ = write!(text, "; {} {what}", HumanCount(*count));
            }
        }
        if self.stopped.is_some() {
            text.push_str("; stopped, the remaining files were not processed");
        }
        text
    }
}
