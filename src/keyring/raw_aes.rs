//! The raw AES keyring.

use std::sync::Arc;

use super::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped};
use crate::{
    crypto::{IV_LENGTH, Iv, TAG_LENGTH},
    error::{Error, Result, UnwrapReason},
    format::EncryptedDataKey,
    secret::SecretBytes,
};

/// The part of the provider information after the key name: the tag length in **bits** and the IV
/// length in **bytes**.
const PARAMETERS: [u8; 8] = {
    let ([t0, t1, t2, t3], [i0, i1, i2, i3]) =
        ((TAG_LENGTH as u32 * 8).to_be_bytes(), (IV_LENGTH as u32).to_be_bytes());
    [t0, t1, t2, t3, i0, i1, i2, i3]
};

/// A keyring that wraps data keys with AES-GCM under a 128-, 192- or 256-bit key held in memory.
///
/// The namespace and name identify the key and must be the same for encryption and decryption; the
/// namespace is the key provider id in the message. The wrapping key must come from a
/// cryptographically secure source. Use one key for at most 2^32 messages, because each takes a
/// random 96-bit IV.
///
/// Specification: framework/raw-aes-keyring.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "2026-11", vec![7; 32])?;
/// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
/// assert_eq!(sealed.header.encrypted_data_keys()[0].provider_id(), "example");
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct RawAesKeyring {
    namespace: String,
    name: String,
    wrapping_key: SecretBytes,
    label: Arc<str>,
}

impl RawAesKeyring {
    /// Creates a keyring with a wrapping key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the key has another length, if the namespace or name is empty or
    /// too long, or if the namespace starts with `aws-kms`, which is reserved for AWS KMS.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        wrapping_key: impl Into<SecretBytes>,
    ) -> Result<Self> {
        let (namespace, name, wrapping_key) = (namespace.into(), name.into(), wrapping_key.into());
        check_names(&namespace, &name)?;
        if !matches!(wrapping_key.len(), 16 | 24 | 32) {
            let length = wrapping_key.len();
            return Err(Error::Configuration(format!(
                "an AES wrapping key must have 16, 24 or 32 bytes, not {length}"
            )));
        }
        let label = format!("raw-aes://{namespace}/{name}").into();
        Ok(Self { namespace, name, wrapping_key, label })
    }

    fn wrap(&self, request: WrapRequest<'_>, data_key: &[u8]) -> Result<EncryptedDataKey> {
        let mut iv = Iv::default();
        request.provider.random(&mut iv)?;
        let mut ciphertext = Vec::with_capacity(data_key.len() + TAG_LENGTH);
        ciphertext.resize(data_key.len(), 0);
        let aad = request.context.serialize()?;
        let tag = request.provider.aes_gcm(self.wrapping_key.as_bytes())?.seal(&iv, &aad, data_key, &mut ciphertext)?;
        ciphertext.extend_from_slice(&tag);
        let info = [self.name.as_bytes(), &PARAMETERS, &iv].concat();
        Ok(EncryptedDataKey::new(self.namespace.as_str(), info, ciphertext))
    }

    /// Returns the IV of an encrypted data key with exactly our namespace, name and parameters.
    fn iv_if_ours<'a>(&self, key: &'a EncryptedDataKey) -> Option<&'a Iv> {
        if key.provider_id() != self.namespace || key.ciphertext().len() < TAG_LENGTH {
            return None;
        }
        key.provider_info().strip_prefix(self.name.as_bytes())?.strip_prefix(&PARAMETERS)?.try_into().ok()
    }

    fn unwrap(&self, request: UnwrapRequest<'_>, aad: &[u8], key: &EncryptedDataKey) -> Result<SecretBytes> {
        let iv = self.iv_if_ours(key).ok_or(Error::Integrity)?;
        let (ciphertext, tag) = key.ciphertext().split_last_chunk().ok_or(Error::Integrity)?;
        let mut data_key = SecretBytes::zeroed(ciphertext.len());
        let wrapping_key = request.provider.aes_gcm(self.wrapping_key.as_bytes())?;
        wrapping_key.open(iv, aad, ciphertext, tag, data_key.as_mut())?;
        Ok(data_key)
    }
}

/// Checks the namespace and key name of a raw keyring.
pub(super) fn check_names(namespace: &str, name: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::Configuration(why.to_owned()));
    if namespace.is_empty() || name.is_empty() {
        return refuse("the namespace and key name of a raw keyring must not be empty");
    }
    if namespace.starts_with("aws-kms") {
        return refuse("the namespace of a raw keyring must not start with aws-kms");
    }
    if namespace.len() > usize::from(u16::MAX) || name.len() > usize::from(u16::MAX) - 20 {
        return refuse("the namespace or key name of a raw keyring is too long for a message");
    }
    Ok(())
}

impl Keyring for RawAesKeyring {
    fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move {
            let key = request.data_key_or_generate()?;
            let encrypted = self.wrap(request, key.as_bytes())?;
            Ok(key.wrapped_as(encrypted))
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let aad = request.context.serialize()?;
            let mut attempts = request.attempts(self.label());
            for (index, key) in request.candidates(|key| self.iv_if_ours(key).is_some()) {
                let outcome = self.unwrap(request, &aad, key).map_err(|error| match error {
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
