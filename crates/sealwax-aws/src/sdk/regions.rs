//! AWS KMS clients for any number of regions.

#[cfg(feature = "config")]
use std::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

#[cfg(feature = "config")]
use aws_sdk_kms::config::{BehaviorVersion, timeout::TimeoutConfig};
use aws_sdk_kms::{Config, config::Region};
use sealwax::{BoxError, Error, Result, keyring::KmsApi};
use tokio::runtime::Handle;

use super::{AwsSdkKms, runtime::Runtime};
use crate::KmsClientSupplier;

/// A supplier of AWS KMS clients: one configuration for all regions, and one client for each
/// region, made on first use.
///
/// The region becomes part of a host name and may come from an ARN that an attacker wrote. Anything
/// but lower-case letters, digits and hyphens is refused, so that no request goes to a host of the
/// attacker's choice.
///
/// ```
/// use sealwax_aws::{AwsKmsKeyring, AwsKmsMultiKeyrings, AwsSdkKmsSupplier};
///
/// # fn example(config: aws_sdk_kms::Config) -> sealwax::Result<()> {
/// let regions = AwsSdkKmsSupplier::new(config);
/// // A keyring for one key.
/// let orders = AwsKmsKeyring::new("alias/orders", regions.region("eu-central-1")?)?;
/// // Keyrings for keys in several regions.
/// let everywhere = AwsKmsMultiKeyrings::new(regions).discovery(["eu-central-1", "us-east-1"], None)?;
/// # let _ = (orders, everywhere);
/// # Ok(())
/// # }
/// ```
pub struct AwsSdkKmsSupplier {
    config: Config,
    runtime: Option<Handle>,
    clients: Mutex<BTreeMap<String, Arc<AwsSdkKms>>>,
}

/// The limit for the number of clients that are kept. AWS has fewer regions, so only messages can
/// name more.
const MOST_CLIENTS: usize = 64;

/// The timeout of one call, for a configuration from the environment.
#[cfg(feature = "config")]
const ATTEMPT: Duration = Duration::from_secs(10);

/// The timeout of an operation with its retries, for a configuration from the environment.
#[cfg(feature = "config")]
const OPERATION: Duration = Duration::from_secs(30);

/// Reads the configuration of the AWS tools.
#[cfg(feature = "config")]
pub(super) async fn environment(region: Option<&str>, profile: Option<&str>) -> aws_config::SdkConfig {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(super::connect::from_environment())
        .timeout_config(timeouts);
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    loader.load().await
}

impl AwsSdkKmsSupplier {
    /// Creates a supplier with this configuration, whose region is the default one. See
    /// [`AwsSdkKms`] for what it should contain.
    #[must_use]
    pub fn new(config: Config) -> Self {
        #[cfg(feature = "config")]
        let config = if config.http_client().is_none() {
            // One HTTP client for all regions, so that connections and certificates are shared.
            let mut builder = config.to_builder();
            builder.set_http_client(Some(super::connect::direct()));
            builder.build()
        } else {
            config
        };
        Self { config, runtime: None, clients: Mutex::default() }
    }

    /// Creates a supplier with the configuration of the AWS tools: environment variables, the files
    /// `~/.aws/config` and `~/.aws/credentials`, roles of containers and machines, and proxies and
    /// endpoints from the environment. A `region` or `profile` argument overrides theirs. This
    /// reads files and may call the services that issue credentials.
    ///
    /// A call times out after 10 seconds, an operation with its retries after 30. Single sign-on
    /// and external credential processes need features of `aws-config` that this crate does not
    /// enable.
    ///
    /// ```no_run
    /// # async fn example() -> sealwax::Result<()> {
    /// use sealwax_aws::{AwsKmsKeyring, AwsSdkKmsSupplier};
    ///
    /// let regions = AwsSdkKmsSupplier::from_environment(None, Some("production")).await;
    /// let keyring = AwsKmsKeyring::new("alias/orders", regions.region("eu-central-1")?)?;
    /// # let _ = keyring;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "config")]
    pub async fn from_environment(region: Option<&str>, profile: Option<&str>) -> Self {
        Self::new(Config::new(&environment(region, profile).await))
    }

    /// Makes calls on the caller's runtime: see [`AwsSdkKms::on`].
    #[must_use]
    pub fn on(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    /// Returns the region of the configuration, which is used for keys that are not given by an
    /// ARN.
    #[must_use]
    pub fn default_region(&self) -> Option<&str> {
        self.config.region().map(Region::as_ref)
    }

    /// Returns the client for this region.
    ///
    /// # Errors
    /// [`Error::Configuration`] if this cannot be the name of a region.
    pub fn region(&self, region: &str) -> Result<Arc<AwsSdkKms>> {
        let is_name = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if region.is_empty() || region.len() > 63 || region.starts_with('-') || region.ends_with('-') || !is_name {
            return Err(Error::Configuration("invalid AWS region name".to_owned()));
        }
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(region) {
            return Ok(client.clone());
        }
        let config = self.config.to_builder().region(Region::new(region.to_owned())).build();
        let mut client = AwsSdkKms::new(config);
        client.runtime = Runtime(self.runtime.clone());
        let client = Arc::new(client);
        if clients.len() < MOST_CLIENTS {
            clients.insert(region.to_owned(), client.clone());
        }
        Ok(client)
    }
}

impl KmsClientSupplier for AwsSdkKmsSupplier {
    fn client(&self, region: Option<&str>) -> Result<Arc<dyn KmsApi>, BoxError> {
        let default = self.config.region().map(Region::as_ref);
        let region = region
            .or(default)
            .ok_or("no AWS region is configured and the key is not given by an ARN; use its ARN or set a region")?;
        Ok(self.region(region)?)
    }
}
