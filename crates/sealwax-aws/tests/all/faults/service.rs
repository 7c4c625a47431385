//! What the service says, and answers that are none.

use std::error::Error as _;

use sealwax::keyring::{KmsErrorKind, KmsOperation};

use super::*;
use crate::{
    kms_support::{
        ATTEMPTS, SESSION_TOKEN,
        scripted::{Scripted, Step},
    },
    support::to_base64,
};

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
