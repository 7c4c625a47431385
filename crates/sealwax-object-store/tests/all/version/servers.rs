//! The conformance suite of `object_store` over servers that stand in for the services: moto for S3,
//! azurite for Azure.

use sealwax_object_store::{Binding, Parts};
use serde_json::json;

use super::{
    super::SealedStoreBuilder,
    conformance::{Abilities, conforms, delete_all},
    *,
};
use crate::server::Server;
use object_store::{aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, integration};

const BUCKET: &str = "bucket";
/// The account of the emulator, whose key is published.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

fn builder<S: ObjectStore>(inner: S) -> SealedStoreBuilder<S> {
    SealedStore::builder(inner, Client::new()).keyring(keyring())
}

#[tokio::test]
async fn s3_conforms() {
    let Some(mut server) = Server::moto() else { return };
    let call = json!({"op": "call", "service": "s3", "method": "create_bucket", "arguments": {"Bucket": BUCKET}});
    server.ask(call).unwrap();
    let s3 = || {
        let s3 = AmazonS3Builder::new().with_endpoint(&server.endpoint).with_allow_http(true).with_bucket_name(BUCKET);
        s3.with_access_key_id("AKIDPEER").with_secret_access_key("peer").with_region("us-east-1").build().unwrap()
    };
    // S3 itself has no copy that must not replace an object; a bound object is not copied by it.
    let bound = Abilities { copy_if_not_exists: true, ..Abilities::S3 };
    let store = builder(s3()).store_name("lake").build().unwrap();
    conforms(&store, bound).await;
    integration::list_paginated(&store, &store).await;
    delete_all(&store).await;
    // The emulator itself reports another error when it copies what does not exist, so that objects
    // are bound to their paths here too.
    let store = builder(s3()).store_name("lake").sizes(Sizes::Exact).parts(Parts::Equal(5 << 20)).build().unwrap();
    conforms(&store, bound).await;
}

#[tokio::test]
async fn azure_conforms() {
    let Some(server) = Server::azurite() else { return };
    let azure = || {
        let azure = MicrosoftAzureBuilder::new().with_container_name(BUCKET).with_account(ACCOUNT).with_access_key(KEY);
        azure.with_endpoint(format!("{}/{ACCOUNT}", server.endpoint)).with_allow_http(true).build().unwrap()
    };
    let store = builder(azure()).build().unwrap();
    conforms(&store, Abilities::AZURE).await;
    delete_all(&store).await;
    let store = builder(azure()).binding(Binding::None).sizes(Sizes::Exact).build().unwrap();
    conforms(&store, Abilities::AZURE).await;
}
