//! The tests that run with each provider. `support::provider` is the one under test.

use super::{forge, support};

mod attacks;
mod caching;
mod managers;
mod official_vectors;
mod properties;
mod quorum;
#[cfg(feature = "raw-ecdh")]
mod raw_ecdh;
mod shipped_vectors;
mod tampering;
mod wycheproof;

#[test]
fn the_provider_under_test_is_the_one_that_the_module_names() {
    let name = if module_path!().contains("with_aws_lc_rs") { "AwsLcRs" } else { "RustCrypto" };
    assert_eq!(format!("{:?}", support::provider()), name);
    assert!(format!("{:?}", support::client_builder()).contains(name));
}
