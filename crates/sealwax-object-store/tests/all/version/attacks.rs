//! What a provider of storage can do. Nothing wrong is ever returned as right.

use super::{provider::Trick, *};
use crate::support::pattern;
use object_store::{GetOptions, GetRange};
use sealwax_object_store::Binding;

const TRICKS: [Trick; 4] = [Trick::Fewer, Trick::More, Trick::Shifted, Trick::Huge];

/// Reads an object in every way. Each read must fail or return what was written.
async fn nothing_wrong(store: &SealedStore<Arc<Provider>>, path: &Path, text: &[u8], what: &str) -> usize {
    let mut failures = 0;
    let mut check = |found: Result<Bytes>, expected: &[u8], how: &str| match found {
        Ok(found) => assert!(found == expected, "{what}: {how} returned something else"),
        Err(_) => failures += 1,
    };
    check(read(store, path).await, text, "get");
    let length = text.len() as u64;
    for range in [0..1, 10..length, length - 1..length, 0..length] {
        check(store.get_range(path, range.clone()).await, slice(text, range.clone()), "a range");
        let suffix = GetOptions { range: Some(GetRange::Suffix(length - range.start)), ..GetOptions::default() };
        let found = match store.get_opts(path, suffix).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        check(found, slice(text, range.start..length), "a suffix");
        let found = store.get_ranges(path, &[range.clone(), 0..1]).await.map(|found| found[0].clone());
        check(found, slice(text, range), "ranges");
    }
    failures
}

#[test]
fn attack_40_every_changed_byte_and_truncation_of_an_object_is_refused() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(150));
        let writer = sealed(&provider, 64, Sizes::Uniform);
        writer.put(&path, text.clone().into()).await.unwrap();
        let stored = provider.stored(&path).await;
        let mut whole = 0;
        for at in (0..stored.len()).filter(|at| *at < 100 || *at % 7 == 0 || *at > 900) {
            let mut changed = stored.clone();
            changed[at] ^= 1;
            provider.store(&path, changed).await;
            // With what is kept of the intact object, and without.
            for store in [&writer, &sealed(&provider, 64, Sizes::Uniform), &sealed(&provider, 64, Sizes::Exact)] {
                assert!(read(store, &path).await.is_err(), "byte {at}");
                let failures = nothing_wrong(store, &path, &text, &format!("byte {at}")).await;
                assert!(failures > 0);
            }
        }
        for length in (0..stored.len()).filter(|length| *length % 5 == 0 || *length > 1000) {
            provider.store(&path, stored[..length].to_vec()).await;
            for store in [&writer, &sealed(&provider, 64, Sizes::Uniform)] {
                whole += nothing_wrong(store, &path, &text, &format!("{length} bytes")).await;
                assert!(store.get_range(&path, 149..150).await.is_err(), "{length}");
            }
        }
        assert!(whole > 1000);
        // Bytes after the end.
        provider.store(&path, [&stored[..], b"more"].concat()).await;
        assert!(read(&writer, &path).await.is_err());
        assert_eq!(nothing_wrong(&writer, &path, &text, "appended").await, 13);
    });
}

#[test]
fn attack_40_an_answer_that_is_not_what_was_asked_for_is_refused() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(300_000));
        let opened = sealed(&provider, 65_536, Sizes::Uniform);
        opened.put(&path, text.clone().into()).await.unwrap();
        for trick in TRICKS {
            opened.get_range(&path, 0..1).await.unwrap();
            for store in [&opened, &sealed(&provider, 65_536, Sizes::Uniform), &sealed(&provider, 65_536, Sizes::Exact)]
            {
                provider.play(trick.clone());
                let failures = nothing_wrong(store, &path, &text, &format!("{trick:?}")).await;
                assert_eq!(failures, 13, "{trick:?}");
                provider.play(None);
            }
        }
    });
}

#[test]
fn attack_40_swapped_objects_are_refused_as_far_as_they_are_bound() {
    run(async {
        for (binding, name, other, opens) in [
            (Binding::Path, None, None, false),
            (Binding::Path, Some("lake"), Some("lake"), false),
            (Binding::Store, Some("lake"), Some("lake"), true),
            (Binding::Store, Some("lake"), Some("pond"), false),
            (Binding::None, None, None, true),
        ] {
            let provider = Provider::new();
            let bound = |name: Option<&str>| {
                let builder = SealedStore::builder(provider.clone(), Client::new()).keyring(keyring()).binding(binding);
                match name {
                    Some(name) => builder.store_name(name).build().unwrap(),
                    None => builder.build().unwrap(),
                }
            };
            let (one, two) = (Path::from("one"), Path::from("two"));
            let (writer, reader) = (bound(name), bound(other));
            writer.put(&one, "first".into()).await.unwrap();
            writer.put(&two, "other".into()).await.unwrap();
            let (first, second) = (provider.stored(&one).await, provider.stored(&two).await);
            provider.store(&one, second).await;
            provider.store(&two, first).await;
            for store in [&writer, &reader] {
                if std::ptr::eq(store, &writer) && name != other {
                    continue;
                }
                let found = [read(store, &one).await, store.get_range(&one, 0..5).await];
                for found in found {
                    match found {
                        Ok(found) => assert!(opens && found == "other", "{binding:?}"),
                        Err(error) => assert!(!opens && is_integrity_or_unwrapped(&error), "{binding:?}: {error}"),
                    }
                }
            }
        }
    });
}

/// A keyring may notice the other context before the header is verified.
fn is_integrity_or_unwrapped(error: &Error) -> bool {
    is_integrity(error) || matches!(library_error(error), Some(sealwax::Error::NotUnwrapped(_)))
}

#[test]
fn attack_40_an_object_is_bound_by_default_and_does_not_open_unbound() {
    run(async {
        let (provider, path) = (Provider::new(), Path::from("a"));
        let bound = sealed(&provider, 64, Sizes::Uniform);
        let unbound = SealedStore::builder(provider.clone(), Client::new()).keyring(keyring());
        let unbound = unbound.frame_length(64).binding(Binding::None).build().unwrap();
        bound.put(&path, "text".into()).await.unwrap();
        assert!(read(&unbound, &path).await.is_err());
        assert!(unbound.get_range(&path, 0..1).await.is_err());
        unbound.put(&path, "text".into()).await.unwrap();
        assert!(read(&bound, &path).await.is_err());
        assert!(bound.get_range(&path, 0..1).await.is_err());
    });
}

#[test]
fn attack_40_an_object_that_is_replaced_while_it_is_read_is_never_mixed() {
    run(async {
        let (old, new) = (pattern(300_000), pattern(400_000).into_iter().rev().collect::<Vec<_>>());
        for (conditions, kept, number) in [true, false]
            .into_iter()
            .flat_map(|c| [true, false].map(|k| (c, k)))
            .flat_map(|(c, k)| (0..6).map(move |n| (c, k, n)))
        {
            let (provider, path, other) = (Provider::new(), Path::from("a"), Path::from("other"));
            let store = sealed(&provider, 65_536, Sizes::Uniform);
            store.put(&path, new.clone().into()).await.unwrap();
            provider.inner.copy(&path, &other).await.unwrap();
            store.put(&path, old.clone().into()).await.unwrap();
            let mut ranges = vec![5..10_u64, 200_000..290_000];
            if kept {
                store.get_range(&path, 0..1).await.unwrap();
                ranges.reverse();
            }
            provider.play(Trick::Replace(number, other.clone()));
            for range in ranges {
                let found = store.get_range(&path, range.clone()).await;
                let what = format!("{conditions} {kept} {number} {range:?}");
                match found {
                    Ok(found) => assert!(
                        found == slice(&old, range.clone()) || found == slice(&new, range),
                        "{what}: neither the old object nor the new one"
                    ),
                    Err(error) => assert!(matches!(error, Error::Precondition { .. }), "{what}: {error}"),
                }
                if !conditions {
                    provider.play(Trick::NoConditions);
                }
            }
        }
    });
}

#[test]
fn a_replaced_object_is_opened_again() {
    run(async {
        for trick in [None, Some(Trick::NoConditions)] {
            let (provider, path) = (Provider::new(), Path::from("a"));
            let (one, two) = (sealed(&provider, 64, Sizes::Uniform), sealed(&provider, 64, Sizes::Uniform));
            one.put(&path, pattern(1000).into()).await.unwrap();
            assert_eq!(one.get_range(&path, 500..600).await.unwrap(), slice(&pattern(1000), 500..600));
            // Another writer replaces it by a longer one, and by a shorter one.
            for length in [2000, 300] {
                let text: Vec<u8> = pattern(length).into_iter().rev().collect();
                two.put(&path, text.clone().into()).await.unwrap();
                provider.play(trick.clone());
                let range = 100..length as u64;
                assert_eq!(
                    one.get_range(&path, range.clone()).await.unwrap(),
                    slice(&text, range.clone()),
                    "{trick:?}"
                );
                two.put(&path, text.clone().into()).await.unwrap();
                assert_eq!(
                    one.get_ranges(&path, std::slice::from_ref(&range)).await.unwrap()[0],
                    slice(&text, range),
                    "{trick:?}"
                );
                assert!(one.get_range(&path, length as u64..5000).await.is_err());
                provider.play(None);
            }
            provider.inner.delete(&path).await.unwrap();
            assert!(matches!(one.get_range(&path, 0..1).await, Err(Error::NotFound { .. })));
        }
    });
}

#[test]
fn attack_40_entity_tags_are_not_trusted() {
    run(async {
        let (provider, path) = (Provider::new(), Path::from("a"));
        let (one, two) = (sealed(&provider, 64, Sizes::Uniform), sealed(&provider, 64, Sizes::Uniform));
        one.put(&path, pattern(1000).into()).await.unwrap();
        provider.play(Trick::OneTag);
        one.get_range(&path, 0..1).await.unwrap();
        two.put(&path, vec![5; 1000].into()).await.unwrap();
        let error = one.get_range(&path, 100..200).await.unwrap_err();
        assert!(is_integrity(&error), "{error}");
        assert_eq!(one.get_ranges(&path, &[100..200]).await.unwrap()[0], [5; 100][..]);
    });
}

#[test]
fn a_lie_in_a_listing_is_found_out_by_reading() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(1000));
        let store = sealed(&provider, 64, Sizes::Uniform);
        store.put(&path, text.clone().into()).await.unwrap();
        provider.play(Trick::ListAs(1024 + 40 + 500));
        // The provider's claim.
        assert_ne!(listed(&store).await, [("a".to_owned(), 1000)]);
        assert_eq!(read(&store, &path).await.unwrap(), text);
        // The object's own.
        assert_eq!(listed(&sealed(&provider, 64, Sizes::Exact)).await, [("a".to_owned(), 1000)]);
    });
}

#[test]
fn attack_40_an_object_that_is_not_sealed_is_refused_unless_it_is_allowed_by_its_path() {
    use sealwax_object_store::Scope;
    run(async {
        let provider = Provider::new();
        let builder = SealedStore::builder(provider.clone(), Client::new()).keyring(keyring());
        let scope = |path: &str| if path.starts_with("public/") { Scope::Clear } else { Scope::Sealed };
        let store = builder.scope(scope).build().unwrap();
        let (private, public) = (Path::from("private/a"), Path::from("public/a"));
        for path in [&private, &public] {
            provider.store(path, b"some text in the clear".to_vec()).await;
        }
        let error = read(&store, &private).await.unwrap_err();
        assert!(matches!(library_error(&error), Some(sealwax::Error::Format(_))), "{error}");
        assert!(store.get_range(&private, 0..4).await.is_err());
        assert!(store.get_ranges(&private, &[0..4]).await.is_err());
        assert_eq!(read(&store, &public).await.unwrap(), "some text in the clear");
        assert_eq!(store.get_range(&public, 5..9).await.unwrap(), "text");
        assert_eq!(store.get_ranges(&public, &[5..9]).await.unwrap(), ["text"]);
        assert_eq!(store.head(&public).await.unwrap().size, 22);

        // What is written goes the same way, and so do copies across.
        store.put(&private, "secret".into()).await.unwrap();
        store.put(&public, "open".into()).await.unwrap();
        assert_eq!(provider.stored(&public).await, b"open");
        assert_eq!(provider.stored(&private).await.len(), 1024 + 40 + 6);
        assert_eq!(listed(&store).await, [("private/a".to_owned(), 6), ("public/a".to_owned(), 4)]);
        // Also of an object in the clear that is as long as a sealed one could be.
        store.put(&public, vec![0; 1024 + 40 + 5].into()).await.unwrap();
        assert_eq!(listed(&store).await[1].1, 1024 + 40 + 5);
        assert_eq!(store.head(&public).await.unwrap().size, 1024 + 40 + 5);
        store.put(&public, "open".into()).await.unwrap();
        store.copy(&public, &Path::from("private/b")).await.unwrap();
        assert_eq!(provider.stored(&Path::from("private/b")).await.len(), 1024 + 40 + 4);
        store.rename(&private, &Path::from("public/c")).await.unwrap();
        assert_eq!(provider.stored(&Path::from("public/c")).await, b"secret");
        store.copy(&public, &Path::from("public/d")).await.unwrap();
        assert_eq!(provider.stored(&Path::from("public/d")).await, b"open");
    });
}

#[test]
fn attack_40_a_stream_releases_what_comes_before_a_broken_frame_and_ends_with_the_error() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(20_000_000));
        let store = sealed(&provider, 65_536, Sizes::Uniform);
        store.put(&path, text.clone().into()).await.unwrap();
        let mut stored = provider.stored(&path).await;
        stored[9_000_000] ^= 1;
        provider.store(&path, stored).await;
        let long = GetOptions { range: Some(GetRange::Offset(1)), ..GetOptions::default() };
        for (options, start) in [(GetOptions::default(), 0), (long, 1)] {
            let mut stream = store.get_opts(&path, options).await.unwrap().into_stream();
            let mut released = Vec::new();
            let error = loop {
                match stream.next().await.unwrap() {
                    Ok(bytes) => released.extend_from_slice(&bytes),
                    Err(error) => break error,
                }
            };
            assert!(is_integrity(&error), "{error}");
            assert!(stream.next().await.is_none() && stream.next().await.is_none());
            assert!(released.len() > 4_000_000 && text[start..].starts_with(&released));
            assert!(released.len() < 9_000_000);
        }
    });
}
