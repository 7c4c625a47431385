//! The conformance suite of `object_store`, over memory and over local files.

use sealwax::Client;
use sealwax_object_store::{Binding, Parts, Sizes};

use super::{
    SealedStore, keyring,
    object_store::{ObjectStore, integration, local::LocalFileSystem, memory::InMemory, path::Path},
};

/// What the inner store can do.
#[derive(Clone, Copy)]
pub(super) struct Abilities {
    /// Whether it puts on the condition of an entity tag; `None` if that is not tested.
    pub(super) update: Option<bool>,
    /// It keeps attributes.
    pub(super) attributes: bool,
    /// It copies on the condition that there is no object at the target.
    pub(super) copy_if_not_exists: bool,
    /// The last of two uploads that complete is the object.
    pub(super) last_upload_wins: bool,
}

impl Abilities {
    const ALL: Self = Self { update: Some(true), attributes: true, copy_if_not_exists: true, last_upload_wins: true };
    const FILES: Self = Self { update: Some(false), ..Self::ALL };
    /// S3 has no conditional copy. Of five writers that update one object over the emulator, more than
    /// one sometimes succeeds; whether that is the emulator's doing is not known yet.
    pub(super) const S3: Self = Self { update: None, copy_if_not_exists: false, ..Self::ALL };
    /// Azure takes the blocks of both uploads for its last one's. The emulator loses attributes.
    pub(super) const AZURE: Self = Self { attributes: false, last_upload_wins: false, ..Self::ALL };
}

/// Runs every test that is about `ObjectStore` alone. The others are about side traits.
pub(super) async fn conforms(store: &dyn ObjectStore, abilities: Abilities) {
    integration::put_get_delete_list(store).await;
    if abilities.attributes {
        integration::put_get_attributes(store).await;
    }
    delete_all(store).await;
    integration::get_opts(store).await;
    if let Some(update) = abilities.update {
        integration::put_opts(store, update).await;
    }
    delete_all(store).await;
    integration::stream_get(store).await;
    delete_all(store).await;
    integration::list_uses_directories_correctly(store).await;
    integration::list_with_delimiter(store).await;
    integration::list_with_offset_exclusivity(store).await;
    let missing = integration::get_nonexistent_object(store, Some(Path::from("missing"))).await.unwrap_err();
    assert!(missing.to_string().contains("not found"), "{missing}");
    integration::rename_and_copy(store).await;
    if abilities.copy_if_not_exists {
        integration::copy_if_not_exists(store).await;
    }
    integration::copy_rename_nonexistent_object(store).await;
    integration::multipart_race_condition(store, abilities.last_upload_wins).await;
    integration::multipart_out_of_order(store).await;
}

/// Removes all objects, which another store could not open.
pub(super) async fn delete_all(store: &dyn ObjectStore) {
    use futures_util::{StreamExt, TryStreamExt};
    let all = store.list(None).map_ok(|meta| meta.location).boxed();
    store.delete_stream(all).try_collect::<Vec<_>>().await.unwrap();
}

#[tokio::test]
async fn memory_conforms() {
    for sizes in [Sizes::Uniform, Sizes::Exact] {
        let store = SealedStore::builder(InMemory::new(), Client::new()).keyring(keyring()).sizes(sizes).build();
        conforms(&store.unwrap(), Abilities::ALL).await;
    }
}

#[tokio::test]
async fn memory_conforms_bound_to_a_store_or_to_nothing() {
    let builder = || SealedStore::builder(InMemory::new(), Client::new()).keyring(keyring());
    let store = builder().binding(Binding::Store).store_name("lake").parts(Parts::Equal(6 << 20)).build();
    conforms(&store.unwrap(), Abilities::ALL).await;
    let store = builder().binding(Binding::None).frame_length(1000).cache_capacity(0).build();
    conforms(&store.unwrap(), Abilities::ALL).await;
}

#[tokio::test]
async fn local_files_conform() {
    let directory = tempfile::tempdir().unwrap();
    let files = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let store = SealedStore::builder(files, Client::new()).keyring(keyring()).store_name("files").build();
    conforms(&store.unwrap(), Abilities::FILES).await;
}

#[tokio::test]
async fn local_files_conform_bound_to_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let files = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let builder = SealedStore::builder(files, Client::new()).keyring(keyring()).sizes(Sizes::Exact);
    let store = builder.binding(Binding::Store).store_name("files").build();
    conforms(&store.unwrap(), Abilities::FILES).await;
}
