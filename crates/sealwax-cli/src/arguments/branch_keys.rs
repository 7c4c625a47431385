//! The arguments of `sealwax branch-keys`.
#![cfg_attr(not(feature = "aws"), allow(dead_code, reason = "the command only says that it is not there"))]

use clap::{Args, Subcommand};

/// Branch keys in Amazon DynamoDB.
#[derive(Args)]
pub(crate) struct BranchKeysArguments {
    #[command(subcommand)]
    pub(crate) command: BranchKeysCommand,
}

#[derive(Subcommand)]
pub(crate) enum BranchKeysCommand {
    /// Create the table, if it does not exist, and print its ARN
    CreateTable {
        #[command(flatten)]
        store: BranchKeyStoreArguments,
    },
    /// Create a branch key, and print its ID
    Create {
        #[command(flatten)]
        store: BranchKeyStoreArguments,
        /// Pair of the encryption context of the branch key, which is stored with it; needed if the URI has branch-key=
        #[arg(short, long = "context", value_name = "K=V")]
        context: Vec<String>,
    },
    /// Create a new version of a branch key for new messages, and print it; earlier messages still decrypt
    Version {
        #[command(flatten)]
        store: BranchKeyStoreArguments,
    },
    /// List the IDs of all branch keys, without calling AWS KMS
    List {
        #[command(flatten)]
        store: BranchKeyStoreArguments,
    },
    /// Show the versions of a branch key as the table has them, without calling AWS KMS
    Describe {
        #[command(flatten)]
        store: BranchKeyStoreArguments,
    },
}

#[derive(Args)]
pub(crate) struct BranchKeyStoreArguments {
    /// aws-kms-hierarchy:TABLE?logical-name=NAME&kms=ARN&branch-key=ID, where create can do without branch-key, and
    /// create-table and list need none
    #[arg(short, long = "key", value_name = "URI")]
    pub(crate) uri: String,
}

impl BranchKeysCommand {
    /// Returns the key URI.
    pub(crate) fn uri(&self) -> &str {
        match self {
            Self::CreateTable { store }
            | Self::Create { store, .. }
            | Self::Version { store }
            | Self::List { store }
            | Self::Describe { store } => &store.uri,
        }
    }
}
