//! What the keyrings share: the encrypted data keys to try, and refusals.

use std::borrow::Cow;

use sealwax::{
    Error, Escaped, Result, UnwrapReason,
    keyring::{KmsCandidate, KmsService, UnwrapRequest},
};

use crate::KmsArn;

/// The key provider id of data keys that AWS KMS wraps under symmetric keys.
pub(crate) const AWS_KMS: &str = "aws-kms";

/// Returns the encrypted data keys that a keyring should try. For the ARN in each of them,
/// `key_to_ask` returns the key id to call, or `None` to skip it.
///
/// # Errors
/// [`Error::NotUnwrapped`], before any call, if the provider information of one of them is not
/// the ARN of a key. Each "OnDecrypt" section of the specification requires this, and no AWS
/// KMS keyring writes such an encrypted data key.
pub(crate) fn candidates<'a>(
    service: &KmsService,
    request: UnwrapRequest<'a>,
    provider_id: &str,
    key_to_ask: impl Fn(&'a str, KmsArn<'a>) -> Option<Cow<'a, str>>,
) -> Result<Vec<KmsCandidate<'a>>> {
    let mut candidates = Vec::new();
    for (index, key) in request.candidates(|key| key.provider_id() == provider_id) {
        let text = str::from_utf8(key.provider_info()).ok();
        let arn = text.and_then(|text| Some((text, KmsArn::parse(text).ok().filter(KmsArn::is_key)?)));
        let Some((text, arn)) = arn else {
            let mut attempts = request.attempts(service.label());
            let why = "its provider information is not the ARN of an AWS KMS key";
            let _ = attempts.record(index, Err(UnwrapReason::Failed(why.into())));
            return Err(attempts.into_error());
        };
        candidates.extend(key_to_ask(text, arn).map(|key_id| KmsCandidate { index, key_id, key }));
    }
    Ok(candidates)
}

/// Returns an error that names the keyring with this label.
pub(crate) fn refusal(label: &str, why: &str) -> Error {
    Error::Configuration(format!("the keyring {} {why}", Escaped(label)))
}
