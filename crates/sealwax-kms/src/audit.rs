//! The audit log: one line of JSON for each operation, chained to the line before.
//!
//! A line contains the SHA-256 digest of the line before it and ends with a tag under a key that
//! only the store has. Without that key, no line can be altered, removed or inserted unnoticed. The
//! store holds the line of its last change (the journal), so a log that was cut off before that
//! line is noticed too. Each line also contains the generation of the store, so a store file that
//! was replaced by an older one is noticed as well.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use sealwax::{EncryptionContext, Escaped, SecretBytes};
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
/// The longest logged name of a caller, or of a key that does not exist, in bytes.
const MAX_NAME: usize = 256;
/// How far back from its end the log is searched for its last authentic line, in bytes. Every valid
/// line is much shorter.
const LOOK_BACK: u64 = 16 << 20;

/// Returns the start of a name, which must not make a line of any length.
pub(super) fn shortened(name: &str) -> &str {
    let end = (0..=MAX_NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or_default()
}

/// A line of the audit log, from [`LocalKms::audit_log`](super::LocalKms::audit_log).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// The sequence number, from 1 without gaps.
    pub sequence: u64,
    /// The generation of the store after the operation; each change increments it. The first
    /// version of the log did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
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

    /// Returns whether the operation only reads, so that a read-only store can perform it without a
    /// line in the log.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.operation, "Decrypt" | "DescribeKey" | "ListKeys" | "ListAliases")
    }

    /// Sets the key: its id, or the requested name if there is no such key.
    pub(super) fn key(mut self, name: &str) -> Self {
        self.key_id = Some(shortened(name).to_owned());
        self
    }

    /// Sets the encryption context, unless it is too long for any message.
    pub(super) fn context(mut self, context: &EncryptionContext) -> Self {
        self.context = context.serialize().is_ok().then(|| context.clone());
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
    /// The generation of the store when the line was written, if the line has one.
    pub(super) generation: Option<u64>,
}

impl Tail {
    pub(super) fn start() -> Self {
        Self { sequence: 0, digest: NO_LINE.into(), generation: None }
    }

    /// Returns the tail after this line, which must be authentic.
    pub(super) fn of(line: &str) -> Option<Self> {
        Some(Self::after(&serde_json::from_str(line).ok()?, line.as_bytes()))
    }

    fn after(entry: &AuditEntry, line: &[u8]) -> Self {
        Self { sequence: entry.sequence, digest: hex(&digest(line)), generation: entry.generation }
    }
}

impl Scribe {
    /// Returns the line for an event, without a newline, and the tail after it.
    pub(super) fn line(&self, event: Event, now: Timestamp, generation: u64, tail: &Tail) -> Result<(String, Tail)> {
        let context = event.context.unwrap_or_default();
        let values = || context.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let entry = AuditEntry {
            sequence: tail.sequence.saturating_add(1),
            generation: Some(generation),
            time: now.to_string(),
            operation: event.operation.into(),
            key_id: event.key_id,
            source_key_id: event.source_key_id,
            alias: event.alias,
            context_keys: context.iter().map(|(key, _)| key.to_owned()).collect(),
            context: self.context_values.then(values),
            outcome: event.outcome.into(),
            identity: self.identity.as_deref().map(|identity| shortened(identity).to_owned()),
            previous: tail.digest.clone(),
        };
        let line = serde_json::to_string(&entry).map_err(|error| {
            LocalKmsError::io("writing a line of", std::path::Path::new(LOG_FILE))(io::Error::from(error))
        })?;
        let mut line = inert(&line);
        let tag = tag(&self.key, LINE, line.as_bytes()).map_err(LocalKmsError::Crypto)?;
        line.pop();
        line.push_str(BEFORE_TAG);
        line.push_str(&hex(tag.as_bytes()));
        line.push_str(AFTER_TAG);
        let tail = Tail::after(&entry, line.as_bytes());
        Ok((line, tail))
    }
}

/// Escapes the characters of a line that could act on a terminal, which JSON allows in strings.
fn inert(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for letter in line.chars() {
        if letter.is_ascii_graphic() || letter == ' ' || Escaped(letter.encode_utf8(&mut [0; 4])).to_string().len() <= 4
        {
            out.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
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
    /// `None` if there is none in a read-only directory.
    file: Option<File>,
    /// The length at which the tail was read. Another process can make the file longer.
    length: u64,
    tail: Tail,
    /// Whether lines after the tail were altered or inserted.
    altered: bool,
}

impl Log {
    pub(super) fn open(disk: &Disk) -> Result<Self> {
        Ok(Self { file: disk.open_log()?, length: 0, tail: Tail::start(), altered: false })
    }

    /// Returns the tail after the last authentic line of the file. Must be called under the lock.
    ///
    /// Lines that are not authentic do not count, so that nobody without the key can determine how
    /// the log goes on, and the log is intact again once they are removed.
    ///
    /// An incomplete last line, left by a crash during a write, is cut off: its operation returned
    /// no result.
    pub(super) fn tail(&mut self, disk: &Disk, key: &SecretBytes, journal: &Tail) -> Result<&Tail> {
        let path = disk.path(LOG_FILE);
        let failed = || LocalKmsError::io("reading", &path);
        let Some(file) = &self.file else { return Ok(&self.tail) };
        let mut found = file.metadata().map_err(failed())?;
        // Someone may have moved the log away to start a new one.
        match is_current(&found, &path) {
            Ok(true) => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
            _ => {
                *self = Self::open(disk)?;
                let Some(file) = &self.file else { return Ok(&self.tail) };
                found = file.metadata().map_err(failed())?;
            }
        }
        let Some(file) = &self.file else { return Ok(&self.tail) };
        if found.len() == self.length {
            return Ok(&self.tail);
        }
        let end = last_lines(file, found.len(), |lines, is_whole| {
            (self.tail, self.altered) = (Tail::start(), !lines.is_empty());
            for (at, line) in lines.iter().enumerate().rev() {
                let Some(entry) = str::from_utf8(line).ok().and_then(|line| authentic(key, line)) else { continue };
                if entry.sequence > self.tail.sequence {
                    (self.tail, self.altered) = (Tail::after(&entry, line), at + 1 < lines.len());
                }
                // A line that does not follow the one before it may be an old one that was repeated
                // here, so the search goes on.
                let before = at.checked_sub(1).and_then(|before| lines.get(before));
                let follows = before.is_some_and(|before| hex(&digest(before)) == entry.previous);
                if follows && self.tail.sequence >= journal.sequence {
                    return true;
                }
            }
            is_whole
        });
        let too_long = || LocalKmsError::damaged(&path, "its last line is longer than any valid line");
        let end = end.map_err(failed())?.ok_or_else(too_long)?;
        if end != found.len() && !disk.is_read_only() {
            disk.cut_log(file, end)?;
        }
        self.length = end;
        Ok(&self.tail)
    }

    /// Makes the log reach the journal, the line of the store's last change. The process that made
    /// the change may have died before it appended the line.
    ///
    /// `settle` is called before: a log that survives a crash of the machine must not state a
    /// generation that does not.
    pub(super) fn reach(
        &mut self,
        disk: &Disk,
        line: &str,
        journal: &Tail,
        settle: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.tail.sequence >= journal.sequence {
            return Ok(());
        }
        settle()?;
        if self.altered {
            // Among the altered lines is most likely this one. Appended again, it would be there
            // twice after the log has been restored.
            self.tail = journal.clone();
            return Ok(());
        }
        self.append(disk, line, journal.clone())
    }

    /// Appends a line that follows the current tail.
    pub(super) fn append(&mut self, disk: &Disk, line: &str, tail: Tail) -> Result<()> {
        let line = format!("{line}\n");
        // A failed append leaves this length, which matches no file, so the tail is read again.
        let length = std::mem::replace(&mut self.length, u64::MAX);
        let Some(file) = &self.file else { return Err(disk.refuse_to_write()) };
        disk.append(file, line.as_bytes())?;
        self.length = length.saturating_add(line.len() as u64);
        self.tail = tail;
        Ok(())
    }

    pub(super) fn sync(&self, disk: &Disk) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| disk.sync_log(file))
    }
}

/// Calls `search` with the last complete lines within the first `length` bytes, first with a few
/// and then with more, until it returns true. Its second argument is whether there will be no more.
///
/// Returns where the last complete line ends, or `None` if there is none as far as the search goes.
fn last_lines(mut file: &File, length: u64, mut search: impl FnMut(&[&[u8]], bool) -> bool) -> io::Result<Option<u64>> {
    let mut window = 4096_u64;
    loop {
        let start = length.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(length - start).read_to_end(&mut bytes)?;
        let is_whole = start == 0 || window >= LOOK_BACK;
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let complete = end.and_then(|end| bytes.get(..end));
        let lines = complete.into_iter().flat_map(|complete| complete.split(|byte| *byte == b'\n'));
        // The first line of a part may have begun before it.
        let lines: Vec<_> = lines.skip(usize::from(start > 0)).collect();
        if search(&lines, is_whole) || is_whole {
            let end = end.map(|end| start + end as u64 + 1);
            return Ok(end.or((start == 0).then_some(0)));
        }
        window = window.saturating_mul(4);
    }
}
