//! Keys in AWS KMS, with servers that stand in for it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::server::Server;

pub(crate) const HERE: &str = "us-east-1";
pub(crate) const THERE: &str = "eu-west-1";

/// The account of both servers.
const ACCOUNT: &str = "123456789012";

/// Makes a call of AWS KMS, or with a whole name another one's, and returns the answer. The servers
/// check no signature, and take the region from it.
pub(crate) fn call(server: &Server, region: &str, operation: &str, body: &Value) -> Value {
    let (address, body) = (server.endpoint.strip_prefix("http://").expect("an address"), body.to_string());
    let (service, operation) = match operation.split_once('.') {
        Some(_) => ("dynamodb", operation.to_owned()),
        None => ("kms", format!("TrentService.{operation}")),
    };
    let credential = format!("AKIDTEST/20260101/{region}/{service}/aws4_request");
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nX-Amz-Target: {operation}\r\n\
         X-Amz-Date: 20260101T000000Z\r\nContent-Type: application/x-amz-json-1.1\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect(address).expect("the server");
    connection.write_all(request.as_bytes()).expect("it takes requests");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{operation}: {answer}");
    if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

/// Creates a key, and returns its ARN.
pub(crate) fn create_key(server: &Server, region: &str, arguments: &Value) -> String {
    call(server, region, "CreateKey", arguments)["KeyMetadata"]["Arn"].as_str().expect("an ARN").to_owned()
}

/// The tool in a directory, with an environment that contains only this server.
pub(crate) struct Tool<'a> {
    directory: &'a Path,
    pub(crate) environment: Vec<(&'a str, String)>,
}

impl<'a> Tool<'a> {
    pub(crate) fn new(directory: &'a Path, endpoint: &str) -> Self {
        let environment = vec![
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIDTEST".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ];
        Self { directory, environment }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwax"));
        command.args(arguments).current_dir(self.directory).stdin(Stdio::null());
        for name in std::env::vars_os().map(|(name, _)| name) {
            let text = name.to_string_lossy().to_ascii_uppercase();
            if text.starts_with("AWS_") || text.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_CONFIG_FILE", self.directory.join("config"));
        command.env("AWS_SHARED_CREDENTIALS_FILE", self.directory.join("credentials"));
        command.envs(self.environment.iter().cloned()).output().expect("the tool")
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str], code: i32, text: &str) {
        let output = self.run(arguments);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {line}");
        assert!(line.contains(text) && line.lines().count() == 1, "{arguments:?}: {line:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_tool_encrypts_and_decrypts() {
    let Some(server) = Server::moto() else { return };
    let (key, far) = (create_key(&server, HERE, &json!({})), create_key(&server, THERE, &json!({})));
    call(&server, HERE, "CreateAlias", &json!({"AliasName": "alias/orders", "TargetKeyId": key}));
    let directory = tempfile::tempdir().unwrap();
    let mut tool = Tool::new(directory.path(), &server.endpoint);
    fs::write(directory.path().join("plain"), b"the text").unwrap();
    let (key, far) = (format!("aws-kms:{key}"), format!("aws-kms:{far}"));
    let discovery = format!("aws-kms:discovery?account={ACCOUNT}&account=111122223333");

    // An ARN contains its region, whatever `--region` says.
    tool.ok(&["encrypt", "-k", &key, "-c", "tenant=blue", "-o", "by-arn", "plain"]);
    assert_eq!(tool.ok(&["decrypt", "-o", "-", "-k", &key, "-c", "tenant=blue", "by-arn"]), b"the text");
    assert_eq!(tool.ok(&["decrypt", "-o", "-", "-k", &key, "--region", THERE, "by-arn"]), b"the text");
    // An alias is resolved in the region that the command line, the environment, or the URI
    // gives.
    tool.refused(&["encrypt", "-k", "aws-kms:alias/orders", "-o", "x", "plain"], 2, "no AWS region");
    tool.ok(&["--region", HERE, "encrypt", "-k", "aws-kms:alias/orders", "-o", "by-alias", "plain"]);
    tool.ok(&["encrypt", "-k", "aws-kms:alias/%6Frders?region=us-east-1", "-fo", "by-alias", "plain"]);
    tool.environment.push(("AWS_REGION", HERE.to_owned()));
    tool.ok(&["encrypt", "-k", "aws-kms:alias/orders", "-fo", "by-alias", "plain"]);
    tool.refused(
        &["encrypt", "-k", "aws-kms:alias/orders", "--region", THERE, "-o", "x", "plain"],
        4,
        "the key does not exist",
    );
    for message in ["by-arn", "by-alias"] {
        assert_eq!(tool.ok(&["decrypt", "-o", "-", "-k", &key, message]), b"the text");
        assert_eq!(tool.ok(&["decrypt", "-o", "-", "-k", &discovery, message]), b"the text");
        assert_eq!(tool.ok(&["decrypt", "-o", "-", "-k", "aws-kms:discovery", message]), b"the text");
    }
    // Several keys in several regions; each opens the message alone.
    tool.ok(&["encrypt", "-k", &key, "-k", &far, "-o", "several", "plain"]);
    for one in [&key, &far] {
        assert_eq!(tool.ok(&["decrypt", "-o", "-", "-k", one, "several"]), b"the text");
    }
    tool.ok(&["encrypt", "-k", &far, "-o", "far", "plain"]);
    tool.refused(&["decrypt", "-o", "-", "-k", &discovery, "far"], 4, "no encrypted data key");
    assert_eq!(tool.ok(&["decrypt", "-o", "-", "-k", &discovery, "--region", THERE, "far"]), b"the text");
    let both = format!("{discovery}&region={HERE}&region={THERE}");
    assert_eq!(tool.ok(&["decrypt", "-o", "-", "-k", &both, "far"]), b"the text");

    // A profile.
    let profile = format!(
        "[profile far]\nregion = {THERE}\naws_access_key_id = A\naws_secret_access_key = B\n\
         endpoint_url = {}\n",
        server.endpoint
    );
    fs::write(directory.path().join("config"), profile).unwrap();
    let with_profile = Tool { directory: directory.path(), environment: Vec::new() };
    assert_eq!(
        with_profile.ok(&["decrypt", "-o", "-", "-k", "aws-kms:discovery", "--profile", "far", "far"]),
        b"the text"
    );
    assert_eq!(with_profile.ok(&["decrypt", "-o", "-", "-k", "aws-kms:discovery?profile=far", "far"]), b"the text");
    // Credentials that belong to no user.
    with_profile.refused(
        &["decrypt", "-o", "-", "-k", &key, "by-arn"],
        4,
        "access was denied: the credential provider",
    );
    // The endpoint of this service alone.
    let mut special = Tool::new(directory.path(), "http://127.0.0.1:9");
    special.environment.push(("AWS_ENDPOINT_URL_KMS", server.endpoint.clone()));
    assert_eq!(special.ok(&["decrypt", "-o", "-", "-k", &key, "by-arn"]), b"the text");
    let nowhere = Tool::new(directory.path(), "http://127.0.0.1:9");
    nowhere.refused(&["decrypt", "-o", "-", "-k", &key, "by-arn"], 4, "the service is unavailable");
}

#[test]
fn what_is_no_key_is_refused_before_anything_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mut tool = Tool::new(directory.path(), "http://127.0.0.1:9");
    tool.environment.push(("AWS_REGION", HERE.to_owned()));
    fs::write(directory.path().join("plain"), b"the text").unwrap();
    for (key, text) in [
        ("aws-kms:", "is empty"),
        ("aws-kms:arn:aws:s3:us-east-1:111122223333:key/1", "the service is not kms"),
        ("aws-kms:arn:aws:kms:evil.example%23:111122223333:key/1", "region"),
        ("aws-kms:orders/1", "alias/NAME"),
        ("aws-kms:alias/orders?account=1", "no parameter account"),
        ("aws-kms:alias/orders?region=a&region=b", "one region"),
        ("aws-kms:alias/orders?profile=a&profile=b", "twice"),
        ("aws-kms:discovery?partition=aws", "needs an account"),
        ("aws-kms:discovery?account=", "empty"),
        ("aws-kms:discovery?region=a.b", "region"),
    ] {
        tool.refused(&["encrypt", "-k", key, "-o", "x", "plain"], 2, text);
    }
    assert!(!directory.path().join("x").exists());
}

#[test]
fn a_multi_region_key_is_known_by_its_arn() {
    let Some(server) = Server::fakecloud() else { return };
    let made = create_key(&server, HERE, &json!({"MultiRegion": true}));
    call(&server, HERE, "ReplicateKey", &json!({"KeyId": made, "ReplicaRegion": THERE}));
    let directory = tempfile::tempdir().unwrap();
    let tool = Tool::new(directory.path(), &server.endpoint);
    fs::write(directory.path().join("plain"), b"the text").unwrap();
    let (here, there) = (format!("aws-kms:{made}"), format!("aws-kms:{}", made.replace(HERE, THERE)));
    tool.ok(&["encrypt", "-k", &here, "-o", "sealed", "plain"]);
    assert_eq!(tool.ok(&["decrypt", "-o", "-", "-k", &there, "sealed"]), b"the text");
    assert_eq!(tool.ok(&["decrypt", "-o", "-", "-k", "aws-kms:discovery", "--region", THERE, "sealed"]), b"the text");
    call(&server, HERE, "DisableKey", &json!({"KeyId": made}));
    tool.refused(&["encrypt", "-k", &here, "-o", "x", "plain"], 4, "the key is disabled");
}
