//! The audit log: one line of JSON for each operation, chained to the line before.
//!
//! A line contains the SHA-256 digest of the line before it and ends with a tag under a key that
//! only the store has. Without that key, no line can be altered, removed or inserted unnoticed. The
//! store holds the line of its last change (the journal), so a log that was cut off before that
//! line is noticed too.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use sealwax::{EncryptionContext, SecretBytes};
use serde::{Deserialize, Serialize};

use super::{
    LocalKmsError,
    disk::{Disk, LOG_FILE, is_current},
    record::Timestamp,
    seal::{digest, hex, tag},
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

const LINE: &str = "audit line";
/// The text between the authenticated part of a line and its tag.
const BEFORE_TAG: &str = ",\"mac\":\"";
const AFTER_TAG: &str = "\"}";
/// The digest that stands for the line before the first.
pub(super) const NO_LINE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The longest logged name of a key that does not exist, in bytes.
const MAX_NAME: usize = 256;

/// A line of the audit log, from [`LocalKms::audit_log`](super::LocalKms::audit_log).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// The sequence number, from 1 without gaps.
    pub sequence: u64,
    /// The time in RFC 3339, UTC.
    pub time: String,
    /// The operation, as AWS KMS calls it, such as `GenerateDataKey`.
    pub operation: String,
    /// The key that was used or requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The key that a re-encryption decrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_key_id: Option<String>,
    /// The alias that was created, changed or deleted.
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
    /// The caller, as the program that opened the store names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The SHA-256 digest of the line before.
    pub previous: String,
}

/// The content of a log line, without its position.
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

    /// Sets the key: its id, or the requested name if there is no such key.
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

/// The settings for writing events as lines.
pub(super) struct Scribe {
    pub(super) key: SecretBytes,
    pub(super) identity: Option<String>,
    pub(super) context_values: bool,
}

/// The end of the log, which the next line is chained to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) sequence: u64,
    pub(super) digest: String,
}

impl Tail {
    pub(super) fn start() -> Self {
        Self { sequence: 0, digest: NO_LINE.into() }
    }

    /// Returns the tail after this line.
    pub(super) fn of(line: &str) -> Option<Self> {
        let entry: AuditEntry = serde_json::from_str(line).ok()?;
        Some(Self { sequence: entry.sequence, digest: hex(&digest(line.as_bytes())) })
    }
}

impl Scribe {
    /// Returns the line for an event, without a newline, and the tail after it.
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

/// Returns the content of a line if its tag is valid.
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

/// The log file as this process has it open.
pub(super) struct Log {
    file: File,
    /// The length at which the tail was read. Another process can make the file longer.
    length: u64,
    tail: Tail,
}

impl Log {
    pub(super) fn open(disk: &Disk) -> Result<Self> {
        Ok(Self { file: disk.open_log()?, length: 0, tail: Tail::start() })
    }

    /// Returns the tail of the file. Must be called under the lock.
    ///
    /// An incomplete last line, left by a crash during a write, is cut off: its operation returned
    /// no result.
    pub(super) fn tail(&mut self, disk: &Disk) -> Result<&Tail> {
        let path = disk.path(LOG_FILE);
        let failed = || LocalKmsError::io("reading", &path);
        let mut found = self.file.metadata().map_err(failed())?;
        // Someone may have moved the log away to start a new one.
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
        // A last line that cannot be parsed was altered; the sequence continues from the store's
        // journal.
        self.tail = Tail::of(&line).unwrap_or_else(|| Tail { sequence: 0, digest: hex(&digest(line.as_bytes())) });
        if end == 0 {
            self.tail = Tail::start();
        }
        self.length = end;
        Ok(&self.tail)
    }

    /// Appends a line that follows the current tail.
    pub(super) fn append(&mut self, disk: &Disk, line: &str, tail: Tail) -> Result<()> {
        let line = format!("{line}\n");
        // A failed append leaves this length, which matches no file, so the tail is read again.
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

/// Returns the last complete line within the first `length` bytes, without its newline, and where
/// it ends.
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
