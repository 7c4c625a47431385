//! What is tested with each version.

mod attacks;
mod conformance;
mod foreign;
mod memory;
mod options;
mod provider;
mod reads;
#[cfg(feature = "s3ec-rsa")]
mod s3ec;
#[cfg(feature = "s3ec-rsa")]
mod servers;
mod writes;

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use sealwax::{Client, keyring::RawAesKeyring};
use sealwax_object_store::Sizes;

#[cfg(feature = "s3ec-rsa")]
use super::S3EncryptionStore;
use super::{
    SealedStore,
    object_store::{self, Error, ObjectStore, ObjectStoreExt, Result, path::Path},
};
use provider::Provider;

/// How long a request takes.
const LATENCY: Duration = Duration::from_millis(10);

fn keyring() -> RawAesKeyring {
    RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap()
}

/// Runs a future on a clock that only moves when everything waits.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// Returns a store over this provider, with frames of this length.
fn sealed(provider: &Arc<Provider>, frame_length: u32, sizes: Sizes) -> SealedStore<Arc<Provider>> {
    let builder = SealedStore::builder(provider.clone(), Client::new()).keyring(keyring());
    builder.frame_length(frame_length).sizes(sizes).build().unwrap()
}

async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Bytes> {
    let mut read = Vec::new();
    let mut stream = store.get(path).await?.into_stream();
    while let Some(bytes) = stream.next().await.transpose()? {
        read.extend_from_slice(&bytes);
    }
    Ok(read.into())
}

async fn listed(store: &dyn ObjectStore) -> Vec<(String, u64)> {
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    listed.into_iter().map(|meta| (meta.location.to_string(), meta.size)).collect()
}

/// Returns the error of the library behind an error of the store.
fn library_error(error: &Error) -> Option<&sealwax::Error> {
    match error {
        Error::Generic { store: "sealwax", source } => source.downcast_ref(),
        _ => None,
    }
}

fn is_integrity(error: &Error) -> bool {
    matches!(library_error(error), Some(sealwax::Error::Integrity))
}

fn slice(text: &[u8], range: Range<u64>) -> &[u8] {
    &text[range.start as usize..range.end as usize]
}
