//! Connections to stores.

use std::{env, sync::Arc, time::Duration};

use object_store::{
    ClientOptions, ObjectStore, Result, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
    http::HttpBuilder,
    local::LocalFileSystem,
};
use tokio::runtime::Handle;

#[cfg(feature = "aws")]
use super::profile::{self, Credentials};

/// How stores are reached.
pub(super) struct Place {
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    #[cfg(feature = "aws")]
    pub(super) profile: Option<String>,
}

/// The longest time for one request. A part of an upload must fit.
const REQUEST: Duration = Duration::from_secs(90);
/// The longest time for a connection.
const CONNECTION: Duration = Duration::from_secs(10);
/// The longest time after which a request is tried again. Together with the time for one request, a
/// server that does not answer is given up within two minutes.
const RETRIES: Duration = Duration::from_secs(20);

fn retries() -> RetryConfig {
    RetryConfig { max_retries: 6, retry_timeout: RETRIES, ..RetryConfig::default() }
}

fn options(endpoint: Option<&str>) -> ClientOptions {
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(CONNECTION).with_allow_http(is_plain)
}

/// Returns the first of these environment variables that is not empty.
fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
}

impl Place {
    /// Returns a store. Nothing is requested yet.
    pub(super) fn connect(&self, scheme: &str, authority: &str, runtime: &Handle) -> Result<Arc<dyn ObjectStore>> {
        let endpoint = self.endpoint.clone();
        Ok(match scheme {
            "s3" => Arc::new(self.s3(authority, runtime)?),
            "gs" => {
                let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(authority).with_retry(retries());
                let builder = builder.with_client_options(options(endpoint.as_deref()));
                let builder = match &endpoint {
                    Some(endpoint) => builder.with_base_url(endpoint),
                    None => builder,
                };
                Arc::new(builder.build()?)
            }
            "az" => {
                let builder = MicrosoftAzureBuilder::from_env().with_container_name(authority).with_retry(retries());
                let endpoint = endpoint.or_else(|| variable(&["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"]));
                let builder = builder.with_client_options(options(endpoint.as_deref()));
                let builder = match endpoint {
                    Some(endpoint) => builder.with_endpoint(endpoint),
                    None => builder,
                };
                Arc::new(builder.build()?)
            }
            "file" => Arc::new(LocalFileSystem::new().with_fsync(true)),
            _ => {
                let url = format!("{scheme}://{authority}");
                let builder = HttpBuilder::new().with_retry(retries()).with_client_options(options(Some(&url)));
                Arc::new(builder.with_url(url).build()?)
            }
        })
    }

    fn s3(&self, bucket: &str, runtime: &Handle) -> Result<impl ObjectStore + use<>> {
        let endpoint = self.endpoint.clone().or_else(|| variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
        let region = self.region.clone().or_else(|| variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
        let builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retries());
        #[cfg(feature = "aws")]
        let (builder, endpoint, region) = {
            let config = runtime.block_on(profile::load(self.profile.as_deref(), region.as_deref()));
            let credentials = config.credentials_provider().map(Credentials::new);
            let builder = match credentials {
                Some(credentials) => builder.with_credentials(Arc::new(credentials)),
                None => builder,
            };
            let region = config.region().map(|region| region.as_ref().to_owned());
            (builder, endpoint.or_else(|| config.endpoint_url().map(str::to_owned)), region)
        };
        #[cfg(not(feature = "aws"))]
        let _ = runtime;
        let mut builder = builder.with_client_options(options(endpoint.as_deref()));
        if let Some(endpoint) = endpoint {
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
        }
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        builder.build()
    }
}
