//! The audit log: one line of JSON for each operation, each bound to the one before.
//!
//! A line ends with the SHA-256 digest of the line before it and with a tag under a key that only the store holds, so that a
//! line cannot be altered, taken out or put in without that key. The store holds the last line that belongs to a change
//! (its journal); what was cut off before that is noticed too.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use serde::{Deserialize, Serialize};

use super::{
    LocalKmsError,
    disk::{Disk, LOG_FILE, is_current},
    record::Timestamp,
    seal::{digest, hex, tag},
};
use crate::{context::EncryptionContext, secret::SecretBytes};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

const LINE: &str = "audit line";
/// What stands between the authenticated part of a line and its tag.
const BEFORE_TAG: &str = ",\"mac\":\"";
const AFTER_TAG: &str = "\"}";
/// What the first line has for the digest of the one before.
pub(super) const NO_LINE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The longest name that is logged for a key that is not there, in bytes.
const MAX_NAME: usize = 256;

/// A line of the audit log. [`LocalKms::audit_log`](super::LocalKms::audit_log) has an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Counted from 1, without gaps.
    pub sequence: u64,
    /// When, in RFC 3339, UTC.
    pub time: String,
    /// What was asked, in the words of KMS, such as `GenerateDataKey`.
    pub operation: String,
    /// The key that was used or asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The key that a re-encryption decrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_key_id: Option<String>,
    /// The alias that was made, changed or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The keys of the encryption context.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context_keys: Vec<String>,
    /// The encryption context with its values, if the store logs them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<BTreeMap<String, String>>,
    /// `Success`, or the kind of failure.
    pub outcome: String,
    /// Who asked, as the program says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The SHA-256 digest of the line before.
    pub previous: String,
}

/// What an operation leaves in the log, but for its place there.
pub(super) struct Event {
    pub(super) operation: &'static str,
    pub(super) key_id: Option<String>,
    pub(super) source_key_id: Option<String>,
    pub(super) alias: Option<String>,
    pub(super) context: Option<EncryptionContext>,
    pub(super) outcome: &'static str,
}

impl Event {
    pub(super) fn new(operation: &'static str) -> Self {
        let outcome = "Success";
        Self { operation, key_id: None, source_key_id: None, alias: None, context: None, outcome }
    }

    /// The key: its id, or what was asked for in its place.
    pub(super) fn key(mut self, name: &str) -> Self {
        let end = (0..=MAX_NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        self.key_id = name.get(..end).map(str::to_owned);
        self
    }

    pub(super) fn context(mut self, context: &EncryptionContext) -> Self {
        self.context = Some(context.clone());
        self
    }
}

/// What makes lines of events.
pub(super) struct Scribe {
    pub(super) key: SecretBytes,
    pub(super) identity: Option<String>,
    pub(super) context_values: bool,
}

/// The last line: what the next one follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) sequence: u64,
    pub(super) digest: String,
}

impl Tail {
    pub(super) fn start() -> Self {
        Self { sequence: 0, digest: NO_LINE.into() }
    }

    /// The tail after this line.
    pub(super) fn of(line: &str) -> Option<Self> {
        let entry: AuditEntry = serde_json::from_str(line).ok()?;
        Some(Self { sequence: entry.sequence, digest: hex(&digest(line.as_bytes())) })
    }
}

impl Scribe {
    /// The line, without its end, and the tail after it.
    pub(super) fn line(&self, event: Event, now: Timestamp, tail: &Tail) -> Result<(String, Tail)> {
        let context = event.context.unwrap_or_default();
        let values = || context.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let entry = AuditEntry {
            sequence: tail.sequence.saturating_add(1),
            time: now.to_string(),
            operation: event.operation.into(),
            key_id: event.key_id,
            source_key_id: event.source_key_id,
            alias: event.alias,
            context_keys: context.iter().map(|(key, _)| key.to_owned()).collect(),
            context: self.context_values.then(values),
            outcome: event.outcome.into(),
            identity: self.identity.clone(),
            previous: tail.digest.clone(),
        };
        let mut line = serde_json::to_string(&entry).map_err(|error| {
            LocalKmsError::io("writing a line of", std::path::Path::new(LOG_FILE))(io::Error::from(error))
        })?;
        let tag = tag(&self.key, LINE, line.as_bytes()).map_err(LocalKmsError::Crypto)?;
        line.pop();
        line.push_str(BEFORE_TAG);
        line.push_str(&hex(tag.as_bytes()));
        line.push_str(AFTER_TAG);
        let tail = Tail { sequence: entry.sequence, digest: hex(&digest(line.as_bytes())) };
        Ok((line, tail))
    }
}

/// The content of a line whose tag holds.
pub(super) fn authentic(key: &SecretBytes, line: &str) -> Option<AuditEntry> {
    let (content, found) = line.strip_suffix(AFTER_TAG)?.rsplit_once(BEFORE_TAG)?;
    let content = format!("{content}}}");
    let expected = tag(key, LINE, content.as_bytes()).ok()?;
    let expected = SecretBytes::from(hex(expected.as_bytes()).into_bytes());
    if !expected.ct_eq(found.as_bytes()) {
        return None;
    }
    serde_json::from_str(&content).ok()
}

/// The log as this process has it open.
pub(super) struct Log {
    file: File,
    /// The length at which the tail was found; another process makes it longer.
    length: u64,
    tail: Tail,
}

impl Log {
    pub(super) fn open(disk: &Disk) -> Result<Self> {
        Ok(Self { file: disk.open_log()?, length: 0, tail: Tail::start() })
    }

    /// The last line in the file. A line that is torn, because the machine went down in the midst of it, is cut off: nothing
    /// was answered for it. To be called under the lock.
    pub(super) fn tail(&mut self, disk: &Disk) -> Result<&Tail> {
        let path = disk.path(LOG_FILE);
        let failed = || LocalKmsError::io("reading", &path);
        let mut found = self.file.metadata().map_err(failed())?;
        // Someone may have moved the log away, to begin a new one.
        match is_current(&found, &path) {
            Ok(true) => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
            _ => {
                *self = Self::open(disk)?;
                found = self.file.metadata().map_err(failed())?;
            }
        }
        if found.len() == self.length {
            return Ok(&self.tail);
        }
        let (line, end) = last_line(&self.file, found.len()).map_err(failed())?;
        if end != found.len() {
            disk.cut_log(&self.file, end)?;
        }
        // A last line that says nothing is one that was altered; the count goes on from what the store knows.
        self.tail = Tail::of(&line).unwrap_or_else(|| Tail { sequence: 0, digest: hex(&digest(line.as_bytes())) });
        if end == 0 {
            self.tail = Tail::start();
        }
        self.length = end;
        Ok(&self.tail)
    }

    /// Appends a line whose place is after the present tail.
    pub(super) fn append(&mut self, disk: &Disk, line: &str, tail: Tail) -> Result<()> {
        let line = format!("{line}\n");
        // Until it is known to be there whole, the file says what its last line is.
        let length = std::mem::replace(&mut self.length, u64::MAX);
        disk.append(&self.file, line.as_bytes())?;
        self.length = length.saturating_add(line.len() as u64);
        self.tail = tail;
        Ok(())
    }

    pub(super) fn sync(&self, disk: &Disk) -> Result<()> {
        disk.sync_log(&self.file)
    }
}

/// The last whole line of so many bytes, without its end, and where it ends in the file.
fn last_line(mut file: &File, length: u64) -> io::Result<(String, u64)> {
    let mut window = 4096;
    loop {
        let start = length.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(length - start).read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = end.and_then(|end| bytes.get(..end)).unwrap_or_default();
        let line = whole.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1).or((start == 0).then_some(0));
        if let (Some(line), Some(end)) = (line, end) {
            let text = String::from_utf8_lossy(whole.get(line..).unwrap_or_default()).into_owned();
            return Ok((text, start + end as u64 + 1));
        }
        if start == 0 {
            return Ok((String::new(), 0));
        }
        window = window.saturating_mul(4);
    }
}
