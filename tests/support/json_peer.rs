//! A peer that answers each line of JSON with another: a script of tests/peers, run by the Python
//! that tests/peers/setup.sh installs.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{from_base64, peers, root, skip, to_base64};

/// A running peer, which is stopped on drop.
pub struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<io::Result<String>>,
}

impl Peer {
    /// Starts the peer with this script. Returns `None`, with a message, if the official SDK is not
    /// installed.
    pub fn start(script: &str) -> Option<Self> {
        let (root, folder) = (root(), peers());
        if !folder.join("py/.stamp").exists() {
            skip("SEALWAX_REQUIRE_PEERS", "the Python peer is not installed (tests/peers/setup.sh)");
            return None;
        }
        let mut child = Command::new(folder.join("py/bin/python"))
            .arg(root.join("tests/peers").join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer starts");
        let requests = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || output.lines().try_for_each(|line| sender.send(line)));
        Some(Self { child, requests, answers })
    }

    /// Sends a request, and returns the peer's answer or its error.
    pub fn ask(&mut self, request: &Value) -> Result<Value, String> {
        self.requests.write_all((request.to_string() + "\n").as_bytes()).expect("the peer takes requests");
        let answer = self.answers.recv_timeout(Duration::from_secs(120)).expect("an answer").expect("text");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        if answer["ok"] == true { Ok(answer) } else { Err(answer["error"].as_str().unwrap_or_default().to_owned()) }
    }

    /// Asks the peer to decrypt a message with one of its keyrings.
    pub fn decrypt(&mut self, keyring: &Value, message: &[u8]) -> Result<Vec<u8>, String> {
        let request = json!({"op": "decrypt", "keyring": keyring, "message": to_base64(message)});
        self.ask(&request).map(|answer| from_base64(answer["plaintext"].as_str().expect("a plaintext")))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
