//! Setting up a decryption.

use std::{fmt, io};
#[cfg(feature = "fs")]
use std::{fs::File, path::Path};

use zeroize::Zeroizing;

use super::{Client, Encrypt, Reencrypt, Source};
#[cfg(feature = "fs")]
use crate::io::{Overwrite, PendingFile, copy_verified};
use crate::{
    blocking::{Operation, wait},
    context::EncryptionContext,
    error::{Direction, Error, Result},
    format::{Header, ReceivedHeader},
    io::{DecryptingReader, DecryptingWriter, copy_decrypting, read_header},
    materials::{DecryptionRequest, OpenedBy},
    message::{Decryptor, Finished, OpenParameters, VerifiedHeader, open_all, verify_header},
};

mod ranges;
#[cfg(any(feature = "tokio", feature = "futures"))]
mod streams;
mod verified;

/// A decryption being set up: options first, then what to decrypt.
///
/// The plaintext of a signed message is released only once its signature is verified, unless
/// [`release_unverified`](Self::release_unverified) is called: that is the only way to get it earlier.
///
/// | method | unsigned message | signed message |
/// |---|---|---|
/// | [`bytes`](Self::bytes), `file` (feature `fs`) | at the end | at the end |
/// | [`copy`](Self::copy) | frame by frame | at the end, in a second pass over a spool |
/// | [`reader_verified`](Self::reader_verified), [`copy_verified`](Self::copy_verified) | at the end, in a second pass over the source | the same |
/// | [`reader`](Self::reader), [`writer`](Self::writer), [`machine`](Self::machine) | frame by frame | refused |
/// | [`ranges`](Self::ranges) | what is asked for | refused |
/// | [`ranges_verified`](Self::ranges_verified) | what is asked for, after all of it | the same |
/// | [`release_unverified`](Self::release_unverified), then a reader, writer, copy, machine or ranges | as above | frame by frame, the last at the end |
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let message = client.encrypt(&keyring).context([("tenant", "blue")]).bytes(b"text").wait()?.message;
///
/// let opened = client.decrypt(&keyring).context([("tenant", "blue")]).bytes(&message).wait()?;
/// assert_eq!(opened.plaintext, b"text");
/// let refused = client.decrypt(&keyring).context([("tenant", "green")]).bytes(&message).wait();
/// assert!(refused.is_err());
/// # Ok::<(), sealwax::Error>(())
/// ```
#[must_use = "nothing is decrypted until it is said what"]
pub struct Decrypt<'a> {
    client: &'a Client,
    source: Source<'a>,
    pub(super) context: EncryptionContext,
    release: Release,
    #[cfg(feature = "fs")]
    overwrite: Overwrite,
}

/// A message that was opened in one piece.
///
/// ```
/// # use sealwax::{Client, keyring::RawAesKeyring};
/// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// # let client = Client::new();
/// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
/// let opened = client.decrypt(&keyring).bytes(&message).wait()?;
/// println!("{} bytes under {}", opened.plaintext.len(), opened.opened_by.keyring);
/// # Ok::<(), sealwax::Error>(())
/// ```
#[non_exhaustive]
pub struct Decrypted {
    /// The plaintext.
    pub plaintext: Vec<u8>,
    /// The header of the message, verified.
    pub header: Header,
    /// Which keyring opened the message.
    pub opened_by: OpenedBy,
}

impl fmt::Debug for Decrypted {
    /// All but the plaintext.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plaintext, header, opened_by } = self;
        f.debug_struct("Decrypted")
            .field("plaintext_length", &plaintext.len())
            .field("header", header)
            .field("opened_by", opened_by)
            .finish()
    }
}

/// A message that was opened and whose plaintext went elsewhere: see [`Decrypt::copy`].
///
/// ```
/// # use sealwax::{Client, AlgorithmSuite, keyring::RawAesKeyring};
/// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// # let client = Client::new();
/// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
/// # #[cfg(feature = "fs")] {
/// let opened = client.decrypt(&keyring).copy(&message[..], std::io::sink())?;
/// println!("verified, under {}", opened.opened_by.keyring);
/// # }
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The header of the message, verified.
    pub header: Header,
    /// Which keyring opened the message.
    pub opened_by: OpenedBy,
}

impl From<Finished> for Opened {
    fn from(finished: Finished) -> Self {
        Self { header: finished.header, opened_by: finished.opened_by }
    }
}

/// Whether the plaintext of a signed message may be seen before its signature is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Release {
    Verified,
    Unverified,
}

impl<'a> Decrypt<'a> {
    pub(super) fn new(client: &'a Client, source: Source<'a>) -> Self {
        Self {
            client,
            source,
            context: EncryptionContext::new(),
            release: Release::Verified,
            #[cfg(feature = "fs")]
            overwrite: Overwrite::Never,
        }
    }

    /// The encryption context that is expected: a pair that the message stores must have this value, and a pair that it does
    /// not store must be one that was authenticated with it. A second call replaces the first.
    pub fn context(mut self, expected: impl Into<EncryptionContext>) -> Self {
        self.context = expected.into();
        self
    }

    /// Releases the plaintext of a signed message frame by frame, **before its signature is verified**; the final frame
    /// still waits for the signature.
    ///
    /// Every frame is authentic under the data key, but anyone who can unwrap the data key could have written it: only
    /// the signature says that the writer of the message did. A caller that uses this must undo what it did with the
    /// plaintext if the end is an error. It makes no difference to unsigned messages, nor to [`bytes`](Self::bytes) and
    /// `file`, which never release anything early.
    ///
    /// ```
    /// use std::io::Read;
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
    /// let mut text = String::new();
    /// client.decrypt(&keyring).release_unverified().reader(&message[..])?.read_to_string(&mut text)?;
    /// assert_eq!(text, "text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release_unverified(mut self) -> Self {
        self.release = Release::Unverified;
        self
    }

    /// Lets [`file`](Self::file) replace an existing target.
    #[cfg(feature = "fs")]
    pub fn overwrite(mut self) -> Self {
        self.overwrite = Overwrite::Replace;
        self
    }

    /// Gets the materials for a header and verifies it with them.
    async fn verify(&self, received: ReceivedHeader, release: Release) -> Result<VerifiedHeader> {
        let Client { provider, policy, limits, .. } = self.client;
        let (provider, policy, limits, header) = (&**provider, *policy, *limits, received.header());
        let suite = header.suite();
        // The header may come from another decoder than this client's own.
        limits.check_encrypted_data_keys(header.encrypted_data_keys().len())?;
        limits.check_header_length(header.length())?;
        limits.check_frame_length(header.content_type().frame_length().unwrap_or(0).into())?;
        if !policy.allows_decrypt(suite) {
            return Err(Error::Commitment { suite, policy, operation: Direction::Decrypt });
        }
        if release == Release::Verified && suite.is_signed() {
            return Err(Error::SignedStream);
        }
        let (context, keys) = (header.context(), header.encrypted_data_keys());
        let request = DecryptionRequest::new(provider, policy, suite, context, keys, &self.context);
        let materials = self.source.manager().decryption_materials(request).await?;
        let parameters = OpenParameters { provider, policy, limits, expected_context: &self.context };
        verify_header(&parameters, received, materials)
    }

    async fn start_machine(&self, received: ReceivedHeader, release: Release) -> Result<Decryptor> {
        Ok(Decryptor::new(self.verify(received, release).await?).with_plan(self.client.plan))
    }

    /// Reads the header from a source and starts the machine for it; also, what was read of the body with it.
    pub(super) fn start_from(&self, source: &mut impl io::Read, release: Release) -> Result<(Decryptor, Vec<u8>)> {
        let (received, ahead) = read_header(source, self.client.header_decoder())?;
        Ok((wait(self.start_machine(received, release))?, ahead))
    }

    /// Decrypts a message that is there as a whole.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Limit`] for a message that is malformed or too large, [`Error::Commitment`] for one
    /// that the policy forbids, [`Error::NotUnwrapped`] if the keyring opens none of its keys, [`Error::Context`] if it
    /// is not in the expected context, and [`Error::Integrity`] if anything does not verify.
    pub fn bytes(self, message: &'a [u8]) -> Operation<impl Future<Output = Result<Decrypted>> + 'a> {
        Operation::new(async move {
            let (received, body) = self.client.header_decoder().decode(message)?;
            let verified = self.verify(received, Release::Unverified).await?;
            let VerifiedHeader { header, opened_by, body: opener, .. } = verified;
            let mut plaintext: Zeroizing<Vec<u8>> = open_all(opener, body, self.client.plan)?;
            Ok(Decrypted { plaintext: std::mem::take(&mut *plaintext), header, opened_by })
        })
    }

    /// Decrypts what is read from a source, as it is read from the [`DecryptingReader`] this gives. Reads the header first; a
    /// source that fails within it loses what was read.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), [`Error::Io`], and [`Error::SignedStream`] for a signed message.
    pub fn reader<R: io::Read>(self, mut source: R) -> Result<DecryptingReader<R>> {
        let (machine, ahead) = self.start_from(&mut source, self.release)?;
        DecryptingReader::new(source, machine, &ahead)
    }

    /// A writer that decrypts the message written to it into a sink. It waits for the keyring on the thread that writes
    /// the end of the header, as [`Operation::wait`] does.
    pub fn writer<W: io::Write>(self, sink: W) -> DecryptingWriter<'a, W> {
        let decoder = self.client.header_decoder();
        let opener = move |received| Operation::new(self.start_machine(received, self.release)).wait();
        DecryptingWriter::new(sink, decoder, Box::new(opener))
    }

    /// Decrypts a source into a sink. An unsigned message is released frame by frame; the plaintext of a
    /// signed one only once its signature is verified: until then its ciphertext is kept in memory, above 1 MiB in a
    /// temporary file in the system's folder for them, and it is opened a second time. That takes the feature `fs`; without it
    /// a signed message is refused.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::Io`]. What the sink has got of an unsigned message by then is authentic, but
    /// not whole.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
    /// # #[cfg(feature = "fs")] {
    /// let mut plaintext = Vec::new();
    /// client.decrypt(&keyring).copy(&message[..], &mut plaintext)?;
    /// assert_eq!(plaintext, b"text");
    /// # }
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn copy(self, mut source: impl io::Read, sink: impl io::Write) -> Result<Opened> {
        // Without temporary files there is nowhere to keep a signed message until it is verified.
        let release = if cfg!(feature = "fs") { Release::Unverified } else { self.release };
        let (machine, ahead) = self.start_from(&mut source, release)?;
        #[cfg(feature = "fs")]
        if self.release == Release::Verified && machine.header().suite().is_signed() {
            return Ok(copy_verified(&ahead, source, sink, machine)?.into());
        }
        Ok(copy_decrypting(&ahead, source, sink, machine)?.into())
    }

    /// Decrypts a file into another, which appears only once the whole message is verified; an existing one is kept unless
    /// [`overwrite`](Self::overwrite) is asked for. [`Encrypt::file`](crate::Encrypt::file) has an example.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::Io`]. The target is then as it was.
    #[cfg(feature = "fs")]
    pub fn file(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<Opened> {
        let source = File::open(source)?;
        let mut target = PendingFile::create(target, self.overwrite)?;
        // Nothing reads the temporary file before all of the message is verified.
        let opened = self.release_unverified().copy(source, &mut target)?;
        target.commit()?;
        Ok(opened)
    }

    /// Encrypts again what is decrypted: under other keys, or with another suite, frame length or encryption context.
    /// [`Reencrypt`] has an example.
    pub fn reencrypt(self, to: Encrypt<'a>) -> Reencrypt<'a> {
        Reencrypt::new(self, to)
    }

    /// The machine itself, for those who move the bytes: for the header that a [`HeaderDecoder`](crate::HeaderDecoder) has read.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::SignedStream`] for a signed message.
    pub fn machine(self, header: ReceivedHeader) -> Operation<impl Future<Output = Result<Decryptor>> + 'a> {
        Operation::new(async move { self.start_machine(header, self.release).await })
    }
}
