//! The client: what is configured once, and what can be done with it.

use std::{fmt, io, sync::Arc};
#[cfg(feature = "fs")]
use std::{fs::File, path::Path};

use zeroize::Zeroizing;

#[cfg(feature = "fs")]
use crate::io::{Overwrite, PendingFile, copy_verified};
use crate::{
    blocking::Operation,
    context::EncryptionContext,
    crypto::CryptoProvider,
    error::{Direction, Error, Result},
    format::{Header, HeaderDecoder, ReceivedHeader},
    io::{
        DecryptingReader, DecryptingWriter, EncryptingReader, EncryptingWriter, copy_decrypting, copy_encrypting,
        read_header,
    },
    keyring::Keyring,
    limits::Limits,
    materials::{DecryptionRequest, DefaultMaterialsManager, EncryptionRequest, MaterialsManager, OpenedBy},
    message::{
        Decryptor, Encryptor, Finished, OpenParameters, StartParameters, Started, VerifiedHeader, open_all, seal_all,
        start, verify_header,
    },
    suite::{AlgorithmSuite, CommitmentPolicy},
};

/// The frame length where none is asked for, in bytes: that of the specification.
const DEFAULT_FRAME_LENGTH: u32 = 4096;

/// The longest frames that every SDK reads, in bytes.
const MAX_FRAME_LENGTH: u32 = i32::MAX as u32;

/// Encrypts and decrypts messages, under one configuration.
///
/// A client is cheap to clone and serves any number of threads.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let sealed = client.encrypt(&keyring).context([("tenant", "blue")]).bytes(b"text").wait()?;
/// let opened = client.decrypt(&keyring).context([("tenant", "blue")]).bytes(&sealed.message).wait()?;
/// assert_eq!(opened.plaintext, b"text");
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    provider: Arc<dyn CryptoProvider>,
    policy: CommitmentPolicy,
    limits: Limits,
}

#[cfg(feature = "rustcrypto")]
impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client with the defaults: the RustCrypto provider, the policy that requires commitment both ways, and
    /// [the default limits](ClientBuilder).
    ///
    /// ```
    /// let client = sealwax::Client::new();
    /// # let _ = client;
    /// ```
    #[cfg(feature = "rustcrypto")]
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Configures a client with the RustCrypto provider.
    ///
    /// ```
    /// use sealwax::{Client, CommitmentPolicy};
    ///
    /// let client = Client::builder().commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt).build();
    /// # let _ = client;
    /// ```
    #[cfg(feature = "rustcrypto")]
    #[must_use]
    pub fn builder() -> ClientBuilder {
        Self::builder_with_provider(crate::crypto::RustCrypto)
    }

    /// Configures a client with a crypto provider.
    ///
    /// ```
    /// use sealwax::{Client, crypto::RustCrypto};
    ///
    /// let client = Client::builder_with_provider(RustCrypto).build();
    /// # let _ = client;
    /// ```
    #[must_use]
    pub fn builder_with_provider(provider: impl CryptoProvider + 'static) -> ClientBuilder {
        let provider = Arc::new(provider);
        ClientBuilder { client: Self { provider, policy: CommitmentPolicy::default(), limits: Limits::default() } }
    }

    /// Starts an encryption under a keyring.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
    /// # let _ = sealed;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn encrypt<'a>(&'a self, keyring: &'a dyn Keyring) -> Encrypt<'a> {
        Encrypt::new(self, Source::Keyring(DefaultMaterialsManager::new(keyring)))
    }

    /// Starts an encryption with materials from a manager. [`MaterialsManager`] has an example.
    pub fn encrypt_with<'a>(&'a self, manager: &'a dyn MaterialsManager) -> Encrypt<'a> {
        Encrypt::new(self, Source::Manager(manager))
    }

    /// Starts a decryption with a keyring.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
    /// let opened = client.decrypt(&keyring).bytes(&message).wait()?;
    /// # assert_eq!(opened.plaintext, b"text");
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn decrypt<'a>(&'a self, keyring: &'a dyn Keyring) -> Decrypt<'a> {
        Decrypt::new(self, Source::Keyring(DefaultMaterialsManager::new(keyring)))
    }

    /// Starts a decryption with materials from a manager. [`MaterialsManager`] has an example.
    pub fn decrypt_with<'a>(&'a self, manager: &'a dyn MaterialsManager) -> Decrypt<'a> {
        Decrypt::new(self, Source::Manager(manager))
    }

    /// A decoder for headers within the limits of this client.
    ///
    /// ```
    /// let decoder = sealwax::Client::builder().max_encrypted_data_keys(2).build().header_decoder();
    /// # let _ = decoder;
    /// ```
    #[must_use]
    pub fn header_decoder(&self) -> HeaderDecoder {
        HeaderDecoder::with_limits(self.limits)
    }
}

/// Configures a [`Client`].
///
/// The limits keep a hostile message from making a client work or hold more than it should; what the client writes keeps
/// within them too, so that it can read it. They are generous, and an error names the one that was met.
///
/// | limit | default |
/// |---|---|
/// | [`max_encrypted_data_keys`](Self::max_encrypted_data_keys) | 64 |
/// | [`max_header_length`](Self::max_header_length) | 1 MiB |
/// | [`max_frame_length`](Self::max_frame_length) | 64 MiB |
///
/// ```
/// use sealwax::{Client, CommitmentPolicy};
///
/// let client = Client::builder()
///     .commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
///     .max_encrypted_data_keys(3)
///     .build();
/// # let _ = client;
/// ```
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    client: Client,
}

impl ClientBuilder {
    /// Which suites are written and read, by whether they commit to their key.
    ///
    /// ```
    /// # use sealwax::{Client, CommitmentPolicy};
    /// let old_readers = Client::builder().commitment_policy(CommitmentPolicy::ForbidEncryptAllowDecrypt).build();
    /// # let _ = old_readers;
    /// ```
    #[must_use]
    pub fn commitment_policy(mut self, policy: CommitmentPolicy) -> Self {
        self.client.policy = policy;
        self
    }

    /// How many encrypted data keys a message may have, written or read. 65,535 is no limit: the format has no more.
    ///
    /// ```
    /// let client = sealwax::Client::builder().max_encrypted_data_keys(65_535).build();
    /// # let _ = client;
    /// ```
    #[must_use]
    pub fn max_encrypted_data_keys(mut self, limit: u16) -> Self {
        self.client.limits.encrypted_data_keys = limit.into();
        self
    }

    /// How many bytes the header of a message may have.
    ///
    /// ```
    /// let client = sealwax::Client::builder().max_header_length(16 * 1024).build();
    /// # let _ = client;
    /// ```
    #[must_use]
    pub fn max_header_length(mut self, limit: usize) -> Self {
        self.client.limits.header_length = limit;
        self
    }

    /// How many bytes a frame, or an unframed body, may have. A whole frame is held in memory
    /// before its tag can be checked.
    ///
    /// ```
    /// let client = sealwax::Client::builder().max_frame_length(1 << 20).build();
    /// # let _ = client;
    /// ```
    #[must_use]
    pub fn max_frame_length(mut self, limit: u32) -> Self {
        self.client.limits.frame_length = limit;
        self
    }

    /// The client.
    ///
    /// ```
    /// let client = sealwax::Client::builder().build();
    /// # let _ = client;
    /// ```
    #[must_use]
    pub fn build(self) -> Client {
        self.client
    }
}

/// Where materials come from.
enum Source<'a> {
    Keyring(DefaultMaterialsManager<&'a dyn Keyring>),
    Manager(&'a dyn MaterialsManager),
}

impl Source<'_> {
    fn manager(&self) -> &dyn MaterialsManager {
        match self {
            Self::Keyring(manager) => manager,
            Self::Manager(manager) => *manager,
        }
    }
}

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
    context: EncryptionContext,
    suite: Option<AlgorithmSuite>,
    frame_length: u32,
    plaintext_length_bound: Option<u64>,
    #[cfg(feature = "fs")]
    overwrite: Overwrite,
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
}

impl<'a> Encrypt<'a> {
    fn new(client: &'a Client, source: Source<'a>) -> Self {
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

    /// The algorithm suite; otherwise the default of the commitment policy.
    pub fn suite(mut self, suite: AlgorithmSuite) -> Self {
        self.suite = Some(suite);
        self
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
        let Client { provider, policy, limits } = self.client;
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
        self.context.check_writable()?;
        let mut request = EncryptionRequest::new(&**provider, policy, &self.context);
        request.suite = self.suite;
        request.max_plaintext_length = length.or(self.plaintext_length_bound);
        let materials = self.source.manager().encryption_materials(request).await?;
        start(&StartParameters { provider: &**provider, policy, limits: *limits, frame_length }, materials)
    }

    async fn start_machine(&self) -> Result<Encryptor> {
        Ok(Encryptor::new(self.start(None).await?, self.plaintext_length_bound))
    }

    /// Encrypts a plaintext that is there as a whole.
    ///
    /// # Errors
    /// [`Error::Context`], [`Error::Commitment`] or [`Error::Configuration`] for what was asked; what the keyring
    /// answers.
    pub fn bytes(self, plaintext: &'a [u8]) -> Operation<impl Future<Output = Result<Encrypted>> + 'a> {
        Operation::new(async move {
            let started = self.start(Some(plaintext.len() as u64)).await?;
            let (header, message) = seal_all(started, plaintext)?;
            Ok(Encrypted { message, header })
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

    /// Encrypts a source into a sink, and gives the header of the message.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::Io`]. What the sink has got by then is not a whole message.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// let mut message = Vec::new();
    /// Client::new().encrypt(&keyring).copy(&b"text"[..], &mut message).wait()?;
    /// # assert!(message.len() > 4);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn copy<R: io::Read + 'a, W: io::Write + 'a>(
        self,
        source: R,
        sink: W,
    ) -> Operation<impl Future<Output = Result<Header>> + 'a> {
        Operation::new(async move {
            let machine = self.start_machine().await?;
            let header = machine.header().clone();
            copy_encrypting(source, sink, machine)?;
            Ok(header)
        })
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
    /// Client::new().encrypt(&keyring).file(&plain, &sealed).wait()?;
    /// Client::new().decrypt(&keyring).overwrite().file(&sealed, &plain).wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "fs")]
    pub fn file(self, source: &'a Path, target: &'a Path) -> Operation<impl Future<Output = Result<Header>> + 'a> {
        Operation::new(async move {
            let source = File::open(source)?;
            let mut target = PendingFile::create(target, self.overwrite)?;
            let machine = self.start_machine().await?;
            let header = machine.header().clone();
            copy_encrypting(source, &mut target, machine)?;
            target.commit()?;
            Ok(header)
        })
    }

    /// The machine itself, for those who move the bytes.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn machine(self) -> Operation<impl Future<Output = Result<Encryptor>> + 'a> {
        Operation::new(async move { self.start_machine().await })
    }
}

/// A decryption being set up: options first, then what to decrypt.
///
/// The plaintext of a signed message is released only once its signature is verified, by every method but those whose
/// name says `unverified`.
///
/// | method | unsigned message | signed message |
/// |---|---|---|
/// | [`bytes`](Self::bytes), `file` (feature `fs`) | at the end | at the end |
/// | [`copy`](Self::copy) | frame by frame | at the end, in a second pass over a spool |
/// | [`reader`](Self::reader), [`writer`](Self::writer), [`machine`](Self::machine) | frame by frame | refused |
/// | [`reader_unverified`](Self::reader_unverified) and so on | frame by frame | frame by frame, the last at the end |
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
    context: EncryptionContext,
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
/// let opened = client.decrypt(&keyring).copy(&message[..], std::io::sink()).wait()?;
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
enum Release {
    Verified,
    Unverified,
}

impl<'a> Decrypt<'a> {
    fn new(client: &'a Client, source: Source<'a>) -> Self {
        Self {
            client,
            source,
            context: EncryptionContext::new(),
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

    /// Lets [`file`](Self::file) replace an existing target.
    #[cfg(feature = "fs")]
    pub fn overwrite(mut self) -> Self {
        self.overwrite = Overwrite::Replace;
        self
    }

    /// Gets the materials for a header and verifies it with them.
    async fn verify(&self, received: ReceivedHeader, release: Release) -> Result<VerifiedHeader> {
        let Client { provider, policy, limits } = self.client;
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
        Ok(Decryptor::new(self.verify(received, release).await?))
    }

    async fn start_reader<R: io::Read>(&self, mut source: R, release: Release) -> Result<DecryptingReader<R>> {
        let (received, ahead) = read_header(&mut source, self.client.header_decoder())?;
        DecryptingReader::new(source, self.start_machine(received, release).await?, &ahead)
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
            let VerifiedHeader { header, opened_by, body: opener } = verified;
            let mut plaintext: Zeroizing<Vec<u8>> = open_all(opener, body)?;
            Ok(Decrypted { plaintext: std::mem::take(&mut *plaintext), header, opened_by })
        })
    }

    /// Decrypts what is read from a source, as it is read from the [`DecryptingReader`] this gives. Reads the header first.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), [`Error::Io`], and [`Error::SignedStream`] for a signed message.
    pub fn reader<R: io::Read + 'a>(
        self,
        source: R,
    ) -> Operation<impl Future<Output = Result<DecryptingReader<R>>> + 'a> {
        Operation::new(async move { self.start_reader(source, Release::Verified).await })
    }

    /// As [`reader`](Self::reader), but releases the frames of a signed message **before its signature is verified**,
    /// all but the final one. Whoever reads them must undo what was done with them if the end is an error.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::Io`].
    ///
    /// ```
    /// use std::io::Read;
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
    /// let mut text = String::new();
    /// client.decrypt(&keyring).reader_unverified(&message[..]).wait()?.read_to_string(&mut text)?;
    /// assert_eq!(text, "text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader_unverified<R: io::Read + 'a>(
        self,
        source: R,
    ) -> Operation<impl Future<Output = Result<DecryptingReader<R>>> + 'a> {
        Operation::new(async move { self.start_reader(source, Release::Unverified).await })
    }

    /// A writer that decrypts the message written to it into a sink. It waits for the keyring on the thread that writes
    /// the end of the header, as [`Operation::wait`] does.
    pub fn writer<W: io::Write>(self, sink: W) -> DecryptingWriter<'a, W> {
        self.start_writer(sink, Release::Verified)
    }

    /// As [`writer`](Self::writer), but releases the frames of a signed message **before its signature is verified**,
    /// all but the final one.
    ///
    /// ```
    /// use std::io::Write;
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
    /// let mut writer = client.decrypt(&keyring).writer_unverified(Vec::new());
    /// writer.write_all(&message)?;
    /// assert_eq!(writer.finish()?.sink, b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn writer_unverified<W: io::Write>(self, sink: W) -> DecryptingWriter<'a, W> {
        self.start_writer(sink, Release::Unverified)
    }

    fn start_writer<W: io::Write>(self, sink: W, release: Release) -> DecryptingWriter<'a, W> {
        let decoder = self.client.header_decoder();
        let opener = move |received| Operation::new(self.start_machine(received, release)).wait();
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
    /// client.decrypt(&keyring).copy(&message[..], &mut plaintext).wait()?;
    /// assert_eq!(plaintext, b"text");
    /// # }
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn copy<R: io::Read + 'a, W: io::Write + 'a>(
        self,
        mut source: R,
        sink: W,
    ) -> Operation<impl Future<Output = Result<Opened>> + 'a> {
        Operation::new(async move {
            let (received, ahead) = read_header(&mut source, self.client.header_decoder())?;
            // Without temporary files there is nowhere to keep a signed message until it is verified.
            let release = if cfg!(feature = "fs") { Release::Unverified } else { Release::Verified };
            let machine = self.start_machine(received, release).await?;
            #[cfg(feature = "fs")]
            if machine.header().suite().is_signed() {
                return Ok(copy_verified(&ahead, source, sink, machine)?.into());
            }
            Ok(copy_decrypting(&ahead, source, sink, machine)?.into())
        })
    }

    /// As [`copy`](Self::copy), but in one pass: releases the frames of a signed message **before its signature is
    /// verified**, all but the final one.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::Io`].
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
    /// let mut plaintext = Vec::new();
    /// client.decrypt(&keyring).copy_unverified(&message[..], &mut plaintext).wait()?;
    /// assert_eq!(plaintext, b"text");
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn copy_unverified<R: io::Read + 'a, W: io::Write + 'a>(
        self,
        mut source: R,
        sink: W,
    ) -> Operation<impl Future<Output = Result<Opened>> + 'a> {
        Operation::new(async move {
            let (received, ahead) = read_header(&mut source, self.client.header_decoder())?;
            let machine = self.start_machine(received, Release::Unverified).await?;
            Ok(copy_decrypting(&ahead, source, sink, machine)?.into())
        })
    }

    /// Decrypts a file into another, which appears only once the whole message is verified; an existing one is kept unless
    /// [`overwrite`](Self::overwrite) is asked for. [`Encrypt::file`] has an example.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::Io`]. The target is then as it was.
    #[cfg(feature = "fs")]
    pub fn file(self, source: &'a Path, target: &'a Path) -> Operation<impl Future<Output = Result<Opened>> + 'a> {
        Operation::new(async move {
            let source = File::open(source)?;
            let mut target = PendingFile::create(target, self.overwrite)?;
            let opened = self.copy_unverified(source, &mut target).await?;
            target.commit()?;
            Ok(opened)
        })
    }

    /// The machine itself, for those who move the bytes: for the header that a [`HeaderDecoder`] has read.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`Error::SignedStream`] for a signed message.
    pub fn machine(self, header: ReceivedHeader) -> Operation<impl Future<Output = Result<Decryptor>> + 'a> {
        Operation::new(async move { self.start_machine(header, Release::Verified).await })
    }

    /// As [`machine`](Self::machine), but one that releases the frames of a signed message **before its signature is
    /// verified**, all but the final one.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn machine_unverified(self, header: ReceivedHeader) -> Operation<impl Future<Output = Result<Decryptor>> + 'a> {
        Operation::new(async move { self.start_machine(header, Release::Unverified).await })
    }
}
