//! Streams that do not end well: dropped, closed, failed.

use super::*;

#[test]
fn what_is_dropped_half_way_is_gone() {
    let (client, keyring, text) = (reads_all(), keyring(), pattern(500_000));
    let message = unsigned(&text, 4096);

    let (source, watch) = Counted::new(&message);
    let mut reader = drive(client.decrypt(&keyring).open_async(Tokio(source)).into_future())
        .and_then(|message| message.into_reader())
        .unwrap();
    drive(reader.read_exact(&mut [0; 100_000])).unwrap();
    assert!(watch.upgrade().is_some());
    drop(reader);
    assert!(watch.upgrade().is_none(), "the source of a reader is left behind");

    let (source, watch) = Counted::new(&message);
    let mut opened = drive(client.decrypt(&keyring).open_async(Pieces::new(source)).into_future())
        .and_then(|message| message.into_reader())
        .unwrap();
    assert!(!drive(opened.try_next()).unwrap().unwrap().is_empty());
    drop(opened);
    assert!(watch.upgrade().is_none(), "the source of a stream is left behind");

    let alive = Arc::new(());
    let watch = Arc::downgrade(&alive);
    let mut writer = client.encrypt(&keyring).writer(Tokio(Full { room: 100_000, _alive: alive })).wait().unwrap();
    taken_before_waiting(&mut writer, &text);
    drop(writer);
    assert!(watch.upgrade().is_none(), "the sink of a writer is left behind");
}

#[test]
fn a_writer_that_is_dropped_or_only_flushed_leaves_a_message_that_is_cut_off() {
    let (client, keyring, text) = (reads_all(), keyring(), pattern(10_000));
    let mut message = Vec::new();
    let mut writer = client.encrypt(&keyring).suite(UNSIGNED).writer(Tokio(&mut message)).wait().unwrap();
    drive(writer.write_all(&text)).unwrap();
    drive(writer.flush()).unwrap();
    drop(writer);
    assert!(message.len() > 8192);
    let refused = client.decrypt(&keyring).bytes(&message).wait();
    assert!(matches!(refused, Err(Error::Format(FormatError::Truncated))));

    // In the other direction: without the end of the message, nothing shows that the plaintext is
    // complete.
    let message = unsigned(&text, 700);
    let mut writer = client.decrypt(&keyring).writer(Tokio(Vec::new()));
    drive(writer.write_all(&message)).unwrap();
    drive(writer.flush()).unwrap();
    assert!(matches!(writer.into_decrypted(), Err(Error::Format(FormatError::Truncated))));
    for length in [0, 10, message.len() - 1] {
        let mut writer = client.decrypt(&keyring).writer(Tokio(Vec::new()));
        drive(writer.write_all(&message[..length])).unwrap();
        let error = Error::from(drive(writer.shutdown()).unwrap_err());
        assert!(matches!(error, Error::Format(FormatError::Truncated)), "{length}: {error:?}");
        assert!(writer.into_decrypted().is_err());
    }
}

#[test]
fn a_closed_writer_takes_nothing_more_and_closes_again() {
    let (client, keyring) = (reads_all(), keyring());
    let mut writer = client.encrypt(&keyring).writer(Tokio(Vec::new())).wait().unwrap();
    drive(writer.write_all(b"text")).unwrap();
    drive(writer.shutdown()).unwrap();
    drive(writer.shutdown()).unwrap();
    assert!(drive(writer.write_all(b"more")).is_err());
    let message = writer.into_inner().0;
    assert_eq!(client.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext, b"text");
}

#[test]
fn a_source_that_fails_makes_no_whole_message() {
    let (client, keyring, text) = (reads_all(), keyring(), pattern(10_000));
    // Most streams end after an error.
    let pieces = [Ok(&text[..]), Err(io::Error::other("the connection was lost"))];
    let mut sealed = client.encrypt(&keyring).suite(UNSIGNED).reader(Pieces::new(stream::iter(pieces))).wait().unwrap();
    let (mut message, mut errors) = (Vec::new(), Vec::new());
    while let Some(piece) = drive(sealed.next()) {
        match piece {
            Ok(piece) => message.extend_from_slice(&piece),
            Err(error) => errors.push(error),
        }
    }
    assert!(matches!(&errors[..], [Error::Io(error)] if error.to_string() == "the connection was lost"), "{errors:?}");
    assert!(matches!(client.decrypt(&keyring).bytes(&message).wait(), Err(Error::Format(FormatError::Truncated))));

    let message = unsigned(&text, 700);
    let pieces = [Ok(&message[..5000]), Err(io::Error::other("lost")), Ok(&message[5000..])];
    let mut opened = drive(client.decrypt(&keyring).open_async(Pieces::new(stream::iter(pieces))).into_future())
        .and_then(|message| message.into_reader())
        .unwrap();
    let mut errors = 0;
    let mut plaintext = Vec::new();
    while let Some(piece) = drive(opened.next()) {
        match piece {
            Ok(piece) => plaintext.extend_from_slice(&piece),
            Err(_) => errors += 1,
        }
    }
    assert!(errors == 1 && plaintext.len() < 5000 && text.starts_with(&plaintext));
}
