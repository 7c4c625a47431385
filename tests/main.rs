//! The tests of the library that need no process of their own, as one program: linking is what
//! takes the time. A name selects tests, such as `cargo test --test all ranges::`.

#[cfg(feature = "rustcrypto")]
#[path = "support/answers.rs"]
mod answers;
#[cfg(feature = "rustcrypto")]
#[path = "support/fake_kms.rs"]
mod fake_kms;
#[cfg(feature = "rustcrypto")]
mod forge;
#[cfg(feature = "rustcrypto")]
mod support;

#[cfg(all(feature = "rustcrypto", feature = "tokio", feature = "futures"))]
mod async_streams;
mod caching_model;
#[cfg(all(feature = "rustcrypto", feature = "fs", feature = "tokio"))]
mod differential;
#[cfg(all(feature = "rustcrypto", feature = "tokio", feature = "futures"))]
mod honest_async;
#[cfg(feature = "rustcrypto")]
mod kms_answers;
#[cfg(feature = "rustcrypto")]
mod peers;
#[cfg(feature = "rustcrypto")]
mod peers_contexts;
#[cfg(feature = "rustcrypto")]
#[path = "per_provider.rs"]
mod per_provider;
#[cfg(all(feature = "rustcrypto", feature = "aws-lc-rs"))]
mod providers;
#[cfg(feature = "rustcrypto")]
mod ranges;
#[cfg(all(feature = "raw-rsa", feature = "rustcrypto"))]
mod raw_rsa;
#[cfg(all(feature = "rustcrypto", feature = "fs"))]
mod reencrypt;
#[cfg(all(feature = "rustcrypto", feature = "tokio"))]
mod remote;
