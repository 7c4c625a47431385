//! Failures through keyrings, and what is sent.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use sealwax::{
    AlgorithmSuite, Client, Error, UnwrapReason,
    keyring::{KmsApi, KmsError, KmsErrorKind, KmsOperation},
    materials::{CachingManager, DefaultMaterialsManager, MemoryCache},
};
use sealwax_aws::{AwsKmsDiscoveryKeyring, AwsKmsKeyring, AwsKmsMultiKeyrings, AwsSdkKmsSupplier, KmsClientSupplier};

use super::*;
use crate::{
    kms_support::{
        ATTEMPTS, bare, config,
        scripted::{Scripted, Step},
    },
    support::{self, to_base64},
};

/// Returns the error of a keyring, which is the source of the client's error.
fn kms_error(error: &Error) -> &KmsError {
    let cause = match error {
        Error::Keyring { source, .. } => &**source,
        Error::NotUnwrapped(failure) => match &failure.attempts()[0].reason {
            UnwrapReason::Failed(source) => &**source,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    cause.downcast_ref().expect("an error of AWS KMS")
}

#[tokio::test]
async fn answers_with_another_key_or_length_are_refused() {
    let other = "arn:aws:kms:us-east-1:111122223333:key/another";
    let (short, long) = (to_base64(&DATA_KEY[..31]), to_base64(&[&DATA_KEY[..], &[0]].concat()));
    let client = Client::new();
    let sealed = {
        let keyring = AwsKmsKeyring::new(ARN, Arc::new(kms(&Scripted::start(vec![right_step()]), LONG))).unwrap();
        client.encrypt(&keyring).context(context()).bytes(b"text").await.unwrap().message
    };
    for (step, encrypts_too) in [
        (but("KeyId", other.into()), true),
        (but("KeyId", "".into()), true),
        (but("Plaintext", short.into()), true),
        (but("Plaintext", long.into()), true),
        (but("Plaintext", "".into()), true),
        (but("CiphertextBlob", "".into()), false),
    ] {
        let what = format!("{step:?}");
        let server = Scripted::start(vec![step]);
        let strict = AwsKmsKeyring::new(ARN, Arc::new(kms(&server, LONG))).unwrap();
        let Err(error) = client.encrypt(&strict).context(context()).bytes(b"text").await else { panic!("{what}") };
        assert!(matches!(kms_error(&error).kind(), KmsErrorKind::InvalidAnswer(_)), "{what}: {error:?}");
        check_nothing_leaks(&printed(&error));
        if encrypts_too {
            let discovery = AwsKmsDiscoveryKeyring::new(Arc::new(kms(&server, LONG)));
            for opened in
                [client.decrypt(&strict).bytes(&sealed).await, client.decrypt(&discovery).bytes(&sealed).await]
            {
                let Err(error) = opened else { panic!("{what}") };
                assert!(matches!(kms_error(&error).kind(), KmsErrorKind::InvalidAnswer(_)), "{what}: {error:?}");
                check_nothing_leaks(&printed(&error));
            }
        }
    }
}

#[tokio::test]
async fn a_throttled_service_behind_the_cache_sees_a_bounded_number_of_calls() {
    let server = Scripted::start(vec![
        Step::error(400, "ThrottlingException", "Rate exceeded"),
        Step::error(400, "ThrottlingException", "Rate exceeded"),
        right_step(),
        Step::error(400, "ThrottlingException", "Rate exceeded"),
    ]);
    let keyring = AwsKmsKeyring::new(ARN, Arc::new(kms(&server, LONG))).unwrap();
    let cache = Arc::new(MemoryCache::new(10).unwrap());
    let manager = CachingManager::builder(DefaultMaterialsManager::new(keyring), cache, Duration::from_secs(600));
    let manager = Arc::new(manager.max_messages(1_000).build().unwrap());
    let client = Client::new();
    let encrypt = async || client.encrypt_with(&*manager).context(context()).suite(UNSIGNED).bytes(b"text").await;

    // Many concurrent messages make one call, with its two retries.
    let outcomes = join_all((0..200).map(|_| encrypt())).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(server.calls(), 3);
    // Up to the limit the service is not called.
    for _ in 200..1_000 {
        encrypt().await.unwrap();
    }
    assert_eq!(server.calls(), 3);
    // Beyond it the service refuses, and a hundred concurrent messages are one call with its
    // retries.
    let outcomes = join_all((0..100).map(|_| encrypt())).await;
    for outcome in &outcomes {
        let Err(error) = outcome else { panic!("beyond the limit") };
        assert!(printed(error).contains("too many requests"), "{}", printed(error));
    }
    assert_eq!(server.calls(), 3 + ATTEMPTS);
}

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;

#[tokio::test]
async fn ten_thousand_messages_cost_the_calls_that_the_limits_dictate() {
    const MESSAGES: usize = 10_000;
    let text = support::pattern(1024);
    // The limits, and how many calls of the service 10,000 messages of 1 KiB make with them.
    for (max_messages, max_bytes, calls) in [(1_000, 1 << 30, 10), (100, 1 << 30, 100), (1_000_000, 1 << 20, 10)] {
        let server = Scripted::start(vec![right_step()]);
        let keyring = || AwsKmsKeyring::new(ARN, Arc::new(kms(&server, LONG))).unwrap();
        let manager = |keyring| {
            let cache = Arc::new(MemoryCache::new(1_000).unwrap());
            let inner = DefaultMaterialsManager::new(keyring);
            let manager = CachingManager::builder(inner, cache, Duration::from_secs(3_600));
            manager.max_messages(max_messages).max_bytes(max_bytes).build().unwrap()
        };
        let (client, writer, reader) = (Client::new(), manager(keyring()), manager(keyring()));
        let mut messages = Vec::new();
        for _ in 0..MESSAGES {
            let encrypt = client.encrypt_with(&writer).suite(UNSIGNED).context(context());
            messages.push(encrypt.bytes(&text).await.unwrap().message);
        }
        assert_eq!(server.calls(), calls, "{max_messages} messages, {max_bytes} bytes");
        // Here every data key and its encrypted form are the same, so reading takes one call.
        for message in &messages {
            assert!(client.decrypt_with(&reader).bytes(message).await.unwrap().plaintext == text);
        }
        assert_eq!(server.calls(), calls + 1);
    }
    // Without the cache each message takes a call.
    let server = Scripted::start(vec![right_step()]);
    let keyring = AwsKmsKeyring::new(ARN, Arc::new(kms(&server, LONG))).unwrap();
    for _ in 0..100 {
        let sealed = Client::new().encrypt(&keyring).suite(UNSIGNED).bytes(&text).await.unwrap();
        Client::new().decrypt(&keyring).bytes(&sealed.message).await.unwrap();
    }
    assert_eq!(server.calls(), 200);
}

#[tokio::test]
async fn a_region_that_fails_hides_no_other() {
    let (silent, working) = (Scripted::start(vec![Step::Silence(Vec::new())]), Scripted::start(vec![right_step()]));
    let refusing = Scripted::start(vec![Step::error(400, "AccessDeniedException", "not in this region")]);
    let regions = [("eu-central-1", &silent), ("eu-west-1", &refusing), ("us-east-1", &working)]
        .map(|(region, server)| (region, Arc::new(kms(server, SHORT)) as Arc<dyn KmsApi>));
    let supplier = move |region: Option<&str>| {
        let found = regions.iter().find(|(name, _)| Some(*name) == region);
        Ok(found.expect("one of the three").1.clone())
    };
    let keyrings = AwsKmsMultiKeyrings::new(supplier);
    let client = Client::new();
    let sealed =
        client.encrypt(&AwsKmsKeyring::new(ARN, Arc::new(kms(&working, LONG))).unwrap()).bytes(b"text").await.unwrap();
    let all = keyrings.discovery(["eu-central-1", "eu-west-1", "us-east-1"], None).unwrap();
    assert_eq!(client.decrypt(&all).bytes(&sealed.message).await.unwrap().plaintext, b"text");
    // Without the working keyring, the error contains what each of the others met.
    let others = keyrings.discovery(["eu-central-1", "eu-west-1"], None).unwrap();
    let Err(Error::NotUnwrapped(failure)) = client.decrypt(&others).bytes(&sealed.message).await else {
        panic!("it opened");
    };
    let kinds: Vec<_> = failure
        .attempts()
        .iter()
        .map(|attempt| match &attempt.reason {
            UnwrapReason::Failed(cause) => cause.downcast_ref::<KmsError>().expect("an error of AWS KMS").kind(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [KmsErrorKind::TimedOut, KmsErrorKind::AccessDenied]);
    assert!(failure.attempts()[0].keyring.contains("eu-central-1"), "{}", failure.attempts()[0].keyring);
}

// What is sent.

#[tokio::test]
async fn requests_say_who_sends_them() {
    let server = Scripted::start(vec![right_step()]);
    ask(&kms(&server, LONG), KmsOperation::Decrypt).await.unwrap();
    let (head, body) = server.requests().remove(0);
    let agent = head.lines().find(|line| line.to_ascii_lowercase().starts_with("user-agent:")).expect("a user agent");
    assert!(
        agent.contains("aws-sdk-rust/") && agent.ends_with(concat!("lib/sealwax#", env!("CARGO_PKG_VERSION"))),
        "{agent}"
    );
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["EncryptionContext"], serde_json::json!({"purpose": VALUE}));
    assert_eq!((body["KeyId"].as_str(), body["GrantTokens"].is_null()), (Some(ARN), true));

    let keyring = AwsKmsKeyring::new(ARN, Arc::new(kms(&server, LONG))).unwrap().grant_tokens(["a-grant-token"]);
    let sealed = Client::new().encrypt(&keyring).bytes(b"text").await.unwrap();
    Client::new().decrypt(&keyring).bytes(&sealed.message).await.unwrap();
    for (head, body) in &server.requests()[1..] {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["GrantTokens"], serde_json::json!(["a-grant-token"]), "{head}");
    }
}

#[test]
fn no_region_takes_requests_to_another_host() {
    let supplier = AwsSdkKmsSupplier::new(config("http://127.0.0.1:9", LONG).build());
    for region in ["us-east-1", "eu-isoe-west-1", "us-gov-west-1"] {
        assert!(supplier.region(region).is_ok(), "{region}");
        assert!(supplier.client(Some(region)).is_ok(), "{region}");
    }
    let long = "a".repeat(64);
    for region in ["", "x.example.com#", "example.com/", "a.b", "a@b", "US-EAST-1", "-a", "a-", "a b", "a\u{e9}", &long]
    {
        assert!(matches!(supplier.region(region), Err(Error::Configuration(_))), "{region}");
        assert!(supplier.client(Some(region)).is_err(), "{region}");
    }
    assert!(supplier.client(None).is_ok());
    assert!(AwsSdkKmsSupplier::new(bare(LONG).build()).client(None).is_err());
}

#[tokio::test]
async fn a_client_of_a_region_is_made_once() {
    let supplier = AwsSdkKmsSupplier::new(config("http://127.0.0.1:9", LONG).build());
    let first = supplier.region("us-east-1").unwrap();
    assert!(Arc::ptr_eq(&first, &supplier.region("us-east-1").unwrap()));
    assert!(!Arc::ptr_eq(&first, &supplier.region("us-east-2").unwrap()));
    // However many names there are, the number that is kept is bounded.
    for number in 0..100 {
        supplier.region(&format!("region-{number}")).unwrap();
    }
    assert!(!Arc::ptr_eq(&supplier.region("region-99").unwrap(), &supplier.region("region-99").unwrap()));
    assert!(Arc::ptr_eq(&first, &supplier.region("us-east-1").unwrap()));
}
