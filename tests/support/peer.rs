//! The official SDKs as peers: processes that answer requests in JSON, one per line
//! (tests/peers/peer.py and peer.js).

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use sealwax::{AlgorithmSuite, EncryptionContext};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{WrappingKey, from_base64, peers, root, skip, suite_name, suite_of, to_base64};

/// How long a peer may take for an answer, including its start.
const PATIENCE: Duration = Duration::from_secs(120);

/// An official SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    Python,
    Node,
}

/// A running peer, which is stopped on drop.
pub struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<io::Result<String>>,
    /// How many requests it has answered, not counting the first.
    pub exchanges: usize,
    /// `raw`, or `mpl` for the keyrings of the material providers library, which the Python peer
    /// has.
    pub keyring: &'static str,
}

/// A key that can be described to a peer.
pub trait PeerKey {
    fn record(&self) -> Value;
}

impl PeerKey for WrappingKey {
    fn record(&self) -> Value {
        json!({"namespace": self.namespace, "name": self.name, "key": to_base64(&self.bytes)})
    }
}

/// A message for a peer to write.
pub struct ToWrite<'a, K = WrappingKey> {
    /// The keys; the first generates the data key.
    pub keys: &'a [K],
    pub suite: AlgorithmSuite,
    /// The frame length; 0 means unframed.
    pub frame_length: u32,
    pub context: &'a EncryptionContext,
    /// The context keys that are authenticated but not stored.
    pub required: &'a [&'a str],
    pub plaintext: &'a [u8],
}

/// A message that a peer has read.
pub struct PeerOpening {
    pub plaintext: Vec<u8>,
    pub context: EncryptionContext,
    pub suite: AlgorithmSuite,
}

/// A peer's refusal, in its own words.
#[derive(Debug)]
pub struct Refused(pub String);

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    error: Option<String>,
    name: Option<String>,
    version: Option<String>,
    suites: Option<Vec<String>>,
    message: Option<String>,
    plaintext: Option<String>,
    context: Option<BTreeMap<String, String>>,
    suite: Option<String>,
}

impl Peer {
    /// Starts a peer, which must support all eleven suites. Returns `None`, with a message, if its
    /// SDK is not installed.
    pub fn start(sdk: Sdk) -> Option<Self> {
        let (folder, sources) = (peers(), root().join("tests/peers"));
        let (program, script, installed) = match sdk {
            Sdk::Python => (folder.join("py/bin/python"), "peer.py", folder.join("py/.stamp")),
            Sdk::Node => ("node".into(), "peer.js", folder.join("js/.stamp")),
        };
        if !installed.exists() {
            skip("SEALWAX_REQUIRE_PEERS", &format!("the {sdk:?} peer is not installed (tests/peers/setup.sh)"));
            return None;
        }
        let mut child = Command::new(program)
            .arg(sources.join(script))
            .env("SEALWAX_PEERS_DIR", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("the {sdk:?} peer does not start: {error}"));
        let requests = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        // A thread reads, so that a peer that hangs fails the test by a timeout.
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || output.lines().try_for_each(|line| sender.send(line)));
        let mut peer = Self { child, requests, answers, exchanges: 0, keyring: "raw" };
        let hello = peer.ask(json!({"op": "hello"})).expect("a greeting");
        let suites: Vec<_> = hello.suites.iter().flatten().map(|suite| suite_of(suite)).collect();
        assert_eq!(suites, AlgorithmSuite::ALL, "{:?} {:?}", hello.name, hello.version);
        peer.exchanges = 0;
        Some(peer)
    }

    /// Sends a request and waits for its answer.
    fn ask(&mut self, request: Value) -> Result<Answer, Refused> {
        let line = request.to_string() + "\n";
        self.requests.write_all(line.as_bytes()).expect("the peer takes requests");
        let answer = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no answer: {error}"));
        let answer: Answer = serde_json::from_str(&answer.expect("text")).expect("an answer of a known form");
        self.exchanges += 1;
        if answer.ok { Ok(answer) } else { Err(Refused(answer.error.unwrap_or_default())) }
    }

    /// Asks the peer to write a message.
    pub fn encrypt(&mut self, request: &ToWrite<'_, impl PeerKey>) -> Result<Vec<u8>, Refused> {
        let mut line = json!({
            "op": "encrypt",
            "keys": keys(request.keys),
            "suite": suite_name(request.suite),
            "frame_length": request.frame_length,
            "context": context(request.context),
            "plaintext": to_base64(request.plaintext),
            "keyring": self.keyring,
            "utf8_sorting": true,
        });
        if !request.required.is_empty() {
            line["required"] = json!(request.required);
        }
        let answer = self.ask(line)?;
        Ok(from_base64(&answer.message.expect("a message")))
    }

    /// Asks the peer to read a message, given the expected context.
    pub fn decrypt(
        &mut self,
        opened_with: &[impl PeerKey],
        expected: &EncryptionContext,
        message: &[u8],
    ) -> Result<PeerOpening, Refused> {
        self.decrypt_requiring(&[], opened_with, expected, message)
    }

    /// Asks the peer to read a message through its manager, which requires these keys of the
    /// expected context.
    pub fn decrypt_requiring(
        &mut self,
        required: &[&str],
        opened_with: &[impl PeerKey],
        expected: &EncryptionContext,
        message: &[u8],
    ) -> Result<PeerOpening, Refused> {
        let mut line = json!({
            "op": "decrypt",
            "keys": keys(opened_with),
            "context": context(expected),
            "message": to_base64(message),
            "keyring": self.keyring,
            "utf8_sorting": true,
        });
        if !required.is_empty() {
            line["required"] = json!(required);
        }
        let answer = self.ask(line)?;
        Ok(PeerOpening {
            plaintext: from_base64(&answer.plaintext.expect("a plaintext")),
            context: answer.context.expect("a context").into_iter().collect(),
            suite: suite_of(&answer.suite.expect("a suite")),
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keys(keys: &[impl PeerKey]) -> Vec<Value> {
    keys.iter().map(PeerKey::record).collect()
}

fn context(context: &EncryptionContext) -> Map<String, Value> {
    context.iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}
