//! AWS KMS through the official SDK.

mod answer;
#[cfg(feature = "config")]
mod connect;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod failure;
mod regions;
mod runtime;

use std::collections::HashMap;

use aws_sdk_kms::{
    Client, Config,
    config::SharedInterceptor,
    primitives::Blob,
    types::{EncryptionAlgorithmSpec, KeyAgreementAlgorithmSpec, KeyUsageType},
};
use sealwax::{
    EncryptionContext, SecretBytes,
    keyring::{
        BoxFuture, DeriveSharedSecret, GenerateDataKey, GeneratedDataKey, GetPublicKey, KmsAlgorithm, KmsApi,
        KmsCiphertext, KmsDecrypt, KmsEncrypt, KmsError, KmsErrorKind, KmsKeyUsage, KmsOperation, KmsPlaintext,
        KmsPublicKey, KmsReEncrypt, KmsReEncrypted, KmsSharedSecret,
    },
};
use tokio::runtime::Handle;

#[cfg(feature = "dynamodb")]
pub use self::dynamodb::DynamoDbTable;
pub use self::regions::AwsSdkKmsSupplier;
use self::{answer::Guard, failure::Asked, runtime::Runtime};

/// A client for AWS KMS in one region, based on `aws-sdk-kms`.
///
/// The region, credentials, endpoint, timeouts and retries come from the SDK's configuration. By
/// default, the SDK makes at most three attempts (on throttling, responses with status 500 and
/// above, and broken connections) and gives up on a connection that is not established within 3.1
/// seconds, but it waits for a response **without a time limit** unless the configuration sets one:
///
/// ```
/// use std::time::Duration;
///
/// use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig};
/// use sealwax_aws::AwsSdkKms;
///
/// let timeouts = TimeoutConfig::builder()
///     .operation_attempt_timeout(Duration::from_secs(5)) // one call
///     .operation_timeout(Duration::from_secs(20)) // with its retries
///     .build();
/// let config = aws_sdk_kms::Config::builder()
///     .behavior_version(BehaviorVersion::latest())
///     .region(Region::new("eu-central-1"))
///     .credentials_provider(Credentials::new("AKIDEXAMPLE", "the secret key", None, None, "example"))
///     .timeout_config(timeouts)
///     .retry_config(RetryConfig::standard().with_max_attempts(4))
///     .build();
/// let kms = AwsSdkKms::new(config);
/// # let _ = kms;
/// ```
///
/// With the feature `config`, `AwsSdkKmsSupplier::from_environment` uses the configuration of
/// the AWS tools and sets these two timeouts.
///
/// # The runtime
///
/// The SDK works only within Tokio. Await operations in a Tokio runtime with I/O and time enabled.
/// Outside of a runtime, every call fails with [`KmsErrorKind::Unavailable`] and an explanation. A
/// program that has no runtime passes one to [`on`](Self::on); then
/// [`Operation::wait`](sealwax::Operation::wait) works on any thread.
///
/// # What is disclosed
///
/// The user agent of requests, which CloudTrail records, contains `lib/sealwax` and the version
/// after the SDK's own. Responses of more than 64 KiB are not read. Errors contain the service's
/// message only if it is safe to show: never one that repeats a context value, a ciphertext or a
/// plaintext, and never one about signatures, because those repeat session tokens.
///
/// Data keys are moved out of the SDK's response and overwritten when dropped. The SDK frees the
/// text of the response, from which it decoded them, without overwriting it, and so it does with
/// the request that sends a data key to be encrypted. At log level `trace` the SDK logs requests,
/// plaintexts included: keep the targets `aws_smithy_runtime` and `hyper` below that.
#[derive(Clone)]
pub struct AwsSdkKms {
    client: Client,
    runtime: Runtime,
}

impl AwsSdkKms {
    /// Creates a client with this configuration.
    ///
    /// With the feature `config`, a configuration without an HTTP client gets HTTPS with
    /// rustls, ring, the system's certificates and no proxy. Without the feature it must have an
    /// HTTP client.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut builder = config.to_builder();
        builder.push_interceptor(SharedInterceptor::new(Guard::KMS));
        #[cfg(feature = "config")]
        if config.http_client().is_none() {
            builder.set_http_client(Some(connect::direct()));
        }
        Self { client: Client::from_conf(builder.build()), runtime: Runtime::default() }
    }

    /// Makes all calls on this runtime, whichever thread awaits them.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use sealwax::{Client, keyring::KmsKeyring};
    /// use sealwax_aws::AwsSdkKms;
    ///
    /// # fn example(config: aws_sdk_kms::Config) -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// let kms = AwsSdkKms::new(config).on(runtime.handle().clone());
    /// // A current-thread runtime must be driven; a multi-threaded one drives itself.
    /// std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    ///
    /// let keyring = KmsKeyring::with_alias("example", "alias/orders", Arc::new(kms))?;
    /// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
    /// # let _ = sealed;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on(self, runtime: Handle) -> Self {
        Self { runtime: Runtime(Some(runtime)), ..self }
    }

    /// Runs a call on the runtime.
    async fn call<T: Send + 'static>(
        &self,
        asked: &Asked<'_>,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, KmsError> {
        self.runtime.call(call).await.map_err(|(kind, cause)| asked.failed(kind).caused_by(cause))
    }
}

impl KmsApi for AwsSdkKms {
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        Box::pin(async move {
            let asked = Asked::new(KmsOperation::GenerateDataKey, request.key_id).context(request.context);
            let length = i32::try_from(request.length).map_err(|_| asked.failed(KmsErrorKind::InvalidRequest))?;
            let call = self.client.generate_data_key().key_id(request.key_id).number_of_bytes(length);
            let call = call.set_encryption_context(pairs(request.context));
            let call = call.set_grant_tokens(tokens(request.grant_tokens)).send();
            let answer = self.call(&asked, call).await?.map_err(|error| asked.refused(error))?;
            let ciphertext = asked.present(answer.ciphertext_blob, "it lacks the encrypted data key")?;
            Ok(GeneratedDataKey {
                key_id: asked.present(answer.key_id, NO_KEY_ID)?,
                plaintext: secret(asked.present(answer.plaintext, "it lacks the data key")?),
                ciphertext: ciphertext.into_inner(),
            })
        })
    }

    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        Box::pin(async move {
            let asked = Asked::new(KmsOperation::Encrypt, request.key_id).context(request.context);
            let asked = asked.sent(request.plaintext);
            let call = self.client.encrypt().key_id(request.key_id).plaintext(Blob::new(request.plaintext));
            let call = call
                .set_encryption_context(pairs(request.context))
                .encryption_algorithm(spec(&asked, request.algorithm)?);
            let call = call.set_grant_tokens(tokens(request.grant_tokens)).send();
            let answer = self.call(&asked, call).await?.map_err(|error| asked.refused(error))?;
            let ciphertext = asked.present(answer.ciphertext_blob, "it lacks the ciphertext")?;
            Ok(KmsCiphertext { key_id: asked.present(answer.key_id, NO_KEY_ID)?, ciphertext: ciphertext.into_inner() })
        })
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        Box::pin(async move {
            let asked = Asked::new(KmsOperation::Decrypt, request.key_id).context(request.context);
            let asked = asked.sent(request.ciphertext);
            let call = self.client.decrypt().key_id(request.key_id).ciphertext_blob(Blob::new(request.ciphertext));
            let call = call
                .set_encryption_context(pairs(request.context))
                .encryption_algorithm(spec(&asked, request.algorithm)?);
            let call = call.set_grant_tokens(tokens(request.grant_tokens)).send();
            let answer = self.call(&asked, call).await?.map_err(|error| asked.refused(error))?;
            Ok(KmsPlaintext {
                key_id: asked.present(answer.key_id, NO_KEY_ID)?,
                plaintext: secret(asked.present(answer.plaintext, "it lacks the plaintext")?),
            })
        })
    }

    fn get_public_key<'a>(&'a self, request: GetPublicKey<'a>) -> BoxFuture<'a, Result<KmsPublicKey, KmsError>> {
        Box::pin(async move {
            let asked = Asked::new(KmsOperation::GetPublicKey, request.key_id);
            let call = self.client.get_public_key().key_id(request.key_id);
            let call = call.set_grant_tokens(tokens(request.grant_tokens)).send();
            let answer = self.call(&asked, call).await?.map_err(|error| asked.refused(error))?;
            Ok(KmsPublicKey {
                key_id: asked.present(answer.key_id, NO_KEY_ID)?,
                usage: answer.key_usage.as_ref().map(usage),
                public_key: asked.present(answer.public_key, "it lacks the public key")?.into_inner(),
            })
        })
    }

    fn derive_shared_secret<'a>(
        &'a self,
        request: DeriveSharedSecret<'a>,
    ) -> BoxFuture<'a, Result<KmsSharedSecret, KmsError>> {
        Box::pin(async move {
            let asked = Asked::new(KmsOperation::DeriveSharedSecret, request.key_id);
            let call = self.client.derive_shared_secret().key_id(request.key_id);
            let call = call.key_agreement_algorithm(KeyAgreementAlgorithmSpec::Ecdh);
            let call = call.public_key(Blob::new(request.public_key));
            let call = call.set_grant_tokens(tokens(request.grant_tokens)).send();
            let answer = self.call(&asked, call).await?.map_err(|error| asked.refused(error))?;
            Ok(KmsSharedSecret {
                key_id: asked.present(answer.key_id, NO_KEY_ID)?,
                shared_secret: secret(asked.present(answer.shared_secret, "it lacks the shared secret")?),
            })
        })
    }

    fn generate_data_key_without_plaintext<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        Box::pin(async move {
            let operation = KmsOperation::GenerateDataKeyWithoutPlaintext;
            let asked = Asked::new(operation, request.key_id).context(request.context);
            let length = i32::try_from(request.length).map_err(|_| asked.failed(KmsErrorKind::InvalidRequest))?;
            let call = self.client.generate_data_key_without_plaintext();
            let call = call.key_id(request.key_id).number_of_bytes(length);
            let call = call.set_encryption_context(pairs(request.context));
            let call = call.set_grant_tokens(tokens(request.grant_tokens)).send();
            let answer = self.call(&asked, call).await?.map_err(|error| asked.refused(error))?;
            let ciphertext = asked.present(answer.ciphertext_blob, "it lacks the encrypted data key")?;
            Ok(KmsCiphertext { key_id: asked.present(answer.key_id, NO_KEY_ID)?, ciphertext: ciphertext.into_inner() })
        })
    }

    fn re_encrypt<'a>(&'a self, request: KmsReEncrypt<'a>) -> BoxFuture<'a, Result<KmsReEncrypted, KmsError>> {
        Box::pin(async move {
            let asked = Asked::new(KmsOperation::ReEncrypt, request.source_key_id).context(request.source_context);
            let asked = asked.context(request.destination_context).sent(request.ciphertext);
            let call = self.client.re_encrypt().ciphertext_blob(Blob::new(request.ciphertext));
            let call = call.source_key_id(request.source_key_id).destination_key_id(request.destination_key_id);
            let call = call.set_source_encryption_context(pairs(request.source_context));
            let call = call.set_destination_encryption_context(pairs(request.destination_context));
            let call = call.set_grant_tokens(tokens(request.grant_tokens)).send();
            let answer = self.call(&asked, call).await?.map_err(|error| asked.refused(error))?;
            let ciphertext = asked.present(answer.ciphertext_blob, "it lacks the ciphertext")?;
            Ok(KmsReEncrypted {
                source_key_id: asked.present(answer.source_key_id, "it does not name the source key")?,
                key_id: asked.present(answer.key_id, NO_KEY_ID)?,
                ciphertext: ciphertext.into_inner(),
            })
        })
    }
}

const NO_KEY_ID: &str = "it does not name the key";

fn secret(blob: Blob) -> SecretBytes {
    SecretBytes::from(blob.into_inner())
}

fn pairs(context: &EncryptionContext) -> Option<HashMap<String, String>> {
    let pairs: HashMap<_, _> = context.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    (!pairs.is_empty()).then_some(pairs)
}

fn tokens(tokens: &[String]) -> Option<Vec<String>> {
    (!tokens.is_empty()).then(|| tokens.to_vec())
}

fn usage(usage: &KeyUsageType) -> KmsKeyUsage {
    match usage {
        KeyUsageType::EncryptDecrypt => KmsKeyUsage::EncryptDecrypt,
        KeyUsageType::KeyAgreement => KmsKeyUsage::KeyAgreement,
        _ => KmsKeyUsage::Other,
    }
}

fn spec(asked: &Asked<'_>, algorithm: KmsAlgorithm) -> Result<EncryptionAlgorithmSpec, KmsError> {
    match algorithm {
        KmsAlgorithm::Symmetric => Ok(EncryptionAlgorithmSpec::SymmetricDefault),
        KmsAlgorithm::RsaOaepSha1 => Ok(EncryptionAlgorithmSpec::RsaesOaepSha1),
        KmsAlgorithm::RsaOaepSha256 => Ok(EncryptionAlgorithmSpec::RsaesOaepSha256),
        _ => Err(asked.failed(KmsErrorKind::Unsupported)),
    }
}

/// Compiles the program in the guide.
#[cfg(all(doctest, feature = "config"))]
#[doc = include_str!("../../../../docs/AWS-KMS.md")]
struct Guide;

/// Compiles the program in the guide to key hierarchies.
#[cfg(all(doctest, feature = "config", feature = "dynamodb"))]
#[doc = include_str!("../../../../docs/HIERARCHICAL.md")]
struct HierarchyGuide;
