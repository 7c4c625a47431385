//! The crypto provider that the tool was built with: the faster one if it is available.

use sealwax::{Client, ClientBuilder};

#[cfg(feature = "aws-lc-rs")]
pub(crate) use sealwax::crypto::AwsLcRs as Provider;
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) use sealwax::crypto::RustCrypto as Provider;

/// The provider's name in `--version`.
#[cfg(feature = "aws-lc-rs")]
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\ncrypto provider: AWS-LC");
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\ncrypto provider: RustCrypto");

/// Returns a builder for a client with that provider.
pub(crate) fn client() -> ClientBuilder {
    Client::builder_with_provider(Provider)
}
