//! The raw ECDH keyring.

use std::{fmt::Write, sync::Arc};

use super::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped};
use crate::{
    error::{Error, Result, UnwrapReason},
    format::EncryptedDataKey,
    secret::SecretBytes,
};

mod keys;
mod wrapping;

pub use keys::EcdhCurve;
use keys::KeyPair;
use wrapping::RAW_ECDH;
pub use wrapping::{EcdhAgreement, EcdhParties, EcdhWrappedKey};

/// The recipient's public key, in error texts.
const RECIPIENT: &str = "the recipient's public key";

/// A keyring that wraps data keys for the owner of an elliptic-curve key pair (Diffie-Hellman).
///
/// Both sides derive the wrapping key, each from its own private key and the other's public key,
/// anew for each message.
///
/// | constructor | keys | encrypts | decrypts |
/// |---|---|---|---|
/// | [`static_keys`](Self::static_keys) | its own private key, another's public key | for the other | messages between the two |
/// | [`ephemeral`](Self::ephemeral) | the recipient's public key | for the recipient, with a new key pair each time | never |
/// | [`discovery`](Self::discovery) | the recipient's private key | never | any message for the recipient |
///
/// Anyone with a public key can write to its owner. Only between two static keys does a message
/// that opens prove that one of the two owners wrote it, and not which one.
///
/// Private keys are PKCS#8 in PEM (`-----BEGIN PRIVATE KEY-----`), without a password; public keys
/// are SubjectPublicKeyInfo in DER or PEM (`-----BEGIN PUBLIC KEY-----`). The keyring overwrites
/// its own copies of a private key; clearing the PEM text is up to the caller. The key derivation
/// and the curves come from RustCrypto, whichever provider the client has; random bytes and AES-GCM
/// come from the provider.
///
/// Specification: framework/raw-ecdh-keyring and framework/key-agreement-schemas.
///
/// ```
/// use sealwax::{Client, keyring::{EcdhCurve, RawEcdhKeyring}};
///
/// let public_key = "\
/// -----BEGIN PUBLIC KEY-----
/// MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEunbv142d6k911yo8XzpXmIWNE59z
/// IzuT+Q5ZYAGhuw3nFHoqOhsqAfhda32skwITeGO0y1BR9WP8T6bYsqhCJQ==
/// -----END PUBLIC KEY-----
/// ";
/// let writing = RawEcdhKeyring::ephemeral(EcdhCurve::P256, public_key)?;
/// let sealed = Client::new().encrypt(&writing).bytes(b"text").wait()?;
///
/// let private_key = "\
/// -----BEGIN PRIVATE KEY-----
/// MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMdHcFFMmTQtVdMUh
/// /thBDASzzLj1HzYxIbFuGWHCxu+hRANCAAS6du/XjZ3qT3XXKjxfOleYhY0Tn3Mj
/// O5P5DllgAaG7DecUeio6GyoB+F1rfayTAhN4Y7TLUFH1Y/xPptiyqEIl
/// -----END PRIVATE KEY-----
/// ";
/// let reading = RawEcdhKeyring::discovery(EcdhCurve::P256, private_key)?;
/// assert_eq!(Client::new().decrypt(&reading).bytes(&sealed.message).wait()?.plaintext, b"text");
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct RawEcdhKeyring {
    curve: EcdhCurve,
    schema: Schema,
    label: Arc<str>,
}

/// The keys that the keyring has; public keys are compressed.
enum Schema {
    Static { own: KeyPair, recipient: Vec<u8> },
    Ephemeral { recipient: Vec<u8> },
    Discovery { own: KeyPair },
}

impl RawEcdhKeyring {
    /// Creates a keyring between two static keys. It encrypts for the recipient and decrypts
    /// messages that either of the two wrote for the other.
    ///
    /// The specification calls this RawPrivateKeyToStaticPublicKey.
    ///
    /// # Errors
    /// [`Error::Configuration`] if a key has another form or is on another curve, or if the public
    /// key is not a point on the curve.
    ///
    /// ```
    /// use sealwax::{Client, keyring::{EcdhCurve, RawEcdhKeyring}};
    ///
    /// # let alice_private = "-----BEGIN PRIVATE KEY-----
    /// # MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpt5faEn4huw6jRiH
    /// # vJsD1LyNG9lBqg+SAAyz9Seag2ShRANCAASng0QdXcjorK1FEg61qYGQyoimVdx0
    /// # jEy340Q5k7t/Fs8Kp6evprGHRQAU3I1mt+K5uK0UYZVbMrqIDkXOdbAp
    /// # -----END PRIVATE KEY-----
    /// # ";
    /// # let alice_public = "-----BEGIN PUBLIC KEY-----
    /// # MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEp4NEHV3I6KytRRIOtamBkMqIplXc
    /// # dIxMt+NEOZO7fxbPCqenr6axh0UAFNyNZrfiubitFGGVWzK6iA5FznWwKQ==
    /// # -----END PUBLIC KEY-----
    /// # ";
    /// # let bob_private = "-----BEGIN PRIVATE KEY-----
    /// # MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMdHcFFMmTQtVdMUh
    /// # /thBDASzzLj1HzYxIbFuGWHCxu+hRANCAAS6du/XjZ3qT3XXKjxfOleYhY0Tn3Mj
    /// # O5P5DllgAaG7DecUeio6GyoB+F1rfayTAhN4Y7TLUFH1Y/xPptiyqEIl
    /// # -----END PRIVATE KEY-----
    /// # ";
    /// # let bob_public = "-----BEGIN PUBLIC KEY-----
    /// # MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEunbv142d6k911yo8XzpXmIWNE59z
    /// # IzuT+Q5ZYAGhuw3nFHoqOhsqAfhda32skwITeGO0y1BR9WP8T6bYsqhCJQ==
    /// # -----END PUBLIC KEY-----
    /// # ";
    /// let alice = RawEcdhKeyring::static_keys(EcdhCurve::P256, alice_private, bob_public)?;
    /// let sealed = Client::new().encrypt(&alice).bytes(b"text").wait()?;
    ///
    /// let bob = RawEcdhKeyring::static_keys(EcdhCurve::P256, bob_private, alice_public)?;
    /// assert_eq!(Client::new().decrypt(&bob).bytes(&sealed.message).wait()?.plaintext, b"text");
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn static_keys(
        curve: EcdhCurve,
        own_private_key: &(impl AsRef<[u8]> + ?Sized),
        recipient_public_key: &(impl AsRef<[u8]> + ?Sized),
    ) -> Result<Self> {
        let own = KeyPair::from_pem(curve, own_private_key.as_ref())?;
        let recipient = curve.read_public_key(RECIPIENT, recipient_public_key.as_ref())?;
        Ok(Self::new(curve, Schema::Static { own, recipient }))
    }

    /// Creates a keyring that encrypts for a recipient, with a new key pair for each message. It
    /// cannot decrypt.
    ///
    /// The specification calls this EphemeralPrivateKeyToStaticPublicKey.
    ///
    /// # Errors
    /// [`Error::Configuration`], as for [`static_keys`](Self::static_keys).
    pub fn ephemeral(curve: EcdhCurve, recipient_public_key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Self> {
        let recipient = curve.read_public_key(RECIPIENT, recipient_public_key.as_ref())?;
        Ok(Self::new(curve, Schema::Ephemeral { recipient }))
    }

    /// Creates a keyring that decrypts any message for the recipient. It cannot encrypt.
    ///
    /// The specification calls this PublicKeyDiscovery.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the private key has another form or is on another curve.
    pub fn discovery(curve: EcdhCurve, own_private_key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Self> {
        let own = KeyPair::from_pem(curve, own_private_key.as_ref())?;
        Ok(Self::new(curve, Schema::Discovery { own }))
    }

    fn new(curve: EcdhCurve, schema: Schema) -> Self {
        // The start of the public key identifies the key, and can be found in the provider
        // information.
        let mut label = format!("raw-ecdh://{}/", curve.spec());
        for byte in &schema.recipient()[..9] {
            let _ = write!(label, "{byte:02x}");
        }
        Self { curve, schema, label: label.into() }
    }

    /// Returns the curve of the keys.
    #[must_use]
    pub fn curve(&self) -> EcdhCurve {
        self.curve
    }

    /// Returns the recipient's compressed public key, as stored in messages: it is the first of the
    /// two keys in the provider information of an encrypted data key, and starts at the sixth byte.
    /// The label contains its start.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::{EcdhCurve, RawEcdhKeyring}};
    /// # let public_key = "-----BEGIN PUBLIC KEY-----
    /// # MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEunbv142d6k911yo8XzpXmIWNE59z
    /// # IzuT+Q5ZYAGhuw3nFHoqOhsqAfhda32skwITeGO0y1BR9WP8T6bYsqhCJQ==
    /// # -----END PUBLIC KEY-----
    /// # ";
    /// let keyring = RawEcdhKeyring::ephemeral(EcdhCurve::P256, public_key)?;
    /// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
    /// let info = sealed.header.encrypted_data_keys()[0].provider_info();
    /// assert_eq!(keyring.recipient_public_key(), &info[5..][..33]);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn recipient_public_key(&self) -> &[u8] {
        self.schema.recipient()
    }

    fn wrap(&self, request: WrapRequest<'_>) -> Result<Wrapped> {
        let ephemeral;
        let (own, recipient) = match &self.schema {
            Schema::Static { own, recipient } => (own, recipient),
            Schema::Ephemeral { recipient } => {
                ephemeral = KeyPair::generate(self.curve, request.provider)?;
                (&ephemeral, recipient)
            }
            Schema::Discovery { .. } => {
                return Err(Error::Configuration(format!(
                    "the keyring {} has only its own private key and cannot encrypt; create one with the recipient's \
                     public key (RawEcdhKeyring::static_keys or ephemeral)",
                    self.label
                )));
            }
        };
        let data_key = request.data_key_or_generate()?;
        let agreement = EcdhAgreement {
            curve: self.curve,
            parties: EcdhParties { sender: own.public_key(), recipient },
            shared_secret: own.agree(recipient)?,
            context: &request.context.serialize()?,
        };
        let encrypted = agreement.wrap(request.provider, RAW_ECDH, data_key.as_bytes())?;
        Ok(data_key.wrapped_as(encrypted))
    }

    /// Returns the parties of an encrypted data key if it is for this keyring.
    fn parties_if_ours<'a>(&self, key: &'a EncryptedDataKey) -> Option<EcdhParties<'a>> {
        let parties = EcdhParties::of(self.curve, key)?;
        let is_ours = match &self.schema {
            Schema::Static { own, recipient } => parties.are(own.public_key(), recipient),
            Schema::Discovery { own } => parties.recipient == own.public_key(),
            Schema::Ephemeral { .. } => false,
        };
        is_ours.then_some(parties)
    }

    fn unwrap(&self, request: UnwrapRequest<'_>, context: &[u8], key: &EncryptedDataKey) -> Result<SecretBytes> {
        let parties = self.parties_if_ours(key).ok_or(Error::Integrity)?;
        let wrapped = EcdhWrappedKey::parse(key.ciphertext())?;
        let shared_secret = match &self.schema {
            Schema::Static { own, recipient } => own.agree(recipient)?,
            Schema::Discovery { own } => own.agree(parties.sender)?,
            Schema::Ephemeral { .. } => return Err(Error::Integrity),
        };
        EcdhAgreement { curve: self.curve, parties, shared_secret, context }.unwrap(request.provider, wrapped)
    }
}

impl Schema {
    fn recipient(&self) -> &[u8] {
        match self {
            Self::Static { recipient, .. } | Self::Ephemeral { recipient } => recipient,
            Self::Discovery { own } => own.public_key(),
        }
    }
}

impl Keyring for RawEcdhKeyring {
    fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move { self.wrap(request) })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            if let Schema::Ephemeral { .. } = self.schema {
                return Err(Error::Configuration(format!(
                    "the keyring {} has only the recipient's public key and cannot decrypt; create one with the \
                     recipient's private key (RawEcdhKeyring::discovery or static_keys)",
                    self.label
                )));
            }
            let context = request.context.serialize()?;
            let mut attempts = request.attempts(self.label());
            for (index, key) in request.candidates(|key| self.parties_if_ours(key).is_some()) {
                let outcome = self.unwrap(request, &context, key).map_err(|error| match error {
                    Error::Integrity => UnwrapReason::NotAuthentic,
                    other => UnwrapReason::Failed(other.into()),
                });
                if let Some(unwrapped) = attempts.record(index, outcome) {
                    return Ok(unwrapped);
                }
            }
            Err(attempts.into_error())
        })
    }
}
