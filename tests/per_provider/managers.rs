//! Multi-keyrings with a quorum, the key report, the required-context manager, and the conformance
//! suite for keyrings.

use std::sync::Arc;

use sealwax::{
    ContextError, EncryptedDataKey, Error, Result, UnwrapReason,
    keyring::{BoxFuture, Keyring, MultiKeyring, RawAesKeyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
    materials::{
        DecryptionMaterials, DecryptionRequest, DefaultMaterialsManager, EncryptionMaterials, EncryptionRequest,
        MaterialsManager, RequiredContextManager,
    },
};

use super::support::{client_builder, new_client};

fn raw(name: &str, byte: u8) -> RawAesKeyring {
    RawAesKeyring::new("example", name, vec![byte; 32]).unwrap()
}

/// A keyring whose service is down.
struct Down(&'static str);

impl Keyring for Down {
    fn label(&self) -> Arc<str> {
        self.0.into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async { Err(Error::keyring(self.0, "the service is down")) })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let mut attempts = request.attempts(self.label());
            let _ = attempts.record(0, Err(UnwrapReason::Failed("the service is down".into())));
            Err(attempts.into_error())
        })
    }
}

#[test]
fn without_a_quorum_every_child_must_wrap() {
    let keyring = MultiKeyring::new(raw("main", 1)).child(Down("down-1"));
    let refused = new_client().encrypt(&keyring).bytes(b"text").wait();
    assert!(matches!(refused, Err(Error::Keyring { keyring, .. }) if keyring == "down-1"));
}

#[test]
fn a_quorum_lets_some_children_fail_and_reports_them() {
    let keyring = |required| {
        MultiKeyring::new(raw("main", 1))
            .child(Down("down-1"))
            .child(raw("here", 2))
            .child(Down("down-2"))
            .require(required)
    };
    let client = new_client();
    let sealed = client.encrypt(&keyring(1)).bytes(b"text").wait().unwrap();
    let wrapped: Vec<_> = sealed.key_report.wrapped().iter().map(|by| (&*by.keyring, by.encrypted_data_key)).collect();
    assert_eq!(wrapped, [("raw-aes://example/main", 0), ("raw-aes://example/here", 1)]);
    assert_eq!(sealed.header.encrypted_data_keys().len(), 2);
    let failed: Vec<_> = sealed.key_report.failed().iter().map(|by| (&*by.keyring, by.cause.to_string())).collect();
    let down = |name: &'static str| (name, format!("keyring {name} failed"));
    assert_eq!(failed, [down("down-1"), down("down-2")]);

    // One short of the quorum is a failure, and so is a quorum larger than the number of children.
    assert!(client.encrypt(&keyring(2)).bytes(b"text").wait().is_err());
    assert!(matches!(client.encrypt(&keyring(4)).bytes(b"text").wait(), Err(Error::Configuration(_))));
    // The generator must always wrap.
    let keyring = MultiKeyring::new(Down("generator")).child(raw("here", 2)).require(0);
    assert!(client.encrypt(&keyring).bytes(b"text").wait().is_err());
}

#[test]
fn a_key_report_names_the_keyrings_inside_others() {
    let inner = MultiKeyring::without_generator(raw("b", 2)).child(raw("c", 3));
    let keyring = MultiKeyring::new(raw("a", 1)).child(inner).child(raw("d", 4));
    let client = new_client();
    let sealed = client.encrypt(&keyring).bytes(b"text").wait().unwrap();
    let names: Vec<_> = sealed.key_report.wrapped().iter().map(|by| by.keyring.to_string()).collect();
    assert_eq!(names, ["a", "b", "c", "d"].map(|name| format!("raw-aes://example/{name}")));
    for (position, by) in sealed.key_report.wrapped().iter().enumerate() {
        assert_eq!(by.encrypted_data_key, position);
        let name = sealed.header.encrypted_data_keys()[position].key_name().unwrap();
        assert!(by.keyring.ends_with(name));
    }
    let writer = client.encrypt(&raw("a", 1)).machine().wait().unwrap();
    assert_eq!(writer.key_report().wrapped().len(), 1);
}

#[test]
fn the_key_report_of_a_decryption_names_what_opened_and_what_did_not() {
    let client = new_client();
    let both = MultiKeyring::new(raw("a", 1)).child(raw("b", 2));
    let message = client.encrypt(&both).bytes(b"text").wait().unwrap().message;
    let opened = client.decrypt(&raw("b", 2)).bytes(&message).wait().unwrap().opened_by;
    assert_eq!((&*opened.keyring, opened.encrypted_data_key), ("raw-aes://example/b", 1));

    let keyring = MultiKeyring::new(Down("down")).child(raw("c", 3)).child(raw("a", 9));
    let Err(Error::NotUnwrapped(failure)) = client.decrypt(&keyring).bytes(&message).wait() else { panic!() };
    let attempts: Vec<_> = failure
        .attempts()
        .iter()
        .map(|attempt| (&*attempt.keyring, attempt.encrypted_data_key, attempt.reason.to_string()))
        .collect();
    assert_eq!(
        attempts,
        [
            ("down", Some(0), "unwrapping failed".to_owned()),
            ("raw-aes://example/c", None, UnwrapReason::NoMatch.to_string()),
            ("raw-aes://example/a", Some(0), UnwrapReason::NotAuthentic.to_string()),
        ]
    );
}

#[test]
fn a_required_context_must_be_given_both_ways() {
    let client = new_client();
    let manager = RequiredContextManager::new(["tenant", "path"], DefaultMaterialsManager::new(raw("a", 1))).unwrap();
    let all = [("tenant", "blue"), ("path", "/x"), ("purpose", "test")];
    let missing = client.encrypt_with(&manager).context([("tenant", "blue")]).bytes(b"text").wait();
    assert!(matches!(missing, Err(Error::Context(ContextError::RequiredMissing))));
    let sealed = client.encrypt_with(&manager).context(all).bytes(b"text").wait().unwrap();
    let stored: Vec<_> = sealed.header.context().iter().map(|(key, _)| key).collect();
    assert_eq!(stored, ["aws-crypto-public-key", "purpose"]);

    let open = |context: &[(&str, &str)]| {
        let context = context.iter().copied().collect::<sealwax::EncryptionContext>();
        client.decrypt_with(&manager).context(context).bytes(&sealed.message).wait()
    };
    assert_eq!(open(&all).unwrap().plaintext, b"text");
    assert_eq!(open(&all[..2]).unwrap().plaintext, b"text");
    assert!(matches!(open(&all[..1]), Err(Error::Context(ContextError::RequiredMissing))));
    assert!(matches!(open(&[("tenant", "green"), ("path", "/x")]), Err(Error::NotUnwrapped(_))));
    let wrong = [("tenant", "blue"), ("path", "/x"), ("purpose", "other")];
    assert!(matches!(open(&wrong), Err(Error::Context(ContextError::Mismatch))));
    // The plain manager also reads it if it is given the same pairs.
    let plain =
        client.decrypt(&raw("a", 1)).context([("tenant", "blue"), ("path", "/x")]).bytes(&sealed.message).wait();
    assert_eq!(plain.unwrap().plaintext, b"text");
}

/// A keyring that authenticates nothing, so that only the header tag binds what is not stored.
struct Unbound;

impl Keyring for Unbound {
    fn label(&self) -> Arc<str> {
        "unbound".into()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move {
            let key = request.data_key_or_generate()?;
            let hidden: Vec<u8> = key.as_bytes().iter().map(|byte| byte ^ 0x55).collect();
            Ok(key.wrapped_as(EncryptedDataKey::new("unbound", "1", hidden)))
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let mut attempts = request.attempts(self.label());
            for (index, key) in request.candidates(|key| key.provider_id() == "unbound") {
                let plain: Vec<u8> = key.ciphertext().iter().map(|byte| byte ^ 0x55).collect();
                if let Some(unwrapped) = attempts.record(index, Ok(plain.into())) {
                    return Ok(unwrapped);
                }
            }
            Err(attempts.into_error())
        })
    }
}

#[test]
fn a_required_context_is_bound_by_the_header_even_if_the_keyring_does_not() {
    let client = new_client();
    let manager = RequiredContextManager::new(["tenant"], DefaultMaterialsManager::new(Unbound)).unwrap();
    let message = client.encrypt_with(&manager).context([("tenant", "blue")]).bytes(b"text").wait().unwrap().message;
    let open = |tenant| client.decrypt_with(&manager).context([("tenant", tenant)]).bytes(&message).wait();
    assert!(open("blue").is_ok());
    assert!(matches!(open("green"), Err(Error::Integrity)));
    assert!(matches!(client.decrypt(&Unbound).bytes(&message).wait(), Err(Error::Integrity)));
}

#[test]
fn keys_that_cannot_be_required_are_refused_at_once() {
    let refuse = |keys: &[&str]| {
        let keys = keys.iter().map(|key| (*key).to_owned());
        RequiredContextManager::new(keys, DefaultMaterialsManager::new(Unbound)).err().unwrap()
    };
    assert!(matches!(refuse(&[]), Error::Configuration(_)));
    assert!(matches!(refuse(&["a", ""]), Error::Context(ContextError::Empty)));
    assert!(matches!(refuse(&["aws-crypto-public-key"]), Error::Context(ContextError::ReservedPrefix)));
}

/// A manager that makes usable materials, but forgets which pairs are not to be stored.
struct Forgetful(DefaultMaterialsManager<RawAesKeyring>);

impl MaterialsManager for Forgetful {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(async move {
            let mut materials = self.0.encryption_materials(request).await?;
            materials.required_context_keys.clear();
            Ok(materials)
        })
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        Box::pin(async move {
            let mut materials = self.0.decryption_materials(request).await?;
            for key in std::mem::take(&mut materials.required_context_keys) {
                materials.context.remove(&key);
            }
            Ok(materials)
        })
    }
}

#[test]
fn a_manager_that_forgets_the_required_context_is_refused_both_ways() {
    let client = new_client();
    let over = |inner: Box<dyn MaterialsManager>| RequiredContextManager::new(["tenant"], inner).unwrap();
    let forgetful = over(Box::new(Forgetful(DefaultMaterialsManager::new(raw("a", 1)))));
    let honest = over(Box::new(DefaultMaterialsManager::new(raw("a", 1))));

    let stored = client.encrypt_with(&forgetful).context([("tenant", "blue")]).bytes(b"text").wait();
    assert!(matches!(stored, Err(Error::Materials(why)) if why.contains("would be stored")));

    let message = client.encrypt_with(&honest).context([("tenant", "blue")]).bytes(b"text").wait().unwrap().message;
    let unchecked = client.decrypt_with(&forgetful).context([("tenant", "blue")]).bytes(&message).wait();
    assert!(matches!(unchecked, Err(Error::Materials(why)) if why.contains("was not authenticated")));
    assert!(client.decrypt_with(&honest).context([("tenant", "blue")]).bytes(&message).wait().is_ok());
}

#[cfg(feature = "conformance")]
mod conformance {
    use std::{collections::HashMap, sync::Mutex, time::Duration};

    use sealwax::{
        SecretBytes,
        conformance::{KeyringTraits, cache, keyring},
        materials::{Cache, CacheEntry, CacheId, MemoryCache},
    };

    use super::*;

    #[test]
    fn our_own_keyrings_pass() {
        for length in [16, 24, 32] {
            let raw = RawAesKeyring::new("example", "key", vec![7; length]).unwrap();
            keyring(&raw, KeyringTraits::default()).wait().unwrap();
            keyring(&raw, KeyringTraits { generates: false, ..KeyringTraits::default() }).wait().unwrap();
        }
        let multi = MultiKeyring::new(raw("a", 1)).child(raw("b", 2));
        keyring(&multi, KeyringTraits::default()).wait().unwrap();
        let children = MultiKeyring::without_generator(raw("a", 1)).child(raw("b", 2));
        keyring(&children, KeyringTraits { generates: false, ..KeyringTraits::default() }).wait().unwrap();
        keyring(&children, KeyringTraits { encrypts: false, ..KeyringTraits::default() }).wait().unwrap();
    }

    /// What a keyring that wraps a good one does wrong.
    #[derive(Clone, Copy, Debug)]
    enum Wrong {
        SameDataKey,
        ShortDataKey,
        NoEncryptedDataKey,
        PlainDataKey,
        IgnoresContext,
        StopsAtTheFirst,
        OpensAnything,
        OtherPosition,
        ReplacesTheDataKey,
    }

    struct Faulty(Wrong, RawAesKeyring);

    static EMPTY: sealwax::EncryptionContext = sealwax::EncryptionContext::new();

    impl Keyring for Faulty {
        fn label(&self) -> Arc<str> {
            "faulty".into()
        }

        fn on_encrypt<'a>(&'a self, mut request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
            Box::pin(async move {
                let fixed = SecretBytes::from(vec![9; request.suite.data_key_length()]);
                if matches!(self.0, Wrong::IgnoresContext) {
                    request.context = &EMPTY;
                }
                if matches!(self.0, Wrong::SameDataKey) && request.data_key.is_none() {
                    let mut wrapped = self.1.on_encrypt(request.for_key(&fixed)).await?;
                    wrapped.data_key = Some(fixed);
                    return Ok(wrapped);
                }
                let mut wrapped = self.1.on_encrypt(request).await?;
                match self.0 {
                    Wrong::ShortDataKey => wrapped.data_key = Some(SecretBytes::zeroed(5)),
                    Wrong::NoEncryptedDataKey => wrapped.encrypted_data_keys.clear(),
                    Wrong::PlainDataKey => {
                        let plain = wrapped.data_key.as_ref().or(request.data_key).unwrap().as_bytes().to_vec();
                        wrapped.encrypted_data_keys.push(EncryptedDataKey::new("example", "plain", plain));
                    }
                    Wrong::ReplacesTheDataKey => wrapped.data_key = Some(fixed),
                    _ => {}
                }
                Ok(wrapped)
            })
        }

        fn on_decrypt<'a>(&'a self, mut request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
            Box::pin(async move {
                match self.0 {
                    Wrong::IgnoresContext => request.context = &EMPTY,
                    Wrong::StopsAtTheFirst if !request.encrypted_data_keys.is_empty() => {
                        request.encrypted_data_keys = &request.encrypted_data_keys[..1];
                    }
                    _ => {}
                }
                let mut outcome = self.1.on_decrypt(request).await;
                match self.0 {
                    Wrong::OpensAnything if outcome.is_err() => {
                        let data_key = SecretBytes::zeroed(request.suite.data_key_length());
                        outcome = Ok(Unwrapped { data_key, encrypted_data_key: 0, keyring: self.label() });
                    }
                    Wrong::OtherPosition => {
                        outcome = outcome.map(|unwrapped| Unwrapped { encrypted_data_key: 0, ..unwrapped });
                    }
                    _ => {}
                }
                outcome
            })
        }
    }

    #[test]
    fn a_wrong_keyring_fails_and_the_rule_is_named() {
        for (wrong, rule) in [
            (Wrong::SameDataKey, "two generated data keys must differ"),
            (Wrong::ShortDataKey, "must have the length"),
            (Wrong::NoEncryptedDataKey, "a keyring must return an encrypted data key"),
            (Wrong::PlainDataKey, "must not contain the plaintext data key"),
            (Wrong::IgnoresContext, "with another encryption context"),
            (Wrong::StopsAtTheFirst, "must be skipped"),
            (Wrong::OpensAnything, "unwrapping must fail"),
            (Wrong::OtherPosition, "the index"),
        ] {
            let refused = keyring(&Faulty(wrong, raw("a", 1)), KeyringTraits::default()).wait();
            let Err(Error::Keyring { keyring, source }) = refused else { panic!("{wrong:?} passed") };
            assert_eq!(keyring, "faulty");
            assert!(source.to_string().contains(rule), "{wrong:?}: {source}");
        }
        let traits = KeyringTraits { generates: false, ..KeyringTraits::default() };
        let refused = keyring(&Faulty(Wrong::ReplacesTheDataKey, raw("a", 1)), traits).wait();
        assert!(
            matches!(refused, Err(Error::Keyring { source, .. }) if source.to_string().contains("not be replaced"))
        );
        // A keyring that encrypts although it claims not to.
        let traits = KeyringTraits { encrypts: false, ..KeyringTraits::default() };
        assert!(keyring(&raw("a", 1), traits).wait().is_err());
        let traits = KeyringTraits { decrypts: false, ..KeyringTraits::default() };
        assert!(keyring(&raw("a", 1), traits).wait().is_err());
    }

    /// What a cache over a plain map does wrong.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum WrongCache {
        Nothing,
        KeepsWhatExpired,
        KeepsTheFirst,
        RemovesByIdAlone,
        RemovesNothing,
        MixesIds,
        GrowsWithoutBound,
    }

    struct Map(WrongCache, Mutex<HashMap<CacheId, Arc<CacheEntry>>>);

    impl Cache for Map {
        fn get(&self, id: &CacheId, now: Duration) -> Option<Arc<CacheEntry>> {
            let entries = self.1.lock().unwrap();
            let found = match self.0 {
                WrongCache::MixesIds => entries.values().next(),
                _ => entries.get(id),
            };
            found.filter(|entry| self.0 == WrongCache::KeepsWhatExpired || !entry.is_expired(now)).cloned()
        }

        fn put(&self, id: CacheId, entry: Arc<CacheEntry>) {
            let mut entries = self.1.lock().unwrap();
            if self.0 == WrongCache::KeepsTheFirst && entries.contains_key(&id) {
                return;
            }
            if self.0 != WrongCache::GrowsWithoutBound && entries.len() >= 4 && !entries.contains_key(&id) {
                let any = *entries.keys().next().unwrap();
                entries.remove(&any);
            }
            entries.insert(id, entry);
        }

        fn remove(&self, id: &CacheId, entry: &Arc<CacheEntry>) {
            let mut entries = self.1.lock().unwrap();
            let same = entries.get(id).is_some_and(|found| Arc::ptr_eq(found, entry));
            if self.0 != WrongCache::RemovesNothing && (same || self.0 == WrongCache::RemovesByIdAlone) {
                entries.remove(id);
            }
        }
    }

    #[test]
    fn our_own_cache_passes_and_wrong_ones_fail_by_the_rule() {
        for capacity in [1, 2, 100] {
            cache(&MemoryCache::new(capacity).unwrap(), (capacity > 1).then_some(capacity)).unwrap();
        }
        let map = |wrong| Map(wrong, Mutex::default());
        cache(&map(WrongCache::Nothing), Some(4)).unwrap();
        for (wrong, rule) in [
            (WrongCache::KeepsWhatExpired, "an expired entry must not be found"),
            (WrongCache::KeepsTheFirst, "must replace"),
            (WrongCache::RemovesByIdAlone, "must stay"),
            (WrongCache::RemovesNothing, "must not be found"),
            (WrongCache::MixesIds, "under its own id"),
            (WrongCache::GrowsWithoutBound, "more entries than its capacity"),
        ] {
            let Err(Error::Keyring { source, .. }) = cache(&map(wrong), Some(4)) else { panic!("{wrong:?} passed") };
            assert!(source.to_string().contains(rule), "{wrong:?}: {source}");
        }
    }
}

#[test]
fn the_unsigned_suite_is_the_one_that_the_policy_allows() {
    use sealwax::{AlgorithmSuite, Client, CommitmentPolicy};

    for (policy, suite) in [
        (CommitmentPolicy::RequireEncryptRequireDecrypt, AlgorithmSuite::Aes256GcmHkdfSha512CommitKey),
        (CommitmentPolicy::RequireEncryptAllowDecrypt, AlgorithmSuite::Aes256GcmHkdfSha512CommitKey),
        (CommitmentPolicy::ForbidEncryptAllowDecrypt, AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha256),
    ] {
        let client: Client = client_builder().commitment_policy(policy).build();
        let sealed = client.encrypt(&raw("key", 1)).unsigned().bytes(b"text").wait().unwrap();
        assert_eq!(sealed.header.suite(), suite);
        assert!(!sealed.header.context().contains_key("aws-crypto-public-key"));
        // A stream can read what a stream writes.
        let mut text = Vec::new();
        std::io::Read::read_to_end(
            &mut client.decrypt(&raw("key", 1)).open(&sealed.message[..]).unwrap().into_reader().unwrap(),
            &mut text,
        )
        .unwrap();
        assert_eq!(text, b"text");
    }
}
