//! Tests that run with every crypto provider: the modules of `tests/per_provider/` are compiled
//! once for each.
//!
//! `cargo test --all-features --test all per_provider::` runs them, and with `with_aws_lc_rs` in its
//! place those of one provider.
#![allow(clippy::duplicate_mod, reason = "that is how they are compiled once per provider")]

#[path = "."]
mod with_rustcrypto {
    // Without a `Provider` in the enclosing module, the helpers use RustCrypto.
    use crate::{forge, support};

    #[path = "per_provider/mod.rs"]
    mod tests;
}

// The second writer of the tests uses what the feature `rustcrypto` has, whichever provider is
// under test.
#[cfg(feature = "aws-lc-rs")]
#[path = "."]
mod with_aws_lc_rs {
    use sealwax::crypto::AwsLcRs as Provider;

    mod forge;
    mod support;
    #[path = "per_provider/mod.rs"]
    mod tests;
}
