//! HTTPS by rustls with ring.

use aws_sdk_kms::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// Straight to the service.
pub(super) fn direct() -> SharedHttpClient {
    through(ProxyConfig::disabled())
}

/// Through the proxy that the environment names, if it names one.
#[cfg(feature = "aws-config")]
pub(super) fn from_environment() -> SharedHttpClient {
    through(ProxyConfig::from_env())
}

fn through(proxy: ProxyConfig) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring));
        connector.set_proxy_config(Some(proxy.clone()));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    })
}
