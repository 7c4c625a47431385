//! Every way in which AWS KMS, or the network on the way to it, can fail, and the outcome.

mod keyrings;
mod network;
mod service;

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sealwax::{
    EncryptionContext,
    keyring::{GenerateDataKey, KmsApi, KmsDecrypt, KmsEncrypt, KmsError, KmsErrorKind, KmsOperation},
};
use sealwax_aws::AwsSdkKms;

use crate::{
    kms_support::{
        SECRET_KEY, SESSION_TOKEN, config,
        scripted::{Scripted, Step},
    },
    support::to_base64,
};

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
