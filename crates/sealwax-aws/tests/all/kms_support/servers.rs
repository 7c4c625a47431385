//! The SDK's clients for the servers of `tests/support/server.rs`.

use std::sync::Arc;

use aws_sdk_kms::{config::Region, types::KeySpec};
use sealwax_aws::{AwsSdkKms, AwsSdkKmsSupplier};

use super::config;
use crate::server::PATIENCE;
pub use crate::server::Server;

impl Server {
    /// Returns the SDK's client for a region, to create keys with.
    pub fn admin(&self, region: &str) -> aws_sdk_kms::Client {
        let config = config(&self.endpoint, PATIENCE).region(Region::new(region.to_owned()));
        let config = config.http_client(aws_smithy_http_client::Builder::new().build_http());
        aws_sdk_kms::Client::from_conf(config.build())
    }

    pub fn regions(&self) -> AwsSdkKmsSupplier {
        AwsSdkKmsSupplier::new(config(&self.endpoint, PATIENCE).build())
    }

    pub fn kms(&self, region: &str) -> Arc<AwsSdkKms> {
        self.regions().region(region).expect("a region")
    }

    /// Creates a symmetric key, and returns its ARN.
    pub async fn create_key(&self, region: &str) -> String {
        let made = self.admin(region).create_key().key_spec(KeySpec::SymmetricDefault).send().await.expect("a key");
        made.key_metadata.and_then(|metadata| metadata.arn).expect("its ARN")
    }
}
