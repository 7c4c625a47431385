//! KMS clients by region.

use std::sync::Arc;

use sealwax::{BoxError, keyring::KmsApi};

/// A source of KMS clients by region, for [multi-keyrings](super::AwsKmsMultiKeyrings).
///
/// Any function with this signature is a supplier. It is called once for each key or region when
/// keyrings are made, and must not call the service. Caching and sharing clients is up to the
/// supplier.
///
/// Specification: framework/aws-kms/aws-kms-multi-keyrings, where it is called a regional client
/// supplier.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{BoxError, keyring::KmsApi};
/// use sealwax_aws::KmsClientSupplier;
///
/// fn only_here(kms: Arc<dyn KmsApi>) -> impl KmsClientSupplier {
///     move |region: Option<&str>| match region {
///         None | Some("eu-west-1") => Ok(kms.clone()),
///         Some(_) => Err(BoxError::from("this program talks to eu-west-1 only")),
///     }
/// }
/// ```
pub trait KmsClientSupplier: Send + Sync {
    /// Returns the client for a region, or for the default region if there is none.
    ///
    /// # Errors
    /// Any error, which the multi-keyring reports along with the region.
    fn client(&self, region: Option<&str>) -> Result<Arc<dyn KmsApi>, BoxError>;
}

impl<F> KmsClientSupplier for F
where
    F: Fn(Option<&str>) -> Result<Arc<dyn KmsApi>, BoxError> + Send + Sync,
{
    fn client(&self, region: Option<&str>) -> Result<Arc<dyn KmsApi>, BoxError> {
        self(region)
    }
}
