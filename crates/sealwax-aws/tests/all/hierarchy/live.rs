//! The key store and the keyring with the official Python library over one table (moto), and the
//! adaptor for DynamoDB.

use std::time::Instant;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use futures_util::future::join_all;
use sealwax_aws::{DynamoDbTable, conformance};
use serde_json::{Value, json};

use super::*;
use crate::{
    kms_support::SECRET_KEY,
    server::Server,
    support::{client_for, from_base64, say, suite_name, to_base64},
};

const HERE: &str = "us-east-1";

pub(super) fn config(endpoint: &str) -> aws_sdk_dynamodb::config::Builder {
    aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(HERE))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("AKIDTEST", SECRET_KEY, None, None, "test"))
}

fn table(server: &Server, name: &str) -> DynamoDbTable {
    DynamoDbTable::new(name, config(&server.endpoint).build())
}

/// A table and a key of a server, for us and for the peer.
struct Shared {
    server: Server,
    key: String,
    store: Arc<BranchKeyStore>,
}

impl Shared {
    async fn start() -> Option<Self> {
        let server = Server::moto()?;
        let key = server.create_key(HERE).await;
        let storage = table(&server, "branch-keys");
        let keys = KmsConfiguration::key(&*key).unwrap();
        let store = BranchKeyStore::new(Arc::new(storage), server.kms(HERE), LOGICAL, keys).unwrap();
        Some(Self { server, key, store: Arc::new(store) })
    }

    /// Returns a request for the peer with the same table and key.
    fn request(&self, mut request: Value) -> Value {
        request["store"] = json!({"table": "branch-keys", "logical": LOGICAL});
        request["keys"] = json!([self.key]);
        request
    }

    /// Asks the peer's key store.
    fn theirs(&mut self, what: &str, request: Value) -> Value {
        let mut request = self.request(request);
        (request["op"], request["do"]) = ("branch-keys".into(), what.into());
        self.server.ask(request).unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Returns the stored items of a branch key, in the form of DynamoDB.
    fn items(&mut self, id: &str) -> Vec<serde_json::Map<String, Value>> {
        let answer = self.server.call("dynamodb", "scan", json!({"TableName": "branch-keys"}));
        let items = answer["Items"].as_array().expect("items").iter().map(|item| item.as_object().unwrap().clone());
        items.filter(|item| item["branch-key-id"]["S"] == id).collect()
    }

    /// Sends messages both ways, over a suite.
    async fn exchange(
        &mut self,
        which: &Value,
        keyring: &dyn Keyring,
        suite: AlgorithmSuite,
        context: &[(&str, &str)],
    ) {
        let pairs: EncryptionContext = context.iter().copied().collect();
        let (client, plaintext) = (client_for(suite), format!("{suite} {which}").into_bytes());
        let sealed = client.encrypt(keyring).suite(suite).context(pairs.clone()).bytes(&plaintext).await.unwrap();
        let context: std::collections::HashMap<_, _> = context.iter().copied().collect();
        let mut request = self.request(which.clone());
        for (name, value) in json!({
            "op": "decrypt", "way": "hierarchy", "context": context, "message": to_base64(&sealed.message),
        })
        .as_object()
        .unwrap()
        {
            request[name] = value.clone();
        }
        let answer = self.server.ask(request.clone()).unwrap_or_else(|error| panic!("{suite}: {error}"));
        assert_eq!(from_base64(answer["plaintext"].as_str().unwrap()), plaintext);

        (request["op"], request["plaintext"]) = ("encrypt".into(), to_base64(&plaintext).into());
        (request["suite"], request["frame_length"]) = (suite_name(suite).into(), 4096.into());
        let answer = self.server.ask(request).unwrap_or_else(|error| panic!("{suite}: {error}"));
        let message = from_base64(answer["message"].as_str().unwrap());
        let opened = client.decrypt(keyring).context(pairs).bytes(&message).await;
        assert_eq!(opened.unwrap_or_else(|error| panic!("{suite}: {error}")).plaintext, plaintext);
    }
}

#[tokio::test]
async fn the_official_library_and_ours_share_branch_keys() {
    let Some(mut shared) = Shared::start().await else { return };
    let start = Instant::now();
    let hello = shared.server.ask(json!({"op": "hello"})).unwrap();
    // Either side makes the table, and finds it.
    let arn = table(&shared.server, "branch-keys").create().await.unwrap();
    assert_eq!(shared.theirs("create-table", json!({}))["id"], arn.as_str());
    assert_eq!(table(&shared.server, "branch-keys").create().await.unwrap(), arn);

    let pairs = json!({"department": "sales", "": "", "Ünïcode": "\u{1f511}\n"});
    let ours: EncryptionContext =
        pairs.as_object().unwrap().iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap())).collect();
    shared.store.create_key(Some("ours"), &ours).await.unwrap();
    shared.theirs("create", json!({"id": "theirs", "context": pairs}));
    compare_items(&mut shared);

    // Ten rotations, by turns, with messages after each.
    for round in 0..10 {
        for id in ["ours", "theirs"] {
            if round % 2 == 0 {
                shared.theirs("version", json!({"id": id}));
            } else {
                shared.store.version_key(id).await.unwrap();
            }
            compare_keys(&mut shared, id).await;
            let keyring = AwsKmsHierarchicalKeyring::new(shared.store.clone(), id, MINUTE).unwrap();
            shared.exchange(&json!({"branch_key": id}), &keyring, UNSIGNED, &[]).await;
        }
    }
    compare_items(&mut shared);
    for id in ["ours", "theirs"] {
        assert_eq!(shared.store.describe_key(id).await.unwrap().versions.len(), 11);
        assert_eq!(shared.items(id).len(), 13);
        for version in shared.store.describe_key(id).await.unwrap().versions {
            let found = shared.theirs("of-version", json!({"id": id, "version": version.version}));
            let mine = shared.store.key_version(id, &version.version).await.unwrap();
            assert!(mine.key().ct_eq(&from_base64(found["key"].as_str().unwrap())));
        }
    }

    // All suites, by id and by supplier.
    let supplier = |context: &EncryptionContext| Ok(context.get("who").ok_or("nobody")?.to_owned());
    let supplied = AwsKmsHierarchicalKeyring::with_supplier(shared.store.clone(), supplier, MINUTE).unwrap();
    let mut count = 0;
    for suite in AlgorithmSuite::ALL {
        for id in ["ours", "theirs"] {
            let keyring = AwsKmsHierarchicalKeyring::new(shared.store.clone(), id, MINUTE).unwrap();
            shared
                .exchange(&json!({"branch_key": id}), &keyring, suite, &[("a", "b"), ("\u{ff61}", "\u{10002}")])
                .await;
            shared.exchange(&json!({"supplier": "who"}), &supplied, suite, &[("who", id)]).await;
            count += 4;
        }
    }
    assert_eq!(count, 11 * 8);
    say(&format!(
        "hierarchical keyring with the Python SDK {} on moto {}: 20 rotations, {count} messages over all suites, {:.1} s",
        hello["version"],
        hello["moto"],
        start.elapsed().as_secs_f32()
    ));
}

/// Compares the active and the beacon key that both sides read.
async fn compare_keys(shared: &mut Shared, id: &str) {
    let mine = shared.store.active_key(id).await.unwrap();
    let found = shared.theirs("active", json!({"id": id}));
    assert!(mine.key().ct_eq(&from_base64(found["key"].as_str().unwrap())));
    assert_eq!(found["version"], mine.version());
    let pairs = found["context"].as_object().unwrap().iter();
    let theirs: EncryptionContext = pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    assert!(theirs == *mine.context());
    let beacon = shared.theirs("beacon", json!({"id": id}));
    let mine = shared.store.beacon_key(id).await.unwrap();
    assert!(mine.key().ct_eq(&from_base64(beacon["key"].as_str().unwrap())));
}

/// Compares the items of both branch keys, attribute by attribute, in all but what is random.
fn compare_items(shared: &mut Shared) {
    let shape = |item: &serde_json::Map<String, Value>| {
        let mut item = item.clone();
        let mut replace = |name: &str, check: &dyn Fn(&str) -> bool| {
            if let Some(value) = item.get_mut(name) {
                let (kind, text) = value.as_object().unwrap().iter().next().unwrap();
                let text = text.as_str().unwrap();
                assert!(check(text), "{name}: {text}");
                *value = json!({ kind.clone(): if name == "enc" { text.len() } else { 0 } });
            }
        };
        let is_version = |text: &str| {
            text.len() == 51
                && text.starts_with("branch:version:")
                && text.to_lowercase() == text
                && text.as_bytes()[29] == b'4'
        };
        replace("branch-key-id", &|id| id == "ours" || id == "theirs");
        replace("version", &is_version);
        replace("type", &|kind| is_version(kind) || kind == ACTIVE || kind == BEACON);
        replace("create-time", &|time| time.len() == 27 && time.ends_with('Z') && &time[19..20] == ".");
        replace("enc", &|sealed| from_base64(sealed).len() > 60);
        item
    };
    let of = |items: Vec<serde_json::Map<String, Value>>| {
        let mut items: Vec<_> = items
            .iter()
            .map(|item| {
                let kind = item["type"]["S"].as_str().unwrap();
                let kind = if kind.starts_with("branch:version:") { "version" } else { kind };
                (kind.to_owned(), Value::from(shape(item)).to_string())
            })
            .collect();
        items.sort();
        items
    };
    let (ours, theirs) = (of(shared.items("ours")), of(shared.items("theirs")));
    assert!(ours.len() >= 3);
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn a_table_of_dynamodb_conforms() {
    let Some(mut server) = Server::moto() else { return };
    let missing = table(&server, "missing").get(ID, ACTIVE).await.unwrap_err();
    assert_eq!(missing.kind(), StorageErrorKind::NotFound);
    let storage = table(&server, "conformance");
    storage.create().await.unwrap();
    conformance::storage(&storage).await.unwrap();
    // A table with other keys is refused, and one with more attributes is not.
    let schema = |range: &str| {
        json!({
            "TableName": format!("with-{range}"),
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "branch-key-id", "KeyType": "HASH"},
                          {"AttributeName": range, "KeyType": "RANGE"}],
            "AttributeDefinitions": [{"AttributeName": "branch-key-id", "AttributeType": "S"},
                                     {"AttributeName": range, "AttributeType": "S"},
                                     {"AttributeName": "more", "AttributeType": "S"}],
            "GlobalSecondaryIndexes": [{"IndexName": "index", "Projection": {"ProjectionType": "ALL"},
                                        "KeySchema": [{"AttributeName": "more", "KeyType": "HASH"}]}],
        })
    };
    for (range, fits) in [("type", true), ("kind", false)] {
        server.call("dynamodb", "create_table", schema(range));
        assert_eq!(table(&server, &format!("with-{range}")).create().await.is_ok(), fits, "{range}");
    }
    // Pages: an id has to be found behind more than a page of others.
    let big = "x".repeat(300_000);
    for number in 0..8 {
        let mut item = BranchKeyItem::new("pages", format!("{number}"));
        item.insert("big", text(&big));
        storage.put(&[PutItem { item, condition: sealwax_aws::Condition::Absent }]).await.unwrap();
    }
    assert_eq!(storage.items_of("pages").await.unwrap().len(), 8);
    let ids = storage.ids().await.unwrap();
    assert_eq!(ids.iter().filter(|id| *id == "pages").count(), 1);
}

#[tokio::test]
async fn of_64_rotations_over_one_table_one_wins() {
    let Some(shared) = Shared::start().await else { return };
    table(&shared.server, "branch-keys").create().await.unwrap();
    shared.store.create_key(Some(ID), &context()).await.unwrap();
    let outcomes = join_all((0..64).map(|_| shared.store.version_key(ID).into_future())).await;
    let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    for outcome in &outcomes {
        assert!(matches!(outcome, Ok(_) | Err(BranchKeyError::Changed { .. })), "{outcome:?}");
    }
    let description = shared.store.describe_key(ID).await.unwrap();
    assert!(!won.is_empty() && description.versions.len() == 1 + won.len());
    assert!(won.contains(&&description.active));
    for version in &description.versions {
        shared.store.key_version(ID, &version.version).await.unwrap();
    }
}
