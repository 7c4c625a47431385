//! Decrypting a source that is read twice: verified as a whole, then released.

use std::{io, sync::Arc};

use super::{Client, Decrypt, Opened, Release};
use crate::{
    blocking::Operation,
    error::{Error, Result},
    format::ContentType,
    io::{Frames, RangeReader, ReadAt, Ready, Verified, VerifiedReader, fetch, fetch_header, verify_source},
    message::{Decryptor, FinalFrameSearch},
};

impl<'a> Decrypt<'a> {
    /// Decrypts a source that can be read twice, such as a file: all of it is verified first, signature and end included; then its
    /// plaintext is read from the [`VerifiedReader`] this gives, in constant memory and with nothing written to disk.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), [`Error::Io`], [`Error::NotSeekable`] for a pipe, and [`Error::SourceChanged`] if the
    /// source changes meanwhile.
    pub fn reader_verified<S: ReadAt + 'a>(
        self,
        source: S,
    ) -> Operation<impl Future<Output = Result<VerifiedReader<S>>> + 'a> {
        Operation::new(async move { self.start_verified(source).await })
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
    /// client.decrypt(&keyring).copy_verified(&message[..], &mut plaintext).wait()?;
    /// assert_eq!(plaintext, b"text");
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn copy_verified<S: ReadAt + 'a, W: io::Write + 'a>(
        self,
        source: S,
        sink: W,
    ) -> Operation<impl Future<Output = Result<Opened>> + 'a> {
        Operation::new(async move {
            let (header, opened_by) = self.start_verified(source).await?.copy_into(sink)?;
            Ok(Opened { header, opened_by })
        })
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
    /// let reader = client.decrypt(&keyring).ranges_verified(&message[..]).wait()?;
    /// assert_eq!(reader.read_range(7..11)?, b"text");
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn ranges_verified<S: ReadAt + 'a>(
        self,
        source: S,
    ) -> Operation<impl Future<Output = Result<RangeReader<Verified<S>>>> + 'a> {
        Operation::new(async move {
            let (received, size) = fetch_header(&Ready(&source), self.client.header_decoder()).await?;
            if received.header().content_type() == ContentType::Unframed {
                return Err(Error::Unframed);
            }
            let verified = self.verify(received, Release::Unverified).await?;
            let body = verified.body.again();
            let (source, finished) = verify_source(source, size, Decryptor::new(verified), self.provider())?;
            let start = finished.header.length() as u64;
            let search = FinalFrameSearch::new(body, start, size, Some(finished.body_length))?;
            let tail = fetch(&Ready(&source), search.wants()).await?;
            let (access, plaintext) = search.open(&tail)?;
            Ok(RangeReader::new(source, Frames::new(finished.header, finished.opened_by, access, plaintext)))
        })
    }

    async fn start_verified<S: ReadAt>(&self, source: S) -> Result<VerifiedReader<S>> {
        let (received, size) = fetch_header(&Ready(&source), self.client.header_decoder()).await?;
        let machine = self.start_machine(received, Release::Unverified).await?;
        VerifiedReader::new(source, size, machine, self.provider())
    }

    fn provider(&self) -> Arc<dyn crate::crypto::CryptoProvider> {
        let Client { provider, .. } = self.client;
        provider.clone()
    }
}
