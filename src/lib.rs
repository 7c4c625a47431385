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
//! # let directory = tempfile::tempdir()?;
//! # let path = |name| directory.path().join(name);
//! # let (report, sealed, copy) = (path("report.txt"), path("report.sealed"), path("copy.txt"));
//! # std::fs::write(&report, "text")?;
//! # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
//! # let client = Client::new();
//! client.encrypt(&keyring).file(&report, &sealed)?;
//! client.decrypt(&keyring).file(&sealed, &copy)?;
//! # assert_eq!(std::fs::read(&copy)?, b"text");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A stream
//!
//! Any length, in constant memory. `finish` completes the message; a message without it is
//! truncated, and is refused.
//!
//! ```
//! # use sealwax::{Client, keyring::RawAesKeyring};
//! # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
//! # let client = Client::new();
//! # let (mut source, upload) = (&b"text"[..], std::io::Cursor::new(Vec::new()));
//! let mut writer = client.encrypt(&keyring).writer(upload).wait()?; // any `std::io::Write`
//! std::io::copy(&mut source, &mut writer)?;
//! let upload = writer.finish()?;
//!
//! // Verifies all of the message first, then reads it a second time and releases the plaintext.
//! let mut reader = client.decrypt(&keyring).reader_verified(upload.get_ref().as_slice())?;
//! std::io::copy(&mut reader, &mut std::io::sink())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A range
//!
//! Reads only the frames that hold the range. Such messages are unsigned, because a signature is
//! over the whole message; [`Decrypt::ranges_verified`] reads signed ones.
//!
//! ```
//! # use sealwax::{Client, keyring::RawAesKeyring};
//! # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
//! # let client = Client::new();
//! let message = client.encrypt(&keyring).unsigned().bytes(b"some longer text").wait()?.message;
//!
//! // Here a slice; a `File` works the same way.
//! let part = client.decrypt(&keyring).ranges(&message[..])?.read_range(5..11)?;
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
//! | a source into a sink | [`Encrypt::copy`] | [`Decrypt::copy`] |
//! | something to read from | [`Encrypt::reader`] | [`Decrypt::reader`] |
//! | something to write to | [`Encrypt::writer`] | [`Decrypt::writer`] |
//! | asynchronous readers and writers (features `tokio`, `futures`) | `Encrypt::tokio_reader` and so on | `Decrypt::tokio_reader` and so on |
//! | streams of pieces (either of these features) | `Encrypt::stream` | `Decrypt::stream` |
//! | a range, from a file or an object store | | [`Decrypt::ranges`], [`Decrypt::ranges_async`] |
//! | a file that is verified first, then read | | [`Decrypt::reader_verified`] |
//! | bytes that the application moves itself | [`Encrypt::machine`] | [`Decrypt::machine`] |
//! | other keys, another suite or context | | [`Decrypt::reencrypt`] |
//!
//! All but the first row take constant memory, whatever the length of the message.
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
pub use text::Escaped;
