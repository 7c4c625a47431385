//! The cost of messages: no memory for what they only declare, none for each frame, and no stack.
//! Runs with every crypto provider, in a process of its own, whose allocations are counted.
#![cfg(feature = "rustcrypto")]
#![allow(clippy::duplicate_mod, reason = "the modules are compiled once per provider")]

use std::sync::{Mutex, MutexGuard};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The allocations of the whole process are counted, so the tests run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[path = "."]
mod with_rustcrypto {
    use sealwax::crypto::RustCrypto as Provider;

    mod forge;
    mod support;
    #[path = "resources/mod.rs"]
    mod tests;
}

#[cfg(feature = "aws-lc-rs")]
#[path = "."]
mod with_aws_lc_rs {
    use sealwax::crypto::AwsLcRs as Provider;

    mod forge;
    mod support;
    #[path = "resources/mod.rs"]
    mod tests;
}
