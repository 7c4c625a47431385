//! Writes: uploads in parts, copies, and several writers.

use std::collections::BTreeSet;

use sealwax_object_store::{Binding, Parts};

use super::{provider::Trick, *};
use crate::support::pattern;
use object_store::{
    Attribute, Attributes, CopyOptions, GetOptions, GetRange, MultipartUpload, PutMode, PutOptions, PutPayload,
    UpdateVersion, memory::InMemory,
};

const MIB: usize = 1 << 20;

fn with_parts(provider: &Arc<Provider>, parts: Parts) -> SealedStore<Arc<Provider>> {
    SealedStore::builder(provider.clone(), Client::new()).keyring(keyring()).parts(parts).build().unwrap()
}

/// Uploads a plaintext in parts of these lengths, and returns the lengths of the inner parts.
async fn upload(provider: &Arc<Provider>, parts: Parts, lengths: &[usize]) -> Vec<usize> {
    let (store, path) = (with_parts(provider, parts), Path::from("a"));
    let text = pattern(lengths.iter().sum());
    let mut upload = store.put_multipart(&path).await.unwrap();
    let (mut rest, mut futures) = (&text[..], Vec::new());
    for length in lengths {
        let (now, later) = rest.split_at(*length);
        rest = later;
        // Payloads come in pieces.
        let pieces: PutPayload = now.chunks(1 + length / 3).map(Bytes::copy_from_slice).collect();
        futures.push(upload.put_part(pieces));
    }
    // In another order than that of the calls.
    futures.reverse();
    for future in futures {
        future.await.unwrap();
    }
    upload.complete().await.unwrap();
    assert!(read(&store, &path).await.unwrap() == text, "{lengths:?}");
    assert_eq!(listed(&store).await, [("a".to_owned(), text.len() as u64)]);
    if !text.is_empty() {
        let last = text.len() as u64 - 1;
        assert_eq!(store.get_range(&path, last..last + 1).await.unwrap(), text[last as usize..]);
    }
    assert!(upload.put_part("more".into()).await.is_err());
    assert!(upload.complete().await.is_err());
    provider.parts.lock().unwrap().drain(..).collect()
}

#[test]
fn parts_of_any_length_make_an_object_of_parts_that_s3_takes() {
    run(async {
        let provider = Provider::new();
        let lengths: [&[usize]; 12] = [
            &[],
            &[0],
            &[1],
            &[1, 1, 2, 0, 3],
            &[65_536, 65_535, 1],
            &[5 * MIB],
            &[5 * MIB, 5 * MIB, 5 * MIB],
            &[6 * MIB, 6 * MIB + 1, 6 * MIB - 1, 10],
            &[5 * MIB - 1, 1, 5 * MIB, 2],
            &[100_000; 120],
            &[1, 6 * MIB, 1, 6 * MIB, 1],
            &[19 * MIB],
        ];
        for lengths in lengths {
            let parts = upload(&provider, Parts::Follow, lengths).await;
            let (_, before) = parts.split_last().unwrap();
            assert!(before.iter().all(|length| *length >= 5 * MIB), "{lengths:?}: {parts:?}");
            assert!(parts.iter().all(|length| *length > 0));

            let equal = upload(&provider, Parts::Equal(6 * MIB), lengths).await;
            let (last, before) = equal.split_last().unwrap();
            assert!(before.iter().all(|length| *length == 6 * MIB) && (1..=6 * MIB).contains(last), "{equal:?}");
        }
    });
}

#[test]
fn a_part_of_5_mib_is_sent_when_it_is_handed_over() {
    run(async {
        let provider = Provider::new();
        let parts = upload(&provider, Parts::Follow, &[5 * MIB, 5 * MIB, 5 * MIB]).await;
        // The header and 80 frames, 80 frames, 80 frames, and an empty final frame.
        let frames = 80 * (65_536 + 32);
        assert_eq!(parts, [1024 + frames, frames, frames, 40]);
    });
}

#[test]
fn an_upload_of_every_small_part_is_what_was_written() {
    run(async {
        let provider = Provider::new();
        for length in [1, 2, 3, 63, 64, 65, 1000] {
            let (store, path) = (sealed(&provider, 64, Sizes::Uniform), Path::from("a"));
            let text = pattern(5000);
            let mut upload = store.put_multipart(&path).await.unwrap();
            for part in text.chunks(length) {
                upload.put_part(Bytes::copy_from_slice(part).into()).await.unwrap();
            }
            upload.complete().await.unwrap();
            assert_eq!(read(&store, &path).await.unwrap(), text);
            assert_eq!(store.head(&path).await.unwrap().size, 5000);
        }
    });
}

#[test]
fn an_upload_that_is_aborted_leaves_nothing() {
    run(async {
        let (provider, path) = (Provider::new(), Path::from("a"));
        let store = with_parts(&provider, Parts::Follow);
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part(pattern(6 * MIB).into()).await.unwrap();
        upload.abort().await.unwrap();
        assert!(upload.put_part("more".into()).await.is_err());
        assert_eq!(*provider.ends.lock().unwrap(), ["aborted"]);
        assert!(listed(&store).await.is_empty());
    });
}

#[test]
fn modes_tags_and_attributes_go_to_the_inner_store() {
    run(async {
        let store = SealedStore::builder(InMemory::new(), Client::new()).keyring(keyring()).build().unwrap();
        let path = Path::from("a");
        let attributes = Attributes::from_iter([(Attribute::ContentType, "text/plain")]);
        let options = PutOptions { mode: PutMode::Create, attributes: attributes.clone(), ..PutOptions::default() };
        let first = store.put_opts(&path, "one".into(), options.clone()).await.unwrap();
        assert!(matches!(store.put_opts(&path, "two".into(), options).await, Err(Error::AlreadyExists { .. })));
        let found = store.get_opts(&path, GetOptions { range: Some(GetRange::Bounded(0..2)), ..GetOptions::default() });
        assert_eq!(found.await.unwrap().attributes, attributes);
        let version = UpdateVersion { e_tag: first.e_tag, version: first.version };
        let update = PutOptions::from(PutMode::Update(version));
        store.put_opts(&path, "two".into(), update.clone()).await.unwrap();
        assert!(matches!(store.put_opts(&path, "3".into(), update).await, Err(Error::Precondition { .. })));
        assert_eq!(read(&store, &path).await.unwrap(), "two");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_writers_with_conditional_puts_lose_nothing() {
    let inner = Arc::new(InMemory::new());
    let path = Path::from("counter");
    let store = || SealedStore::builder(inner.clone(), Client::new()).keyring(keyring()).build().unwrap();
    store().put(&path, "".into()).await.unwrap();
    let writers = (0..5_u8).map(|writer| {
        // Each has a cache of its own, or they share one.
        let (store, path) = (store(), path.clone());
        tokio::spawn(async move {
            for number in 0..20_u8 {
                loop {
                    let found = store.get(&path).await.unwrap();
                    let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: None };
                    let mut text = found.bytes().await.unwrap().to_vec();
                    if !text.is_empty() {
                        // A range of the same object, from the cache if it was opened.
                        let last = text.len() as u64 - 1;
                        let _ = store.get_range(&path, last..last + 1).await;
                    }
                    text.push(writer * 20 + number);
                    match store.put_opts(&path, text.into(), PutMode::Update(version).into()).await {
                        Ok(_) => break,
                        Err(Error::Precondition { .. }) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let written = read(&store(), &path).await.unwrap();
    assert_eq!(written.len(), 100);
    assert_eq!(written.iter().copied().collect::<BTreeSet<_>>(), (0..100).collect());
}

#[test]
fn a_copy_is_encrypted_again_only_if_objects_are_bound_to_their_path() {
    run(async {
        let (from, to) = (Path::from("from"), Path::from("to"));
        for (binding, encrypts) in [(Binding::Path, true), (Binding::Store, false), (Binding::None, false)] {
            let provider = Provider::new();
            let builder = SealedStore::builder(provider.clone(), Client::new()).keyring(keyring()).binding(binding);
            let builder = if binding == Binding::Store { builder.store_name("lake") } else { builder };
            let store = builder.build().unwrap();
            store.put(&from, "text".into()).await.unwrap();
            provider.take_others();
            store.copy(&from, &to).await.unwrap();
            assert_eq!(provider.stored(&from).await != provider.stored(&to).await, encrypts, "{binding:?}");
            assert_eq!(provider.take_gets().len(), usize::from(encrypts));
            assert_eq!(provider.take_others(), 1);
            assert_eq!(read(&store, &to).await.unwrap(), "text");
            let exists = store.copy_if_not_exists(&from, &to).await.unwrap_err();
            assert!(matches!(exists, Error::AlreadyExists { .. }), "{exists}");
            let exists = store.rename_if_not_exists(&from, &to).await.unwrap_err();
            assert!(matches!(exists, Error::AlreadyExists { .. }), "{exists}");
            store.rename(&from, &Path::from("new")).await.unwrap();
            assert_eq!(read(&store, &Path::from("new")).await.unwrap(), "text");
            assert!(matches!(read(&store, &from).await, Err(Error::NotFound { .. })));
        }
        // A rename of an object to itself keeps it.
        let store = sealed(&Provider::new(), 64, Sizes::Uniform);
        store.put(&from, "text".into()).await.unwrap();
        store.rename(&from, &from).await.unwrap();
        assert_eq!(read(&store, &from).await.unwrap(), "text");
    });
}

#[test]
fn a_long_object_is_copied_in_parts_and_a_failure_leaves_no_upload() {
    run(async {
        let provider = Provider::new();
        let (store, from, to) = (with_parts(&provider, Parts::Follow), Path::from("from"), Path::from("to"));
        let text = pattern(20 * MIB);
        let attributes = Attributes::from_iter([(Attribute::ContentType, "text/plain")]);
        store.put_opts(&from, text.clone().into(), attributes.clone().into()).await.unwrap();
        store.copy(&from, &to).await.unwrap();
        let found = store.get(&to).await.unwrap();
        assert_eq!(found.attributes, attributes);
        assert!(found.bytes().await.unwrap() == text);
        assert!(provider.parts.lock().unwrap().len() >= 3);

        // The source is broken in its middle.
        let mut stored = provider.stored(&from).await;
        stored[12 * MIB] ^= 1;
        provider.store(&from, stored).await;
        store.delete(&to).await.unwrap();
        provider.ends.lock().unwrap().clear();
        assert!(is_integrity(&store.copy(&from, &to).await.unwrap_err()));
        assert!(is_integrity(&store.rename(&from, &to).await.unwrap_err()));
        assert_eq!(*provider.ends.lock().unwrap(), ["aborted", "aborted"]);
        assert!(matches!(read(&store, &to).await, Err(Error::NotFound { .. })));
        assert!(provider.stored(&from).await.len() > 20 * MIB);
    });
}

#[test]
fn a_copy_that_must_not_replace_is_limited() {
    run(async {
        let provider = Provider::new();
        let (store, from, to) = (with_parts(&provider, Parts::Follow), Path::from("from"), Path::from("to"));
        store.put(&from, vec![0; 64 * MIB + 1].into()).await.unwrap();
        let error = store.copy_if_not_exists(&from, &to).await.unwrap_err();
        assert!(matches!(error, Error::NotSupported { .. }), "{error}");
        store.put(&from, vec![0; 64 * MIB].into()).await.unwrap();
        store.copy_opts(&from, &to, CopyOptions::default()).await.unwrap();
        provider.play(Trick::Fail(0));
        assert!(matches!(store.copy(&from, &to).await, Err(Error::PermissionDenied { .. })));
    });
}
