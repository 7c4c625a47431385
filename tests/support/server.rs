//! Servers that stand in for AWS KMS and S3: moto, with the official Python SDKs in the same process,
//! and fakecloud. For Azure Storage: azurite.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{peers, root, skip};

/// How long a server may take for an answer, including its start.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A server in a process of its own, which is stopped on drop.
pub struct Server {
    child: Child,
    input: ChildStdin,
    lines: Receiver<io::Result<String>>,
    pub endpoint: String,
}

impl Server {
    /// Starts moto and the Python SDK (`tests/peers/kms_peer.py`). Returns `None`, with a message,
    /// if they are not installed.
    pub fn moto() -> Option<Self> {
        let python = peers().join("py/bin/python");
        // An installation from an older list of packages is not enough.
        let pins = root().join("tests/peers/requirements.txt");
        if std::fs::read(peers().join("py/.stamp")).ok() != std::fs::read(pins).ok() {
            skip("SEALWAX_REQUIRE_PEERS", "moto is not installed (tests/peers/setup.sh python)");
            return None;
        }
        let script = root().join("tests/peers/kms_peer.py");
        let mut server = Self::start(Command::new(python).arg(script).stderr(Stdio::null()));
        let hello = server.ask(json!({"op": "hello"})).expect("a greeting");
        server.endpoint = format!("http://127.0.0.1:{}", hello["port"]);
        Some(server)
    }

    /// Starts fakecloud (`tests/fakecloud`). Returns `None`, with a message, if it is not built.
    pub fn fakecloud() -> Option<Self> {
        let program = peers().join("fakecloud/debug/sealwax-test-fakecloud");
        if !program.exists() {
            skip("SEALWAX_REQUIRE_PEERS", "fakecloud is not built (tests/peers/setup.sh fakecloud)");
            return None;
        }
        let mut server = Self::start(&mut Command::new(program));
        server.endpoint = format!("http://127.0.0.1:{}", server.line());
        Some(server)
    }

    /// Starts azurite, the emulator of Azure Storage (`tests/peers/azurite.js`). Returns `None`, with a message, if it is not
    /// installed.
    pub fn azurite() -> Option<Self> {
        if !peers().join("js/node_modules/azurite").exists() {
            skip("SEALWAX_REQUIRE_PEERS", "azurite is not installed (tests/peers/setup.sh node)");
            return None;
        }
        let script = root().join("tests/peers/azurite.js");
        let mut server = Self::start(Command::new("node").arg(script).env("SEALWAX_PEERS_DIR", peers()));
        server.endpoint = server.line();
        assert!(server.endpoint.starts_with("http:"), "{}", server.endpoint);
        Some(server)
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().try_for_each(|line| sender.send(line)));
        Self { child, input, lines, endpoint: String::new() }
    }

    fn line(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no answer: {error}"));
        line.expect("text")
    }

    /// Sends a request to the Python process, in the format of `kms_peer.py`.
    pub fn ask(&mut self, request: Value) -> Result<Value, String> {
        writeln!(self.input, "{request}").expect("the peer takes requests");
        let answer: Value = serde_json::from_str(&self.line()).expect("JSON");
        match answer["ok"].as_bool() {
            Some(true) => Ok(answer),
            _ => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
        }
    }

    /// Makes a call of boto3, which must succeed.
    pub fn call(&mut self, service: &str, method: &str, arguments: Value) -> Value {
        let request = json!({"op": "call", "service": service, "method": method, "arguments": arguments});
        self.ask(request).unwrap_or_else(|error| panic!("{method}: {error}"))["answer"].take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
