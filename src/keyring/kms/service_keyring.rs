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
/// A message carries the provider id that was chosen for the service, and the id of the key that wrapped its data key.
/// Only encrypted data keys with both are sent to the service to be opened. [`KmsApi`] has an example.
///
/// | made with | encrypts under | decrypts what was wrapped under |
/// |---|---|---|
/// | [`new`](Self::new) | the key with this id, and no other that answers | the same key |
/// | [`with_alias`](Self::with_alias) | whatever key answers for the alias | nothing |
/// | either, with [`open_any_key`](Self::open_any_key) | as above | any key of the service |
pub struct KmsKeyring {
    provider_id: String,
    key_id: String,
    named_by: NamedBy,
    opens: Opens,
    service: Service,
}

/// What the key id of a keyring is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    /// The id that the service itself gives the key, and that messages carry.
    Id,
    /// Another name, which messages do not carry.
    Alias,
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
    /// Makes a keyring over the key with this id. The provider id is written into messages.
    ///
    /// The id must be the one that the service answers with: an answer from another key is refused, on encrypt too, since
    /// this keyring could not open the message.
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) for a provider id or key id that is empty or too long, or a
    /// provider id that starts with `aws-kms`.
    pub fn new(provider_id: impl Into<String>, key_id: impl Into<String>, service: Arc<dyn KmsApi>) -> Result<Self> {
        Self::named(provider_id.into(), key_id.into(), NamedBy::Id, service)
    }

    /// Makes a keyring over the key that an alias points to. Messages carry the id of the key that answers, so to decrypt
    /// the keyring must [open any key](Self::open_any_key), or be another one, over the id.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sealwax::keyring::{KmsApi, KmsKeyring};
    /// # fn example(service: Arc<dyn KmsApi>) -> sealwax::Result<KmsKeyring> {
    /// Ok(KmsKeyring::with_alias("example-kms", "current", service)?.open_any_key())
    /// # }
    /// ```
    pub fn with_alias(
        provider_id: impl Into<String>,
        alias: impl Into<String>,
        service: Arc<dyn KmsApi>,
    ) -> Result<Self> {
        Self::named(provider_id.into(), alias.into(), NamedBy::Alias, service)
    }

    fn named(provider_id: String, key_id: String, named_by: NamedBy, service: Arc<dyn KmsApi>) -> Result<Self> {
        check_names(&provider_id, &key_id)?;
        let service = Service::new(service, format!("{provider_id}:{key_id}"));
        Ok(Self { provider_id, key_id, named_by, opens: Opens::ThisKey, service })
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
        let is_right = |answered_by: &str| match self.named_by {
            NamedBy::Id => answered_by == self.key_id,
            NamedBy::Alias => !answered_by.is_empty(),
        };
        Box::pin(self.service.wrap(&self.provider_id, &self.key_id, is_right, request))
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            if (self.named_by, self.opens) == (NamedBy::Alias, Opens::ThisKey) {
                return self.service.refuse(
                    "cannot decrypt, because messages carry the id of a key and not its alias: make it of the id, or \
                     with `open_any_key`",
                );
            }
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
