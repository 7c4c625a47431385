//! The calls that all keyrings over a key management service share, and the checks of the
//! responses.

use std::{borrow::Cow, sync::Arc};

use super::{
    GenerateDataKey, KmsAlgorithm, KmsApi, KmsArn, KmsDecrypt, KmsEncrypt, KmsError, KmsErrorKind, KmsOperation,
};
use crate::{
    context::EncryptionContext,
    error::{Error, Result, UnwrapReason},
    format::EncryptedDataKey,
    keyring::{UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
    secret::SecretBytes,
    text::Escaped,
};

/// The key provider id of data keys that AWS KMS wraps under symmetric keys.
pub(super) const AWS_KMS: &str = "aws-kms";

/// A service with the keyring's settings for every call and its label.
pub(super) struct Service {
    pub(super) api: Arc<dyn KmsApi>,
    pub(super) grant_tokens: Vec<String>,
    pub(super) label: Arc<str>,
}

/// An encrypted data key that the service is to decrypt.
pub(super) struct Candidate<'a> {
    /// The index in the message.
    pub(super) index: usize,
    /// The key to call, which must also be the one that answers.
    pub(super) key_id: Cow<'a, str>,
    pub(super) key: &'a EncryptedDataKey,
}

impl Service {
    pub(super) fn new(api: Arc<dyn KmsApi>, label: impl Into<Arc<str>>) -> Self {
        Self { api, grant_tokens: Vec::new(), label: label.into() }
    }

    /// Fails with an error that names the keyring.
    pub(super) fn refuse<T>(&self, why: &str) -> Result<T> {
        Err(Error::Configuration(format!("the keyring {} {why}", Escaped(&self.label))))
    }

    /// Generates a data key or, if there is one, encrypts it. `is_right` must accept the key that
    /// answers.
    pub(super) async fn wrap(
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
            let wrong = |why| Err(KmsError::new(operation, KmsErrorKind::InvalidAnswer(why)).key(key_id));
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
                return Err(KmsError::new(operation, KmsErrorKind::InvalidAnswer(ANOTHER_LENGTH)).key(key_id));
            }
            return Ok(Wrapped::generated(answer.plaintext, encrypted));
        };
        let (plaintext, algorithm) = (data_key.as_bytes(), KmsAlgorithm::Symmetric);
        let answer = self.api.encrypt(KmsEncrypt { key_id, plaintext, context, grant_tokens, algorithm }).await?;
        Ok(Wrapped::existing(encrypted(KmsOperation::Encrypt, answer.key_id, answer.ciphertext)?))
    }

    /// Decrypts the candidates in order, until one is a data key of the right length. The failures
    /// of the others are collected.
    pub(super) async fn unwrap(&self, request: UnwrapRequest<'_>, candidates: Vec<Candidate<'_>>) -> Result<Unwrapped> {
        let length = request.suite.data_key_length();
        let check_length = |key_id: &str, data_key: SecretBytes| match data_key.len() == length {
            true => Ok(data_key),
            false => Err(UnwrapReason::Failed(wrong_answer(key_id, ANOTHER_LENGTH).into())),
        };
        self.unwrap_with(request, KmsAlgorithm::Symmetric, candidates, check_length).await
    }

    /// Works like [`unwrap`](Self::unwrap) for any algorithm: `finish` turns the decrypted
    /// plaintext into the data key.
    pub(super) async fn unwrap_with(
        &self,
        request: UnwrapRequest<'_>,
        algorithm: KmsAlgorithm,
        candidates: Vec<Candidate<'_>>,
        finish: impl Fn(&str, SecretBytes) -> Result<SecretBytes, UnwrapReason> + Send,
    ) -> Result<Unwrapped> {
        let none = EncryptionContext::new();
        let context = if algorithm == KmsAlgorithm::Symmetric { request.context } else { &none };
        let mut attempts = request.attempts(self.label.clone());
        for Candidate { index, key_id, key } in candidates {
            let grant_tokens = &*self.grant_tokens;
            let question =
                KmsDecrypt { key_id: &key_id, ciphertext: key.ciphertext(), context, grant_tokens, algorithm };
            let outcome = match self.api.decrypt(question).await {
                Ok(answer) if answer.key_id == *key_id => finish(&key_id, answer.plaintext),
                Ok(_) => Err(UnwrapReason::Failed(wrong_answer(&key_id, ANOTHER_KEY).into())),
                Err(error) => Err(reason(error)),
            };
            if let Some(unwrapped) = attempts.record(index, outcome) {
                return Ok(unwrapped);
            }
        }
        Err(attempts.into_error())
    }

    /// Returns the public key of a key pair, which must have this usage.
    #[cfg(any(feature = "raw-rsa", feature = "raw-ecdh"))]
    pub(super) async fn public_key(&self, key_id: &str, usage: super::KmsKeyUsage) -> Result<Vec<u8>> {
        let grant_tokens = &*self.grant_tokens;
        let failed = |error: KmsError| Error::keyring(&*self.label, error);
        let answer = self.api.get_public_key(super::GetPublicKey { key_id, grant_tokens }).await.map_err(failed)?;
        let wrong =
            |why| Err(failed(KmsError::new(KmsOperation::GetPublicKey, KmsErrorKind::InvalidAnswer(why)).key(key_id)));
        if answer.key_id != key_id {
            return wrong(ANOTHER_KEY);
        }
        if answer.usage.is_some_and(|found| found != usage) {
            return wrong("the key has another usage");
        }
        Ok(answer.public_key)
    }

    /// Returns the encrypted data keys that a keyring should try. For the ARN in each of them,
    /// `key_to_ask` returns the key id to call, or `None` to skip it.
    ///
    /// # Errors
    /// [`Error::NotUnwrapped`], before any call, if the provider information of one of them is not
    /// the ARN of a key. Each "OnDecrypt" section of the specification requires this, and no AWS
    /// KMS keyring writes such an encrypted data key.
    pub(super) fn candidates<'a>(
        &self,
        request: UnwrapRequest<'a>,
        provider_id: &str,
        key_to_ask: impl Fn(&'a str, KmsArn<'a>) -> Option<Cow<'a, str>>,
    ) -> Result<Vec<Candidate<'a>>> {
        let mut candidates = Vec::new();
        for (index, key) in request.candidates(|key| key.provider_id() == provider_id) {
            let text = str::from_utf8(key.provider_info()).ok();
            let arn = text.and_then(|text| Some((text, KmsArn::parse(text).ok().filter(KmsArn::is_key)?)));
            let Some((text, arn)) = arn else {
                let mut attempts = request.attempts(self.label.clone());
                let why = "its provider information is not the ARN of an AWS KMS key";
                let _ = attempts.record(index, Err(UnwrapReason::Failed(why.into())));
                return Err(attempts.into_error());
            };
            candidates.extend(key_to_ask(text, arn).map(|key_id| Candidate { index, key_id, key }));
        }
        Ok(candidates)
    }
}

/// Returns the reason that a report gives for an error of the service.
pub(super) fn reason(error: KmsError) -> UnwrapReason {
    match error.kind() {
        KmsErrorKind::InvalidCiphertext => UnwrapReason::NotAuthentic,
        _ => UnwrapReason::Failed(error.into()),
    }
}

pub(super) const ANOTHER_KEY: &str = "another key answered";
const ANOTHER_LENGTH: &str = "the data key has the wrong length";

fn wrong_answer(key_id: &str, why: &'static str) -> KmsError {
    KmsError::new(KmsOperation::Decrypt, KmsErrorKind::InvalidAnswer(why)).key(key_id)
}
