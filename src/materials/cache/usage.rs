//! Counts of what was encrypted under one data key.
//!
//! This file imports nothing from the crate, so that `tests/caching_model.rs` can run it under a
//! model checker.

use super::sync::{Mutex, lock};

/// The most messages and bytes that one data key may encrypt.
#[derive(Clone, Copy, Debug)]
pub(super) struct UsageLimits {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// The messages and bytes that a data key has been handed out for.
#[derive(Default)]
pub(super) struct Usage {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    messages: u64,
    bytes: u64,
}

impl Usage {
    /// Counts one more message of `bytes` bytes if the limits allow it; otherwise counts nothing.
    pub(super) fn reserve(&self, bytes: u64, limits: UsageLimits) -> bool {
        let mut counts = lock(&self.counts);
        let (messages, bytes) = (counts.messages.saturating_add(1), counts.bytes.saturating_add(bytes));
        let allowed = messages <= limits.messages && bytes <= limits.bytes;
        if allowed {
            *counts = Counts { messages, bytes };
        }
        allowed
    }
}
