//! The raw AES keyring.

use std::sync::Arc;

use super::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped};
use crate::{
    crypto::{IV_LENGTH, Iv, TAG_LENGTH},
    error::{Error, Result, UnwrapReason},
    format::EncryptedDataKey,
    secret::SecretBytes,
};

/// What follows the key name in the provider information: the tag length in **bits**, the IV length in **bytes**.
const PARAMETERS: [u8; 8] = {
    let ([t0, t1, t2, t3], [i0, i1, i2, i3]) =
        ((TAG_LENGTH as u32 * 8).to_be_bytes(), (IV_LENGTH as u32).to_be_bytes());
    [t0, t1, t2, t3, i0, i1, i2, i3]
};

/// Wraps data keys with AES-GCM under a key that is held in memory: 128, 192 or 256 bits.
///
/// Namespace and name say which key it was, and must be the same on both sides; the namespace is the key provider id
/// of the message. The wrapping key must come from a cryptographically secure source, and one key serves for at most 2^32
/// messages, since each takes a random IV of 96 bits.
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
    /// A keyring over a wrapping key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a key of another length, an empty or over-long namespace or name, or a namespace that
    /// starts with `aws-kms`, which belongs to AWS KMS.
    ///
    /// ```
    /// use sealwax::keyring::RawAesKeyring;
    ///
    /// assert!(RawAesKeyring::new("example", "key-1", vec![7; 16]).is_ok());
    /// assert!(RawAesKeyring::new("example", "key-1", vec![7; 17]).is_err());
    /// assert!(RawAesKeyring::new("aws-kms", "key-1", vec![7; 16]).is_err());
    /// ```
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
                "an AES wrapping key has 16, 24 or 32 bytes; this one has {length}"
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

    /// The IV of an encrypted data key that bears our namespace, our name and our parameters, and nothing else.
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

/// What every raw keyring asks of its names.
pub(super) fn check_names(namespace: &str, name: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::Configuration(why.to_owned()));
    if namespace.is_empty() || name.is_empty() {
        return refuse("a raw keyring needs a namespace and a key name that are not empty");
    }
    if namespace.starts_with("aws-kms") {
        return refuse("the namespace of a raw keyring may not start with aws-kms");
    }
    if namespace.len() > usize::from(u16::MAX) || name.len() > usize::from(u16::MAX) - 20 {
        return refuse("the namespace or key name of a raw keyring is longer than a message can carry");
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
