//! An [`ObjectStore`](https://docs.rs/object_store) that encrypts before upload, over any other
//! one.
//!
//! `SealedStore` wraps a store and is one itself. An engine that reads and writes through it works on
//! encrypted objects unchanged. Each object is an ordinary message in the AWS Encryption SDK format,
//! which the official SDKs open, given its key and its required encryption context.
//!
//! ```
//! # #[cfg(feature = "object-store")] {
//! # use object_store_0_14 as object_store;
//! use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
//! use sealwax::{Client, keyring::RawAesKeyring};
//! use sealwax_object_store::SealedStore;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
//! let store = SealedStore::builder(InMemory::new(), Client::new()).keyring(keyring).build()?;
//!
//! let path = Path::from("reports/2026.csv");
//! store.put(&path, "some longer text".into()).await?;
//! assert_eq!(store.head(&path).await?.size, 16);
//! assert_eq!(store.get_range(&path, 5..11).await?, "longer");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! An object is a header of a fixed length (1,024 bytes), then frames of 64 KiB, with the
//! committing unsigned suite 0x0478. Since nothing else varies, the length of the plaintext follows
//! from that of the object: lengths in listings are true without a request per object. The header
//! is filled up with an encrypted data key that is no key, which every SDK skips. [`Sizes::Exact`]
//! is for objects of other layouts.
//!
//! A length that follows from a listing is the provider's claim, as it is without encryption. One
//! from a range read is authenticated.
//!
//! # What is bound
//!
//! | [`Binding`] | two objects swapped by the provider | copy, rename | copied by other tools |
//! |---|---|---|---|
//! | `Path` (default) | refused | read and encrypted again | opens only under its old path |
//! | `Store` | not detected within the store | by the inner store | opens in any store of the name |
//! | `None` | not detected | by the inner store | opens |
//!
//! No wrapper can detect that the provider returns an older version of an object under its path,
//! deletes an object, or leaves one out of a listing. Pin an entity tag or version where that
//! matters. Paths, lengths, times, attributes and tags are neither encrypted nor authenticated.
//!
//! The path is the one that the wrapper sees: wrap a `SealedStore` in a `PrefixStore`, not the
//! reverse.
//!
//! # Reads
//!
//! | operation | requests |
//! |---|---|
//! | whole object | 1 |
//! | first range of an object | 3 at once: header, end, range |
//! | later ranges | 1 each, on the condition that the object is the same |
//! | `head` | 1 |
//! | listings | those of the inner store; with [`Sizes::Exact`], 2 more for each object that is not cached |
//!
//! A range is authenticated before it is returned, and so is every frame of a stream. The stream of
//! a whole object ends without an error only after its final frame. A range that is longer than 8
//! MiB is streamed, with four requests of 4 MiB at a time.
//!
//! # Writes
//!
//! An object that is written at once is sealed in memory. A part of a multipart upload is sealed
//! when `put_part` is called, on the calling task. A part of 5 MiB takes some milliseconds. Beside
//! the parts in flight an upload holds less than 5 MiB of ciphertext and less than a frame of
//! plaintext.
//! An object that an upload has not completed does not exist, and an upload that is aborted leaves
//! what the inner store leaves.
//!
//! # Objects of the Amazon S3 Encryption Client
//!
//! With the feature `s3ec`, `S3EncryptionStore` reads the objects of that client, without writing
//! any. It is a store of its own, because its objects are bound to nothing and authenticated as a
//! whole.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![allow(clippy::duplicate_mod, reason = "the store is compiled for each version of `object_store`")]

#[cfg(not(any(feature = "object-store", feature = "object-store-0-13")))]
compile_error!("enable the feature `object-store` or `object-store-0-13`");

mod binding;
mod cache;
mod layout;
mod messages;
mod padding;
#[cfg(feature = "s3ec")]
mod s3ec;
mod settings;
#[cfg(feature = "object-store-0-13")]
pub mod v0_13;
#[cfg(feature = "object-store")]
mod v0_14;

pub use binding::Binding;
pub use layout::Sizes;
pub use messages::Messages;
#[cfg(feature = "s3ec")]
pub use s3ec::{S3EncryptionError, S3Key};
pub use settings::{Parts, Scope};
#[cfg(all(feature = "s3ec", feature = "object-store"))]
pub use v0_14::{S3EncryptionStore, S3EncryptionStoreBuilder};
#[cfg(feature = "object-store")]
pub use v0_14::{SealedStore, SealedStoreBuilder};
