//! Every format, wrapping and content algorithm.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    name: String,
    kind: String,
    key: String,
    metadata: Metadata,
    instruction: Option<Metadata>,
    object: String,
    plaintext: String,
    needs: Vec<String>,
}

impl Case {
    fn key(&self) -> S3Key {
        match self.kind.as_str() {
            "aes" => S3Key::aes(from_base64(&self.key)).unwrap(),
            _ => S3Key::rsa(std::fs::read(root().join("tests/keys/rsa-2048.pkcs8.pem")).unwrap()).unwrap(),
        }
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&std::fs::read(root().join("tests/vectors/s3ec.json")).unwrap()).unwrap()
}

#[test]
fn objects_that_were_computed_apart_are_read_with_just_the_switches_that_they_need() {
    run(async {
        let mut refused = 0;
        for case in cases() {
            let (provider, path, text) = (Provider::new(), Path::from("a/b"), from_base64(&case.plaintext));
            let object = from_base64(&case.object);
            let stored = Stored { metadata: case.metadata.clone(), file: case.instruction.clone(), object };
            stored.at(&provider, &path).await;
            let needs: Vec<&str> = case.needs.iter().map(String::as_str).collect();
            if needs.contains(&"unsupported") {
                let error = reader(&provider, case.key(), &ALL).get(&path).await.unwrap_err();
                assert!(matches!(s3ec_error(&error), S3EncryptionError::OtherKey(_)), "{}", case.name);
                continue;
            }
            let cbc = needs.contains(&"legacy_content");
            reads_all(&reader(&provider, case.key(), &needs), &path, &text, !cbc, &case.name).await;
            let unverified = [&needs[..], &["release_unverified", "exact"]].concat();
            let unverified = reader(&provider, case.key(), &unverified);
            reads_all(&unverified, &path, &text, true, &case.name).await;
            assert_eq!(listed(&unverified).await, [("a/b".to_owned(), text.len() as u64)], "{}", case.name);
            let uniform = listed(&reader(&provider, case.key(), &needs)).await;
            assert_eq!(uniform.len(), 1, "the instruction file is left out");
            assert!(cbc || uniform[0].1 == text.len() as u64, "{}", case.name);
            for missing in &needs {
                let others: Vec<_> = ALL.into_iter().filter(|switch| switch != missing).collect();
                let store = reader(&provider, case.key(), &others);
                for error in [store.get(&path).await.unwrap_err(), store.get_range(&path, 0..1).await.unwrap_err()] {
                    assert!(refused_by(&error).contains(missing), "{}: {error}", case.name);
                    refused += 1;
                }
            }
        }
        assert!(refused > 100, "{refused}");
    });
}

/// A range of AES-CBC cannot be authenticated, and a listing does not tell the length of its padding.
#[test]
fn ranges_of_cbc_need_another_switch() {
    run(async {
        let (provider, path) = (Provider::new(), Path::from("a"));
        let case = cases().into_iter().find(|case| case.name == "format 1, AES, 256 bits, 1000 bytes").unwrap();
        let stored = Stored { metadata: case.metadata.clone(), file: None, object: from_base64(&case.object) };
        stored.at(&provider, &path).await;
        let store = reader(&provider, case.key(), &ALL);
        let error = store.get_range(&path, 0..1).await.unwrap_err();
        assert!(refused_by(&error).contains("release_unverified"));
        assert!(store.get_ranges(&path, &[0..1]).await.is_err());
        assert_eq!(listed(&store).await[0].1, 1008 - 16);
        assert_eq!(store.head(&path).await.unwrap().size, 1000);
    });
}

#[test]
fn objects_under_a_key_of_a_service_are_read() {
    run(async {
        let (kms, provider, path, text) = (FakeKms::with_keys(&[ARN]), Provider::new(), Path::from("a"), pattern(100));
        kms.add_alias("alias/orders", ARN);
        for (way, switches) in [(ByKms::Format3, &[][..]), (ByKms::Format2, &ALL[..1]), (ByKms::Legacy, &ALL[..2])] {
            by_kms(&kms, way, &[], &text).await.at(&provider, &path).await;
            for key_id in [ARN, "alias/orders"] {
                let store = reader(&provider, S3Key::kms(kms.clone(), key_id), switches);
                kms.asked();
                reads_all(&store, &path, &text, true, &format!("{way:?}")).await;
                let calls = kms.calls();
                assert!(!calls.is_empty() && calls.iter().all(|call| call.key_id == key_id), "{calls:?}");
            }
            for missing in switches {
                let others: Vec<_> = ALL.into_iter().filter(|switch| switch != missing).collect();
                let error = reader(&provider, S3Key::kms(kms.clone(), ARN), &others).get(&path).await.unwrap_err();
                assert!(refused_by(&error).contains(missing));
                assert!(kms.calls().is_empty(), "the service was asked before the switch");
            }
        }
    });
}

#[test]
fn the_context_is_per_path_and_may_have_any_characters() {
    run(async {
        let (kms, provider, text) = (FakeKms::with_keys(&[ARN]), Provider::new(), pattern(10));
        let key = S3Key::kms_with_context(kms.clone(), ARN, |path| [("path", path), ("city", "M\u{fc}nchen")].into());
        let store = reader(&provider, key, &[]);
        for name in ["a", "b"] {
            let context = [("path", name), ("city", "M\u{fc}nchen")];
            let stored = by_kms(&kms, ByKms::Format3, &context, &text).await;
            // As S3 returns what is not ASCII.
            let latin1: String = stored.metadata["x-amz-t"].bytes().map(char::from).collect();
            let quoted = stored.with(&[("x-amz-t", &format!("=?UTF-8?B?{}?=", to_base64(latin1.as_bytes())))]);
            for stored in [stored, quoted] {
                stored.at(&provider, &Path::from(name)).await;
                assert!(read(&store, &Path::from(name)).await.unwrap() == text);
            }
        }
        // The provider swaps two objects.
        provider.inner.copy(&Path::from("b"), &Path::from("a")).await.unwrap();
        let error = store.get(&Path::from("a")).await.unwrap_err();
        assert!(matches!(s3ec_error(&error), S3EncryptionError::Context));
    });
}

#[test]
fn an_instruction_file_may_have_another_suffix() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(10));
        let stored = format_3(&text).in_file(&["x-amz-3", "x-amz-w"]);
        stored.at(&provider, &path).await;
        provider.inner.rename(&Path::from("a.instruction"), &Path::from("a.other")).await.unwrap();
        let builder = || S3EncryptionStore::builder(provider.clone(), aes());
        let store = builder().instruction_suffix(".other").build().unwrap();
        assert!(read(&store, &path).await.unwrap() == text);
        assert_eq!(listed(&store).await, [("a".to_owned(), 10)]);
        let error = builder().build().unwrap().get(&path).await.unwrap_err();
        assert!(matches!(s3ec_error(&error), S3EncryptionError::NotEncrypted));
        assert!(builder().instruction_suffix("").build().is_err());
    });
}
