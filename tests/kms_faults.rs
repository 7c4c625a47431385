//! Every way in which AWS KMS, or the network on the way to it, can fail, and the outcome.
#![cfg(feature = "aws-kms-rustls")]

mod kms_support;
mod support;

use std::{
    error::Error as _,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_kms::config::{Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig};
use futures_util::future::join_all;
use sealwax::{
    AlgorithmSuite, Client, EncryptionContext, Error, UnwrapReason,
    keyring::{
        AwsKmsDiscoveryKeyring, AwsKmsKeyring, AwsKmsMultiKeyrings, AwsSdkKms, AwsSdkKmsSupplier, GenerateDataKey,
        KmsApi, KmsClientSupplier, KmsDecrypt, KmsEncrypt, KmsError, KmsErrorKind, KmsOperation,
    },
    materials::{CachingManager, DefaultMaterialsManager, MemoryCache},
};

use kms_support::{
    ATTEMPTS, SECRET_KEY, SESSION_TOKEN, bare, config,
    scripted::{Scripted, Step},
};
use support::to_base64;

const ARN: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// Contains characters that JSON must escape.
const VALUE: &str = "a \"context\" value that is \\nobody's business";
const DATA_KEY: [u8; 32] = *b"this data key is 32 bytes long!!";
const CIPHERTEXT: &[u8] = b"what the service made of the data key, and only it can undo";
const OPERATIONS: [KmsOperation; 3] = [KmsOperation::GenerateDataKey, KmsOperation::Encrypt, KmsOperation::Decrypt];

/// A timeout that is long for a server that answers, however busy the machine is.
const LONG: Duration = Duration::from_secs(20);
/// A short timeout, for a server that does not answer.
const SHORT: Duration = Duration::from_millis(150);
/// The most that any case may take, including retries.
const BOUND: Duration = Duration::from_secs(30);

fn context() -> EncryptionContext {
    EncryptionContext::from([("purpose", VALUE)])
}

fn kms(server: &Scripted, attempt: Duration) -> AwsSdkKms {
    AwsSdkKms::new(config(&server.endpoint, attempt).build())
}

async fn ask(kms: &dyn KmsApi, operation: KmsOperation) -> Result<(), KmsError> {
    let context = context();
    match operation {
        KmsOperation::GenerateDataKey => {
            kms.generate_data_key(GenerateDataKey::new(ARN, 32, &context)).await.map(|answer| {
                assert!(answer.plaintext.ct_eq(&DATA_KEY) && answer.ciphertext == CIPHERTEXT && answer.key_id == ARN);
            })
        }
        KmsOperation::Encrypt => kms.encrypt(KmsEncrypt::new(ARN, &DATA_KEY, &context)).await.map(|answer| {
            assert!(answer.ciphertext == CIPHERTEXT && answer.key_id == ARN);
        }),
        KmsOperation::Decrypt => kms.decrypt(KmsDecrypt::new(ARN, CIPHERTEXT, &context)).await.map(|answer| {
            assert!(answer.plaintext.ct_eq(&DATA_KEY) && answer.key_id == ARN);
        }),
        other => panic!("{other} is not asked here"),
    }
}

/// Returns the correct answer to all three operations.
fn right() -> serde_json::Value {
    serde_json::json!({
        "KeyId": ARN,
        "Plaintext": to_base64(&DATA_KEY),
        "CiphertextBlob": to_base64(CIPHERTEXT),
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    })
}

fn right_step() -> Step {
    Step::json(200, right().to_string())
}

/// Returns the correct answer with this member replaced or, if null, omitted.
fn but(member: &str, value: serde_json::Value) -> Step {
    let mut answer = right();
    if value.is_null() {
        answer.as_object_mut().expect("an object").remove(member);
    } else {
        answer[member] = value;
    }
    Step::json(200, answer.to_string())
}

/// Returns everything that an error and its causes print, in every format.
fn printed(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let _ = write!(text, "{error}\n{error:?}\n{error:#?}\n");
        cause = error.source();
    }
    text
}

/// Asserts that the text contains nothing of the request and nothing of the data key.
#[track_caller]
fn check_nothing_leaks(text: &str) {
    let hex: String = DATA_KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    let secrets = [
        "nobody's business".to_owned(),
        SECRET_KEY.to_owned(),
        SESSION_TOKEN.to_owned(),
        to_base64(&DATA_KEY),
        to_base64(CIPHERTEXT),
        String::from_utf8_lossy(&DATA_KEY).into_owned(),
        String::from_utf8_lossy(CIPHERTEXT).into_owned(),
        hex,
        format!("{:?}", &DATA_KEY[..8]).trim_matches(['[', ']']).to_owned(),
        format!("{:?}", &CIPHERTEXT[..8]).trim_matches(['[', ']']).to_owned(),
    ];
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in: {text}");
    }
}

/// A way to fail, and the required outcome.
struct Case {
    name: &'static str,
    steps: Vec<Step>,
    attempt: Duration,
    kind: KmsErrorKind,
    calls: usize,
    /// A text that the error or one of its causes must contain.
    says: &'static str,
}

fn case(name: &'static str, step: Step, kind: KmsErrorKind, calls: usize, says: &'static str) -> Case {
    Case { name, steps: vec![step], attempt: LONG, kind, calls, says }
}

/// Calls all three operations, and checks kind, text, calls and time. Returns how many operations
/// were called.
async fn check(cases: Vec<Case>, operations: &[KmsOperation]) -> usize {
    let all = cases.iter().flat_map(|case| operations.iter().map(move |operation| (case, *operation)));
    let checks = all.map(async |(case, operation)| {
        let what = format!("{}, {operation}", case.name);
        let server = Scripted::start(case.steps.clone());
        let start = Instant::now();
        let outcome = tokio::time::timeout(BOUND, ask(&kms(&server, case.attempt), operation)).await;
        let error = outcome.unwrap_or_else(|_| panic!("{what}: no end")).expect_err(&what);
        let text = printed(&error);
        assert_eq!(error.kind(), case.kind, "{what}: {text}");
        assert_eq!((error.operation(), error.key_id()), (operation, Some(ARN)), "{what}");
        assert_eq!(server.calls(), case.calls, "{what}: {text}");
        assert!(text.contains(case.says), "{what}: {text}");
        check_nothing_leaks(&text);
        assert!(start.elapsed() < BOUND, "{what}: {:?}", start.elapsed());
    });
    join_all(checks).await.len()
}

// What the service says.

#[tokio::test]
async fn every_error_of_the_service_has_its_kind() {
    use KmsErrorKind::{
        AccessDenied, Disabled, IncorrectKey, InvalidCiphertext, InvalidRequest, InvalidState, NotFound, Other,
        Throttled, TimedOut, Unavailable, Unsupported,
    };
    // Code, status, kind, how many calls.
    let errors = [
        ("NotFoundException", 400, NotFound, 1),
        ("DisabledException", 400, Disabled, 1),
        ("KMSInvalidStateException", 400, InvalidState, 1),
        ("IncorrectKeyException", 400, IncorrectKey, 1),
        ("InvalidCiphertextException", 400, InvalidCiphertext, 1),
        ("InvalidKeyUsageException", 400, InvalidRequest, 1),
        ("InvalidGrantTokenException", 400, InvalidRequest, 1),
        ("ValidationException", 400, InvalidRequest, 1),
        ("InvalidArnException", 400, InvalidRequest, 1),
        ("SerializationException", 400, InvalidRequest, 1),
        ("UnsupportedOperationException", 400, Unsupported, 1),
        ("UnknownOperationException", 404, Unsupported, 1),
        ("AccessDeniedException", 400, AccessDenied, 1),
        ("UnrecognizedClientException", 400, AccessDenied, 1),
        ("MissingAuthenticationTokenException", 400, AccessDenied, 1),
        ("IncompleteSignatureException", 400, AccessDenied, 1),
        ("OptInRequired", 403, AccessDenied, 1),
        ("LimitExceededException", 400, Throttled, ATTEMPTS),
        ("ThrottlingException", 400, Throttled, ATTEMPTS),
        ("TooManyRequestsException", 429, Throttled, ATTEMPTS),
        ("RequestLimitExceeded", 503, Throttled, ATTEMPTS),
        ("DependencyTimeoutException", 503, TimedOut, ATTEMPTS),
        ("KeyUnavailableException", 500, Unavailable, ATTEMPTS),
        ("KMSInternalException", 500, Unavailable, ATTEMPTS),
        ("InternalFailure", 500, Unavailable, ATTEMPTS),
        ("ServiceUnavailableException", 503, Unavailable, ATTEMPTS),
        ("SomethingNewException", 400, Other, 1),
        ("SomethingNewException", 500, Unavailable, ATTEMPTS),
        ("SomethingNewException", 403, AccessDenied, 1),
    ];
    let cases = errors.map(|(code, status, kind, calls)| {
        let step = Step::error(status, code, "words of the service").header("x-amzn-requestid", "id-4711");
        case(code, step, kind, calls, code)
    });
    assert_eq!(check(cases.into(), &OPERATIONS).await, 87);
}

#[tokio::test]
async fn the_words_and_the_request_id_of_the_service_are_passed_on() {
    let step = Step::error(400, "AccessDeniedException", "User: arn:aws:iam::1:user/x is not authorized");
    let server = Scripted::start(vec![step.header("x-amzn-requestid", "3b1c-77")]);
    let error = ask(&kms(&server, LONG), KmsOperation::Decrypt).await.unwrap_err();
    assert_eq!(error.to_string(), format!("Decrypt with key {ARN} failed: access was denied"));
    let cause = error.source().unwrap().to_string();
    let expected = "AccessDeniedException: User: arn:aws:iam::1:user/x is not authorized (HTTP 400, request 3b1c-77)";
    assert_eq!(cause, expected);
}

#[tokio::test]
async fn expired_credentials_and_a_wrong_clock_are_told_from_each_other() {
    let wrong = |start: &str| format!("{start}: 20260101T000000Z is now earlier than 20260101T001000Z {SESSION_TOKEN}");
    let denied = KmsErrorKind::AccessDenied;
    let clock = "the clock of this machine differs";
    let cases = vec![
        case(
            "expired",
            Step::error(400, "ExpiredTokenException", SESSION_TOKEN),
            denied,
            1,
            "credentials have expired",
        ),
        case("skewed", Step::error(403, "RequestTimeTooSkewed", SESSION_TOKEN), denied, 1, clock),
        case("late", Step::error(403, "RequestExpired", SESSION_TOKEN), denied, 1, clock),
        case("old", Step::error(400, "InvalidSignatureException", &wrong("Signature expired")), denied, 1, clock),
        case("new", Step::error(403, "SignatureDoesNotMatch", &wrong("Signature not yet current")), denied, 1, clock),
        case("key", Step::error(403, "SignatureDoesNotMatch", &wrong("The canonical string")), denied, 1, "secret key"),
    ];
    assert_eq!(check(cases, &OPERATIONS).await, 18);
}

#[tokio::test]
async fn a_service_that_repeats_the_request_makes_no_error_leak_it() {
    let codes = [
        "AccessDeniedException",
        "NotFoundException",
        "ValidationException",
        "InvalidSignatureException",
        "IncompleteSignatureException",
        "MissingAuthenticationTokenException",
        "SomethingNewException",
    ];
    for code in codes {
        for operation in OPERATIONS {
            for step in [Step::EchoHead(code), Step::EchoBody(code)] {
                let error = ask(&kms(&Scripted::start(vec![step]), LONG), operation).await.unwrap_err();
                let text = printed(&error);
                assert!(text.contains(code), "{text}");
                check_nothing_leaks(&text);
            }
        }
    }
    // In place of the code, and in place of the request id.
    let as_code = Step::error(400, VALUE, VALUE).header("x-amzn-requestid", VALUE);
    let as_ciphertext = Step::error(400, &to_base64(CIPHERTEXT), &to_base64(CIPHERTEXT));
    let as_key = Step::error(400, &to_base64(&DATA_KEY), &to_base64(&DATA_KEY));
    for (step, operation) in
        [(as_code, KmsOperation::Decrypt), (as_ciphertext, KmsOperation::Decrypt), (as_key, KmsOperation::Encrypt)]
    {
        let error = ask(&kms(&Scripted::start(vec![step]), LONG), operation).await.unwrap_err();
        let text = printed(&error);
        assert!(text.contains("an unknown error"), "{text}");
        check_nothing_leaks(&text);
    }
}

// Answers that are none.

#[tokio::test]
async fn answers_that_cannot_be_read_are_refused() {
    let unreadable = KmsErrorKind::InvalidAnswer("it cannot be read");
    let text = right().to_string();
    let html = "<html><body>502 Bad Gateway</body></html>";
    let too_long = KmsErrorKind::InvalidAnswer("it is longer than any valid response");
    let long = |length: usize| Step::json(200, format!("{}{text}", " ".repeat(length)));
    let cases = vec![
        case("truncated", Step::json(200, &text[..text.len() / 2]), unreadable, 1, "HTTP 200"),
        case("truncated in a string", Step::json(200, &text[..text.len() - 3]), unreadable, 1, "HTTP 200"),
        case("not JSON", Step::json(200, html), unreadable, 1, "HTTP 200"),
        case("a list", Step::json(200, format!("[{text}]")), unreadable, 1, "HTTP 200"),
        case(
            "not UTF-8",
            Step::Answer { status: 200, headers: vec![], body: vec![0xff; 40] },
            unreadable,
            1,
            "HTTP 200",
        ),
        case("a number for the key id", but("KeyId", 7.into()), unreadable, 1, "HTTP 200"),
        case("deeply nested", Step::json(200, "[".repeat(50_000)), unreadable, 1, "HTTP 200"),
        case("no key id", but("KeyId", ().into()), KmsErrorKind::InvalidAnswer("it does not name the key"), 1, "name"),
        case("huge", long(1 << 20), too_long, ATTEMPTS, "HTTP 200"),
        case("endless", Step::Endless, too_long, ATTEMPTS, "HTTP 200"),
        case("500 without JSON", Step::json(500, html), KmsErrorKind::Unavailable, ATTEMPTS, "HTTP 500"),
        case("502", Step::json(502, html), KmsErrorKind::Unavailable, ATTEMPTS, "HTTP 502"),
        case("503", Step::json(503, ""), KmsErrorKind::Unavailable, ATTEMPTS, "HTTP 503"),
        case("504", Step::json(504, ""), KmsErrorKind::Unavailable, ATTEMPTS, "HTTP 504"),
        case("403 without JSON", Step::json(403, html), KmsErrorKind::AccessDenied, 1, "HTTP 403"),
        case("408", Step::json(408, ""), KmsErrorKind::TimedOut, 1, "HTTP 408"),
        case("429 without a code", Step::json(429, "{}"), KmsErrorKind::Throttled, 1, "HTTP 429"),
        case("418", Step::json(418, "{}"), KmsErrorKind::Other, 1, "HTTP 418"),
        case("no HTTP", Step::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), KmsErrorKind::Unavailable, 1, "error"),
    ];
    assert_eq!(check(cases, &OPERATIONS).await, 57);
    // An answer of the greatest permitted length is read.
    let kms = kms(&Scripted::start(vec![long(60_000)]), LONG);
    ask(&kms, KmsOperation::Decrypt).await.unwrap();
}

#[tokio::test]
async fn answers_that_lack_something_are_refused() {
    use KmsOperation::{Decrypt, Encrypt, GenerateDataKey};
    let bad_base64 = || but("Plaintext", "!!! no base64 !!!".into());
    let unreadable = KmsErrorKind::InvalidAnswer("it cannot be read");
    let lacks = KmsErrorKind::InvalidAnswer;
    let (no_plaintext, no_ciphertext) = (|| but("Plaintext", ().into()), || but("CiphertextBlob", ().into()));
    let empty = || Step::json(200, "{}");
    for (operation, step, kind) in [
        (GenerateDataKey, no_plaintext(), lacks("it lacks the data key")),
        (GenerateDataKey, no_ciphertext(), lacks("it lacks the encrypted data key")),
        (GenerateDataKey, empty(), lacks("it lacks the encrypted data key")),
        (GenerateDataKey, bad_base64(), unreadable),
        (Encrypt, no_ciphertext(), lacks("it lacks the ciphertext")),
        (Encrypt, empty(), lacks("it lacks the ciphertext")),
        (Decrypt, no_plaintext(), lacks("it lacks the plaintext")),
        (Decrypt, empty(), lacks("it does not name the key")),
        (Decrypt, bad_base64(), unreadable),
    ] {
        assert_eq!(check(vec![case("lacking", step, kind, 1, "")], &[operation]).await, 1);
    }
    // To the SDK, an empty body is an empty answer.
    for operation in OPERATIONS {
        let error = ask(&kms(&Scripted::start(vec![Step::json(200, "")]), LONG), operation).await.unwrap_err();
        assert!(matches!(error.kind(), KmsErrorKind::InvalidAnswer(_)), "{}", printed(&error));
    }
}

// The network.

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

// Through keyrings.

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
