//! What was done by `sync`.

use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};
use sealwax::Escaped;
use serde::Serialize;
use serde_json::json;

use crate::{directories::Tally, failure::Failure, session::Session};

/// The outcome besides what was transferred.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) unchanged: u64,
    pub(super) skipped: u64,
    pub(super) deleted: u64,
}

impl Outcome {
    /// Reports that something is not transferred.
    pub(super) fn skip(&mut self, name: &str, reason: &str, session: &Session) -> Result<(), Failure> {
        self.skipped += 1;
        if !session.emit_skipped(name, reason)? {
            session.notes.note(format_args!("{}: skipped: {reason}", Escaped(name)));
        }
        Ok(())
    }

    /// Reports that something was deleted.
    pub(super) fn delete(&mut self, name: &str, session: &Session) -> Result<(), Failure> {
        self.deleted += 1;
        if !session.emit(&json!({ "deleted": name }))? {
            session.notes.note(format_args!("{}: deleted", Escaped(name)));
        }
        Ok(())
    }

    /// Reports everything in one line.
    pub(super) fn print(self, tally: &Tally, session: &Session) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Line {
            operation: &'static str,
            files: u64,
            bytes: u64,
            unchanged: u64,
            deleted: u64,
            skipped: u64,
            failed: u64,
            stopped: bool,
        }
        let Self { unchanged, skipped, deleted } = self;
        let Tally { files, bytes, failed, .. } = *tally;
        let stopped = tally.stopped.is_some();
        let operation = "sync";
        let is_json = session.emit(&Line { operation, files, bytes, unchanged, deleted, skipped, failed, stopped })?;
        let plural = if files == 1 { "" } else { "s" };
        let mut text = format!("transferred {} file{plural}, {}", HumanCount(files), HumanBytes(bytes));
        for (count, what) in [(unchanged, "unchanged"), (deleted, "deleted"), (skipped, "skipped"), (failed, "failed")]
        {
            if count > 0 {
                let _ = write!(text, "; {} {what}", HumanCount(count));
            }
        }
        tally.code.outcome(&text, is_json)?;
        if !is_json {
            session.notes.note(text);
        }
        Ok(())
    }
}
