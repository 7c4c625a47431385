//! The connection to AWS KMS.

use crate::arguments::AwsArguments;

/// AWS KMS with each region and profile that is in use.
#[cfg(not(feature = "aws"))]
pub(crate) struct AwsKms;

#[cfg(not(feature = "aws"))]
impl AwsKms {
    pub(crate) fn new(_: AwsArguments) -> Self {
        Self
    }
}

#[cfg(feature = "aws")]
pub(crate) use with_aws::{AwsKms, Place};

#[cfg(feature = "aws")]
mod with_aws {
    use std::{
        collections::BTreeMap,
        io,
        sync::{Arc, Mutex, OnceLock, PoisonError},
        thread,
    };

    use sealwax_aws::{AwsSdkKmsSupplier, DynamoDbTable};
    use tokio::runtime::{Builder, Handle};

    use super::AwsArguments;
    use crate::failure::Failure;

    const CONFIGURATION: &str = "cannot read the AWS configuration; check its files and variables";

    /// AWS KMS with each region and profile that is in use.
    pub(crate) struct AwsKms {
        defaults: Place,
        connected: Mutex<BTreeMap<Place, Arc<AwsSdkKmsSupplier>>>,
        runtime: OnceLock<Option<Handle>>,
    }

    /// The region and profile of a key; what is unset comes from the environment.
    #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Place {
        pub(crate) region: Option<String>,
        pub(crate) profile: Option<String>,
    }

    impl AwsKms {
        pub(crate) fn new(arguments: AwsArguments) -> Self {
            let AwsArguments { region, profile } = arguments;
            Self { defaults: Place { region, profile }, connected: Mutex::default(), runtime: OnceLock::new() }
        }

        /// Returns AWS KMS for a key with this region and profile; those of the command line apply
        /// where the key has none. Keys with the same ones share it, and so share credentials and
        /// connections.
        pub(crate) fn connect(&self, key: Place) -> Result<Arc<AwsSdkKmsSupplier>, Failure> {
            let Place { region, profile } = self.defaults.clone();
            let place = Place { region: key.region.or(region), profile: key.profile.or(profile) };
            let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(regions) = connected.get(&place) {
                return Ok(regions.clone());
            }
            let runtime = self.runtime()?;
            let configured = {
                let Place { region, profile } = place.clone();
                runtime.spawn(async move {
                    AwsSdkKmsSupplier::from_environment(region.as_deref(), profile.as_deref()).await
                })
            };
            let configured = runtime.block_on(configured).map_err(|_| Failure::usage(CONFIGURATION))?;
            let regions = Arc::new(configured.on(runtime));
            connected.insert(place, regions.clone());
            Ok(regions)
        }

        /// Returns a table of DynamoDB, with the region and the profile of the command line.
        pub(crate) fn table(&self, name: &str) -> Result<DynamoDbTable, Failure> {
            let runtime = self.runtime()?;
            let (name, Place { region, profile }) = (name.to_owned(), self.defaults.clone());
            let configured = runtime.spawn(async move {
                DynamoDbTable::from_environment(name, region.as_deref(), profile.as_deref()).await
            });
            let configured = runtime.block_on(configured).map_err(|_| Failure::usage(CONFIGURATION))?;
            Ok(configured.on(runtime))
        }

        /// Returns a handle to Tokio, which the AWS SDK requires. A dedicated thread drives it, and
        /// the rest of the tool waits as for any other key.
        fn runtime(&self) -> Result<Handle, Failure> {
            let start = || {
                let runtime = Builder::new_current_thread().enable_all().build().ok()?;
                let handle = runtime.handle().clone();
                let drive = move || runtime.block_on(std::future::pending::<()>());
                thread::Builder::new().name("aws-kms".to_owned()).spawn(drive).ok()?;
                Some(handle)
            };
            let handle = self.runtime.get_or_init(start).clone();
            handle.ok_or_else(|| {
                sealwax::Error::Io(io::Error::other("cannot start the thread for AWS KMS").into()).into()
            })
        }
    }
}
