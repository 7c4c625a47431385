//! Items that someone altered, and the configurations of keys.

use sealwax::keyring::{KmsErrorKind, KmsOperation, KmsReEncrypt};

use super::*;

/// Reads an item as the key store does.
async fn read(store: &BranchKeyStore, kind: &str) -> Result<Vec<u8>, BranchKeyError> {
    let key = match kind {
        ACTIVE => store.active_key(ID).await?,
        BEACON => store.beacon_key(ID).await?,
        _ => store.key_version(ID, kind.strip_prefix("branch:version:").expect("a version")).await?,
    };
    Ok(key.key().as_bytes().to_vec())
}

/// Returns the types of the three items of a new branch key.
fn kinds(table: &Table) -> [String; 3] {
    [ACTIVE.to_owned(), table.versions(ID).pop().expect("a version"), BEACON.to_owned()]
}

#[tokio::test]
async fn the_items_are_those_of_the_specification() {
    let Setting { table, kms, store } = Setting::empty();
    store.create_key(Some(ID), &context()).await.unwrap();
    assert_eq!(table.calls(), (0, 1));
    let [active, version, beacon] = kinds(&table).map(|kind| table.item(&kind));
    let names = |item: &BranchKeyItem| item.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    let mut common = vec![
        "aws-crypto-ec:",
        "aws-crypto-ec:department",
        "branch-key-id",
        "create-time",
        "enc",
        "hierarchy-version",
        "kms-arn",
        "type",
    ];
    assert_eq!(
        (names(&version), names(&beacon)),
        (common.iter().map(|name| (*name).to_owned()).collect(), {
            common.iter().map(|name| (*name).to_owned()).collect()
        })
    );
    common.push("version");
    assert_eq!(names(&active), common);
    assert_eq!(active.get("version"), Some(&text(version.kind())));
    for item in [&active, &version, &beacon] {
        assert_eq!(item.get("hierarchy-version"), Some(&ItemValue::Number("1".to_owned())));
        assert_eq!(item.get("kms-arn"), Some(&text(KEY)));
        assert_eq!(item.get("create-time"), version.get("create-time"));
        assert_eq!(item.get("aws-crypto-ec:"), Some(&text("Ünïcode \u{1f511}\n")));
    }
    let Some(ItemValue::Text(created)) = version.get("create-time") else { panic!("a time") };
    assert!(created.len() == 27 && created.ends_with('Z') && created.as_bytes()[19] == b'.', "{created}");

    // The calls, and the context of each.
    use KmsOperation::{GenerateDataKeyWithoutPlaintext, ReEncrypt};
    let calls = kms.calls();
    let operations: Vec<_> = calls.iter().map(|call| call.operation).collect();
    assert_eq!(operations, [GenerateDataKeyWithoutPlaintext, ReEncrypt, GenerateDataKeyWithoutPlaintext]);
    for (call, item) in calls.iter().zip([&version, &version, &beacon]) {
        let mut expected: EncryptionContext = item
            .iter()
            .filter_map(|(name, value)| match value {
                ItemValue::Text(value) | ItemValue::Number(value) => Some((name, value.as_str())),
                _ => None,
            })
            .collect();
        expected.insert("tablename", LOGICAL);
        assert!(call.context == expected && call.key_id == KEY);
    }
    assert_eq!((calls[0].length, calls[2].length), (32, 32));
    // The active item and that of the version have the same key, and the beacon has another one.
    let key = read(&store, ACTIVE).await.unwrap();
    assert_eq!(read(&store, version.kind()).await.unwrap(), key);
    assert_ne!(read(&store, BEACON).await.unwrap(), key);
    let found = store.active_key(ID).await.unwrap();
    assert!(found.id() == ID && *found.context() == context());
    assert_eq!(format!("branch:version:{}", found.version()), version.kind());
}

#[tokio::test]
async fn attack_altered_items_of_branch_keys_are_refused() {
    let Setting { table, kms, store } = Setting::new().await;
    store.create_key(Some("other"), &context()).await.unwrap();
    let kinds = kinds(&table);
    let mut count = 0;
    for kind in &kinds {
        let original = table.item(kind);
        let mut altered: Vec<(String, BranchKeyItem)> = Vec::new();
        let mut alter = |what: String, change: &dyn Fn(&mut BranchKeyItem)| {
            let mut item = original.clone();
            change(&mut item);
            assert_ne!(item, original, "{what}");
            altered.push((what, item));
        };
        for (name, value) in original.iter() {
            let name = name.to_owned();
            alter(format!("{name} removed"), &|item| drop(item.remove(&name)));
            alter(format!("{name} renamed"), &|item| {
                let value = item.remove(&name).expect("it is there");
                item.insert(format!("{name}x"), value);
            });
            alter(format!("{name} of another type"), &|item| drop(item.insert(&*name, ItemValue::Other)));
            alter(format!("{name} as bytes"), &|item| drop(item.insert(&*name, ItemValue::Bytes(vec![]))));
            alter(format!("{name} as a number"), &|item| drop(item.insert(&*name, ItemValue::Number("2".into()))));
            alter(format!("{name} as text"), &|item| drop(item.insert(&*name, text("1 altered"))));
            match value {
                ItemValue::Bytes(bytes) => {
                    for at in 0..bytes.len() {
                        let mut flipped = bytes.clone();
                        flipped[at] ^= 1;
                        alter(format!("byte {at}"), &|item| {
                            drop(item.insert(&*name, ItemValue::Bytes(flipped.clone())))
                        });
                    }
                    let long = vec![1; 6145];
                    alter("too long".into(), &|item| drop(item.insert(&*name, ItemValue::Bytes(long.clone()))));
                }
                ItemValue::Text(value) => {
                    for other in [format!("{value} "), value.to_uppercase() + "X", String::new()] {
                        if other != *value {
                            alter(format!("{name}: {other}"), &|item| drop(item.insert(&*name, text(&other))));
                        }
                    }
                }
                _ => {}
            }
            // The value that another item has.
            for other in kinds.iter().filter(|other| *other != kind).map(|other| table.item(other)) {
                if let Some(swapped) = other.get(&name).filter(|swapped| *swapped != value) {
                    alter(format!("{name} of {}", other.kind()), &|item| drop(item.insert(&*name, swapped.clone())));
                }
            }
        }
        for (name, value) in [
            ("aws-crypto-ec:more", text("x")),
            ("unknown", text("x")),
            ("unknown", ItemValue::Bytes(vec![1])),
            ("unknown", ItemValue::Other),
            ("tablename", text(LOGICAL)),
            ("version", text(&kinds[1])),
            ("version", text("branch:version:0f8fad5b-d9cb-469f-a165-70867728950e")),
            ("version", text(&kinds[1].to_uppercase())),
        ] {
            let mut item = original.clone();
            if item.insert(name, value.clone()) != Some(value.clone()) {
                altered.push((format!("{name} added"), item));
            }
        }
        // Whole items, of this branch key and of another.
        altered.extend(kinds.iter().filter(|other| *other != kind).map(|other| (other.clone(), table.item(other))));
        let foreign = table.items().into_iter().filter(|((id, _), _)| id == "other");
        altered.extend(foreign.map(|(_, item)| (format!("other {}", item.kind()), item)));

        for (what, item) in altered {
            table.set(ID, kind, item);
            kms.calls();
            let what = format!("{kind}: {what}");
            match read(&store, kind).await {
                Ok(_) => panic!("{what} was accepted"),
                Err(BranchKeyError::NotAuthentic { id, item, .. }) => {
                    assert_eq!((&*id, &*item, kms.calls().len()), (ID, &**kind, 1), "{what}");
                }
                // The fake has the key in its ciphertexts, and so has AWS KMS.
                Err(BranchKeyError::Kms(error)) => {
                    assert_eq!((error.kind(), kms.calls().len()), (KmsErrorKind::IncorrectKey, 1), "{what}");
                }
                // Everything else is found before the service is called.
                Err(error) => {
                    assert_eq!(kms.calls(), [], "{what}: {error}");
                    let text = error.to_string();
                    let named =
                        ["enc", "kms-arn", "KMS key", "create-time", "type", "version", "tablename", "id", "unknown"];
                    assert!(text.contains(ID) && named.iter().any(|name| text.contains(name)), "{what}: {text}");
                }
            }
            // A rotation authenticates the active item too, and writes nothing.
            if kind == ACTIVE {
                let before = table.items();
                assert!(store.version_key(ID).await.is_err(), "{what}");
                assert_eq!(table.items(), before);
            }
            count += 1;
        }
        table.set(ID, kind, original);
        read(&store, kind).await.unwrap();
    }
    assert_eq!(count, 488);
}

#[tokio::test]
async fn attack_a_logical_name_is_authenticated() {
    let Setting { table, kms, .. } = Setting::new().await;
    let keys = KmsConfiguration::key(KEY).unwrap();
    let renamed = BranchKeyStore::new(table, kms, "order", keys.clone()).unwrap();
    assert!(matches!(renamed.active_key(ID).await, Err(BranchKeyError::NotAuthentic { .. })));
    for name in ["", "a\0b"] {
        assert!(BranchKeyStore::new(Arc::new(Table::default()), FakeKms::new(), name, keys.clone()).is_err());
    }
}

#[tokio::test]
async fn other_hierarchy_versions_are_named_before_the_service_is_called() {
    let Setting { table, kms, store } = Setting::new().await;
    for version in ["2", "0", "1.0", "01", ""] {
        let mut item = table.item(ACTIVE);
        item.insert("hierarchy-version", ItemValue::Number(version.to_owned()));
        table.set(ID, ACTIVE, item);
        let failures = [store.active_key(ID).await.err(), store.version_key(ID).await.err()];
        for error in failures.map(|error| error.expect("it is refused")) {
            assert!(matches!(&error, BranchKeyError::HierarchyVersion { version: found, .. } if found == version));
            assert!(error.to_string().contains("is not supported"), "{error}");
        }
        assert!(matches!(store.describe_key(ID).await, Err(BranchKeyError::HierarchyVersion { .. })));
    }
    assert_eq!(kms.calls(), []);
}

#[tokio::test]
async fn a_rotation_keeps_what_it_does_not_know() {
    let Setting { table, kms, store } = Setting::new().await;
    // Another library may add attributes of text, which are authenticated like all others.
    let mut item = table.item(ACTIVE);
    let of_item = |item: &BranchKeyItem| -> EncryptionContext {
        let pairs = item.iter().filter_map(|(name, value)| match value {
            ItemValue::Text(value) | ItemValue::Number(value) => Some((name, value.as_str())),
            _ => None,
        });
        pairs.chain([("tablename", LOGICAL)]).collect()
    };
    let before = of_item(&item);
    item.insert("comment", text("of another library"));
    let after = of_item(&item);
    let Some(ItemValue::Bytes(old)) = item.get("enc").cloned() else { panic!("a ciphertext") };
    let moved = kms.re_encrypt(KmsReEncrypt::new(KEY, &old, &before, &after)).await.unwrap();
    item.insert("enc", ItemValue::Bytes(moved.ciphertext));
    table.set(ID, ACTIVE, item);

    let (old_version, old_beacon) = (table.item(&table.versions(ID)[0]), table.item(BEACON));
    kms.calls();
    table.calls();
    let version = store.version_key(ID).await.unwrap();
    use KmsOperation::{GenerateDataKeyWithoutPlaintext, ReEncrypt};
    let operations: Vec<_> = kms.calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(operations, [ReEncrypt, GenerateDataKeyWithoutPlaintext, ReEncrypt]);
    assert_eq!(table.calls(), (1, 1));
    let new = table.item(&format!("branch:version:{version}"));
    let active = table.item(ACTIVE);
    for item in [&new, &active] {
        assert_eq!(item.get("comment"), Some(&text("of another library")));
        assert_eq!(item.get("aws-crypto-ec:department"), Some(&text("sales")));
        assert_ne!(item.get("create-time"), old_version.get("create-time"));
    }
    assert_eq!(active.get("version"), Some(&text(new.kind())));
    assert_eq!((table.item(old_version.kind()), table.item(BEACON)), (old_version, old_beacon));
    assert_eq!(read(&store, ACTIVE).await.unwrap(), read(&store, new.kind()).await.unwrap());
    let description = store.describe_key(ID).await.unwrap();
    assert!(description.active == version && description.versions.len() == 2 && description.context == context());
    assert_eq!(description.versions[1].version, version);
}

#[tokio::test]
async fn arguments_are_checked_before_anything_is_called() {
    let Setting { table, kms, store } = Setting::empty();
    let none = EncryptionContext::new();
    let long = "x".repeat(2049);
    for (id, context) in [(Some(ID), &none), (Some(""), &context()), (Some(&*long), &context())] {
        assert!(matches!(store.create_key(id, context).await, Err(BranchKeyError::Invalid(_))));
    }
    for id in ["", &long] {
        assert!(matches!(store.version_key(id).await, Err(BranchKeyError::Invalid(_))));
        assert!(matches!(store.active_key(id).await, Err(BranchKeyError::Invalid(_))));
    }
    for version in ["", "0F8FAD5B-D9CB-469F-A165-70867728950E", "0f8fad5bd9cb469fa16570867728950e", "ACTIVE"] {
        assert!(matches!(store.key_version(ID, version).await, Err(BranchKeyError::Invalid(_))), "{version}");
    }
    assert_eq!((kms.calls(), table.calls()), (vec![], (0, 0)));
    assert!(matches!(store.active_key(ID).await, Err(BranchKeyError::NotFound { .. })));
    // Without an id there is one, a UUID, and it needs no context.
    let id = store.create_key(None, &none).await.unwrap();
    assert_eq!((id.len(), store.list_keys().await.unwrap()), (36, vec![id.clone()]));
    store.create_key(Some(ID), &context()).await.unwrap();
    assert!(matches!(store.create_key(Some(ID), &context()).await, Err(BranchKeyError::Exists { .. })));
}

#[tokio::test]
async fn each_configuration_calls_the_keys_it_should() {
    let (table, kms) = (Arc::new(Table::default()), FakeKms::with_keys(&[KEY, OTHER]));
    let material = crate::fake_kms::Material::symmetric();
    for arn in [MRK, MRK_FAR] {
        kms.add(arn, material.clone());
    }
    let with = |keys| store(&table, kms.clone(), keys);
    let key = |arn| KmsConfiguration::key(arn).unwrap();
    let mrk = |arn| KmsConfiguration::multi_region_key(arn).unwrap();
    let regional = |region| KmsConfiguration::multi_region_discovery(region).unwrap();
    with(key(KEY)).create_key(Some("single"), &context()).await.unwrap();
    with(mrk(MRK)).create_key(Some("multi"), &context()).await.unwrap();
    kms.calls();
    // The item, the configuration, and the key that is called.
    for (id, keys, called) in [
        ("single", key(KEY), Some(KEY)),
        ("single", key(OTHER), None),
        ("single", mrk(KEY), Some(KEY)),
        ("single", mrk(OTHER), None),
        ("single", KmsConfiguration::discovery(), Some(KEY)),
        ("single", regional("us-east-1"), Some(KEY)),
        ("single", KmsConfiguration::other_service("local:1").unwrap(), None),
        ("multi", key(MRK), Some(MRK)),
        ("multi", key(MRK_FAR), None),
        ("multi", mrk(MRK), Some(MRK)),
        ("multi", mrk(MRK_FAR), Some(MRK_FAR)),
        ("multi", mrk(KEY), None),
        ("multi", KmsConfiguration::discovery(), Some(MRK)),
        ("multi", regional("us-east-1"), Some(MRK_FAR)),
    ] {
        let what = format!("{id}, {keys:?}");
        match (with(keys).active_key(id).await, called) {
            (Ok(_), Some(called)) => assert_eq!(kms.asked(), [(KmsOperation::Decrypt, called.to_owned())], "{what}"),
            (Err(BranchKeyError::OtherKey { .. }), None) => assert_eq!(kms.calls(), [], "{what}"),
            (Ok(_), None) => panic!("{what}: it was read"),
            (Err(error), _) => panic!("{what}: {error}"),
        }
    }
    for keys in [KmsConfiguration::discovery(), regional("us-east-1")] {
        let store = with(keys);
        assert!(matches!(store.create_key(None, &context()).await, Err(BranchKeyError::Discovery)));
        assert!(matches!(store.version_key("single").await, Err(BranchKeyError::Discovery)));
    }
    assert!(matches!(with(key(OTHER)).version_key("single").await, Err(BranchKeyError::OtherKey { .. })));
    assert_eq!(kms.calls(), []);
    // A rotation in another region calls the key there, and keeps the one that the items name.
    with(mrk(MRK_FAR)).version_key("multi").await.unwrap();
    assert!(kms.asked().iter().all(|(_, key)| key == MRK_FAR));
    assert_eq!(table.items()[&("multi".to_owned(), ACTIVE.to_owned())].get("kms-arn"), Some(&text(MRK)));
    with(key(MRK)).active_key("multi").await.unwrap();

    for arn in ["alias/orders", "arn:aws:kms:eu-west-1:111122223333:alias/orders", "1234abcd", ""] {
        assert!(KmsConfiguration::key(arn).is_err() && KmsConfiguration::multi_region_key(arn).is_err(), "{arn}");
    }
    assert!(KmsConfiguration::multi_region_discovery("").is_err());
    assert!(KmsConfiguration::other_service("").is_err() && KmsConfiguration::other_service(KEY).is_err());
}
