//! Asynchronous sources that fail or panic.

use std::pin::Pin;

use futures_util::{AsyncReadExt as FuturesRead, Stream, StreamExt};
use sealwax::io::{Futures, Pieces, Tokio};
use tokio::io::{AsyncReadExt as TokioRead, ReadBuf};

use super::{super::super::support::patient::drive, *};

impl tokio::io::AsyncRead for Failing<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = out.remaining();
        Poll::Ready(self.give(room).map(|next| out.put_slice(next)))
    }
}

impl futures_util::AsyncRead for Failing<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Read::read(&mut *self, buffer))
    }
}

impl<'a> Stream for Failing<'a> {
    type Item = io::Result<&'a [u8]>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.give(usize::MAX);
        Poll::Ready(Some(next).filter(|next| !matches!(next, Ok(next) if next.is_empty())))
    }
}

#[test]
fn attack_32_asynchronous_readers_end_at_the_first_error_of_their_source() {
    let client = new_client();
    let keyring = Forge::new(0x0478).keyring();
    for source in failing(TEXT, &IN_TEXT) {
        let encrypt = || client.encrypt(&keyring).suite(SUITE).frame_length(5);
        let mut reader = encrypt().reader(Tokio(source)).wait().unwrap();
        let message = read_to_the_error(&source, &mut |buffer| drive(TokioRead::read(&mut reader, buffer)));
        assert!(!opens(&keyring, &message), "{source:?}");
        let mut reader = encrypt().reader(Futures(source)).wait().unwrap();
        let message = read_to_the_error(&source, &mut |buffer| drive(FuturesRead::read(&mut reader, buffer)));
        assert!(!opens(&keyring, &message), "{source:?}");
    }
    for suite in [0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let (message, positions) = message_and_positions(&forge);
        let keyring = forge.keyring();
        for source in failing(&message, &positions) {
            let decrypt = || client.decrypt(&keyring);
            let mut reader =
                decrypt().release_unverified().open_async(Tokio(source)).wait().unwrap().into_reader().unwrap();
            let released = read_to_the_error(&source, &mut |buffer| drive(TokioRead::read(&mut reader, buffer)));
            assert!(TEXT.starts_with(&released), "{source:?}");
            let mut reader =
                decrypt().release_unverified().open_async(Futures(source)).wait().unwrap().into_reader().unwrap();
            let released = read_to_the_error(&source, &mut |buffer| drive(FuturesRead::read(&mut reader, buffer)));
            assert!(TEXT.starts_with(&released), "{source:?}");
        }
        for source in failing(&message, &[0, 1, forge.header().len() - 1]) {
            let refused = client.decrypt(&keyring).release_unverified().open_async(Tokio(source)).wait().map(|_| ());
            assert!(matches!(refused, Err(Error::Io(error)) if Some(error.kind()) == source.kind), "{source:?}");
        }
    }
}

/// Reads a stream up to the error of its source, which must end it.
fn next_to_the_error<B: AsRef<[u8]>>(
    source: &Failing<'_>,
    mut stream: impl Stream<Item = Result<B>> + Unpin,
) -> Vec<u8> {
    let mut released = Vec::new();
    let error = loop {
        match drive(stream.next()).expect("the error comes before the end") {
            Ok(piece) => released.extend_from_slice(piece.as_ref()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Io(error) if Some(error.kind()) == source.kind), "{source:?}");
    for _ in 0..3 {
        assert!(drive(stream.next()).is_none(), "{source:?}: there is more after the error");
    }
    released
}

#[test]
fn attack_32_streams_end_with_the_first_error_of_their_source() {
    let client = new_client();
    let keyring = Forge::new(0x0478).keyring();
    for source in failing(TEXT, &IN_TEXT) {
        let encrypt = client.encrypt(&keyring).suite(SUITE).frame_length(5);
        let message = next_to_the_error(&source, encrypt.reader(Pieces::new(source)).wait().unwrap());
        assert!(!opens(&keyring, &message), "{source:?}");
    }
    for suite in [0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let (message, positions) = message_and_positions(&forge);
        let keyring = forge.keyring();
        for source in failing(&message, &positions) {
            let stream = client
                .decrypt(&keyring)
                .release_unverified()
                .open_async(Pieces::new(source))
                .wait()
                .unwrap()
                .into_reader()
                .unwrap();
            assert!(TEXT.starts_with(&next_to_the_error(&source, stream)), "{source:?}");
        }
    }
}

#[test]
fn an_asynchronous_source_that_would_block_or_is_interrupted_is_read_on_to_a_whole_message() {
    let client = new_client();
    let forge = Forge::new(0x0478);
    let keyring = forge.keyring();
    let (message, positions) = message_and_positions(&forge);
    for (kind, expected) in [(io::ErrorKind::WouldBlock, 1), (io::ErrorKind::Interrupted, 0)] {
        for position in IN_TEXT {
            let source = Failing::new(TEXT, position, kind, Then::GoesOn);
            let encrypt = client.encrypt(&keyring).suite(SUITE).frame_length(5);
            let mut reader = encrypt.reader(Tokio(source)).wait().unwrap();
            let (written, retries) = read_with_retries(&mut |buffer| drive(TokioRead::read(&mut reader, buffer)));
            assert_eq!(retries, expected, "{source:?}");
            assert_eq!(client.decrypt(&keyring).bytes(&written).wait().unwrap().plaintext, TEXT, "{source:?}");
        }
        for position in positions {
            let source = Failing::new(&message, position, kind, Then::GoesOn);
            let mut reader =
                client.decrypt(&keyring).open_async(Futures(source)).wait().unwrap().into_reader().unwrap();
            let released = read_with_retries(&mut |buffer| drive(FuturesRead::read(&mut reader, buffer)));
            assert_eq!(released, (TEXT.to_vec(), expected), "{source:?}");
        }
    }
}
impl tokio::io::AsyncRead for Panicking<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = out.remaining();
        out.put_slice(self.give(room));
        Poll::Ready(Ok(()))
    }
}

impl futures_util::AsyncRead for Panicking<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Read::read(&mut *self, buffer))
    }
}

impl<'a> Stream for Panicking<'a> {
    type Item = io::Result<&'a [u8]>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.give(usize::MAX);
        Poll::Ready(Some(Ok(next)).filter(|_| !next.is_empty()))
    }
}

/// Reads a stream up to the panic of its source, after which there must be one error and then
/// nothing.
fn next_to_the_panic<B: AsRef<[u8]>>(
    source: &Panicking<'_>,
    mut stream: impl Stream<Item = Result<B>> + Unpin,
) -> Vec<u8> {
    let mut released = Vec::new();
    while let Ok(next) = catch_unwind(AssertUnwindSafe(|| drive(stream.next()))) {
        released.extend_from_slice(next.expect("the panic comes before the end").unwrap().as_ref());
    }
    let error = drive(stream.next()).and_then(Result::err);
    assert!(matches!(error, Some(Error::Ended)), "{source:?}: {error:?} after the panic");
    for _ in 0..3 {
        assert!(drive(stream.next()).is_none(), "{source:?}: there is more after the error");
    }
    released
}

#[test]
fn attack_32_asynchronous_readers_whose_source_panicked_never_make_a_whole_message() {
    let client = new_client();
    let keyring = Forge::new(0x0478).keyring();
    for source in panicking(TEXT, &IN_TEXT) {
        let encrypt = || client.encrypt(&keyring).suite(SUITE).frame_length(5);
        let mut tokio = encrypt().reader(Tokio(source)).wait().unwrap();
        let mut futures = encrypt().reader(Futures(source)).wait().unwrap();
        for message in [
            read_to_the_panic(&source, &mut |buffer| drive(TokioRead::read(&mut tokio, buffer))),
            read_to_the_panic(&source, &mut |buffer| drive(FuturesRead::read(&mut futures, buffer))),
            next_to_the_panic(&source, encrypt().reader(Pieces::new(source)).wait().unwrap()),
        ] {
            assert!(!opens(&keyring, &message), "{source:?}");
        }
    }
    for suite in [0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let (message, positions) = message_and_positions(&forge);
        let keyring = forge.keyring();
        for source in panicking(&message, &positions) {
            let decrypt = || client.decrypt(&keyring).release_unverified();
            let mut tokio = decrypt().open_async(Tokio(source)).wait().unwrap().into_reader().unwrap();
            let mut futures = decrypt().open_async(Futures(source)).wait().unwrap().into_reader().unwrap();
            for released in [
                read_to_the_panic(&source, &mut |buffer| drive(TokioRead::read(&mut tokio, buffer))),
                read_to_the_panic(&source, &mut |buffer| drive(FuturesRead::read(&mut futures, buffer))),
                next_to_the_panic(
                    &source,
                    decrypt().open_async(Pieces::new(source)).wait().unwrap().into_reader().unwrap(),
                ),
            ] {
                assert!(TEXT.starts_with(&released), "{source:?}");
            }
        }
    }
}
