//! Completion of names of keys in shells, which ask the program.

use clap::{Arg, Command};
use clap_complete::{
    CompleteEnv,
    engine::{ArgValueCandidates, CompletionCandidate},
};
use sealwax_kms::{LocalKms, RootKind};

use crate::{
    arguments::{self, ConfigArguments},
    config::Settings,
};

/// Forms of keys that are not in the key store.
const OTHER_KEYS: [&str; 6] = ["file:", "aws-kms:", "aws-kms-hierarchy:", "raw-aes://", "raw-rsa://", "raw-ecdh://"];

/// Answers a shell that asks for completions, and then ends the program. Does nothing otherwise.
pub(crate) fn answer() {
    CompleteEnv::with_factory(|| with_names(arguments::command())).bin("sealwax").complete();
}

/// Returns the command with candidates for the arguments that name keys.
fn with_names(command: Command) -> Command {
    let add = |argument: Arg| match argument.get_id().as_str() {
        "keys" | "old_keys" | "root_key" | "new_root_key" => argument.add(ArgValueCandidates::new(uris)),
        "key" => argument.add(ArgValueCandidates::new(names)),
        _ => argument,
    };
    command.mut_args(add).mut_subcommands(with_names)
}

fn uris() -> Vec<CompletionCandidate> {
    let stored = key_names().into_iter().map(|(name, help)| (format!("local:{name}"), help));
    let others = OTHER_KEYS.map(|form| (form.to_owned(), None));
    stored.chain(others).map(|(uri, help)| CompletionCandidate::new(uri).help(help.map(Into::into))).collect()
}

fn names() -> Vec<CompletionCandidate> {
    let names = key_names().into_iter();
    names.map(|(name, help)| CompletionCandidate::new(name).help(help.map(Into::into))).collect()
}

/// Returns the aliases of the keys in the store, or the last parts of their ids, with their
/// descriptions. There are none if the store needs more than the files in its directory.
fn key_names() -> Vec<(String, Option<String>)> {
    let list = || {
        let directory = Settings::load(&ConfigArguments::default(), None).ok()?.store(None).ok()?;
        if LocalKms::root_kind(&directory).ok()? != Some(RootKind::KeyFile) {
            return None;
        }
        let builder = LocalKms::builder(directory).allow_read_only(true).identity("shell completion");
        builder.open().wait().ok()?.list_keys().ok()
    };
    let mut names = Vec::new();
    for key in list().unwrap_or_default() {
        let help = Some(sealwax::Escaped(&key.description).to_string()).filter(|text| !text.is_empty());
        if key.aliases.is_empty() {
            let last = key.key_id.rsplit_once('/').map_or(&*key.key_id, |(_, last)| last);
            names.push((last.to_owned(), help));
        } else {
            names.extend(key.aliases.iter().map(|alias| (alias.trim_start_matches("alias/").to_owned(), help.clone())));
        }
    }
    names
}
