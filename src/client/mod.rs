//! The client, which holds the configuration, and the operations that it starts.

use std::sync::Arc;

use crate::{
    crypto::CryptoProvider,
    format::HeaderDecoder,
    keyring::Keyring,
    limits::Limits,
    materials::{DefaultMaterialsManager, MaterialsManager},
    message::Plan,
    suite::CommitmentPolicy,
};

mod decrypt;
mod encrypt;
mod reencrypt;

pub use decrypt::Decrypt;
pub use encrypt::Encrypt;
pub use reencrypt::{Reencrypt, Reencrypted};

/// A client, which encrypts and decrypts messages under one configuration.
///
/// A client is cheap to clone and can be used from any number of threads at once.
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
    plan: Plan,
}

#[cfg(feature = "rustcrypto")]
impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Creates a client with the defaults: the RustCrypto provider, the policy that requires
    /// commitment in both directions, and [the default limits](ClientBuilder).
    #[cfg(feature = "rustcrypto")]
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder of clients that use the RustCrypto provider.
    #[cfg(feature = "rustcrypto")]
    #[must_use]
    pub fn builder() -> ClientBuilder {
        Self::builder_with_provider(crate::crypto::RustCrypto)
    }

    /// Returns a builder of clients that use the given crypto provider.
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
        let (policy, limits, plan) = (CommitmentPolicy::default(), Limits::default(), Plan::default());
        ClientBuilder { client: Self { provider, policy, limits, plan } }
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

    /// Starts an encryption with materials from a [`MaterialsManager`].
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

    /// Starts a decryption with materials from a [`MaterialsManager`].
    pub fn decrypt_with<'a>(&'a self, manager: &'a dyn MaterialsManager) -> Decrypt<'a> {
        Decrypt::new(self, Source::Manager(manager))
    }

    /// Returns a decoder of message headers that applies the limits of this client.
    #[must_use]
    pub fn header_decoder(&self) -> HeaderDecoder {
        HeaderDecoder::with_limits(self.limits)
    }
}

/// A builder of [`Client`]s.
///
/// The limits bound the work and the memory that a hostile message can cost a client. The messages
/// that a client writes keep within the same limits, so that it can read them. The defaults are
/// generous, and an error names the limit that was exceeded.
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
    /// Sets the commitment policy: which algorithm suites may be written and read, depending on
    /// whether they commit to the data key.
    #[must_use]
    pub fn commitment_policy(mut self, policy: CommitmentPolicy) -> Self {
        self.client.policy = policy;
        self
    }

    /// Sets the maximum number of encrypted data keys of a message, written or read. A value of
    /// 65,535 disables the limit, because the format allows no more.
    #[must_use]
    pub fn max_encrypted_data_keys(mut self, limit: u16) -> Self {
        self.client.limits.encrypted_data_keys = limit.into();
        self
    }

    /// Sets the maximum length of a message header in bytes.
    #[must_use]
    pub fn max_header_length(mut self, limit: usize) -> Self {
        self.client.limits.header_length = limit;
        self
    }

    /// Sets the maximum length in bytes of a frame, or of an unframed body. A whole frame is held
    /// in memory before its tag can be checked.
    #[must_use]
    pub fn max_frame_length(mut self, limit: u32) -> Self {
        self.client.limits.frame_length = limit;
        self
    }

    /// Sets the number of threads that encrypt or decrypt a long message, including the calling
    /// thread. The default, 1, starts no threads; 0 means the same.
    ///
    /// The number of threads changes neither the message nor the errors, except that a panic of the
    /// provider on another thread becomes an [`Error::Provider`](crate::Error::Provider). Messages
    /// shorter than 256 KiB are processed on the calling thread, and so are unframed bodies and, in
    /// streams, frames longer than 4 MiB. The threads belong to one message: they start at its
    /// first long stretch and end with its reader, writer or machine. The digest of a signed
    /// message is computed beside the other work, but on one thread at a time, so more than two
    /// threads are of little use to it.
    ///
    /// A reader or writer with several threads holds some batches of frames before it returns or
    /// writes any output: 1 MiB with two threads and short frames, at most 16 MiB.
    /// [`flush`](std::io::Write::flush) writes all complete frames. Use 1 thread where the other
    /// side waits for single frames, as in an interactive protocol.
    ///
    /// The asynchronous adapters never block a thread. If enough batches are in flight, or at a
    /// flush or the end, a poll processes one batch itself; if other threads are processing all of
    /// them, the task is woken when they are done.
    ///
    /// ```
    /// use sealwax::{Client, keyring::RawAesKeyring};
    ///
    /// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// let client = Client::builder().threads(std::thread::available_parallelism().map_or(1, usize::from)).build();
    /// let message = client.encrypt(&keyring).bytes(&[7; 1 << 20]).wait()?.message;
    /// assert_eq!(Client::new().decrypt(&keyring).bytes(&message).wait()?.plaintext, [7; 1 << 20]);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.client.plan = Plan::new(threads);
        self
    }

    /// Builds the client.
    #[must_use]
    pub fn build(self) -> Client {
        self.client
    }
}

/// The source of the materials.
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
