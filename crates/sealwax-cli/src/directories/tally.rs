//! The outcome for all files of a directory.

use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::{Directory, Task};
use crate::failure::{Failure, SharedCode};

#[derive(Default, Serialize)]
pub(super) struct Tally {
    /// Files processed now.
    pub(super) files: u64,
    /// Plaintext bytes in those files, as far as they are known.
    pub(super) bytes: u64,
    /// Of those, files whose output exists and is the plaintext of the message.
    pub(super) compared: u64,
    /// Files whose output exists and is a message.
    pub(super) finished: u64,
    /// Of those, files whose input has changed since.
    pub(super) older: u64,
    /// Entries that are not files or not messages.
    pub(super) skipped: u64,
    /// Files and directories that the patterns leave out.
    pub(super) excluded: u64,
    /// Files whose output `--check` found missing or different.
    pub(super) to_do: u64,
    pub(super) failed: u64,
    #[serde(skip)]
    pub(super) code: SharedCode,
    /// Set when continuing would be useless.
    #[serde(skip)]
    pub(super) stopped: Option<String>,
}

impl Tally {
    pub(super) fn fail(&mut self, failure: &Failure) {
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
    pub(super) fn print(self, directory: &Directory<'_>) -> Result<(), Failure> {
        let operation = directory.task.name();
        let text = self.text(directory);
        #[derive(Serialize)]
        struct Line<'a> {
            operation: &'a str,
            #[serde(flatten)]
            tally: &'a Tally,
            stopped: bool,
        }
        let line = Line { operation, tally: &self, stopped: self.stopped.is_some() };
        let json = directory.session.emit(&line)?;
        self.code.outcome(&text, json)?;
        if directory.task == Task::Verify && self.files == 0 && self.excluded == 0 {
            let suffix = directory.tree.suffix.display();
            let text = format!("{}: no file ends in {suffix}; use --suffix for other names", directory.from.display());
            return Err(if json { Failure::said(Some(2)) } else { Failure::usage(text) });
        }
        if !json {
            directory.session.notes.note(text);
        }
        Ok(())
    }

    fn text(&self, directory: &Directory<'_>) -> String {
        let Self { files, bytes, compared, finished, older, skipped, excluded, to_do, failed, .. } = self;
        let did = match directory.task {
            _ if directory.checks() => "checked",
            Task::Encrypt => "encrypted",
            Task::Decrypt => "decrypted and verified",
            Task::Verify => "verified",
            Task::Reencrypt => "re-encrypted",
            Task::Inspect => "inspected",
        };
        let plural = if *files == 1 { "" } else { "s" };
        let mut text = format!("{did} {} file{plural}", HumanCount(*files));
        if directory.task != Task::Reencrypt {
            let _ = write!(text, ", {}", HumanBytes(*bytes));
        }
        if *compared > 0 {
            let _ = write!(text, ", of which {} exist and are the same", HumanCount(*compared));
        }
        if *finished > 0 {
            let _ = write!(text, "; {} skipped because they exist", HumanCount(*finished));
        }
        if *older > 0 {
            let fix = if directory.task == Task::Encrypt { " (--update encrypts them again)" } else { "" };
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
