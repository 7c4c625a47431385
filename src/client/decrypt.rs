//! Decryptions and their options.

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

/// A builder of a decryption. Set options first, then call the method that decrypts.
///
/// Methods that perform blocking I/O return a `Result`, and the materials manager and its keyring
/// complete on the calling thread, as with [`Operation::wait`]. The methods that need no blocking
/// I/O return an [`Operation`]. The writers ask the keyring once the header has been written to
/// them.
///
/// The plaintext of a signed message is released only once its signature has been verified.
/// [`release_unverified`](Self::release_unverified) is the only option that releases it earlier.
///
/// | method | unsigned message | signed message |
/// |---|---|---|
/// | [`bytes`](Self::bytes), `file` (feature `fs`) | at the end | at the end |
/// | [`copy`](Self::copy) | frame by frame | at the end, in a second pass over a spooled copy |
/// | [`reader_verified`](Self::reader_verified), [`copy_verified`](Self::copy_verified) | at the end, in a second pass over the source | the same |
/// | [`reader`](Self::reader), [`writer`](Self::writer), [`machine`](Self::machine) | frame by frame | refused |
/// | [`ranges`](Self::ranges) | the requested ranges | refused |
/// | [`ranges_verified`](Self::ranges_verified) | the requested ranges, after the whole message is verified | the same |
/// | a reader, writer, copy, machine or ranges after [`release_unverified`](Self::release_unverified) | as above | frame by frame, the final frame at the end; `ranges` never verifies the signature |
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
#[must_use = "nothing is decrypted until a method such as `bytes` is called"]
pub struct Decrypt<'a> {
    client: &'a Client,
    source: Source<'a>,
    pub(super) context: EncryptionContext,
    release: Release,
    #[cfg(feature = "fs")]
    overwrite: Overwrite,
}

/// A message that was decrypted in memory.
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
    /// The verified header of the message.
    pub header: Header,
    /// The keyring that unwrapped the data key.
    pub opened_by: OpenedBy,
}

impl fmt::Debug for Decrypted {
    /// Formats everything except the plaintext.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plaintext, header, opened_by } = self;
        f.debug_struct("Decrypted")
            .field("plaintext_length", &plaintext.len())
            .field("header", header)
            .field("opened_by", opened_by)
            .finish()
    }
}

/// A verified message whose plaintext was written to a sink or a file. See [`Decrypt::copy`].
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
    /// The verified header of the message.
    pub header: Header,
    /// The keyring that unwrapped the data key.
    pub opened_by: OpenedBy,
}

impl From<Finished> for Opened {
    fn from(finished: Finished) -> Self {
        Self { header: finished.header, opened_by: finished.opened_by }
    }
}

/// When the plaintext of a signed message may be released: after its signature has been verified,
/// or before.
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

    /// Sets the expected encryption context. A pair that the message stores must have the given
    /// value, and a pair that it does not store must be one that it authenticates with that value.
    /// A second call replaces the context of the first.
    pub fn context(mut self, expected: impl Into<EncryptionContext>) -> Self {
        self.context = expected.into();
        self
    }

    /// Releases the plaintext of a signed message frame by frame, **before its signature has been
    /// verified**. The final frame is released only after the signature has been verified.
    ///
    /// Every frame is authentic under the data key, but anyone who can unwrap the data key could
    /// have written it; only the signature proves that the writer of the message did. A caller that
    /// uses this option must undo what it did with the plaintext if the decryption ends in an
    /// error. [`ranges`](Self::ranges) never verifies the signature. The option has no effect on
    /// unsigned messages, nor on [`bytes`](Self::bytes) and `file`, which never release plaintext
    /// early.
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

    /// Allows [`file`](Self::file) to replace an existing target.
    #[cfg(feature = "fs")]
    pub fn overwrite(mut self) -> Self {
        self.overwrite = Overwrite::Replace;
        self
    }

    /// Requests the materials for a header and verifies the header with them.
    async fn verify(&self, received: ReceivedHeader, release: Release) -> Result<VerifiedHeader> {
        let Client { provider, policy, limits, .. } = self.client;
        let (provider, policy, limits, header) = (&**provider, *policy, *limits, received.header());
        let suite = header.suite();
        // The header may have been read by a decoder other than this client's own.
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

    /// Reads the header from a source and creates the machine for its body. Also returns the bytes
    /// of the body that were read with the header.
    pub(super) fn start_from(&self, source: &mut impl io::Read, release: Release) -> Result<(Decryptor, Vec<u8>)> {
        let (received, ahead) = read_header(source, self.client.header_decoder())?;
        Ok((wait(self.start_machine(received, release))?, ahead))
    }

    /// Decrypts a message that is in memory.
    ///
    /// # Errors
    /// [`Error::Format`] if the message is malformed, [`Error::Limit`] if it exceeds a limit,
    /// [`Error::Commitment`] if the policy forbids its suite, [`Error::NotUnwrapped`] if the
    /// keyring cannot unwrap any of its data keys, [`Error::Context`] if it does not match the
    /// expected context, and [`Error::Integrity`] if any part of it is not authentic.
    pub fn bytes(self, message: &'a [u8]) -> Operation<impl Future<Output = Result<Decrypted>> + 'a> {
        Operation::new(async move {
            let (received, body) = self.client.header_decoder().decode(message)?;
            let verified = self.verify(received, Release::Unverified).await?;
            let VerifiedHeader { header, opened_by, body: opener, .. } = verified;
            let mut plaintext: Zeroizing<Vec<u8>> = open_all(opener, body, self.client.plan)?;
            Ok(Decrypted { plaintext: std::mem::take(&mut *plaintext), header, opened_by })
        })
    }

    /// Returns a [`DecryptingReader`], which decrypts the message of a source as the plaintext is
    /// read from it. This reads the header on the calling thread. If the source fails within the
    /// header, the bytes read so far are lost.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes), [`Error::Io`] if the source fails,
    /// [`Error::SignedStream`] for a signed message, and [`Error::WouldBlockRuntime`] as for
    /// [`Operation::wait`].
    pub fn reader<R: io::Read>(self, mut source: R) -> Result<DecryptingReader<R>> {
        let (machine, ahead) = self.start_from(&mut source, self.release)?;
        DecryptingReader::new(source, machine, &ahead)
    }

    /// Returns a writer that decrypts the message written to it into a sink. The write that
    /// completes the header waits for the keyring on its thread, as [`Operation::wait`] does.
    pub fn writer<W: io::Write>(self, sink: W) -> DecryptingWriter<'a, W> {
        let decoder = self.client.header_decoder();
        let opener = move |received| wait(self.start_machine(received, self.release));
        DecryptingWriter::new(sink, decoder, Box::new(opener))
    }

    /// Decrypts a source into a sink. This reads and writes on the calling thread.
    ///
    /// The plaintext of an unsigned message is written frame by frame. The plaintext of a signed
    /// message is written only once its signature has been verified: until then its ciphertext is
    /// spooled, in memory up to 1 MiB and otherwise in a temporary file in the system's temporary
    /// directory, and then decrypted in a second pass. That requires the feature `fs`; without it,
    /// a signed message is refused.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes), [`Error::Io`] if the source, sink or temporary file
    /// fails, [`Error::WouldBlockRuntime`] as for [`Operation::wait`], and [`Error::SignedStream`]
    /// for a signed message without the feature `fs`. What the sink received of an unsigned message
    /// before an error is authentic but incomplete.
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
        // Without temporary files there is no place to keep a signed message until it is verified.
        let release = if cfg!(feature = "fs") { Release::Unverified } else { self.release };
        let (machine, ahead) = self.start_from(&mut source, release)?;
        #[cfg(feature = "fs")]
        if self.release == Release::Verified && machine.header().suite().is_signed() {
            return Ok(copy_verified(&ahead, source, sink, machine)?.into());
        }
        Ok(copy_decrypting(&ahead, source, sink, machine)?.into())
    }

    /// Decrypts a file into another file, which appears only once the whole message has been
    /// verified. An existing target is replaced only after [`overwrite`](Self::overwrite).
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes), [`Error::Io`] if a file operation fails, and
    /// [`Error::WouldBlockRuntime`] as for [`Operation::wait`]. The target is then unchanged,
    /// except as described for [`PendingFile::commit`].
    #[cfg(feature = "fs")]
    pub fn file(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<Opened> {
        let source = File::open(source)?;
        let mut target = PendingFile::create(target, self.overwrite)?;
        // The temporary file gets the target's name only once the whole message has been verified,
        // so its plaintext may be written early.
        let opened = self.release_unverified().copy(source, &mut target)?;
        target.commit()?;
        Ok(opened)
    }

    /// Re-encrypts the message under other keys, or with another suite, frame length or encryption
    /// context.
    pub fn reencrypt(self, to: Encrypt<'a>) -> Reencrypt<'a> {
        Reencrypt::new(self, to)
    }

    /// Returns the decryptor itself, for callers that do their own I/O and have read the header
    /// with a [`HeaderDecoder`](crate::HeaderDecoder).
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes), and [`Error::SignedStream`] for a signed message.
    pub fn machine(self, header: ReceivedHeader) -> Operation<impl Future<Output = Result<Decryptor>> + 'a> {
        Operation::new(async move { self.start_machine(header, self.release).await })
    }
}
