//! Services by region.

use std::sync::Arc;

use super::KmsApi;
use crate::error::BoxError;

/// Gives the service of a region: what the [multi-keyrings](super::AwsKmsMultiKeyrings) are made with.
///
/// A function of that shape is one. It is called when keyrings are made, once for each key or region, and asks no
/// service anything; which clients it keeps and shares is its own business.
///
/// Specification: framework/aws-kms/aws-kms-multi-keyrings, where it is called a regional client supplier.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{BoxError, keyring::{KmsApi, KmsClientSupplier}};
///
/// fn only_here(kms: Arc<dyn KmsApi>) -> impl KmsClientSupplier {
///     move |region: Option<&str>| match region {
///         None | Some("eu-west-1") => Ok(kms.clone()),
///         Some(_) => Err(BoxError::from("this program talks to eu-west-1 only")),
///     }
/// }
/// ```
pub trait KmsClientSupplier: Send + Sync {
    /// The service of this region or, without one, of whatever region is the default.
    ///
    /// # Errors
    /// Any, which the error of the multi-keyring names with the region.
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
