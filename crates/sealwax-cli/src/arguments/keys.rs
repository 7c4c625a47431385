//! The arguments of `sealwax keys`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

/// Keys of the embedded key store.
#[derive(Args)]
pub(crate) struct KeysArguments {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Create a key, and the key store if there is none
    Create {
        /// Alias for the key
        #[arg(long)]
        alias: Option<String>,
        /// Description of the key
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List all keys
    List {
        /// Show whole key IDs
        #[arg(long)]
        no_trunc: bool,
    },
    /// Show all details of a key
    Describe {
        /// Key ID, its unique start, or alias
        key: String,
        /// Change the description
        #[arg(long, value_name = "TEXT")]
        set_description: Option<String>,
    },
    /// Print the directory of the key store
    Path,
    /// Manage aliases
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Generate new material for a key; earlier messages still decrypt
    Rotate {
        /// Key ID, its unique start, or alias
        key: String,
        /// Rotate the key automatically every DAYS days (1 to 2,560), instead of now
        #[arg(long, value_name = "DAYS", conflicts_with = "never")]
        every: Option<u32>,
        /// Disable automatic rotation
        #[arg(long)]
        never: bool,
    },
    /// Replace the root key of the store [default: by a key file in its directory]
    RotateRoot {
        /// Prompt for a new passphrase
        #[arg(long, conflicts_with = "new_root_key_file")]
        new_passphrase: bool,
        /// File whose first line is the new passphrase
        #[arg(long, value_name = "FILE", group = "new")]
        new_passphrase_file: Option<PathBuf>,
        /// File outside of the store directory for the root key; created if it does not exist
        #[arg(long, value_name = "FILE", group = "new")]
        new_root_key_file: Option<PathBuf>,
        /// URI of a key to wrap the root key under
        #[arg(long, value_name = "URI", group = "new", conflicts_with = "new_passphrase")]
        new_root_key: Option<String>,
    },
    /// Enable a key
    Enable {
        /// Key ID, its unique start, or alias
        key: String,
    },
    /// Disable a key until it is enabled again
    Disable {
        /// Key ID, its unique start, or alias
        key: String,
    },
    /// Schedule the deletion of a key; without it, data encrypted under it cannot be decrypted
    Delete {
        /// Key ID, its unique start, or alias
        key: String,
        /// Waiting period in days (7 to 30) in which cancel-delete keeps the key
        #[arg(long, default_value_t = 30)]
        days: u32,
        /// Waiting period of less than 7 days, such as 1h or 0s; asks for confirmation
        #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "days")]
        sooner: Option<Duration>,
        /// Do not ask for confirmation of --sooner
        #[arg(long, requires = "sooner")]
        yes: bool,
    },
    /// Cancel the deletion of a key, which is then disabled
    CancelDelete {
        /// Key ID, its unique start, or alias
        key: String,
    },
    /// Import the keys of a backup, or with --material a key of 32 bytes
    Import {
        /// Backup file, or file with the key, or - for standard input
        file: PathBuf,
        /// Read the 32 bytes of one key instead of a backup
        #[arg(long)]
        material: bool,
        /// Alias for that key
        #[arg(long, requires = "material")]
        alias: Option<String>,
        /// Description of that key
        #[arg(long, requires = "material", default_value = "")]
        description: String,
        /// File whose first line is the passphrase of the backup [default: a prompt]
        #[arg(long, value_name = "FILE", conflicts_with = "material")]
        backup_passphrase_file: Option<PathBuf>,
    },
    /// Write a backup of all keys, or of one key, encrypted under a passphrase
    Export {
        /// File to create, or - for standard output; an existing file is never replaced
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
        /// ID or alias of the only key to export
        key: Option<String>,
        /// File whose first line is the passphrase of the backup [default: a prompt]
        #[arg(long, value_name = "FILE")]
        backup_passphrase_file: Option<PathBuf>,
        /// Generate the passphrase of the backup and print it; keep it apart from the backup
        #[arg(long, conflicts_with = "backup_passphrase_file")]
        generate_passphrase: bool,
        /// Accept a passphrase of fewer than 12 characters, which can be guessed
        #[arg(long)]
        allow_short_passphrase: bool,
    },
    /// Show the audit log
    Audit {
        /// Verify that no line was altered or removed, instead of showing the log
        #[arg(long)]
        verify: bool,
        /// Line that the log must still contain, as SEQUENCE:DIGEST from an earlier --verify
        #[arg(long, value_name = "HEAD", requires = "verify")]
        head: Option<String>,
        /// Show only the last N lines
        #[arg(long, value_name = "N", conflicts_with = "verify")]
        last: Option<usize>,
    },
    /// Encrypt up to 4,096 bytes of standard input directly under a key, to one line of base64
    Seal {
        /// Key ID, its unique start, or alias
        key: String,
        /// Encryption context pair; it is not stored, and open must be given it again
        #[arg(short, long = "context", value_name = "K=V")]
        context: Vec<String>,
    },
    /// Decrypt the output of seal from standard input
    Open {
        /// Encryption context pair
        #[arg(short, long = "context", value_name = "K=V")]
        context: Vec<String>,
    },
}

#[derive(Subcommand)]
pub(crate) enum AliasCommand {
    /// Create an alias for a key
    Create {
        /// Alias; the prefix alias/ is optional
        alias: String,
        /// Key ID, its unique start, or alias
        key: String,
    },
    /// Point an alias to another key
    Update {
        /// Alias
        alias: String,
        /// Key ID, its unique start, or alias
        key: String,
    },
    /// Delete an alias; the key is kept
    Delete {
        /// Alias
        alias: String,
    },
    /// List all aliases
    List,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}
