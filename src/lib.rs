//! Client-side envelope encryption in the AWS Encryption SDK message format.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod blocking;
mod client;
mod context;
pub mod crypto;
mod error;
mod format;
pub mod io;
pub mod keyring;
mod limits;
pub mod materials;
pub mod message;
mod secret;
mod suite;

pub use blocking::Operation;
pub use client::{Client, ClientBuilder, Decrypt, Decrypted, Encrypt, Encrypted, Opened};
pub use context::{EncryptionContext, PUBLIC_KEY_ENTRY};
pub use error::{
    BoxError, ContextError, Direction, Error, FormatError, LimitError, Result, UnwrapAttempt, UnwrapFailure,
    UnwrapReason,
};
pub use format::{ContentType, EncryptedDataKey, Header, HeaderDecoder, ReceivedHeader};
pub use secret::SecretBytes;
pub use suite::{AlgorithmSuite, CommitmentPolicy, MessageVersion};
