//! The data-key cache of a folder.

use std::{sync::Arc, time::Duration};

use sealwax::materials::{CachingManager, MaterialsManager, MemoryCache};

use crate::failure::Failure;

/// How long a data key is used.
const AGE: Duration = Duration::from_secs(300);

/// How many data keys are kept: one when encrypting, and when decrypting those of messages that alternate.
const ENTRIES: usize = 1000;

/// A manager whose data keys so many messages share; the manager itself if none do.
pub(super) fn shared(
    messages: Option<u64>,
    manager: Box<dyn MaterialsManager>,
) -> Result<Box<dyn MaterialsManager>, Failure> {
    let Some(messages) = messages else { return Ok(manager) };
    let cache = Arc::new(MemoryCache::new(ENTRIES)?);
    Ok(Box::new(CachingManager::builder(manager, cache, AGE).max_messages(messages).build()?))
}
