//! Encryptions and their options.

use std::io;
#[cfg(feature = "fs")]
use std::{fs::File, path::Path};

use super::{Client, Source};
#[cfg(feature = "fs")]
use crate::io::{Overwrite, PendingFile};
use crate::{
    blocking::{Operation, wait},
    context::EncryptionContext,
    error::{Direction, Error, Result},
    io::{EncryptingReader, EncryptingWriter, Sink, Source as ByteSource},
    materials::EncryptionRequest,
    message::{Encrypted, Encryptor, StartParameters, Started, seal_all, start},
    suite::{AlgorithmSuite, CommitmentPolicy},
};

/// The default frame length in bytes, which is that of the specification.
const DEFAULT_FRAME_LENGTH: u32 = 4096;

/// The maximum frame length in bytes that every SDK can read.
const MAX_FRAME_LENGTH: u32 = i32::MAX as u32;

/// A builder of an encryption. Set options first, then call the method that encrypts.
///
/// [`copy`](Self::copy) and `file` (feature `fs`) perform blocking I/O: they return a `Result`, and
/// the materials manager and its keyring complete on the calling thread, as with
/// [`Operation::wait`]. The other methods return an [`Operation`].
///
/// ```
/// use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let sealed = Client::new()
///     .encrypt(&keyring)
///     .suite(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey)
///     .context([("tenant", "blue")])
///     .frame_length(64 * 1024)
///     .bytes(b"text")
///     .wait()?;
/// assert!(!sealed.header.suite().is_signed());
/// # Ok::<(), sealwax::Error>(())
/// ```
#[must_use = "nothing is encrypted until a method such as `bytes` is called"]
pub struct Encrypt<'a> {
    client: &'a Client,
    source: Source<'a>,
    pub(super) context: EncryptionContext,
    suite: Option<AlgorithmSuite>,
    frame_length: u32,
    plaintext_length_bound: Option<u64>,
}

impl<'a> Encrypt<'a> {
    pub(super) fn new(client: &'a Client, source: Source<'a>) -> Self {
        Self {
            client,
            source,
            context: EncryptionContext::new(),
            suite: None,
            frame_length: DEFAULT_FRAME_LENGTH,
            plaintext_length_bound: None,
        }
    }

    /// Sets the encryption context, which is authenticated with the message and stored in it **in
    /// the clear**. A second call replaces the context of the first.
    pub fn context(mut self, context: impl Into<EncryptionContext>) -> Self {
        self.context = context.into();
        self
    }

    /// Sets the algorithm suite. The default is that of the commitment policy. A materials manager
    /// other than the default one can choose a different suite.
    pub fn suite(mut self, suite: AlgorithmSuite) -> Self {
        self.suite = Some(suite);
        self
    }

    /// Selects the suite without a signature, for messages that are read as streams or by range.
    ///
    /// A signature proves which writer made a message, but it is at the end: a signed message must
    /// be read completely before any of its plaintext can be released. Without a signature,
    /// everyone who can decrypt the message could also have written it. An unsigned message still
    /// authenticates every frame, and commits to its key unless the commitment policy forbids
    /// writing such messages.
    pub fn unsigned(self) -> Self {
        let suite = match self.client.policy {
            CommitmentPolicy::ForbidEncryptAllowDecrypt => AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha256,
            _ => AlgorithmSuite::Aes256GcmHkdfSha512CommitKey,
        };
        self.suite(suite)
    }

    /// Sets the number of plaintext bytes per frame, from 1 to 2^31 - 1, which is the most that
    /// every SDK can read. The default is 4096.
    ///
    /// A reader must hold a whole frame in memory before it can authenticate it. Longer frames make
    /// messages slightly shorter and faster to process.
    pub fn frame_length(mut self, bytes: u32) -> Self {
        self.frame_length = bytes;
        self
    }

    /// Sets an upper bound, in bytes, on a plaintext whose length is not known in advance.
    /// Encrypting more than that fails. A materials manager that counts bytes needs a bound. It is
    /// ignored if the length is known.
    pub fn plaintext_length_bound(mut self, bytes: u64) -> Self {
        self.plaintext_length_bound = Some(bytes);
        self
    }

    async fn start(&self, length: Option<u64>) -> Result<Started> {
        let Client { provider, policy, limits, .. } = self.client;
        let (policy, frame_length) = (*policy, self.frame_length);
        if !(1..=MAX_FRAME_LENGTH).contains(&frame_length) {
            let why = format!("the frame length must be between 1 and {MAX_FRAME_LENGTH} bytes; it is {frame_length}");
            return Err(Error::Configuration(why));
        }
        if let Some(suite) = self.suite
            && !policy.allows_encrypt(suite)
        {
            return Err(Error::Commitment { suite, policy, operation: Direction::Encrypt });
        }
        // This is checked before a keyring is asked: a client must be able to read what it writes.
        limits.check_frame_length(frame_length.into())?;
        self.context.check_writable()?;
        let mut request = EncryptionRequest::new(&**provider, policy, &self.context);
        request.suite = self.suite;
        request.max_plaintext_length = length.or(self.plaintext_length_bound);
        let materials = self.source.manager().encryption_materials(request).await?;
        start(&StartParameters { provider: &**provider, policy, limits: *limits, frame_length }, materials)
    }

    pub(super) async fn start_machine(&self) -> Result<Encryptor> {
        let started = self.start(None).await?;
        Ok(Encryptor::new(started, self.plaintext_length_bound).with_plan(self.client.plan))
    }

    /// Encrypts a plaintext that is in memory.
    ///
    /// # Errors
    /// [`Error::Context`], [`Error::Commitment`], [`Error::Configuration`] or [`Error::Limit`] if
    /// the options are invalid, and the errors of the keyring or materials manager.
    pub fn bytes(self, plaintext: &'a [u8]) -> Operation<impl Future<Output = Result<Encrypted>> + 'a> {
        Operation::new(async move {
            let started = self.start(Some(plaintext.len() as u64)).await?;
            let (header, key_report, message) = seal_all(started, plaintext, self.client.plan)?;
            Ok(Encrypted { message, header, key_report })
        })
    }

    /// Returns an [`EncryptingReader`], which encrypts the plaintext of a source as the message is
    /// read from it. The source is anything that implements [`std::io::Read`], or an asynchronous
    /// source [of some family](crate::io).
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes).
    pub fn reader<S: ByteSource + 'a>(
        self,
        source: S,
    ) -> Operation<impl Future<Output = Result<EncryptingReader<S>>> + 'a> {
        Operation::new(async move { Ok(EncryptingReader::new(source, self.start_machine().await?)) })
    }

    /// Returns an [`EncryptingWriter`], which encrypts the plaintext written to it into a sink. The
    /// sink is anything that implements [`std::io::Write`], or an asynchronous sink [of some
    /// family](crate::io).
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes).
    pub fn writer<W: Sink + 'a>(self, sink: W) -> Operation<impl Future<Output = Result<EncryptingWriter<W>>> + 'a> {
        Operation::new(async move { Ok(EncryptingWriter::new(sink, self.start_machine().await?)) })
    }

    /// Encrypts a source into a sink. This reads and writes on the calling thread.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes), [`Error::Io`] if the source or sink fails, and
    /// [`Error::WouldBlockRuntime`] as for [`Operation::wait`]. What the sink received before an
    /// error is not a complete message.
    pub fn copy(self, source: impl io::Read, sink: impl io::Write) -> Result<Encrypted<()>> {
        let machine = wait(self.start_machine())?;
        let (header, key_report) = EncryptingReader::new(source, machine).copy_to(sink)?;
        Ok(Encrypted { message: (), header, key_report })
    }

    /// Encrypts a file into another file, which appears only once it is complete.
    ///
    /// # Errors
    /// The errors of [`copy`](Self::copy). The target is then unchanged, except as described for
    /// [`PendingFile::commit`].
    #[cfg(feature = "fs")]
    pub fn file(
        self,
        source: impl AsRef<Path>,
        target: impl AsRef<Path>,
        overwrite: Overwrite,
    ) -> Result<Encrypted<()>> {
        let source = File::open(source)?;
        let mut target = PendingFile::create(target, overwrite)?;
        let sealed = self.copy(source, &mut target)?;
        target.commit()?;
        Ok(sealed)
    }

    /// Returns the encryptor itself, for callers that do their own I/O.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes).
    pub fn machine(self) -> Operation<impl Future<Output = Result<Encryptor>> + 'a> {
        Operation::new(async move { self.start_machine().await })
    }
}
