//! Listings with the lengths of plaintexts.

use std::sync::Arc;

#[cfg(feature = "cloud")]
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt, future::ready, stream::BoxStream};

#[cfg(feature = "cloud")]
use super::super::object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use super::{
    super::object_store::{Error, GetOptions, ObjectMeta, ObjectStore, Result},
    Shared,
};
use crate::layout::Sizes;

/// The number of objects that are opened at a time.
pub(super) const AT_A_TIME: usize = 8;

#[cfg(feature = "cloud")]
#[async_trait::async_trait]
impl<S: ObjectStore + PaginatedListStore> PaginatedListStore for super::SealedStore<S> {
    async fn list_paginated(&self, prefix: Option<&str>, options: PaginatedListOptions) -> Result<PaginatedListResult> {
        let mut page = self.shared.inner.list_paginated(prefix, options).await?;
        let objects = stream::iter(std::mem::take(&mut page.result.objects)).map(Ok).boxed();
        page.result.objects = self.shared.clone().plain(objects).try_collect().await?;
        Ok(page)
    }
}

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
