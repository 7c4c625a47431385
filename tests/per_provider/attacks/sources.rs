//! Sources that fail. An error that a source reports once and then forgets must not result in a
//! message, or a plaintext, that looks complete: reading it ends in an error, and remains in that
//! state.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use super::*;

/// What a source does after it has failed once.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Reports its end, as a socket does after a reset.
    Ends,
    /// Returns the bytes that follow.
    GoesOn,
}

/// A source that fails once, before the byte at a position.
#[derive(Clone, Copy, Debug)]
struct Failing<'a> {
    bytes: &'a [u8],
    position: usize,
    fails_at: usize,
    kind: Option<io::ErrorKind>,
    then: Then,
}

impl<'a> Failing<'a> {
    fn new(bytes: &'a [u8], fails_at: usize, kind: io::ErrorKind, then: Then) -> Self {
        Self { bytes, position: 0, fails_at, kind: Some(kind), then }
    }

    /// Returns the next bytes, at most four, so that headers and frames arrive in parts; none at
    /// the end.
    fn give(&mut self, room: usize) -> io::Result<&'a [u8]> {
        if self.position == self.fails_at
            && let Some(kind) = self.kind.take()
        {
            if matches!(self.then, Then::Ends) {
                self.bytes = &self.bytes[..self.position];
            }
            return Err(kind.into());
        }
        let stop = if self.kind.is_some() { self.fails_at } else { self.bytes.len() };
        let end = stop.min(self.position + room.min(4));
        let next = &self.bytes[self.position..end];
        self.position = end;
        Ok(next)
    }
}

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let next = self.give(buffer.len())?;
        buffer[..next.len()].copy_from_slice(next);
        Ok(next.len())
    }
}

/// Every kind of error that ends a message. `Interrupted` and `WouldBlock` do not.
const FINAL: [io::ErrorKind; 12] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::NotConnected,
    io::ErrorKind::TimedOut,
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::InvalidData,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::WriteZero,
    io::ErrorKind::OutOfMemory,
    io::ErrorKind::Other,
];

/// Returns all sources over these bytes that fail permanently, at one of these positions.
fn failing<'a>(bytes: &'a [u8], positions: &[usize]) -> Vec<Failing<'a>> {
    let mut sources = Vec::new();
    for &position in positions {
        for kind in FINAL {
            for then in [Then::Ends, Then::GoesOn] {
                sources.push(Failing::new(bytes, position, kind, then));
            }
        }
    }
    sources
}

/// A way to read once.
type ReadOnce<'a> = &'a mut dyn FnMut(&mut [u8]) -> io::Result<usize>;

/// Reads up to the error of the source, after which there must be only errors; returns what came
/// before it.
fn read_to_the_error(source: &Failing<'_>, read: ReadOnce<'_>) -> Vec<u8> {
    let (mut released, mut buffer) = (Vec::new(), [0; 7]);
    let error = loop {
        match read(&mut buffer) {
            Ok(0) => panic!("{source:?}: an end instead of the error"),
            Ok(count) => released.extend_from_slice(&buffer[..count]),
            Err(error) => break error,
        }
    };
    assert_eq!(Some(error.kind()), source.kind, "{source:?}");
    for _ in 0..3 {
        let again = read(&mut buffer).map_err(Error::from);
        assert!(matches!(again, Err(Error::Ended)), "{source:?}: {again:?} after the error");
    }
    released
}

/// Reads everything, retrying where the source would block.
fn read_with_retries(read: ReadOnce<'_>) -> (Vec<u8>, usize) {
    let (mut released, mut buffer, mut retries) = (Vec::new(), [0; 7], 0);
    loop {
        match read(&mut buffer) {
            Ok(0) => return (released, retries),
            Ok(count) => released.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => retries += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// Before the first byte of [`TEXT`], within a frame, between two, within the last, and instead of
/// the end.
const IN_TEXT: [usize; 5] = [0, 3, 10, 16, 17];

/// Returns a message of [`TEXT`], and positions after its header that correspond roughly to
/// [`IN_TEXT`].
fn message_and_positions(forge: &Forge) -> (Vec<u8>, [usize; 6]) {
    let (message, start, frame) = (forge.message(TEXT), forge.header().len(), 5 + 32);
    let end = message.len();
    // After the piece in which the header ends.
    (message, [start + 4, start + frame, start + frame + 9, start + 3 * frame, end - 1, end])
}

/// Returns whether a reader accepts these bytes as a message.
fn opens(keyring: &dyn Keyring, message: &[u8]) -> bool {
    new_client().decrypt(keyring).bytes(message).wait().is_ok()
}

#[test]
fn attack_32_an_encrypting_reader_ends_at_the_first_error_of_its_source() {
    let (client, keyring) = (new_client(), Forge::new(0x0478).keyring());
    for source in failing(TEXT, &IN_TEXT) {
        let encrypt = client.encrypt(&keyring).suite(SUITE).frame_length(5);
        let mut reader = encrypt.reader(source).wait().unwrap();
        let message = read_to_the_error(&source, &mut |buffer| reader.read(buffer));
        assert!(!opens(&keyring, &message), "{source:?}");
    }
}

#[test]
fn attack_32_a_decrypting_reader_ends_at_the_first_error_of_its_source() {
    let client = new_client();
    for suite in [0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let (message, positions) = message_and_positions(&forge);
        let keyring = forge.keyring();
        for source in failing(&message, &positions) {
            let mut reader = client.decrypt(&keyring).release_unverified().open(source).unwrap().into_reader().unwrap();
            let released = read_to_the_error(&source, &mut |buffer| reader.read(buffer));
            assert!(TEXT.starts_with(&released), "{source:?}");
        }
        // If the failure is in the header, there is no reader.
        for source in failing(&message, &[0, 1, forge.header().len() - 1]) {
            let refused =
                client.decrypt(&keyring).release_unverified().open(source).and_then(|message| message.into_reader());
            assert!(matches!(refused, Err(Error::Io(error)) if Some(error.kind()) == source.kind), "{source:?}");
        }
    }
}

#[test]
fn attack_32_a_copy_of_a_source_that_fails_is_no_whole_message() {
    let client = new_client();
    let fails = |source: &Failing<'_>, outcome: Result<()>| {
        assert!(matches!(outcome, Err(Error::Io(error)) if Some(error.kind()) == source.kind), "{source:?}");
    };
    let keyring = Forge::new(0x0478).keyring();
    let blocking = Failing::new(TEXT, 10, io::ErrorKind::WouldBlock, Then::Ends);
    for source in failing(TEXT, &IN_TEXT).into_iter().chain([blocking]) {
        let mut sink = Vec::new();
        let encrypt = client.encrypt(&keyring).suite(SUITE).frame_length(5);
        fails(&source, encrypt.copy(source, &mut sink).map(|_| ()));
        assert!(!opens(&keyring, &sink), "{source:?}");
    }
    for suite in [0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let (message, positions) = message_and_positions(&forge);
        let (keyring, new) = (forge.keyring(), RawAesKeyring::new("example", "new", vec![7; 32]).unwrap());
        let blocking = Failing::new(&message, positions[3], io::ErrorKind::WouldBlock, Then::Ends);
        for source in failing(&message, &positions).into_iter().chain([blocking]) {
            let mut sink = Vec::new();
            fails(
                &source,
                client
                    .decrypt(&keyring)
                    .release_unverified()
                    .open(source)
                    .and_then(|message| message.copy_to(&mut sink))
                    .map(|_| ()),
            );
            assert!(TEXT.starts_with(&sink), "{source:?}");

            #[cfg(feature = "fs")]
            {
                let mut sink = Vec::new();
                fails(
                    &source,
                    client.decrypt(&keyring).open(source).and_then(|message| message.copy_to(&mut sink)).map(|_| ()),
                );
                assert!(TEXT.starts_with(&sink), "{source:?}");
                assert!(suite == 0x0478 || sink.is_empty(), "{source:?}: {sink:?} of a signed message");
            }

            let mut sink = Vec::new();
            let reencrypt = client.decrypt(&keyring).reencrypt(client.encrypt(&new).frame_length(5)).keep_context();
            fails(&source, reencrypt.copy(source, &mut sink).map(|_| ()));
            assert!(!opens(&new, &sink), "{source:?}");
        }
    }
}

#[test]
fn a_source_that_would_block_or_is_interrupted_is_read_on_to_a_whole_message() {
    let client = new_client();
    let forge = Forge::new(0x0478);
    let keyring = forge.keyring();
    let (message, positions) = message_and_positions(&forge);
    for (kind, expected) in [(io::ErrorKind::WouldBlock, 1), (io::ErrorKind::Interrupted, 0)] {
        for position in IN_TEXT {
            let source = Failing::new(TEXT, position, kind, Then::GoesOn);
            let mut reader = client.encrypt(&keyring).suite(SUITE).frame_length(5).reader(source).wait().unwrap();
            let (written, retries) = read_with_retries(&mut |buffer| reader.read(buffer));
            assert_eq!(retries, expected, "{source:?}");
            assert_eq!(client.decrypt(&keyring).bytes(&written).wait().unwrap().plaintext, TEXT, "{source:?}");
        }
        for position in positions {
            let source = Failing::new(&message, position, kind, Then::GoesOn);
            let mut reader = client.decrypt(&keyring).open(source).unwrap().into_reader().unwrap();
            let released = read_with_retries(&mut |buffer| reader.read(buffer));
            assert_eq!(released, (TEXT.to_vec(), expected), "{source:?}");
        }
    }
}

/// A source that panics where [`Failing`] fails.
#[derive(Clone, Copy, Debug)]
struct Panicking<'a>(Failing<'a>);

impl<'a> Panicking<'a> {
    fn give(&mut self, room: usize) -> &'a [u8] {
        self.0.give(room).unwrap_or_else(|error| resume_unwind(Box::new(error.to_string())))
    }
}

impl Read for Panicking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let next = self.give(buffer.len());
        buffer[..next.len()].copy_from_slice(next);
        Ok(next.len())
    }
}

/// Returns all sources over these bytes that panic, at one of these positions.
fn panicking<'a>(bytes: &'a [u8], positions: &[usize]) -> Vec<Panicking<'a>> {
    let new = |position, then| Panicking(Failing::new(bytes, position, io::ErrorKind::Other, then));
    positions.iter().flat_map(|at| [new(*at, Then::Ends), new(*at, Then::GoesOn)]).collect()
}

/// Reads up to the panic of the source, after which there must be only errors; returns what came
/// before it.
fn read_to_the_panic(source: &Panicking<'_>, read: ReadOnce<'_>) -> Vec<u8> {
    let (mut released, mut buffer) = (Vec::new(), [0; 7]);
    while let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| read(&mut buffer))) {
        let count = outcome.unwrap();
        assert!(count > 0, "{source:?}: an end instead of the panic");
        released.extend_from_slice(&buffer[..count]);
    }
    for _ in 0..3 {
        let again = read(&mut buffer).map_err(Error::from);
        assert!(matches!(again, Err(Error::Ended)), "{source:?}: {again:?} after the panic");
    }
    released
}

#[test]
fn attack_32_a_reader_whose_source_panicked_never_makes_a_whole_message() {
    let (client, keyring) = (new_client(), Forge::new(0x0478).keyring());
    for source in panicking(TEXT, &IN_TEXT) {
        let encrypt = client.encrypt(&keyring).suite(SUITE).frame_length(5);
        let mut reader = encrypt.reader(source).wait().unwrap();
        let message = read_to_the_panic(&source, &mut |buffer| reader.read(buffer));
        assert!(!opens(&keyring, &message), "{source:?}");
    }
    for suite in [0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let (message, positions) = message_and_positions(&forge);
        let keyring = forge.keyring();
        for source in panicking(&message, &positions) {
            let mut reader = client.decrypt(&keyring).release_unverified().open(source).unwrap().into_reader().unwrap();
            let released = read_to_the_panic(&source, &mut |buffer| reader.read(buffer));
            assert!(TEXT.starts_with(&released), "{source:?}");
        }
    }
}

#[cfg(all(feature = "tokio", feature = "futures"))]
mod asynchronous;
