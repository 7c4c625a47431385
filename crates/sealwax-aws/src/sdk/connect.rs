//! HTTPS with rustls and ring.

use aws_sdk_kms::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// Returns a client that connects directly.
pub(super) fn direct() -> SharedHttpClient {
    through(ProxyConfig::disabled())
}

/// Returns a client that uses the proxy from the environment, if one is set.
#[cfg(feature = "config")]
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
