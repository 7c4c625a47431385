//! The adaptor for DynamoDB: what it sends, and every way in which the service or the network fails.

use std::fmt::Write;

use aws_sdk_dynamodb::config::{retry::RetryConfig, retry::RetryPartition, timeout::TimeoutConfig};
use sealwax_aws::{Condition, DynamoDbTable};
use serde_json::{Value, json};

use super::{live::config, *};
use crate::{
    kms_support::{
        ATTEMPTS, SECRET_KEY,
        scripted::{Scripted, Step},
    },
    support::to_base64,
};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);
const VALUE: &str = "a private context value";
const SEALED: &[u8] = b"what the key service made of the branch key";

fn table(server: &Scripted, attempt: Duration) -> DynamoDbTable {
    static TABLES: AtomicUsize = AtomicUsize::new(0);
    let partition = format!("hierarchy-{}", TABLES.fetch_add(1, Ordering::Relaxed));
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS as u32);
    let retries = retries.with_initial_backoff(Duration::from_millis(2)).with_max_backoff(Duration::from_millis(10));
    let config = config(&server.endpoint)
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(attempt).build())
        .retry_config(retries)
        .retry_partition(RetryPartition::new(partition));
    DynamoDbTable::new("branch-keys", config.build())
}

fn puts() -> [PutItem; 2] {
    let mut version = BranchKeyItem::new(ID, "branch:version:1");
    version.insert("enc", ItemValue::Bytes(SEALED.to_vec()));
    version.insert("hierarchy-version", ItemValue::Number("1".to_owned()));
    version.insert("aws-crypto-ec:name", text(VALUE));
    let mut active = version.clone();
    active.insert("type", text(ACTIVE));
    let old = Condition::Ciphertext(b"old".to_vec());
    [PutItem { item: version, condition: Condition::Absent }, PutItem { item: active, condition: old }]
}

fn body(request: &(String, Vec<u8>)) -> Value {
    serde_json::from_slice(&request.1).expect("JSON")
}

#[tokio::test]
async fn requests_are_those_of_the_specification() {
    let server = Scripted::start(vec![Step::json(500, ""), Step::json(200, "{}")]);
    let table = table(&server, LONG);
    table.put(&puts()).await.unwrap();
    let requests = server.requests();
    let (first, second) = (body(&requests[0]), body(&requests[1]));
    // The call that is made again is the same call, to the service too.
    assert_eq!(first, second);
    assert!(first["ClientRequestToken"].as_str().is_some_and(|token| token.len() == 36));
    let head = requests[0].0.to_ascii_lowercase();
    assert!(head.contains("x-amz-target: dynamodb_20120810.transactwriteitems"), "{head}");
    assert!(head.contains("lib/sealwax#"), "{head}");
    let mut expected = json!({
        "branch-key-id": {"S": ID},
        "type": {"S": "branch:version:1"},
        "enc": {"B": to_base64(SEALED)},
        "hierarchy-version": {"N": "1"},
        "aws-crypto-ec:name": {"S": VALUE},
    });
    let names = json!({"#id": "branch-key-id"});
    let put = &first["TransactItems"][0]["Put"];
    assert_eq!(
        *put,
        json!({
            "TableName": "branch-keys",
            "Item": expected,
            "ConditionExpression": "attribute_not_exists(#id)",
            "ExpressionAttributeNames": names,
        })
    );
    expected["type"]["S"] = ACTIVE.into();
    assert_eq!(
        first["TransactItems"][1]["Put"],
        json!({
            "TableName": "branch-keys",
            "Item": expected,
            "ConditionExpression": "attribute_exists(#id) AND enc = :old",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": {":old": {"B": to_base64(b"old")}},
        })
    );

    assert_eq!(table.get(ID, ACTIVE).await.unwrap(), None);
    let request = body(server.requests().last().unwrap());
    assert_eq!(
        request,
        json!({
            "TableName": "branch-keys",
            "Key": {"branch-key-id": {"S": ID}, "type": {"S": ACTIVE}},
            "ConsistentRead": true,
        })
    );
}

#[tokio::test]
async fn items_are_read_as_they_are() {
    let answer = json!({"Item": {
        "branch-key-id": {"S": "other"},
        "hierarchy-version": {"N": "1"},
        "enc": {"B": "AQI="},
        "flag": {"BOOL": true},
        "list": {"L": []},
    }});
    let server = Scripted::start(vec![Step::json(200, answer.to_string())]);
    let item = table(&server, LONG).get(ID, ACTIVE).await.unwrap().unwrap();
    assert_eq!((item.id(), item.kind()), ("other", ""));
    assert_eq!(item.get("enc"), Some(&ItemValue::Bytes(vec![1, 2])));
    assert_eq!((item.get("flag"), item.get("list")), (Some(&ItemValue::Other), Some(&ItemValue::Other)));
    // The key store refuses it, and names the attribute.
    let kms = FakeKms::with_keys(&[KEY]);
    let keys = KmsConfiguration::key(KEY).unwrap();
    let store = BranchKeyStore::new(Arc::new(table(&server, LONG)), kms.clone(), LOGICAL, keys).unwrap();
    let error = store.active_key(ID).await.err().unwrap();
    assert!(error.to_string().contains("branch-key-id is not"), "{error}");
    assert_eq!(kms.calls(), []);
}

#[tokio::test]
async fn every_failure_is_typed_and_bounded() {
    use StorageErrorKind::{
        AccessDenied, ConditionFailed, Conflict, InvalidRequest, NotFound, Other, Throttled, TimedOut, Unavailable,
    };
    let unreadable = StorageErrorKind::InvalidAnswer("it cannot be read");
    let too_long = StorageErrorKind::InvalidAnswer("it is longer than any valid response");
    let error = |code: &str| Step::error(400, code, "words of the service");
    let cancelled = |codes: &[&str]| {
        let reasons: Vec<_> = codes.iter().map(|code| json!({ "Code": code })).collect();
        let body = json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "CancellationReasons": reasons,
            "Message": "Transaction cancelled",
        });
        Step::json(400, body.to_string())
    };
    let both = [
        ("throttled", error("ThrottlingException"), LONG, Throttled, ATTEMPTS),
        ("throughput", error("ProvisionedThroughputExceededException"), LONG, Throttled, ATTEMPTS),
        ("limit", error("RequestLimitExceeded"), LONG, Throttled, ATTEMPTS),
        ("internal", Step::error(500, "InternalServerError", "x"), LONG, Unavailable, ATTEMPTS),
        ("503", Step::json(503, ""), LONG, Unavailable, ATTEMPTS),
        ("no table", error("ResourceNotFoundException"), LONG, NotFound, 1),
        ("denied", error("AccessDeniedException"), LONG, AccessDenied, 1),
        ("signature", error("UnrecognizedClientException"), LONG, AccessDenied, 1),
        ("invalid", error("ValidationException"), LONG, InvalidRequest, 1),
        ("unknown", error("SomethingNewException"), LONG, Other, 1),
        ("truncated", Step::json(200, "{\"Item\": {\"enc"), LONG, unreadable, 1),
        ("no JSON", Step::json(200, "<html>"), LONG, unreadable, 1),
        ("endless", Step::Endless, LONG, too_long, ATTEMPTS),
        ("closed", Step::Raw(Vec::new()), LONG, Unavailable, ATTEMPTS),
        ("reset", Step::Reset(Vec::new()), LONG, Unavailable, ATTEMPTS),
        ("silent", Step::Silence(Vec::new()), SHORT, TimedOut, ATTEMPTS),
    ];
    let writes = [
        ("exists", cancelled(&["None", "ConditionalCheckFailed"]), ConditionFailed),
        ("exists, conflict", cancelled(&["TransactionConflict", "ConditionalCheckFailed"]), ConditionFailed),
        ("conflict", cancelled(&["TransactionConflict", "None"]), Conflict),
        ("throttled", cancelled(&["ThrottlingError"]), Throttled),
        ("throughput", cancelled(&["ProvisionedThroughputExceeded"]), Throttled),
        ("invalid", cancelled(&["ValidationError"]), InvalidRequest),
        ("no reasons", cancelled(&[]), Other),
    ];
    let check = async |name: &str, step: &Step, attempt, kind, calls: Option<usize>, writes: bool| {
        let server = Scripted::start(vec![step.clone()]);
        let table = table(&server, attempt);
        let call = async { if writes { table.put(&puts()).await } else { table.get(ID, ACTIVE).await.map(drop) } };
        let outcome = tokio::time::timeout(Duration::from_secs(30), call).await.expect("it ends");
        let error = outcome.expect_err(name);
        assert_eq!(error.kind(), kind, "{name}, {writes}: {error:?}");
        if let Some(calls) = calls {
            assert_eq!(server.calls(), calls, "{name}, {writes}");
        }
    };
    for (name, step, attempt, kind, calls) in both {
        check(name, &step, attempt, kind, Some(calls), false).await;
        // A page of 8 MiB takes long to refuse three times.
        if name != "endless" {
            check(name, &step, attempt, kind, Some(calls), true).await;
        }
    }
    for (name, step, kind) in writes {
        check(name, &step, LONG, kind, None, true).await;
    }
    let in_progress = error("TransactionInProgressException");
    check("in progress", &in_progress, LONG, Conflict, None, true).await;
}

#[tokio::test]
async fn no_error_repeats_private_parts_of_a_request() {
    for code in ["ValidationException", "AccessDeniedException", "InvalidSignatureException", "SomethingNew"] {
        for step in [Step::EchoBody(code), Step::EchoHead(code)] {
            let server = Scripted::start(vec![step]);
            let error = table(&server, LONG).put(&puts()).await.unwrap_err();
            let (mut text, mut cause) = (String::new(), Some(&error as &dyn std::error::Error));
            while let Some(error) = cause {
                let _ = write!(text, "{error}\n{error:?}\n");
                cause = error.source();
            }
            for private in [VALUE, &to_base64(SEALED), SECRET_KEY] {
                assert!(!text.contains(private), "{code}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn without_a_runtime_the_table_says_so() {
    let server = Scripted::start(vec![Step::json(200, "{}")]);
    let table = table(&server, LONG);
    let outcome = std::thread::spawn(move || {
        sealwax::Operation::new(async move { Ok::<_, Error>(table.get(ID, ACTIVE).await) }).wait().unwrap()
    });
    let error = outcome.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Unavailable);
    assert!(format!("{error:?}").contains("Tokio runtime"), "{error:?}");
}
