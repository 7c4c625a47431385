//! What goes past every request and answer of the SDK: the user agent, and a bound on the length of answers.

use aws_sdk_kms::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut},
    },
    error::BoxError,
};
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// The most bytes of an answer that are read. The longest that there is, a data key under a key of RSA 4096 or the
/// ciphertext of 4 KiB with all its metadata, has less than 20,000.
const MAX_ANSWER: usize = 64 * 1024;

/// What a request says of its sender, behind what the SDK says.
const USER_AGENT: &str = concat!("lib/sealwax#", env!("CARGO_PKG_VERSION"));

/// Names this crate in requests, and does not read answers without end: the SDK itself would.
#[derive(Debug)]
pub(super) struct Guard;

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
        // Not signed, like everything that proxies may change.
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
        *body = SdkBody::from_body_1_x(Limited::new(endless, MAX_ANSWER));
        Ok(())
    }
}
