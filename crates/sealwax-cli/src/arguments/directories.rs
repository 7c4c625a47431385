//! The options for whole directories.

use std::{ffi::OsString, num::NonZero, thread};

use clap::Args;

/// The heading of these options in the help.
const DIRECTORIES: &str = "Directories";

/// Which files of a directory are processed.
#[derive(Args)]
pub(crate) struct TreeArguments {
    /// Process the directory IN recursively
    ///
    /// Outputs go to the same tree below the directory OUT. encrypt skips messages that exist
    /// there, and decrypt compares files that exist. reencrypt without OUT replaces each message in
    /// place.
    #[arg(short, long, help_heading = DIRECTORIES)]
    pub(crate) recursive: bool,

    /// Suffix of the names of messages
    #[arg(long, value_name = "TEXT", default_value = ".sealed", requires = "recursive", help_heading = DIRECTORIES)]
    pub(crate) suffix: OsString,

    /// Process only files that match PATTERN, in the syntax of gitignore, relative to IN; can be
    /// repeated
    #[arg(long, value_name = "PATTERN", requires = "recursive", help_heading = DIRECTORIES)]
    pub(crate) include: Vec<String>,

    /// Leave out files and directories that match PATTERN, in the syntax of gitignore, relative to
    /// IN; can be repeated
    #[arg(long, value_name = "PATTERN", requires = "recursive", help_heading = DIRECTORIES)]
    pub(crate) exclude: Vec<String>,
}

#[derive(Args)]
pub(crate) struct DirectoryArguments {
    #[command(flatten)]
    pub(crate) tree: TreeArguments,

    /// Files to process in parallel [default: one per processor]
    #[arg(long, value_name = "N", requires = "recursive", help_heading = DIRECTORIES)]
    jobs: Option<NonZero<usize>>,

    /// Maximum number of files that share a data key and a signing key, for up to 5 minutes
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "recursive", help_heading = DIRECTORIES,
          value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub(crate) cache_messages: u64,
}

impl DirectoryArguments {
    pub(crate) fn recursive(&self) -> bool {
        self.tree.recursive
    }

    pub(crate) fn jobs(&self) -> usize {
        self.jobs.map_or_else(|| thread::available_parallelism().map_or(1, NonZero::get), NonZero::get)
    }

    /// Returns how many messages may share a data key, or `None` if each has its own.
    pub(crate) fn shared_by(&self) -> Option<u64> {
        Some(self.cache_messages).filter(|messages| self.recursive() && *messages > 1)
    }
}
