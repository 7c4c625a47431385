//! Decryption of a source that is read twice: first verified as a whole, then released.

use std::{io, sync::Arc};

use super::{Client, Decrypt, Opened, Release};
use crate::{
    blocking::wait,
    error::{Error, Result},
    format::ContentType,
    io::{Frames, RangeReader, ReadAt, Ready, Verified, VerifiedReader, fetch, fetch_header, verify_source},
    message::{Decryptor, FinalFrameSearch},
};

impl Decrypt<'_> {
    /// Returns a [`VerifiedReader`] over a source that can be read twice, such as a file. This
    /// verifies the whole message first, including its signature and end, on the calling thread.
    /// The plaintext is then read from the reader, in little memory and with nothing written to
    /// disk.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes), [`Error::Io`] if the source fails,
    /// [`Error::NotSeekable`] if it is a pipe, [`Error::SourceChanged`] if the source is found to
    /// have changed meanwhile, and [`Error::WouldBlockRuntime`] as for
    /// [`Operation::wait`](crate::Operation::wait).
    pub fn reader_verified<S: ReadAt>(self, source: S) -> Result<VerifiedReader<S>> {
        let (received, size) = wait(fetch_header(&Ready(&source), self.client.header_decoder()))?;
        let machine = wait(self.start_machine(received, Release::Unverified))?;
        VerifiedReader::new(source, size, machine, self.provider())
    }

    /// Decrypts a source that can be read twice into a sink. The plaintext of a message, signed or
    /// not, is written only after the whole message has been verified, and no temporary file is
    /// needed.
    ///
    /// # Errors
    /// The errors of [`reader_verified`](Self::reader_verified), and [`Error::Io`] if the sink
    /// fails. The sink has received plaintext only if the source changed or failed after it was
    /// verified, or if the sink itself failed.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
    /// let mut plaintext = Vec::new();
    /// client.decrypt(&keyring).copy_verified(&message[..], &mut plaintext)?;
    /// assert_eq!(plaintext, b"text");
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn copy_verified(self, source: impl ReadAt, sink: impl io::Write) -> Result<Opened> {
        let (header, opened_by) = self.reader_verified(source)?.copy_into(sink)?;
        Ok(Opened { header, opened_by })
    }

    /// Opens a framed message as [`ranges`](Self::ranges) does, but verifies the whole message
    /// first, so it may be signed. Every range is bound to the bytes that were verified, by reading
    /// [whole segments](Verified).
    ///
    /// # Errors
    /// The errors of [`reader_verified`](Self::reader_verified), and [`Error::Unframed`] for an
    /// unframed message.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let message = client.encrypt(&keyring).bytes(b"signed text").wait()?.message;
    /// let reader = client.decrypt(&keyring).ranges_verified(&message[..])?;
    /// assert_eq!(reader.read_range(7..11)?, b"text");
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn ranges_verified<S: ReadAt>(self, source: S) -> Result<RangeReader<Verified<S>>> {
        let (received, size) = wait(fetch_header(&Ready(&source), self.client.header_decoder()))?;
        if received.header().content_type() == ContentType::Unframed {
            return Err(Error::Unframed);
        }
        let verified = wait(self.verify(received, Release::Unverified))?;
        let body = verified.body.again();
        let (source, finished) = verify_source(source, size, Decryptor::new(verified), self.provider())?;
        let start = finished.header.length() as u64;
        let search = FinalFrameSearch::new(body, start, size, Some(finished.body_length))?;
        let tail = wait(fetch(&Ready(&source), search.wants()))?;
        let (access, plaintext) = search.open(&tail)?;
        Ok(RangeReader::new(source, Frames::new(finished.header, finished.opened_by, access, plaintext)))
    }

    fn provider(&self) -> Arc<dyn crate::crypto::CryptoProvider> {
        let Client { provider, .. } = self.client;
        provider.clone()
    }
}
