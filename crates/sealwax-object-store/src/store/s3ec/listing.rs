//! Listings with the lengths of plaintexts.

use std::{future::ready, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};

use super::{
    super::{
        super::object_store::{Error, GetOptions, ObjectMeta, ObjectStore, Result},
        list::AT_A_TIME,
    },
    Shared,
};
use crate::{
    Sizes,
    s3ec::{S3EncryptionError, TAG_LENGTH},
};

impl<S: ObjectStore> Shared<S> {
    /// Replaces the lengths of objects by those of their plaintexts, and leaves instruction files
    /// out.
    pub(super) fn plain(
        self: Arc<Self>,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let shared = self.clone();
        let is_object = move |meta: &ObjectMeta| !meta.location.as_ref().ends_with(&shared.settings.suffix);
        let listed = listed.try_filter(move |meta| ready(is_object(meta)));
        if self.settings.sizes == Sizes::Uniform {
            return listed
                .map_ok(|meta| ObjectMeta { size: meta.size.checked_sub(TAG_LENGTH).unwrap_or(meta.size), ..meta })
                .boxed();
        }
        let measured = move |listed: Result<ObjectMeta>| {
            let shared = self.clone();
            async move { shared.measure_listed(listed?).await }
        };
        listed.map(measured).buffered(AT_A_TIME).try_filter_map(|meta| ready(Ok(meta))).boxed()
    }

    async fn measure_listed(&self, meta: ObjectMeta) -> Result<Option<ObjectMeta>> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let length = match self.inner.get_opts(&meta.location, options.clone()).await {
            Ok(reply) => self.measure(&reply.meta, &reply.attributes, &options).await,
            // It was deleted since it was listed.
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        match length {
            Ok(size) => Ok(Some(ObjectMeta { size, ..meta })),
            // It is what it is, and is refused when it is read.
            Err(Error::Generic { source, .. })
                if matches!(source.downcast_ref(), Some(S3EncryptionError::NotEncrypted)) =>
            {
                Ok(Some(meta))
            }
            Err(error) => Err(error),
        }
    }
}
