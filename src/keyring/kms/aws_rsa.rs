//! The AWS KMS RSA keyring.

use std::{borrow::Cow, sync::Arc};

use subtle::ConstantTimeEq;

use super::{
    KmsAlgorithm, KmsApi, KmsArn, KmsKeyUsage,
    arn::{check_key_arn, mrk_match_for_decrypt},
    service::Service,
};
use crate::{
    blocking::Operation,
    context::EncryptionContext,
    crypto::{CryptoProvider, HashAlgorithm},
    error::{Error, Result, UnwrapReason},
    format::EncryptedDataKey,
    keyring::{
        BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped,
        raw_rsa::{PublicKey, RsaPadding},
    },
    secret::SecretBytes,
    suite::AlgorithmSuite,
};

const PROVIDER_ID: &str = "aws-kms-rsa";
/// The digest of the encryption context, which is encrypted before the data key.
const DIGEST: HashAlgorithm = HashAlgorithm::Sha384;
const DIGEST_LENGTH: usize = 48;

/// Wraps data keys with the public key of an RSA pair in AWS KMS, without asking the service, and has the service unwrap
/// them. (Feature `raw-rsa`.)
///
/// | made with | encrypts | decrypts |
/// |---|---|---|
/// | [`offline`](Self::offline) | with the public key | never |
/// | [`new`](Self::new) | never | by asking the service |
/// | `new` and [`public_key`](Self::public_key) or [`fetch_public_key`](Self::fetch_public_key) | with the public key | by asking the service |
///
/// - The padding is OAEP, with SHA-1 or SHA-256. AWS KMS takes no encryption context for such keys: the keyring encrypts
///   a digest of it with the data key, and compares it when the service has decrypted.
/// - **It takes no signed suites.** Whoever has the public key can write messages, and a signature would promise what it
///   cannot keep. The default suite is a signed one: say [`AlgorithmSuite::Aes256GcmHkdfSha512CommitKey`] when
///   encrypting.
/// - A public key is not checked against the pair in AWS KMS. If it is another one's, whoever has that other pair reads the
///   messages, and this keyring does not.
/// - The key is named by its ARN, which messages carry. A replica of a multi-Region key opens what another replica wrapped.
///
/// Specification: framework/aws-kms/aws-kms-rsa-keyring.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{AlgorithmSuite, Client, Result, keyring::{AwsKmsRsaKeyring, KmsAlgorithm, KmsApi}};
///
/// # fn example(public_key_pem: &str, kms: Arc<dyn KmsApi>) -> Result<()> {
/// let key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// let writing = AwsKmsRsaKeyring::offline(key, KmsAlgorithm::RsaOaepSha256, public_key_pem)?;
/// let suite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// let sealed = Client::new().encrypt(&writing).suite(suite).bytes(b"text").wait()?;
///
/// let reading = AwsKmsRsaKeyring::new(key, KmsAlgorithm::RsaOaepSha256, kms)?;
/// assert_eq!(Client::new().decrypt(&reading).bytes(&sealed.message).wait()?.plaintext, b"text");
/// # Ok(())
/// # }
/// ```
pub struct AwsKmsRsaKeyring {
    key_arn: String,
    algorithm: KmsAlgorithm,
    padding: RsaPadding,
    public_key: Option<PublicKey>,
    service: Option<Service>,
    label: Arc<str>,
}

impl AwsKmsRsaKeyring {
    /// A keyring that decrypts by asking the service for a key pair, which its ARN names. The type has an example.
    ///
    /// # Errors
    /// [`Error::Configuration`] for what is no ARN of a key, and for an algorithm that is not RSA.
    pub fn new(key_arn: impl Into<String>, algorithm: KmsAlgorithm, kms: Arc<dyn KmsApi>) -> Result<Self> {
        let keyring = Self::bare(key_arn.into(), algorithm)?;
        let service = Some(Service::new(kms, keyring.label.clone()));
        Ok(Self { service, ..keyring })
    }

    /// A keyring that only encrypts, with the public key in PEM or DER (SubjectPublicKeyInfo), and asks no service. The
    /// type has an example.
    ///
    /// # Errors
    /// [`Error::Configuration`] as [`new`](Self::new), and as [`public_key`](Self::public_key).
    pub fn offline(key_arn: impl Into<String>, algorithm: KmsAlgorithm, public_key: impl AsRef<[u8]>) -> Result<Self> {
        Self::bare(key_arn.into(), algorithm)?.public_key(public_key)
    }

    fn bare(key_arn: String, algorithm: KmsAlgorithm) -> Result<Self> {
        check_key_arn(&key_arn)?;
        let padding = match algorithm {
            KmsAlgorithm::RsaOaepSha1 => RsaPadding::OaepSha1,
            KmsAlgorithm::RsaOaepSha256 => RsaPadding::OaepSha256,
            KmsAlgorithm::Symmetric => {
                return Err(Error::Configuration(
                    "an AWS KMS RSA keyring needs an RSA algorithm: RSAES_OAEP_SHA_256 or RSAES_OAEP_SHA_1".to_owned(),
                ));
            }
        };
        let label = format!("{PROVIDER_ID}:{key_arn}").into();
        Ok(Self { key_arn, algorithm, padding, public_key: None, service: None, label })
    }

    /// The same keyring, which encrypts, too, with this public key in PEM or DER (SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// [`Error::Configuration`] for what is not the public key of an RSA pair, or for one of less than 2,048 bits.
    ///
    /// ```
    /// use sealwax::{Error, keyring::{AwsKmsRsaKeyring, KmsAlgorithm}};
    ///
    /// let key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    /// let refused = AwsKmsRsaKeyring::offline(key, KmsAlgorithm::RsaOaepSha256, "no key");
    /// assert!(matches!(refused, Err(Error::Configuration(_))));
    /// ```
    pub fn public_key(mut self, public_key: impl AsRef<[u8]>) -> Result<Self> {
        self.public_key = Some(PublicKey::read(public_key.as_ref(), self.padding)?);
        Ok(self)
    }

    /// The same keyring, which encrypts, too, with the public key that the service is asked for now, once.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the service does not answer, or not with an RSA key for encryption of this ARN;
    /// [`Error::Configuration`] for a keyring without service.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sealwax::{Result, keyring::{AwsKmsRsaKeyring, KmsAlgorithm, KmsApi}};
    /// # async fn example(key: &str, kms: Arc<dyn KmsApi>) -> Result<()> {
    /// let keyring = AwsKmsRsaKeyring::new(key, KmsAlgorithm::RsaOaepSha256, kms)?.fetch_public_key().await?;
    /// # let _ = keyring;
    /// # Ok(())
    /// # }
    /// ```
    pub fn fetch_public_key(self) -> Operation<impl Future<Output = Result<Self>> + Send> {
        Operation::new(async move {
            let service = self.service()?;
            let public_key = service.public_key(&self.key_arn, KmsKeyUsage::EncryptDecrypt).await?;
            let label = self.label.clone();
            self.public_key(public_key).map_err(|error| Error::keyring(&*label, error))
        })
    }

    /// Grants that may not have spread through AWS KMS yet.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sealwax::{Result, keyring::{AwsKmsRsaKeyring, KmsAlgorithm, KmsApi}};
    /// # fn example(key: &str, kms: Arc<dyn KmsApi>) -> Result<AwsKmsRsaKeyring> {
    /// Ok(AwsKmsRsaKeyring::new(key, KmsAlgorithm::RsaOaepSha256, kms)?.grant_tokens(["a-grant-token"]))
    /// # }
    /// ```
    #[must_use]
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        if let Some(service) = &mut self.service {
            service.grant_tokens = tokens.into_iter().map(Into::into).collect();
        }
        self
    }

    fn service(&self) -> Result<&Service> {
        self.service.as_ref().ok_or_else(|| {
            self.refusal("has no service, and only encrypts: make one with AwsKmsRsaKeyring::new to decrypt")
        })
    }

    fn check_suite(&self, suite: AlgorithmSuite) -> Result<()> {
        if suite.is_signed() {
            return Err(self.refusal(&format!(
                "takes no signed algorithm suite such as {suite}: encrypt with one that does not sign \
                 (Aes256GcmHkdfSha512CommitKey)"
            )));
        }
        Ok(())
    }

    fn refusal(&self, why: &str) -> Error {
        Error::Configuration(format!("the keyring {} {why}", self.label))
    }

    fn wrap(&self, request: WrapRequest<'_>) -> Result<Wrapped> {
        let public_key = self.public_key.as_ref().ok_or_else(|| {
            self.refusal(
                "has no public key, and only decrypts: give it with `public_key`, or ask with `fetch_public_key`",
            )
        })?;
        self.check_suite(request.suite)?;
        let data_key = request.data_key_or_generate()?;
        let digest = context_digest(request.provider, request.context)?;
        let mut both = SecretBytes::zeroed(DIGEST_LENGTH + data_key.as_bytes().len());
        let (before, after) = both.as_mut().split_at_mut(DIGEST_LENGTH);
        before.copy_from_slice(&digest);
        after.copy_from_slice(data_key.as_bytes());
        let ciphertext =
            public_key.encrypt(both.as_bytes()).map_err(|_| Error::keyring(&*self.label, "RSA encryption failed"))?;
        Ok(data_key.wrapped_as(EncryptedDataKey::new(PROVIDER_ID, self.key_arn.as_bytes(), ciphertext)))
    }

    async fn unwrap(&self, request: UnwrapRequest<'_>) -> Result<Unwrapped> {
        let service = self.service()?;
        self.check_suite(request.suite)?;
        let own = KmsArn::parse(&self.key_arn)?;
        let candidates = service.candidates(request, PROVIDER_ID, |_, found| {
            mrk_match_for_decrypt(own, found).then(|| Cow::from(self.key_arn.clone()))
        })?;
        let digest = context_digest(request.provider, request.context)?;
        // Anyone can make what decrypts to anything: what was wrong with it is not told. A wrong length is recorded as
        // the same.
        let finish = |_: &str, both: SecretBytes| match both.as_bytes().split_at_checked(DIGEST_LENGTH) {
            Some((found, data_key)) if bool::from(found.ct_eq(&digest)) => Ok(SecretBytes::from(data_key)),
            _ => Err(UnwrapReason::NotAuthentic),
        };
        service.unwrap_with(request, self.algorithm, candidates, finish).await
    }
}

/// Specification: framework/aws-kms/aws-kms-rsa-keyring, "Encryption Context Digest".
fn context_digest(provider: &dyn CryptoProvider, context: &EncryptionContext) -> Result<[u8; DIGEST_LENGTH]> {
    let mut digest = provider.digest(DIGEST);
    digest.update(&context.serialize()?);
    digest.finish().try_into().map_err(|_| Error::Provider("a SHA-384 digest has another length"))
}

impl Keyring for AwsKmsRsaKeyring {
    fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move { self.wrap(request) })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(self.unwrap(request))
    }
}
