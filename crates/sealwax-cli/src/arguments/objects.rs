//! The options for objects in stores, and the commands for them.

use std::{num::NonZero, path::PathBuf};

use clap::{Args, ValueEnum};

use super::{KeyArguments, LimitArguments, ReportArguments};

/// Whether this build has no object stores.
pub(crate) const HIDDEN: bool = !cfg!(feature = "object-store");

/// How objects are reached, and what they are bound to.
#[derive(Args)]
#[command(next_help_heading = "Object stores")]
pub(crate) struct ObjectArguments {
    /// Endpoint of the service [default: $AWS_ENDPOINT_URL_S3, $AWS_ENDPOINT_URL, or that of the provider]
    #[arg(long, value_name = "URL", global = true, hide = HIDDEN)]
    pub(crate) endpoint_url: Option<String>,

    /// What objects are bound to: their path and the name of the store, only the name, or nothing
    #[arg(long, value_name = "WHAT", global = true, default_value = "path", hide = HIDDEN)]
    pub(crate) bind: Bind,

    /// Name of the store that objects are bound to, which decryption needs again [default: none]
    #[arg(long, value_name = "NAME", global = true, hide = HIDDEN)]
    pub(crate) store_name: Option<String>,

    /// Length of the header of every object in bytes, for more keys or context than usual
    #[arg(long, value_name = "N", global = true, default_value_t = 1024, hide = HIDDEN)]
    pub(crate) header_length: u32,
}

/// What objects are bound to.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Bind {
    Path,
    Store,
    None,
}

#[derive(Args)]
pub(crate) struct LsArguments {
    /// List everything below the path, and not only what is directly in it
    #[arg(short, long)]
    pub(crate) recursive: bool,

    /// Bucket, path or object, such as s3://BUCKET/PATH
    #[arg(value_name = "URL")]
    pub(crate) url: PathBuf,
}

#[derive(Args)]
#[command(after_help = CP_NOTE)]
pub(crate) struct CpArguments {
    #[command(flatten)]
    pub(crate) keys: KeyArguments,

    /// Replace an existing file or object
    #[arg(short, long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    #[command(flatten)]
    pub(crate) report: ReportArguments,

    /// File or object to copy
    #[arg(value_name = "FROM")]
    pub(crate) from: PathBuf,

    /// File or object to write
    #[arg(value_name = "TO")]
    pub(crate) to: PathBuf,
}

const CP_NOTE: &str = "\
A file is encrypted into an object, and an object is decrypted into a file. From object to object the message is \
re-encrypted, because it is bound to its path; the plaintext is never written anywhere.

Examples:
  sealwax cp -k \"$KEY\" report.pdf s3://bucket/report.pdf
  sealwax cp -k \"$KEY\" s3://bucket/report.pdf s3://archive/report.pdf";

#[derive(Args)]
#[command(after_help = SYNC_NOTE)]
pub(crate) struct SyncArguments {
    #[command(flatten)]
    pub(crate) keys: KeyArguments,

    /// Accepted as of other commands; subdirectories are always included
    #[arg(short, long, hide_short_help = true)]
    pub(crate) recursive: bool,

    /// Delete files or objects at the target that the source does not have
    #[arg(long)]
    pub(crate) delete: bool,

    /// Files to transfer at a time
    #[arg(long, value_name = "N", default_value = "4")]
    pub(crate) jobs: NonZero<usize>,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    #[command(flatten)]
    pub(crate) report: ReportArguments,

    /// Directory or object path to copy
    #[arg(value_name = "FROM")]
    pub(crate) from: PathBuf,

    /// Object path or directory to update
    #[arg(value_name = "TO")]
    pub(crate) to: PathBuf,
}

const SYNC_NOTE: &str = "\
A file is transferred if the target has none of its name, or one of another length, or an older one. A run that was \
interrupted is completed by the next. Links are skipped.

Examples:
  sealwax sync -k \"$KEY\" photos s3://bucket/photos
  sealwax sync -k \"$KEY\" s3://bucket/photos photos";
