//! The cache's lock. `tests/caching_model.rs` substitutes a model of it.

use std::sync::PoisonError;
pub(super) use std::sync::{Mutex, MutexGuard};

/// Locks the mutex, ignoring poisoning: no code that holds these locks leaves the data half-changed
/// if it panics.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
