//! The AWS KMS ECDH keyring.

use std::sync::Arc;

use super::{
    DeriveSharedSecret, KmsApi, KmsError, KmsErrorKind, KmsKeyUsage, KmsOperation,
    arn::check_key_arn,
    service::{ANOTHER_KEY, Service, reason},
};
use crate::{
    blocking::Operation,
    error::{Error, Result, UnwrapReason},
    format::EncryptedDataKey,
    keyring::{
        BoxFuture, EcdhCurve, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped,
        raw_ecdh::{AWS_KMS_ECDH, Agreement, Parties, RECIPIENT, WrappedKey, public_key_der, read_public_key},
    },
    secret::SecretBytes,
};

/// Wraps data keys for the holder of an elliptic-curve key, as [`RawEcdhKeyring`](crate::keyring::RawEcdhKeyring) does,
/// with its own private key in AWS KMS. (Feature `raw-ecdh`.)
///
/// | made with | holds | encrypts | decrypts |
/// |---|---|---|---|
/// | [`static_keys`](Self::static_keys) | the ARN of the own key, another's public key | for the other | what either of the two wrote for the other |
/// | [`discovery`](Self::discovery) | the ARN of the own key | never | what anyone wrote for it |
///
/// The service is asked for a shared secret once for a message that is written, and once for each encrypted data key for
/// this key in a message that is read, until one opens. The secret stays the same for the same two keys; what is derived
/// from it is new for each message. The two keyrings open what the other wrote: one side may have its private key in AWS
/// KMS, the other in a file.
///
/// Specification: framework/aws-kms/aws-kms-ecdh-keyring and framework/key-agreement-schemas.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{Client, Result, keyring::{AwsKmsEcdhKeyring, EcdhCurve, KmsApi}};
///
/// # async fn example(bobs_public_key: &str, kms: Arc<dyn KmsApi>) -> Result<()> {
/// let alice = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// let keyring = AwsKmsEcdhKeyring::static_keys(EcdhCurve::P256, alice, bobs_public_key, kms)?.build().await?;
/// let sealed = Client::new().encrypt(&keyring).bytes(b"for bob").await?;
/// # let _ = sealed;
/// # Ok(())
/// # }
/// ```
pub struct AwsKmsEcdhKeyring {
    curve: EcdhCurve,
    key_arn: String,
    /// The public half of the key in the service, in its compressed form.
    own: Vec<u8>,
    schema: Schema,
    service: Service,
}

/// Whose keys there are beside the own one; public keys in their compressed form.
enum Schema {
    Static { recipient: Vec<u8> },
    Discovery,
}

/// An [`AwsKmsEcdhKeyring`] that lacks the public half of its key, which has an example.
#[must_use = "`build` makes the keyring"]
pub struct AwsKmsEcdhKeyringBuilder {
    curve: EcdhCurve,
    key_arn: String,
    schema: Schema,
    service: Service,
}

impl AwsKmsEcdhKeyring {
    /// Between the key in AWS KMS and another's: it encrypts for the other, whose public key is in DER
    /// (SubjectPublicKeyInfo) or PEM, and decrypts what the two wrote for each other. The type has an example.
    /// The specification calls this KmsPrivateKeyToStaticPublicKey.
    ///
    /// # Errors
    /// [`Error::Configuration`] for what is no ARN of a key, and for a public key of another form or another curve.
    pub fn static_keys(
        curve: EcdhCurve,
        key_arn: impl Into<String>,
        recipient_public_key: impl AsRef<[u8]>,
        kms: Arc<dyn KmsApi>,
    ) -> Result<AwsKmsEcdhKeyringBuilder> {
        let recipient = read_public_key(RECIPIENT, curve, recipient_public_key.as_ref())?;
        AwsKmsEcdhKeyringBuilder::new(curve, key_arn.into(), Schema::Static { recipient }, kms)
    }

    /// For the holder of the key in AWS KMS, whoever wrote the message. It only decrypts.
    /// The specification calls this KmsPublicKeyDiscovery.
    ///
    /// # Errors
    /// [`Error::Configuration`] for what is no ARN of a key.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sealwax::{Result, keyring::{AwsKmsEcdhKeyring, EcdhCurve, KmsApi}};
    /// # async fn example(key: &str, kms: Arc<dyn KmsApi>) -> Result<()> {
    /// let keyring = AwsKmsEcdhKeyring::discovery(EcdhCurve::P384, key, kms)?.build().await?;
    /// # let _ = keyring;
    /// # Ok(())
    /// # }
    /// ```
    pub fn discovery(
        curve: EcdhCurve,
        key_arn: impl Into<String>,
        kms: Arc<dyn KmsApi>,
    ) -> Result<AwsKmsEcdhKeyringBuilder> {
        AwsKmsEcdhKeyringBuilder::new(curve, key_arn.into(), Schema::Discovery, kms)
    }

    /// The secret shared with the holder of another key, whose compressed public half this is.
    async fn agree(&self, public_key: &[u8]) -> Result<SecretBytes, Refusal> {
        let der = public_key_der(self.curve, public_key).ok_or(Refusal::NoPoint)?;
        let (key_id, grant_tokens) = (self.key_arn.as_str(), &*self.service.grant_tokens);
        let question = DeriveSharedSecret { key_id, public_key: &der, grant_tokens };
        let answer = self.service.api.derive_shared_secret(question).await.map_err(Refusal::Service)?;
        let wrong = |why| {
            let error = KmsError::new(KmsOperation::DeriveSharedSecret, KmsErrorKind::InvalidAnswer(why));
            Err(Refusal::Service(error.key(key_id)))
        };
        if answer.key_id != key_id {
            return wrong(ANOTHER_KEY);
        }
        if answer.shared_secret.len() != self.curve.field_length() {
            return wrong("the shared secret has another length");
        }
        Ok(answer.shared_secret)
    }

    async fn wrap(&self, request: WrapRequest<'_>) -> Result<Wrapped> {
        let Schema::Static { recipient } = &self.schema else {
            return self.service.refuse(
                "knows no other key, and cannot encrypt: make one with the recipient's public key \
                 (AwsKmsEcdhKeyring::static_keys)",
            );
        };
        let context = request.context.serialize()?;
        let shared_secret = self.agree(recipient).await.map_err(|refusal| match refusal {
            Refusal::NoPoint => Error::Integrity,
            Refusal::Service(error) => Error::keyring(&*self.service.label, error),
        })?;
        let data_key = request.data_key_or_generate()?;
        let parties = Parties { sender: &self.own, recipient };
        let agreement = Agreement { curve: self.curve, parties, shared_secret, context: &context };
        let encrypted = agreement.wrap(request.provider, AWS_KMS_ECDH, data_key.as_bytes())?;
        Ok(data_key.wrapped_as(encrypted))
    }

    /// The parties of an encrypted data key that is for this keyring.
    fn parties_if_ours<'a>(&self, key: &'a EncryptedDataKey) -> Option<Parties<'a>> {
        let parties = Parties::of(self.curve, key)?;
        let is_ours = match &self.schema {
            Schema::Static { recipient } => parties.are(&self.own, recipient),
            Schema::Discovery => parties.recipient == self.own,
        };
        is_ours.then_some(parties)
    }

    async fn unwrap_one(
        &self,
        request: UnwrapRequest<'_>,
        context: &[u8],
        key: &EncryptedDataKey,
    ) -> Result<SecretBytes, UnwrapReason> {
        let local = |error: Error| match error {
            Error::Integrity => UnwrapReason::NotAuthentic,
            other => UnwrapReason::Failed(other.into()),
        };
        let parties = self.parties_if_ours(key).ok_or(UnwrapReason::NoMatch)?;
        let wrapped = WrappedKey::parse(key.ciphertext()).map_err(local)?;
        let other = match &self.schema {
            Schema::Static { recipient } => recipient,
            Schema::Discovery => parties.sender,
        };
        let shared_secret = self.agree(other).await.map_err(|refusal| match refusal {
            Refusal::NoPoint => UnwrapReason::NotAuthentic,
            Refusal::Service(error) => reason(error),
        })?;
        let agreement = Agreement { curve: self.curve, parties, shared_secret, context };
        agreement.unwrap(request.provider, wrapped).map_err(local)
    }

    async fn unwrap(&self, request: UnwrapRequest<'_>) -> Result<Unwrapped> {
        let context = request.context.serialize()?;
        let mut attempts = request.attempts(self.label());
        for (index, key) in request.candidates(|key| self.parties_if_ours(key).is_some()) {
            let outcome = self.unwrap_one(request, &context, key).await;
            if let Some(unwrapped) = attempts.record(index, outcome) {
                return Ok(unwrapped);
            }
        }
        Err(attempts.into_error())
    }
}

/// Why there is no shared secret.
enum Refusal {
    /// The other's public key is no point of the curve.
    NoPoint,
    Service(KmsError),
}

impl AwsKmsEcdhKeyringBuilder {
    fn new(curve: EcdhCurve, key_arn: String, schema: Schema, kms: Arc<dyn KmsApi>) -> Result<Self> {
        check_key_arn(&key_arn)?;
        let service = Service::new(kms, format!("{AWS_KMS_ECDH}:{key_arn}"));
        Ok(Self { curve, key_arn, schema, service })
    }

    /// Grants that may not have spread through AWS KMS yet.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sealwax::{Result, keyring::{AwsKmsEcdhKeyring, EcdhCurve, KmsApi}};
    /// # fn example(key: &str, kms: Arc<dyn KmsApi>) -> Result<AwsKmsEcdhKeyring> {
    /// AwsKmsEcdhKeyring::discovery(EcdhCurve::P256, key, kms)?.grant_tokens(["a-grant-token"]).build().wait()
    /// # }
    /// ```
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.service.grant_tokens = tokens.into_iter().map(Into::into).collect();
        self
    }

    /// The keyring, with the public half of its key that the service is asked for now, once. [`AwsKmsEcdhKeyring`] has an
    /// example.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the service does not answer, or not with a key for key agreement of this ARN on this curve.
    pub fn build(self) -> Operation<impl Future<Output = Result<AwsKmsEcdhKeyring>> + Send> {
        Operation::new(async move {
            let public_key = self.service.public_key(&self.key_arn, KmsKeyUsage::KeyAgreement).await?;
            let label = self.service.label.clone();
            self.build_with_public_key(public_key).map_err(|error| Error::keyring(&*label, error))
        })
    }

    /// The keyring, with the public half of its key in DER (SubjectPublicKeyInfo) or PEM. If it is not that of the key in the
    /// service, nobody can read what the keyring writes.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a key of another form or another curve.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sealwax::{Result, keyring::{AwsKmsEcdhKeyring, EcdhCurve, KmsApi}};
    /// # fn example(key: &str, its_public_key: &str, kms: Arc<dyn KmsApi>) -> Result<AwsKmsEcdhKeyring> {
    /// AwsKmsEcdhKeyring::discovery(EcdhCurve::P256, key, kms)?.build_with_public_key(its_public_key)
    /// # }
    /// ```
    pub fn build_with_public_key(self, public_key: impl AsRef<[u8]>) -> Result<AwsKmsEcdhKeyring> {
        let Self { curve, key_arn, schema, service } = self;
        let own = read_public_key("the public key of the key in AWS KMS", curve, public_key.as_ref())?;
        Ok(AwsKmsEcdhKeyring { curve, key_arn, own, schema, service })
    }
}

impl Keyring for AwsKmsEcdhKeyring {
    fn label(&self) -> Arc<str> {
        self.service.label.clone()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(self.wrap(request))
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(self.unwrap(request))
    }
}
