//! Credentials, region and endpoint as the AWS tools have them: the environment, profiles, roles.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use object_store::{CredentialProvider, Error, Result, aws::AwsCredential};

/// How long before their end credentials are not used any more.
const MARGIN: Duration = Duration::from_secs(300);

/// Loads the configuration. What is given beats the environment and the profile.
pub(super) async fn load(profile: Option<&str>, region: Option<&str>) -> SdkConfig {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let mut loader =
        aws_config::defaults(BehaviorVersion::latest()).http_client(Builder::new().tls_provider(tls).build_https());
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    loader.load().await
}

/// A source of credentials, which are kept until they expire.
#[derive(Debug)]
pub(super) struct Credentials {
    provider: SharedCredentialsProvider,
    known: Mutex<Option<(Arc<AwsCredential>, Option<SystemTime>)>>,
}

impl Credentials {
    pub(super) fn new(provider: SharedCredentialsProvider) -> Self {
        Self { provider, known: Mutex::default() }
    }

    async fn get(&self) -> Result<Arc<AwsCredential>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((credential, end)) = &*known()
            && end.is_none_or(|end| SystemTime::now() + MARGIN < end)
        {
            return Ok(credential.clone());
        }
        let found = self.provider.provide_credentials().await;
        let found = found.map_err(|error| Error::Unauthenticated { path: String::new(), source: error.into() })?;
        let credential = Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        });
        *known() = Some((credential.clone(), found.expiry()));
        Ok(credential)
    }
}

impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    fn get_credential<'life, 'result>(
        &'life self,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<AwsCredential>>> + Send + 'result>>
    where
        'life: 'result,
        Self: 'result,
    {
        Box::pin(self.get())
    }
}
