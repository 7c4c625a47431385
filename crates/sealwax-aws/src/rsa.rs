//! The AWS KMS RSA keyring.

use std::{borrow::Cow, sync::Arc};

use subtle::ConstantTimeEq;

use sealwax::{
    AlgorithmSuite, EncryptedDataKey, EncryptionContext, Error, Operation, Result, SecretBytes, UnwrapReason,
    crypto::{CryptoProvider, HashAlgorithm},
    keyring::{
        BoxFuture, Keyring, KmsAlgorithm, KmsApi, KmsKeyUsage, KmsService, RsaPadding, RsaPublicKey, UnwrapRequest,
        Unwrapped, WrapRequest, Wrapped,
    },
};

use crate::{
    KmsArn,
    arn::{check_key_arn, mrk_match_for_decrypt},
    candidates::candidates,
};

const PROVIDER_ID: &str = "aws-kms-rsa";
/// The hash of the encryption context, which is encrypted in front of the data key.
const DIGEST: HashAlgorithm = HashAlgorithm::Sha384;
const DIGEST_LENGTH: usize = 48;

/// A keyring that wraps data keys locally with the public key of an RSA key pair in AWS KMS, and
/// calls the service to unwrap them. (Feature `rsa`.)
///
/// | constructor | encrypts | decrypts |
/// |---|---|---|
/// | [`offline`](Self::offline) | with the public key | never |
/// | [`new`](Self::new) | never | by calling the service |
/// | `new` and [`public_key`](Self::public_key) or [`fetch_public_key`](Self::fetch_public_key) | with the public key | by calling the service |
///
/// - The padding is OAEP with SHA-1 or SHA-256. AWS KMS takes no encryption context for such keys,
///   so the keyring encrypts a hash of the context along with the data key, and compares it after
///   decryption.
/// - **Signed suites are not supported.** Anyone with the public key can write messages, so a
///   signature would promise more than it proves. The default suite is signed: choose
///   [`AlgorithmSuite::Aes256GcmHkdfSha512CommitKey`] to encrypt.
/// - The public key is not checked against the key pair in AWS KMS. If it belongs to another key
///   pair, the owner of that pair can read the messages, and this keyring cannot.
/// - Messages contain the ARN of the key. A replica of a multi-Region key opens what another
///   replica wrapped.
///
/// Specification: framework/aws-kms/aws-kms-rsa-keyring.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{AlgorithmSuite, Client, Result, keyring::{KmsAlgorithm, KmsApi}};
/// use sealwax_aws::AwsKmsRsaKeyring;
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
    public_key: Option<RsaPublicKey>,
    service: Option<KmsService>,
    label: Arc<str>,
}

impl AwsKmsRsaKeyring {
    /// Creates a keyring that decrypts by calling the service with the ARN of a key pair.
    ///
    /// # Errors
    /// [`Error::Configuration`] if `key_arn` is not the ARN of a key or if the algorithm is not
    /// RSA.
    pub fn new(key_arn: impl Into<String>, algorithm: KmsAlgorithm, kms: Arc<dyn KmsApi>) -> Result<Self> {
        let keyring = Self::bare(key_arn.into(), algorithm)?;
        let service = Some(KmsService::new(kms, keyring.label.clone()));
        Ok(Self { service, ..keyring })
    }

    /// Creates a keyring that only encrypts and never calls the service, with the public key in PEM
    /// or DER (SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// [`Error::Configuration`], as for [`new`](Self::new) and [`public_key`](Self::public_key).
    pub fn offline(key_arn: impl Into<String>, algorithm: KmsAlgorithm, public_key: impl AsRef<[u8]>) -> Result<Self> {
        Self::bare(key_arn.into(), algorithm)?.public_key(public_key)
    }

    fn bare(key_arn: String, algorithm: KmsAlgorithm) -> Result<Self> {
        check_key_arn(&key_arn)?;
        let padding = match algorithm {
            KmsAlgorithm::RsaOaepSha1 => RsaPadding::OaepSha1,
            KmsAlgorithm::RsaOaepSha256 => RsaPadding::OaepSha256,
            _ => {
                return Err(Error::Configuration(
                    "an AWS KMS RSA keyring needs an RSA algorithm: RSAES_OAEP_SHA_256 or RSAES_OAEP_SHA_1".to_owned(),
                ));
            }
        };
        let label = format!("{PROVIDER_ID}:{key_arn}").into();
        Ok(Self { key_arn, algorithm, padding, public_key: None, service: None, label })
    }

    /// Sets the public key, in PEM or DER (SubjectPublicKeyInfo), so that the keyring can encrypt
    /// too.
    ///
    /// # Errors
    /// [`Error::Configuration`] if this is not an RSA public key or has fewer than 2,048 bits.
    pub fn public_key(mut self, public_key: impl AsRef<[u8]>) -> Result<Self> {
        self.public_key = Some(RsaPublicKey::read(public_key.as_ref(), self.padding)?);
        Ok(self)
    }

    /// Fetches the public key from the service with one call, so that the keyring can encrypt too.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the call fails, or if the response is not an RSA encryption key with
    /// this ARN; [`Error::Configuration`] if the keyring has no service.
    pub fn fetch_public_key(self) -> Operation<impl Future<Output = Result<Self>> + Send> {
        Operation::new(async move {
            let service = self.service()?;
            let public_key = service.public_key(&self.key_arn, KmsKeyUsage::EncryptDecrypt).await?;
            let label = self.label.clone();
            self.public_key(public_key).map_err(|error| Error::keyring(&*label, error))
        })
    }

    /// Sets tokens of grants that may not have taken effect throughout AWS KMS yet.
    #[must_use]
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.service = self.service.map(|service| service.grant_tokens(tokens));
        self
    }

    fn service(&self) -> Result<&KmsService> {
        self.service.as_ref().ok_or_else(|| {
            self.refusal("has no service and can only encrypt; create one with AwsKmsRsaKeyring::new to decrypt")
        })
    }

    fn check_suite(&self, suite: AlgorithmSuite) -> Result<()> {
        if suite.is_signed() {
            return Err(self.refusal(&format!(
                "does not support signed algorithm suites such as {suite}; encrypt with an unsigned one \
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
            self.refusal("has no public key and can only decrypt; add it with `public_key` or `fetch_public_key`")
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
        let candidates = candidates(service, request, PROVIDER_ID, |_, found| {
            mrk_match_for_decrypt(own, found).then(|| Cow::from(self.key_arn.clone()))
        })?;
        let digest = context_digest(request.provider, request.context)?;
        // Anyone can make a ciphertext that decrypts to arbitrary bytes, so every failure has the
        // same reason, also a data key of the wrong length.
        let finish = |_: &str, both: SecretBytes| match both.as_bytes().split_at_checked(DIGEST_LENGTH) {
            Some((found, data_key)) if bool::from(found.ct_eq(&digest)) => Ok(SecretBytes::from(data_key)),
            _ => Err(UnwrapReason::NotAuthentic),
        };
        service.unwrap_with(request, self.algorithm, candidates, finish).await
    }
}

/// Returns the hash of the encryption context.
///
/// Specification: framework/aws-kms/aws-kms-rsa-keyring, "Encryption Context Digest".
fn context_digest(provider: &dyn CryptoProvider, context: &EncryptionContext) -> Result<[u8; DIGEST_LENGTH]> {
    let mut digest = provider.digest(DIGEST);
    digest.update(&context.serialize()?);
    digest.finish().try_into().map_err(|_| Error::Provider("a SHA-384 digest does not have 48 bytes"))
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
