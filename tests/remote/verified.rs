//! Objects that are verified before they are read.

use super::*;

#[test]
fn a_verified_object_is_read_without_requesting_a_segment_twice() {
    let text = pattern(70 << 20);
    let object = Object::new(signed(&text));
    run(async {
        let opened = Client::new().decrypt(&keyring()).open_remote(object.clone()).await.unwrap();
        let reader = opened.verify().await.unwrap().into_ranges().await.unwrap();
        let before = object.bytes_requested.load(Ordering::Relaxed);
        let start = Instant::now();
        assert!(reader.read_range(0..u64::MAX).await.unwrap() == text);
        let requested = object.bytes_requested.load(Ordering::Relaxed) - before;
        assert!(requested <= object.bytes.lock().unwrap().len() as u64 + 2 * MIB, "{requested} bytes");
        assert!(start.elapsed() <= 12 * LATENCY, "{:?}", start.elapsed());
    });
    let (requests, bytes) = *object.most.lock().unwrap();
    assert!(requests <= 8 && bytes <= 32 << 20, "{requests} requests, {bytes} bytes");
}

#[test]
fn a_verified_message_can_be_verified_again() {
    let text = pattern(5000);
    let message = signed(&text);
    let again = Client::new().decrypt(&keyring()).open_at(&message[..]).unwrap().verify().unwrap().verify().unwrap();
    assert!(again.into_ranges().unwrap().read_range(0..u64::MAX).unwrap() == text);
    run(async {
        let opened = Client::new().decrypt(&keyring()).open_remote(Object::new(message)).await.unwrap();
        let again = opened.verify().await.unwrap().verify().await.unwrap();
        assert!(again.into_ranges().await.unwrap().read_range(0..u64::MAX).await.unwrap() == text);
    });
}

#[test]
fn a_verified_message_is_read_by_range_from_any_task() {
    for threads in [1, 3] {
        let text = pattern(6_000_000);
        let object = Object::new(signed(&text));
        run(async {
            let client = Client::builder().threads(threads).build();
            let opened = client.decrypt(&keyring()).open_remote(object.clone()).await.unwrap();
            assert!(opened.header().suite().is_signed());
            let start = Instant::now();
            // What follows needs neither the client nor the keyring.
            let reader = tokio::spawn(async { opened.verify().await?.into_ranges().await });
            let reader = reader.await.unwrap().unwrap();
            // Two requests at a time for the message, and one for its last segment.
            assert_eq!(start.elapsed(), 2 * LATENCY);
            assert_eq!(reader.len(), 6_000_000);
            for range in [0..10, 1_048_000..1_049_000, 0..6_000_000, 5_999_990..7_000_000] {
                assert!(reader.read_range(range.clone()).await.unwrap() == text_of(&text, &range), "{range:?}");
            }
            assert_eq!(reader.read_ranges(&[3..5, 4_000_000..4_000_003]).await.unwrap()[1], text[4_000_000..4_000_003]);
        });
    }
}

#[test]
fn attack_28_every_change_of_an_object_is_refused_before_anything_is_released() {
    let text = pattern(300);
    let message = Client::new().encrypt(&keyring()).frame_length(100).bytes(&text).wait().unwrap().message;
    let verify = |message: &[u8]| {
        run(async {
            Client::new().decrypt(&keyring()).open_remote(Object::new(message.to_vec())).await?.verify().await
        })
    };
    verify(&message).map(|_| ()).unwrap();
    for at in 0..message.len() {
        let mut altered = message.clone();
        altered[at] ^= 1 << (at % 8);
        assert!(verify(&altered).is_err(), "byte {at}");
        assert!(verify(&message[..at]).is_err(), "the first {at} bytes");
    }
    assert!(verify(&[&message[..], b"x"].concat()).is_err());
}

#[test]
fn attack_28_an_object_that_changes_after_it_was_verified_releases_nothing_of_the_change() {
    let text = pattern(4_000_000);
    let message = signed(&text);
    let mut end_altered = message.clone();
    end_altered[3_900_000] ^= 1;
    let mut longer = message.clone();
    longer.push(0);
    // Another message of the same writer, under the same keys, is authentic too.
    let twin = signed(&pattern(4_000_000));
    let short = message[..3_000_000].to_vec();
    for (what, after) in [("altered", end_altered), ("longer", longer), ("another", twin), ("shorter", short)] {
        let object = Object::new(message.clone());
        run(async {
            let opened = Client::new().decrypt(&keyring()).open_remote(object.clone()).await.unwrap();
            let reader = opened.verify().await.unwrap().into_ranges().await.unwrap();
            // A segment that is not the last one, so that the last is read again.
            reader.read_range(0..10).await.unwrap();
            object.become_other(after);
            let mut buffer = vec![0xee; 200_000];
            let refused = reader.read_at(3_750_000, &mut buffer).await;
            assert!(matches!(refused, Err(Error::SourceChanged)), "{what}: {refused:?}");
            assert!(buffer.iter().all(|byte| *byte == 0), "{what}");
            object.become_other(message.clone());
            assert!(reader.read_range(3_750_000..3_750_100).await.unwrap() == text[3_750_000..3_750_100], "{what}");
        });
    }
    // It changes while it is verified.
    let object = Object::new(message.clone());
    run(async {
        let opened = Client::new().decrypt(&keyring()).open_remote(object.clone()).await.unwrap();
        object.become_other([&message[..], b"x"].concat());
        let refused = opened.verify().await.map(|_| ());
        assert!(matches!(refused, Err(Error::SourceChanged)), "{refused:?}");
    });
}
