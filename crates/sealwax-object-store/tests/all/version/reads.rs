//! Reads: what they return, and what they request.

use tokio::time::Instant;

use super::{
    provider::{Got, Trick},
    *,
};
use crate::support::pattern;
use object_store::{GetOptions, GetRange, ObjectMeta};

const FRAME: u64 = 65_536;
const HEADER: u64 = 1024;

fn ranges_of(gets: &[Got]) -> Vec<Option<GetRange>> {
    gets.iter().map(|got| got.range.clone()).collect()
}

/// Returns a provider with an object of this length, and what it took.
async fn with_object(
    length: usize,
    frame_length: u32,
    sizes: Sizes,
) -> (Arc<Provider>, SealedStore<Arc<Provider>>, Path, Vec<u8>) {
    let (provider, path, text) = (Provider::new(), Path::from("a/b"), pattern(length));
    let store = sealed(&provider, frame_length, sizes);
    store.put(&path, text.clone().into()).await.unwrap();
    assert_eq!((provider.take_gets().len(), provider.take_others()), (0, 1));
    (provider, store, path, text)
}

#[test]
fn a_whole_object_takes_one_request() {
    run(async {
        for length in [0, 1, 65_535, 65_536, 65_537, 300_000] {
            let (provider, store, path, text) = with_object(length, 65_536, Sizes::Uniform).await;
            let start = Instant::now();
            assert_eq!(read(&store, &path).await.unwrap(), text);
            assert_eq!(start.elapsed(), LATENCY);
            assert_eq!(ranges_of(&provider.take_gets()), [None], "{length}");
        }
    });
}

#[test]
fn a_first_range_takes_one_round_trip_and_a_later_one_a_request() {
    run(async {
        let (provider, store, path, text) = with_object(3_000_000, 65_536, Sizes::Uniform).await;
        let start = Instant::now();
        assert_eq!(store.get_range(&path, 1_000_000..1_100_000).await.unwrap(), slice(&text, 1_000_000..1_100_000));
        assert_eq!(start.elapsed(), LATENCY);
        let gets = provider.take_gets();
        assert_eq!(gets.len(), 3);
        // The header, the end, and the frames that the range touches.
        let bytes: u64 = gets.iter().map(|got| got.bytes).sum();
        assert!(bytes <= HEADER + 100_000 + 3 * (FRAME + 40), "{bytes}");
        assert_eq!(gets[0].range, Some(GetRange::Bounded(0..HEADER)));

        for range in [5..10, 2_999_000..3_000_000, 0..500_000, 65_536..131_072, 65_535..65_537] {
            let start = Instant::now();
            assert_eq!(store.get_range(&path, range.clone()).await.unwrap(), slice(&text, range.clone()));
            assert_eq!(start.elapsed(), LATENCY);
            let gets = provider.take_gets();
            assert_eq!(gets.len(), 1, "{range:?}: {gets:?}");
            assert!(gets[0].if_match.is_some());
            assert!(gets[0].bytes <= range.end - range.start + 2 * (FRAME + 40), "{range:?}: {gets:?}");
        }
        // A range of 4 MiB is one request as well, and several ranges are merged.
        let (provider, store, path, text) = with_object(12_000_000, 65_536, Sizes::Uniform).await;
        store.get_range(&path, 0..1).await.unwrap();
        provider.take_gets();
        let range = 1_000_001..1_000_001 + (4 << 20);
        assert_eq!(store.get_range(&path, range.clone()).await.unwrap(), slice(&text, range));
        assert_eq!(provider.take_gets().len(), 1);
        let ranges = [100..200, 5_000_000..5_100_000, 4_900_000..5_000_100, 50..150];
        let read = store.get_ranges(&path, &ranges).await.unwrap();
        assert!(ranges.iter().zip(&read).all(|(range, read)| read == slice(&text, range.clone())));
        assert_eq!(provider.take_gets().len(), 2);
        assert_eq!(provider.take_others(), 0);
        assert!(store.get_ranges(&path, &[]).await.unwrap().is_empty());
        assert_eq!(provider.take_gets().len(), 0);
    });
}

#[test]
fn the_end_of_an_object_takes_one_round_trip() {
    run(async {
        for count in [8, 70_000, 200_000] {
            let (provider, store, path, text) = with_object(3_000_000, 65_536, Sizes::Uniform).await;
            let options = GetOptions { range: Some(GetRange::Suffix(count)), ..GetOptions::default() };
            let start = Instant::now();
            let result = store.get_opts(&path, options).await.unwrap();
            assert_eq!((result.meta.size, result.range.clone()), (3_000_000, 3_000_000 - count..3_000_000));
            assert_eq!(result.bytes().await.unwrap(), slice(&text, 3_000_000 - count..3_000_000));
            assert_eq!((start.elapsed(), provider.take_gets().len()), (LATENCY, 2), "{count}");
        }
    });
}

#[test]
fn a_long_range_is_streamed_with_four_requests_at_a_time() {
    run(async {
        let (provider, store, path, text) = with_object(40_000_000, 65_536, Sizes::Uniform).await;
        let options = GetOptions { range: Some(GetRange::Offset(100)), ..GetOptions::default() };
        let mut stream = store.get_opts(&path, options.clone()).await.unwrap().into_stream();
        let first = stream.next().await.unwrap().unwrap();
        assert!(first.len() < 5 << 20);
        let requested: u64 = provider.take_gets().iter().map(|got| got.bytes).sum();
        assert!(requested < 5 * (4 << 20) + (1 << 20), "{requested}");
        drop(stream);
        let mut read = Vec::new();
        let start = Instant::now();
        let mut stream = store.get_opts(&path, options).await.unwrap().into_stream();
        while let Some(bytes) = stream.next().await {
            read.extend_from_slice(&bytes.unwrap());
        }
        assert_eq!(read, text[100..]);
        // Ten requests, of which the first comes before the others, and four at a time.
        assert_eq!(provider.take_gets().len(), 10);
        assert!(start.elapsed() <= 4 * LATENCY, "{:?}", start.elapsed());
    });
}

#[test]
fn every_range_is_a_slice() {
    run(async {
        for length in [0, 1, 63, 64, 65, 128, 300] {
            for sizes in [Sizes::Uniform, Sizes::Exact] {
                let (_, store, path, text) = with_object(length, 64, sizes).await;
                let size = length as u64;
                for start in 0..size + 2 {
                    for end in (start..size + 3).step_by(1 + length / 50) {
                        let range = GetRange::Bounded(start..end);
                        let options = GetOptions { range: Some(range.clone()), ..GetOptions::default() };
                        let found = store.get_opts(&path, options).await;
                        let Ok(expected) = range.as_range(size) else {
                            assert!(found.is_err(), "{range} of {length}");
                            continue;
                        };
                        let found = found.unwrap();
                        assert_eq!((found.meta.size, &found.range), (size, &expected));
                        assert_eq!(found.bytes().await.unwrap(), slice(&text, expected));
                    }
                    let suffix = GetOptions { range: Some(GetRange::Suffix(start)), ..GetOptions::default() };
                    let found = store.get_opts(&path, suffix).await.unwrap();
                    let expected = size.saturating_sub(start)..size;
                    assert_eq!((found.meta.size, &found.range), (size, &expected));
                    assert_eq!(found.bytes().await.unwrap(), slice(&text, expected));
                }
            }
        }
    });
}

#[test]
fn lengths_are_true_without_a_request_per_object() {
    run(async {
        let provider = Provider::new();
        let store = sealed(&provider, 100, Sizes::Uniform);
        let lengths = [0_usize, 1, 99, 100, 101, 200, 1000];
        for length in lengths {
            store.put(&Path::from(format!("{length:04}")), pattern(length).into()).await.unwrap();
        }
        provider.store(&Path::from("marker"), Vec::new()).await;
        provider.take_others();
        let mut expected: Vec<_> = lengths.iter().map(|length| (format!("{length:04}"), *length as u64)).collect();
        expected.push(("marker".to_owned(), 0));
        assert_eq!(listed(&store).await, expected);
        let sizes = |objects: Vec<ObjectMeta>| objects.into_iter().map(|meta| meta.size).collect::<Vec<_>>();
        assert_eq!(sizes(store.list_with_delimiter(None).await.unwrap().objects), [0, 1, 99, 100, 101, 200, 1000, 0]);
        let offset: Vec<_> = store.list_with_offset(None, &Path::from("0200")).try_collect().await.unwrap();
        assert_eq!(sizes(offset), [1000, 0]);
        assert_eq!((provider.take_gets().len(), provider.take_others()), (0, 3));
        for length in lengths {
            let head = store.head(&Path::from(format!("{length:04}"))).await.unwrap();
            assert_eq!(head.size, length as u64);
        }
        assert!(provider.take_gets().iter().all(|got| got.head && got.bytes == 0));

        // With exact lengths the listing opens each object, once.
        let exact = sealed(&provider, 100, Sizes::Exact);
        assert_eq!(listed(&exact).await, expected);
        assert_eq!(provider.take_gets().len(), 2 * lengths.len());
        assert_eq!(listed(&exact).await, expected);
        assert_eq!(provider.take_gets().len(), 0);
    });
}

#[test]
fn a_head_has_no_ciphertext_for_a_payload() {
    run(async {
        let (_, store, path, _) = with_object(1000, 100, Sizes::Uniform).await;
        let head = store.get_opts(&path, GetOptions { head: true, ..GetOptions::default() }).await.unwrap();
        assert_eq!((head.meta.size, head.range.clone()), (1000, 0..1000));
        assert!(head.bytes().await.unwrap().is_empty());
    });
}

#[test]
fn a_store_without_suffixes_is_asked_for_the_end_by_its_place() {
    run(async {
        let (provider, store, path, text) = with_object(300_000, 65_536, Sizes::Uniform).await;
        provider.play(Trick::NoSuffix);
        let start = Instant::now();
        assert_eq!(store.get_range(&path, 5..10).await.unwrap(), slice(&text, 5..10));
        assert_eq!((start.elapsed(), provider.take_gets().len()), (2 * LATENCY, 4));
        // It is not tried again.
        let other = Path::from("other");
        store.put(&other, text.clone().into()).await.unwrap();
        assert_eq!(store.get_range(&other, 5..10).await.unwrap(), slice(&text, 5..10));
        assert_eq!(provider.take_gets().len(), 3);
        let options = GetOptions { range: Some(GetRange::Suffix(20)), ..GetOptions::default() };
        let found = store.get_opts(&other, options).await.unwrap().bytes().await.unwrap();
        assert_eq!(found, slice(&text, 299_980..300_000));
    });
}

#[test]
fn a_store_without_entity_tags_is_opened_each_time() {
    run(async {
        let (provider, store, path, text) = with_object(300_000, 65_536, Sizes::Uniform).await;
        provider.play(Trick::NoTags);
        for _ in 0..2 {
            assert_eq!(store.get_range(&path, 5..10).await.unwrap(), slice(&text, 5..10));
            assert_eq!(provider.take_gets().len(), 3);
        }
        store.put(&path, pattern(70_000).into()).await.unwrap();
        assert_eq!(store.get_range(&path, 69_000..100_000).await.unwrap().len(), 1000);
    });
}

#[test]
fn conditions_and_errors_of_the_inner_store_come_through() {
    run(async {
        let (provider, store, path, _) = with_object(300_000, 65_536, Sizes::Uniform).await;
        let (no, tag) = (Path::from("no"), store.head(&path).await.unwrap().e_tag.unwrap());
        for range in [None, Some(GetRange::Bounded(5..10))] {
            for _ in 0..2 {
                let with = |options| store.get_opts(&path, GetOptions { range: range.clone(), ..options });
                with(GetOptions::new().with_if_match(Some(tag.clone()))).await.unwrap();
                let other = GetOptions::new().with_if_match(Some("other"));
                assert!(matches!(with(other).await, Err(Error::Precondition { .. })));
                let same = GetOptions::new().with_if_none_match(Some(tag.clone()));
                assert!(matches!(with(same).await, Err(Error::NotModified { .. })));
                let missing = store.get_opts(&no, GetOptions { range: range.clone(), ..GetOptions::new() });
                assert!(matches!(missing.await, Err(Error::NotFound { .. })));
            }
        }
        provider.play(Trick::Fail(0));
        assert!(matches!(read(&store, &path).await, Err(Error::PermissionDenied { .. })));
        // With each of the three requests of an opening: the range alone may fail unseen.
        for number in 0..3 {
            let store = sealed(&provider, 65_536, Sizes::Uniform);
            provider.play(Trick::Fail(number));
            let found = store.get_range(&path, 5..10).await;
            assert!(number == 2 || matches!(found, Err(Error::PermissionDenied { .. })), "{number}");
            provider.play(None);
        }
    });
}
