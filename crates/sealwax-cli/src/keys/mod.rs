//! `sealwax keys`: the embedded key store.

use std::{
    io::{self, IsTerminal, Read, Write},
    ops::RangeInclusive,
    path::Path,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use sealwax::{EncryptionContext, Escaped, SecretBytes};
use sealwax_kms::{AuditReport, LocalKms, MAX_PLAINTEXT, Root, WaitingPeriod};

use crate::{
    arguments::{AliasCommand, KeysArguments, KeysCommand, context_of},
    cleanup::Cleanup,
    failure::Failure,
    key_file::{KeyFile, MAX_KEY_FILE},
    keygen::write_new,
    notes::say,
    secrets::{new_passphrase, passphrase_from, read_secret},
    session::Session,
    store::Store,
    streams::{is_standard, print_binary},
};

mod show;

use show::Show;

/// The usual waiting periods before a key is deleted, in days.
const WAITING_DAYS: RangeInclusive<u32> = 7..=30;

/// The longest text that `keys open` reads: the longest plaintext as base64 with line ends, and a
/// margin.
const MAX_SEALED: usize = 3 * MAX_PLAINTEXT;

/// The longest backup that is read from standard input, as long as the longest file.
const MAX_BACKUP: u64 = 256 << 20;

pub(crate) fn run(arguments: &KeysArguments, session: &Session) -> Result<(), Failure> {
    let KeysArguments { command } = arguments;
    let (store, show, cleanup) = (Store::new(session), Show(session), &session.cleanup);
    match command {
        KeysCommand::Create { alias, description } => {
            let kms = store.open_or_create()?;
            return show.key(&match alias {
                Some(alias) => kms.create_key_with_alias(description, alias)?,
                None => kms.create_key(description)?,
            });
        }
        KeysCommand::Path => return show.path(&store.directory()?),
        _ => {}
    }
    let kms = store.open()?;
    match command {
        KeysCommand::Create { .. } | KeysCommand::Path => Ok(()),
        KeysCommand::List { no_trunc } => show.keys(&kms.list_keys()?, *no_trunc),
        KeysCommand::Describe { key, set_description: Some(text) } => show.key(&kms.update_key_description(key, text)?),
        KeysCommand::Describe { key, .. } => show.key(&kms.describe_key(key)?),
        KeysCommand::Alias(command) => alias(&kms, command, show),
        KeysCommand::Rotate { key, every: Some(days), .. } => show.key(&kms.enable_key_rotation(key, *days)?),
        KeysCommand::Rotate { key, never: true, .. } => show.key(&kms.disable_key_rotation(key)?),
        KeysCommand::Rotate { key, .. } => show.key(&kms.rotate_key(key)?),
        KeysCommand::RotateRoot { .. } => {
            kms.rotate_root(new_root(store, cleanup, command)?).wait()?;
            show.done("root key replaced")
        }
        KeysCommand::Enable { key } => show.key(&kms.enable_key(key)?),
        KeysCommand::Disable { key } => show.key(&kms.disable_key(key)?),
        KeysCommand::Delete { key, days, sooner, yes } => {
            if let Some(wait) = sooner.filter(|_| !yes) {
                confirm_deletion(&kms.describe_key(key)?.key_id, wait)?;
            } else if sooner.is_none() && !WAITING_DAYS.contains(days) {
                let fix = if days < WAITING_DAYS.start() { "; use --sooner for less" } else { "" };
                return Err(Failure::usage(format!("--days must be 7 to 30{fix}")));
            }
            let wait = sooner.map_or(WaitingPeriod::Days(*days), WaitingPeriod::Sooner);
            show.key(&kms.schedule_key_deletion(key, wait)?)
        }
        KeysCommand::CancelDelete { key } => show.key(&kms.cancel_key_deletion(key)?),
        KeysCommand::Import { file, material: true, alias, description, .. } => {
            let material = key_material(file)?;
            show.key(&match alias {
                Some(alias) => kms.import_key_with_alias(material, description, alias)?,
                None => kms.import_key(material, description)?,
            })
        }
        KeysCommand::Import { file, backup_passphrase_file, .. } => {
            let passphrase =
                passphrase_from(cleanup, backup_passphrase_file.as_deref(), "Passphrase of the backup: ", false)?;
            let root = store.within_limits(Root::passphrase(passphrase));
            let report = match is_standard(file) {
                true => {
                    let mut backup = Vec::new();
                    let read = io::stdin().lock().take(MAX_BACKUP).read_to_end(&mut backup);
                    read.map_err(|error| Failure::about("standard input", error))?;
                    kms.import_backup_bytes("standard input", backup, root).wait()?
                }
                false => kms.import_backup(file, root).wait()?,
            };
            show.backup(&report)
        }
        KeysCommand::Export { .. } => export(&kms, command, show),
        KeysCommand::Audit { verify: true, head, .. } => {
            let report = kms.verify_audit_log()?;
            show.audit(&report)?;
            check(&kms, &report, head.as_deref())
        }
        KeysCommand::Audit { last, .. } => {
            let entries = kms.audit_log()?;
            let from = last.map_or(0, |last| entries.len().saturating_sub(last));
            show.log(entries.get(from..).unwrap_or_default())
        }
        KeysCommand::Seal { key, context } => seal(&kms, key, &context_of("--context", context)?, show),
        KeysCommand::Open { context } => open_sealed(&kms, &context_of("--context", context)?, show),
    }
}

/// Reads the 32 bytes of a key: from standard input, or from a file that has nothing else or that
/// `keygen` wrote.
fn key_material(file: &Path) -> Result<SecretBytes, Failure> {
    let content = match is_standard(file) {
        true => read_input(MAX_KEY_FILE)?,
        false => read_secret(file, MAX_KEY_FILE).map_err(|error| Failure::about(&file.display().to_string(), error))?,
    };
    Ok(match KeyFile::parse(&content) {
        Some(key) => key.material,
        None => content,
    })
}

fn export(kms: &LocalKms, command: &KeysCommand, show: Show<'_>) -> Result<(), Failure> {
    let KeysCommand::Export { output, key, backup_passphrase_file, generate_passphrase, allow_short_passphrase } =
        command
    else {
        return Ok(());
    };
    let session = show.0;
    session.check_output([&**output], None)?;
    session.check_apart(None, [&**output])?;
    let generated = generate_passphrase.then(new_passphrase).transpose()?;
    let passphrase = match &generated {
        Some(passphrase) => SecretBytes::from(passphrase.as_bytes()),
        None => {
            passphrase_from(&session.cleanup, backup_passphrase_file.as_deref(), "Passphrase for the backup: ", true)?
        }
    };
    let mut root = Root::passphrase(passphrase);
    if *allow_short_passphrase {
        root = root.allow_short_passphrase();
    }
    let generated = generated.as_ref().map(|text| text.as_str());
    if is_standard(output) {
        print_binary(&kms.export_bytes(key.as_deref(), root).wait()?)?;
        // Standard output has the backup, from which the passphrase must be kept apart.
        generated.into_iter().for_each(|text| say(format_args!("sealwax: the passphrase of the backup is {text}")));
        return Ok(());
    }
    let backup = kms.export_bytes(key.as_deref(), root).wait()?;
    let name = output.display().to_string();
    write_new(output, &backup, &session.cleanup).map_err(|error| Failure::about(&name, error))?;
    show.exported(output, generated)
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

fn alias(kms: &LocalKms, command: &AliasCommand, show: Show<'_>) -> Result<(), Failure> {
    match command {
        AliasCommand::List => show.aliases(&kms.list_aliases()?),
        AliasCommand::Delete { alias } => {
            kms.delete_alias(alias)?;
            show.done("alias deleted")
        }
        AliasCommand::Create { alias, key } => show.alias(&kms.create_alias(alias, key)?),
        AliasCommand::Update { alias, key } => show.alias(&kms.update_alias(alias, key)?),
    }
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

fn seal(kms: &LocalKms, key: &str, context: &EncryptionContext, show: Show<'_>) -> Result<(), Failure> {
    let sealed = kms.encrypt(key, read_input(MAX_PLAINTEXT)?.as_bytes(), context)?;
    show.sealed(&sealed.key_id, &BASE64_STANDARD.encode(&sealed.ciphertext))
}

fn open_sealed(kms: &LocalKms, context: &EncryptionContext, show: Show<'_>) -> Result<(), Failure> {
    let text = read_input(MAX_SEALED)?;
    let text: Vec<u8> = text.as_bytes().iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let ciphertext = BASE64_STANDARD.decode(text);
    let ciphertext =
        ciphertext.map_err(|_| Failure::new(3, "standard input is not the output of `sealwax keys seal`".into()))?;
    let opened = kms.decrypt(&ciphertext, context)?;
    show.opened(&opened.key_id, opened.plaintext.as_bytes())
}
