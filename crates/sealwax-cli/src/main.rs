//! The command-line tool `sealwax`: encrypts and decrypts files and streams in the AWS Encryption
//! SDK message format.
#![forbid(unsafe_code)]

mod arguments;
mod behind;
mod decrypt;
mod encrypt;
mod failure;
mod folders;
mod inspect;
mod key_uri;
mod keygen;
mod keys;
mod manual;
mod metadata;
mod notes;
mod preserve;
mod provider;
mod reencrypt;
mod report;
mod streams;
mod text;
mod verify;

use std::process::ExitCode;

use arguments::Command;

fn main() -> ExitCode {
    let command = match arguments::parse() {
        Ok(command) => command,
        Err(failure) => return failure.report(false),
    };
    let (outcome, json) = match &command {
        Command::Encrypt(arguments) => (encrypt::run(arguments), arguments.report.json),
        Command::Decrypt(arguments) => (decrypt::run(arguments), arguments.report.json),
        Command::Verify(arguments) => (verify::run(arguments), arguments.report.json),
        Command::Reencrypt(arguments) => (reencrypt::run(arguments), arguments.report.json),
        Command::Inspect(arguments) => (inspect::run(arguments), false),
        Command::Keygen(arguments) => (keygen::run(arguments), false),
        Command::Completions(arguments) => (manual::completions(arguments), false),
        Command::Man(arguments) => (manual::man(arguments), false),
        Command::Keys(arguments) => (keys::run(arguments), arguments.json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}
