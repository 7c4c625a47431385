//! A keyring over any key management service.

use std::sync::Arc;

use super::{GenerateDataKey, KmsAlgorithm, KmsApi, KmsDecrypt, KmsEncrypt, KmsError, KmsErrorKind, KmsOperation};
use crate::{
    error::{Error, Result, UnwrapReason},
    format::EncryptedDataKey,
    keyring::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped, raw_aes::check_names},
    secret::SecretBytes,
};

/// Wraps data keys under a key of a key management service of any kind. For AWS KMS there are keyrings of their own.
///
/// A message carries the provider id that was chosen for the service, and the id of the key that the service says it
/// used. Only those that bear both are sent to the service to be opened. [`KmsApi`] has an example.
pub struct KmsKeyring {
    provider_id: String,
    key_id: String,
    opens: Opens,
    service: Arc<dyn KmsApi>,
    grant_tokens: Vec<String>,
    label: Arc<str>,
}

/// Which encrypted data keys of the service are opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opens {
    /// Those under the very key id.
    ThisKey,
    /// Those under any key that the service has.
    AnyKey,
}

impl KmsKeyring {
    /// A keyring that writes this provider id into messages, and has the service wrap under a key: an id or, for a keyring that
    /// only encrypts or [opens any key](Self::open_any_key), an alias.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a provider id or key id that is empty or too long, or a provider id that starts with
    /// `aws-kms`.
    pub fn new(provider_id: impl Into<String>, key_id: impl Into<String>, service: Arc<dyn KmsApi>) -> Result<Self> {
        let (provider_id, key_id) = (provider_id.into(), key_id.into());
        check_names(&provider_id, &key_id)?;
        let label = format!("{provider_id}:{key_id}").into();
        Ok(Self { provider_id, key_id, opens: Opens::ThisKey, service, grant_tokens: Vec::new(), label })
    }

    /// Opens what any key of the service wrapped, not only the one named: for services that belong to the reader alone.
    #[must_use]
    pub fn open_any_key(mut self) -> Self {
        self.opens = Opens::AnyKey;
        self
    }

    async fn wrap(&self, request: WrapRequest<'_>) -> Result<Wrapped, KmsError> {
        let Self { key_id, grant_tokens, .. } = self;
        let encrypted = |key_id: &str, ciphertext| EncryptedDataKey::new(&*self.provider_id, key_id, ciphertext);
        let Some(data_key) = request.data_key else {
            let length = request.suite.data_key_length();
            let question = GenerateDataKey { key_id, length, context: request.context, grant_tokens };
            let answer = self.service.generate_data_key(question).await?;
            if answer.plaintext.len() != length {
                let kind = KmsErrorKind::InvalidAnswer("the data key has another length");
                return Err(KmsError::new(KmsOperation::GenerateDataKey, kind).key(key_id));
            }
            return Ok(Wrapped::generated(answer.plaintext, encrypted(&answer.key_id, answer.ciphertext)));
        };
        let (plaintext, algorithm) = (data_key.as_bytes(), KmsAlgorithm::Symmetric);
        let question = KmsEncrypt { key_id, plaintext, context: request.context, grant_tokens, algorithm };
        let answer = self.service.encrypt(question).await?;
        Ok(Wrapped::existing(encrypted(&answer.key_id, answer.ciphertext)))
    }

    async fn unwrap(&self, request: UnwrapRequest<'_>, key: &EncryptedDataKey) -> Result<SecretBytes, KmsError> {
        let unnamed = || KmsError::new(KmsOperation::Decrypt, KmsErrorKind::NotFound);
        let key_id = str::from_utf8(key.provider_info()).map_err(|_| unnamed())?;
        let question = KmsDecrypt {
            key_id,
            ciphertext: key.ciphertext(),
            context: request.context,
            grant_tokens: &self.grant_tokens,
            algorithm: KmsAlgorithm::Symmetric,
        };
        let answer = self.service.decrypt(question).await?;
        if answer.key_id != key_id {
            let kind = KmsErrorKind::InvalidAnswer("another key answered");
            return Err(KmsError::new(KmsOperation::Decrypt, kind).key(key_id));
        }
        Ok(answer.plaintext)
    }
}

impl Keyring for KmsKeyring {
    fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move { self.wrap(request).await.map_err(|error| Error::keyring(&*self.label, error)) })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let mut attempts = request.attempts(self.label());
            let ours = |key: &EncryptedDataKey| {
                key.provider_id() == self.provider_id
                    && (self.opens == Opens::AnyKey || key.provider_info() == self.key_id.as_bytes())
            };
            for (index, key) in request.candidates(ours) {
                let outcome = self.unwrap(request, key).await.map_err(|error| match error.kind() {
                    KmsErrorKind::InvalidCiphertext => UnwrapReason::NotAuthentic,
                    _ => UnwrapReason::Failed(error.into()),
                });
                if let Some(unwrapped) = attempts.record(index, outcome) {
                    return Ok(unwrapped);
                }
            }
            Err(attempts.into_error())
        })
    }
}
