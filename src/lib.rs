//! Client-side envelope encryption in the [AWS Encryption SDK] message format.
//!
//! Data is encrypted where it is, before it goes anywhere: each message under a data key of its own, which travels with
//! it, wrapped by a key that stays with a [keyring]. What this crate writes, the official SDKs (Python,
//! JavaScript, Java, C, .NET, Rust) read, and the reverse.
//!
//! ```
//! use sealwax::{Client, keyring::RawAesKeyring};
//!
//! // 32 secret random bytes; without them nothing opens again.
//! let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
//! let client = Client::new();
//!
//! let sealed = client.encrypt(&keyring).context([("tenant", "blue")]).bytes(b"my secret").wait()?;
//! let opened = client.decrypt(&keyring).context([("tenant", "blue")]).bytes(&sealed.message).wait()?;
//! assert_eq!(opened.plaintext, b"my secret");
//! # Ok::<(), sealwax::Error>(())
//! ```
//!
//! In an asynchronous program, `.await` stands in the place of `.wait()`.
//!
//! # What to call
//!
//! | for | encrypt | decrypt |
//! |---|---|---|
//! | bytes in memory | [`Encrypt::bytes`] | [`Decrypt::bytes`] |
//! | a file into a file (feature `fs`) | `Encrypt::file` | `Decrypt::file` |
//! | a source into a sink | [`Encrypt::copy`] | [`Decrypt::copy`] |
//! | something to read from | [`Encrypt::reader`] | [`Decrypt::reader`] |
//! | something to write to | [`Encrypt::writer`] | [`Decrypt::writer`] |
//! | asynchronous readers and writers (features `tokio`, `futures`) | `Encrypt::tokio_reader` and so on | `Decrypt::tokio_reader` and so on |
//! | streams of pieces (either of these features) | `Encrypt::stream` | `Decrypt::stream` |
//! | a part of a message, out of a file or an object store | | [`Decrypt::ranges`], [`Decrypt::ranges_async`] |
//! | a file that is verified first and read then | | [`Decrypt::reader_verified`] |
//! | bytes you move yourself | [`Encrypt::machine`] | [`Decrypt::machine`] |
//!
//! [`Decrypt::reencrypt`] moves a message to other keys.
//!
//! All but the first take constant memory, whatever the length of the message.
//!
//! # Who wraps the data keys
//!
//! A [`Keyring`](keyring::Keyring): [`RawAesKeyring`](keyring::RawAesKeyring) holds its key in memory,
//! `RawRsaKeyring` and `RawEcdhKeyring` (features) take keys in pairs, [`AwsKmsKeyring`](keyring::AwsKmsKeyring) and its relatives
//! keep them in AWS KMS, `LocalKms` (feature `local-kms`) is a key service in a folder, [`MultiKeyring`](keyring::MultiKeyring) makes
//! messages that several keys open, and a key service of your own takes [three methods](keyring::KmsApi). A [`MaterialsManager`](materials::MaterialsManager) above it decides what else
//! goes into a message, and a [`CachingManager`](materials::CachingManager) uses a data key for several messages, so that a key service
//! is asked less often.
//!
//! # What is promised
//!
//! - The default [suite](AlgorithmSuite) commits to its key and signs: no other key opens the message to something else, and
//!   who can only read cannot write.
//! - No plaintext is released that is not authenticated; that of a signed message only once its signature holds, unless
//!   [`Decrypt::release_unverified`] is called.
//! - A message that is cut off, extended, reordered or altered in any bit is refused.
//! - The [encryption context](EncryptionContext) is authenticated, and **not secret**.
//! - Limits on what a message may make a reader hold are on by default ([`ClientBuilder`]).
//! - There is no `unsafe` in this crate; keys are overwritten when they are dropped, and cannot be printed.
//!
//! The repository's SECURITY.md says what is not promised.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `rustcrypto` (default) | the crypto provider in pure Rust, and what uses it as its default |
//! | `aws-lc-rs` | [a second crypto provider](crypto), faster; takes a C compiler |
//! | `fs` | whole files, and verified copies of signed messages from any source |
//! | `tokio` | the asynchronous readers, writers and streams of Tokio; `wait` recognises its runtime, and refuses to block it |
//! | `futures` | the asynchronous readers, writers and streams of the `futures` crates |
//! | `raw-rsa` | the raw RSA keyring; takes a C compiler |
//! | `raw-ecdh` | the raw ECDH keyring |
//! | `local-kms` | a key management service in a folder |
//! | `aws-kms` | AWS KMS through the official SDK, over an HTTP client of your own |
//! | `aws-kms-rustls` | that, over HTTPS: rustls with ring |
//! | `aws-config` | that, with the configuration that the AWS tools use |
//! | `metrics` | counts what the data-key cache does, for the recorder of the `metrics` crate |
//! | `conformance` | suites to try keyrings and caches of your own with, in their tests |
//! | `cli` | the command-line tool |
//!
//! [AWS Encryption SDK]: https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/introduction.html
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod blocking;
mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
pub mod crypto;
mod error;
mod format;
pub mod io;
pub mod keyring;
mod limits;
#[cfg(feature = "local-kms")]
pub mod local_kms;
pub mod materials;
pub mod message;
mod secret;
mod suite;
mod text;

pub use blocking::Operation;
pub use client::{
    Client, ClientBuilder, Decrypt, Decrypted, Encrypt, Encrypted, Opened, Reencrypt, Reencrypted, Sealed,
};
pub use context::{EncryptionContext, PUBLIC_KEY_ENTRY};
pub use error::{
    BoxError, Cause, ContextError, Direction, Error, FormatError, LimitError, Result, Shared, UnwrapAttempt,
    UnwrapFailure, UnwrapReason,
};
pub use format::{ContentType, EncryptedDataKey, Header, HeaderDecoder, ReceivedHeader};
pub use secret::SecretBytes;
pub use suite::{AlgorithmSuite, CommitmentPolicy, MessageVersion};
