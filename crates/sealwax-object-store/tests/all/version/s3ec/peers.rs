//! What the official clients write on a server, read over HTTP.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use sealwax::keyring::{BoxFuture, GeneratedDataKey, KmsCiphertext, KmsDecrypt, KmsEncrypt, KmsError, KmsPlaintext};
use serde_json::{Value, json};
use std::sync::Mutex;

use super::*;
use crate::{server::Server, support::skip};
use object_store::aws::{AmazonS3, AmazonS3Builder};

const BUCKET: &str = "bucket";

fn bucket(endpoint: &str) -> AmazonS3 {
    let builder = AmazonS3Builder::new().with_endpoint(endpoint).with_allow_http(true).with_bucket_name(BUCKET);
    let builder = builder.with_access_key_id("AKIDPEER").with_secret_access_key("peer").with_region("us-east-1");
    builder.build().unwrap()
}

/// The key management service of the server, called by its Python process.
struct ByPython(Arc<Mutex<Server>>);

impl KmsApi for ByPython {
    fn generate_data_key<'a>(&'a self, _: GenerateDataKey<'a>) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        unreachable!("objects are only read")
    }

    fn encrypt<'a>(&'a self, _: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        unreachable!("objects are only read")
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        let context: BTreeMap<_, _> = request.context.iter().collect();
        let request = json!({
            "op": "kms_decrypt", "key": request.key_id, "ciphertext": to_base64(request.ciphertext), "context": context
        });
        let answer = self.0.lock().unwrap().ask(request);
        Box::pin(async move {
            use sealwax::keyring::{KmsErrorKind, KmsOperation};
            let failed = |why| KmsError::new(KmsOperation::Decrypt, KmsErrorKind::Other).caused_by(why);
            let answer: Value = answer.map_err(failed)?;
            let text = |name: &str| answer[name].as_str().unwrap().to_owned();
            Ok(KmsPlaintext { key_id: text("key"), plaintext: from_base64(&text("plaintext")).into() })
        })
    }
}

/// Starts moto with a bucket and a key.
fn moto() -> Option<(Server, String)> {
    let mut server = Server::moto()?;
    let call = json!({"op": "call", "service": "s3", "method": "create_bucket", "arguments": {"Bucket": BUCKET}});
    server.ask(call).unwrap();
    let key = server.call("kms", "create_key", json!({}))["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
    Some((server, key))
}

fn reader(endpoint: &str, key: S3Key, legacy: bool) -> S3EncryptionStore<AmazonS3> {
    let builder = S3EncryptionStore::builder(bucket(endpoint), key).sizes(Sizes::Exact);
    let builder = builder.commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt);
    if legacy { builder.legacy_wrapping().legacy_content() } else { builder }.build().unwrap()
}

#[tokio::test]
async fn what_the_python_client_writes_is_read() {
    let Some((mut server, arn)) = moto() else { return };
    let texts = [0, 1, 16, 1000, (6 << 20) + 3].map(pattern);
    let context = json!({"tenant": "blue", "note": "a b"});
    for (number, text) in texts.iter().enumerate() {
        for format in [2, 3] {
            for parts in [None, Some(5 << 20)] {
                // The client does not complete an upload without a part.
                if parts.is_some() && text.is_empty() {
                    continue;
                }
                let name = format!("{format}/{number} {parts:?}");
                let put = json!({
                    "op": "s3ec_put", "key": arn, "format": format, "bucket": BUCKET, "name": name,
                    "body": to_base64(text), "parts": parts, "context": context
                });
                server.ask(put).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
    let endpoint = server.endpoint.clone();
    let server = Arc::new(Mutex::new(server));
    let key = |context: &'static [(&'static str, &'static str)]| {
        let context = move |_: &str| context.iter().copied().collect();
        S3Key::kms_with_context(Arc::new(ByPython(server.clone())), arn.clone(), context)
    };
    let store = reader(&endpoint, key(&[("tenant", "blue"), ("note", "a b")]), false);
    for (number, text) in texts.iter().enumerate() {
        for path in store.list(None).try_collect::<Vec<_>>().await.unwrap() {
            if !path.location.as_ref().contains(&format!("/{number} ")) {
                continue;
            }
            assert_eq!(path.size, text.len() as u64);
            assert!(read(&store, &path.location).await.unwrap() == *text, "{}", path.location);
            if text.len() > 10 {
                let found = store.get_range(&path.location, 5..10).await.unwrap();
                assert!(found == text[5..10]);
            }
        }
    }
    assert_eq!(store.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 18);
    let strict = S3EncryptionStore::builder(bucket(&endpoint), key(&[("tenant", "blue"), ("note", "a b")]));
    let strict = strict.build().unwrap();
    assert!(read(&strict, &Path::from("3/3 None")).await.unwrap() == texts[3]);
    let error = strict.get(&Path::from("2/3 None")).await.unwrap_err();
    assert!(refused_by(&error).contains("commitment_policy"));
    // The client itself refuses another context too.
    let error = reader(&endpoint, key(&[("tenant", "red"), ("note", "a b")]), false).get(&Path::from("3/3 None")).await;
    assert!(matches!(s3ec_error(&error.unwrap_err()), S3EncryptionError::Context));
    let get = json!({
        "op": "s3ec_get", "key": arn, "bucket": BUCKET, "name": "3/3 None", "context": {"tenant": "red", "note": "a b"}
    });
    assert!(server.lock().unwrap().ask(get).is_err());
}

/// The Ruby clients, if Debian's package is installed: raw keys, and instruction files.
#[tokio::test]
async fn what_the_ruby_clients_write_is_read() {
    let script = root().join("tests/peers/s3ec_peer.rb");
    let runs = |script: &str| Command::new("ruby").args(["-e", script]).stderr(Stdio::null()).status();
    if !runs("require 'aws-sdk-s3'; require 'aws-sdk-kms'").is_ok_and(|status| status.success()) {
        return skip("SEALWAX_REQUIRE_RUBY", "the Ruby SDK is not installed (Debian: ruby-aws-sdk-s3)");
    }
    let Some((server, arn)) = moto() else { return };
    let endpoint = server.endpoint.clone();
    let pem = std::fs::read_to_string(root().join("tests/keys/rsa-2048.pkcs8.pem")).unwrap();
    let texts = [0, 1, 15, 16, 17, 100_000].map(pattern);
    let (mut requests, mut written) = (String::new(), Vec::new());
    for (number, text) in texts.iter().enumerate() {
        for client in ["v1", "v2"] {
            for location in ["metadata", "instruction_file"] {
                for kind in ["aes", "rsa", "kms"] {
                    let key = match kind {
                        "aes" => json!({"aes": to_base64(&WRAPPING_KEY)}),
                        "rsa" => json!({"rsa": pem}),
                        _ => json!({"kms": arn}),
                    };
                    let name = format!("{kind}/{client}/{location}/{number}");
                    let request = json!({
                        "endpoint": endpoint, "client": client, "key": key, "location": location, "bucket": BUCKET,
                        "name": name, "body": to_base64(text)
                    });
                    requests.push_str(&format!("{request}\n"));
                    written.push((name, kind, client, text));
                }
            }
        }
    }
    let mut child = Command::new("ruby").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || input.write_all(requests.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    for answer in answers.lines() {
        assert_eq!(serde_json::from_str::<Value>(answer).unwrap()["ok"], true, "{answer}");
    }
    assert_eq!(answers.lines().count(), written.len());
    let server = Arc::new(Mutex::new(server));
    let key = |kind| match kind {
        "aes" => aes(),
        "rsa" => S3Key::rsa(&pem).unwrap(),
        _ => S3Key::kms(Arc::new(ByPython(server.clone())), arn.clone()),
    };
    for (name, kind, client, text) in &written {
        let path = Path::from(name.as_str());
        let store = reader(&endpoint, key(*kind), *client == "v1");
        assert_eq!(store.head(&path).await.unwrap().size, text.len() as u64, "{name}");
        assert!(read(&store, &path).await.unwrap() == **text, "{name}");
        if *client == "v1" {
            let error = reader(&endpoint, key(*kind), false).get(&path).await.unwrap_err();
            assert!(refused_by(&error).contains("legacy_content"), "{name}");
        }
    }
    // Twice as many objects with their instruction files, which are left out.
    let store = reader(&endpoint, aes(), true);
    let listed: Vec<_> = store.list(Some(&Path::from("aes"))).try_collect().await.unwrap();
    assert_eq!(listed.len(), 4 * texts.len());
    for meta in listed {
        let number: usize = meta.location.filename().unwrap().parse().unwrap();
        assert_eq!(meta.size, texts[number].len() as u64, "{}", meta.location);
    }
}
