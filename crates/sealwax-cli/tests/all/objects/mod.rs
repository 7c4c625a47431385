//! The tool over object stores: a real S3 server (moto), the local file system, and a server that
//! fails.

mod contract;
mod faults;
mod files;
mod sync;

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::{
    place::{Place, code, json_lines, stderr},
    server::Server,
    support::from_base64,
};

/// A directory with a key, and the environment for a server.
pub(super) struct Tool {
    pub(super) place: Place,
    pub(super) environment: Vec<(&'static str, String)>,
}

impl Tool {
    pub(super) fn new(endpoint: &str) -> Self {
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ];
        Self { place: Place::new(), environment: environment.map(|(name, value)| (name, value.to_owned())).into() }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        for name in std::env::vars_os().map(|(name, _)| name) {
            let text = name.to_string_lossy().to_ascii_uppercase();
            if ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|start| text.starts_with(start)) || text.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        for (name, file) in [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")] {
            command.env(name, self.place.directory.path().join(file));
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true").envs(self.environment.iter().cloned());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("the tool")
    }

    #[track_caller]
    pub(super) fn ok(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        output.stdout
    }

    /// Runs a command with the key.
    #[track_caller]
    pub(super) fn with_key(&self, arguments: &[&str]) -> Vec<u8> {
        self.ok(&[&arguments[..1], &["-k", &self.place.key], &arguments[1..]].concat())
    }

    /// Runs a command with the key, which must fail with this code and one line with this text.
    #[track_caller]
    pub(super) fn refused(&self, arguments: &[&str], expected: i32, text: &str) {
        let output = self.run(&[&arguments[..1], &["-k", &self.place.key], &arguments[1..]].concat());
        assert_eq!(code(&output), expected, "{arguments:?}: {}", stderr(&output));
        self.place.check_refusal(&output, expected, text);
    }

    /// Runs a command that prints JSON.
    #[track_caller]
    pub(super) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        json_lines(&self.ok(&[arguments, &["--json"]].concat()))
    }
}

/// A bucket of a server, and the tool for it.
pub(super) struct Bucket {
    pub(super) tool: Tool,
    pub(super) server: Server,
}

impl Bucket {
    /// Starts a server with the bucket `lake`. Returns `None`, with a message, if it is not
    /// installed.
    pub(super) fn new() -> Option<Self> {
        let mut server = Server::moto()?;
        server.call("s3", "create_bucket", json!({"Bucket": "lake"}));
        Some(Self { tool: Tool::new(&server.endpoint), server })
    }

    /// Returns the keys of all objects, in order.
    pub(super) fn keys(&mut self) -> Vec<String> {
        let listed = self.server.call("s3", "list_objects_v2", json!({"Bucket": "lake"}));
        let all = listed["Contents"].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["Key"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the bytes of an object.
    pub(super) fn stored(&mut self, key: &str) -> Vec<u8> {
        let answer = self.server.ask(json!({"op": "object", "bucket": "lake", "key": key})).unwrap();
        from_base64(answer["bytes"].as_str().unwrap())
    }

    /// Replaces the bytes of an object.
    pub(super) fn store(&mut self, key: &str, bytes: &[u8]) {
        let bytes = crate::support::to_base64(bytes);
        self.server.ask(json!({"op": "put_object", "bucket": "lake", "key": key, "bytes": bytes})).unwrap();
    }

    /// Returns how many multipart uploads are open.
    pub(super) fn open_uploads(&mut self) -> usize {
        let answer = self.server.call("s3", "list_multipart_uploads", json!({"Bucket": "lake"}));
        answer["Uploads"].as_array().map_or(0, Vec::len)
    }
}
