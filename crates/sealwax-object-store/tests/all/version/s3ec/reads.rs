//! How objects are read: requests, ranges, and what cannot be done.

use super::*;
use object_store::{MultipartUpload, PutPayload};

const MIB: usize = 1 << 20;

#[test]
fn a_range_takes_one_request_once_the_object_is_authenticated() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(300_000));
        format_3(&text).at(&provider, &path).await;
        let store = reader(&provider, aes(), &[]);
        assert!(store.get_range(&path, 100_000..100_010).await.unwrap() == text[100_000..100_010]);
        let gets = provider.take_gets();
        assert_eq!((gets.len(), gets[0].range.clone()), (1, None), "the whole object is authenticated");
        assert!(store.get_range(&path, 100_000..100_010).await.unwrap() == text[100_000..100_010]);
        let gets = provider.take_gets();
        assert_eq!(gets.len(), 1);
        assert_eq!(gets[0].range, Some(GetRange::Bounded(65_536..131_072)), "the segments of the range");
        assert!(gets[0].if_match.is_some());
        let found = store.get_ranges(&path, &[5..10, 200_000..300_000]).await.unwrap();
        assert!(found[0] == text[5..10] && found[1] == text[200_000..]);
        assert_eq!(provider.take_gets().len(), 1);
        assert_eq!(store.head(&path).await.unwrap().size, 300_000);
        assert_eq!(provider.take_gets().len(), 1);
    });
}

#[test]
fn ranges_that_are_not_authenticated_take_a_head_and_a_request() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(300_000));
        format_3(&text).at(&provider, &path).await;
        let store = reader(&provider, aes(), &["release_unverified"]);
        for requests in [2, 1] {
            assert!(store.get_range(&path, 17..10_010).await.unwrap() == text[17..10_010]);
            let gets = provider.take_gets();
            assert_eq!(gets.len(), requests);
            assert_eq!(gets[requests - 1].range, Some(GetRange::Bounded(17..10_010)));
        }
    });
}

#[test]
fn an_object_is_found_in_listings_without_a_request_of_its_own() {
    run(async {
        let (provider, text) = (Provider::new(), pattern(100));
        for name in ["a", "b/c", "b/d"] {
            format_3(&text).in_file(&["x-amz-3", "x-amz-w"]).at(&provider, &Path::from(name)).await;
        }
        provider.store(&Path::from("marker"), Vec::new()).await;
        let store = reader(&provider, aes(), &[]);
        let expected = [("a", 100), ("b/c", 100), ("b/d", 100), ("marker", 0)];
        assert_eq!(listed(&store).await, expected.map(|(name, size)| (name.to_owned(), size)));
        let found = store.list_with_delimiter(None).await.unwrap();
        assert_eq!(found.objects.iter().map(|meta| meta.size).collect::<Vec<_>>(), [100, 0]);
        let after: Vec<_> = store.list_with_offset(None, &Path::from("b/c")).try_collect().await.unwrap();
        assert_eq!(after.iter().map(|meta| meta.size).collect::<Vec<_>>(), [100, 0]);
        assert!(provider.take_gets().is_empty());
        let exact = reader(&provider, aes(), &["exact"]);
        assert_eq!(listed(&exact).await, expected.map(|(name, size)| (name.to_owned(), size)));
        assert!(matches!(
            s3ec_error(&store.get(&Path::from("marker")).await.unwrap_err()),
            S3EncryptionError::NotEncrypted
        ));
    });
}

/// Longer than what is kept in memory: the second pass reads in pieces of 4 MiB.
#[test]
fn a_long_object_is_read_twice_before_any_of_it_is_released() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(9 * MIB + 5));
        let stored = format_3(&text);
        stored.at(&provider, &path).await;
        let store = reader(&provider, aes(), &[]);
        assert!(read(&store, &path).await.unwrap() == text);
        let gets = provider.take_gets();
        let longest = gets[1..].iter().map(|got| got.bytes).max().unwrap();
        assert_eq!((gets[0].range.clone(), gets.len(), longest), (None, 4, 4 * MIB as u64));
        let (start, end) = (MIB as u64 - 3, 9 * MIB as u64);
        assert!(store.get_range(&path, start..end).await.unwrap() == slice(&text, start..end));
        assert_eq!(provider.take_gets().len(), 3);
        // The last byte is wrong: nothing comes out.
        let mut altered = stored.clone();
        *altered.object.last_mut().unwrap() ^= 1;
        altered.at(&provider, &path).await;
        assert!(is_not_authentic(&store.get(&path).await.unwrap_err()));
        // Unless it is allowed by name; then the stream ends with the error.
        let unverified = reader(&provider, aes(), &["release_unverified"]);
        let items: Vec<_> = unverified.get(&path).await.unwrap().into_stream().collect().await;
        assert!(items.len() > 2 && is_not_authentic(items.last().unwrap().as_ref().unwrap_err()));
        assert_eq!(items.iter().filter(|item| item.is_err()).count(), 1);
    });
}

#[test]
fn conditions_and_missing_objects_are_those_of_the_inner_store() {
    run(async {
        let (provider, path) = (Provider::new(), Path::from("a"));
        let store = reader(&provider, aes(), &[]);
        for error in [
            store.get(&path).await.unwrap_err(),
            store.head(&path).await.unwrap_err(),
            store.get_range(&path, 0..1).await.unwrap_err(),
            store.get_ranges(&path, &[0..1]).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::NotFound { .. }), "{error}");
        }
        format_3(b"text").at(&provider, &path).await;
        for range in [None, Some(GetRange::Bounded(0..1))] {
            for _ in 0..2 {
                let options =
                    GetOptions { if_match: Some("other".to_owned()), range: range.clone(), ..GetOptions::default() };
                assert!(matches!(store.get_opts(&path, options).await, Err(Error::Precondition { .. })));
                store.get_range(&path, 0..1).await.unwrap();
            }
        }
        assert!(store.get_ranges(&path, &[]).await.unwrap().is_empty());
    });
}

#[test]
fn nothing_is_written() {
    run(async {
        let (provider, path) = (Provider::new(), Path::from("a"));
        format_3(b"text").at(&provider, &path).await;
        let store = reader(&provider, aes(), &[]);
        let other = Path::from("b");
        let put = store.put(&path, PutPayload::new()).await.map(|_| ());
        let upload: Result<Box<dyn MultipartUpload>> = store.put_multipart(&path).await;
        for outcome in [
            put,
            upload.map(|_| ()),
            store.delete(&path).await,
            store.copy(&path, &other).await,
            store.rename(&path, &other).await,
        ] {
            assert!(matches!(outcome, Err(Error::NotSupported { .. })), "{outcome:?}");
        }
        assert_eq!(read(&store, &path).await.unwrap(), "text");
        assert_eq!(format!("{store}"), "S3EncryptionStore(Provider)");
        assert!(!format!("{store:?}").contains("[7, 7"));
    });
}
