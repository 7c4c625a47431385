//! The command-line tool `sealwax`: encrypts and decrypts files and streams in the AWS Encryption
//! SDK message format.
#![forbid(unsafe_code)]

mod arguments;
mod aws;
mod behind;
mod clean;
mod cleanup;
mod decrypt;
mod directories;
mod encrypt;
mod failure;
mod inspect;
mod key_uri;
mod keygen;
mod keyring;
mod keys;
mod manual;
mod metadata;
mod notes;
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
mod store;
mod streams;
mod text;
mod verify;

use std::process::ExitCode;

use arguments::{Command, CommandLine};
#[cfg(unix)]
use failure::Failure;
use session::Session;

fn main() -> ExitCode {
    let CommandLine { command, global } = match arguments::parse() {
        Ok(line) => line,
        Err(failure) => return failure.report(false),
    };
    let session = Session::new(global);
    #[cfg(unix)]
    if let Err(error) = cleanup::install(&session.cleanup) {
        return Failure::about("cannot handle signals", error).report(false);
    }
    let (outcome, json) = match &command {
        Command::Encrypt(arguments) => (encrypt::run(arguments, &session), arguments.report.json),
        Command::Decrypt(arguments) => (decrypt::run(arguments, &session), arguments.report.json),
        Command::Verify(arguments) => (verify::run(arguments, &session), arguments.report.json),
        Command::Reencrypt(arguments) => (reencrypt::run(arguments, &session), arguments.report.json),
        Command::Inspect(arguments) => (inspect::run(arguments, &session), false),
        Command::Clean(arguments) => (clean::run(arguments, &session), false),
        Command::Keygen(arguments) => (keygen::run(arguments, &session), false),
        Command::Completions(arguments) => (manual::completions(arguments), false),
        Command::Man(arguments) => (manual::man(arguments), false),
        Command::Keys(arguments) => (keys::run(arguments, &session), arguments.json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}
