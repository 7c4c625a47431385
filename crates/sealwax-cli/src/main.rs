//! The command-line tool `sealwax`: encrypts and decrypts files and streams in the AWS Encryption
//! SDK message format.
#![forbid(unsafe_code)]

mod arguments;
mod aws;
mod behind;
mod branch_keys;
mod clean;
mod cleanup;
mod comparison;
mod complete;
mod config;
mod cp;
mod decrypt;
mod directories;
mod encrypt;
mod failure;
mod inspect;
mod json;
mod key_file;
mod key_uri;
mod keygen;
mod keyring;
mod keys;
mod ls;
mod manual;
mod metadata;
mod notes;
mod objects;
#[cfg(feature = "object-store")]
mod objects_below;
mod opening;
mod operands;
mod partial;
mod place;
mod preserve;
mod provider;
mod reencrypt;
mod replaced;
mod report;
mod secrets;
mod session;
#[cfg(feature = "object-store")]
mod several;
mod store;
mod streams;
mod sync;
mod text;
mod uri_paths;
mod verify;

use std::process::ExitCode;

use arguments::{Command, CommandLine};
use failure::Failure;
use json::Json;
use session::Session;

fn main() -> ExitCode {
    complete::answer();
    let CommandLine { mut command, global } = match arguments::parse() {
        Ok(line) => line,
        Err(failure) => return failure.report(Json::of_invalid(std::env::args_os()).as_ref()),
    };
    let session = match Session::new(global, |settings| settings.apply(&mut command)) {
        Ok(session) => session,
        Err(failure) => return failure.report(Json::of_invalid(std::env::args_os()).as_ref()),
    };
    match run(&command, &session) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(session.json.as_ref()),
    }
}

fn run(command: &Command, session: &Session) -> Result<(), Failure> {
    #[cfg(unix)]
    cleanup::install(&session.cleanup).map_err(|error| Failure::about("cannot handle signals", error))?;
    match command {
        Command::Encrypt(arguments) => encrypt::run(arguments, session),
        Command::Decrypt(arguments) => decrypt::run(arguments, session),
        Command::Verify(arguments) => verify::run(arguments, session),
        Command::Reencrypt(arguments) => reencrypt::run(arguments, session),
        Command::Inspect(arguments) => inspect::run(arguments, session),
        Command::Ls(arguments) => ls::run(arguments, session),
        Command::Cp(arguments) => cp::run(arguments, session),
        Command::Sync(arguments) => sync::run(arguments, session),
        Command::Clean(arguments) => clean::run(arguments, session),
        Command::Keygen(arguments) => keygen::run(arguments, session),
        Command::Completions(arguments) => manual::completions(arguments, session),
        Command::Man(arguments) => manual::man(arguments, session),
        Command::Keys(arguments) => keys::run(arguments, session),
        Command::BranchKeys(arguments) => branch_keys::run(arguments, session),
        Command::Config(arguments) => session.show_settings(arguments),
    }
}
