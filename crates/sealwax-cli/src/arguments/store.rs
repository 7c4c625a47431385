//! The options for the key store and for AWS KMS.

use std::path::PathBuf;

use clap::Args;
use sealwax_kms::PassphraseCost;

/// The location of the key store and of its root key.
#[derive(Args, Default)]
#[command(next_help_heading = "Key store")]
pub(crate) struct StoreArguments {
    /// Directory of the key store [default: $SEALWAX_STORE, the configuration file, or sealwax/keys
    /// in the platform's data directory]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) store: Option<PathBuf>,

    /// File whose first line is the passphrase of the store [default: $SEALWAX_PASSPHRASE, or a prompt]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Highest passphrase cost that a store or backup may ask for: memory in MiB, passes and lanes
    /// of Argon2id [default: 256,12,16, and at most half of the memory]
    #[arg(long, value_name = "MIB,PASSES,LANES", global = true, value_parser = cost)]
    pub(crate) max_passphrase_cost: Option<PassphraseCost>,

    /// File with the root key of the store, if it is outside of the store directory
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) root_key_file: Option<PathBuf>,

    /// URI of the key that wraps the root key of the store
    #[arg(long, value_name = "URI", global = true)]
    pub(crate) root_key: Option<String>,

    /// Caller name to record in the audit log
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) identity: Option<String>,
}

/// The region and profile of keys in AWS KMS whose URI names none.
#[derive(Args)]
#[command(next_help_heading = "AWS KMS")]
pub(crate) struct AwsArguments {
    /// AWS region of keys whose URI names none, and of buckets [default: that of the environment or the profile]
    #[cfg(any(feature = "aws", feature = "object-store"))]
    #[arg(long, value_name = "REGION", global = true)]
    pub(crate) region: Option<String>,

    /// Profile in the AWS configuration files [default: that of the environment]
    #[cfg(feature = "aws")]
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) profile: Option<String>,
}

fn cost(text: &str) -> Result<PassphraseCost, String> {
    let usage = || "use MIB,PASSES,LANES, such as 512,12,16".to_owned();
    let parts: Vec<u32> = text.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| usage())?;
    let [mib, passes, lanes] = parts[..] else { return Err(usage()) };
    Ok(PassphraseCost { memory_kib: mib.checked_mul(1024).ok_or_else(usage)?, passes, lanes })
}
