//! The arguments of `sealwax keys`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

/// Keys of the embedded key store.
#[derive(Args)]
pub(crate) struct KeysArguments {
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key; the first makes the store
    Create {
        /// A name for it
        #[arg(long)]
        alias: Option<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List all keys
    List,
    /// Show a key
    Describe {
        /// Its id or an alias
        key: String,
    },
    /// Names for keys
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Give a key new material; what was encrypted before still opens
    Rotate {
        /// Its id or an alias
        key: String,
        /// Have it rotate by itself, every so many days from 1 to 2,560, and not now
        #[arg(long, value_name = "DAYS", conflicts_with = "never")]
        every: Option<u32>,
        /// Have it rotate by itself no more
        #[arg(long)]
        never: bool,
    },
    /// Give the store a new root key: a file in its directory, if nothing else is said
    RotateRoot {
        /// A new passphrase, which is asked for
        #[arg(long, conflicts_with = "new_root_key_file")]
        new_passphrase: bool,
        /// A file whose first line is the new passphrase
        #[arg(long, value_name = "FILE", group = "new")]
        new_passphrase_file: Option<PathBuf>,
        /// A file outside of the directory; it is made if it is not there
        #[arg(long, value_name = "FILE", group = "new")]
        new_root_key_file: Option<PathBuf>,
        /// A key to wrap it under, as a key URI
        #[arg(long, value_name = "URI", group = "new", conflicts_with = "new_passphrase")]
        new_root_key: Option<String>,
    },
    /// Make a key usable
    Enable {
        /// Its id or an alias
        key: String,
    },
    /// Make a key unusable, until it is enabled
    Disable {
        /// Its id or an alias
        key: String,
    },
    /// Destroy a key after a wait, and all that is encrypted under it with it
    Delete {
        /// Its id or an alias
        key: String,
        /// How long it can still be cancelled: 7 to 30 days
        #[arg(long, default_value_t = 30)]
        days: u32,
        /// A shorter wait than 7 days, such as 1h or 0s
        #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "days")]
        sooner: Option<Duration>,
    },
    /// Keep a key that was to be deleted; it is disabled then
    CancelDelete {
        /// Its id or an alias
        key: String,
    },
    /// Take in the keys of a backup, or with --material a key of 32 bytes from a file
    Import {
        /// The file
        file: PathBuf,
        /// The file is the material of one key
        #[arg(long)]
        material: bool,
        /// A name for that key
        #[arg(long, requires = "material")]
        alias: Option<String>,
        /// What that key is for
        #[arg(long, requires = "material", default_value = "")]
        description: String,
        /// A file whose first line is the passphrase of the backup, which is asked for otherwise
        #[arg(long, value_name = "FILE", conflicts_with = "material")]
        backup_passphrase_file: Option<PathBuf>,
    },
    /// Write a backup of all keys, or of one, sealed under a passphrase
    Export {
        /// The file to make; an existing one is never replaced
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
        /// Only this key: its id or an alias
        key: Option<String>,
        /// A file whose first line is the passphrase of the backup, which is asked for otherwise
        #[arg(long, value_name = "FILE")]
        backup_passphrase_file: Option<PathBuf>,
    },
    /// Show the audit log
    Audit {
        /// Check that no line was altered or is missing, instead
        #[arg(long)]
        verify: bool,
        /// With --verify: the log must still have this line, as SEQUENCE:DIGEST, which an earlier check printed
        #[arg(long, value_name = "HEAD", requires = "verify")]
        head: Option<String>,
        /// Only the last so many lines
        #[arg(long, value_name = "N", conflicts_with = "verify")]
        last: Option<usize>,
    },
    /// Encrypt up to 4,096 bytes of standard input directly under a key, to one line of text
    Seal {
        /// Its id or an alias
        key: String,
        /// A pair of the encryption context; it is not stored, and open needs it again
        #[arg(short, long = "context", value_name = "K=V")]
        context: Vec<String>,
    },
    /// Decrypt what seal wrote, from standard input
    Open {
        /// A pair of the encryption context
        #[arg(short, long = "context", value_name = "K=V")]
        context: Vec<String>,
    },
}

#[derive(Subcommand)]
pub(crate) enum AliasCommand {
    /// Give a key a name
    Create {
        /// The name; alias/ may be left out
        alias: String,
        /// The key
        key: String,
    },
    /// Point a name to another key
    Update {
        /// The name
        alias: String,
        /// The key
        key: String,
    },
    /// Take a name away
    Delete {
        /// The name
        alias: String,
    },
    /// List all names
    List,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}
