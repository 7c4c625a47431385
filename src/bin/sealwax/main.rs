//! The command-line tool `sealwax`: encrypts and decrypts files and streams in the AWS Encryption SDK message format.

mod arguments;
mod decrypt;
mod encrypt;
mod failure;
mod inspect;
mod key_uri;
mod keygen;
mod streams;
mod text;

use std::process::ExitCode;

use arguments::Command;

fn main() -> ExitCode {
    let outcome = arguments::parse().and_then(|command| match command {
        Command::Encrypt(arguments) => encrypt::run(&arguments),
        Command::Decrypt(arguments) => decrypt::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
