//! A keyring over any key management service.

use std::sync::Arc;

use super::{
    KmsApi,
    service::{Candidate, Service},
};
use crate::{
    error::Result,
    format::EncryptedDataKey,
    keyring::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped, raw_aes::check_names},
};

/// Wraps data keys under a key of a key management service of any kind. For AWS KMS there are keyrings of their own.
///
/// A message carries the provider id that was chosen for the service, and the id of the key that the service says it
/// used. Only those that bear both are sent to the service to be opened. [`KmsApi`] has an example.
pub struct KmsKeyring {
    provider_id: String,
    key_id: String,
    opens: Opens,
    service: Service,
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
    /// A keyring that writes this provider id into messages, and has the service wrap under a key: an id or, for a
    /// keyring that only encrypts or [opens any key](Self::open_any_key), an alias.
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) for a provider id or key id that is empty or too long, or a
    /// provider id that starts with `aws-kms`.
    pub fn new(provider_id: impl Into<String>, key_id: impl Into<String>, service: Arc<dyn KmsApi>) -> Result<Self> {
        let (provider_id, key_id) = (provider_id.into(), key_id.into());
        check_names(&provider_id, &key_id)?;
        let service = Service::new(service, format!("{provider_id}:{key_id}"));
        Ok(Self { provider_id, key_id, opens: Opens::ThisKey, service })
    }

    /// Opens what any key of the service wrapped, not only the one named: for services that belong to the reader alone.
    #[must_use]
    pub fn open_any_key(mut self) -> Self {
        self.opens = Opens::AnyKey;
        self
    }

    /// Grants that may not have spread through the service yet.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sealwax::keyring::{KmsApi, KmsKeyring};
    /// # fn example(service: Arc<dyn KmsApi>) -> sealwax::Result<KmsKeyring> {
    /// Ok(KmsKeyring::new("example-kms", "orders", service)?.grant_tokens(["a-grant-token"]))
    /// # }
    /// ```
    #[must_use]
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.service.grant_tokens = tokens.into_iter().map(Into::into).collect();
        self
    }
}

impl Keyring for KmsKeyring {
    fn label(&self) -> Arc<str> {
        self.service.label.clone()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        // An alias may have been asked for: the message names whatever key answered.
        let is_right = |answered_by: &str| !answered_by.is_empty();
        Box::pin(self.service.wrap(&self.provider_id, &self.key_id, is_right, request))
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let ours = |key: &EncryptedDataKey| {
                key.provider_id() == self.provider_id
                    && (self.opens == Opens::AnyKey || key.provider_info() == self.key_id.as_bytes())
            };
            let candidates = request.candidates(ours).filter_map(|(index, key)| {
                let key_id = str::from_utf8(key.provider_info()).ok()?.into();
                Some(Candidate { index, key_id, key })
            });
            self.service.unwrap(request, candidates.collect()).await
        })
    }
}
