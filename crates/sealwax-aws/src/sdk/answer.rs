//! An interceptor for every request and response of the SDK: the user agent, and a limit on the
//! length of responses.

use aws_sdk_kms::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut},
    },
    error::BoxError,
};
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// The part of the user agent that follows the SDK's own.
const USER_AGENT: &str = concat!("lib/sealwax#", env!("CARGO_PKG_VERSION"));

/// An interceptor that names this crate in requests and limits responses, which the SDK itself
/// would read without limit.
#[derive(Debug)]
pub(super) struct Guard {
    /// The limit for the length of a response in bytes.
    longest: usize,
}

impl Guard {
    /// The longest valid responses of AWS KMS, a data key under an RSA 4096 key or the ciphertext of
    /// 4 KiB with all its metadata, are shorter than 20,000 bytes.
    pub(super) const KMS: Self = Self { longest: 64 * 1024 };

    /// A page of DynamoDB has at most 1 MiB of items, which takes more as JSON.
    #[cfg(feature = "dynamodb")]
    pub(super) const DYNAMODB: Self = Self { longest: 8 * 1024 * 1024 };
}

impl Intercept for Guard {
    fn name(&self) -> &'static str {
        "sealwax"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // This header is not part of the signature, like all headers that proxies may change.
        let headers = context.request_mut().headers_mut();
        let agent = match headers.get("user-agent") {
            Some(sdk) => format!("{sdk} {USER_AGENT}"),
            None => USER_AGENT.to_owned(),
        };
        headers.try_insert("user-agent", agent)?;
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let endless = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(endless, self.longest));
        Ok(())
    }
}
