//! The audit log of the endpoint: one line of JSON for each call, chained to the line before.
//!
//! A thread appends the lines. It writes all that wait with one sync, so the calls of many
//! connections share it. A call is answered after its line is on disk.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::mpsc,
    thread::JoinHandle,
};

use sealwax::SecretBytes;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::{
    LocalKmsError,
    disk::open_own,
    seal::{digest, hex, tag},
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

const FILE: &str = "trail.log";
const LINE: &str = "endpoint audit line";
const BEFORE_TAG: &str = ",\"mac\":\"";
const AFTER_TAG: &str = "\"}";
/// The most lines that share a sync, so that the first of them does not wait for long.
const MOST_AT_ONCE: usize = 1024;

/// The content of a line without its tag.
#[derive(Deserialize)]
struct Line {
    sequence: u64,
    generation: u64,
    previous: String,
    record: Value,
}

struct Entry {
    record: String,
    generation: u64,
    done: oneshot::Sender<bool>,
}

/// Completes when a line is on disk. Its value is false if that failed.
pub(crate) type Written = oneshot::Receiver<bool>;

/// The open log.
pub(crate) struct Log {
    sender: Option<mpsc::Sender<Entry>>,
    thread: Option<JoinHandle<()>>,
}

/// The end of the log, and the thread's state.
struct Writer {
    file: File,
    key: SecretBytes,
    length: u64,
    sequence: u64,
    previous: String,
}

/// What a log contains.
pub(crate) struct Contents {
    /// The records of all lines, oldest first.
    pub(crate) records: Vec<Value>,
    /// The last generation of the store that a line states.
    pub(crate) generation: u64,
    sequence: u64,
    previous: String,
    /// The length of all complete lines in bytes.
    length: u64,
}

/// Reads the log in a directory and verifies it.
///
/// # Errors
/// [`LocalKmsError::Damaged`] with the first line that is altered, inserted or missing.
pub(crate) fn read(directory: &Path, key: &SecretBytes) -> Result<Contents> {
    let path = directory.join(FILE);
    let mut contents = Contents { records: Vec::new(), generation: 0, sequence: 0, previous: String::new(), length: 0 };
    if !path.exists() {
        return Ok(contents);
    }
    let mut text = String::new();
    let mut file = open_own(&path, OpenOptions::new().read(true))?;
    file.read_to_string(&mut text).map_err(LocalKmsError::io("reading", &path))?;
    // A crash during a write leaves a part of a line, whose call was not answered.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let altered = || LocalKmsError::damaged(&path, format!("line {} was altered", contents.sequence + 1));
        let line = line.trim_end_matches('\n');
        let content = authentic(key, line).ok_or_else(altered)?;
        if content.sequence != contents.sequence + 1 || content.previous != contents.previous {
            let what = format!("line {} is missing, or lines were inserted before it", contents.sequence + 1);
            return Err(LocalKmsError::damaged(&path, what));
        }
        contents.sequence = content.sequence;
        contents.generation = contents.generation.max(content.generation);
        contents.previous = hex(&digest(line.as_bytes()));
        contents.length += line.len() as u64 + 1;
        contents.records.push(content.record);
    }
    Ok(contents)
}

fn authentic(key: &SecretBytes, line: &str) -> Option<Line> {
    let (content, found) = line.strip_suffix(AFTER_TAG)?.rsplit_once(BEFORE_TAG)?;
    let content = format!("{content}}}");
    let expected = hex(tag(key, LINE, content.as_bytes()).ok()?.as_bytes());
    SecretBytes::from(expected.into_bytes()).ct_eq(found.as_bytes()).then(|| serde_json::from_str(&content).ok())?
}

impl Log {
    /// Opens the log for appending after `contents`, which were read from it.
    pub(crate) fn open(directory: &Path, key: SecretBytes, contents: &Contents) -> Result<Self> {
        let path = directory.join(FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = open_own(&path, &mut options)?;
        let Contents { sequence, ref previous, length, .. } = *contents;
        let mut writer = Writer { file, key, length, sequence, previous: previous.clone() };
        writer.cut().map_err(LocalKmsError::io("cutting", &path))?;
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new().name("audit log".into()).spawn(move || writer.run(&receiver));
        let thread = thread.map_err(LocalKmsError::io("starting the thread that writes", &path))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Appends a record, which must be JSON on one line.
    pub(crate) fn append(&self, record: String, generation: u64) -> Written {
        let (done, written) = oneshot::channel();
        if let Some(sender) = &self.sender {
            // If the thread is gone, the receiver says so.
            let _ = sender.send(Entry { record, generation, done });
        }
        written
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The thread ends when it has written everything.
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Writer {
    fn run(&mut self, receiver: &mpsc::Receiver<Entry>) {
        while let Ok(first) = receiver.recv() {
            let mut entries = vec![first];
            entries.extend(receiver.try_iter().take(MOST_AT_ONCE - 1));
            let written = self.write(&entries).is_some();
            for entry in entries {
                let _ = entry.done.send(written);
            }
        }
    }

    /// Appends lines and syncs them. After a failure the file ends where it ended before, or the next
    /// write fails too.
    fn write(&mut self, entries: &[Entry]) -> Option<()> {
        let (mut sequence, mut previous) = (self.sequence, self.previous.clone());
        let mut text = String::new();
        for entry in entries {
            sequence += 1;
            let Entry { record, generation, .. } = entry;
            let mut line = format!(
                r#"{{"sequence":{sequence},"generation":{generation},"previous":"{previous}","record":{record}}}"#
            );
            let tag = hex(tag(&self.key, LINE, line.as_bytes()).ok()?.as_bytes());
            line.pop();
            line.push_str(&format!("{BEFORE_TAG}{tag}{AFTER_TAG}"));
            previous = hex(&digest(line.as_bytes()));
            text.push_str(&line);
            text.push('\n');
        }
        self.cut().ok()?;
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        if written.is_err() {
            let _ = self.cut();
            return None;
        }
        (self.sequence, self.previous, self.length) = (sequence, previous, self.length + text.len() as u64);
        Some(())
    }

    /// Removes what a failed write left, and moves to the end.
    fn cut(&mut self) -> std::io::Result<()> {
        if self.file.metadata()?.len() != self.length {
            self.file.set_len(self.length)?;
        }
        self.file.seek(SeekFrom::Start(self.length)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chained_and_every_change_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let key = || SecretBytes::from([1; 32]);
        let append = |count: u64| {
            let log = Log::open(directory.path(), key(), &read(directory.path(), &key()).unwrap()).unwrap();
            for number in 0..count {
                assert!(log.append(format!("{{\"n\":{number}}}"), 7).blocking_recv().unwrap());
            }
        };
        append(2);
        append(1);
        let file = directory.path().join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        let contents = read(directory.path(), &key()).unwrap();
        assert_eq!(
            (contents.records, contents.generation),
            ([0, 1, 0].map(|n| serde_json::json!({ "n": n })).to_vec(), 7)
        );
        let lines: Vec<_> = text.lines().collect();
        for altered in [
            text.replacen("\"n\":1", "\"n\":2", 1),
            format!("{}\n{}\n", lines[0], lines[2]),
            format!("{}\n{}\n", lines[1], lines[2]),
            format!("{text}{}\n", lines[2]),
            format!("{text}nonsense\n"),
        ] {
            std::fs::write(&file, altered).unwrap();
            assert!(matches!(read(directory.path(), &key()), Err(LocalKmsError::Damaged { .. })));
        }
        // A part of a line, which a crash left, is cut off.
        std::fs::write(&file, format!("{text}{{\"sequ")).unwrap();
        append(1);
        assert_eq!(read(directory.path(), &key()).unwrap().records.len(), 4);
    }
}
