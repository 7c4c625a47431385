//! The calls that all keyrings over a key management service share, and the checks of the
//! responses.

use std::{borrow::Cow, sync::Arc};

use super::{
    DeriveSharedSecret, GenerateDataKey, GetPublicKey, KmsAlgorithm, KmsApi, KmsDecrypt, KmsEncrypt, KmsError,
    KmsErrorKind, KmsKeyUsage, KmsOperation,
};
use crate::{
    context::EncryptionContext,
    error::{Error, Result, UnwrapReason},
    format::EncryptedDataKey,
    keyring::{UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
    secret::SecretBytes,
    text::Escaped,
};

/// A key service as a keyring calls it: every answer is checked.
///
/// The methods make the calls of a keyring over [`KmsApi`] and check that the requested key
/// answered, with a data key, ciphertext or secret of the right length. [`KmsKeyring`] and the
/// keyrings for AWS KMS are built on it. Use it for a service whose keys have names that need to be
/// parsed or compared in their own way; otherwise [`KmsKeyring`] is enough.
///
/// [`KmsKeyring`]: super::KmsKeyring
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{
///     Result,
///     keyring::{
///         BoxFuture, Keyring, KmsApi, KmsCandidate, KmsService, UnwrapRequest, Unwrapped, WrapRequest, Wrapped,
///     },
/// };
///
/// /// Wraps under the newest version of a key and opens what any version wrapped. The service
/// /// names them `orders:1`, `orders:2` and so on, and answers to `orders` with the newest.
/// struct Versioned(KmsService);
///
/// impl Versioned {
///     fn new(kms: Arc<dyn KmsApi>) -> Self {
///         Self(KmsService::new(kms, "versioned:orders"))
///     }
/// }
///
/// impl Keyring for Versioned {
///     fn label(&self) -> Arc<str> {
///         self.0.label()
///     }
///
///     fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
///         let is_right = |answered_by: &str| answered_by.starts_with("orders:");
///         Box::pin(self.0.wrap("versioned", "orders", is_right, request))
///     }
///
///     fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
///         let ours = request.candidates(|key| {
///             key.provider_id() == "versioned" && key.key_name().is_some_and(|name| name.starts_with("orders:"))
///         });
///         let candidates = ours.filter_map(|(index, key)| {
///             Some(KmsCandidate { index, key_id: key.key_name()?.into(), key })
///         });
///         Box::pin(self.0.unwrap(request, candidates.collect()))
///     }
/// }
/// ```
pub struct KmsService {
    api: Arc<dyn KmsApi>,
    grant_tokens: Vec<String>,
    label: Arc<str>,
}

/// An encrypted data key that [`KmsService::unwrap`] should have decrypted.
pub struct KmsCandidate<'a> {
    /// The index of the encrypted data key in the message.
    pub index: usize,
    /// The key to call, which must also be the one that answers.
    pub key_id: Cow<'a, str>,
    /// The encrypted data key.
    pub key: &'a EncryptedDataKey,
}

impl KmsService {
    /// Creates a service with the label of the keyring, which errors and reports name.
    pub fn new(api: Arc<dyn KmsApi>, label: impl Into<Arc<str>>) -> Self {
        Self { api, grant_tokens: Vec::new(), label: label.into() }
    }

    /// Sets another label.
    #[must_use]
    pub fn with_label(self, label: impl Into<Arc<str>>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// Sets tokens of grants, which every call then contains.
    #[must_use]
    pub fn grant_tokens(self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { grant_tokens: tokens.into_iter().map(Into::into).collect(), ..self }
    }

    /// Returns the label of the keyring.
    #[must_use]
    pub fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    /// Fails with an error that names the keyring.
    pub(super) fn refuse<T>(&self, why: &str) -> Result<T> {
        Err(Error::Configuration(format!("the keyring {} {why}", Escaped(&self.label))))
    }

    /// Generates a data key under a key of the service or, if the request has one, encrypts that.
    /// `is_right` must accept the id of the key that answers, which the message will contain along
    /// with the provider id.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the call fails or if the answer is not usable.
    pub async fn wrap(
        &self,
        provider_id: &str,
        key_id: &str,
        is_right: impl Fn(&str) -> bool + Send,
        request: WrapRequest<'_>,
    ) -> Result<Wrapped> {
        let wrapped = self.ask_to_wrap(provider_id, key_id, is_right, request).await;
        wrapped.map_err(|error| Error::keyring(&*self.label, error))
    }

    async fn ask_to_wrap(
        &self,
        provider_id: &str,
        key_id: &str,
        is_right: impl Fn(&str) -> bool + Send,
        request: WrapRequest<'_>,
    ) -> Result<Wrapped, KmsError> {
        let (context, grant_tokens) = (request.context, &*self.grant_tokens);
        let encrypted = |operation, answered_by: String, ciphertext: Vec<u8>| {
            let wrong = |why| Err(wrong_answer(operation, key_id, why));
            if !is_right(&answered_by) {
                return wrong(ANOTHER_KEY);
            }
            if ciphertext.is_empty() || ciphertext.len().max(answered_by.len()) > usize::from(u16::MAX) {
                return wrong("the ciphertext is empty, or a field is too long for a message");
            }
            Ok(EncryptedDataKey::new(provider_id, answered_by, ciphertext))
        };
        let Some(data_key) = request.data_key else {
            let operation = KmsOperation::GenerateDataKey;
            let length = request.suite.data_key_length();
            let question = GenerateDataKey { key_id, length, context, grant_tokens };
            let answer = self.api.generate_data_key(question).await?;
            let encrypted = encrypted(operation, answer.key_id, answer.ciphertext)?;
            if answer.plaintext.len() != length {
                return Err(wrong_answer(operation, key_id, ANOTHER_LENGTH));
            }
            return Ok(Wrapped::generated(answer.plaintext, encrypted));
        };
        let (plaintext, algorithm) = (data_key.as_bytes(), KmsAlgorithm::Symmetric);
        let answer = self.api.encrypt(KmsEncrypt { key_id, plaintext, context, grant_tokens, algorithm }).await?;
        Ok(Wrapped::existing(encrypted(KmsOperation::Encrypt, answer.key_id, answer.ciphertext)?))
    }

    /// Decrypts the candidates in order, until one is a data key of the right length.
    ///
    /// # Errors
    /// [`Error::NotUnwrapped`] with the failure of each candidate, if none is.
    pub async fn unwrap(&self, request: UnwrapRequest<'_>, candidates: Vec<KmsCandidate<'_>>) -> Result<Unwrapped> {
        let length = request.suite.data_key_length();
        let check_length = |key_id: &str, data_key: SecretBytes| match data_key.len() == length {
            true => Ok(data_key),
            false => Err(UnwrapReason::Failed(wrong_answer(KmsOperation::Decrypt, key_id, ANOTHER_LENGTH).into())),
        };
        self.unwrap_with(request, KmsAlgorithm::Symmetric, candidates, check_length).await
    }

    /// Works like [`unwrap`](Self::unwrap) for any algorithm: `finish` gets the id of the key that
    /// answered and turns the decrypted plaintext into the data key.
    ///
    /// Only [`KmsAlgorithm::Symmetric`] sends the encryption context to the service.
    ///
    /// # Errors
    /// As for [`unwrap`](Self::unwrap).
    pub async fn unwrap_with(
        &self,
        request: UnwrapRequest<'_>,
        algorithm: KmsAlgorithm,
        candidates: Vec<KmsCandidate<'_>>,
        finish: impl Fn(&str, SecretBytes) -> Result<SecretBytes, UnwrapReason> + Send,
    ) -> Result<Unwrapped> {
        let none = EncryptionContext::new();
        let context = if algorithm == KmsAlgorithm::Symmetric { request.context } else { &none };
        let mut attempts = request.attempts(self.label.clone());
        for KmsCandidate { index, key_id, key } in candidates {
            let grant_tokens = &*self.grant_tokens;
            let question =
                KmsDecrypt { key_id: &key_id, ciphertext: key.ciphertext(), context, grant_tokens, algorithm };
            let outcome = match self.api.decrypt(question).await {
                Ok(answer) if answer.key_id == *key_id => finish(&key_id, answer.plaintext),
                Ok(_) => Err(UnwrapReason::Failed(wrong_answer(KmsOperation::Decrypt, &key_id, ANOTHER_KEY).into())),
                Err(error) => Err(error.into()),
            };
            if let Some(unwrapped) = attempts.record(index, outcome) {
                return Ok(unwrapped);
            }
        }
        Err(attempts.into_error())
    }

    /// Returns the public key of a key pair, which must have this usage.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the call fails, or if another key or one with another usage answers.
    pub async fn public_key(&self, key_id: &str, usage: KmsKeyUsage) -> Result<Vec<u8>> {
        let grant_tokens = &*self.grant_tokens;
        let failed = |error: KmsError| Error::keyring(&*self.label, error);
        let answer = self.api.get_public_key(GetPublicKey { key_id, grant_tokens }).await.map_err(failed)?;
        let wrong = |why| Err(failed(wrong_answer(KmsOperation::GetPublicKey, key_id, why)));
        if answer.key_id != key_id {
            return wrong(ANOTHER_KEY);
        }
        if answer.usage.is_some_and(|found| found != usage) {
            return wrong("the key has another usage");
        }
        Ok(answer.public_key)
    }

    /// Returns the secret that a key pair of the service shares with another public key, given in
    /// DER (SubjectPublicKeyInfo). It must have `length` bytes.
    ///
    /// # Errors
    /// The error of the service, or [`KmsErrorKind::InvalidAnswer`] if another key answers or the
    /// secret has another length. [`UnwrapReason`] can be made from it.
    pub async fn derive_shared_secret(
        &self,
        key_id: &str,
        public_key: &[u8],
        length: usize,
    ) -> Result<SecretBytes, KmsError> {
        let grant_tokens = &*self.grant_tokens;
        let answer = self.api.derive_shared_secret(DeriveSharedSecret { key_id, public_key, grant_tokens }).await?;
        let wrong = |why| Err(wrong_answer(KmsOperation::DeriveSharedSecret, key_id, why));
        if answer.key_id != key_id {
            return wrong(ANOTHER_KEY);
        }
        if answer.shared_secret.len() != length {
            return wrong("the shared secret has another length");
        }
        Ok(answer.shared_secret)
    }
}

impl From<KmsError> for UnwrapReason {
    /// Returns [`UnwrapReason::NotAuthentic`] if the service could not decrypt the ciphertext, and
    /// [`UnwrapReason::Failed`] with the error otherwise.
    fn from(error: KmsError) -> Self {
        match error.kind() {
            KmsErrorKind::InvalidCiphertext => Self::NotAuthentic,
            _ => Self::Failed(error.into()),
        }
    }
}

const ANOTHER_KEY: &str = "another key answered";
const ANOTHER_LENGTH: &str = "the data key has the wrong length";

fn wrong_answer(operation: KmsOperation, key_id: &str, why: &'static str) -> KmsError {
    KmsError::new(operation, KmsErrorKind::InvalidAnswer(why)).key(key_id)
}
