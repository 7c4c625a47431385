//! The options for whole directories.

use std::{ffi::OsString, num::NonZero, thread};

use clap::Args;

/// The heading of these options in the help.
const DIRECTORIES: &str = "Directories";

#[derive(Args)]
pub(crate) struct DirectoryArguments {
    /// Take IN for a directory, with all that is in it; OUT is a directory then. Files that are in OUT already are skipped
    #[arg(short, long, help_heading = DIRECTORIES)]
    pub(crate) recursive: bool,

    /// What the names of messages end in
    #[arg(long, value_name = "TEXT", default_value = ".sealed", requires = "recursive", help_heading = DIRECTORIES)]
    pub(crate) suffix: OsString,

    /// How many files are worked on at a time; by default one for each processor
    #[arg(long, value_name = "N", requires = "recursive", help_heading = DIRECTORIES)]
    jobs: Option<NonZero<usize>>,

    /// How many files share a data key, and a signing key, for up to 5 minutes; with 1 each has its own
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "recursive", help_heading = DIRECTORIES,
          value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub(crate) cache_messages: u64,
}

impl DirectoryArguments {
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.map_or_else(|| thread::available_parallelism().map_or(1, NonZero::get), NonZero::get)
    }

    /// Returns how many messages may share a data key, or `None` if each has its own.
    pub(crate) fn shared_by(&self) -> Option<u64> {
        Some(self.cache_messages).filter(|messages| self.recursive && *messages > 1)
    }
}
