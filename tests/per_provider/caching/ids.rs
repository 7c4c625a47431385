//! The id of an entry, and what must not share one.

use super::*;

/// A cache that keeps nothing and records the ids.
#[derive(Default)]
struct Ids(Mutex<Vec<CacheId>>);

impl Cache for Ids {
    fn get(&self, id: &CacheId, _now: Duration) -> Option<Arc<CacheEntry>> {
        self.0.lock().unwrap().push(*id);
        None
    }

    fn put(&self, _id: CacheId, _entry: Arc<CacheEntry>) {}

    fn remove(&self, _id: &CacheId, _entry: &Arc<CacheEntry>) {}
}

/// A manager that returns materials for every request, right or not.
struct Anything;

impl MaterialsManager for Anything {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        let materials = EncryptionMaterials {
            suite: request.suite.unwrap_or(request.policy.default_suite()),
            context: request.context.clone(),
            required_context_keys: request.required_context_keys.clone(),
            data_key: SecretBytes::zeroed(32),
            encrypted_data_keys: Vec::new(),
            signing_key: None,
            key_report: KeyReport::default(),
        };
        Box::pin(async { Ok(materials) })
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        let materials = DecryptionMaterials {
            suite: request.suite,
            context: request.context.clone(),
            required_context_keys: BTreeSet::new(),
            data_key: SecretBytes::zeroed(32),
            verifying_key: None,
            opened_by: OpenedBy { keyring: "anything".into(), encrypted_data_key: 0 },
        };
        Box::pin(async { Ok(materials) })
    }
}

fn encryption_id(partition: &str, request: EncryptionRequest<'_>) -> CacheId {
    let ids = Arc::new(Ids::default());
    let manager = CachingManager::builder(Anything, ids.clone(), MINUTE).partition(partition).build().unwrap();
    block_on(manager.encryption_materials(request)).unwrap();
    ids.0.lock().unwrap()[0]
}

fn decryption_id(partition: &str, request: DecryptionRequest<'_>) -> CacheId {
    let ids = Arc::new(Ids::default());
    let manager = CachingManager::builder(Anything, ids.clone(), MINUTE).partition(partition).build().unwrap();
    block_on(manager.decryption_materials(request)).unwrap();
    ids.0.lock().unwrap()[0]
}

fn hex(id: CacheId) -> String {
    id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn ids_are_those_of_the_specification() {
    // Computed by tests/peers/cache_ids.py from the formulas of the specification.
    let (none, one, two) = (context(&[]), context(&[("a", "1")]), context(&[("b", "2"), ("a", "1")]));
    assert_eq!(
        hex(encryption_id("part", request(&none, None))),
        "43766942581f3f2ff9aae169e60a75440c8dbf345b5b23aac8621b2eb8e0f71a7d39d9d06984fb1a0cd34932fade10b9"
    );
    assert_eq!(
        hex(encryption_id("part", request(&two, None))),
        "5307d8679b7d2a6effbfedc89f793adb7d24e31d26aff6dbe322988b222805dfe6f037c44d8ea81af10b8d720c743739"
    );
    assert_eq!(
        hex(encryption_id("part", request(&one, Some(UNSIGNED)))),
        "06aff1d42269a60bd3d28d70c6473e54b5b4c7c3345dd83630e069bc4309f2cb9ae9225ff445a39f6c5864728b3cc217"
    );
    let keys = [EncryptedDataKey::new("ns2", "k2", *b"c"), EncryptedDataKey::new("ns", "k", [1, 2, 3])];
    let expected = "a234f3af54db3f6896e8e3102bab7fc076edeae802c0ff7cb64e142253224a83969d16649efedccc85a4847f04f7e0d9";
    assert_eq!(hex(decryption_id("part", decryption(SIGNED, &one, &keys, &none))), expected);
    let turned = [keys[1].clone(), keys[0].clone()];
    assert_eq!(hex(decryption_id("part", decryption(SIGNED, &one, &turned, &none))), expected);
}

/// The ids that `tests/peers/cache_ids.py` computes, by each of its methods.
#[derive(serde::Deserialize)]
struct PythonIds {
    spec: String,
    sdk: Option<String>,
    legacy: Option<String>,
}

#[test]
fn ids_agree_with_python() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var_os("SEALWAX_PEERS_DIR").map_or_else(|| root.join("target/peers"), Into::into);
    if !folder.join("py/.stamp").exists() {
        skip("SEALWAX_REQUIRE_PEERS", "the Python peer is not installed (tests/peers/setup.sh)");
        return;
    }
    let mut python = Command::new(folder.join("py/bin/python"))
        .arg(root.join("tests/peers/cache_ids.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut questions = python.stdin.take().unwrap();
    let mut answers = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut ask = |question: serde_json::Value| -> PythonIds {
        writeln!(questions, "{question}").unwrap();
        serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap()
    };
    let none = context(&[]);
    let contexts = [
        context(&[]),
        context(&[("tenant", "blue")]),
        context(&[("\u{10002}", "astral"), ("\u{ff61}", "bmp"), ("B", "\u{0}"), ("a", "z")]),
        (0..300).map(|at| (format!("key {at}"), "v".repeat(at))).collect(),
    ];
    let mut compared = 0;
    for (at, context) in contexts.iter().enumerate() {
        let as_json: BTreeMap<_, _> = context.iter().collect();
        let partition = ["p", "caf\u{e9} 42", "a longer name of a partition", "p"][at];
        let mut suites: Vec<_> = AlgorithmSuite::ALL.into_iter().map(Some).collect();
        suites.push(None);
        for suite in suites {
            let name = suite.map(|suite| format!("{:#06x}", suite.id()));
            let mut compare = |ours: CacheId, python: PythonIds| {
                assert_eq!(hex(ours), python.spec, "{name:?} {partition}");
                assert_eq!(Some(hex(ours)), python.sdk, "{name:?} {partition}");
                // The SDK's own caching manager uses the previous formula, with SHA-512.
                assert_eq!(python.legacy.map(|id| id.len()), Some(128));
                compared += 1;
            };
            if suite.is_none_or(|suite| suite.is_committing()) {
                let question = serde_json::json!({"partition": partition, "suite": name, "context": as_json});
                compare(encryption_id(partition, request(context, suite)), ask(question));
            }
            // Other suites are never in the cache, and have no id.
            let Some(suite) = suite.filter(|suite| *suite > IDENTITY) else { continue };
            let keys: Vec<_> = (0..=at)
                .map(|at| {
                    let ciphertext: Vec<u8> = (0..100).map(|byte| byte * 2 + 50 - at as u8).collect();
                    EncryptedDataKey::new(format!("provider \u{e9}{}", 9 - at), vec![at as u8; at * 40], ciphertext)
                })
                .collect();
            let fields = |key: &EncryptedDataKey| {
                [key.provider_id().as_bytes(), key.provider_info(), key.ciphertext()].map(to_base64)
            };
            let as_json_keys: Vec<_> = keys.iter().map(fields).collect();
            let question = serde_json::json!({
                "partition": partition, "suite": name, "context": as_json, "keys": as_json_keys,
            });
            compare(decryption_id(partition, decryption(suite, context, &keys, &none)), ask(question));
        }
    }
    drop(questions);
    python.wait().unwrap();
    assert_eq!(compared, 4 * (3 + 8));
}

#[test]
fn attack_23_an_id_says_all_that_a_request_says() {
    let (none, blue, green) = (context(&[]), context(&[("tenant", "blue")]), context(&[("tenant", "green")]));
    let tenant: BTreeSet<String> = ["tenant".to_owned()].into();
    let mut ids = vec![
        encryption_id("p", request(&blue, Some(UNSIGNED))),
        encryption_id("q", request(&blue, Some(UNSIGNED))),
        encryption_id("p", request(&blue, Some(SIGNED))),
        encryption_id("p", request(&blue, None)),
        encryption_id("p", request(&green, Some(UNSIGNED))),
        encryption_id("p", request(&none, Some(UNSIGNED))),
        encryption_id("p", request(&blue, Some(UNSIGNED)).with_required_context_keys(&tenant)),
    ];
    let key = |name: &str| EncryptedDataKey::new("example", name, [1; 40]);
    let (one, other, both) = ([key("1")], [key("2")], [key("1"), key("2")]);
    ids.extend([
        decryption_id("p", decryption(UNSIGNED, &blue, &one, &none)),
        decryption_id("q", decryption(UNSIGNED, &blue, &one, &none)),
        decryption_id("p", decryption(SIGNED, &blue, &one, &none)),
        decryption_id("p", decryption(UNSIGNED, &green, &one, &none)),
        decryption_id("p", decryption(UNSIGNED, &none, &one, &none)),
        decryption_id("p", decryption(UNSIGNED, &blue, &other, &none)),
        decryption_id("p", decryption(UNSIGNED, &blue, &both, &none)),
        decryption_id("p", decryption(UNSIGNED, &blue, &one, &blue)),
        decryption_id("p", decryption(UNSIGNED, &blue, &one, &green)),
        decryption_id("p", decryption(UNSIGNED, &none, &one, &blue)),
    ]);
    let count = ids.len();
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>().len(), count);
}

#[test]
fn attack_23_fields_cannot_be_traded_against_each_other() {
    // The writer of a message chooses both its encrypted data keys and its context. The
    // specification's formula joins them without their lengths, so this key could be at the end of
    // the one or at the beginning of the other.
    let innocent = context(&[("tenant", "blue")]);
    let rest = innocent.serialize().unwrap();
    // A key with an empty provider id: 00 00, a length of 256 and its bytes, and so on. Read one
    // byte later, after the zero byte of the formula, this is a context of one pair, whose key has
    // 0 bytes: 00 01, 00 00, and so on.
    let pair_count_and_key = [0, 1, 0, 0];
    let info_length = u16::from_be_bytes([pair_count_and_key[1], pair_count_and_key[2]]);
    let mut info = vec![0x21; info_length.into()];
    let ciphertext = [5; 40];
    // The info begins with the rest of the key's length, then the length of the value, which is all
    // that follows.
    info[0] = 0;
    let value_length = info.len() - 3 + 2 + ciphertext.len() + 1 + rest.len();
    info[1..3].copy_from_slice(&(value_length as u16).to_be_bytes());
    let stray = EncryptedDataKey::new("", info.clone(), ciphertext);
    let own = EncryptedDataKey::new("", "", [9; 40]);

    let mut value = info[3..].to_vec();
    value.extend_from_slice(&[0, 40]);
    value.extend_from_slice(&ciphertext);
    value.push(0);
    value.extend_from_slice(&rest);
    let forged = context(&[("", std::str::from_utf8(&value).unwrap())]);
    let (both, alone, none) = ([own.clone(), stray], [own], context(&[]));
    let (first, second) = (decryption(UNSIGNED, &innocent, &both, &none), decryption(UNSIGNED, &forged, &alone, &none));
    assert_eq!(decryption_id("p", first), decryption_id("p", second), "the two requests have one id");

    let manager = CachingManager::builder(Anything, cache(10), MINUTE).build().unwrap();
    let opened = block_on(manager.decryption_materials(first)).unwrap();
    assert_eq!(opened.context.get("tenant"), Some("blue"));
    let opened = block_on(manager.decryption_materials(second)).unwrap();
    assert_eq!(opened.context.get("tenant"), None, "the entry of one answered the other");
}

#[test]
fn attack_23_a_hit_skips_no_check_of_the_expected_context() {
    let inner = inner();
    let caching = builder(&inner).build().unwrap();
    let (client, blue) = (new_client(), [("tenant", "blue")]);
    let stored = client.encrypt(&keyring()).context(blue).bytes(TEXT).wait().unwrap().message;
    let required = RequiredContextManager::new(["tenant"], DefaultMaterialsManager::new(keyring())).unwrap();
    let hidden = client.encrypt_with(&required).context(blue).bytes(TEXT).wait().unwrap().message;
    for _ in 0..3 {
        for message in [&stored, &hidden] {
            let opened = client.decrypt_with(&caching).context(blue).bytes(message).wait().unwrap();
            assert_eq!(opened.plaintext, TEXT);
        }
        assert_eq!(client.decrypt_with(&caching).bytes(&stored).wait().unwrap().plaintext, TEXT);
        // A caller that omits the tenant must not hit the entry created by one that supplied it.
        let refused = client.decrypt_with(&caching).bytes(&hidden).wait();
        assert!(matches!(refused, Err(Error::NotUnwrapped(_))));
        let refused = client.decrypt_with(&caching).context([("tenant", "green")]).bytes(&hidden).wait();
        assert!(matches!(refused, Err(Error::NotUnwrapped(_))));
        for expected in [("tenant", "green"), ("owner", "blue")] {
            assert!(client.decrypt_with(&caching).context([expected]).bytes(&stored).wait().is_err(), "{expected:?}");
        }
        let refused = client.decrypt_with(&caching).context([("tenant", "green")]).bytes(&stored).wait();
        assert!(matches!(refused, Err(Error::Context(ContextError::Mismatch))));
    }
}

#[test]
fn attack_23_required_keys_are_not_answered_from_entries_without() {
    let inner = inner();
    let caching = builder(&inner).build().unwrap();
    let required = RequiredContextManager::new(["tenant"], &caching).unwrap();
    let (client, blue) = (new_client(), [("tenant", "blue")]);
    for _ in 0..2 {
        let stored = client.encrypt_with(&caching).context(blue).bytes(TEXT).wait().unwrap();
        assert_eq!(stored.header.context().get("tenant"), Some("blue"));
        let hidden = client.encrypt_with(&required).context(blue).bytes(TEXT).wait().unwrap();
        assert_eq!(hidden.header.context().get("tenant"), None);
        let opened = client.decrypt_with(&required).context(blue).bytes(&hidden.message).wait().unwrap();
        assert_eq!(opened.plaintext, TEXT);
    }
    assert_eq!(inner.encryptions(), 2);
    assert_eq!(inner.decryptions(), 1);
}
