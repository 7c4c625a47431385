//! Back-pressure: what is taken from a source, and what a full sink takes.

use super::*;

#[test]
fn a_sink_that_is_full_stops_the_writer_after_one_chunk() {
    let (client, keyring, text) = (reads_all(), keyring(), pattern(2_000_000));
    let message = unsigned(&text, 4096);
    for room in [0, 100_000, 500_000] {
        let sink = Full { room, _alive: Arc::new(()) };
        let mut writer = client.encrypt(&keyring).writer(Tokio(sink)).wait().unwrap();
        let taken = taken_before_waiting(&mut writer, &text);
        assert!(taken <= room + 64 * 1024, "{room}: {taken}");
        assert!(taken + 70_000 >= room, "{room}: {taken}");

        let sink = Full { room, _alive: Arc::new(()) };
        let mut writer = client.decrypt(&keyring).writer(Tokio(sink));
        let taken = taken_before_waiting(&mut writer, &message);
        assert!(taken <= room + room / 50 + 64 * 1024 + 4096, "{room}: {taken}");
    }
}

#[test]
fn a_poll_takes_a_chunk_of_the_source_at_most() {
    let (client, keyring, text) = (reads_all(), keyring(), pattern(3_000_000));
    for frame_length in [4096, 1 << 20] {
        let message = unsigned(&text, frame_length);
        let (source, watch) = Counted::new(&message);
        let mut reader = drive(client.decrypt(&keyring).open_async(Tokio(source)).into_future())
            .and_then(|message| message.into_reader())
            .unwrap();
        let mut buffer = vec![0; 1 << 20];
        let (mut waits, mut plaintext) = (0, Vec::new());
        loop {
            let taken = watch.upgrade().unwrap().load(Ordering::Relaxed);
            let outcome = pin!(reader.read(&mut buffer)).poll(&mut Context::from_waker(Waker::noop()));
            assert!(watch.upgrade().unwrap().load(Ordering::Relaxed) - taken <= 64 * 1024);
            match outcome {
                Poll::Pending => waits += 1,
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(count) => plaintext.extend_from_slice(&buffer[..count.unwrap()]),
            }
            assert!(waits < 10_000, "it never gets anywhere");
        }
        assert!(plaintext == text);
        // Long frames take many polls, after each of which other tasks get their turn.
        assert_eq!(waits > 20, frame_length > 4096, "{waits}");
    }
}

#[test]
fn a_stream_asks_its_source_only_for_what_is_wanted() {
    let (client, keyring, text) = (reads_all(), keyring(), pattern(1_000_000));
    let pulled = std::cell::Cell::new(0);
    let source = stream::iter(text.chunks(10_000)).map(|piece| {
        pulled.set(pulled.get() + piece.len());
        io::Result::Ok(piece)
    });
    let mut sealed = client.encrypt(&keyring).reader(Pieces::new(source)).wait().unwrap();
    assert_eq!(pulled.get(), 0, "nothing is asked for before it is polled");
    let mut message = Vec::new();
    while let Some(piece) = drive(sealed.try_next()).unwrap() {
        message.extend_from_slice(&piece);
        assert!(piece.len() < 20_000, "{}", piece.len());
        assert!(pulled.get() <= message.len() + 4096 + 10_000, "{} and {}", pulled.get(), message.len());
    }
    assert!(client.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext == text);
}
