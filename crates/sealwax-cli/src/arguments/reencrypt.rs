//! The arguments of `sealwax reencrypt`.

use std::path::PathBuf;

use clap::Args;
use sealwax::EncryptionContext;

use super::{DirectoryArguments, KeyArguments, LimitArguments, MessageArguments, ReportArguments, context_of};
use crate::failure::Failure;

#[derive(Args)]
#[command(after_long_help = NOTE)]
pub(crate) struct ReencryptArguments {
    #[command(flatten)]
    pub(crate) keys: KeyArguments,

    /// Key that decrypts the old message [default: the keys of the new message]
    #[arg(long = "old-key", value_name = "URI")]
    pub(crate) old_keys: Vec<String>,

    /// Pair that the encryption context of the old message must contain
    #[arg(long = "expect-context", value_name = "K=V", hide_short_help = true)]
    expected_context: Vec<String>,

    /// Remove the encryption context; without this option it is kept, or replaced by --context
    #[arg(long, conflicts_with = "context", hide_short_help = true)]
    no_context: bool,

    /// Output file, or - for standard output; with --recursive, a directory [default: replace each
    /// input]
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// Replace an existing output file
    #[arg(short, long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) message: MessageArguments,

    /// Create a key store and its default key if no --key is given and there is no key store; without a terminal, this
    /// option or `sealwax keys create` is needed
    #[arg(long, hide_short_help = true)]
    pub(crate) create_store: bool,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    #[command(flatten)]
    pub(crate) directories: DirectoryArguments,

    #[command(flatten)]
    pub(crate) report: ReportArguments,

    /// Messages to replace, or one message and -o OUT; - for standard input (the default). With
    /// --recursive, a directory
    #[arg(value_name = "IN")]
    pub(crate) inputs: Vec<PathBuf>,
}

const NOTE: &str = "\
The whole old message is verified before the new one atomically replaces it. The plaintext is never written anywhere.

The new message has a new data key and message ID. Only wrapping the old data key again would not revoke it from those \
who had it, and two headers under one data key reveal what authenticates the message.";

impl ReencryptArguments {
    pub(crate) fn expected_context(&self) -> Result<EncryptionContext, Failure> {
        context_of("--expect-context", &self.expected_context)
    }

    /// Returns the context of the new message, or `None` if it keeps the context of the old one.
    pub(crate) fn new_context(&self) -> Result<Option<EncryptionContext>, Failure> {
        let context = self.keys.context()?;
        Ok(Some(context).filter(|context| self.no_context || !context.is_empty()))
    }
}
