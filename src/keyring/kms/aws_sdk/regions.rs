//! AWS KMS in every region that a message names.

#[cfg(feature = "aws-config")]
use std::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

#[cfg(feature = "aws-config")]
use aws_sdk_kms::config::{BehaviorVersion, timeout::TimeoutConfig};
use aws_sdk_kms::{Config, config::Region};
use tokio::runtime::Handle;

use super::AwsSdkKms;
use crate::{
    error::{BoxError, Error, Result},
    keyring::kms::{KmsApi, KmsClientSupplier},
};

/// AWS KMS by region: the same configuration everywhere, and one client for each region, made when it is first asked for.
///
/// A region becomes a part of a host name, and may come out of an ARN that someone else wrote: anything but lower-case letters, digits
/// and hyphens is refused, so that no request goes to a host of another's choice.
///
/// ```
/// use sealwax::keyring::{AwsKmsKeyring, AwsKmsMultiKeyrings, AwsSdkKmsSupplier};
///
/// # fn example(config: aws_sdk_kms::Config) -> sealwax::Result<()> {
/// let regions = AwsSdkKmsSupplier::new(config);
/// // One keyring for one key...
/// let orders = AwsKmsKeyring::new("alias/orders", regions.region("eu-central-1")?)?;
/// // ...and keyrings for keys of several regions.
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

/// Clients that are kept; more regions than AWS has can come out of messages only.
const MOST_CLIENTS: usize = 64;

/// How long one call may take, where the environment configures.
#[cfg(feature = "aws-config")]
const ATTEMPT: Duration = Duration::from_secs(10);

/// How long a call may take with its retries, there.
#[cfg(feature = "aws-config")]
const OPERATION: Duration = Duration::from_secs(30);

impl AwsSdkKmsSupplier {
    /// Every region, with this configuration; [`AwsSdkKms`] says what belongs into it, and its region is the default one.
    /// The type has an example.
    #[must_use]
    pub fn new(config: Config) -> Self {
        #[cfg(feature = "aws-kms-rustls")]
        let config = if config.http_client().is_none() {
            // One for all, so that connections and certificates are shared.
            let mut builder = config.to_builder();
            builder.set_http_client(Some(super::connect::direct()));
            builder.build()
        } else {
            config
        };
        Self { config, runtime: None, clients: Mutex::default() }
    }

    /// Every region, with the configuration that the AWS tools use: environment variables, the files `~/.aws/config` and
    /// `~/.aws/credentials`, roles of containers and machines; proxies and endpoints from the environment, too. A region or profile that
    /// is given takes the place of theirs. Reads files, and may ask the services that hand out credentials.
    ///
    /// A call is given up after 10 seconds, an operation with its retries after 30. Single sign-on and external credential processes
    /// take features of `aws-config` that this crate does not enable.
    ///
    /// ```no_run
    /// # async fn example() -> sealwax::Result<()> {
    /// use sealwax::keyring::{AwsKmsKeyring, AwsSdkKmsSupplier};
    ///
    /// let regions = AwsSdkKmsSupplier::from_environment(None, Some("production")).await;
    /// let keyring = AwsKmsKeyring::new("alias/orders", regions.region("eu-central-1")?)?;
    /// # let _ = keyring;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "aws-config")]
    pub async fn from_environment(region: Option<&str>, profile: Option<&str>) -> Self {
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
        Self::new(Config::new(&loader.load().await))
    }

    /// The same, with calls made on a runtime of the caller's: see [`AwsSdkKms::on`].
    #[must_use]
    pub fn on(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    /// The region of keys whose name has none, if the configuration has one.
    ///
    /// ```
    /// # fn example(config: aws_sdk_kms::Config) {
    /// let regions = sealwax::keyring::AwsSdkKmsSupplier::new(config);
    /// println!("keys without an ARN are looked for in {}", regions.default_region().unwrap_or("no region"));
    /// # }
    /// ```
    #[must_use]
    pub fn default_region(&self) -> Option<&str> {
        self.config.region().map(Region::as_ref)
    }

    /// AWS KMS in this region. The type has an example.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a name that no region can have.
    pub fn region(&self, region: &str) -> Result<Arc<AwsSdkKms>> {
        let is_name = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if region.is_empty() || region.len() > 63 || region.starts_with('-') || region.ends_with('-') || !is_name {
            return Err(Error::Configuration("the name of the AWS region is not one".to_owned()));
        }
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(region) {
            return Ok(client.clone());
        }
        let config = self.config.to_builder().region(Region::new(region.to_owned())).build();
        let mut client = AwsSdkKms::new(config);
        client.runtime.clone_from(&self.runtime);
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
        let region =
            region.or(default).ok_or("no AWS region is configured, and the key's name has none: give its ARN")?;
        Ok(self.region(region)?)
    }
}
