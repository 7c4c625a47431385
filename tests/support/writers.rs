//! Every way in which the crate writes a message.

use std::io::{Read, Write};

use sealwax::{AlgorithmSuite, EncryptionContext, Result, keyring::Keyring, message::Encryptor};

use super::{OddReader, OddWriter, client_for, in_pieces};
#[cfg(all(feature = "tokio", feature = "futures"))]
use super::{
    asynchronous::{Family, Shell, encrypt_through},
    patient::Moods,
};

/// A way to write a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writing {
    Bytes,
    Reader,
    Writer,
    Machine,
    Copy,
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Async(Shell),
}

/// All ways.
pub const WRITINGS: &[Writing] = &[
    Writing::Bytes,
    Writing::Reader,
    Writing::Writer,
    Writing::Machine,
    Writing::Copy,
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Writing::Async(Shell::Reader(Family::Tokio)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Writing::Async(Shell::Reader(Family::Futures)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Writing::Async(Shell::Writer(Family::Tokio)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Writing::Async(Shell::Writer(Family::Futures)),
    #[cfg(all(feature = "tokio", feature = "futures"))]
    Writing::Async(Shell::Stream),
];

/// The options to write a message with.
pub struct Sealing<'a> {
    pub keyring: &'a dyn Keyring,
    pub suite: AlgorithmSuite,
    pub frame_length: u32,
    pub context: &'a EncryptionContext,
}

impl Sealing<'_> {
    /// Writes a message in one way, in pieces of odd sizes where it takes pieces.
    pub fn seal(&self, writing: Writing, plaintext: &[u8]) -> Result<Vec<u8>> {
        let client = client_for(self.suite);
        let encrypt = client.encrypt(self.keyring).suite(self.suite).frame_length(self.frame_length);
        let encrypt = encrypt.context(self.context.clone());
        match writing {
            #[cfg(all(feature = "tokio", feature = "futures"))]
            Writing::Async(shell) => {
                encrypt_through(shell, encrypt, plaintext, &Moods::new(plaintext.len() as u64, 5000))
            }
            Writing::Bytes => Ok(encrypt.bytes(plaintext).wait()?.message),
            Writing::Reader => {
                let mut message = Vec::new();
                encrypt.reader(OddReader::new(plaintext)).wait()?.read_to_end(&mut message)?;
                Ok(message)
            }
            Writing::Writer => {
                let mut writer = encrypt.writer(OddWriter::default()).wait()?;
                for piece in in_pieces(plaintext) {
                    writer.write_all(piece)?;
                }
                Ok(writer.finish()?.bytes)
            }
            Writing::Machine => through_machine(encrypt.machine().wait()?, plaintext),
            Writing::Copy => {
                let mut sink = OddWriter::default();
                encrypt.copy(OddReader::new(plaintext), &mut sink)?;
                Ok(sink.bytes)
            }
        }
    }
}

/// Pushes a plaintext in pieces of odd sizes, and removes half of the output after each.
fn through_machine(mut machine: Encryptor, plaintext: &[u8]) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    for piece in in_pieces(plaintext) {
        machine.push(piece)?;
        let half = machine.output().len().div_ceil(2);
        message.extend_from_slice(&machine.output()[..half]);
        machine.consume(half);
    }
    message.extend(machine.finish()?);
    Ok(message)
}
