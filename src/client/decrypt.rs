//! Decryptions and their options.

use std::io;
#[cfg(feature = "fs")]
use std::{fs::File, path::Path};

use zeroize::Zeroizing;

use super::{Client, Encrypt, Reencrypt, Source};
#[cfg(feature = "fs")]
use crate::io::{Overwrite, PendingFile};
use crate::{
    blocking::{Operation, wait},
    context::EncryptionContext,
    error::{Direction, Error, Result},
    format::ReceivedHeader,
    io::{
        AsyncSource, Body, DecryptingWriter, GetRange, Message, ReadAt, Release, RemoteEnds, RemoteMessage, Sink,
        StoredMessage, await_header, fetch_ends, read_header, read_header_at,
    },
    materials::DecryptionRequest,
    message::{Decrypted, Decryptor, OpenParameters, VerifiedHeader, open_all, verify_header},
};

/// A builder of a decryption. Set options first, then call the method that opens or decrypts.
///
/// Opening is one step, and reading another. Opening reads the header, has the keyring unwrap the
/// data key, and verifies the header. It returns a message that knows its header and its keyring,
/// and needs neither client nor keyring any more:
///
/// | method | source | returns |
/// |---|---|---|
/// | [`open`](Self::open) | [`std::io::Read`] | [`Message`] |
/// | [`open_async`](Self::open_async) | an asynchronous reader or a stream, [of any family](crate::io) | [`Message`] |
/// | [`open_at`](Self::open_at) | [`ReadAt`]: a file, a slice | [`StoredMessage`] |
/// | [`open_remote`](Self::open_remote) | [`GetRange`]: an object in a store | [`RemoteMessage`] |
///
/// The others do everything in one step: [`bytes`](Self::bytes), `file` (feature `fs`),
/// [`writer`](Self::writer) for a message that is written rather than read,
/// [`machine`](Self::machine) for callers that move the bytes themselves, and
/// [`reencrypt`](Self::reencrypt).
///
/// The plaintext of a signed message is released only once its signature has been verified.
/// [`release_unverified`](Self::release_unverified) is the only option that releases it earlier.
///
/// | | unsigned message | signed message |
/// |---|---|---|
/// | [`bytes`](Self::bytes), `file` | at the end | at the end |
/// | [`into_reader`](Message::into_reader) and [`copy_to`](Message::copy_to) of an opened message | frame by frame | over [`std::io::Read`] with the feature `fs`, at the end; otherwise refused |
/// | [`into_ranges`](StoredMessage::into_ranges) | the requested ranges | refused |
/// | either, after [`verify`](StoredMessage::verify) | after the whole message is verified | the same |
/// | [`writer`](Self::writer), [`machine`](Self::machine) | frame by frame | refused, before a keyring is asked |
/// | any of these after [`release_unverified`](Self::release_unverified) | as above | frame by frame, the final frame at the end; ranges without verifying the signature |
///
/// Methods that perform blocking I/O return a `Result`, and the materials manager and its keyring
/// complete on the calling thread, as with [`Operation::wait`]. The others return an [`Operation`].
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
}

impl<'a> Decrypt<'a> {
    pub(super) fn new(client: &'a Client, source: Source<'a>) -> Self {
        Self { client, source, context: EncryptionContext::new(), release: Release::Verified }
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
    /// error. Ranges never verify the signature. The option has no effect on
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
    /// let opened = client.decrypt(&keyring).release_unverified().open(&message[..])?;
    /// opened.into_reader()?.read_to_string(&mut text)?;
    /// assert_eq!(text, "text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release_unverified(mut self) -> Self {
        self.release = Release::Unverified;
        self
    }

    /// Requests the materials for a header and verifies the header with them.
    async fn verify(&self, received: ReceivedHeader) -> Result<VerifiedHeader> {
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
        let (context, keys) = (header.context(), header.encrypted_data_keys());
        let request = DecryptionRequest::new(provider, policy, suite, context, keys, &self.context);
        let materials = self.source.manager().decryption_materials(request).await?;
        let parameters = OpenParameters { provider, policy, limits, expected_context: &self.context };
        verify_header(&parameters, received, materials)
    }

    async fn verify_body(&self, received: ReceivedHeader) -> Result<Body> {
        let verified = self.verify(received).await?;
        let Client { provider, plan, .. } = self.client;
        Ok(Body { verified, release: self.release, plan: *plan, provider: provider.clone() })
    }

    /// Creates the machine for a body that is released frame by frame.
    async fn start_machine(&self, received: ReceivedHeader) -> Result<Decryptor> {
        if self.release == Release::Verified && received.header().suite().is_signed() {
            return Err(Error::SignedStream);
        }
        Ok(Decryptor::new(self.verify(received).await?).with_plan(self.client.plan))
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
            let VerifiedHeader { header, opened_by, body: opener, .. } = self.verify(received).await?;
            let mut plaintext: Zeroizing<Vec<u8>> = open_all(opener, body, self.client.plan)?;
            Ok(Decrypted { plaintext: std::mem::take(&mut *plaintext), header, opened_by })
        })
    }

    /// Opens the message of a source. This reads the header, and up to 4 KiB beyond it that the
    /// message keeps, on the calling thread. If the source fails within the header, the bytes read
    /// so far are lost.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes) that concern the header, [`Error::Io`] if the source
    /// fails, and [`Error::WouldBlockRuntime`] as for [`Operation::wait`].
    pub fn open<R: io::Read>(self, mut source: R) -> Result<Message<R>> {
        let (received, ahead) = read_header(&mut source, self.client.header_decoder())?;
        Ok(Message::new(source, ahead, wait(self.verify_body(received))?))
    }

    /// Opens the message of an asynchronous source, as [`open`](Self::open) does. If the future is
    /// dropped before it completes, the bytes read so far are lost.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open).
    pub fn open_async<S: AsyncSource + 'a>(
        self,
        mut source: S,
    ) -> Operation<impl Future<Output = Result<Message<S>>> + 'a> {
        Operation::new(async move {
            let (received, ahead) = await_header(&mut source, self.client.header_decoder()).await?;
            Ok(Message::new(source, ahead, self.verify_body(received).await?))
        })
    }

    /// Opens a message whose source can be read at any offset: a file, a slice, or anything that
    /// [reads and seeks](crate::io::Seekable). This reads only the header, on the calling thread.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open), and [`Error::NotSeekable`] if the source is a pipe.
    pub fn open_at<S: ReadAt>(self, source: S) -> Result<StoredMessage<S>> {
        let (received, size) = read_header_at(&source, self.client.header_decoder())?;
        Ok(StoredMessage::new(source, size, wait(self.verify_body(received))?))
    }

    /// Opens a message in an object store, or another asynchronous source that is read by ranges.
    /// This requests the header and the end of the message, at the same time.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open).
    pub fn open_remote<S: GetRange + Sync + 'a>(
        self,
        source: S,
    ) -> Operation<impl Future<Output = Result<RemoteMessage<S>>> + 'a> {
        Operation::new(async move {
            let RemoteEnds { received, size, tail } = fetch_ends(&source, self.client.header_decoder()).await?;
            Ok(RemoteMessage::new(source, size, tail, self.verify_body(received).await?))
        })
    }

    /// Returns a writer that decrypts the message written to it into a sink. The sink is anything
    /// that implements [`std::io::Write`], or an asynchronous sink [of some family](crate::io).
    pub fn writer<W: Sink>(self, sink: W) -> DecryptingWriter<'a, W> {
        let decoder = self.client.header_decoder();
        let opener =
            move |received| -> crate::io::Opening<'a> { Box::pin(async move { self.start_machine(received).await }) };
        DecryptingWriter::new(sink, decoder, Box::new(opener))
    }

    /// Decrypts a file into another file, which appears only once the whole message has been
    /// verified.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes), [`Error::Io`] if a file operation fails, and
    /// [`Error::WouldBlockRuntime`] as for [`Operation::wait`]. The target is then unchanged,
    /// except as described for [`PendingFile::commit`].
    #[cfg(feature = "fs")]
    pub fn file(
        self,
        source: impl AsRef<Path>,
        target: impl AsRef<Path>,
        overwrite: Overwrite,
    ) -> Result<Decrypted<()>> {
        let source = File::open(source)?;
        let mut target = PendingFile::create(target, overwrite)?;
        // The temporary file gets the target's name only once the whole message has been verified,
        // so its plaintext may be written early.
        let opened = self.release_unverified().open(source)?.copy_to(&mut target)?;
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
        Operation::new(async move { self.start_machine(header).await })
    }
}
