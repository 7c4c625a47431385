//! Every way in which the crate reads a message.

use std::{
    io::{self, Read, Write},
    ops::Range,
    pin::pin,
    task::{Context, Poll, Waker},
};

use sealwax::{
    Client, ContentType, Decrypt, Decrypted, EncryptionContext, Error, FormatError, Header, Result,
    io::{GetRange, RangeReader, ReadAt, Seekable},
    keyring::Keyring,
    materials::OpenedBy,
    message::Decryptor,
};

use super::{OddReader, OddWriter, in_pieces, odd_sizes, outcome};
#[cfg(all(feature = "tokio", feature = "futures"))]
use super::{
    asynchronous::{Family, Shell, decrypt_through},
    patient::Moods,
};

/// A way to read a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    Bytes,
    Reader,
    ReaderUnverified,
    Writer,
    WriterUnverified,
    Machine,
    MachineUnverified,
    CopyUnverified,
    Copy,
    ReaderVerified,
    CopyVerified,
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Async(Shell),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    AsyncUnverified(Shell),
}

/// All ways.
pub const WAYS: &[Way] = &[
    Way::Bytes,
    Way::Reader,
    Way::ReaderUnverified,
    Way::Writer,
    Way::WriterUnverified,
    Way::Machine,
    Way::MachineUnverified,
    Way::CopyUnverified,
    Way::Copy,
    Way::ReaderVerified,
    Way::CopyVerified,
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Way::Async(Shell::Reader(Family::Tokio)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Way::Async(Shell::Reader(Family::Futures)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Way::Async(Shell::Writer(Family::Tokio)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Way::Async(Shell::Writer(Family::Futures)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Way::Async(Shell::Stream),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Way::AsyncUnverified(Shell::Reader(Family::Tokio)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Way::AsyncUnverified(Shell::Reader(Family::Futures)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Way::AsyncUnverified(Shell::Writer(Family::Tokio)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Way::AsyncUnverified(Shell::Writer(Family::Futures)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Way::AsyncUnverified(Shell::Stream),
];

/// A way to read parts of a message, which must be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartsWay {
    Ranges,
    RangesUnverified,
    RangesVerified,
    RangesAsync,
}

/// All ways to read parts.
pub const PARTS_WAYS: &[PartsWay] =
    &[PartsWay::Ranges, PartsWay::RangesUnverified, PartsWay::RangesVerified, PartsWay::RangesAsync];

/// A message that was read to its end.
pub struct Opening {
    pub plaintext: Vec<u8>,
    pub header: Header,
    pub opened_by: OpenedBy,
}

impl Way {
    /// Returns whether this way refuses signed messages because it would release unverified
    /// plaintext. A reader and a copy need a temporary file for them.
    pub fn refuses_signed(self) -> bool {
        #[cfg(all(feature = "tokio", feature = "futures"))]
        if matches!(self, Self::Async(_)) {
            return true;
        }
        let spools = matches!(self, Self::Reader | Self::Copy);
        matches!(self, Self::Writer | Self::Machine) || (spools && !cfg!(feature = "fs"))
    }

    /// Reads a message in this way, in pieces of odd sizes where it takes pieces. Panics if a
    /// verified copy of a signed message fails and has released something nevertheless.
    pub fn open(
        self,
        client: &Client,
        keyring: &dyn Keyring,
        context: &EncryptionContext,
        message: &[u8],
    ) -> Result<Opening> {
        self.open_as(client, client.decrypt(keyring).context(context.clone()), message)
    }

    /// Like [`open`](Self::open), with a decryption that this client has set up.
    pub fn open_as(self, client: &Client, decrypt: Decrypt<'_>, message: &[u8]) -> Result<Opening> {
        match self {
            Self::Bytes => {
                let opened = decrypt.bytes(message).wait()?;
                Ok(Opening { plaintext: opened.plaintext, header: opened.header, opened_by: opened.opened_by })
            }
            #[cfg(all(feature = "tokio", feature = "futures"))]
            Self::Async(shell) | Self::AsyncUnverified(shell) => {
                let unverified = matches!(self, Self::AsyncUnverified(_));
                let moods = Moods::new(message.len() as u64, 5000);
                decrypt_through(shell, decrypt, unverified, message, &moods, &mut Vec::new())
            }
            Self::ReaderVerified | Self::CopyVerified => self.verified(decrypt, message),
            Self::Reader | Self::ReaderUnverified => self.through_reader(client, decrypt, message),
            Self::Writer | Self::WriterUnverified => self.through_writer(decrypt, message),
            Self::Machine | Self::MachineUnverified => {
                let (received, body) = client.header_decoder().decode(message)?;
                let machine = match self {
                    Self::Machine => decrypt.machine(received).wait()?,
                    _ => decrypt.release_unverified().machine(received).wait()?,
                };
                through_machine(machine, body)
            }
            Self::CopyUnverified => {
                let mut sink = OddWriter::default();
                let opened = decrypt.release_unverified().open(OddReader::new(message))?.copy_to(&mut sink)?;
                Ok(Opening { plaintext: sink.bytes, header: opened.header, opened_by: opened.opened_by })
            }
            Self::Copy => {
                let mut sink = OddWriter::default();
                let opened = decrypt.open(OddReader::new(message)).and_then(|message| message.copy_to(&mut sink));
                let opened = opened.inspect_err(|_| {
                    let signed = is_signed(client, message);
                    assert!(!signed || sink.bytes.is_empty(), "a copy released what did not verify");
                })?;
                Ok(Opening { plaintext: sink.bytes, header: opened.header, opened_by: opened.opened_by })
            }
        }
    }

    /// The first pass verifies everything: if it fails, nothing is released.
    fn verified(self, decrypt: Decrypt<'_>, message: &[u8]) -> Result<Opening> {
        if self == Self::CopyVerified {
            let mut sink = OddWriter::default();
            let opened = decrypt.open_at(message).and_then(|message| message.verify());
            let opened = opened.and_then(|message| message.copy_to(&mut sink));
            assert!(opened.is_ok() || sink.bytes.is_empty(), "a verified copy released what did not verify");
            return opened.map(|opened| Opening {
                plaintext: sink.bytes,
                header: opened.header,
                opened_by: opened.opened_by,
            });
        }
        let message = decrypt.open_at(Seekable::new(io::Cursor::new(message)))?;
        let mut reader = message.verify()?.into_reader()?;
        let mut plaintext = Vec::new();
        reader.read_to_end(&mut plaintext)?;
        Ok(Opening { plaintext, header: reader.header().clone(), opened_by: reader.opened_by().clone() })
    }

    fn through_reader(self, client: &Client, decrypt: Decrypt<'_>, message: &[u8]) -> Result<Opening> {
        let source = OddReader::new(message);
        let mut reader = match self {
            Self::Reader => decrypt.open(source)?.into_reader()?,
            _ => decrypt.release_unverified().open(source)?.into_reader()?,
        };
        let mut plaintext = Vec::new();
        reader.read_to_end(&mut plaintext).inspect_err(|_| {
            let released = self == Self::Reader && is_signed(client, message) && !plaintext.is_empty();
            assert!(!released, "a reader released what did not verify");
        })?;
        Ok(Opening { plaintext, header: reader.header().clone(), opened_by: reader.opened_by().clone() })
    }

    fn through_writer(self, decrypt: Decrypt<'_>, message: &[u8]) -> Result<Opening> {
        let mut writer = match self {
            Self::Writer => decrypt.writer(OddWriter::default()),
            _ => decrypt.release_unverified().writer(OddWriter::default()),
        };
        for piece in in_pieces(message) {
            writer.write_all(piece)?;
        }
        let written = writer.finish()?;
        Ok(Opening { plaintext: written.plaintext.bytes, header: written.header, opened_by: written.opened_by })
    }
}

impl PartsWay {
    /// Returns whether this way refuses signed messages.
    pub fn refuses_signed(self) -> bool {
        matches!(self, Self::Ranges | Self::RangesAsync)
    }

    /// Reads a whole message in this way, from its end to its beginning, in pieces of odd sizes.
    pub fn open(
        self,
        client: &Client,
        keyring: &dyn Keyring,
        context: &EncryptionContext,
        message: &[u8],
    ) -> Result<Opening> {
        self.open_as(client.decrypt(keyring).context(context.clone()), message)
    }

    /// Like [`open`](Self::open), with a decryption that is set up already.
    pub fn open_as(self, decrypt: Decrypt<'_>, message: &[u8]) -> Result<Opening> {
        if self == Self::RangesAsync {
            let reader = ready(decrypt.open_remote(Object(message)).wait()?.into_ranges())?;
            let all = ready(reader.read_range(0..u64::MAX))?;
            return Ok(Opening {
                plaintext: all,
                header: reader.header().clone(),
                opened_by: reader.opened_by().clone(),
            });
        }
        match self {
            Self::Ranges => read_backwards(&decrypt.open_at(message)?.into_ranges()?),
            Self::RangesVerified => read_backwards(&decrypt.open_at(message)?.verify()?.into_ranges()?),
            _ => read_backwards(&decrypt.release_unverified().open_at(message)?.into_ranges()?),
        }
    }
}

/// Reads a whole message from its end to its beginning.
fn read_backwards<S: ReadAt>(reader: &RangeReader<S>) -> Result<Opening> {
    let length = usize::try_from(reader.len()).expect("it fits");
    let mut plaintext = vec![0; length];
    let (mut end, mut sizes) = (length, odd_sizes());
    while end > 0 {
        let start = end.saturating_sub(sizes.next().expect("endless"));
        assert_eq!(reader.read_at(start as u64, &mut plaintext[start..end])?, end - start);
        end = start;
    }
    Ok(Opening { plaintext, header: reader.header().clone(), opened_by: reader.opened_by().clone() })
}

/// A message as an object in a store.
struct Object<'a>(&'a [u8]);

impl GetRange for Object<'_> {
    type Bytes = Vec<u8>;

    async fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        Ok(self.0[range.start as usize..range.end as usize].to_vec())
    }
}

fn is_signed(client: &Client, message: &[u8]) -> bool {
    let header = client.header_decoder().decode(message);
    header.is_ok_and(|(received, _)| received.header().suite().is_signed())
}

/// Returns the output of a future that waits for nothing: it may only let other tasks have a turn.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..1_000_000 {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return outcome;
        }
    }
    panic!("it waits");
}

/// Pushes a body in pieces of odd sizes, and removes the output only occasionally and in parts.
fn through_machine(mut machine: Decryptor, body: &[u8]) -> Result<Opening> {
    let mut plaintext = Vec::new();
    for piece in in_pieces(body) {
        machine.push(piece)?;
        let ready = machine.output().len();
        if ready > 1000 {
            plaintext.extend_from_slice(&machine.output()[..ready / 3]);
            machine.consume(ready / 3);
        }
    }
    let Decrypted { plaintext: last, header, opened_by, .. } = machine.finish()?;
    plaintext.extend_from_slice(&last);
    Ok(Opening { plaintext, header, opened_by })
}

/// Reads a message in every way, each of which must give this plaintext; those that would release
/// the plaintext of a signed message too early must refuse it. Returns the result of `bytes`.
pub fn open_every_way(
    client: &Client,
    keyring: &dyn Keyring,
    context: &EncryptionContext,
    message: &[u8],
    plaintext: &[u8],
    what: &str,
) -> Opening {
    let mut first: Option<Opening> = None;
    for &way in WAYS {
        let result = way.open(client, keyring, context, message);
        let signed = first.as_ref().is_some_and(|opening| opening.header.suite().is_signed());
        if signed && way.refuses_signed() {
            assert!(matches!(result, Err(Error::SignedStream)), "{what}, {way:?}: {}", outcome(&result));
            continue;
        }
        let opening = result.unwrap_or_else(|error| panic!("{what}, {way:?}: {error}"));
        assert!(opening.plaintext == plaintext, "{what}, {way:?}: another plaintext");
        match &first {
            None => first = Some(opening),
            Some(first) => {
                assert!(opening.header == first.header, "{what}, {way:?}: another header");
                assert_eq!(opening.opened_by, first.opened_by, "{what}, {way:?}");
            }
        }
    }
    let first = first.expect("there is a way");
    for &way in PARTS_WAYS {
        let result = way.open(client, keyring, context, message);
        if first.header.content_type() == ContentType::Unframed {
            assert!(matches!(result, Err(Error::Unframed)), "{what}, {way:?}: {}", outcome(&result));
            continue;
        }
        if first.header.suite().is_signed() && way.refuses_signed() {
            assert!(matches!(result, Err(Error::SignedStream)), "{what}, {way:?}: {}", outcome(&result));
            continue;
        }
        let opening = result.unwrap_or_else(|error| panic!("{what}, {way:?}: {error}"));
        assert!(opening.plaintext == plaintext, "{what}, {way:?}: another plaintext");
        assert!(opening.header == first.header, "{what}, {way:?}: another header");
        assert_eq!(opening.opened_by, first.opened_by, "{what}, {way:?}");
    }
    first
}

/// Reads a message in every way, each of which must refuse it with an error that `expected`
/// accepts.
pub fn refuse_every_way(
    client: &Client,
    keyring: &dyn Keyring,
    context: &EncryptionContext,
    message: &[u8],
    expected: impl Fn(&Error) -> bool,
    what: &str,
) {
    for &way in WAYS {
        match way.open(client, keyring, context, message) {
            Ok(_) => panic!("{what}, {way:?}: opened"),
            Err(Error::SignedStream) if way.refuses_signed() => {}
            Err(error) => assert!(expected(&error), "{what}, {way:?}: {error:?}"),
        }
    }
    for &way in PARTS_WAYS {
        match way.open(client, keyring, context, message) {
            // The signature is the only part of a message that this way does not check.
            Ok(opening) => assert!(
                opening.header.suite().is_signed() && way == PartsWay::RangesUnverified && expected(&Error::Integrity),
                "{what}, {way:?}: opened"
            ),
            Err(Error::Unframed) => {}
            Err(Error::SignedStream) if way.refuses_signed() => {}
            // Reading from the end, these ways meet a fault in another order than the others do.
            Err(Error::Integrity | Error::Format(FormatError::FinalFramePosition)) => {}
            Err(error) => assert!(expected(&error), "{what}, {way:?}: {error:?}"),
        }
    }
}
