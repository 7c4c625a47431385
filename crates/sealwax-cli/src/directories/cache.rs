//! The data-key cache for a directory.

use std::{sync::Arc, time::Duration};

use sealwax::materials::{CachingManager, MaterialsManager, MemoryCache};

use crate::failure::Failure;

/// How long a data key is used.
const AGE: Duration = Duration::from_secs(300);

/// The number of data keys kept: encryption needs one, decryption those of interleaved messages.
const ENTRIES: usize = 1000;

/// Returns a manager whose data keys are each shared by this many messages, or the manager itself
/// if none are shared.
pub(super) fn shared(
    messages: Option<u64>,
    manager: Box<dyn MaterialsManager>,
) -> Result<Box<dyn MaterialsManager>, Failure> {
    let Some(messages) = messages else { return Ok(manager) };
    let cache = Arc::new(MemoryCache::new(ENTRIES)?);
    Ok(Box::new(CachingManager::builder(manager, cache, AGE).max_messages(messages).build()?))
}
