//! What whoever can write to the store can do. Nothing wrong is ever returned as right, and every
//! downgrade is refused.

use super::*;

/// Reads an object in every way with every store. Each read must fail or return what was written.
async fn nothing_wrong(store: &Store, path: &Path, text: &[u8], what: &str) {
    let length = text.len() as u64;
    if let Ok(found) = read(store, path).await {
        assert!(found == text, "{what}: get");
    }
    for range in [0..1, length / 2..length, 0..length] {
        if let Ok(found) = store.get_range(path, range.clone()).await {
            assert!(found == slice(text, range.clone()), "{what}: a range");
        }
        if let Ok(found) = store.get_ranges(path, std::slice::from_ref(&range)).await {
            assert!(found[0] == slice(text, range), "{what}: ranges");
        }
    }
}

#[test]
fn attack_41_every_changed_byte_and_length_is_refused() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(100));
        for (stored, switches) in [(format_3(&text), &[][..]), (format_2(&text), &ALL[..1])] {
            stored.at(&provider, &path).await;
            let opened = reader(&provider, aes(), switches);
            assert!(read(&opened, &path).await.unwrap() == text);
            let changed = (0..stored.object.len()).map(|at| {
                let mut object = stored.object.clone();
                object[at] ^= 1;
                object
            });
            let cut = (0..stored.object.len()).map(|length| stored.object[..length].to_vec());
            let longer = [[&stored.object[..], b"x"].concat()];
            for object in changed.chain(cut).chain(longer) {
                Stored { object, ..stored.clone() }.at(&provider, &path).await;
                for store in [&opened, &reader(&provider, aes(), switches)] {
                    assert!(is_not_authentic(&store.get(&path).await.unwrap_err()));
                    assert!(store.get_range(&path, 0..1).await.is_err());
                    nothing_wrong(store, &path, &text, "changed").await;
                }
                // Without authentication the end of the stream still tells.
                let unverified = reader(&provider, aes(), &[switches, &["release_unverified"]].concat());
                assert!(read(&unverified, &path).await.is_err());
            }
        }
    });
}

#[test]
fn attack_41_every_changed_byte_of_the_metadata_is_refused() {
    run(async {
        let (kms, provider, path, text) = (FakeKms::with_keys(&[ARN]), Provider::new(), Path::from("a"), pattern(100));
        let with_context = by_kms(&kms, ByKms::Format3, &[("tenant", "blue")], &text).await;
        let key = || S3Key::kms_with_context(kms.clone(), ARN, |_| [("tenant", "blue")].into());
        for stored in [&format_3(&text), &with_context] {
            for (name, value) in &stored.metadata {
                for at in 0..value.len() {
                    let mut value = value.clone().into_bytes();
                    value[at] ^= 1;
                    let Ok(value) = String::from_utf8(value) else { continue };
                    stored.with(&[(name, &value)]).at(&provider, &path).await;
                    let key = if stored.metadata.contains_key("x-amz-t") { key() } else { aes() };
                    let found = reader(&provider, key, &ALL).get(&path).await;
                    assert!(found.is_err(), "{name}: {value}");
                }
            }
        }
    });
}

/// Rules 2 and 3: names of other formats neither change what is read nor how it is checked.
#[test]
fn attack_41_names_of_several_formats_are_refused() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(100));
        let (three, two) = (format_3(&text), format_2(&text));
        let one = two.without(&["x-amz-key-v2", "x-amz-wrap-alg", "x-amz-cek-alg", "x-amz-tag-len"]);
        let one = one.with(&[("x-amz-key", &two.metadata["x-amz-key-v2"]), ("x-amz-iv", &to_base64(&[0; 16]))]);
        let mut refused = 0;
        for (base, other) in
            [(&three, &two), (&two, &three), (&one, &three), (&one, &two), (&two, &one), (&three, &one)]
        {
            for (name, value) in &other.metadata {
                // Formats 1 and 2 share the names of IV and description.
                if base.metadata.contains_key(name) {
                    continue;
                }
                base.with(&[(name, value)]).at(&provider, &path).await;
                let error = reader(&provider, aes(), &ALL).get(&path).await.unwrap_err();
                assert!(matches!(s3ec_error(&error), S3EncryptionError::Metadata(_)), "{name}: {error}");
                refused += 1;
            }
        }
        assert!(refused > 20, "{refused}");
        // A format counts only with all that it requires.
        for base in [&three, &two, &one] {
            for name in base.metadata.keys() {
                let optional = base.metadata.contains_key("x-amz-key-v2") && name == "x-amz-matdesc";
                base.without(&[name]).at(&provider, &path).await;
                let outcome = reader(&provider, aes(), &ALL).get(&path).await;
                assert_eq!(outcome.is_ok(), optional, "without {name}");
            }
        }
    });
}

/// The metadata says another algorithm than was used, as in CVE-2020-8912.
#[test]
fn attack_41_a_downgrade_is_refused_by_the_name_of_its_switch() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(96));
        let to_cbc = format_2(&text).without(&["x-amz-tag-len"]);
        let to_cbc = to_cbc.with(&[("x-amz-cek-alg", "AES/CBC/PKCS5Padding"), ("x-amz-iv", &to_base64(&[0; 16]))]);
        let to_kms = format_2(&text).with(&[("x-amz-wrap-alg", "kms")]);
        let from_three = format_3(&text).without(&["x-amz-c", "x-amz-d", "x-amz-i", "x-amz-w", "x-amz-3"]);
        let from_three =
            from_three.with(&format_2(&text).metadata.iter().map(|(a, b)| (&**a, &**b)).collect::<Vec<_>>());
        for (stored, allowed, needed) in [
            (&to_cbc, &[][..], "commitment_policy"),
            (&to_cbc, &ALL[..1], "legacy_content"),
            (&to_kms, &ALL[..1], "legacy_wrapping"),
            (&from_three, &[][..], "commitment_policy"),
        ] {
            stored.at(&provider, &path).await;
            for error in [
                reader(&provider, aes(), allowed).get(&path).await.unwrap_err(),
                reader(&provider, aes(), allowed).get_range(&path, 0..1).await.unwrap_err(),
                reader(&provider, aes(), &[allowed, &["release_unverified"]].concat()).get(&path).await.unwrap_err(),
            ] {
                assert!(refused_by(&error).contains(needed) && error.to_string().contains(needed), "{error}");
            }
        }
        // The wrapping of the data key binds the algorithm of the content.
        to_cbc.at(&provider, &path).await;
        let error = reader(&provider, aes(), &ALL).get(&path).await.unwrap_err();
        assert!(is_not_authentic(&error));
    });
}

/// AWS-2025-032: whoever can replace the instruction file cannot have the object open otherwise.
#[test]
fn attack_41_an_instruction_file_cannot_replace_what_the_object_says() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(100));
        let key_names = ["x-amz-3", "x-amz-w"];
        let stored = format_3(&text).in_file(&key_names);
        stored.at(&provider, &path).await;
        assert!(read(&reader(&provider, aes(), &[]), &path).await.unwrap() == text);
        // Another data key, which the wrapping key opens: the commitment is in the object.
        let other_key = sealed_with(&WRAPPING_KEY, [8; 12], b"115", &[6; 32]);
        let mut replaced = stored.clone();
        let wrapped = to_base64(&[&[8; 12][..], &other_key].concat());
        replaced.file.as_mut().unwrap().insert("x-amz-3".to_owned(), wrapped);
        replaced.at(&provider, &path).await;
        assert!(is_not_authentic(&reader(&provider, aes(), &ALL).get(&path).await.unwrap_err()));
        // A file with what belongs to the object, and one of an older format.
        let all = format_3(&text).metadata.into_keys().collect::<Vec<_>>();
        let all = all.iter().map(String::as_str).collect::<Vec<_>>();
        let in_file = format_3(&text).in_file(&all);
        let older = Stored { file: Some(format_2(&text).metadata), ..stored.clone() };
        // Metadata of the data key in both.
        let both = format_2(&text).in_file(&["x-amz-key-v2", "x-amz-matdesc", "x-amz-wrap-alg"]);
        let both_3 = format_3(&text).in_file(&["x-amz-3"]);
        for stored in [in_file, older, both, both_3] {
            stored.at(&provider, &path).await;
            let error = reader(&provider, aes(), &ALL).get(&path).await.unwrap_err();
            assert!(matches!(s3ec_error(&error), S3EncryptionError::Metadata(_)), "{error}");
        }
        // Not JSON, names that repeat, values that are no texts, too long, and no file.
        let json = serde_json::to_string(stored.file.as_ref().unwrap()).unwrap();
        let twice = json.replacen('{', r#"{"x-amz-w":"02","#, 1);
        let long = json.replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(70_000)), 1);
        for file in ["", "{", "[]", "{\"x-amz-3\":1}", &twice, &long] {
            stored.at(&provider, &path).await;
            provider.store(&Path::from("a.instruction"), file.as_bytes().to_vec()).await;
            let error = reader(&provider, aes(), &ALL).get(&path).await.unwrap_err();
            assert!(!file.starts_with('{') || matches!(s3ec_error(&error), S3EncryptionError::Metadata(_)), "{error}");
        }
        provider.inner.delete(&Path::from("a.instruction")).await.unwrap();
        let error = reader(&provider, aes(), &ALL).get(&path).await.unwrap_err();
        assert!(matches!(s3ec_error(&error), S3EncryptionError::NotEncrypted));
    });
}

/// Rules 4 and 5.
#[test]
fn attack_41_another_context_is_refused_before_the_service_is_asked() {
    run(async {
        let (kms, provider, path, text) = (FakeKms::with_keys(&[ARN]), Provider::new(), Path::from("a"), pattern(10));
        let key = |context: &'static [(&'static str, &'static str)]| {
            S3Key::kms_with_context(kms.clone(), ARN, move |_| context.iter().copied().collect())
        };
        let stored = by_kms(&kms, ByKms::Format3, &[("tenant", "blue")], &text).await;
        stored.at(&provider, &path).await;
        kms.calls();
        assert!(read(&reader(&provider, key(&[("tenant", "blue")]), &[]), &path).await.unwrap() == text);
        assert_eq!(kms.calls().len(), 1);
        let refused = async |key: S3Key| {
            let error = reader(&provider, key, &ALL).get(&path).await.unwrap_err();
            assert!(matches!(s3ec_error(&error), S3EncryptionError::Context), "{error}");
            assert!(kms.calls().is_empty());
        };
        refused(key(&[])).await;
        refused(key(&[("tenant", "red")])).await;
        refused(key(&[("tenant", "blue"), ("more", "x")])).await;
        refused(key(&[("tenant", "blue"), ("aws:x-amz-cek-alg", "115")])).await;
        refused(key(&[("tenant", "blue"), ("kms_cmk_id", ARN)])).await;
        // The stored algorithm must be the one of the content.
        for json in [r#"{"tenant":"blue"}"#, r#"{"tenant":"blue","aws:x-amz-cek-alg":"AES/GCM/NoPadding"}"#] {
            stored.with(&[("x-amz-t", json)]).at(&provider, &path).await;
            refused(key(&[("tenant", "blue")])).await;
        }
        let twice = r#"{"tenant":"red","tenant":"blue","aws:x-amz-cek-alg":"115"}"#;
        stored.with(&[("x-amz-t", twice)]).at(&provider, &path).await;
        let error = reader(&provider, key(&[("tenant", "blue")]), &ALL).get(&path).await.unwrap_err();
        assert!(matches!(s3ec_error(&error), S3EncryptionError::Metadata(_)));
        // The legacy wrapping binds no context of the reader.
        by_kms(&kms, ByKms::Legacy, &[], &text).await.at(&provider, &path).await;
        kms.calls();
        refused(key(&[("tenant", "blue")])).await;
        assert!(read(&reader(&provider, key(&[]), &ALL), &path).await.unwrap() == text);
    });
}

#[test]
fn attack_41_a_service_that_answers_with_another_key_is_refused() {
    use crate::fake_kms::Fault;

    run(async {
        let (kms, provider, path, text) = (FakeKms::with_keys(&[ARN]), Provider::new(), Path::from("a"), pattern(10));
        by_kms(&kms, ByKms::Format3, &[], &text).await.at(&provider, &path).await;
        let store = reader(&provider, S3Key::kms(kms.clone(), ARN), &[]);
        kms.fail([Fault::KeyId("arn:aws:kms:us-east-1:111122223333:key/other")]);
        let error = store.get(&path).await.unwrap_err();
        assert!(matches!(s3ec_error(&error), S3EncryptionError::Kms(_)));
        kms.disable(ARN);
        assert!(matches!(s3ec_error(&store.get(&path).await.unwrap_err()), S3EncryptionError::Kms(_)));
    });
}

/// Rule 6.
#[test]
fn attack_41_a_commitment_of_another_length_is_refused() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(10));
        let stored = format_3(&text);
        for name in ["x-amz-d", "x-amz-i"] {
            let value = from_base64(&stored.metadata[name]);
            for bytes in [&value[..27], &[&value[..], b"x"].concat(), &[]] {
                stored.with(&[(name, &to_base64(bytes))]).at(&provider, &path).await;
                for switches in [&[][..], &["release_unverified"]] {
                    let store = reader(&provider, aes(), switches);
                    assert!(matches!(s3ec_error(&store.get(&path).await.unwrap_err()), S3EncryptionError::Metadata(_)));
                    assert!(store.get_range(&path, 0..1).await.is_err());
                }
            }
        }
        // And before the key is used, for ranges too.
        stored.with(&[("x-amz-d", &to_base64(&[0; 28]))]).at(&provider, &path).await;
        let store = reader(&provider, aes(), &["release_unverified"]);
        assert!(is_not_authentic(&store.get_range(&path, 0..1).await.unwrap_err()));
    });
}

/// Rule 7: an attacker learns nothing from which failure it was.
#[test]
fn attack_41_all_failures_of_legacy_objects_have_one_error() {
    run(async {
        let (provider, path) = (Provider::new(), Path::from("a"));
        let pem = |name: &str| std::fs::read(root().join("tests/keys").join(name)).unwrap();
        let rsa = || S3Key::rsa(pem("rsa-2048.pkcs8.pem")).unwrap();
        let public =
            sealwax::keyring::RsaPublicKey::read(&pem("rsa-2048.spki.pem"), sealwax::keyring::RsaPadding::Pkcs1);
        let public = public.unwrap();
        let of_rsa = |wrapped: &[u8], object: &[u8]| Stored {
            metadata: metadata([
                ("x-amz-key", to_base64(wrapped)),
                ("x-amz-iv", to_base64(&[0; 16])),
                ("x-amz-matdesc", "{}".to_owned()),
            ]),
            file: None,
            object: object.to_vec(),
        };
        // Padding that is valid, a data key of another length, padding that is not valid, and
        // ciphertexts of lengths that RSA and AES-CBC do not have.
        let (valid, short) = (public.encrypt(&[5; 32]).unwrap(), public.encrypt(&[5; 16]).unwrap());
        let mut texts = std::collections::BTreeSet::new();
        for wrapped in [&valid[..], &short, &[0; 256], &[1; 255]] {
            for object in [&[0; 64][..], &[0; 63], &[0; 0]] {
                let stored = of_rsa(wrapped, object);
                stored.at(&provider, &path).await;
                let outcome = read(&reader(&provider, rsa(), &ALL), &path).await;
                if let Err(error) = outcome {
                    assert!(is_not_authentic(&error));
                    texts.insert(format!("{error:?}"));
                }
                // Rule 7 again: the switch is looked at before the key is used.
                for in_file in [false, true] {
                    let stored = if in_file {
                        stored.in_file(&["x-amz-key", "x-amz-iv", "x-amz-matdesc"])
                    } else {
                        stored.clone()
                    };
                    stored.at(&provider, &path).await;
                    for off in ALL.into_iter().take(3) {
                        let others: Vec<_> = ALL.into_iter().filter(|switch| *switch != off).collect();
                        let error = reader(&provider, rsa(), &others).get(&path).await.unwrap_err();
                        assert!(refused_by(&error).contains(off));
                    }
                }
            }
        }
        assert_eq!(texts.len(), 1, "{texts:?}");
    });
}

/// Rule 8, and what else a provider can answer.
#[test]
fn attack_41_an_answer_that_is_not_what_was_asked_for_is_refused() {
    run(async {
        for length in [100, 200_000] {
            let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(length));
            format_3(&text).at(&provider, &path).await;
            for switches in [&[][..], &["release_unverified"]] {
                let opened = reader(&provider, aes(), switches);
                opened.get_range(&path, 0..1).await.unwrap();
                for trick in [Trick::Fewer, Trick::More, Trick::Huge] {
                    provider.play(trick.clone());
                    for store in [&opened, &reader(&provider, aes(), switches)] {
                        assert!(read(store, &path).await.is_err(), "{trick:?}");
                        nothing_wrong(store, &path, &text, &format!("{trick:?}")).await;
                    }
                    provider.play(None);
                }
            }
            // Other bytes than were asked for are noticed only by what authenticates.
            provider.play(Trick::Shifted);
            nothing_wrong(&reader(&provider, aes(), &[]), &path, &text, "shifted").await;
        }
    });
}

#[test]
fn attack_41_an_object_that_is_replaced_while_it_is_read_is_never_mixed() {
    run(async {
        let (path, other) = (Path::from("a"), Path::from("b"));
        let texts = [pattern(9 << 20), vec![1; 9 << 20]];
        for tags in [None, Some(Trick::NoTags), Some(Trick::OneTag), Some(Trick::NoConditions)] {
            for number in 0..4 {
                let provider = Provider::new();
                for (path, text) in [&path, &other].into_iter().zip(&texts) {
                    format_3(text).at(&provider, path).await;
                }
                let store = reader(&provider, aes(), &[]);
                // An object that is authenticated, and is then replaced without a trace.
                if let Some(trick) = &tags {
                    assert!(store.get_range(&path, 0..10).await.unwrap() == texts[0][..10]);
                    provider.inner.copy(&other, &path).await.unwrap();
                    provider.play(trick.clone());
                } else {
                    provider.play(Trick::Replace(number, other.clone()));
                }
                for range in [0..10, 5_000_000..9_000_000] {
                    match store.get_range(&path, range.clone()).await {
                        Ok(found) => assert!(texts.iter().any(|text| found == slice(text, range.clone()))),
                        Err(error) => assert!(matches!(error, Error::Precondition { .. }), "{error}"),
                    }
                }
                match read(&store, &path).await {
                    Ok(found) => assert!(texts.iter().any(|text| found == *text)),
                    Err(error) => assert!(matches!(error, Error::Precondition { .. }), "{error}"),
                }
            }
        }
    });
}

/// Rule 9, and keys of another kind.
#[test]
fn attack_41_a_data_key_of_another_kind_or_length_is_refused() {
    run(async {
        let (provider, path, text) = (Provider::new(), Path::from("a"), pattern(10));
        for length in [0, 16, 24, 31, 33] {
            let wrapped = sealed_with(&WRAPPING_KEY, [9; 12], b"115", &vec![5; length]);
            let wrapped = to_base64(&[&[9; 12][..], &wrapped].concat());
            format_3(&text).with(&[("x-amz-3", &wrapped)]).at(&provider, &path).await;
            assert!(is_not_authentic(&reader(&provider, aes(), &ALL).get(&path).await.unwrap_err()));
        }
        format_3(&text).at(&provider, &path).await;
        let kms = S3Key::kms(FakeKms::with_keys(&[ARN]), ARN);
        let error = reader(&provider, kms, &ALL).get(&path).await.unwrap_err();
        assert!(matches!(s3ec_error(&error), S3EncryptionError::OtherKey("AES/GCM")));
        let other = S3Key::aes(SecretBytes::from(vec![8; 32])).unwrap();
        assert!(is_not_authentic(&reader(&provider, other, &ALL).get(&path).await.unwrap_err()));
    });
}
