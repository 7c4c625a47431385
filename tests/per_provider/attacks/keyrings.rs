//! What keyrings receive, and what they may return.

use super::*;

#[test]
fn attack_18_a_data_key_of_the_wrong_length_is_no_match() {
    let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    let forge = Forge::new(0x0478);
    let context = EncryptionContext::from([("tenant", "blue")]);
    let mut lengths = Vec::new();
    for length in [0, 16, 31, 33, 64] {
        lengths.push(wrapped(&keyring, &context, &vec![0x42; length]));
    }
    let all_wrong = with_keys(forge.clone(), lengths.clone());
    let failure = failure(new_client().decrypt(&keyring).bytes(&all_wrong.message(TEXT)).wait());
    assert_eq!(failure.attempts().len(), 5);
    for (index, attempt) in failure.attempts().iter().enumerate() {
        // The reason is that of a key that does not authenticate: an attacker learns nothing from
        // it.
        assert!(matches!(attempt.reason, UnwrapReason::NotAuthentic), "{attempt:?}");
        assert_eq!(attempt.encrypted_data_key, Some(index));
    }
    lengths.push(wrapped(&keyring, &context, &forge.data_key));
    let opened = new_client().decrypt(&keyring).bytes(&with_keys(forge, lengths).message(TEXT)).wait().unwrap();
    assert_eq!((&opened.plaintext[..], opened.opened_by.encrypted_data_key), (TEXT, 5));
}

#[test]
fn attack_19_a_name_that_is_only_a_prefix_is_no_match() {
    let raw = |namespace: &str, name: &str| RawAesKeyring::new(namespace, name, vec![7; 32]).unwrap();
    let context = EncryptionContext::from([("tenant", "blue")]);
    let names = [("ns", "k2"), ("ns", "k"), ("ns2", "k"), ("n", "k"), ("ns", "K"), ("ns", "")];
    for (namespace, name) in &names[..5] {
        for (other_namespace, other_name) in &names[..5] {
            let forge = Forge::new(0x0478);
            let key = wrapped(&raw(namespace, name), &context, &forge.data_key);
            let message = with_keys(forge, vec![key]).message(TEXT);
            let keyring = raw(other_namespace, other_name);
            let outcome = new_client().decrypt(&keyring).bytes(&message).wait();
            if (namespace, name) == (other_namespace, other_name) {
                assert_eq!(outcome.unwrap().plaintext, TEXT);
            } else {
                // The wrapping keys are all the same: only the name does not match.
                assert!(is_no_match(&failure(outcome)));
            }
        }
    }
    // A name that ends in bytes that resemble the parameters of a shorter one.
    let odd = "k\0\0\0\u{80}\0\0\0\u{c}";
    let forge = Forge::new(0x0478);
    let message = with_keys(forge.clone(), vec![wrapped(&raw("ns", odd), &context, &forge.data_key)]).message(TEXT);
    assert!(new_client().decrypt(&raw("ns", "k")).bytes(&message).wait().is_err());
    assert!(new_client().decrypt(&raw("ns", odd)).bytes(&message).wait().is_ok());

    for namespace in ["aws-kms", "aws-kms-mrk", "aws-kms-hierarchy", "aws-kms2"] {
        let refused = RawAesKeyring::new(namespace, "k", vec![7; 32]).map(|_| ());
        assert!(matches!(refused, Err(Error::Configuration(_))), "{namespace}");
    }
}

/// A keyring that returns its data key, whatever its length.
struct Careless(Vec<u8>);

impl Keyring for Careless {
    fn label(&self) -> Arc<str> {
        "careless".into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        unreachable!("only reads")
    }

    fn on_decrypt<'a>(&'a self, _: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        let data_key = self.0.as_slice().into();
        Box::pin(async { Ok(Unwrapped { data_key, encrypted_data_key: 0, keyring: self.label() }) })
    }
}

#[test]
fn attack_18_a_keyring_that_does_not_look_at_the_length_is_passed_over() {
    let forge = Forge::new(0x0478);
    let message = forge.message(TEXT);
    let refused = new_client().decrypt(&Careless(vec![0x42; 16])).bytes(&message).wait();
    assert!(matches!(refused, Err(Error::Materials(_) | Error::NotUnwrapped(_))), "{refused:?}");
    let keyring = MultiKeyring::new(Careless(vec![0x42; 16])).child(forge.keyring());
    assert_eq!(new_client().decrypt(&keyring).bytes(&message).wait().unwrap().plaintext, TEXT);
}

/// A keyring whose service returns an error.
struct Unreachable(&'static str);

impl Keyring for Unreachable {
    fn label(&self) -> Arc<str> {
        self.0.into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async { Err(Error::keyring(self.0, "unreachable")) })
    }

    fn on_decrypt<'a>(&'a self, _: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async { Err(Error::keyring(self.0, "unreachable")) })
    }
}

#[test]
fn attack_20_errors_are_collected_and_the_next_key_is_tried() {
    let forge = Forge::new(0x0478);
    let message = forge.message(TEXT);
    let keyring = MultiKeyring::new(Unreachable("first")).child(Unreachable("second")).child(forge.keyring());
    assert_eq!(new_client().decrypt(&keyring).bytes(&message).wait().unwrap().plaintext, TEXT);
    let other = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    let keyring = MultiKeyring::new(Unreachable("first")).child(other).child(Unreachable("second"));
    let failure = failure(new_client().decrypt(&keyring).bytes(&message).wait());
    let labels: Vec<&str> = failure.attempts().iter().map(|attempt| &*attempt.keyring).collect();
    assert_eq!(labels, ["first", "raw-aes://example/key-1", "second"]);
}

/// A keyring that records its requests.
#[derive(Default)]
struct Asked(Mutex<Vec<(Vec<EncryptedDataKey>, EncryptionContext)>>);

impl Keyring for Asked {
    fn label(&self) -> Arc<str> {
        "asked".into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        unreachable!("only reads")
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        self.0.lock().unwrap().push((request.encrypted_data_keys.to_vec(), request.context.clone()));
        Box::pin(async move { Err(request.attempts(self.label()).into_error()) })
    }
}

#[test]
fn attack_21_encrypted_data_keys_come_from_the_message_alone() {
    let forge = Forge::new(0x0478);
    let keys: Vec<[Vec<u8>; 3]> =
        (0..5).map(|at| [vec![b'a' + at], vec![at; usize::from(at)], vec![at; 300]]).collect();
    let expected: Vec<EncryptedDataKey> = keys
        .iter()
        .map(|[id, info, ciphertext]| {
            EncryptedDataKey::new(String::from_utf8(id.clone()).unwrap(), info.as_slice(), ciphertext.as_slice())
        })
        .collect();
    let message = with_keys(forge, keys).message(TEXT);
    let asked = Asked::default();
    let client = new_client();
    let reproduced = EncryptionContext::from([("tenant", "blue"), ("extra", "1")]);
    // The same manager, called for another message before and after.
    let manager = DefaultMaterialsManager::new(&asked);
    let other = Forge::new(0x0478).message(TEXT);
    for message in [&other, &message, &other] {
        let refused = client.decrypt_with(&manager).context(reproduced.clone()).bytes(message).wait();
        assert_eq!(failure(refused).attempts().len(), 1);
    }
    let asked = asked.0.into_inner().unwrap();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].0 == expected && asked[0].0.len() == 1 && asked[2].0 == asked[0].0);
    // The context is complete: what the message stores and what the caller adds.
    assert!(asked.iter().all(|(_, context)| *context == reproduced));
}

/// A keyring that claims to have unwrapped the encrypted data key at another index.
struct Misplaced(Fixed, usize);

impl Keyring for Misplaced {
    fn label(&self) -> Arc<str> {
        "misplaced".into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        unreachable!("only reads")
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let mut unwrapped = self.0.on_decrypt(request).await?;
            unwrapped.encrypted_data_key = self.1;
            Ok(unwrapped)
        })
    }
}

#[test]
fn attack_21_an_encrypted_data_key_that_the_message_does_not_have_opens_nothing() {
    let forge = Forge::new(0x0478);
    let message = forge.message(TEXT);
    let client = new_client();
    reading(&client, &Misplaced(forge.keyring(), 0)).accepts(&message, TEXT);
    for index in [1, 77, usize::MAX] {
        reading(&client, &Misplaced(forge.keyring(), index))
            .refuses(&message, b"", |error| matches!(error, Error::Materials(_)));
    }
}
