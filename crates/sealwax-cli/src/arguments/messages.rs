//! The options that say with which keys, and within which limits, messages are processed.

use std::{num::NonZero, thread};

use clap::{Args, ValueEnum};
use sealwax::{
    ClientBuilder, CommitmentPolicy, EncryptionContext,
    keyring::Keyring,
    materials::{DefaultMaterialsManager, MaterialsManager, RequiredContextManager},
};

use crate::{failure::Failure, provider};

/// The keys and what is authenticated with them.
#[derive(Args)]
pub(crate) struct KeyArguments {
    /// Key: local:NAME, file:PATH, aws-kms:ARN, raw-aes://, raw-rsa:// or raw-ecdh://; repeatable
    /// [default: the default key of the key store]
    ///
    /// To encrypt, the first key generates the data key and the others wrap it too. To decrypt, any
    /// one of the keys that encrypted a message is enough; without this option, every key of the
    /// key store is tried.
    ///
    /// local:NAME: a key of the key store by its alias, its ID or the unique start of its ID; to
    /// decrypt, also local:* for any of them.
    ///
    /// file:PATH: a key file that `sealwax keygen` wrote.
    ///
    /// aws-kms:ARN: a key in AWS KMS; to encrypt, also aws-kms:alias/NAME; to decrypt, also
    /// aws-kms:discovery?account=ACCOUNT.
    ///
    /// aws-kms-hierarchy:TABLE?logical-name=NAME&kms=ARN&branch-key=ID: a branch key in a table of
    /// DynamoDB, which `sealwax branch-keys` manages.
    ///
    /// raw-aes://NAMESPACE/NAME?file=PATH: 16, 24 or 32 bytes in a file.
    ///
    /// raw-rsa://NAMESPACE/NAME?file=PEM&padding=oaep-sha256: to encrypt, the public or the private
    /// key; to decrypt, the private key.
    ///
    /// raw-ecdh://p256?recipient=PEM: to encrypt, to this public key; raw-ecdh://p256?private=PEM:
    /// to decrypt, with this private key; raw-ecdh://p256?private=PEM&recipient=PEM: both, between
    /// two parties.
    ///
    /// Parts of a URI are percent-encoded.
    #[arg(short, long = "key", value_name = "URI")]
    pub(crate) keys: Vec<String>,

    /// Encryption context pair; to decrypt, a pair that the message must contain
    ///
    /// The encryption context is authenticated, and stored unencrypted. On reencrypt, the pairs
    /// replace the old context.
    #[arg(short, long = "context", value_name = "K=V")]
    pub(crate) context: Vec<String>,

    /// Context key whose value is authenticated but not stored; --context must give it to encrypt
    /// and to decrypt
    #[arg(long, value_name = "K", hide_short_help = true)]
    require_context: Vec<String>,

    /// Algorithm suites to allow, by whether they commit to the data key
    #[arg(long, value_name = "POLICY", default_value = "require-encrypt-require-decrypt", hide_short_help = true)]
    commitment_policy: Policy,

    /// Threads per message [default: one per processor; with --recursive, 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), hide_short_help = true)]
    threads: Option<u16>,
}

impl KeyArguments {
    /// Returns a builder for a client with this commitment policy and the thread count for `many`
    /// messages or for one; the other options are not applied.
    pub(crate) fn client(&self, many: bool) -> ClientBuilder {
        provider::client().commitment_policy(self.policy()).threads(self.threads(many))
    }

    /// Returns the number of threads for one message.
    pub(crate) fn threads(&self, many: bool) -> usize {
        let available = || if many { 1 } else { thread::available_parallelism().map_or(1, NonZero::get) };
        self.threads.map_or_else(available, usize::from)
    }

    /// Returns the materials manager over these keyrings.
    pub(crate) fn manager(&self, keyring: Box<dyn Keyring>) -> Result<Box<dyn MaterialsManager>, Failure> {
        let manager = DefaultMaterialsManager::new(keyring);
        if self.require_context.is_empty() {
            return Ok(Box::new(manager));
        }
        Ok(Box::new(RequiredContextManager::new(self.require_context.iter().cloned(), manager)?))
    }

    fn policy(&self) -> CommitmentPolicy {
        match self.commitment_policy {
            Policy::ForbidEncryptAllowDecrypt => CommitmentPolicy::ForbidEncryptAllowDecrypt,
            Policy::RequireEncryptAllowDecrypt => CommitmentPolicy::RequireEncryptAllowDecrypt,
            Policy::RequireEncryptRequireDecrypt => CommitmentPolicy::RequireEncryptRequireDecrypt,
        }
    }

    pub(crate) fn context(&self) -> Result<EncryptionContext, Failure> {
        context_of("--context", &self.context)
    }
}

/// Returns the context made of the pairs that a flag gave.
pub(crate) fn context_of(flag: &str, pairs: &[String]) -> Result<EncryptionContext, Failure> {
    let mut context = EncryptionContext::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::usage(format!("{flag} must be KEY=VALUE; there is no = in one of them")));
        };
        if context.insert(key, value).is_some() {
            return Err(Failure::usage(format!("{flag} {key} is given twice; remove one of them")));
        }
    }
    Ok(context)
}

#[derive(Clone, Copy, ValueEnum)]
#[allow(clippy::enum_variant_names, reason = "these are the names of the specification")]
enum Policy {
    ForbidEncryptAllowDecrypt,
    RequireEncryptAllowDecrypt,
    RequireEncryptRequireDecrypt,
}

/// The heading of the limits in the help.
const LIMITS: &str = "Limits";

/// Limits on what a message declares.
#[derive(Args)]
pub(crate) struct LimitArguments {
    /// Maximum number of encrypted data keys of a message
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = LIMITS)]
    pub(crate) max_encrypted_data_keys: u16,

    /// Maximum length of a header in bytes
    #[arg(long, value_name = "N", default_value_t = 1 << 20, help_heading = LIMITS)]
    pub(crate) max_header_length: usize,

    /// Maximum length of a frame, or of an unframed body, in bytes
    #[arg(long, value_name = "N", default_value_t = 64 << 20, help_heading = LIMITS)]
    pub(crate) max_frame_length: u32,
}

impl LimitArguments {
    pub(crate) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        builder
            .max_encrypted_data_keys(self.max_encrypted_data_keys)
            .max_header_length(self.max_header_length)
            .max_frame_length(self.max_frame_length)
    }
}
