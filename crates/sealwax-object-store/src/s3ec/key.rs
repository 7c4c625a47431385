//! The keys that wrap the data keys of objects.

use std::sync::Arc;

use aes::cipher::{Array, BlockCipherDecrypt, KeyInit, consts::U16};
use aes_kw::AesKw;
#[cfg(feature = "s3ec-rsa")]
use sealwax::keyring::{RsaPadding, RsaPrivateKey};
use sealwax::{
    EncryptionContext, Error, SecretBytes,
    crypto::{CryptoProvider, IV_LENGTH, RustCrypto, TAG_LENGTH},
    keyring::{KmsApi, KmsDecrypt, KmsError, KmsErrorKind, KmsOperation},
};

use super::{
    S3EncryptionError, cbc,
    metadata::{Envelope, Wrapping},
};

/// The length of every data key in bytes.
const DATA_KEY: usize = 32;

/// The name in a context that binds the content algorithm, which the client itself sets.
const ALGORITHM_KEY: &str = "aws:x-amz-cek-alg";
/// The name in a legacy context that has the key id, which the client itself sets.
const KEY_ID_KEY: &str = "kms_cmk_id";

/// Returns the encryption context that the object at a path must have.
type ContextOf = dyn Fn(&str) -> EncryptionContext + Send + Sync;

/// The key that the data keys of objects are wrapped with.
///
/// ```
/// use sealwax_object_store::S3Key;
///
/// let key = S3Key::aes(vec![7; 32])?;
/// # let _ = key;
/// assert!(S3Key::aes(vec![7; 31]).is_err());
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct S3Key(Kind);

enum Kind {
    Kms {
        api: Arc<dyn KmsApi>,
        key_id: String,
        context: Box<ContextOf>,
    },
    Aes(SecretBytes),
    #[cfg(feature = "s3ec-rsa")]
    Rsa {
        oaep: RsaPrivateKey,
        pkcs1: RsaPrivateKey,
    },
}

impl S3Key {
    /// Creates a key in AWS KMS, or in any other key management service, for objects without an
    /// encryption context of their own.
    ///
    /// The key id is sent with each call, so the service uses no other key. If it is the ARN of a
    /// key, the answer must name the same one.
    pub fn kms(api: Arc<dyn KmsApi>, key_id: impl Into<String>) -> Self {
        Self::kms_with_context(api, key_id, |_| EncryptionContext::new())
    }

    /// Creates a key in a key management service. `context` returns the encryption context that the
    /// object at a path must have, without the pairs that the client itself adds. An object with
    /// another one is refused, and so is one of the legacy wrapping `kms`, which binds none.
    ///
    /// ```
    /// # fn example(api: std::sync::Arc<dyn sealwax::keyring::KmsApi>) {
    /// use sealwax_object_store::S3Key;
    ///
    /// let key = S3Key::kms_with_context(api, "alias/orders", |path| {
    ///     [("aws-s3-bucket", "orders"), ("aws-s3-key", path)].into()
    /// });
    /// # let _ = key;
    /// # }
    /// ```
    pub fn kms_with_context(
        api: Arc<dyn KmsApi>,
        key_id: impl Into<String>,
        context: impl Fn(&str) -> EncryptionContext + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Kms { api, key_id: key_id.into(), context: Box::new(context) })
    }

    /// Creates a raw AES key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the key has another length.
    pub fn aes(key: impl Into<SecretBytes>) -> Result<Self, Error> {
        let key = key.into();
        if ![16, 24, 32].contains(&key.len()) {
            return Err(Error::Configuration("an AES key has 16, 24 or 32 bytes".to_owned()));
        }
        Ok(Self(Kind::Aes(key)))
    }

    /// Creates an RSA key from its private key, as unencrypted PEM. (Feature `s3ec-rsa`.)
    ///
    /// Do not switch on [legacy wrapping](crate::S3EncryptionStoreBuilder::legacy_wrapping) with it
    /// for objects of untrusted writers: format 1 has the padding PKCS#1 v1.5. All failures have
    /// one error, but an attacker who can have chosen objects read and tells them apart by time may
    /// still recover the data keys of others (Bleichenbacher's attack).
    ///
    /// # Errors
    /// [`Error::Configuration`] with the reason.
    #[cfg(feature = "s3ec-rsa")]
    pub fn rsa(private_key_pem: impl AsRef<[u8]>) -> Result<Self, Error> {
        let read = |padding| RsaPrivateKey::read(private_key_pem.as_ref(), padding);
        Ok(Self(Kind::Rsa { oaep: read(RsaPadding::OaepSha1)?, pkcs1: read(RsaPadding::Pkcs1)? }))
    }

    /// Unwraps the data key of the object at a path.
    pub(super) async fn unwrap(&self, path: &str, envelope: &Envelope) -> Result<SecretBytes, S3EncryptionError> {
        let Envelope { wrapping, data_key, algorithm, .. } = envelope;
        let unwrapped = match (&self.0, wrapping) {
            (Kind::Kms { api, key_id, context }, Wrapping::Kms | Wrapping::KmsContext) => {
                check_context(&context(path), envelope)?;
                return ask(&**api, key_id, envelope).await;
            }
            (Kind::Aes(key), Wrapping::Unnamed) => by_length(key, Ecb(data_key)),
            (Kind::Aes(key), Wrapping::AesWrap) => by_length(key, Rfc3394(data_key)),
            (Kind::Aes(key), Wrapping::AesGcm) => open(key, data_key, algorithm.as_bytes()),
            #[cfg(feature = "s3ec-rsa")]
            (Kind::Rsa { pkcs1, .. }, Wrapping::Unnamed) => pkcs1.decrypt(data_key).ok(),
            #[cfg(feature = "s3ec-rsa")]
            (Kind::Rsa { oaep, .. }, Wrapping::RsaOaepSha1) => {
                oaep.decrypt(data_key).ok().and_then(|text| described(&text, algorithm))
            }
            _ => return Err(S3EncryptionError::OtherKey(wrapping.name())),
        };
        unwrapped.filter(|key| key.len() == DATA_KEY).ok_or(S3EncryptionError::NotAuthentic)
    }
}

/// Compares the context of an object with the one that its reader expects.
fn check_context(expected: &EncryptionContext, envelope: &Envelope) -> Result<(), S3EncryptionError> {
    if [ALGORITHM_KEY, KEY_ID_KEY].iter().any(|name| expected.contains_key(name)) {
        return Err(S3EncryptionError::Context);
    }
    if envelope.wrapping == Wrapping::Kms {
        // It binds no context of the reader, so an object of the newer wrapping could be turned
        // into one of this.
        return if expected.is_empty() { Ok(()) } else { Err(S3EncryptionError::Context) };
    }
    let mut stored = envelope.context.clone();
    let algorithm = stored.remove(ALGORITHM_KEY);
    stored.remove(KEY_ID_KEY);
    let same = algorithm.as_deref() == Some(envelope.algorithm) && stored == *expected;
    if same { Ok(()) } else { Err(S3EncryptionError::Context) }
}

/// Asks the service to decrypt the data key, in the context as it is stored.
async fn ask(api: &dyn KmsApi, key_id: &str, envelope: &Envelope) -> Result<SecretBytes, S3EncryptionError> {
    let answer = api.decrypt(KmsDecrypt::new(key_id, &envelope.data_key, &envelope.context)).await?;
    let wrong = |why| KmsError::new(KmsOperation::Decrypt, KmsErrorKind::InvalidAnswer(why)).key(key_id).into();
    let is_arn_of_a_key = key_id.starts_with("arn:") && key_id.contains(":key/");
    if is_arn_of_a_key && answer.key_id != key_id {
        return Err(wrong("another key answered"));
    }
    if answer.plaintext.len() != DATA_KEY {
        return Err(wrong("the data key has another length"));
    }
    Ok(answer.plaintext)
}

/// Opens a data key that is sealed with AES-GCM: IV, ciphertext and tag.
fn open(key: &SecretBytes, sealed: &[u8], aad: &[u8]) -> Option<SecretBytes> {
    let (iv, sealed) = sealed.split_first_chunk::<IV_LENGTH>()?;
    let (sealed, tag) = sealed.split_last_chunk::<TAG_LENGTH>()?;
    let mut data_key = SecretBytes::from(sealed);
    RustCrypto.aes_gcm(key.as_bytes()).ok()?.open_in_place(iv, aad, data_key.as_mut(), tag).ok()?;
    Some(data_key)
}

/// Returns the data key in a plaintext of RSA: its length, the key, and the content algorithm.
#[cfg(feature = "s3ec-rsa")]
fn described(text: &SecretBytes, algorithm: &str) -> Option<SecretBytes> {
    let (length, rest) = text.as_bytes().split_first()?;
    let (key, found) = rest.split_at_checked((*length).into())?;
    (found == algorithm.as_bytes()).then(|| SecretBytes::from(key))
}

/// A way to unwrap with AES blocks, for each length of key.
trait Unwrap {
    fn unwrap<C: KeyInit + BlockCipherDecrypt<BlockSize = U16>>(self, key: C) -> Option<SecretBytes>;
}

fn by_length(key: &SecretBytes, way: impl Unwrap) -> Option<SecretBytes> {
    let key = key.as_bytes();
    match key.len() {
        16 => way.unwrap(aes::Aes128::new_from_slice(key).ok()?),
        24 => way.unwrap(aes::Aes192::new_from_slice(key).ok()?),
        _ => way.unwrap(aes::Aes256::new_from_slice(key).ok()?),
    }
}

/// Blocks by themselves, with PKCS#7 padding.
struct Ecb<'a>(&'a [u8]);

impl Unwrap for Ecb<'_> {
    fn unwrap<C: KeyInit + BlockCipherDecrypt<BlockSize = U16>>(self, key: C) -> Option<SecretBytes> {
        let mut text = SecretBytes::from(self.0);
        let (blocks, rest) = Array::slice_as_chunks_mut(text.as_mut());
        if !rest.is_empty() {
            return None;
        }
        key.decrypt_blocks(blocks);
        let (whole, last) =
            text.as_bytes().split_last_chunk::<{ cbc::BLOCK }>().map(|(first, last)| (first.len(), last))?;
        let length = whole + cbc::unpadded(last).ok()?;
        Some(SecretBytes::from(&text.as_bytes()[..length]))
    }
}

/// The key wrapping of RFC 3394.
struct Rfc3394<'a>(&'a [u8]);

impl Unwrap for Rfc3394<'_> {
    fn unwrap<C: KeyInit + BlockCipherDecrypt<BlockSize = U16>>(self, key: C) -> Option<SecretBytes> {
        use aes_kw::InnerInit;

        let mut data_key = SecretBytes::zeroed(self.0.len().checked_sub(aes_kw::IV_LEN)?);
        AesKw::inner_init(key).unwrap_key(self.0, data_key.as_mut()).ok()?;
        Some(data_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 3394 for a data key of 256 bits and each length of key.
    #[test]
    fn keys_of_each_length_unwrap() {
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        };
        let key = SecretBytes::from((0..32).collect::<Vec<u8>>());
        let data_key = "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F";
        let wrapped = bytes("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21");
        assert_eq!(by_length(&key, Rfc3394(&wrapped)).unwrap().as_bytes(), bytes(data_key));
        for at in 0..wrapped.len() {
            let mut altered = wrapped.clone();
            altered[at] ^= 1;
            assert!(by_length(&key, Rfc3394(&altered)).is_none());
        }
        for length in [0, 7, 8, 9, 41] {
            assert!(by_length(&key, Rfc3394(&vec![0; length])).is_none());
            assert!(by_length(&key, Ecb(&vec![0; length])).is_none());
        }
    }
}
