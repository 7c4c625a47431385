//! `sealwax keys`: the embedded key store.

use std::io::{self, Read, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use sealwax::{EncryptionContext, SecretBytes};
use sealwax_kms::{AuditReport, LocalKms, MAX_PLAINTEXT, Root, WaitingPeriod};
use serde_json::json;

use self::place::passphrase_from;
use crate::{arguments::context_of, failure::Failure, key_uri};

mod arguments;
mod place;
mod show;

use arguments::{AliasCommand, KeysCommand};
pub(crate) use arguments::{KeysArguments, StoreArguments};
pub(crate) use place::{default_for_decryption, default_for_encryption, keyring, open, set_place};

/// The longest text that `keys open` reads: the longest plaintext as base64 with line ends, and a
/// margin.
const MAX_SEALED: usize = 3 * MAX_PLAINTEXT;

pub(crate) fn run(arguments: &KeysArguments) -> Result<(), Failure> {
    let KeysArguments { json, command } = arguments;
    let json = *json;
    if let KeysCommand::Create { alias, description } = command {
        let kms = place::open_or_create()?;
        let key = match alias {
            Some(alias) => kms.create_key_with_alias(description, alias)?,
            None => kms.create_key(description)?,
        };
        return show::key(&key, json);
    }
    let kms = open()?;
    match command {
        KeysCommand::Create { .. } => Ok(()),
        KeysCommand::List => show::keys(&kms.list_keys()?, json),
        KeysCommand::Describe { key } => show::key(&kms.describe_key(key)?, json),
        KeysCommand::Alias(command) => alias(&kms, command, json),
        KeysCommand::Rotate { key, every: Some(days), .. } => show::key(&kms.enable_key_rotation(key, *days)?, json),
        KeysCommand::Rotate { key, never: true, .. } => show::key(&kms.disable_key_rotation(key)?, json),
        KeysCommand::Rotate { key, .. } => show::key(&kms.rotate_key(key)?, json),
        KeysCommand::RotateRoot { .. } => {
            kms.rotate_root(new_root(command)?).wait()?;
            done("the store has a new root key", json)
        }
        KeysCommand::Enable { key } => show::key(&kms.enable_key(key)?, json),
        KeysCommand::Disable { key } => show::key(&kms.disable_key(key)?, json),
        KeysCommand::Delete { key, days, sooner } => {
            let wait = sooner.map_or(WaitingPeriod::Days(*days), WaitingPeriod::Sooner);
            show::key(&kms.schedule_key_deletion(key, wait)?, json)
        }
        KeysCommand::CancelDelete { key } => show::key(&kms.cancel_key_deletion(key)?, json),
        KeysCommand::Import { file, material: true, alias, description, .. } => {
            // Read one byte more than a key has, so that a longer file is not taken for a key.
            let material = key_uri::read_secret(file, 33);
            let material = material.map_err(|error| Failure::about(&file.display().to_string(), error))?;
            let mut key = kms.import_key(material, description)?;
            if let Some(alias) = alias {
                kms.create_alias(alias, &key.key_id)?;
                key = kms.describe_key(&key.key_id)?;
            }
            show::key(&key, json)
        }
        KeysCommand::Import { file, backup_passphrase_file, .. } => {
            let passphrase = passphrase_from(backup_passphrase_file.as_deref(), "Passphrase of the backup: ", false)?;
            let report = kms.import_backup(file, Root::passphrase(passphrase)).wait()?;
            show::backup(&report, json)
        }
        KeysCommand::Export { output, key, backup_passphrase_file } => {
            let passphrase = passphrase_from(backup_passphrase_file.as_deref(), "Passphrase for the backup: ", true)?;
            kms.export(output, key.as_deref(), Root::passphrase(passphrase)).wait()?;
            done("the backup is written", json)
        }
        KeysCommand::Audit { verify: true, head, .. } => {
            let report = kms.verify_audit_log()?;
            show::audit(&report, json)?;
            check(&kms, &report, head.as_deref())
        }
        KeysCommand::Audit { last, .. } => {
            let entries = kms.audit_log()?;
            let from = last.map_or(0, |last| entries.len().saturating_sub(last));
            show::log(entries.get(from..).unwrap_or_default(), json)
        }
        KeysCommand::Seal { key, context } => seal(&kms, key, &context_of("--context", context)?, json),
        KeysCommand::Open { context } => open_sealed(&kms, &context_of("--context", context)?),
    }
}

fn alias(kms: &LocalKms, command: &AliasCommand, json: bool) -> Result<(), Failure> {
    let alias = match command {
        AliasCommand::List => return show::aliases(&kms.list_aliases()?, json),
        AliasCommand::Delete { alias } => {
            kms.delete_alias(alias)?;
            return done("the alias is deleted", json);
        }
        AliasCommand::Create { alias, key } => kms.create_alias(alias, key)?,
        AliasCommand::Update { alias, key } => kms.update_alias(alias, key)?,
    };
    show::aliases(&[alias], json)
}

fn new_root(command: &KeysCommand) -> Result<Root, Failure> {
    let KeysCommand::RotateRoot { new_passphrase, new_passphrase_file, new_root_key_file, new_root_key } = command
    else {
        return Ok(Root::key_file_in_folder());
    };
    Ok(match (new_root_key, new_root_key_file) {
        (Some(uri), _) => place::wrapped(uri)?,
        (None, Some(file)) => Root::key_file(file),
        _ if *new_passphrase || new_passphrase_file.is_some() => {
            Root::passphrase(passphrase_from(new_passphrase_file.as_deref(), "New passphrase: ", true)?)
        }
        _ => Root::key_file_in_folder(),
    })
}

/// Fails if verifying the log found something, or if a line that was once present is missing.
fn check(kms: &LocalKms, report: &AuditReport, head: Option<&str>) -> Result<(), Failure> {
    if !report.faults.is_empty() {
        let count = report.faults.len();
        return Err(Failure::new(3, format!("the audit log is not whole: {count} faults")));
    }
    let Some(head) = head else { return Ok(()) };
    let usage = || Failure::usage("a head is SEQUENCE:DIGEST, as a check prints it");
    let (sequence, digest) = head.split_once(':').ok_or_else(usage)?;
    let sequence: u64 = sequence.parse().map_err(|_| usage())?;
    // The digest of a line is in the line that follows it; that of the last line is the report's
    // head.
    let next = kms.audit_log()?.into_iter().find(|entry| sequence.checked_add(1) == Some(entry.sequence));
    let found = next.map(|entry| entry.previous);
    let found = found.or_else(|| report.head.clone().filter(|(last, _)| *last == sequence).map(|(_, digest)| digest));
    match found {
        Some(found) if found == digest => Ok(()),
        _ => Err(Failure::new(
            3,
            format!(
                "the audit log no longer has line {sequence} as it was: an older copy was put in its place, or its end was cut off"
            ),
        )),
    }
}

fn done(text: &str, json: bool) -> Result<(), Failure> {
    if json { show::json(&json!({ "done": text })) } else { show::line(text) }
}

/// Reads at most `limit` bytes of standard input.
fn read_input(limit: usize) -> Result<SecretBytes, Failure> {
    let mut bytes = Vec::with_capacity(limit + 1);
    let read = io::stdin().lock().take(limit as u64 + 1).read_to_end(&mut bytes);
    let bytes = SecretBytes::from(bytes);
    read.map_err(|error| Failure::about("standard input", error))?;
    if bytes.len() > limit {
        let why = format!("standard input has more than {limit} bytes: sealwax encrypt takes any length");
        return Err(Failure::usage(why));
    }
    Ok(bytes)
}

fn seal(kms: &LocalKms, key: &str, context: &EncryptionContext, json: bool) -> Result<(), Failure> {
    let sealed = kms.encrypt(key, read_input(MAX_PLAINTEXT)?.as_bytes(), context)?;
    let text = BASE64_STANDARD.encode(&sealed.ciphertext);
    if json { show::json(&json!({ "key_id": sealed.key_id, "ciphertext": text })) } else { show::line(&text) }
}

fn open_sealed(kms: &LocalKms, context: &EncryptionContext) -> Result<(), Failure> {
    let text = read_input(MAX_SEALED)?;
    let text: Vec<u8> = text.as_bytes().iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let ciphertext = BASE64_STANDARD.decode(text);
    let ciphertext = ciphertext.map_err(|_| Failure::new(3, "standard input is not what keys seal wrote".into()))?;
    let opened = kms.decrypt(&ciphertext, context)?;
    let mut out = io::stdout().lock();
    let written = out.write_all(opened.plaintext.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::about("standard output", error))
}
