//! The lock of the cache. `tests/caching_model.rs` puts a model of it in its place.

use std::sync::PoisonError;
pub(super) use std::sync::{Mutex, MutexGuard};

/// Locks. Nothing under these locks panics half-way, so that a poisoned one is as good as any other.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
