//! The options for the key store and for AWS KMS.

use std::path::PathBuf;

use clap::Args;

/// Where the key store is, and what opens it.
#[derive(Args, Default)]
#[command(next_help_heading = "Key store")]
pub(crate) struct StoreArguments {
    /// The directory of the key store; by default that of the variable SEALWAX_STORE, or one in the data directory of the platform
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) store: Option<PathBuf>,

    /// A file whose first line is the passphrase of the store; without it, the variable SEALWAX_PASSPHRASE, or a question
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// The file with the root key of the store, if it does not lie in the directory
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) root_key_file: Option<PathBuf>,

    /// The key that the root key of the store is wrapped under, as a key URI
    #[arg(long, value_name = "URI", global = true)]
    pub(crate) root_key: Option<String>,

    /// Who the audit log says it was
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) identity: Option<String>,
}

/// The region and profile of keys in AWS KMS whose URI names none.
#[derive(Args)]
#[command(next_help_heading = "AWS KMS")]
pub(crate) struct AwsArguments {
    /// The AWS region of keys whose URI names none; by default that of the environment or the profile
    #[cfg(feature = "aws")]
    #[arg(long, value_name = "REGION", global = true)]
    pub(crate) region: Option<String>,

    /// The profile of the AWS configuration files; by default that of the environment
    #[cfg(feature = "aws")]
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) profile: Option<String>,
}
