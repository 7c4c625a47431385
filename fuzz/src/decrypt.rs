//! Whole messages: all ways to decrypt have the same outcome, and none releases what another does
//! not.

use std::{
    cell::RefCell,
    io::{Read, Write},
    rc::Rc,
};

use sealwax::{AlgorithmSuite, Client, CommitmentPolicy, ContentType, Decrypt, Error, FormatError, Result};

use crate::{
    crypto::Permissive,
    keyring::FixedKey,
    pieces::{PATTERN_LENGTH, Pieces, Source},
};

/// The length of the options before the message.
pub const PREFIX_LENGTH: usize = 1 + 2 * PATTERN_LENGTH;
/// A bit of the first byte: only the format is checked. Without it the cryptography is real.
pub const PERMISSIVE: u8 = 1;
/// A bit of the first byte: the caller expects [`EXPECTED`] in the context.
pub const WITH_CONTEXT: u8 = 2;
/// A bit of the first byte: the limits are small, so that they are reached.
pub const SMALL_LIMITS: u8 = 4;
/// The pair that the caller expects.
pub const EXPECTED: (&str, &str) = ("fuzz", "context");

/// What was released, and the outcome.
struct Ending {
    released: Vec<u8>,
    outcome: Result<()>,
}

/// Decrypts a message in every way, and returns the outcome of decrypting it in one piece.
///
/// # Panics
/// If an invariant does not hold.
pub fn run(input: &[u8]) -> Option<Result<Vec<u8>>> {
    let (prefix, message) = input.split_first_chunk::<PREFIX_LENGTH>()?;
    let [options, patterns @ ..] = *prefix;
    let split = Split {
        client: client(options),
        with_context: options & WITH_CONTEXT != 0,
        message,
        input: Pieces::new([patterns[0], patterns[1], patterns[2], patterns[3]]),
        output: Pieces::new([patterns[4], patterns[5], patterns[6], patterns[7]]),
    };
    let whole = split.whole(message);
    let streams = [split.machine(), split.reader(), split.writer(), split.copy_unverified(), split.copy()];
    for stream in &streams {
        match (&whole, &stream.outcome) {
            (Ok(plaintext), Ok(())) => assert!(*plaintext == stream.released, "another plaintext"),
            (Err(error), Err(other)) => assert_eq!(format!("{error:?}"), format!("{other:?}")),
            (whole, stream) => panic!("{:?} is not {stream:?}", whole.as_ref().map(Vec::len)),
        }
    }
    for (one, other) in streams.iter().zip(&streams[1..]) {
        let shared = one.released.len().min(other.released.len());
        assert!(one.released[..shared] == other.released[..shared], "two streams released different bytes");
    }
    match &whole {
        Ok(_) => split.check_extent(),
        Err(_) => split.check_signed(&streams[4]),
    }
    Some(whole)
}

fn client(options: u8) -> Client {
    let builder = if options & PERMISSIVE != 0 { Client::builder_with_provider(Permissive) } else { Client::builder() };
    let builder = builder.commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt);
    if options & SMALL_LIMITS != 0 {
        builder.max_encrypted_data_keys(2).max_header_length(500).max_frame_length(64).build()
    } else {
        builder.build()
    }
}

/// A message, and how it is split into pieces.
struct Split<'a> {
    client: Client,
    with_context: bool,
    message: &'a [u8],
    input: Pieces,
    output: Pieces,
}

impl Split<'_> {
    fn decrypt(&self) -> Decrypt<'_> {
        let decrypt = self.client.decrypt(&FixedKey);
        if self.with_context { decrypt.context([EXPECTED]) } else { decrypt }
    }

    fn whole(&self, message: &[u8]) -> Result<Vec<u8>> {
        Ok(self.decrypt().bytes(message).wait()?.plaintext)
    }

    fn source(&self) -> Source<'_> {
        Source { rest: self.message, pieces: self.input.clone() }
    }

    /// Returns the suite and content type that the header claims, if it can be read.
    fn claims(&self) -> Option<(AlgorithmSuite, ContentType)> {
        let (received, _) = self.client.header_decoder().decode(self.message).ok()?;
        Some((received.header().suite(), received.header().content_type()))
    }

    fn machine(&self) -> Ending {
        let mut released = Vec::new();
        let outcome = self.drive_machine(&mut released);
        Ending { released, outcome }
    }

    fn drive_machine(&self, released: &mut Vec<u8>) -> Result<()> {
        let (mut pieces, mut output) = (self.input.clone(), self.output.clone());
        let (mut rest, mut decoder) = (self.message, self.client.header_decoder());
        let received = loop {
            if rest.is_empty() {
                return Err(FormatError::Truncated.into());
            }
            let piece = &rest[..pieces.next_length(rest.len())];
            let (taken, received) = decoder.push(piece)?;
            rest = &rest[taken..];
            if let Some(received) = received {
                break received;
            }
        };
        let mut machine = self.decrypt().release_unverified().machine(received).wait()?;
        while !rest.is_empty() {
            let piece = pieces.next_piece(&mut rest);
            if let Err(error) = machine.push(piece) {
                assert!(machine.output().is_empty(), "there is output after an error");
                assert!(matches!(machine.push(piece), Err(Error::Ended)));
                assert!(matches!(machine.finish(), Err(Error::Ended)));
                return Err(error);
            }
            let count = output.next_length(machine.output().len());
            released.extend_from_slice(&machine.output()[..count]);
            machine.consume(count);
        }
        let header = machine.header().clone();
        if header.suite().is_signed() && header.content_type() == ContentType::Unframed {
            assert!(released.is_empty(), "unverified plaintext that nothing follows but the signature");
        }
        let finished = machine.finish()?;
        assert!(finished.header == header);
        released.extend_from_slice(&finished.plaintext);
        Ok(())
    }

    fn reader(&self) -> Ending {
        let mut released = Vec::new();
        let outcome = self.drive_reader(&mut released);
        Ending { released, outcome }
    }

    fn drive_reader(&self, released: &mut Vec<u8>) -> Result<()> {
        let mut reader = self.decrypt().release_unverified().open(self.source())?.into_reader()?;
        let mut output = self.output.clone();
        let mut buffer = [0; 512];
        loop {
            let room = output.next_length(buffer.len());
            match reader.read(&mut buffer[..room]) {
                Ok(0) => {
                    assert!(matches!(reader.read(&mut buffer), Ok(0)), "the end is not the end");
                    assert!(reader.into_inner().rest.is_empty(), "the end before the end of the source");
                    return Ok(());
                }
                Ok(count) => released.extend_from_slice(&buffer[..count]),
                Err(error) => {
                    assert!(reader.read(&mut buffer).is_err(), "a reader goes on after an error");
                    return Err(error.into());
                }
            }
        }
    }

    fn writer(&self) -> Ending {
        let sink = Sink::default();
        let outcome = self.drive_writer(sink.clone());
        Ending { released: sink.take(), outcome }
    }

    fn drive_writer(&self, sink: Sink) -> Result<()> {
        let mut writer = self.decrypt().release_unverified().writer(sink);
        let (mut rest, mut pieces) = (self.message, self.input.clone());
        while !rest.is_empty() {
            if let Err(error) = writer.write_all(pieces.next_piece(&mut rest)) {
                assert!(writer.write_all(&[0]).is_err(), "a writer goes on after an error");
                assert!(writer.finish().is_err(), "a writer ends well after an error");
                return Err(error.into());
            }
        }
        writer.finish().map(|_| ())
    }

    fn copy_unverified(&self) -> Ending {
        let mut released = Vec::new();
        let outcome = self.decrypt().release_unverified().open(self.source()).and_then(|message| message.copy_to(&mut released)).map(|_| ());
        Ending { released, outcome }
    }

    fn copy(&self) -> Ending {
        let mut released = Vec::new();
        let outcome = self.decrypt().open(self.source()).and_then(|message| message.copy_to(&mut released)).map(|_| ());
        Ending { released, outcome }
    }

    /// Checks that a message that opens does not open with a byte less or a byte more.
    fn check_extent(&self) {
        let shorter = self.whole(&self.message[..self.message.len() - 1]);
        assert!(matches!(shorter, Err(Error::Format(FormatError::Truncated))), "{:?}", shorter.map(|_| ()));
        let longer = self.whole(&[self.message, &[0]].concat());
        assert!(matches!(longer, Err(Error::Format(FormatError::TrailingBytes))), "{:?}", longer.map(|_| ()));
        let (received, _) = self.client.header_decoder().decode(self.message).expect("it opens");
        if received.header().suite().is_signed() {
            let refused = self.decrypt().machine(received).wait().map(|_| ());
            assert!(matches!(refused, Err(Error::SignedStream)), "{refused:?}");
        }
    }

    /// Checks that a verified copy releases nothing of a signed message that does not verify.
    fn check_signed(&self, copy: &Ending) {
        if self.claims().is_some_and(|(suite, _)| suite.is_signed()) {
            assert!(copy.released.is_empty(), "plaintext whose signature does not verify");
        }
    }
}

/// A sink whose content can still be read after the writer has failed.
#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        self.0.take()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
