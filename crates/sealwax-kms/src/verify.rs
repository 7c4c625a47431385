//! Reading and checking the audit log.

use std::{
    collections::VecDeque,
    fmt,
    fs::OpenOptions,
    io::{BufRead, BufReader},
    path::Path,
};

use sealwax::SecretBytes;

use super::{
    LocalKmsError,
    audit::{AuditEntry, NO_LINE, Tail, authentic},
    disk::{open_own, unless_missing},
    seal::{digest, hex},
};

/// The result of [`LocalKms::verify_audit_log`](super::LocalKms::verify_audit_log).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditReport {
    /// The number of lines.
    pub lines: u64,
    /// The sequence number and SHA-256 digest of the last line. A copy kept elsewhere proves later
    /// that the log has not been truncated before this line.
    pub head: Option<(u64, String)>,
    /// The faults in the order of the lines; empty if the log is intact.
    pub faults: Vec<AuditFault>,
}

/// A fault of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditFault {
    /// This line of the file, counted from 1, was altered or inserted.
    Altered {
        /// The line of the file.
        line: u64,
    },
    /// The lines with these sequence numbers are missing.
    Missing {
        /// The first missing sequence number.
        first: u64,
        /// The last missing sequence number.
        last: u64,
    },
    /// This line of the file, counted from 1, is authentic but does not follow the one before: it
    /// was moved or repeated.
    Displaced {
        /// The line of the file.
        line: u64,
    },
    /// The file does not end with a newline. The next operation of the store removes the incomplete
    /// line.
    Torn {
        /// The line of the file.
        line: u64,
    },
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { line } => write!(f, "line {line} was altered"),
            Self::Missing { first, last } if first == last => {
                write!(f, "the line with sequence number {first} is missing")
            }
            Self::Missing { first, last } => write!(f, "the lines with sequence numbers {first} to {last} are missing"),
            Self::Displaced { line } => write!(f, "line {line} does not follow the one before it"),
            Self::Torn { line } => write!(f, "line {line} is incomplete"),
        }
    }
}

/// Calls `take` with every line, without its newline, and whether it had one.
fn each_line(path: &Path, mut take: impl FnMut(&str, bool)) -> Result<(), LocalKmsError> {
    let failed = |error| LocalKmsError::io("reading", path)(error);
    let Some(file) = unless_missing(open_own(path, OpenOptions::new().read(true)))? else { return Ok(()) };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        let whole = line.pop_if(|last| *last == b'\n').is_some();
        take(&String::from_utf8_lossy(&line), whole);
        line.clear();
    }
    Ok(())
}

/// Returns the lines that can be parsed, without checking them.
pub(super) fn entries(path: &Path) -> Result<Vec<AuditEntry>, LocalKmsError> {
    let mut entries = Vec::new();
    each_line(path, |line, _| entries.extend(serde_json::from_str::<AuditEntry>(line).ok()))?;
    Ok(entries)
}

/// The last authentic lines, as their sequence numbers and digests.
#[derive(Default)]
struct Recent(VecDeque<(u64, String)>);

impl Recent {
    /// The most lines that can be restored after others have been written.
    const MOST: usize = 1024;

    fn push(&mut self, sequence: u64, digest: String) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back((sequence, digest));
    }

    /// Returns whether a line with this number has been there, and this is not the same line but
    /// another one that also follows the line before.
    fn is_second_branch(&self, entry: &AuditEntry, digest: &str) -> bool {
        let has =
            |sequence: u64, digest: &str| self.0.iter().any(|(number, known)| *number == sequence && known == digest);
        let is_number_known = self.0.iter().any(|(number, _)| *number == entry.sequence);
        let follows = match entry.sequence.checked_sub(1) {
            Some(0) => entry.previous == NO_LINE,
            Some(before) => has(before, &entry.previous),
            None => false,
        };
        is_number_known && follows && !has(entry.sequence, digest)
    }
}

/// Checks every line, and that the log contains the store's last change.
pub(super) fn verify(path: &Path, key: &SecretBytes, journal: &Tail) -> Result<AuditReport, LocalKmsError> {
    let mut report = AuditReport { lines: 0, head: None, faults: Vec::new() };
    // The line before, unless it was altered.
    let mut before = Some(Tail::start());
    let mut recent = Recent::default();
    let mut last_sequence = 0_u64;
    // An altered line takes the place of one that would otherwise count as missing.
    let mut altered_since = 0_u64;
    each_line(path, |text, whole| {
        report.lines += 1;
        let line = report.lines;
        if !whole {
            report.faults.push(AuditFault::Torn { line });
            return;
        }
        let digest = hex(&digest(text.as_bytes()));
        let Some(entry) = authentic(key, text) else {
            report.faults.push(AuditFault::Altered { line });
            (before, altered_since) = (None, altered_since + 1);
            return;
        };
        // An authentic line continues the number of the line before, which an attacker may have
        // written, so it can be any number.
        let expected = last_sequence.saturating_add(altered_since).saturating_add(1);
        if entry.sequence <= last_sequence && recent.is_second_branch(&entry, &digest) {
            // The store wrote the line while the lines before it were altered, and these have been
            // restored since.
        } else if entry.sequence > expected {
            report.faults.push(AuditFault::Missing { first: expected, last: entry.sequence - 1 });
        } else if entry.sequence < expected && altered_since == 0
            || before.as_ref().is_some_and(|before| before.digest != entry.previous)
        {
            report.faults.push(AuditFault::Displaced { line });
        }
        if entry.sequence == journal.sequence && digest != journal.digest {
            report.faults.push(AuditFault::Altered { line });
        }
        (last_sequence, altered_since) = (entry.sequence.max(last_sequence), 0);
        recent.push(entry.sequence, digest.clone());
        before = Some(Tail { sequence: entry.sequence, digest: digest.clone(), generation: entry.generation });
        report.head = Some((entry.sequence, digest));
    })?;
    let reached = last_sequence.saturating_add(altered_since);
    if reached < journal.sequence {
        report.faults.push(AuditFault::Missing { first: reached + 1, last: journal.sequence });
    }
    Ok(report)
}
