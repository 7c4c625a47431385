//! The options for the configuration file, and the command that shows it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The configuration file.
#[derive(Args, Default)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct ConfigArguments {
    /// Configuration file [default: $SEALWAX_CONFIG, or sealwax/config.toml in the platform's
    /// configuration directory]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// Profile of the configuration file to use [default: $SEALWAX_PROFILE, or the one that the
    /// file names]
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) config_profile: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show each setting and where it comes from
    Show,
}
