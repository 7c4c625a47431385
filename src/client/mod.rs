//! The client: what is configured once, and what can be done with it.

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

pub use decrypt::{Decrypt, Decrypted, Opened};
pub use encrypt::{Encrypt, Encrypted, Sealed};
pub use reencrypt::{Reencrypt, Reencrypted};

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
    plan: Plan,
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

    /// On how many threads a long message is encrypted and decrypted, the calling one included. 1, the default, starts none; 0 is as 1.
    ///
    /// The message is the same, and so are the errors; but a provider's panic in another thread becomes an [`Error::Provider`](crate::Error::Provider).
    /// Messages of less than 256 KiB stay on the calling thread, and so do unframed bodies and, in streams, frames of more than 4 MiB. The
    /// threads belong to one message: they start with its first long stretch and end with its reader, writer or machine. The digest of a
    /// signed message runs beside the other work, but on one thread at a time, so that more than two threads gain it little.
    ///
    /// A reader or writer with several threads holds some batches of frames before it gives anything out: 1 MiB with two threads and
    /// short frames, 16 MiB at the most. [`flush`](std::io::Write::flush) gives out what is whole. Where single frames are waited for, as in a
    /// conversation, leave it at 1.
    ///
    /// Asynchronous shells never block a thread: where enough batches are in flight, at a flush and at the end, a poll
    /// works on one batch itself, and where other threads have them all, the task is woken when they are done.
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
