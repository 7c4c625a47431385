//! `sealwax keys`: the embedded key store.

use std::{
    fs,
    io::{self, IsTerminal, Read, Write},
    ops::RangeInclusive,
    path::Path,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use sealwax::{EncryptionContext, Escaped, SecretBytes};
use sealwax_kms::{AuditReport, LocalKms, MAX_PLAINTEXT, Root, WaitingPeriod};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    arguments::{AliasCommand, KeysArguments, KeysCommand, context_of},
    cleanup::{Cleanup, Guarded},
    failure::Failure,
    secrets::{passphrase_from, read_secret},
    session::Session,
    store::Store,
    streams::{is_standard, print_binary, print_plaintext},
};

mod show;

/// The usual waiting periods before a key is deleted, in days.
const WAITING_DAYS: RangeInclusive<u32> = 7..=30;

/// The longest text that `keys open` reads: the longest plaintext as base64 with line ends, and a
/// margin.
const MAX_SEALED: usize = 3 * MAX_PLAINTEXT;

pub(crate) fn run(arguments: &KeysArguments, session: &Session) -> Result<(), Failure> {
    let KeysArguments { json, command } = arguments;
    let (json, store, cleanup) = (*json, Store::new(session), &session.cleanup);
    if let KeysCommand::Create { alias, description } = command {
        let kms = store.open_or_create()?;
        let key = match alias {
            Some(alias) => kms.create_key_with_alias(description, alias)?,
            None => kms.create_key(description)?,
        };
        return show::key(&key, json);
    }
    let kms = store.open()?;
    match command {
        KeysCommand::Create { .. } => Ok(()),
        KeysCommand::List => show::keys(&kms.list_keys()?, json),
        KeysCommand::Describe { key } => show::key(&kms.describe_key(key)?, json),
        KeysCommand::Alias(command) => alias(&kms, command, json),
        KeysCommand::Rotate { key, every: Some(days), .. } => show::key(&kms.enable_key_rotation(key, *days)?, json),
        KeysCommand::Rotate { key, never: true, .. } => show::key(&kms.disable_key_rotation(key)?, json),
        KeysCommand::Rotate { key, .. } => show::key(&kms.rotate_key(key)?, json),
        KeysCommand::RotateRoot { .. } => {
            kms.rotate_root(new_root(store, cleanup, command)?).wait()?;
            done("root key replaced", json)
        }
        KeysCommand::Enable { key } => show::key(&kms.enable_key(key)?, json),
        KeysCommand::Disable { key } => show::key(&kms.disable_key(key)?, json),
        KeysCommand::Delete { key, days, sooner, yes } => {
            if let Some(wait) = sooner.filter(|_| !yes) {
                confirm_deletion(&kms.describe_key(key)?.key_id, wait)?;
            } else if sooner.is_none() && !WAITING_DAYS.contains(days) {
                return Err(Failure::usage("--days must be 7 to 30; use --sooner for less"));
            }
            let wait = sooner.map_or(WaitingPeriod::Days(*days), WaitingPeriod::Sooner);
            show::key(&kms.schedule_key_deletion(key, wait)?, json)
        }
        KeysCommand::CancelDelete { key } => show::key(&kms.cancel_key_deletion(key)?, json),
        KeysCommand::Import { file, material: true, alias, description, .. } => {
            // Read one byte more than a key has, so that a longer file is not taken for a key.
            let material = if is_standard(file) {
                read_input(33)?
            } else {
                read_secret(file, 33).map_err(|error| Failure::about(&file.display().to_string(), error))?
            };
            let key = kms.import_key(material, description)?;
            let Some(alias) = alias else { return show::key(&key, json) };
            if let Err(error) = kms.create_alias(alias, &key.key_id) {
                // Leave nothing behind: the user would import the key again, under another alias.
                kms.schedule_key_deletion(&key.key_id, WaitingPeriod::Sooner(Duration::ZERO))?;
                return Err(error.into());
            }
            show::key(&kms.describe_key(&key.key_id)?, json)
        }
        KeysCommand::Import { file, backup_passphrase_file, .. } => {
            let passphrase =
                passphrase_from(cleanup, backup_passphrase_file.as_deref(), "Passphrase of the backup: ", false)?;
            let import =
                |file: &Path| kms.import_backup(file, Root::passphrase(passphrase)).wait().map_err(Failure::from);
            let report = if is_standard(file) { import_from_standard_input(cleanup, import)? } else { import(file)? };
            show::backup(&report, json)
        }
        KeysCommand::Export { output, key, backup_passphrase_file } => {
            let passphrase =
                passphrase_from(cleanup, backup_passphrase_file.as_deref(), "Passphrase for the backup: ", true)?;
            let export = |output: &Path| {
                kms.export(output, key.as_deref(), Root::passphrase(passphrase)).wait().map_err(Failure::from)
            };
            if is_standard(output) {
                return export_to_standard_output(cleanup, export);
            }
            export(output)?;
            done("backup written", json)
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

/// Asks on the terminal whether to delete a key within less than the usual waiting period.
fn confirm_deletion(key_id: &str, wait: Duration) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage("--sooner deletes the key within less than 7 days; use --yes to confirm it"));
    }
    let wait = if wait.is_zero() { "now".to_owned() } else { format!("in {}", humantime::format_duration(wait)) };
    // Standard error fails only if the question cannot be answered either.
    let _ = write!(
        io::stderr(),
        "Delete key {} {wait}? Data encrypted under it cannot be decrypted then. Type yes to delete it: ",
        Escaped(key_id)
    );
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Failure::about("standard input", error))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::other("the key was not deleted")) }
}

/// Writes a backup to standard output. The key store writes and reads backups in files only.
fn export_to_standard_output(
    cleanup: &Cleanup,
    export: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let directory = temporary_directory(cleanup)?;
    let file = directory.with(|directory| directory.path().to_owned()).join("backup");
    export(&file)?;
    let backup = fs::read(&file).map_err(|error| Failure::about(&file.display().to_string(), error))?;
    print_binary(&backup)
}

fn import_from_standard_input<T>(
    cleanup: &Cleanup,
    import: impl FnOnce(&Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let directory = temporary_directory(cleanup)?;
    let file = directory.with(|directory| directory.path().to_owned()).join("standard input");
    let copied = fs::File::create(&file).and_then(|mut copy| io::copy(&mut io::stdin().lock(), &mut copy));
    copied.map_err(|error| Failure::about("standard input", error))?;
    import(&file)
}

/// Returns a temporary directory, which only its owner can read.
fn temporary_directory(cleanup: &Cleanup) -> Result<Guarded<TempDir>, Failure> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    cleanup.guard(|| builder.tempdir()).map_err(|error| Failure::about("the directory for temporary files", error))
}

fn alias(kms: &LocalKms, command: &AliasCommand, json: bool) -> Result<(), Failure> {
    let alias = match command {
        AliasCommand::List => return show::aliases(&kms.list_aliases()?, json),
        AliasCommand::Delete { alias } => {
            kms.delete_alias(alias)?;
            return done("alias deleted", json);
        }
        AliasCommand::Create { alias, key } => kms.create_alias(alias, key)?,
        AliasCommand::Update { alias, key } => kms.update_alias(alias, key)?,
    };
    show::aliases(&[alias], json)
}

fn new_root(store: Store<'_>, cleanup: &Cleanup, command: &KeysCommand) -> Result<Root, Failure> {
    let KeysCommand::RotateRoot { new_passphrase, new_passphrase_file, new_root_key_file, new_root_key } = command
    else {
        return Ok(Root::key_file_in_folder());
    };
    Ok(match (new_root_key, new_root_key_file) {
        (Some(uri), _) => store.wrapped_root(uri)?,
        (None, Some(file)) => Root::key_file(file),
        _ if *new_passphrase || new_passphrase_file.is_some() => {
            Root::passphrase(passphrase_from(cleanup, new_passphrase_file.as_deref(), "New passphrase: ", true)?)
        }
        _ => Root::key_file_in_folder(),
    })
}

/// Fails if verifying the log found something, or if a line that was once present is missing.
fn check(kms: &LocalKms, report: &AuditReport, head: Option<&str>) -> Result<(), Failure> {
    if !report.faults.is_empty() {
        let count = report.faults.len();
        return Err(Failure::new(3, format!("the audit log was altered: {count} faults")));
    }
    let Some(head) = head else { return Ok(()) };
    let usage = || Failure::usage("--head must be SEQUENCE:DIGEST, as `sealwax keys audit --verify` prints it");
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
                "the audit log does not contain line {sequence} with this digest: it was truncated or replaced by an older copy"
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
        let why = format!("standard input has more than {limit} bytes; use sealwax encrypt, which has no limit");
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
    let ciphertext =
        ciphertext.map_err(|_| Failure::new(3, "standard input is not the output of `sealwax keys seal`".into()))?;
    let opened = kms.decrypt(&ciphertext, context)?;
    print_plaintext(opened.plaintext.as_bytes())
}
