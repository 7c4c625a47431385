//! The network, and what fails before anything is sent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_kms::config::{Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig};
use sealwax::{
    Client, Error,
    keyring::{KmsErrorKind, KmsOperation},
};
use sealwax_aws::{AwsKmsKeyring, AwsSdkKms};

use super::*;
use crate::kms_support::{
    ATTEMPTS, SECRET_KEY, bare, config,
    scripted::{Scripted, Step},
};

#[tokio::test]
async fn whoever_does_not_answer_is_waited_for_no_longer_than_configured() {
    let whole = right_step().bytes();
    let (head, cut) = (b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n".to_vec(), whole[..whole.len() - 9].to_vec());
    let timed_out = KmsErrorKind::TimedOut;
    let waits = |name, step| Case { attempt: SHORT, ..case(name, step, timed_out, ATTEMPTS, "time") };
    let cases = vec![
        waits("no answer", Step::Silence(Vec::new())),
        waits("half a head", Step::Silence(b"HTTP/1.1 200 OK\r\nContent-".to_vec())),
        waits("no body", Step::Silence(head)),
        waits("half a body", Step::Silence(cut)),
        waits("slow head", Step::Slowly(whole.clone(), Duration::from_millis(10))),
        waits("slow body", Step::Slowly(whole, Duration::from_millis(5))),
    ];
    assert_eq!(check(cases, &OPERATIONS).await, 18);
}

#[tokio::test]
async fn broken_connections_are_tried_again_and_then_reported() {
    let whole = right_step().bytes();
    let (cut_head, cut_body) = (whole[..12].to_vec(), whole[..whole.len() - 9].to_vec());
    let unavailable = KmsErrorKind::Unavailable;
    let cases = vec![
        case("closed at once", Step::Raw(Vec::new()), unavailable, ATTEMPTS, "error"),
        case("closed in the head", Step::Raw(cut_head.clone()), unavailable, ATTEMPTS, "error"),
        case("closed in the body", Step::Raw(cut_body.clone()), unavailable, ATTEMPTS, "cut off"),
        case("reset at once", Step::Reset(Vec::new()), unavailable, ATTEMPTS, "error"),
        case("reset in the head", Step::Reset(cut_head), unavailable, ATTEMPTS, "error"),
        case("reset in the body", Step::Reset(cut_body), unavailable, ATTEMPTS, "cut off"),
    ];
    assert_eq!(check(cases, &OPERATIONS).await, 18);
}

#[tokio::test]
async fn nobody_listening_is_reported() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for operation in OPERATIONS {
        let error = ask(&AwsSdkKms::new(config(&gone, LONG).build()), operation).await.unwrap_err();
        assert_eq!(error.kind(), KmsErrorKind::Unavailable, "{}", printed(&error));
        assert!(printed(&error).contains("refused"), "{}", printed(&error));
        check_nothing_leaks(&printed(&error));
    }
}

#[tokio::test]
async fn what_passes_is_got_over() {
    let whole = right_step().bytes();
    let troubles = [
        Step::error(400, "ThrottlingException", "Rate exceeded"),
        Step::json(500, ""),
        Step::json(503, "{}"),
        Step::Raw(whole[..12].to_vec()),
        Step::Reset(Vec::new()),
    ];
    for (index, trouble) in troubles.into_iter().enumerate() {
        for operation in OPERATIONS {
            let server = Scripted::start(vec![trouble.clone(), trouble.clone(), right_step()]);
            let outcome = ask(&kms(&server, LONG), operation).await;
            outcome.unwrap_or_else(|error| panic!("{index}, {operation}: {}", printed(&error)));
            assert_eq!(server.calls(), 3, "{index}, {operation}");
        }
    }
}

#[tokio::test]
async fn the_time_out_of_an_operation_bounds_its_retries() {
    let server = Scripted::start(vec![Step::Silence(Vec::new())]);
    let timeouts = TimeoutConfig::builder().operation_timeout(SHORT).build();
    let kms = AwsSdkKms::new(config(&server.endpoint, LONG).timeout_config(timeouts).build());
    let error = ask(&kms, KmsOperation::Decrypt).await.unwrap_err();
    assert_eq!((error.kind(), server.calls()), (KmsErrorKind::TimedOut, 1));
}

#[tokio::test]
async fn a_time_out_comes_when_its_time_is_over_and_not_before() {
    let (server, patience) = (Scripted::start(vec![Step::Silence(Vec::new())]), Duration::from_secs(10));
    let config = config(&server.endpoint, patience).retry_config(RetryConfig::disabled()).build();
    let call = tokio::spawn(async move { ask(&AwsSdkKms::new(config), KmsOperation::Decrypt).await });
    while server.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // From here on the clock is paused, and jumps to the next time that a task waits for.
    tokio::time::pause();
    let (real, paused) = (Instant::now(), tokio::time::Instant::now());
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), KmsErrorKind::TimedOut);
    let waited = paused.elapsed();
    assert!(waited > patience / 2 && waited <= patience + Duration::from_secs(1), "{waited:?}");
    assert!(real.elapsed() < patience / 2);
}

// Before anything is sent.

#[tokio::test]
async fn a_configuration_that_cannot_work_is_reported_as_such() {
    let server = Scripted::start(vec![right_step()]);
    let credentials = Credentials::new("AKIDTEST", SECRET_KEY, None, None, "test");
    let nowhere = bare(LONG).credentials_provider(credentials);
    let nobody = bare(LONG).endpoint_url(&server.endpoint).region(Region::new("us-east-1"));
    for (config, says) in [(nowhere, "egion"), (nobody, "credentials")] {
        let error = ask(&AwsSdkKms::new(config.build()), KmsOperation::Decrypt).await.unwrap_err();
        let text = printed(&error);

        assert!(error.kind() == KmsErrorKind::Unavailable && text.contains(says), "{text}");
    }
    assert_eq!(server.calls(), 0);
}

#[test]
fn without_a_runtime_there_is_an_error_that_says_so() {
    let server = Scripted::start(vec![right_step()]);
    let keyring = AwsKmsKeyring::new(ARN, Arc::new(kms(&server, LONG))).unwrap();
    let Err(error) = Client::new().encrypt(&keyring).bytes(b"text").wait() else { panic!("there is no runtime") };
    let text = printed(&error);
    assert!(text.contains("needs a Tokio runtime") && text.contains("AwsSdkKms::on"), "{text}");
    assert_eq!(server.calls(), 0);
}

#[test]
fn on_a_runtime_that_is_given_anyone_may_wait() {
    let server = Scripted::start(vec![right_step()]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let kms = kms(&server, LONG).on(runtime.handle().clone());
    let keyring = AwsKmsKeyring::new(ARN, Arc::new(kms)).unwrap();
    let client = Client::new();
    let sealed = client.encrypt(&keyring).context(context()).bytes(b"text").wait().unwrap();
    assert_eq!(client.decrypt(&keyring).bytes(&sealed.message).wait().unwrap().plaintext, b"text");
    assert_eq!(server.calls(), 2);
    // Once the runtime is gone, the result is an error and not a panic.
    drop(runtime);
    let Err(error) = client.decrypt(&keyring).bytes(&sealed.message).wait() else { panic!("there is no runtime") };
    assert!(matches!(error, Error::NotUnwrapped(_)));
}

#[test]
fn a_runtime_that_cannot_carry_calls_is_reported_as_such() {
    let server = Scripted::start(vec![right_step()]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let kms = kms(&server, LONG).on(runtime.handle().clone());
    let keyring = AwsKmsKeyring::new(ARN, Arc::new(kms)).unwrap();
    let Err(error) = Client::new().encrypt(&keyring).bytes(b"text").wait() else { panic!("it has no I/O") };
    assert!(printed(&error).contains("enable I/O and time"), "{}", printed(&error));
}

#[test]
fn a_call_that_is_dropped_leaves_nothing_behind_and_a_client_that_works() {
    for on_a_handle in [false, true] {
        // Each case has a runtime of its own, so that its tasks can be counted.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = Scripted::start(vec![Step::Silence(Vec::new()), right_step()]);
        runtime.block_on(async {
            let mut kms = kms(&server, LONG);
            if on_a_handle {
                kms = kms.on(runtime.handle().clone());
            }
            let dropped = tokio::time::timeout(Duration::from_millis(200), ask(&kms, KmsOperation::Decrypt)).await;
            assert!(dropped.is_err(), "it was answered");
            let start = Instant::now();
            while runtime.metrics().num_alive_tasks() > 0 {
                assert!(start.elapsed() < LONG / 2, "something goes on in the background");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            ask(&kms, KmsOperation::Decrypt).await.unwrap();
            assert_eq!(server.calls(), 2);
        });
    }
}
