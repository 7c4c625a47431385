//! Branch keys in DynamoDB, with a server that stands in for AWS.

use std::{fs, path::Path, process::Command, thread};

use serde_json::{Value, json};

use crate::{
    aws_kms::{HERE, THERE, Tool, call, create_key},
    json::{check, schemas},
    server::Server,
    support::say,
};

const TABLE: &str = "branch-keys";

/// A server, and the tool with a key of it.
struct Setting {
    server: Server,
    directory: tempfile::TempDir,
    key: String,
}

impl Setting {
    fn start() -> Option<Self> {
        let server = Server::moto()?;
        let key = create_key(&server, HERE, &json!({}));
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("plain"), b"the text").unwrap();
        Some(Self { server, directory, key })
    }

    fn tool(&self) -> Tool<'_> {
        Tool::new(self.directory.path(), &self.server.endpoint)
    }

    /// Returns the key URI, with a branch key if there is one.
    fn uri(&self, branch_key: &str) -> String {
        let branch_key = if branch_key.is_empty() { String::new() } else { format!("&branch-key={branch_key}") };
        format!("aws-kms-hierarchy:{TABLE}?logical-name=orders&kms={}{branch_key}", self.key)
    }

    fn branch_keys(&self, command: &str, branch_key: &str, more: &[&str]) -> String {
        let uri = self.uri(branch_key);
        let output = self.tool().ok(&[&["branch-keys", command, "--key", &uri, "--region", HERE], more].concat());
        String::from_utf8(output).unwrap()
    }

    /// Returns the description of a branch key.
    fn describe(&self, branch_key: &str) -> Value {
        serde_json::from_str(&self.branch_keys("describe", branch_key, &["--json"])).unwrap()
    }
}

#[test]
fn the_tool_manages_and_uses_branch_keys() {
    let Some(setting) = Setting::start() else { return };
    let tool = setting.tool();
    let arn = setting.branch_keys("create-table", "", &[]);
    assert!(arn.starts_with("arn:aws:dynamodb:us-east-1:") && arn.ends_with(":table/branch-keys\n"), "{arn}");
    assert_eq!(setting.branch_keys("create-table", "", &[]), arn);

    // With an id of any characters, percent-encoded, and without one.
    let named = setting.branch_keys("create", "tenant%20%C3%BC%26", &["-c", "tenant=blue", "--context", "a=b=c"]);
    assert_eq!(named, "tenant ü&\n");
    let made = setting.branch_keys("create", "", &[]);
    assert_eq!(made.trim().len(), 36);
    let mut listed: Vec<_> = [named.trim(), made.trim()].into();
    listed.sort_unstable();
    let list = setting.branch_keys("list", "", &[]);
    let mut found: Vec<_> = list.lines().collect();
    found.sort_unstable();
    assert_eq!(found, listed);

    let uri = setting.uri("tenant%20%C3%BC%26");
    tool.ok(&["encrypt", "--key", &uri, "--region", HERE, "-c", "purpose=test", "-o", "first", "plain"]);
    let version = setting.branch_keys("version", "tenant%20%C3%BC%26", &[]);
    tool.ok(&["encrypt", "--key", &uri, "--region", HERE, "-c", "purpose=test", "-o", "second", "plain"]);
    for message in ["first", "second"] {
        let arguments = ["decrypt", "--key", &uri, "--region", HERE, "-c", "purpose=test", "-o", "-", message];
        assert_eq!(tool.ok(&arguments), b"the text");
        tool.ok(&["verify", "--key", &uri, "--region", HERE, message]);
    }
    let description = setting.branch_keys("describe", "tenant%20%C3%BC%26", &[]);
    assert!(description.contains(&format!("active: {version}")), "{description}");
    assert!(description.contains("context: a=b=c\ncontext: tenant=blue\n"), "{description}");
    assert_eq!(description.lines().filter(|line| line.starts_with("version: ")).count(), 2);
    assert!(description.contains(&setting.key));
    // To another branch key, in place.
    let other = setting.uri(made.trim());
    tool.ok(&["reencrypt", "--old-key", &uri, "--key", &other, "--region", HERE, "-o", "third", "first"]);
    assert_eq!(tool.ok(&["decrypt", "--key", &other, "--region", HERE, "-o", "-", "third"]), b"the text");
    tool.refused(&["decrypt", "--key", &uri, "--region", HERE, "-o", "-", "third"], 4, "no encrypted data key");
    // The region and the endpoints from the environment.
    let mut special = Tool::new(setting.directory.path(), "http://127.0.0.1:9");
    special.environment.push(("AWS_REGION", HERE.to_owned()));
    special.environment.push(("AWS_ENDPOINT_URL_KMS", setting.server.endpoint.clone()));
    special.refused(&["decrypt", "--key", &other, "-o", "-", "third"], 4, "unavailable");
    special.environment.push(("AWS_ENDPOINT_URL_DYNAMODB", setting.server.endpoint.clone()));
    assert_eq!(special.ok(&["decrypt", "--key", &other, "-o", "-", "third"]), b"the text");
    // A table in another region is another table.
    tool.refused(&["decrypt", "--key", &other, "--region", THERE, "-o", "-", "third"], 4, "table does not exist");
}

#[test]
fn the_tool_refuses_what_it_should() {
    let Some(setting) = Setting::start() else { return };
    let tool = setting.tool();
    let key = &setting.key;
    setting.branch_keys("create-table", "", &[]);
    setting.branch_keys("create", "one", &["-c", "a=b"]);
    let encrypt = |uri: &str, code: i32, text: &str| {
        tool.refused(&["encrypt", "--key", uri, "--region", HERE, "-o", "out", "plain"], code, text);
    };
    for (uri, text) in [
        (format!("aws-kms-hierarchy:?logical-name=a&kms={key}&branch-key=one"), "no table"),
        (format!("aws-kms-hierarchy:t?kms={key}&branch-key=one"), "add logical-name="),
        ("aws-kms-hierarchy:t?logical-name=a&branch-key=one".to_owned(), "add kms="),
        (format!("aws-kms-hierarchy:t?logical-name=a&kms={key}"), "add branch-key="),
        (format!("aws-kms-hierarchy:t?logical-name=&kms={key}&branch-key=one"), "logical-name is empty"),
        (format!("aws-kms-hierarchy:t?logical-name=a&kms={key}&branch-key="), "branch-key is empty"),
        (format!("aws-kms-hierarchy:t?logical-name=a&logical-name=a&kms={key}&branch-key=one"), "twice"),
        (format!("aws-kms-hierarchy:t?logical-name=a&kms={key}&branch-key=one&ttl=5"), "no parameter ttl"),
        (format!("aws-kms-hierarchy:t?logical-name=%FF&kms={key}&branch-key=one"), "not UTF-8"),
        (format!("aws-kms-hierarchy:t?logical-name=%00&kms={key}&branch-key=one"), "zero byte"),
        ("aws-kms-hierarchy:t?logical-name=a&kms=alias/x&branch-key=one".to_owned(), "not the ARN"),
        (format!("aws-kms-hierarchy:t?logical-name=a&kms={}&branch-key=one", key.replace(":key/", ":alias/")), "alias"),
    ] {
        encrypt(&uri, 2, text);
    }
    let uri = setting.uri("one");
    tool.refused(&["encrypt", "--key", &uri, "-o", "out", "plain"], 2, "no AWS region");
    encrypt(&setting.uri("two"), 4, "there is no item branch:ACTIVE of branch key two");
    encrypt(&uri.replace("orders", "other"), 4, "another logical key store name");
    // Another key of the account: refused by name, and AWS KMS is not called.
    let other = create_key(&setting.server, HERE, &json!({}));
    encrypt(&uri.replace(key, &other), 4, "not the configured key");

    let keys = |command: &str, uri: &str, more: &[&str], code, text: &str| {
        tool.refused(&[&["branch-keys", command, "--key", uri, "--region", HERE], more].concat(), code, text);
    };
    keys("create", &uri, &["-c", "a=b"], 4, "exists already");
    keys("create", &setting.uri("three"), &[], 2, "needs an encryption context");
    keys("create", &setting.uri("three"), &["-c", "a"], 2, "KEY=VALUE");
    keys("version", &setting.uri(""), &[], 2, "branch-key=ID");
    keys("version", &setting.uri("two"), &[], 4, "there is no item");
    keys("version", &uri.replace(key, &other), &[], 4, "not the configured key");
    keys("describe", &setting.uri("two"), &[], 4, "there is no item");
    keys("list", "aws-kms:alias/x", &[], 2, "aws-kms-hierarchy:TABLE");
    keys("list", &uri.replace(TABLE, "missing"), &[], 4, "table does not exist");
    assert!(!setting.directory.path().join("out").exists());
    // The version has an item that someone altered.
    let item = json!({"branch-key-id": {"S": "one"}, "type": {"S": "branch:ACTIVE"}});
    dynamodb(
        &setting.server,
        "UpdateItem",
        &json!({
            "TableName": TABLE,
            "Key": item,
            "UpdateExpression": "SET extra = :x",
            "ExpressionAttributeValues": {":x": {"S": "y"}},
        }),
    );
    keys("version", &uri, &[], 3, "not authentic");
    assert_eq!(setting.describe("one")["versions"].as_array().unwrap().len(), 1);
}

/// Makes a call of DynamoDB.
fn dynamodb(server: &Server, operation: &str, body: &Value) -> Value {
    call(server, HERE, &format!("DynamoDB_20120810.{operation}"), body)
}

#[test]
fn branch_keys_are_printed_as_documented() {
    let Some(setting) = Setting::start() else { return };
    let all = schemas();
    let print = |command: &str, branch_key: &str, more: &[&str], schema: &str| {
        let text = setting.branch_keys(command, branch_key, &[more, &["--json"]].concat());
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        check(&all[schema], &value, command);
        value
    };
    print("create-table", "", &[], "branch-key-table");
    assert_eq!(print("create", "one", &["-c", "a=b"], "branch-key-created")["branch_key"], "one");
    let version = print("version", "one", &[], "branch-key-version");
    assert_eq!(print("list", "", &[], "branch-key-list")["branch_keys"], json!(["one"]));
    let found = print("describe", "one", &[], "branch-key");
    assert_eq!((&found["active"], &found["encryption_context"]), (&version["version"], &json!({"a": "b"})));
    assert_eq!(found["versions"].as_array().unwrap().len(), 2);
    let documented = all.keys().filter(|name| name.starts_with("branch-key")).count();
    assert_eq!(documented, 5);
}

/// Runs the tool in this many processes at once.
const CROWD: usize = 64;

#[test]
fn of_64_processes_that_rotate_at_once_none_loses_a_version() {
    let Some(setting) = Setting::start() else { return };
    setting.branch_keys("create-table", "", &[]);
    setting.branch_keys("create", "one", &["-c", "a=b"]);
    let uri = setting.uri("one");
    let rotate = |directory: &Path| {
        let tool = Tool::new(directory, &setting.server.endpoint);
        let output = tool.run(&["branch-keys", "version", "--key", &uri, "--region", HERE]);
        let (text, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        match output.status.code() {
            Some(0) => Rotation::Won(text.trim().to_owned()),
            Some(4) if error.contains("rotated by another process") => Rotation::Lost,
            // The server is one process too, and the machine may be busy.
            Some(4) if error.contains("timed out") => Rotation::Unknown,
            code => panic!("{code:?}: {error}"),
        }
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..CROWD).map(|_| scope.spawn(|| rotate(setting.directory.path()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |wanted: &Rotation| outcomes.iter().filter(|outcome| *outcome == wanted).count();
    let (lost, unknown) = (count(&Rotation::Lost), count(&Rotation::Unknown));
    let won: Vec<_> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome {
            Rotation::Won(version) => Some(version),
            _ => None,
        })
        .collect();
    say(&format!("{CROWD} processes that rotate at once: {} won, {lost} lost, {unknown} timed out", won.len()));
    let description = setting.describe("one");
    let versions = description["versions"].as_array().unwrap();
    // Each winner's version is there, beside the first one, and nothing of those that lost.
    assert!((1 + won.len()..=1 + won.len() + unknown).contains(&versions.len()), "{description}");
    for version in &won {
        assert!(versions.iter().any(|found| found["version"] == version.as_str()), "{version}: {description}");
    }
    let active = versions.iter().filter(|found| found["version"] == description["active"]).count();
    assert_eq!(active, 1);
}

/// What became of a process.
#[derive(PartialEq)]
enum Rotation {
    Won(String),
    Lost,
    Unknown,
}

#[test]
fn the_help_names_every_command() {
    let output = Command::new(env!("CARGO_BIN_EXE_sealwax")).args(["branch-keys", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for command in ["create-table", "create", "version", "list", "describe"] {
        assert!(text.contains(command), "{text}");
    }
}
