//! The AWS KMS ECDH keyring.

use std::sync::Arc;

use sealwax::{
    EncryptedDataKey, Error, Operation, Result, SecretBytes, UnwrapReason,
    keyring::{
        BoxFuture, EcdhAgreement, EcdhCurve, EcdhParties, EcdhWrappedKey, Keyring, KmsApi, KmsError, KmsKeyUsage,
        KmsService, UnwrapRequest, Unwrapped, WrapRequest, Wrapped,
    },
};

use crate::{arn::check_key_arn, candidates::refusal};

/// The key provider id of data keys that this keyring wraps.
const PROVIDER_ID: &str = "aws-kms-ecdh";

/// A keyring that wraps data keys for the owner of an elliptic-curve key pair, with its own private
/// key in AWS KMS. (Feature `ecdh`.)
///
/// | constructor | keys | encrypts | decrypts |
/// |---|---|---|---|
/// | [`static_keys`](Self::static_keys) | the ARN of its own key, another's public key | for the other | messages between the two |
/// | [`discovery`](Self::discovery) | the ARN of its own key | never | any message for this key |
///
/// Encryption makes one call for a shared secret. Decryption makes one for each encrypted data key
/// for this key, until one opens. The shared secret of two keys is always the same; the wrapping
/// key derived from it is new for each message. This keyring and
/// [`RawEcdhKeyring`](sealwax::keyring::RawEcdhKeyring) open each other's messages: one side can have
/// its private key in AWS KMS and the other in a file.
///
/// Specification: framework/aws-kms/aws-kms-ecdh-keyring and framework/key-agreement-schemas.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{Client, Result, keyring::{EcdhCurve, KmsApi}};
/// use sealwax_aws::AwsKmsEcdhKeyring;
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
    /// The compressed public key of the key pair in the service.
    own: Vec<u8>,
    schema: Schema,
    service: KmsService,
}

/// The keys besides the keyring's own; public keys are compressed.
enum Schema {
    Static { recipient: Vec<u8> },
    Discovery,
}

/// A builder for an [`AwsKmsEcdhKeyring`], which still needs the public key of its key pair.
#[must_use = "`build` makes the keyring"]
pub struct AwsKmsEcdhKeyringBuilder {
    curve: EcdhCurve,
    key_arn: String,
    schema: Schema,
    service: KmsService,
}

impl AwsKmsEcdhKeyring {
    /// Returns a builder for a keyring between the key in AWS KMS and another's public key, given
    /// in DER (SubjectPublicKeyInfo) or PEM. It encrypts for the other and decrypts messages that
    /// either of the two wrote for the other.
    ///
    /// The specification calls this KmsPrivateKeyToStaticPublicKey.
    ///
    /// # Errors
    /// [`Error::Configuration`] if `key_arn` is not the ARN of a key, or if the public key has
    /// another form or is on another curve.
    pub fn static_keys(
        curve: EcdhCurve,
        key_arn: impl Into<String>,
        recipient_public_key: impl AsRef<[u8]>,
        kms: Arc<dyn KmsApi>,
    ) -> Result<AwsKmsEcdhKeyringBuilder> {
        let recipient = curve.read_public_key("the recipient's public key", recipient_public_key.as_ref())?;
        AwsKmsEcdhKeyringBuilder::new(curve, key_arn.into(), Schema::Static { recipient }, kms)
    }

    /// Returns a builder for a keyring that decrypts any message for the key in AWS KMS. It cannot
    /// encrypt.
    ///
    /// The specification calls this KmsPublicKeyDiscovery.
    ///
    /// # Errors
    /// [`Error::Configuration`] if `key_arn` is not the ARN of a key.
    pub fn discovery(
        curve: EcdhCurve,
        key_arn: impl Into<String>,
        kms: Arc<dyn KmsApi>,
    ) -> Result<AwsKmsEcdhKeyringBuilder> {
        AwsKmsEcdhKeyringBuilder::new(curve, key_arn.into(), Schema::Discovery, kms)
    }

    /// Returns the secret shared with the owner of this compressed public key.
    async fn agree(&self, public_key: &[u8]) -> Result<SecretBytes, Refusal> {
        let der = self.curve.public_key_der(public_key).map_err(|_| Refusal::NoPoint)?;
        let length = self.curve.shared_secret_length();
        self.service.derive_shared_secret(&self.key_arn, &der, length).await.map_err(Refusal::Service)
    }

    async fn wrap(&self, request: WrapRequest<'_>) -> Result<Wrapped> {
        let Schema::Static { recipient } = &self.schema else {
            return Err(refusal(
                &self.label(),
                "has no recipient and cannot encrypt; create one with the recipient's public key \
                 (AwsKmsEcdhKeyring::static_keys)",
            ));
        };
        let context = request.context.serialize()?;
        let shared_secret = self.agree(recipient).await.map_err(|refusal| match refusal {
            Refusal::NoPoint => Error::Integrity,
            Refusal::Service(error) => Error::keyring(&*self.label(), error),
        })?;
        let data_key = request.data_key_or_generate()?;
        let parties = EcdhParties { sender: &self.own, recipient };
        let agreement = EcdhAgreement { curve: self.curve, parties, shared_secret, context: &context };
        let encrypted = agreement.wrap(request.provider, PROVIDER_ID, data_key.as_bytes())?;
        Ok(data_key.wrapped_as(encrypted))
    }

    /// Returns the parties of an encrypted data key if it is for this keyring.
    fn parties_if_ours<'a>(&self, key: &'a EncryptedDataKey) -> Option<EcdhParties<'a>> {
        let parties = EcdhParties::of(self.curve, key)?;
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
        let wrapped = EcdhWrappedKey::parse(key.ciphertext()).map_err(local)?;
        let other = match &self.schema {
            Schema::Static { recipient } => recipient,
            Schema::Discovery => parties.sender,
        };
        let shared_secret = self.agree(other).await.map_err(|refusal| match refusal {
            Refusal::NoPoint => UnwrapReason::NotAuthentic,
            Refusal::Service(error) => error.into(),
        })?;
        let agreement = EcdhAgreement { curve: self.curve, parties, shared_secret, context };
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

/// The reason why there is no shared secret.
enum Refusal {
    /// The other public key is not a point on the curve.
    NoPoint,
    Service(KmsError),
}

impl AwsKmsEcdhKeyringBuilder {
    fn new(curve: EcdhCurve, key_arn: String, schema: Schema, kms: Arc<dyn KmsApi>) -> Result<Self> {
        check_key_arn(&key_arn)?;
        let service = KmsService::new(kms, format!("{PROVIDER_ID}:{key_arn}"));
        Ok(Self { curve, key_arn, schema, service })
    }

    /// Sets tokens of grants that may not have taken effect throughout AWS KMS yet.
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.service = self.service.grant_tokens(tokens);
        self
    }

    /// Builds the keyring, after one call that fetches the public key of its key pair.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the call fails, or if the response is not a key-agreement key with
    /// this ARN on this curve.
    pub fn build(self) -> Operation<impl Future<Output = Result<AwsKmsEcdhKeyring>> + Send> {
        Operation::new(async move {
            let public_key = self.service.public_key(&self.key_arn, KmsKeyUsage::KeyAgreement).await?;
            let label = self.service.label();
            self.build_with_public_key(public_key).map_err(|error| Error::keyring(&*label, error))
        })
    }

    /// Builds the keyring without a call, with the public key of its key pair in DER
    /// (SubjectPublicKeyInfo) or PEM.
    ///
    /// If the public key does not belong to the key in AWS KMS, nobody can decrypt what the keyring
    /// encrypts.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the key has another form or is on another curve.
    pub fn build_with_public_key(self, public_key: impl AsRef<[u8]>) -> Result<AwsKmsEcdhKeyring> {
        let Self { curve, key_arn, schema, service } = self;
        let own = curve.read_public_key("the public key of the key in AWS KMS", public_key.as_ref())?;
        Ok(AwsKmsEcdhKeyring { curve, key_arn, own, schema, service })
    }
}

impl Keyring for AwsKmsEcdhKeyring {
    fn label(&self) -> Arc<str> {
        self.service.label()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(self.wrap(request))
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(self.unwrap(request))
    }
}
