//! Every way to read a message, with what each of them releases.

use std::io::{self, Read, Write};

use sealwax::{Client, CommitmentPolicy, EncryptionContext, Error, HeaderDecoder, keyring::Keyring};

use super::super::support::client_builder;

/// Returns a client that reads both message versions.
pub(crate) fn reads_all() -> Client {
    client_builder().commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt).build()
}

/// Returns a client that writes message version 1.
pub(crate) fn writes_v1() -> Client {
    client_builder().commitment_policy(CommitmentPolicy::ForbidEncryptAllowDecrypt).build()
}

/// The outcome of one way to read a message.
pub(crate) struct Outcome {
    pub(crate) way: &'static str,
    /// The plaintext that the caller received.
    pub(crate) released: Vec<u8>,
    pub(crate) end: Result<(), Error>,
}

/// A source that returns at most this many bytes at a time.
pub(crate) struct Slowly<'a>(pub(crate) &'a [u8], pub(crate) usize);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

/// The ways that stop at the first wrong byte: bytes are passed in one at a time.
const ONE_BY_ONE: [&str; 3] = ["reader", "writer", "machine"];

/// A message to read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) client: &'a Client,
    pub(crate) keyring: &'a dyn Keyring,
    pub(crate) context: &'a EncryptionContext,
}

impl Reading<'_> {
    fn decrypt(&self) -> sealwax::Decrypt<'_> {
        self.client.decrypt(self.keyring).context(self.context.clone())
    }

    pub(crate) fn bytes(&self, message: &[u8]) -> Outcome {
        let (released, end) = match self.decrypt().bytes(message).wait() {
            Ok(opened) => (opened.plaintext, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        Outcome { way: "bytes", released, end }
    }

    pub(crate) fn reader(&self, message: &[u8], step: usize) -> Outcome {
        let mut released = Vec::new();
        let end = self
            .decrypt()
            .release_unverified()
            .open(Slowly(message, step))
            .and_then(|message| message.into_reader())
            .and_then(|mut reader| {
                // `read_to_end` keeps what it has read before an error.
                reader.read_to_end(&mut released)?;
                Ok(())
            });
        Outcome { way: if step == 1 { "reader" } else { "reader at once" }, released, end }
    }

    pub(crate) fn writer(&self, message: &[u8], step: usize) -> Outcome {
        let mut released = Vec::new();
        let mut writer = self.decrypt().release_unverified().writer(&mut released);
        // What one write makes ready is written by the next one, or by a flush.
        let written = message.chunks(step).try_for_each(|piece| writer.write_all(piece).and_then(|()| writer.flush()));
        let end = match written {
            Ok(()) => writer.finish().map(|_| ()),
            Err(error) => Err(error.into()),
        };
        Outcome { way: if step == 1 { "writer" } else { "writer at once" }, released, end }
    }

    pub(crate) fn machine(&self, message: &[u8], step: usize) -> Outcome {
        let mut released = Vec::new();
        let end = self.drive_machine(message, step, &mut released);
        Outcome { way: if step == 1 { "machine" } else { "machine at once" }, released, end }
    }

    fn drive_machine(&self, message: &[u8], step: usize, released: &mut Vec<u8>) -> Result<(), Error> {
        let mut decoder: HeaderDecoder = self.client.header_decoder();
        let mut at = 0;
        let header = loop {
            let (taken, header) = decoder.push(&message[at..message.len().min(at + step)])?;
            at += taken;
            match header {
                Some(header) => break header,
                None if at == message.len() => return Err(sealwax::FormatError::Truncated.into()),
                None => {}
            }
        };
        let mut machine = self.decrypt().release_unverified().machine(header).wait()?;
        for piece in message[at..].chunks(step) {
            if let Err(error) = machine.push(piece) {
                assert!(machine.output().is_empty(), "output was left after an error");
                assert!(matches!(machine.push(b"x"), Err(Error::Ended)), "a machine went on after an error");
                assert!(matches!(machine.finish(), Err(Error::Ended)), "a machine finished after an error");
                return Err(error);
            }
            released.extend_from_slice(machine.output());
            machine.consume(machine.output().len());
        }
        released.extend_from_slice(&machine.finish()?.plaintext);
        Ok(())
    }

    #[cfg(feature = "fs")]
    fn copy(&self, message: &[u8]) -> Outcome {
        let mut released = Vec::new();
        let end = self.decrypt().open(message).and_then(|message| message.copy_to(&mut released)).map(|_| ());
        Outcome { way: "copy", released, end }
    }

    /// The first pass verifies the whole message, the second one releases it.
    fn copy_verified(&self, message: &[u8]) -> Outcome {
        let mut released = Vec::new();
        let end = self
            .decrypt()
            .open_at(message)
            .and_then(|message| message.verify())
            .and_then(|message| message.copy_to(&mut released))
            .map(|_| ());
        assert!(end.is_ok() || released.is_empty(), "a verified copy released what did not verify");
        Outcome { way: "copy verified", released, end }
    }

    /// Reads the message in every way; those that release unverified plaintext of signed messages
    /// have unverified names.
    pub(crate) fn every_way(&self, message: &[u8]) -> Vec<Outcome> {
        let all = message.len().max(1);
        vec![
            self.bytes(message),
            self.reader(message, 1),
            self.reader(message, all),
            self.writer(message, 1),
            self.writer(message, all),
            self.machine(message, 1),
            self.machine(message, all),
            self.copy_verified(message),
            #[cfg(feature = "fs")]
            self.copy(message),
        ]
    }

    /// Asserts that every way accepts the message and releases exactly this.
    #[track_caller]
    pub(crate) fn accepts(&self, message: &[u8], plaintext: &[u8]) {
        for Outcome { way, released, end } in self.every_way(message) {
            assert!(end.is_ok(), "{way}: {end:?}");
            assert_eq!(released, plaintext, "{way}");
        }
    }

    /// Asserts that every way refuses the message with such an error. In one piece, or as a
    /// verified copy, it must release nothing. As a stream it releases only what precedes the
    /// fault, and all of that if the bytes are passed in one at a time.
    #[track_caller]
    pub(crate) fn refuses(&self, message: &[u8], before: &[u8], expected: impl Fn(&Error) -> bool) {
        let signed = HeaderDecoder::new().decode(message).is_ok_and(|(header, _)| header.header().suite().is_signed());
        for Outcome { way, released, end } in self.every_way(message) {
            let error = end.expect_err(way);
            assert!(expected(&error), "{way}: {error:?}");
            if ONE_BY_ONE.contains(&way) {
                assert_eq!(released, before, "{way}");
            } else if way == "bytes" || way == "copy" && signed {
                assert!(released.is_empty(), "{way}");
            } else {
                assert!(before.starts_with(&released), "{way}: {released:?}");
            }
        }
    }
}
