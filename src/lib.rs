//! Client-side envelope encryption in the [AWS Encryption SDK] message format.
//!
//! Data is encrypted before it leaves the machine. Each message has its own data key, which is
//! stored in the message, wrapped by a key that a [keyring] holds. The official SDKs (Python,
//! JavaScript, Java, C, .NET, Rust) read what this crate writes, and the reverse.
//!
//! # Bytes
//!
//! ```
//! use sealwax::{Client, keyring::RawAesKeyring};
//!
//! // A real key is 32 secret random bytes. Without it, nothing can be decrypted.
//! let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
//! let client = Client::new();
//!
//! let sealed = client.encrypt(&keyring).context([("tenant", "blue")]).bytes(b"my secret").wait()?;
//! let opened = client.decrypt(&keyring).context([("tenant", "blue")]).bytes(&sealed.message).wait()?;
//! assert_eq!(opened.plaintext, b"my secret");
//! # Ok::<(), sealwax::Error>(())
//! ```
//!
//! What waits only for keys, or for an asynchronous source or sink, is an [`Operation`]: awaited
//! with `.await`, or completed with `.wait()`, which needs no executor. What reads and writes
//! through `std::io` or files blocks, and returns a [`Result`]; an asynchronous program calls it in
//! its runtime's `spawn_blocking`.
//!
//! # A file
//!
//! With the feature `fs`. The target appears only when it is complete and, on decrypt, verified.
//!
//! ```
//! # use sealwax::{Client, keyring::RawAesKeyring};
//! # #[cfg(feature = "fs")] {
//! # use sealwax::io::Overwrite;
//! # let directory = tempfile::tempdir()?;
//! # let path = |name| directory.path().join(name);
//! # let (report, sealed, copy) = (path("report.txt"), path("report.sealed"), path("copy.txt"));
//! # std::fs::write(&report, "text")?;
//! # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
//! # let client = Client::new();
//! client.encrypt(&keyring).file(&report, &sealed, Overwrite::Never)?;
//! client.decrypt(&keyring).file(&sealed, &copy, Overwrite::Never)?;
//! # assert_eq!(std::fs::read(&copy)?, b"text");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A stream
//!
//! Any length, in constant memory. `finish` completes the message; a message without it is
//! truncated, and is refused. A message is opened first, which involves the keyring, and then read,
//! which does not.
//!
//! ```
//! # use sealwax::{Client, keyring::RawAesKeyring};
//! # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
//! # let client = Client::new();
//! # let (mut source, upload) = (&b"text"[..], Vec::new());
//! let mut writer = client.encrypt(&keyring).unsigned().writer(upload).wait()?; // any `std::io::Write`
//! std::io::copy(&mut source, &mut writer)?;
//! let upload = writer.finish()?;
//!
//! let message = client.decrypt(&keyring).open(&upload[..])?; // any `std::io::Read`
//! println!("in the clear: {:?}", message.header().context());
//! std::io::copy(&mut message.into_reader()?, &mut std::io::sink())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`unsigned`](Encrypt::unsigned) is for streams and ranges. The default is to sign: a signature
//! proves which writer made a message, but it comes last, so a signed message must be read to its
//! end before any of its plaintext can be released. The reader above then spools it first (with the
//! feature `fs`).
//!
//! # A range
//!
//! Reads only the frames that hold the range. [`verify`](io::StoredMessage::verify) reads the whole
//! message first, and is what a signed one needs.
//!
//! ```
//! # use sealwax::{Client, keyring::RawAesKeyring};
//! # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
//! # let client = Client::new();
//! let message = client.encrypt(&keyring).unsigned().bytes(b"some longer text").wait()?.message;
//!
//! // Here a slice; a `File` works the same way.
//! let part = client.decrypt(&keyring).open_at(&message[..])?.into_ranges()?.read_range(5..11)?;
//! assert_eq!(part, b"longer");
//! # Ok::<(), sealwax::Error>(())
//! ```
//!
//! # What to call
//!
//! | for | encrypt | decrypt |
//! |---|---|---|
//! | bytes in memory | [`Encrypt::bytes`] | [`Decrypt::bytes`] |
//! | a file into a file (feature `fs`) | `Encrypt::file` | `Decrypt::file` |
//! | something to read from | [`Encrypt::reader`] | [`Decrypt::open`], [`Decrypt::open_async`] |
//! | something to write to | [`Encrypt::writer`] | [`Decrypt::writer`] |
//! | a source into a sink | [`Encrypt::copy`] | [`Decrypt::open`], then [`copy_to`](io::Message::copy_to) |
//! | ranges, or verification before anything else, of a file | | [`Decrypt::open_at`] |
//! | the same of an object in a store | | [`Decrypt::open_remote`] |
//! | bytes that the application moves itself | [`Encrypt::machine`] | [`Decrypt::machine`] |
//! | other keys, another suite or context | | [`Decrypt::reencrypt`] |
//!
//! Readers, writers and opened messages take sources and sinks of `std::io`, and through
//! [wrappers](io) those of Tokio and the `futures` crates and streams of pieces. All but the first
//! row take constant memory, whatever the length of the message.
//!
//! # Keyrings and materials managers
//!
//! A [`Keyring`](keyring::Keyring) wraps data keys:
//!
//! | keyring | where the key is |
//! |---|---|
//! | [`RawAesKeyring`](keyring::RawAesKeyring) | in memory |
//! | `RawRsaKeyring`, `RawEcdhKeyring` (features `raw-rsa`, `raw-ecdh`) | in memory, as key pairs |
//! | `AwsKmsKeyring` and its relatives (crate `sealwax-aws`) | in AWS KMS |
//! | `LocalKms` (crate `sealwax-kms`) | in a key store: a directory |
//! | [`KmsKeyring`](keyring::KmsKeyring) | in any other key service, through [three methods](keyring::KmsApi) |
//! | [`MultiKeyring`](keyring::MultiKeyring) | in several of these, any of which opens the message |
//!
//! A [`MaterialsManager`](materials::MaterialsManager) above the keyring decides what else goes
//! into a message. [`CachingManager`](materials::CachingManager) uses one data key for several
//! messages, to call a key service less often.
//!
//! # Guarantees
//!
//! - The default [suite](AlgorithmSuite) commits to its key and signs. No other key decrypts the
//!   message to something else, and a reader who can unwrap the data key, but has no wrapping key
//!   to encrypt with, cannot alter the message.
//! - No plaintext is released before it is authenticated, and that of a signed message only after
//!   its signature is verified, unless [`Decrypt::release_unverified`] is called.
//! - A message that is truncated, extended, reordered or altered in any bit is refused.
//! - The [encryption context](EncryptionContext) is authenticated, and **not secret**.
//! - Limits on what a message can make a reader hold are on by default ([`ClientBuilder`]).
//! - There is no `unsafe` in this crate. Keys are overwritten when they are dropped, and cannot be
//!   printed.
//!
//! SECURITY.md in the repository also lists what is not promised.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `rustcrypto` (default) | the crypto provider in pure Rust, and what uses it by default |
//! | `aws-lc-rs` | [a second, faster crypto provider](crypto); needs a C compiler |
//! | `fs` | whole files, and verified copies of signed messages from any source |
//! | `tokio` | readers, writers and streams of Tokio; `wait` refuses to block a thread of its runtime |
//! | `futures` | readers, writers and streams of the `futures` crates |
//! | `raw-rsa` | the raw RSA keyring; needs a C compiler |
//! | `raw-ecdh` | the raw ECDH keyring |
//! | `metrics` | metrics of the data-key cache, for the recorder of the `metrics` crate |
//! | `conformance` | test suites for keyrings and caches of an application |
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
pub mod materials;
pub mod message;
mod secret;
mod suite;
mod text;

pub use blocking::Operation;
pub use client::{Client, ClientBuilder, Decrypt, Encrypt, Reencrypt, Reencrypted};
pub use context::{EncryptionContext, PUBLIC_KEY_ENTRY};
pub use error::{
    BoxError, Cause, ContextError, Direction, Error, FormatError, LimitError, Result, Shared, UnwrapAttempt,
    UnwrapFailure, UnwrapReason,
};
pub use format::{ContentType, EncryptedDataKey, Header, HeaderDecoder, ReceivedHeader};
pub use message::{Decrypted, Encrypted};
pub use secret::SecretBytes;
pub use suite::{AlgorithmSuite, CommitmentPolicy, MessageVersion};
pub use text::Escaped;
