//! The keyring over any key management service.

use std::sync::Arc;

use super::{KmsApi, KmsCandidate, KmsService};
use crate::{
    error::Result,
    format::EncryptedDataKey,
    keyring::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped, raw_aes::check_names},
};

/// A keyring over a key of any key management service. For AWS KMS, the crate `sealwax-aws` has
/// keyrings that know its key names.
///
/// Messages contain the provider id chosen for the service and the id of the key that wrapped the
/// data key. The keyring sends only encrypted data keys that match both to the service.
///
/// | constructor | encrypts under | decrypts data keys wrapped under |
/// |---|---|---|
/// | [`new`](Self::new) | the key with this id; an answer from any other is refused | the same key |
/// | [`with_alias`](Self::with_alias) | whichever key answers for the alias | none |
/// | either, with [`open_any_key`](Self::open_any_key) | as above | any key of the service |
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{Client, Result, keyring::{KmsApi, KmsKeyring}};
///
/// fn example(service: Arc<dyn KmsApi>) -> Result<()> {
///     let keyring = KmsKeyring::with_alias("example-kms", "current", service)?.open_any_key();
///     let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
///     let opened = Client::new().decrypt(&keyring).bytes(&sealed.message).wait()?;
///     assert_eq!(opened.plaintext, b"text");
///     Ok(())
/// }
/// ```
pub struct KmsKeyring {
    provider_id: String,
    key_id: String,
    named_by: NamedBy,
    opens: Opens,
    service: KmsService,
}

/// How the keyring identifies its key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    /// The service's own id of the key, which messages contain.
    Id,
    /// Another name, which messages do not contain.
    Alias,
}

/// Which encrypted data keys of the service the keyring opens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opens {
    /// Those wrapped under exactly this key id.
    ThisKey,
    /// Those wrapped under any key of the service.
    AnyKey,
}

impl KmsKeyring {
    /// Creates a keyring over the key with this id. Messages contain the provider id.
    ///
    /// The id must be the one that the service answers with. An answer from another key is refused,
    /// on encryption too, because this keyring could not open the message.
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) if the provider id or key id is empty
    /// or too long, or if the provider id starts with `aws-kms`.
    pub fn new(provider_id: impl Into<String>, key_id: impl Into<String>, service: Arc<dyn KmsApi>) -> Result<Self> {
        Self::named(provider_id.into(), key_id.into(), NamedBy::Id, service)
    }

    /// Creates a keyring over the key that an alias points to.
    ///
    /// Messages contain the id of the key that answers, so to decrypt, the keyring must [open any
    /// key](Self::open_any_key). Alternatively, decrypt with a keyring over the key id.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
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
        let service = KmsService::new(service, format!("{provider_id}:{key_id}"));
        Ok(Self { provider_id, key_id, named_by, opens: Opens::ThisKey, service })
    }

    /// Opens data keys wrapped under any key of the service, not only under this one. Use this only
    /// if every key of the service belongs to the reader.
    #[must_use]
    pub fn open_any_key(mut self) -> Self {
        self.opens = Opens::AnyKey;
        self
    }

    /// Sets tokens of grants that may not have taken effect throughout the service yet.
    #[must_use]
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.service = self.service.grant_tokens(tokens);
        self
    }
}

impl Keyring for KmsKeyring {
    fn label(&self) -> Arc<str> {
        self.service.label()
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
                    "cannot decrypt: messages contain the key id, not the alias; create it with the key id, or \
                     with `open_any_key`",
                );
            }
            let ours = |key: &EncryptedDataKey| {
                key.provider_id() == self.provider_id
                    && (self.opens == Opens::AnyKey || key.provider_info() == self.key_id.as_bytes())
            };
            let candidates = request.candidates(ours).filter_map(|(index, key)| {
                let key_id = str::from_utf8(key.provider_info()).ok()?.into();
                Some(KmsCandidate { index, key_id, key })
            });
            self.service.unwrap(request, candidates.collect()).await
        })
    }
}
