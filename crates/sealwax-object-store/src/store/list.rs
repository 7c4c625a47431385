//! Listings with the lengths of plaintexts.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, future::ready, stream::BoxStream};

use super::{
    super::object_store::{Error, GetOptions, ObjectMeta, ObjectStore, Result},
    Shared,
};
use crate::layout::Sizes;

/// The number of objects that are opened at a time.
const AT_A_TIME: usize = 8;

impl<S: ObjectStore> Shared<S> {
    /// Replaces the lengths of objects by those of their plaintexts.
    pub(super) fn plain(
        self: Arc<Self>,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.settings.sizes == Sizes::Uniform {
            let plain = move |mut meta: ObjectMeta| {
                if self.is_sealed(&meta.location) {
                    meta.size = self.settings.uniform_length(meta.size);
                }
                meta
            };
            return listed.map_ok(plain).boxed();
        }
        let measured = move |listed: Result<ObjectMeta>| {
            let shared = self.clone();
            async move {
                let meta = listed?;
                if !shared.is_sealed(&meta.location) {
                    return Ok(Some(meta));
                }
                match shared.measure(&meta, &GetOptions::default()).await {
                    Ok(size) => Ok(Some(ObjectMeta { size, ..meta })),
                    // It was deleted since it was listed.
                    Err(Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        };
        listed.map(measured).buffered(AT_A_TIME).try_filter_map(|meta| ready(Ok(meta))).boxed()
    }
}
