//! `sealwax completions` and `sealwax man`: output for shells and for `man`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap_complete::env::Shells;
use clap_mangen::Man;

use crate::{
    arguments::{self, CompletionsArguments, EXIT_CODES, ManArguments},
    failure::Failure,
    session::Session,
    streams::print,
};

/// The function that bash calls instead of the one that `clap_complete` generates.
const JOIN_AT_COLONS: &str = include_str!("manual/complete.bash");

/// The environment variables, for the manual pages.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("SEALWAX_CONFIG", "Configuration file."),
    ("SEALWAX_PROFILE", "Profile of the configuration file."),
    ("SEALWAX_KEY", "Key URI if there is no --key."),
    ("SEALWAX_SUITE", "Algorithm suite if there is no --suite."),
    ("SEALWAX_STORE", "Directory of the key store if there is no --store."),
    ("SEALWAX_PASSPHRASE", "Passphrase of the key store if there is no --passphrase-file."),
    ("NO_COLOR", "Any value turns colors off, unless --color says otherwise."),
    ("TMPDIR", "Directory for temporary files, which hold the ciphertext of signed messages until it is verified."),
    ("AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL_KMS, ...", "The variables of the AWS tools, for keys in AWS KMS."),
];

/// The files, for the manual pages.
const FILES: &[(&str, &str)] = &[
    ("~/.config/sealwax/config.toml", "Configuration, in the configuration directory of the platform."),
    (
        "~/.local/share/sealwax/keys",
        "Key store, in the data directory of the platform. Without it your data cannot be decrypted.",
    ),
    ("FILE.sealed", "Encrypted message of FILE."),
    (".sealwax-*.partial", "Output that is not complete. A run that was killed leaves it; it can be deleted."),
];

/// Prints the completion script for a shell.
pub(crate) fn completions(arguments: &CompletionsArguments, session: &Session) -> Result<(), Failure> {
    session.refuse_json()?;
    let (mut script, name) = (Vec::new(), arguments.shell.to_string());
    let completer = Shells::builtins()
        .completer(&name)
        .map_or(Ok(()), |shell| shell.write_registration("COMPLETE", "sealwax", "sealwax", "sealwax", &mut script));
    completer.map_err(|error| Failure::about("the completion script", error))?;
    if name == "bash" {
        let registered = String::from_utf8_lossy(&script).replace("-F _clap_complete_sealwax", "-F _sealwax");
        script = [JOIN_AT_COLONS, &registered].concat().into_bytes();
    }
    print(&script)
}

/// Prints the manual page, or writes one for each command.
pub(crate) fn man(arguments: &ManArguments, session: &Session) -> Result<(), Failure> {
    session.refuse_json()?;
    let mut command = arguments::command().disable_help_subcommand(true);
    command.build();
    let Some(directory) = &arguments.directory else {
        return print(&page(&command).map_err(|error| Failure::about("the manual page", error))?);
    };
    fs::create_dir_all(directory).and_then(|()| write_pages(&command, directory)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            Failure::usage(format!("{}: not a directory; name one to write the pages to", directory.display()))
        }
        _ => Failure::about(&directory.display().to_string(), error),
    })
}

fn write_pages(command: &clap::Command, directory: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    fs::write(directory.join(PathBuf::from(name).with_extension("1")), page(command)?)?;
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    commands.into_iter().try_for_each(|command| write_pages(command, directory))
}

/// Returns the manual page of a command, with the sections that all of them share.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    if (command.get_after_help().is_some() || command.get_after_long_help().is_some())
        && command.get_name() != "sealwax"
    {
        man.render_extra_section(&mut out)?;
    }
    section(&mut out, "ENVIRONMENT", ENVIRONMENT.iter().copied());
    section(&mut out, "FILES", FILES.iter().copied());
    let codes = EXIT_CODES.lines().filter_map(|line| line.strip_prefix("  ")?.split_once("  "));
    section(&mut out, "EXIT STATUS", codes);
    Ok(out)
}

/// Appends a section of terms and what they mean.
fn section<'a>(out: &mut Vec<u8>, title: &str, entries: impl Iterator<Item = (&'a str, &'a str)>) {
    let escaped = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
    let entries = entries.map(|(term, text)| format!(".TP\n\\fB\\&{}\\fR\n\\&{}\n", escaped(term), escaped(text)));
    out.extend(format!(".SH \"{title}\"\n{}", entries.collect::<String>()).bytes());
}
