//! The endpoint with real clients: boto3 and the official Encryption SDK of Python, unchanged but for
//! the endpoint's URL.

use std::{fs, net::TcpListener, process::Command, thread};

use sealwax_kms::server::Endpoint;
use tokio::sync::oneshot;

use crate::support::{peers, root, skip};

const IDENTITIES: &str = r#"{"accounts": [{"id": "111122223333",
    "users": [{"name": "alice", "access_keys": [{"id": "AKIAALICE", "secret": "alice-secret"}], "policies": []}],
    "roles": [{"name": "app",
        "trust": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "sts:AssumeRole"}]},
        "policies": [{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["kms:Encrypt"],
            "Resource": "*"}]}]}]}]}"#;

#[test]
fn the_python_clients_take_the_endpoint_for_aws_kms() {
    if !peers().join("py/.stamp").exists() {
        skip("SEALWAX_REQUIRE_PEERS", "the Python peer is not installed (tests/peers/setup.sh)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("identities.json");
    fs::write(&file, IDENTITIES).unwrap();
    let builder =
        Endpoint::builder(directory.path()).administrator("111122223333", "AKIAADMIN", "admin-secret").identities(file);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let endpoint = builder.open().await.unwrap();
            endpoint.serve(listener, async { stopped.await.unwrap() }).await.unwrap();
        });
    });
    let script = root().join("tests/peers/kms_endpoint_peer.py");
    let output = Command::new(peers().join("py/bin/python")).arg(script).arg(&url).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n", "{text}");
    stop.send(()).unwrap();
    server.join().unwrap();
    // Each call has its line, refusals too, and no line has a plaintext or a secret.
    let log = fs::read_to_string(directory.path().join("endpoint/trail.log")).unwrap();
    for expected in
        ["\"errorCode\":\"DisabledException\"", "\"errorCode\":\"AccessDenied\"", "\"eventName\":\"CreateKey\""]
    {
        assert!(log.contains(expected), "{expected}");
    }
    assert!(!log.contains("secret") && !log.contains("dGV4dA"), "a secret is in the log");
}
