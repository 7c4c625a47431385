//! Decrypting a source that is read twice: verified as a whole, then released.

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
    /// Decrypts a source that can be read twice, such as a file: all of it is verified first, signature and end included; then its
    /// plaintext is read from the [`VerifiedReader`] this gives, in constant memory and with nothing written to disk.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), [`Error::Io`], [`Error::NotSeekable`] for a pipe, and [`Error::SourceChanged`] if the
    /// source changes meanwhile.
    pub fn reader_verified<S: ReadAt>(self, source: S) -> Result<VerifiedReader<S>> {
        let (received, size) = wait(fetch_header(&Ready(&source), self.client.header_decoder()))?;
        let machine = wait(self.start_machine(received, Release::Unverified))?;
        VerifiedReader::new(source, size, machine, self.provider())
    }

    /// As [`copy`](Self::copy), from a source that can be read twice: the plaintext of a message, signed or not, goes to the sink
    /// only after all of it was verified, and no temporary file is needed.
    ///
    /// # Errors
    /// As [`reader_verified`](Self::reader_verified). The sink has got something only where the source changed or failed
    /// after it was verified, or the sink itself failed.
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

    /// As [`ranges`](Self::ranges), of a signed message too, all of which is verified first. Every range is bound to
    /// the bytes that were verified, by reading [whole segments](Verified).
    ///
    /// # Errors
    /// As [`reader_verified`](Self::reader_verified), and [`Error::Unframed`].
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
