//! Messages in an object store: how many requests they take and how many at once, and that what is
//! read of a verified one is what was verified.

use std::{
    future::poll_fn,
    io,
    ops::Range,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use sealwax::{
    Client, Error, FormatError, Result,
    io::{AsyncRangeReader, Ends, GetRange, Tokio},
    keyring::RawAesKeyring,
};

use tokio::time::{Instant, sleep};

use crate::support::pattern;

mod verified;

const MIB: u64 = 1 << 20;
const LATENCY: Duration = Duration::from_millis(10);

fn keyring() -> RawAesKeyring {
    RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap()
}

/// Runs a future on a clock that only moves when everything waits.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// An object, each request for which takes 10 ms.
#[derive(Default)]
struct Object {
    bytes: Mutex<Arc<Vec<u8>>>,
    requests: AtomicUsize,
    bytes_requested: AtomicU64,
    /// The requests and bytes in flight now, and the most so far.
    now: Mutex<(u64, u64)>,
    most: Mutex<(u64, u64)>,
}

impl Object {
    fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { bytes: Mutex::new(Arc::new(bytes)), ..Self::default() })
    }

    fn become_other(&self, bytes: Vec<u8>) {
        *self.bytes.lock().unwrap() = Arc::new(bytes);
    }
}

impl GetRange for Object {
    type Bytes = Vec<u8>;

    async fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let length = range.end - range.start;
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes_requested.fetch_add(length, Ordering::Relaxed);
        {
            let mut now = self.now.lock().unwrap();
            *now = (now.0 + 1, now.1 + length);
            let mut most = self.most.lock().unwrap();
            *most = (most.0.max(now.0), most.1.max(now.1));
        }
        sleep(LATENCY).await;
        {
            let mut now = self.now.lock().unwrap();
            *now = (now.0 - 1, now.1 - length);
        }
        let bytes = self.bytes.lock().unwrap().clone();
        let found = bytes.get(range.start as usize..range.end as usize);
        found.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn unsigned(text: &[u8], frame_length: u32) -> Vec<u8> {
    Client::new().encrypt(&keyring()).unsigned().frame_length(frame_length).bytes(text).wait().unwrap().message
}

fn signed(text: &[u8]) -> Vec<u8> {
    Client::new().encrypt(&keyring()).bytes(text).wait().unwrap().message
}

async fn open<S: GetRange + Sync>(object: S) -> Result<AsyncRangeReader<S>> {
    Client::new().decrypt(&keyring()).open_remote(object).await?.into_ranges().await
}

#[test]
fn opening_takes_one_round_trip() {
    // The frame length, the length of the plaintext, and the number of requests and round trips.
    for (frame_length, length, requests, trips) in [
        (4096, 10, 1, 1),
        (4096, 60_000, 1, 1),
        (4096, 3_000_000, 2, 1),
        (65_536, 3_000_000, 2, 1),
        // The final frame is longer than what is requested along with the header.
        (1 << 20, 3 << 20, 3, 2),
    ] {
        run(async {
            let text = pattern(length);
            let object = Object::new(unsigned(&text, frame_length));
            let start = Instant::now();
            let reader = open(object.clone()).await.unwrap();
            assert_eq!(start.elapsed(), trips * LATENCY, "{length} bytes in frames of {frame_length}");
            assert_eq!(object.requests.load(Ordering::Relaxed), requests, "{length} bytes");
            assert_eq!(reader.len(), length as u64);
            let last = reader.len() - 10..reader.len();
            assert_eq!(reader.read_range(last).await.unwrap(), text[length - 10..]);
            // The final frame has been read already.
            assert_eq!(object.requests.load(Ordering::Relaxed), requests, "{length} bytes");
        });
    }
}

#[test]
fn a_store_that_returns_the_length_with_a_range_is_asked_once() {
    struct Suffix(Arc<Object>);
    impl GetRange for Suffix {
        type Bytes = Vec<u8>;

        async fn size(&self) -> io::Result<u64> {
            panic!("the length comes with the ends");
        }

        async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
            self.0.get_range(range).await
        }

        async fn get_ends(&self, first: u64, last: u64) -> io::Result<Ends<Vec<u8>>> {
            self.0.get_ends(first, last).await
        }
    }
    run(async {
        let text = pattern(1_000_000);
        let reader = open(Suffix(Object::new(unsigned(&text, 4096)))).await.unwrap();
        assert!(reader.read_range(5..500_005).await.unwrap() == text[5..500_005]);
    });
}

#[test]
fn ends_that_do_not_fit_are_refused() {
    type Tells = fn(&[u8]) -> Ends<Vec<u8>>;
    struct Lying(Vec<u8>, Tells);
    impl GetRange for Lying {
        type Bytes = Vec<u8>;

        async fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
            let found = self.0.get(range.start as usize..range.end as usize);
            found.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }

        async fn get_ends(&self, _: u64, _: u64) -> io::Result<Ends<Vec<u8>>> {
            Ok((self.1)(&self.0))
        }
    }
    let lies: [Tells; 4] = [
        |all| Ends { size: all.len() as u64 - 1, first: all.to_vec(), last: None },
        |all| Ends { size: all.len() as u64, first: all[..500].to_vec(), last: Some([all, b"x"].concat()) },
        |all| Ends { size: all.len() as u64 + 1, first: all[..500].to_vec(), last: Some(all[500..].to_vec()) },
        |all| Ends { size: 0, first: Vec::new(), last: Some(all.to_vec()) },
    ];
    let message = unsigned(&pattern(2000), 4096);
    for (index, lie) in lies.into_iter().enumerate() {
        assert!(run(open(Lying(message.clone(), lie))).is_err(), "{index}");
    }
    // What is missing is requested, whatever came with the length.
    let enough: [Tells; 4] = [
        |all| Ends { size: all.len() as u64, first: Vec::new(), last: None },
        |all| Ends { size: all.len() as u64, first: all[..1].to_vec(), last: Some(all[all.len() - 1..].to_vec()) },
        |all| Ends { size: all.len() as u64, first: all.to_vec(), last: Some(all.to_vec()) },
        |all| Ends { size: all.len() as u64, first: all[..500].to_vec(), last: Some(all[500..all.len() - 1].to_vec()) },
    ];
    for (index, ends) in enough.into_iter().enumerate() {
        let read = run(async { open(Lying(message.clone(), ends)).await?.read_range(0..3000).await });
        assert!(read.unwrap() == pattern(2000), "{index}");
    }
}

#[test]
fn reads_overlap_their_requests_within_bounds() {
    let text = pattern(64 << 20);
    let object = Object::new(unsigned(&text, 65_536));
    run(async {
        let reader = open(object.clone()).await.unwrap();
        let start = Instant::now();
        assert!(reader.read_range(0..u64::MAX).await.unwrap() == text);
        // One request at a time, of 8 MiB each, took 80 ms.
        assert_eq!(start.elapsed(), 3 * LATENCY);

        // Reads of 1 MiB, one after another, take a round trip each.
        let ranges: Vec<_> = (0..64).map(|index| index * MIB..(index + 1) * MIB).collect();
        let start = Instant::now();
        for range in &ranges {
            assert!(reader.read_range(range.clone()).await.unwrap() == text_of(&text, range));
        }
        let apart = start.elapsed();
        let start = Instant::now();
        let together = reader.read_ranges(&ranges).await.unwrap();
        assert!(ranges.iter().zip(&together).all(|(range, found)| *found == text_of(&text, range)));
        assert!(4 * start.elapsed() <= apart, "{:?} and {apart:?}", start.elapsed());
    });
    let (requests, bytes) = *object.most.lock().unwrap();
    assert!((2..=8).contains(&requests), "{requests} requests at once");
    assert!(bytes <= 32 << 20, "{bytes} bytes at once");

    // Frames that are longer than a request are read one per request, few at a time.
    let text = pattern(80 << 20);
    let object = Object::new(unsigned(&text, 20 << 20));
    run(async {
        let reader = open(object.clone()).await.unwrap();
        assert!(reader.read_range(0..u64::MAX).await.unwrap() == text);
    });
    let (_, bytes) = *object.most.lock().unwrap();
    assert!(bytes <= 32 << 20, "{bytes} bytes at once");
}

fn text_of<'a>(text: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    let end = (range.end as usize).min(text.len());
    text.get(range.start as usize..end).unwrap_or_default()
}

/// Accepts only futures that can be moved to another thread.
fn is_send<T>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    future
}

#[test]
fn every_future_can_be_moved_to_another_thread() {
    async fn verified(object: Arc<Object>, client: &Client, keyring: &RawAesKeyring) -> Result<Vec<Vec<u8>>> {
        let opened = is_send(client.decrypt(keyring).open_remote(object).into_future()).await?;
        let reader = is_send(is_send(opened.verify()).await?.into_ranges()).await?;
        let mut buffer = [0; 10];
        is_send(reader.read_at(0, &mut buffer)).await?;
        is_send(reader.read_range(0..10)).await?;
        is_send(reader.read_ranges(&[0..10, 20..30])).await
    }
    let (client, keyring) = (Client::new(), keyring());
    let object = Object::new(signed(&pattern(100)));
    let found = run(is_send(verified(object, &client, &keyring))).unwrap();
    assert_eq!(found, [&pattern(100)[..10], &pattern(100)[20..30]]);

    let object = Object::new(unsigned(&pattern(100), 7));
    let found = run(async {
        let reader = open(object).await.unwrap();
        tokio::spawn(async move { reader.read_ranges(&[0..10, 20..30, 5..6]).await }).await.unwrap()
    });
    assert_eq!(found.unwrap()[1], pattern(100)[20..30]);
    drop(is_send(client.decrypt(&keyring).open_async(Tokio(&b""[..])).into_future()));
    drop(is_send(client.encrypt(&keyring).writer(Tokio(Vec::new())).into_future()));
    drop(is_send(client.encrypt(&keyring).reader(Tokio(&b""[..])).into_future()));
}

#[test]
fn many_small_ranges_cost_little() {
    let text = pattern(40 << 20);
    let object = Object::new(unsigned(&text, 4096));
    // Each is within 1 MiB of the next.
    let ranges: Vec<_> = (0..40).map(|index| index * MIB..index * MIB + 1).collect();
    run(async {
        let reader = open(object.clone()).await.unwrap();
        let before = object.bytes_requested.load(Ordering::Relaxed);
        let found = reader.read_ranges(&ranges).await.unwrap();
        assert!(ranges.iter().zip(&found).all(|(range, found)| *found == text_of(&text, range)));
        let requested = object.bytes_requested.load(Ordering::Relaxed) - before;
        assert!(requested <= 40 * 4128, "{requested} bytes");
    });
}

#[test]
fn an_empty_object_takes_no_request() {
    let object = Object::new(Vec::new());
    let refused = run(open(object.clone())).map(|_| ());
    assert!(matches!(refused, Err(Error::Format(FormatError::Truncated))), "{refused:?}");
    assert_eq!(object.requests.load(Ordering::Relaxed), 0);
}

#[test]
fn polls_of_a_range_do_a_bounded_amount_of_work() {
    struct Ready(Vec<u8>);
    impl GetRange for Ready {
        type Bytes = Vec<u8>;

        async fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
            Ok(self.0[range.start as usize..range.end as usize].to_vec())
        }
    }
    let text = pattern(4_000_000);
    for verify in [false, true] {
        let client = Client::new();
        let (polls, most) = run(async {
            let encrypt = client.encrypt(&keyring()).frame_length(4096).bytes(&text).await.unwrap();
            let message = if verify { encrypt.message } else { unsigned(&text, 4096) };
            let opened = client.decrypt(&keyring()).open_remote(Ready(message)).await.unwrap();
            if verify {
                let reader = opened.verify().await.unwrap().into_ranges().await.unwrap();
                count_polls(reader.read_range(0..u64::MAX), &text).await
            } else {
                let reader = opened.into_ranges().await.unwrap();
                count_polls(reader.read_range(0..u64::MAX), &text).await
            }
        });
        assert!(polls >= 4_000_000 / 65_536, "{polls} polls");
        assert!(most < Duration::from_millis(500), "{most:?} in one poll");
    }
}

/// Polls a future to its end. Returns how often, and the longest poll.
async fn count_polls(future: impl Future<Output = Result<Vec<u8>>>, text: &[u8]) -> (usize, Duration) {
    let mut future = pin!(future);
    let (mut polls, mut most) = (0, Duration::ZERO);
    let found = poll_fn(|context| {
        polls += 1;
        let start = std::time::Instant::now();
        let outcome = future.as_mut().poll(context);
        most = most.max(start.elapsed());
        outcome
    })
    .await;
    assert!(found.unwrap() == text);
    (polls, most)
}

proptest! {
    #[test]
    fn several_ranges_are_what_slices_are(
        length in 0_usize..3_000_000,
        frame_length in 1_000_u32..100_000,
        ranges in vec((0_u64..3_100_000, 0_u64..3_100_000), 0..12),
        short in vec((0_u64..3_100_000, 0_u64..2000), 0..12),
    ) {
        let text = pattern(length);
        let ranges: Vec<_> = (ranges.into_iter().map(|(start, end)| start..end))
            .chain(short.into_iter().map(|(start, length)| start..start + length))
            .collect();
        let object = Object::new(unsigned(&text, frame_length));
        let (found, requested) = run(async {
            let reader = open(object.clone()).await.unwrap();
            let before = object.bytes_requested.load(Ordering::Relaxed);
            let found = reader.read_ranges(&ranges).await.unwrap();
            (found, object.bytes_requested.load(Ordering::Relaxed) - before)
        });
        prop_assert_eq!(found.len(), ranges.len());
        for (range, found) in ranges.iter().zip(&found) {
            prop_assert!(found == text_of(&text, range), "{range:?}");
        }
        // Nothing is requested twice.
        prop_assert!(requested <= object.bytes.lock().unwrap().len() as u64);
    }
}

#[test]
fn ranges_that_lie_apart_are_read_apart() {
    let text = pattern(8 << 20);
    let object = Object::new(unsigned(&text, 4096));
    run(async {
        let reader = open(object.clone()).await.unwrap();
        let before = (object.requests.load(Ordering::Relaxed), object.bytes_requested.load(Ordering::Relaxed));
        let start = Instant::now();
        let ranges = [6 * MIB..6 * MIB + 10, 0..10, 500_000..500_010, 3 * MIB..3 * MIB + 10];
        let found = reader.read_ranges(&ranges).await.unwrap();
        assert!(ranges.iter().zip(&found).all(|(range, found)| *found == text_of(&text, range)));
        assert_eq!(start.elapsed(), LATENCY);
        assert_eq!(object.requests.load(Ordering::Relaxed) - before.0, 4);
        assert!(object.bytes_requested.load(Ordering::Relaxed) - before.1 < 8 * 4128);
        // Neighbours are requested as one.
        let before = object.requests.load(Ordering::Relaxed);
        let ranges = [3 * MIB..4 * MIB, 4 * MIB + 500_000..5 * MIB, 0..10];
        let found = reader.read_ranges(&ranges).await.unwrap();
        assert!(ranges.iter().zip(&found).all(|(range, found)| *found == text_of(&text, range)));
        assert_eq!(object.requests.load(Ordering::Relaxed) - before, 2);
    });
}

#[test]
fn a_range_with_an_altered_frame_is_refused_as_a_whole() {
    let text = pattern(10 << 20);
    let mut message = unsigned(&text, 65_536);
    let middle = message.len() / 2;
    message[middle] ^= 1;
    run(async {
        let reader = open(Object::new(message)).await.unwrap();
        let mut buffer = vec![0xee; 10 << 20];
        assert!(matches!(reader.read_at(0, &mut buffer).await, Err(Error::Integrity)));
        assert!(buffer.iter().all(|byte| *byte == 0));
        assert!(matches!(reader.read_ranges(&[0..10, 0..10 << 20]).await, Err(Error::Integrity)));
        assert!(reader.read_ranges(&[0..10, 9 << 20..10 << 20]).await.unwrap()[1] == text[9 << 20..]);
    });
}

#[test]
fn a_read_that_is_dropped_clears_its_buffer() {
    let text = pattern(64 << 20);
    let object = Object::new(unsigned(&text, 65_536));
    run(async {
        let reader = open(object).await.unwrap();
        let mut buffer = vec![0xee; 64 << 20];
        let outcome = tokio::time::timeout(LATENCY + LATENCY / 2, reader.read_at(0, &mut buffer)).await;
        assert!(outcome.is_err(), "the read ended in time");
        assert!(buffer.iter().all(|byte| *byte == 0));
        assert!(reader.read_range(0..100).await.unwrap() == text[..100]);
    });
}

#[test]
fn an_opened_message_is_read_from_another_source() {
    run(async {
        let text = pattern(100_000);
        let object = Object::new(unsigned(&text, 4096));
        let opened = open(object.clone()).await.unwrap().with_source(()).unwrap();
        // The final frame was opened, and is requested all the same.
        let before = object.requests.load(Ordering::Relaxed);
        let reader = opened.with_source(object.clone()).unwrap();
        assert_eq!(reader.read_range(99_000..100_000).await.unwrap(), text[99_000..]);
        assert_eq!(object.requests.load(Ordering::Relaxed), before + 1);
        // Frames of another message are refused.
        object.become_other(unsigned(&text, 4096));
        let reader = opened.with_source(object.clone()).unwrap();
        assert!(matches!(reader.read_range(0..10).await, Err(Error::Integrity)));
    });
}

#[test]
fn a_verified_signed_message_is_not_read_from_another_source() {
    run(async {
        let object = Object::new(signed(&pattern(10_000)));
        let opened = Client::new().decrypt(&keyring()).open_remote(object).await.unwrap();
        let verified = opened.verify().await.unwrap().into_ranges().await.unwrap();
        assert!(matches!(verified.with_source(()), Err(Error::SignedStream)));
        let object = Object::new(unsigned(&pattern(10_000), 4096));
        let opened = Client::new().decrypt(&keyring()).open_remote(object).await.unwrap();
        assert!(opened.verify().await.unwrap().into_ranges().await.unwrap().with_source(()).is_ok());
    });
}
