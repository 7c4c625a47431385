//! Setting up an encryption.

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
    format::Header,
    io::{EncryptingReader, EncryptingWriter, copy_encrypting},
    keyring::KeyReport,
    materials::EncryptionRequest,
    message::{Encryptor, StartParameters, Started, seal_all, start},
    suite::{AlgorithmSuite, CommitmentPolicy},
};

#[cfg(any(feature = "tokio", feature = "futures"))]
mod streams;

/// The frame length where none is asked for, in bytes: that of the specification.
const DEFAULT_FRAME_LENGTH: u32 = 4096;

/// The longest frames that every SDK reads, in bytes.
const MAX_FRAME_LENGTH: u32 = i32::MAX as u32;

/// An encryption being set up: options first, then what to encrypt.
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
#[must_use = "nothing is encrypted until it is said what"]
pub struct Encrypt<'a> {
    client: &'a Client,
    source: Source<'a>,
    pub(super) context: EncryptionContext,
    suite: Option<AlgorithmSuite>,
    frame_length: u32,
    plaintext_length_bound: Option<u64>,
    #[cfg(feature = "fs")]
    pub(super) overwrite: Overwrite,
}

/// A message that was written in one piece.
///
/// ```
/// # use sealwax::{Client, keyring::RawAesKeyring};
/// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
/// assert_eq!(sealed.message[..3], [2, 0x05, 0x78]);
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Encrypted {
    /// The message.
    pub message: Vec<u8>,
    /// Its header.
    pub header: Header,
    /// Which keyrings wrapped its data key.
    pub key_report: KeyReport,
}

/// A message that was written and went elsewhere: see [`Encrypt::copy`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Sealed {
    /// The header of the message.
    pub header: Header,
    /// Which keyrings wrapped its data key.
    pub key_report: KeyReport,
}

impl Sealed {
    pub(super) fn of(machine: &Encryptor) -> Self {
        Self { header: machine.header().clone(), key_report: machine.key_report().clone() }
    }
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
            #[cfg(feature = "fs")]
            overwrite: Overwrite::Never,
        }
    }

    /// The encryption context: authenticated with the message, and stored in it **in the clear**. A second call replaces the
    /// first.
    pub fn context(mut self, context: impl Into<EncryptionContext>) -> Self {
        self.context = context.into();
        self
    }

    /// Sets the algorithm suite; by default that of the commitment policy. A materials manager other
    /// than the default one may choose another suite.
    pub fn suite(mut self, suite: AlgorithmSuite) -> Self {
        self.suite = Some(suite);
        self
    }

    /// Selects the suite without a signature: for messages that are read as streams or by range.
    ///
    /// A signature proves which writer made a message, but it stands at the end: a signed message
    /// must be read to its end before any of it can be released. Without one, everyone who can
    /// decrypt the message could have written it. It commits to its key and authenticates every frame
    /// all the same.
    pub fn unsigned(self) -> Self {
        let suite = match self.client.policy {
            CommitmentPolicy::ForbidEncryptAllowDecrypt => AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha256,
            _ => AlgorithmSuite::Aes256GcmHkdfSha512CommitKey,
        };
        self.suite(suite)
    }

    /// The number of plaintext bytes a frame, 4096 by default; from 1 to 2^31 - 1, the most that every SDK reads.
    ///
    /// A reader holds a frame before it can authenticate it. Longer frames make messages a little shorter and faster.
    pub fn frame_length(mut self, bytes: u32) -> Self {
        self.frame_length = bytes;
        self
    }

    /// A bound on a plaintext whose length is not known in advance: more is refused. A materials manager that counts bytes
    /// needs it. Ignored where the length is known.
    pub fn plaintext_length_bound(mut self, bytes: u64) -> Self {
        self.plaintext_length_bound = Some(bytes);
        self
    }

    /// Lets [`file`](Self::file) replace an existing target.
    #[cfg(feature = "fs")]
    pub fn overwrite(mut self) -> Self {
        self.overwrite = Overwrite::Replace;
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
        // Here already, before a keyring is asked: what this client writes, it must be able to read.
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

    /// Encrypts a plaintext that is there as a whole.
    ///
    /// # Errors
    /// [`Error::Context`], [`Error::Commitment`] or [`Error::Configuration`] for what was asked; what the keyring
    /// answers.
    pub fn bytes(self, plaintext: &'a [u8]) -> Operation<impl Future<Output = Result<Encrypted>> + 'a> {
        Operation::new(async move {
            let started = self.start(Some(plaintext.len() as u64)).await?;
            let (header, key_report, message) = seal_all(started, plaintext, self.client.plan)?;
            Ok(Encrypted { message, header, key_report })
        })
    }

    /// Encrypts what is read from a source, as it is read from the [`EncryptingReader`] this gives.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn reader<R: io::Read + 'a>(
        self,
        source: R,
    ) -> Operation<impl Future<Output = Result<EncryptingReader<R>>> + 'a> {
        Operation::new(async move { Ok(EncryptingReader::new(source, self.start_machine().await?)) })
    }

    /// Encrypts what is written to the [`EncryptingWriter`] this gives, into a sink.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn writer<W: io::Write + 'a>(
        self,
        sink: W,
    ) -> Operation<impl Future<Output = Result<EncryptingWriter<W>>> + 'a> {
        Operation::new(async move { Ok(EncryptingWriter::new(sink, self.start_machine().await?)) })
    }

    /// Encrypts a source into a sink.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::Io`]. What the sink has got by then is not a whole message.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// let mut message = Vec::new();
    /// Client::new().encrypt(&keyring).copy(&b"text"[..], &mut message)?;
    /// # assert!(message.len() > 4);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn copy(self, source: impl io::Read, sink: impl io::Write) -> Result<Sealed> {
        let machine = wait(self.start_machine())?;
        let sealed = Sealed::of(&machine);
        copy_encrypting(source, sink, machine)?;
        Ok(sealed)
    }

    /// Encrypts a file into another, which appears only once it is whole; an existing one is kept unless
    /// [`overwrite`](Self::overwrite) is asked for.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::Io`]. The target is then as it was.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let folder = tempfile::tempdir()?;
    /// let (plain, sealed) = (folder.path().join("report.txt"), folder.path().join("report.txt.sealed"));
    /// std::fs::write(&plain, "text")?;
    /// Client::new().encrypt(&keyring).file(&plain, &sealed)?;
    /// Client::new().decrypt(&keyring).overwrite().file(&sealed, &plain)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "fs")]
    pub fn file(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<Sealed> {
        let source = File::open(source)?;
        let mut target = PendingFile::create(target, self.overwrite)?;
        let sealed = self.copy(source, &mut target)?;
        target.commit()?;
        Ok(sealed)
    }

    /// The machine itself, for those who move the bytes.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn machine(self) -> Operation<impl Future<Output = Result<Encryptor>> + 'a> {
        Operation::new(async move { self.start_machine().await })
    }
}
