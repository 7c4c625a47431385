//! Output about the store, as tables for people and as JSON for scripts.

use std::time::SystemTime;

use sealwax::Escaped;
use sealwax_kms::{Alias, AuditEntry, AuditReport, BackupReport, KeyMetadata, KeyState};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{failure::Failure, streams::print};

/// Prints a value as one line of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value).unwrap_or_default())
}

/// Prints a line.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    print(format!("{text}\n").as_bytes())
}

/// Prints rows below a heading, in columns as wide as their content.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let print_row = |cells: Vec<&str>| {
        let padded: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(padded.join("  ").trim_end())
    };
    print_row(head.to_vec())?;
    rows.iter().try_for_each(|row| print_row(row.iter().map(String::as_str).collect()))
}

fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

fn state(key: &KeyMetadata) -> String {
    match key.state {
        KeyState::Enabled => "enabled".into(),
        KeyState::Disabled => "disabled".into(),
        KeyState::PendingDeletion(time) => format!("deletion on {}", date(time)),
        _ => "unknown".into(),
    }
}

fn as_json(key: &KeyMetadata) -> Value {
    let (state, deletion) = match key.state {
        KeyState::Enabled => ("Enabled", None),
        KeyState::Disabled => ("Disabled", None),
        KeyState::PendingDeletion(time) => ("PendingDeletion", Some(date(time))),
        _ => ("Unknown", None),
    };
    json!({
        "key_id": key.key_id,
        "aliases": key.aliases,
        "description": key.description,
        "state": state,
        "deletion_date": deletion,
        "origin": if key.imported { "External" } else { "Store" },
        "created": date(key.created),
        "rotated": date(key.rotated),
        "generations": key.generations,
        "rotation_days": key.rotation_days,
    })
}

/// Prints keys, one per line.
pub(super) fn keys(keys: &[KeyMetadata], as_lines: bool) -> Result<(), Failure> {
    if as_lines {
        return json(&keys.iter().map(as_json).collect::<Vec<_>>());
    }
    let row = |key: &KeyMetadata| {
        let aliases =
            key.aliases.iter().map(|alias| Escaped(alias.trim_start_matches("alias/")).to_string()).collect::<Vec<_>>();
        [key.key_id.clone(), aliases.join(", "), state(key), date(key.created), Escaped(&key.description).to_string()]
    };
    table(["KEY", "ALIASES", "STATE", "CREATED", "DESCRIPTION"], &keys.iter().map(row).collect::<Vec<_>>())
}

/// Prints all details of a key.
pub(super) fn key(key: &KeyMetadata, in_json: bool) -> Result<(), Failure> {
    if in_json {
        return json(&as_json(key));
    }
    let rotation = match key.rotation_days {
        Some(days) => format!("every {days} days"),
        None => "manual".into(),
    };
    let aliases = key.aliases.iter().map(|alias| Escaped(alias).to_string()).collect::<Vec<_>>().join(", ");
    for (name, value) in [
        ("key", key.key_id.clone()),
        ("aliases", aliases),
        ("description", Escaped(&key.description).to_string()),
        ("state", state(key)),
        ("origin", if key.imported { "imported" } else { "generated" }.into()),
        ("created", date(key.created)),
        ("rotated", date(key.rotated)),
        ("generations", key.generations.to_string()),
        ("rotation", rotation),
    ] {
        line(format!("{name:12} {value}").trim_end())?;
    }
    Ok(())
}

/// Prints aliases.
pub(super) fn aliases(aliases: &[Alias], in_json: bool) -> Result<(), Failure> {
    if in_json {
        let alias = |alias: &Alias| json!({ "alias": alias.name, "key_id": alias.key_id });
        return json(&aliases.iter().map(alias).collect::<Vec<_>>());
    }
    let rows: Vec<_> = aliases.iter().map(|alias| [Escaped(&alias.name).to_string(), alias.key_id.clone()]).collect();
    table(["ALIAS", "KEY"], &rows)
}

/// Prints the result of an import.
pub(super) fn backup(report: &BackupReport, in_json: bool) -> Result<(), Failure> {
    let BackupReport { added, completed, unchanged, aliases_kept, .. } = report;
    if in_json {
        let value =
            json!({ "added": added, "completed": completed, "unchanged": unchanged, "aliases_kept": aliases_kept });
        return json(&value);
    }
    line(&format!("{} keys added, {} completed, {} unchanged", added.len(), completed.len(), unchanged.len()))?;
    let kept =
        aliases_kept.iter().map(|alias| format!("{} was kept: it points to another key in this store", Escaped(alias)));
    kept.into_iter().try_for_each(|text| line(&text))
}

/// Prints entries of the log.
pub(super) fn log(entries: &[AuditEntry], in_json: bool) -> Result<(), Failure> {
    if in_json {
        return entries.iter().try_for_each(json);
    }
    let text = |text: &Option<String>| text.as_deref().map(|text| Escaped(text).to_string()).unwrap_or_default();
    let row = |entry: &AuditEntry| {
        [
            entry.sequence.to_string(),
            Escaped(&entry.time).to_string(),
            Escaped(&entry.operation).to_string(),
            Escaped(&entry.outcome).to_string(),
            text(&entry.identity),
            text(if entry.alias.is_some() { &entry.alias } else { &entry.key_id }),
        ]
    };
    table(["LINE", "TIME", "OPERATION", "OUTCOME", "IDENTITY", "KEY"], &entries.iter().map(row).collect::<Vec<_>>())
}

/// Prints the result of verifying the log.
pub(super) fn audit(report: &AuditReport, in_json: bool) -> Result<(), Failure> {
    let head = report.head.as_ref().map(|(sequence, digest)| format!("{sequence}:{digest}"));
    let faults: Vec<_> = report.faults.iter().map(ToString::to_string).collect();
    if in_json {
        return json(&json!({ "lines": report.lines, "head": head, "faults": faults }));
    }
    faults.iter().try_for_each(|fault| line(fault))?;
    if faults.is_empty() {
        line(&format!("{} lines verified\nhead {}", report.lines, head.unwrap_or_default()))?;
    }
    Ok(())
}
