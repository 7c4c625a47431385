//! The AWS KMS keyring and its multi-Region variant.

use std::{borrow::Cow, sync::Arc};

use sealwax::{
    Result,
    keyring::{BoxFuture, Keyring, KmsApi, KmsService, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};

use crate::{
    KmsArn,
    arn::{KeyIdentifier, mrk_match_for_decrypt},
    candidates::{AWS_KMS, candidates, refusal},
};

/// A keyring that wraps and unwraps data keys under one symmetric key of AWS KMS.
///
/// | constructor | decrypts data keys wrapped under |
/// |---|---|
/// | [`new`](Self::new) | exactly this key |
/// | [`mrk_aware`](Self::mrk_aware) | this key or, if it is a multi-Region key, its replica in any region |
///
/// Encryption makes one call. Decryption makes one for each encrypted data key of this key, until
/// one opens. Every response must come from the requested key.
///
/// To decrypt, the keyring needs the ARN of the key: messages contain the ARN, and an alias or a
/// bare id cannot be compared with it. To decrypt what any key wrapped, use
/// [`AwsKmsDiscoveryKeyring`](super::AwsKmsDiscoveryKeyring); for several keys,
/// [`AwsKmsMultiKeyrings`](super::AwsKmsMultiKeyrings).
///
/// Specification: framework/aws-kms/aws-kms-keyring and framework/aws-kms/aws-kms-mrk-keyring.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{Client, keyring::KmsApi};
/// use sealwax_aws::AwsKmsKeyring;
///
/// # fn example(kms: Arc<dyn KmsApi>) -> sealwax::Result<()> {
/// let key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// let keyring = AwsKmsKeyring::new(key, kms)?.grant_tokens(["a-grant-token"]);
///
/// let client = Client::new();
/// let sealed = client.encrypt(&keyring).context([("tenant", "blue")]).bytes(b"my secret").wait()?;
/// let opened = client.decrypt(&keyring).context([("tenant", "blue")]).bytes(&sealed.message).wait()?;
/// assert_eq!(opened.plaintext, b"my secret");
/// # Ok(())
/// # }
/// ```
pub struct AwsKmsKeyring {
    key_id: String,
    opens: Opens,
    service: KmsService,
}

/// Which encrypted data keys the keyring opens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opens {
    ThisKey,
    AnyReplica,
}

impl AwsKmsKeyring {
    /// Creates a keyring over a key, given by its ARN. A keyring that only encrypts also accepts
    /// the ARN of an alias, `alias/NAME` or the id of the key.
    ///
    /// # Errors
    /// [`Error::Configuration`](sealwax::Error::Configuration) if `key_id` is none of these.
    pub fn new(key_id: impl Into<String>, kms: Arc<dyn KmsApi>) -> Result<Self> {
        Self::with(key_id.into(), Opens::ThisKey, "aws-kms", kms)
    }

    /// Creates a keyring that also decrypts data keys wrapped under a replica of the key in another
    /// region, if it is a multi-Region key. It calls only `kms`, which must be the service of the
    /// region in `key_id`.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sealwax::keyring::KmsApi;
    /// # use sealwax_aws::AwsKmsKeyring;
    /// # fn example(kms_of_us_east_1: Arc<dyn KmsApi>) -> sealwax::Result<()> {
    /// // Also opens messages of arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab.
    /// let key = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
    /// let keyring = AwsKmsKeyring::mrk_aware(key, kms_of_us_east_1)?;
    /// # let _ = keyring;
    /// # Ok(())
    /// # }
    /// ```
    pub fn mrk_aware(key_id: impl Into<String>, kms: Arc<dyn KmsApi>) -> Result<Self> {
        Self::with(key_id.into(), Opens::AnyReplica, "aws-kms-mrk", kms)
    }

    fn with(key_id: String, opens: Opens, scheme: &str, kms: Arc<dyn KmsApi>) -> Result<Self> {
        KeyIdentifier::parse(&key_id)?;
        let service = KmsService::new(kms, format!("{scheme}:{key_id}"));
        Ok(Self { key_id, opens, service })
    }

    /// Sets tokens of grants that may not have taken effect throughout AWS KMS yet.
    #[must_use]
    pub fn grant_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.service = self.service.grant_tokens(tokens);
        self
    }

    async fn unwrap(&self, request: UnwrapRequest<'_>) -> Result<Unwrapped> {
        let Some(own) = KmsArn::parse(&self.key_id).ok().filter(KmsArn::is_key) else {
            return Err(refusal(
                &self.label(),
                "cannot decrypt: messages identify keys by ARN; use the ARN of the key \
                 (arn:aws:kms:REGION:ACCOUNT:key/ID) or a discovery keyring",
            ));
        };
        // A multi-Region key is called in our region, by its configured ARN, whichever replica
        // wrapped.
        let candidates = candidates(&self.service, request, AWS_KMS, |_, found| {
            let is_ours = own == found || self.opens == Opens::AnyReplica && mrk_match_for_decrypt(own, found);
            is_ours.then(|| Cow::from(self.key_id.clone()))
        })?;
        self.service.unwrap(request, candidates).await
    }
}

impl Keyring for AwsKmsKeyring {
    fn label(&self) -> Arc<str> {
        self.service.label()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        let is_right = |answered_by: &str| match (KeyIdentifier::parse(&self.key_id), KmsArn::parse(answered_by)) {
            (Ok(asked), Ok(answer)) => asked.may_be(answer),
            _ => false,
        };
        Box::pin(self.service.wrap(AWS_KMS, &self.key_id, is_right, request))
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(self.unwrap(request))
    }
}
