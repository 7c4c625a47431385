//! Tests that count the allocations or threads of the whole process, which therefore is their own.
//!
//! The cost of messages, with every crypto provider: no memory for what they only declare, none for
//! each frame, and no stack. Work on several threads (`parallel`), and sources that are read twice
//! (`verify_first`).
#![cfg(feature = "rustcrypto")]
// `GlobalAlloc` is an unsafe trait.
#![allow(unsafe_code)]
#![allow(clippy::duplicate_mod, reason = "the modules are compiled once per provider")]

use std::sync::{Mutex, MutexGuard};

#[global_allocator]
static ALLOCATOR: heap::CountingAllocator = heap::CountingAllocator;

/// The allocations of the whole process are counted, so the tests run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

mod forge;
#[path = "resources/heap.rs"]
mod heap;
mod parallel;
mod support;
mod verify_first;

#[path = "."]
mod with_rustcrypto {
    // Without a `Provider` in the enclosing module, the helpers use RustCrypto.
    use crate::{forge, support};

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
