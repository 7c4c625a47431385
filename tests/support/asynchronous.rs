//! Every asynchronous way in which the crate reads and writes a message.

use futures_util::TryStreamExt;
use sealwax::{
    Decrypt, Decrypted, Encrypt, Result,
    io::{DecryptingWriter, Futures, Pieces, Tokio},
};

use super::{
    in_pieces,
    patient::{Moods, PatientSink, PatientSource, drive},
    readers::Opening,
};

/// A family of asynchronous traits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Tokio,
    Futures,
}

/// An asynchronous wrapper around a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shell {
    Reader(Family),
    Writer(Family),
    Stream,
}

/// All shells.
pub const SHELLS: [Shell; 5] = [
    Shell::Reader(Family::Tokio),
    Shell::Reader(Family::Futures),
    Shell::Writer(Family::Tokio),
    Shell::Writer(Family::Futures),
    Shell::Stream,
];

/// Reads a message through a shell. Whatever is released goes to `released`, even on failure.
pub fn decrypt_through(
    shell: Shell,
    decrypt: Decrypt<'_>,
    unverified: bool,
    message: &[u8],
    moods: &Moods,
    released: &mut Vec<u8>,
) -> Result<Opening> {
    let source = PatientSource::new(message, moods.clone());
    let decrypt = if unverified { decrypt.release_unverified() } else { decrypt };
    let (header, opened_by) = match shell {
        Shell::Reader(Family::Tokio) => {
            let mut reader = drive(decrypt.open_async(Tokio(source)).into_future())?.into_reader()?;
            drive(tokio::io::AsyncReadExt::read_to_end(&mut reader, released))?;
            (reader.header().clone(), reader.opened_by().clone())
        }
        Shell::Reader(Family::Futures) => {
            let mut reader = drive(decrypt.open_async(Futures(source)).into_future())?.into_reader()?;
            drive(futures_util::AsyncReadExt::read_to_end(&mut reader, released))?;
            (reader.header().clone(), reader.opened_by().clone())
        }
        Shell::Stream => {
            let mut stream = drive(decrypt.open_async(Pieces::new(source)).into_future())?.into_reader()?;
            while let Some(piece) = drive(stream.try_next())? {
                assert!(!piece.is_empty());
                released.extend_from_slice(&piece);
            }
            (stream.header().clone(), stream.opened_by().clone())
        }
        Shell::Writer(family) => {
            let sink = PatientSink::new(moods.clone());
            match family {
                Family::Tokio => {
                    let mut writer = decrypt.writer(Tokio(sink));
                    let outcome = drive(write_all_tokio(&mut writer, message));
                    let written = written(outcome, writer, |sink| &sink.0, released)?;
                    (written.header, written.opened_by)
                }
                Family::Futures => {
                    let mut writer = decrypt.writer(Futures(sink));
                    let outcome = drive(write_all_futures(&mut writer, message));
                    let written = written(outcome, writer, |sink| &sink.0, released)?;
                    (written.header, written.opened_by)
                }
            }
        }
    };
    Ok(Opening { plaintext: std::mem::take(released), header, opened_by })
}

/// Takes what a writer has released, and returns the result of the message.
fn written<W>(
    outcome: Result<()>,
    writer: DecryptingWriter<'_, W>,
    inner: impl Fn(&W) -> &PatientSink,
    released: &mut Vec<u8>,
) -> Result<Decrypted<W>> {
    if let Err(error) = outcome {
        released.extend_from_slice(&inner(&writer.into_inner()).bytes);
        return Err(error);
    }
    let written = writer.into_decrypted()?;
    let sink = inner(&written.plaintext);
    assert!(sink.closed);
    released.extend_from_slice(&sink.bytes);
    Ok(written)
}

async fn write_all_tokio(writer: &mut DecryptingWriter<'_, Tokio<PatientSink>>, message: &[u8]) -> Result<()> {
    for piece in in_pieces(message) {
        tokio::io::AsyncWriteExt::write_all(writer, piece).await?;
    }
    Ok(tokio::io::AsyncWriteExt::shutdown(writer).await?)
}

async fn write_all_futures(writer: &mut DecryptingWriter<'_, Futures<PatientSink>>, message: &[u8]) -> Result<()> {
    for piece in in_pieces(message) {
        futures_util::AsyncWriteExt::write_all(writer, piece).await?;
    }
    Ok(futures_util::AsyncWriteExt::close(writer).await?)
}

/// Writes a message through a shell.
pub fn encrypt_through(shell: Shell, encrypt: Encrypt<'_>, plaintext: &[u8], moods: &Moods) -> Result<Vec<u8>> {
    let source = PatientSource::new(plaintext, moods.clone());
    let sink = PatientSink::new(moods.clone());
    let mut message = Vec::new();
    match shell {
        Shell::Reader(Family::Tokio) => {
            let mut reader = drive(encrypt.reader(Tokio(source)).into_future())?;
            drive(tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut message))?;
        }
        Shell::Reader(Family::Futures) => {
            let mut reader = drive(encrypt.reader(Futures(source)).into_future())?;
            drive(futures_util::AsyncReadExt::read_to_end(&mut reader, &mut message))?;
        }
        Shell::Writer(Family::Tokio) => {
            let mut writer = drive(encrypt.writer(Tokio(sink)).into_future())?;
            for piece in in_pieces(plaintext) {
                drive(tokio::io::AsyncWriteExt::write_all(&mut writer, piece))?;
            }
            drive(tokio::io::AsyncWriteExt::flush(&mut writer))?;
            drive(tokio::io::AsyncWriteExt::shutdown(&mut writer))?;
            message = writer.into_inner().0.bytes;
        }
        Shell::Writer(Family::Futures) => {
            let mut writer = drive(encrypt.writer(Futures(sink)).into_future())?;
            for piece in in_pieces(plaintext) {
                drive(futures_util::AsyncWriteExt::write_all(&mut writer, piece))?;
            }
            drive(futures_util::AsyncWriteExt::flush(&mut writer))?;
            drive(futures_util::AsyncWriteExt::close(&mut writer))?;
            message = writer.into_inner().0.bytes;
        }
        Shell::Stream => {
            let mut stream = drive(encrypt.reader(Pieces::new(source)).into_future())?;
            while let Some(piece) = drive(stream.try_next())? {
                message.extend_from_slice(&piece);
            }
        }
    }
    Ok(message)
}
