//! The command line: its arguments, and the types they become.

use std::{num::NonZero, path::PathBuf, thread};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use sealwax::{
    AlgorithmSuite, ClientBuilder, CommitmentPolicy, EncryptionContext,
    keyring::Keyring,
    materials::{DefaultMaterialsManager, MaterialsManager, RequiredContextManager},
};

use crate::{failure::Failure, provider};

mod directories;
mod keys;
mod reencrypt;
mod store;

pub(crate) use directories::DirectoryArguments;
pub(crate) use keys::{AliasCommand, KeysArguments, KeysCommand};
pub(crate) use reencrypt::ReencryptArguments;
pub(crate) use store::{AwsArguments, StoreArguments};

/// Encrypts files and streams before they leave the machine, in the AWS Encryption SDK message format.
#[derive(Parser)]
#[command(name = "sealwax", version, long_version = provider::VERSION, after_help = EXIT_CODES)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) global: GlobalArguments,
}

/// The options of every command.
#[derive(Args)]
pub(crate) struct GlobalArguments {
    /// Say nothing on standard error but errors, and show no progress
    #[arg(short, long, global = true, display_order = 900)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) store: StoreArguments,

    #[command(flatten)]
    pub(crate) aws: AwsArguments,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done and verified
  1  reading, writing or something else failed
  2  the command line, a key URI or a key file cannot be used
  3  the message is malformed, cut off, altered, or not in the expected context
  4  no key given opens the message, or a keyring failed
  5  the commitment policy or a limit refuses the message
  6  the output file exists already (--force replaces it)";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Encrypt a file, a stream or a directory
    Encrypt(EncryptArguments),
    /// Decrypt a file, a stream or a directory, and verify it
    Decrypt(DecryptArguments),
    /// Verify a message or a directory of them, and write no plaintext
    Verify(VerifyArguments),
    /// Encrypt a message again, in place or to another file: with other keys, suite, frame length or context
    Reencrypt(ReencryptArguments),
    /// Show what a message says of itself; needs no key and verifies nothing
    Inspect(InspectArguments),
    /// Make a file with a new random AES key, and print the key URI to use it with
    Keygen(KeygenArguments),
    /// Print a script that completes commands and options in a shell
    Completions(CompletionsArguments),
    /// Print the manual page, or write the pages of all commands into a directory
    Man(ManArguments),
    /// Manage the embedded key store: the keys for local:NAME, and the one that is used when no key is given
    Keys(KeysArguments),
}

/// Where bytes come from and where they go.
#[derive(Args)]
pub(crate) struct StreamArguments {
    /// The file to write, or - for standard output (the default); with --recursive a directory
    #[arg(short, long, value_name = "OUT", default_value = "-", hide_default_value = true)]
    pub(crate) output: PathBuf,

    /// Replace what exists of the output
    #[arg(short, long)]
    pub(crate) force: bool,

    /// The file to read, or - for standard input; with --recursive a directory
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
}

/// How much is told of what was done.
#[derive(Args)]
pub(crate) struct ReportArguments {
    /// Say on standard error which keys wrapped or opened the message
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Say it as one line of JSON, also if it fails
    #[arg(long)]
    pub(crate) json: bool,

    /// Append a line of JSON to this file for each message: input, output, suite, encryption context, keys and sizes
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata: Option<PathBuf>,
}

/// The keys and what is authenticated with them.
#[derive(Args)]
pub(crate) struct KeyArguments {
    /// A wrapping key: local:NAME-OR-ALIAS (local:default if none is given), aws-kms:ARN-OR-ALIAS, or, to decrypt,
    /// aws-kms:discovery?account=ACCOUNT, raw-aes://NAMESPACE/NAME?file=PATH,
    /// raw-rsa://NAMESPACE/NAME?file=PEM&padding=oaep-sha256, or raw-ecdh://p256?recipient=PEM. The first generates the data
    /// key, the others wrap it too
    #[arg(short, long = "key", value_name = "URI")]
    pub(crate) keys: Vec<String>,

    /// A pair of the encryption context, stored in the clear; on decrypt and verify, what the message must carry; on
    /// reencrypt, the context of the new message, in the place of the old one
    #[arg(short, long = "context", value_name = "K=V")]
    context: Vec<String>,

    /// A key of the encryption context whose value is authenticated but not stored; --context gives it, both ways
    #[arg(long, value_name = "K")]
    require_context: Vec<String>,

    /// Which suites may be written and read, by whether they commit to their key
    #[arg(long, value_name = "POLICY", default_value = "require-encrypt-require-decrypt")]
    commitment_policy: Policy,

    /// On how many threads to work on a message; by default as many as the machine runs at once, and one for each file of a
    /// directory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl KeyArguments {
    /// Returns a builder for a client with this commitment policy and the thread count for `many`
    /// messages or for one; the other options are not applied.
    pub(crate) fn client(&self, many: bool) -> ClientBuilder {
        provider::client().commitment_policy(self.policy()).threads(self.threads(many))
    }

    /// Returns the number of threads for one message.
    pub(crate) fn threads(&self, many: bool) -> usize {
        let available = || if many { 1 } else { thread::available_parallelism().map_or(1, NonZero::get) };
        self.threads.map_or_else(available, usize::from)
    }

    /// Returns the materials manager over these keyrings.
    pub(crate) fn manager(&self, keyring: Box<dyn Keyring>) -> Result<Box<dyn MaterialsManager>, Failure> {
        let manager = DefaultMaterialsManager::new(keyring);
        if self.require_context.is_empty() {
            return Ok(Box::new(manager));
        }
        Ok(Box::new(RequiredContextManager::new(self.require_context.iter().cloned(), manager)?))
    }

    fn policy(&self) -> CommitmentPolicy {
        match self.commitment_policy {
            Policy::ForbidEncryptAllowDecrypt => CommitmentPolicy::ForbidEncryptAllowDecrypt,
            Policy::RequireEncryptAllowDecrypt => CommitmentPolicy::RequireEncryptAllowDecrypt,
            Policy::RequireEncryptRequireDecrypt => CommitmentPolicy::RequireEncryptRequireDecrypt,
        }
    }

    pub(crate) fn context(&self) -> Result<EncryptionContext, Failure> {
        context_of("--context", &self.context)
    }
}

/// Returns the context made of the pairs that a flag gave.
pub(crate) fn context_of(flag: &str, pairs: &[String]) -> Result<EncryptionContext, Failure> {
    let mut context = EncryptionContext::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::usage(format!("a {flag} is KEY=VALUE; one of them has no =")));
        };
        if context.insert(key, value).is_some() {
            return Err(Failure::usage(format!("{flag} {key} is given twice")));
        }
    }
    Ok(context)
}

#[derive(Clone, Copy, ValueEnum)]
#[allow(clippy::enum_variant_names, reason = "these are the names of the specification")]
enum Policy {
    ForbidEncryptAllowDecrypt,
    RequireEncryptAllowDecrypt,
    RequireEncryptRequireDecrypt,
}

#[derive(Args)]
#[command(after_help = ENCRYPT_EXAMPLES)]
pub(crate) struct EncryptArguments {
    #[command(flatten)]
    pub(crate) keys: KeyArguments,

    #[command(flatten)]
    pub(crate) streams: StreamArguments,

    #[command(flatten)]
    pub(crate) message: MessageArguments,

    /// Store the file's mode and time of change in the encryption context, in the clear, for decrypt --preserve
    #[arg(long)]
    pub(crate) preserve: bool,

    #[command(flatten)]
    pub(crate) directories: DirectoryArguments,

    #[command(flatten)]
    pub(crate) report: ReportArguments,
}

const ENCRYPT_EXAMPLES: &str = "\
Examples:
  sealwax encrypt -c tenant=blue -o report.pdf.sealed report.pdf
  tar c directory | sealwax encrypt -k \"$KEY\" - > directory.tar.sealed
  sealwax encrypt -r -k \"$KEY\" directory -o directory.sealed";

/// What kind of message is written.
#[derive(Args)]
pub(crate) struct MessageArguments {
    /// The algorithm suite, such as 0x0478 (unsigned) or 0x0578 (signed, the default)
    #[arg(long, value_name = "HEX", value_parser = suite)]
    pub(crate) suite: Option<AlgorithmSuite>,

    /// How many of the keys after the first must wrap the data key; by default all of them
    #[arg(long, value_name = "N")]
    pub(crate) quorum: Option<usize>,

    /// The number of plaintext bytes a frame
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub(crate) frame_length: u32,
}

impl MessageArguments {
    pub(crate) fn apply<'a>(&self, encrypt: sealwax::Encrypt<'a>) -> sealwax::Encrypt<'a> {
        let encrypt = encrypt.frame_length(self.frame_length);
        match self.suite {
            Some(suite) => encrypt.suite(suite),
            None => encrypt,
        }
    }
}

#[derive(Args)]
#[command(after_help = DECRYPT_EXAMPLES)]
pub(crate) struct DecryptArguments {
    #[command(flatten)]
    pub(crate) keys: KeyArguments,

    #[command(flatten)]
    pub(crate) streams: StreamArguments,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    /// Let the plaintext of a signed message go to standard output before its signature is verified
    #[arg(long, conflicts_with = "recursive")]
    pub(crate) release_unverified: bool,

    /// Give the file the mode and time of change that encrypt --preserve has stored
    #[arg(long)]
    pub(crate) preserve: bool,

    #[command(flatten)]
    pub(crate) directories: DirectoryArguments,

    #[command(flatten)]
    pub(crate) report: ReportArguments,
}

const DECRYPT_EXAMPLES: &str = "\
Examples:
  sealwax decrypt -c tenant=blue -o report.pdf report.pdf.sealed
  sealwax decrypt -k \"$KEY\" - < directory.tar.sealed | tar x
  sealwax decrypt -r -k \"$KEY\" directory.sealed -o directory";

#[derive(Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(crate) keys: KeyArguments,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    #[command(flatten)]
    pub(crate) directories: DirectoryArguments,

    #[command(flatten)]
    pub(crate) report: ReportArguments,

    /// The file to read, or - for standard input; with --recursive a directory
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
}

/// The heading of the limits in the help.
const LIMITS: &str = "Limits";

/// How much of what a message declares is accepted.
#[derive(Args)]
pub(crate) struct LimitArguments {
    /// The most encrypted data keys a message may have
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = LIMITS)]
    pub(crate) max_encrypted_data_keys: u16,

    /// The most bytes a header may have
    #[arg(long, value_name = "N", default_value_t = 1 << 20, help_heading = LIMITS)]
    pub(crate) max_header_length: usize,

    /// The most bytes a frame, or an unframed body, may have
    #[arg(long, value_name = "N", default_value_t = 64 << 20, help_heading = LIMITS)]
    pub(crate) max_frame_length: u32,
}

impl LimitArguments {
    pub(crate) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        builder
            .max_encrypted_data_keys(self.max_encrypted_data_keys)
            .max_header_length(self.max_header_length)
            .max_frame_length(self.max_frame_length)
    }
}

#[derive(Args)]
pub(crate) struct InspectArguments {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    /// The file to read, or - for standard input
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
}

#[derive(Args)]
pub(crate) struct KeygenArguments {
    /// The length of the key in bits
    #[arg(long, default_value = "256", value_parser = ["128", "192", "256"])]
    pub(crate) bits: String,

    /// The namespace in the key URI that is printed
    #[arg(long, default_value = "sealwax")]
    pub(crate) namespace: String,

    /// The key name in the key URI that is printed; by default the name of the file, without its extension
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// The file to make; an existing one is never replaced
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Args)]
#[command(after_help = "For example, in bash: source <(sealwax completions bash)")]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args)]
pub(crate) struct ManArguments {
    /// The directory to write sealwax.1 and the others into; what is there of that name is replaced
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

/// Returns the command line as clap's `Command`.
pub(crate) fn command() -> clap::Command {
    CommandLine::command()
}

fn suite(text: &str) -> Result<AlgorithmSuite, String> {
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
    u16::from_str_radix(digits, 16).ok().and_then(AlgorithmSuite::from_id).ok_or_else(|| {
        let known: Vec<_> = AlgorithmSuite::ALL.iter().map(|suite| format!("{:#06x}", suite.id())).collect();
        format!("there are {}", known.join(", "))
    })
}

/// Parses the command line. Help and version are printed unchanged; an error becomes one line.
pub(crate) fn parse() -> Result<CommandLine, Failure> {
    let error = match CommandLine::try_parse() {
        Ok(line) => return Ok(line),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.exit()
        }
        _ => {
            let text = error.to_string();
            let lines = text
                .lines()
                .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
                .map(str::trim);
            let text = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            Err(Failure::usage(format!("{text} (sealwax --help tells more)")))
        }
    }
}
