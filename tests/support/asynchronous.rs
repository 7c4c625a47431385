//! Every asynchronous way in which the crate reads and writes a message.

use futures_util::TryStreamExt;
use sealwax::{Decrypt, Encrypt, Result, io::AsyncDecryptingWriter};

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
    let (header, opened_by) = match shell {
        Shell::Reader(Family::Tokio) => {
            let reader = match unverified {
                true => drive(decrypt.release_unverified().tokio_reader(source).into_future()),
                false => drive(decrypt.tokio_reader(source).into_future()),
            };
            let mut reader = reader?;
            drive(tokio::io::AsyncReadExt::read_to_end(&mut reader, released))?;
            (reader.header().clone(), reader.opened_by().clone())
        }
        Shell::Reader(Family::Futures) => {
            let reader = match unverified {
                true => drive(decrypt.release_unverified().futures_reader(source).into_future()),
                false => drive(decrypt.futures_reader(source).into_future()),
            };
            let mut reader = reader?;
            drive(futures_util::AsyncReadExt::read_to_end(&mut reader, released))?;
            (reader.header().clone(), reader.opened_by().clone())
        }
        Shell::Stream => {
            let stream = match unverified {
                true => drive(decrypt.release_unverified().stream(source).into_future()),
                false => drive(decrypt.stream(source).into_future()),
            };
            let mut stream = stream?;
            while let Some(piece) = drive(stream.try_next())? {
                assert!(!piece.is_empty());
                released.extend_from_slice(&piece);
            }
            (stream.header().clone(), stream.opened_by().clone())
        }
        Shell::Writer(family) => {
            let sink = PatientSink::new(moods.clone());
            let mut writer = match (family, unverified) {
                (Family::Tokio, true) => decrypt.release_unverified().tokio_writer(sink),
                (Family::Tokio, false) => decrypt.tokio_writer(sink),
                (Family::Futures, true) => decrypt.release_unverified().futures_writer(sink),
                (Family::Futures, false) => decrypt.futures_writer(sink),
            };
            let outcome = drive(write_all(family, &mut writer, message));
            if let Err(error) = outcome {
                released.extend_from_slice(&writer.into_inner().bytes);
                return Err(error);
            }
            let written = writer.into_written()?;
            assert!(written.sink.closed);
            released.extend_from_slice(&written.sink.bytes);
            (written.header, written.opened_by)
        }
    };
    Ok(Opening { plaintext: std::mem::take(released), header, opened_by })
}

async fn write_all(family: Family, writer: &mut AsyncDecryptingWriter<'_, PatientSink>, message: &[u8]) -> Result<()> {
    for piece in in_pieces(message) {
        match family {
            Family::Tokio => tokio::io::AsyncWriteExt::write_all(writer, piece).await?,
            Family::Futures => futures_util::AsyncWriteExt::write_all(writer, piece).await?,
        }
    }
    match family {
        Family::Tokio => tokio::io::AsyncWriteExt::shutdown(writer).await?,
        Family::Futures => futures_util::AsyncWriteExt::close(writer).await?,
    }
    Ok(())
}

/// Writes a message through a shell.
pub fn encrypt_through(shell: Shell, encrypt: Encrypt<'_>, plaintext: &[u8], moods: &Moods) -> Result<Vec<u8>> {
    let source = PatientSource::new(plaintext, moods.clone());
    let sink = PatientSink::new(moods.clone());
    let mut message = Vec::new();
    match shell {
        Shell::Reader(Family::Tokio) => {
            let mut reader = drive(encrypt.tokio_reader(source).into_future())?;
            drive(tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut message))?;
        }
        Shell::Reader(Family::Futures) => {
            let mut reader = drive(encrypt.futures_reader(source).into_future())?;
            drive(futures_util::AsyncReadExt::read_to_end(&mut reader, &mut message))?;
        }
        Shell::Writer(Family::Tokio) => {
            let mut writer = drive(encrypt.tokio_writer(sink).into_future())?;
            for piece in in_pieces(plaintext) {
                drive(tokio::io::AsyncWriteExt::write_all(&mut writer, piece))?;
            }
            drive(tokio::io::AsyncWriteExt::flush(&mut writer))?;
            drive(tokio::io::AsyncWriteExt::shutdown(&mut writer))?;
            message = writer.into_inner().bytes;
        }
        Shell::Writer(Family::Futures) => {
            let mut writer = drive(encrypt.futures_writer(sink).into_future())?;
            for piece in in_pieces(plaintext) {
                drive(futures_util::AsyncWriteExt::write_all(&mut writer, piece))?;
            }
            drive(futures_util::AsyncWriteExt::flush(&mut writer))?;
            drive(futures_util::AsyncWriteExt::close(&mut writer))?;
            message = writer.into_inner().bytes;
        }
        Shell::Stream => {
            let mut stream = drive(encrypt.stream(source).into_future())?;
            while let Some(piece) = drive(stream.try_next())? {
                message.extend_from_slice(&piece);
            }
        }
    }
    Ok(message)
}
