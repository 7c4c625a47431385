//! The command line: its arguments, and the types they become.

use std::path::PathBuf;

use clap::{Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, error::ErrorKind};
use sealwax::AlgorithmSuite;

use crate::{failure::Failure, provider};

mod branch_keys;
mod config;
mod directories;
mod keys;
mod messages;
mod objects;
mod range;
mod reencrypt;
mod store;

pub(crate) use branch_keys::BranchKeysArguments;
#[cfg(feature = "aws")]
pub(crate) use branch_keys::BranchKeysCommand;
pub(crate) use config::{ConfigArguments, ConfigCommand};
pub(crate) use directories::{DirectoryArguments, TreeArguments};
pub(crate) use keys::{AliasCommand, KeysArguments, KeysCommand};
pub(crate) use messages::{KeyArguments, LimitArguments, context_of};
#[cfg(feature = "object-store")]
pub(crate) use objects::Bind;
pub(crate) use objects::{CpArguments, LsArguments, ObjectArguments, SyncArguments};
pub(crate) use range::ByteRange;
pub(crate) use reencrypt::ReencryptArguments;
pub(crate) use store::{AwsArguments, StoreArguments};

/// Encrypt files and streams before they leave the machine, in the AWS Encryption SDK message format
#[derive(Parser)]
#[command(name = "sealwax", version, long_version = provider::VERSION, after_long_help = EXIT_CODES)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) global: GlobalArguments,
}

/// The options of every command.
#[derive(Args)]
pub(crate) struct GlobalArguments {
    /// Print only errors and warnings, and show no progress
    #[arg(short, long, global = true, display_order = 900)]
    pub(crate) quiet: bool,

    /// When to use colors; auto is on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        display_order = 902,
        default_value = "auto",
        hide_short_help = true
    )]
    pub(crate) color: ColorChoice,

    /// Print the result, or the failure, as JSON on standard output
    ///
    /// With =FILE, the JSON is appended to FILE, such as /dev/fd/3. There is one object per line,
    /// whose schema is in the guide docs/JSON.md.
    #[arg(long, global = true, display_order = 901, value_name = "FILE", num_args = 0..=1, require_equals = true,
          default_missing_value = "-")]
    pub(crate) json: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigArguments,

    #[command(flatten)]
    pub(crate) store: StoreArguments,

    #[command(flatten)]
    pub(crate) aws: AwsArguments,

    #[command(flatten)]
    pub(crate) objects: ObjectArguments,
}

/// What the exit codes mean, for the help and the manual pages.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  success; every message that was decrypted is verified
  1  an I/O error, or any other failure
  2  invalid command line, configuration, key URI or key file
  3  the message, backup or key store is malformed, truncated, altered or too old, or a message is not in the expected \
context
  4  no given key decrypts the message, or a keyring failed
  5  refused by the commitment policy, a limit or the permissions of a file
  6  the output file exists (--force replaces it)
  7  --check found an output that is missing or differs";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Encrypt a file, a stream or a directory
    Encrypt(EncryptArguments),
    /// Decrypt and verify a file, a stream or a directory
    Decrypt(DecryptArguments),
    /// Verify a message, or a directory of messages, without writing the plaintext
    Verify(VerifyArguments),
    /// Re-encrypt a message or a directory, in place or to another, with other keys, suite, frame
    /// length or context
    Reencrypt(ReencryptArguments),
    /// Show the header and the sizes of a message, or of each in a directory; needs no key and
    /// verifies nothing
    Inspect(InspectArguments),
    /// List the objects of a store with the lengths of their plaintexts; needs no key
    #[command(hide = objects::HIDDEN)]
    Ls(LsArguments),
    /// Copy a file to an object, an object to a file, or an object to another
    #[command(hide = objects::HIDDEN)]
    Cp(CpArguments),
    /// Update a path of objects from a directory, or a directory from objects
    #[command(hide = objects::HIDDEN)]
    Sync(SyncArguments),
    /// Remove incomplete files that a killed run left in directories
    Clean(CleanArguments),
    /// Create a file with a random AES key, and print its key URI
    Keygen(KeygenArguments),
    /// Print a shell completion script
    Completions(CompletionsArguments),
    /// Print the manual page, or write the pages of all commands to a directory
    Man(ManArguments),
    /// Manage the embedded key store, which holds the local:NAME keys and the default key
    Keys(KeysArguments),
    /// Manage branch keys in Amazon DynamoDB, under which aws-kms-hierarchy: keys wrap data keys
    BranchKeys(BranchKeysArguments),
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Where bytes come from and where they go.
#[derive(Args)]
pub(crate) struct StreamArguments {
    /// Output file, or - for standard output; with --recursive, a directory
    ///
    /// By default, FILE is encrypted to FILE.sealed, FILE.sealed is decrypted to FILE, and standard
    /// input is processed to standard output.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// Replace existing output files
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Input files, or - for standard input (the default); with --recursive, a directory
    #[arg(value_name = "IN")]
    pub(crate) inputs: Vec<PathBuf>,
}

/// The reports on what was done.
#[derive(Args)]
pub(crate) struct ReportArguments {
    /// Print which keys wrapped or unwrapped the data key, on standard error
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Append a line of JSON per message to FILE, or to standard output with -: input, output, suite, encryption context,
    /// keys and sizes
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) metadata: Option<PathBuf>,
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

    /// Create a key store and its default key if no --key is given and there is no key store; without a terminal, this
    /// option or `sealwax keys create` is needed
    #[arg(long, hide_short_help = true)]
    pub(crate) create_store: bool,

    /// Store the file's mode and modification time, unencrypted, in the encryption context for decrypt --preserve
    #[arg(long, hide_short_help = true)]
    pub(crate) preserve: bool,

    /// Encrypt only files that have no message, or were modified after it was written; replaces
    /// those messages
    #[arg(short, long, conflicts_with = "force")]
    pub(crate) update: bool,

    /// Write nothing; check that the message of each file exists, verifies and contains the file.
    /// Needs keys that decrypt
    #[arg(long, conflicts_with_all = ["force", "update", "preserve", "create_store"])]
    pub(crate) check: bool,

    #[command(flatten)]
    pub(crate) directories: DirectoryArguments,

    #[command(flatten)]
    pub(crate) report: ReportArguments,
}

const ENCRYPT_EXAMPLES: &str = "\
Examples:
  sealwax encrypt -c tenant=blue report.pdf         # writes report.pdf.sealed
  tar c directory | sealwax encrypt -k \"$KEY\" > directory.tar.sealed
  sealwax encrypt -r -k \"$KEY\" directory -o directory.sealed
  sealwax encrypt -r --update --exclude '*.tmp' -k \"$KEY\" directory -o directory.sealed";

/// What kind of message is written.
#[derive(Args)]
pub(crate) struct MessageArguments {
    /// Algorithm suite, such as 0x0478 (unsigned) or 0x0578 (signed) [default: 0x0578]
    #[arg(long, value_name = "HEX", value_parser = parse_suite, hide_short_help = true)]
    pub(crate) suite: Option<AlgorithmSuite>,

    /// Number of keys after the first that must wrap the data key [default: all]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) quorum: Option<usize>,

    /// Plaintext bytes per frame [default: 4096]
    #[arg(long, hide_short_help = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub(crate) frame_length: Option<u32>,
}

impl MessageArguments {
    pub(crate) fn apply<'a>(&self, encrypt: sealwax::Encrypt<'a>) -> sealwax::Encrypt<'a> {
        let encrypt = encrypt.frame_length(self.frame_length.unwrap_or(4096));
        match self.suite {
            Some(suite) => encrypt.suite(suite),
            None => encrypt,
        }
    }

    /// Fails if these are not the options of the messages of objects.
    pub(crate) fn check_for_objects(&self) -> Result<(), Failure> {
        match (self.suite, self.frame_length) {
            (Some(suite), _) if suite != AlgorithmSuite::Aes256GcmHkdfSha512CommitKey => {
                Err(Failure::usage("objects have suite 0x0478, so that ranges of them can be read; use --suite 0x0478"))
            }
            (_, Some(length)) if length != 65_536 => {
                Err(Failure::usage("objects have frames of 65536 bytes, which give their lengths; omit --frame-length"))
            }
            _ => Ok(()),
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

    /// Write the plaintext of a signed message to standard output before its signature is verified
    #[arg(long, hide_short_help = true, conflicts_with = "recursive")]
    pub(crate) release_unverified: bool,

    /// Decrypt only bytes A to B of the plaintext, both inclusive, or A- or -COUNT
    #[arg(long, value_name = "A-B", allow_hyphen_values = true, conflicts_with_all = ["recursive", "preserve", "check"])]
    pub(crate) range: Option<ByteRange>,

    /// Restore the mode and modification time that encrypt --preserve stored
    #[arg(long, hide_short_help = true)]
    pub(crate) preserve: bool,

    /// Write nothing; check that the output of each message exists and is its plaintext
    #[arg(long, conflicts_with_all = ["force", "preserve", "release_unverified"])]
    pub(crate) check: bool,

    #[command(flatten)]
    pub(crate) directories: DirectoryArguments,

    #[command(flatten)]
    pub(crate) report: ReportArguments,
}

const DECRYPT_EXAMPLES: &str = "\
Examples:
  sealwax decrypt -c tenant=blue report.pdf.sealed  # writes report.pdf
  sealwax decrypt -k \"$KEY\" < directory.tar.sealed | tar x
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

    /// Input files, or - for standard input (the default); with --recursive, a directory
    #[arg(value_name = "IN")]
    pub(crate) inputs: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    #[command(flatten)]
    pub(crate) tree: TreeArguments,

    /// Input file, or - for standard input (the default); with --recursive, a directory
    #[arg(value_name = "IN")]
    pub(crate) input: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = CLEAN_NOTE)]
pub(crate) struct CleanArguments {
    /// Directories to search, with everything below them
    #[arg(value_name = "DIR", required = true)]
    pub(crate) directories: Vec<PathBuf>,
}

const CLEAN_NOTE: &str = "\
Files are written under names such as .sealwax-aB3xYz.partial until they are complete. Only such files are removed, and \
none that a running command is writing. Links are not followed.";

#[derive(Args)]
pub(crate) struct KeygenArguments {
    /// Length of the key in bits
    #[arg(long, default_value = "256", value_parser = ["128", "192", "256"])]
    pub(crate) bits: String,

    /// Namespace of the key
    #[arg(long, default_value = "sealwax")]
    pub(crate) namespace: String,

    /// Name of the key [default: the file name without its extension, or key for standard output]
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// Write only the bytes of the key, for other programs; the key URI then has the namespace and
    /// the name
    #[arg(long)]
    pub(crate) raw: bool,

    /// File to create, or - for standard output; an existing file is never replaced
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Args)]
#[command(
    after_help = "Example for bash: source <(sealwax completions bash)\n\nThe script asks the program, so that it completes names of keys too."
)]
pub(crate) struct CompletionsArguments {
    /// Shell to print the script for
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args)]
pub(crate) struct ManArguments {
    /// Directory to write sealwax.1 and the other pages to; existing pages are replaced
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

/// Returns the command line as clap's `Command`. In the short help it has only the options without
/// a heading that do not hide themselves, and `--recursive`.
pub(crate) fn command() -> clap::Command {
    shortened(CommandLine::command())
}

fn shortened(command: clap::Command) -> clap::Command {
    let shortened_argument = |argument: clap::Arg| match argument.get_help_heading() {
        Some(_) if argument.get_id() != "recursive" => argument.hide_short_help(true),
        _ => argument,
    };
    command.mut_args(shortened_argument).mut_subcommands(shortened)
}

/// Returns the colors that a command line asks for, before it is parsed.
fn color() -> ColorChoice {
    let arguments = std::env::args_os().take_while(|argument| argument != "--");
    let mut arguments = arguments.map(|argument| argument.into_string().unwrap_or_default());
    let value = arguments.find_map(|argument| match argument.strip_prefix("--color") {
        Some("") => Some(String::new()),
        rest => rest?.strip_prefix('=').map(str::to_owned),
    });
    let value = value.map(|value| if value.is_empty() { arguments.next().unwrap_or_default() } else { value });
    value.and_then(|value| ColorChoice::from_str(&value, false).ok()).unwrap_or_default()
}

/// Returns the algorithm suite with this number.
pub(crate) fn parse_suite(text: &str) -> Result<AlgorithmSuite, String> {
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
    u16::from_str_radix(digits, 16).ok().and_then(AlgorithmSuite::from_id).ok_or_else(|| {
        let known: Vec<_> = AlgorithmSuite::ALL.iter().map(|suite| format!("{:#06x}", suite.id())).collect();
        format!("the suites are {}", known.join(", "))
    })
}

/// Parses the command line. Help and version are printed unchanged; an error becomes one line.
pub(crate) fn parse() -> Result<CommandLine, Failure> {
    let color = color();
    match color {
        ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
        ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
        ColorChoice::Auto => {}
    }
    let parsed = command().color(color).try_get_matches();
    let error = match parsed.and_then(|matches| CommandLine::from_arg_matches(&matches)) {
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
            let lines = lines.filter(|line| !line.is_empty()).map(|line| match line.strip_prefix("tip: ") {
                Some(tip) => format!("({tip})"),
                None => line.to_owned(),
            });
            let text = lines.collect::<Vec<_>>().join(" ");
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            Err(Failure::usage(format!("{text} (see sealwax --help)")))
        }
    }
}
