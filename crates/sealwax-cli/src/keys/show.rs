//! Output about the store, as tables for people and as JSON for scripts.

use std::{fmt::Write as _, path::Path, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use sealwax::Escaped;
use sealwax_kms::{Alias, AuditEntry, AuditReport, BackupReport, KeyMetadata, KeyState};
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{failure::Failure, session::Session, streams::print_plaintext};

/// The fewest characters that are shown of the last part of a key id.
const SHORT_ID: usize = 8;

/// Prints results.
#[derive(Clone, Copy)]
pub(super) struct Show<'a>(pub(super) &'a Session);

/// Returns rows below a heading, in columns as wide as their content.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: Vec<&str>| {
        let padded: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec())).chain(rows).collect()
}

fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Returns the state of a key, and the date of its deletion.
fn state(key: &KeyMetadata) -> (&'static str, Option<String>) {
    match key.state {
        KeyState::Enabled => ("enabled", None),
        KeyState::Disabled => ("disabled", None),
        KeyState::PendingDeletion(time) => ("pending deletion", Some(date(time))),
        _ => ("unknown", None),
    }
}

/// Returns the details of a key. Their names are those of the text, with underscores.
fn as_json(key: &KeyMetadata) -> Value {
    let (state, deletion) = state(key);
    json!({
        "key_id": key.key_id,
        "aliases": key.aliases,
        "description": key.description,
        "state": state,
        "deletion_date": deletion,
        "origin": if key.imported { "imported" } else { "generated" },
        "created": date(key.created),
        "rotated": date(key.rotated),
        "generations": key.generations,
        "rotation_days": key.rotation_days,
    })
}

fn escaped(text: &str) -> String {
    Escaped(text).to_string()
}

fn last_part(key: &KeyMetadata) -> &str {
    key.key_id.rsplit_once('/').map_or(&*key.key_id, |(_, last)| last)
}

/// Returns the shortest start of the last part of a key's id that names only this key, and is not
/// too short to be recognized. `sorted` has the last parts of all ids.
fn short_id<'a>(key: &'a KeyMetadata, sorted: &[&str]) -> &'a str {
    let own = last_part(key);
    let same = |other: &str| own.bytes().zip(other.bytes()).take_while(|(own, other)| own == other).count();
    let at = sorted.partition_point(|other| *other < own);
    let neighbors = [at.checked_sub(1), at.checked_add(1)].into_iter().flatten().filter_map(|at| sorted.get(at));
    let length = neighbors.map(|other| same(other) + 1).fold(SHORT_ID, usize::max);
    own.get(..length).unwrap_or(&key.key_id)
}

impl Show<'_> {
    /// Prints keys, one per line.
    pub(super) fn keys(self, keys: &[KeyMetadata], whole_ids: bool) -> Result<(), Failure> {
        let mut sorted: Vec<_> = keys.iter().map(last_part).collect();
        sorted.sort_unstable();
        let row = |key: &KeyMetadata| {
            let aliases: Vec<_> =
                key.aliases.iter().map(|alias| escaped(alias.strip_prefix("alias/").unwrap_or(alias))).collect();
            let id = if whole_ids { &key.key_id } else { short_id(key, &sorted) };
            let state = match state(key) {
                (state, Some(date)) => format!("{state} on {date}"),
                (state, None) => state.to_owned(),
            };
            [aliases.join(", "), id.to_owned(), state, date(key.created), escaped(&key.description)]
        };
        let head = ["ALIASES", "KEY", "STATE", "CREATED", "DESCRIPTION"];
        let json = json!({ "keys": keys.iter().map(as_json).collect::<Vec<_>>() });
        self.0.show(&json, || table(head, &keys.iter().map(row).collect::<Vec<_>>()))
    }

    /// Prints all details of a key.
    pub(super) fn key(self, key: &KeyMetadata) -> Result<(), Failure> {
        let (state, deletion) = state(key);
        let rotation = key.rotation_days.map_or_else(|| "none".to_owned(), |days| days.to_string());
        let rows = [
            ("key id", key.key_id.clone()),
            ("aliases", escaped(&key.aliases.join(", "))),
            ("description", escaped(&key.description)),
            ("state", state.to_owned()),
            ("deletion date", deletion.unwrap_or_else(|| "none".to_owned())),
            ("origin", if key.imported { "imported" } else { "generated" }.into()),
            ("created", date(key.created)),
            ("rotated", date(key.rotated)),
            ("generations", key.generations.to_string()),
            ("rotation days", rotation),
        ];
        let text =
            || rows.iter().map(|(name, value)| format!("{}\n", format!("{name:14} {value}").trim_end())).collect();
        self.0.show(&as_json(key), text)
    }

    /// Prints the directory of the store.
    pub(super) fn path(self, directory: &Path) -> Result<(), Failure> {
        let path = directory.display().to_string();
        self.0.show(&json!({ "path": path }), || format!("{}\n", Escaped(&path)))
    }

    /// Prints aliases.
    pub(super) fn aliases(self, aliases: &[Alias]) -> Result<(), Failure> {
        let json = |alias: &Alias| json!({ "alias": alias.name, "key_id": alias.key_id });
        let rows = || aliases.iter().map(|alias| [escaped(&alias.name), alias.key_id.clone()]).collect::<Vec<_>>();
        let json = json!({ "aliases": aliases.iter().map(json).collect::<Vec<_>>() });
        self.0.show(&json, || table(["ALIAS", "KEY"], &rows()))
    }

    /// Prints an alias that was created or changed.
    pub(super) fn alias(self, alias: &Alias) -> Result<(), Failure> {
        let Alias { name, key_id, .. } = alias;
        self.0.show(&json!({ "alias": name, "key_id": key_id }), || {
            table(["ALIAS", "KEY"], &[[escaped(name), key_id.clone()]])
        })
    }

    /// Prints what was done, if there is nothing more to say.
    pub(super) fn done(self, text: &str) -> Result<(), Failure> {
        self.0.show(&json!({ "done": text }), || format!("{text}\n"))
    }

    /// Prints that a backup was written, and its passphrase if it was generated.
    pub(super) fn exported(self, output: &Path, passphrase: Option<&str>) -> Result<(), Failure> {
        let done = "backup written";
        let json = json!({ "done": done, "output": output.display().to_string(), "passphrase": passphrase });
        self.0.show(&json, || {
            let passphrase = passphrase.map_or_else(String::new, |text| format!("passphrase {text}\n"));
            format!("{done}\n{passphrase}")
        })
    }

    /// Prints the result of an import.
    pub(super) fn backup(self, report: &BackupReport) -> Result<(), Failure> {
        let BackupReport { added, completed, unchanged, aliases_kept, .. } = report;
        let json =
            json!({ "added": added, "completed": completed, "unchanged": unchanged, "aliases_kept": aliases_kept });
        self.0.show(&json, || {
            let mut text =
                format!("{} keys added, {} completed, {} unchanged\n", added.len(), completed.len(), unchanged.len());
            for alias in aliases_kept {
                let _ = writeln!(text, "{} was kept: it points to another key in this store", Escaped(alias));
            }
            text
        })
    }

    /// Prints entries of the log.
    pub(super) fn log(self, entries: &[AuditEntry]) -> Result<(), Failure> {
        let text = |text: &Option<String>| text.as_deref().map(escaped).unwrap_or_default();
        let row = |entry: &AuditEntry| {
            [
                entry.sequence.to_string(),
                escaped(&entry.time),
                escaped(&entry.operation),
                escaped(&entry.outcome),
                text(&entry.identity),
                text(if entry.alias.is_some() { &entry.alias } else { &entry.key_id }),
            ]
        };
        let head = ["LINE", "TIME", "OPERATION", "OUTCOME", "IDENTITY", "KEY"];
        self.0.show(&json!({ "entries": entries }), || table(head, &entries.iter().map(row).collect::<Vec<_>>()))
    }

    /// Prints the result of verifying the log.
    pub(super) fn audit(self, report: &AuditReport) -> Result<(), Failure> {
        let head = report.head.as_ref().map(|(sequence, digest)| format!("{sequence}:{digest}"));
        let faults: Vec<_> = report.faults.iter().map(ToString::to_string).collect();
        self.0.show(&json!({ "lines": report.lines, "head": head, "faults": faults }), || {
            if faults.is_empty() {
                format!("{} lines verified\nhead {}\n", report.lines, head.as_deref().unwrap_or_default())
            } else {
                faults.iter().map(|fault| format!("{fault}\n")).collect()
            }
        })
    }

    /// Prints a ciphertext.
    pub(super) fn sealed(self, key_id: &str, ciphertext: &str) -> Result<(), Failure> {
        self.0.show(&json!({ "key_id": key_id, "ciphertext": ciphertext }), || format!("{ciphertext}\n"))
    }

    /// Prints a plaintext; as JSON, in base64.
    pub(super) fn opened(self, key_id: &str, plaintext: &[u8]) -> Result<(), Failure> {
        if self.0.json.is_none() {
            return print_plaintext(plaintext);
        }
        let plaintext = Zeroizing::new(BASE64_STANDARD.encode(plaintext));
        self.0.emit(&Opened { key_id, plaintext: &plaintext }).map(drop)
    }
}

#[derive(Serialize)]
struct Opened<'a> {
    key_id: &'a str,
    plaintext: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_is_the_start_of_no_other_id() {
        let directory = tempfile::tempdir().unwrap();
        let key = sealwax_kms::LocalKms::create(directory.path()).unwrap().create_key("").unwrap();
        let key = |last: &str| {
            let mut key = key.clone();
            key.key_id = format!("local:store/key/{last}");
            key
        };
        let keys = ["0123456789", "0123456799", "01234568", "fedcba9876", "0123456789"].map(key);
        let mut sorted: Vec<_> = keys.iter().map(last_part).collect();
        sorted.sort_unstable();
        let short: Vec<_> = keys[..4].iter().map(|key| short_id(key, &sorted)).collect();
        // Of two that are the same, which an import can bring, only the whole ids differ.
        assert_eq!(short, ["local:store/key/0123456789", "012345679", "01234568", "fedcba98"]);
    }
}
