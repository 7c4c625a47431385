//! The arguments of `sealwax reencrypt`.

use std::path::PathBuf;

use clap::Args;
use sealwax::EncryptionContext;

use super::{KeyArguments, LimitArguments, MessageArguments, ReportArguments, context_of};
use crate::failure::Failure;

#[derive(Args)]
#[command(after_help = NOTE)]
pub(crate) struct ReencryptArguments {
    #[command(flatten)]
    pub(crate) keys: KeyArguments,

    /// A key that opens the old message; by default the keys of the new one
    #[arg(long = "old-key", value_name = "URI")]
    pub(crate) old_keys: Vec<String>,

    /// A pair that the encryption context of the old message must carry
    #[arg(long = "expect-context", value_name = "K=V")]
    expected_context: Vec<String>,

    /// Give the new message no encryption context; otherwise it keeps that of the old one, or gets that of --context
    #[arg(long, conflicts_with = "context")]
    no_context: bool,

    /// The file to write, or - for standard output; without it the input is replaced
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// Replace an existing output file
    #[arg(short, long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) message: MessageArguments,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    #[command(flatten)]
    pub(crate) report: ReportArguments,

    /// The file to read, or - for standard input
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
}

const NOTE: &str = "\
The old message is verified as a whole before the new one appears, in one stroke. The plaintext is never written anywhere.

The new message has a new data key and message id. Wrapping the old data key for other keys instead would leave it to \
whoever had it, and a second header under it would give away what authenticates the message.";

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
