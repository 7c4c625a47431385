//! With the official library.

use super::*;

/// The official library, as a process that answers requests in JSON, one a line. Ended when this is dropped.
struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<std::io::Result<String>>,
}

impl Peer {
    /// None, loudly, if the library is not installed.
    fn start() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = env::var_os("SEALWAX_PEERS_DIR").map_or_else(|| root.join("target/peers"), PathBuf::from);
        if !folder.join("py/.stamp").exists() {
            skip("SEALWAX_REQUIRE_PEERS", "the Python peer is not installed (tests/peers/setup.sh)");
            return None;
        }
        let mut child = Command::new(folder.join("py/bin/python"))
            .arg(root.join("tests/peers/ecdh_peer.py"))
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

    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        self.requests.write_all((request.to_string() + "\n").as_bytes()).expect("the peer takes requests");
        let answer = self.answers.recv_timeout(Duration::from_secs(120)).expect("an answer").expect("text");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        if answer["ok"] == true { Ok(answer) } else { Err(answer["error"].as_str().unwrap_or_default().to_owned()) }
    }

    fn decrypt(&mut self, keyring: &Value, message: &[u8]) -> Result<Vec<u8>, String> {
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

#[test]
fn the_official_library_and_we_open_each_others_messages() {
    let Some(mut peer) = Peer::start() else { return };
    let start = Instant::now();
    let hello = peer.ask(&json!({"op": "hello"})).expect("a greeting");
    let file = load();
    let (mut theirs, mut ours, mut refused) = (0, 0, 0);
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, carol } = Named::of(&file, curve);
        let name = curve.to_string();
        let their_static = |own: &Key, other: &Key| json!({"curve": name, "schema": "static", "private": own.private, "public": other.public});
        let their_ephemeral = json!({"curve": name, "schema": "ephemeral", "public": bob.public});
        let their_discovery = |own: &Key| json!({"curve": name, "schema": "discovery", "private": own.private});
        for (suite, context) in SUITES.into_iter().flat_map(|suite| contexts().map(|context| (suite, context))) {
            let client = client_for(suite);
            let plaintext = format!("{curve}, {suite}").into_bytes();
            let pairs: BTreeMap<_, _> = context.iter().collect();
            for (keyring, readers) in [
                (
                    their_static(alice, bob),
                    vec![between(curve, bob, alice), between(curve, alice, bob), of(curve, bob)],
                ),
                (their_ephemeral.clone(), vec![of(curve, bob)]),
            ] {
                let request = json!({
                    "op": "encrypt", "keyring": keyring, "suite": suite_name(suite), "context": pairs,
                    "plaintext": to_base64(&plaintext),
                });
                let answer = peer.ask(&request).unwrap_or_else(|error| panic!("{curve}, {suite}: {error}"));
                let message = from_base64(answer["message"].as_str().expect("a message"));
                for reader in readers {
                    let opened = client.decrypt(&reader).context(context.clone()).bytes(&message).wait();
                    assert_eq!(opened.expect("it opens").plaintext, plaintext);
                    theirs += 1;
                }
                assert!(client.decrypt(&of(curve, carol)).bytes(&message).wait().is_err());
                refused += 1;
            }
            for (keyring, readers) in [
                (
                    between(curve, alice, bob),
                    vec![their_static(bob, alice), their_static(alice, bob), their_discovery(bob)],
                ),
                (to(curve, bob), vec![their_discovery(bob)]),
            ] {
                let sealed = client.encrypt(&keyring).suite(suite).context(context.clone()).bytes(&plaintext).wait();
                let message = sealed.expect("it seals").message;
                for reader in readers {
                    assert_eq!(peer.decrypt(&reader, &message).as_deref(), Ok(&*plaintext), "{curve}, {suite}");
                    ours += 1;
                }
                assert!(peer.decrypt(&their_discovery(carol), &message).is_err());
                assert!(peer.decrypt(&their_static(carol, alice), &message).is_err());
                refused += 2;
            }
        }
    }
    say(&format!(
        "raw ECDH with {} {}: {theirs} openings of their messages, {ours} of ours, {refused} refusals, {:.1} s",
        hello["library"],
        hello["sdk"],
        start.elapsed().as_secs_f32()
    ));
    assert_eq!((theirs, ours, refused), (144, 144, 216));
}
