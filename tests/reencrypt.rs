//! Re-encryption: makes a new message from an old one, in one verified pass.

use std::{fs, io};

use sealwax::{
    AlgorithmSuite, Client, CommitmentPolicy, ContextError, EncryptionContext, Error, Reencrypted, Result,
    io::Overwrite,
    keyring::{BoxFuture, RawAesKeyring},
    materials::{
        DecryptionMaterials, DecryptionRequest, DefaultMaterialsManager, EncryptionMaterials, EncryptionRequest,
        MaterialsManager, RequiredContextManager,
    },
};

use crate::support::{WrappingKey, client_for, pattern, reading_client};

const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;

fn keys() -> (WrappingKey, WrappingKey) {
    (WrappingKey::new("example", "old", 32), WrappingKey::new("example", "new", 16))
}

/// Returns a message under the old key, with a context.
fn old_message(suite: AlgorithmSuite, plaintext: &[u8]) -> Vec<u8> {
    let encrypt = client_for(suite);
    let sealed =
        encrypt.encrypt(&keys().0.keyring()).suite(suite).context([("tenant", "blue")]).bytes(plaintext).wait();
    sealed.unwrap().message
}

/// Moves a message to the new key; returns the result and the output, whatever the outcome.
fn moved(message: &[u8]) -> (Result<Reencrypted>, Vec<u8>) {
    let (old, new) = (keys().0.keyring(), keys().1.keyring());
    let (client, mut out) = (reading_client(), Vec::new());
    let done = client.decrypt(&old).reencrypt(client.encrypt(&new)).keep_context().copy(message, &mut out);
    (done, out)
}

#[test]
fn every_suite_and_length_moves_to_new_keys_with_its_context() {
    let (old, new) = keys();
    for suite in AlgorithmSuite::ALL {
        for length in [0, 1, 4095, 4096, 4097, 300_000] {
            let plaintext = pattern(length);
            let (done, message) = moved(&old_message(suite, &plaintext));
            let done = done.unwrap();
            assert_eq!(done.opened.header.suite(), suite);
            assert_eq!(done.opened.opened_by.keyring.as_ref(), "raw-aes://example/old");
            assert_eq!(done.sealed.key_report.wrapped()[0].keyring.as_ref(), "raw-aes://example/new");
            let opened = Client::new().decrypt(&new.keyring()).context([("tenant", "blue")]).bytes(&message).wait();
            assert!(opened.unwrap().plaintext == plaintext, "{suite} {length}");
            let still = Client::new().decrypt(&old.keyring()).bytes(&message).wait();
            assert!(matches!(still, Err(Error::NotUnwrapped(_))), "the old key opens it still");
        }
    }
}

#[test]
fn attack_26_reencryption_makes_a_new_data_key_and_message_id() {
    let plaintext = pattern(10_000);
    let message = old_message(SIGNED, &plaintext);
    let key = keys().0;
    // Even under the same key, with everything else unchanged.
    let (client, keyring) = (Client::new(), key.keyring());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for out in [&mut first, &mut second] {
        client.decrypt(&keyring).reencrypt(client.encrypt(&keyring)).keep_context().copy(&message[..], out).unwrap();
    }
    let header = |message: &[u8]| client.decrypt(&keyring).bytes(message).wait().unwrap().header;
    let headers = [header(&message), header(&first), header(&second)];
    for (at, one) in headers.iter().enumerate() {
        for other in &headers[at + 1..] {
            assert_ne!(one.message_id(), other.message_id());
            assert_ne!(one.encrypted_data_keys()[0].ciphertext(), other.encrypted_data_keys()[0].ciphertext());
        }
    }
    // The bodies share no run of 32 bytes (number, IV and length of a frame are 24), so the frames
    // were sealed anew.
    let body = |message: &[u8]| message[message.len() - 10_000..].to_vec();
    let (old, new) = (body(&message), body(&first));
    assert!(!old.windows(32).step_by(8).any(|part| new.windows(32).any(|other| part == other)));
}

#[test]
fn a_source_that_does_not_verify_never_makes_a_whole_message() {
    for suite in [AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, SIGNED] {
        let message = old_message(suite, &pattern(600));
        let (_, whole) = moved(&message);
        for at in 0..message.len() {
            let mut damaged = message.clone();
            damaged[at] ^= 1;
            let (done, out) = moved(&damaged);
            assert!(done.is_err(), "{suite}, byte {at}");
            // What is written by then lacks its end, and no reader accepts it.
            assert!(out.len() < whole.len());
            assert!(Client::new().decrypt(&keys().1.keyring()).bytes(&out).wait().is_err());
        }
        for length in (0..message.len()).step_by(97) {
            assert!(moved(&message[..length]).0.is_err());
        }
        assert!(moved(&[&message[..], b"x"].concat()).0.is_err());
    }
}

#[test]
fn the_context_is_kept_added_to_or_replaced() {
    let (old, new) = (keys().0.keyring(), keys().1.keyring());
    let client = Client::new();
    let message = old_message(SIGNED, b"text");
    let run = |keep: bool, given: &[(&str, &str)]| {
        let to = client.encrypt(&new).context(given.iter().copied().collect::<EncryptionContext>());
        let mut reencrypt = client.decrypt(&old).reencrypt(to);
        if keep {
            reencrypt = reencrypt.keep_context();
        }
        let done = reencrypt.copy(&message[..], io::sink()).unwrap();
        let pairs = done.sealed.header.context().iter().filter(|(key, _)| !key.starts_with("aws-crypto-"));
        pairs.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(run(true, &[]), ["tenant=blue"]);
    assert_eq!(run(true, &[("stage", "live")]), ["stage=live", "tenant=blue"]);
    assert_eq!(run(true, &[("tenant", "green")]), ["tenant=green"]);
    assert_eq!(run(false, &[]), Vec::<String>::new());
    assert_eq!(run(false, &[("stage", "live")]), ["stage=live"]);

    let wrong = client.decrypt(&old).context([("tenant", "green")]).reencrypt(client.encrypt(&new));
    assert!(matches!(wrong.copy(&message[..], io::sink()), Err(Error::Context(_))));
}

#[test]
fn what_was_not_stored_is_not_stored_by_moving() {
    let (old, new) = (keys().0, keys().1);
    let requiring = |key: &WrappingKey| {
        RequiredContextManager::new(["tenant"], DefaultMaterialsManager::new(key.keyring())).unwrap()
    };
    let client = Client::new();
    let context = [("tenant", "blue"), ("stage", "live")];
    let message = client.encrypt_with(&requiring(&old)).context(context).bytes(b"text").wait().unwrap().message;
    let run = |manager: &dyn MaterialsManager| {
        let (mut out, from) = (Vec::new(), old.keyring());
        let from = client.decrypt(&from).context([("tenant", "blue")]);
        from.reencrypt(client.encrypt_with(manager)).keep_context().copy(&message[..], &mut out).map(|_| out)
    };
    let plain = DefaultMaterialsManager::new(new.keyring());
    assert!(matches!(run(&plain), Err(Error::Context(ContextError::WouldBeStored))));
    let out = run(&requiring(&new)).unwrap();
    let opened = client.decrypt(&new.keyring()).context([("tenant", "blue")]).bytes(&out).wait().unwrap();
    assert_eq!(opened.header.context().get("tenant"), None);
    assert_eq!(opened.header.context().get("stage"), Some("live"));
    assert!(client.decrypt(&new.keyring()).bytes(&out).wait().is_err());
}

/// A manager that reproduces this context itself, whatever the caller expects.
struct Reproducing(DefaultMaterialsManager<RawAesKeyring>, EncryptionContext);

impl MaterialsManager for Reproducing {
    fn encryption_materials<'a>(&'a self, _: EncryptionRequest<'a>) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        unreachable!("only reads")
    }

    fn decryption_materials<'a>(
        &'a self,
        mut request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        request.reproduced_context = &self.1;
        self.0.decryption_materials(request)
    }
}

/// A manager that drops a pair from the context that it is given.
struct Dropping<M>(M, &'static str);

impl<M: MaterialsManager> MaterialsManager for Dropping<M> {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(async move {
            let mut context = request.context.clone();
            context.remove(self.1);
            self.0.encryption_materials(request.with_context(&context)).await
        })
    }

    fn decryption_materials<'a>(&'a self, _: DecryptionRequest<'a>) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        unreachable!("only writes")
    }
}

#[test]
fn what_the_old_manager_reproduced_is_kept_and_not_stored() {
    let (old, new) = (keys().0, keys().1);
    let requiring = |key: &WrappingKey| {
        RequiredContextManager::new(["tenant"], DefaultMaterialsManager::new(key.keyring())).unwrap()
    };
    let client = Client::new();
    let context = [("tenant", "blue"), ("stage", "live")];
    let message = client.encrypt_with(&requiring(&old)).context(context).bytes(b"text").wait().unwrap().message;
    // The caller expects nothing: only the manager has the tenant.
    let reader = Reproducing(DefaultMaterialsManager::new(old.keyring()), [("tenant", "blue")].into());
    let run = |manager: &dyn MaterialsManager, keep: bool| {
        let mut out = Vec::new();
        let mut reencrypt = client.decrypt_with(&reader).reencrypt(client.encrypt_with(manager));
        if keep {
            reencrypt = reencrypt.keep_context();
        }
        reencrypt.copy(&message[..], &mut out).map(|_| out)
    };
    let plain = DefaultMaterialsManager::new(new.keyring());
    assert!(matches!(run(&plain, true), Err(Error::Context(ContextError::WouldBeStored))));
    let out = run(&requiring(&new), true).unwrap();
    let opened = client.decrypt(&new.keyring()).context([("tenant", "blue")]).bytes(&out).wait().unwrap();
    assert_eq!(opened.header.context().get("tenant"), None);
    assert_eq!(opened.header.context().get("stage"), Some("live"));
    assert!(client.decrypt(&new.keyring()).bytes(&out).wait().is_err(), "the tenant is not authenticated any more");
    // Without `keep_context` the new message has the context that it is given.
    let out = run(&plain, false).unwrap();
    assert!(client.decrypt(&new.keyring()).bytes(&out).wait().is_ok());
}

#[test]
fn a_new_manager_that_drops_a_kept_pair_is_refused() {
    let (old, new) = (keys().0, keys().1);
    let inner = |key: &WrappingKey| DefaultMaterialsManager::new(key.keyring());
    let requiring = RequiredContextManager::new(["tenant"], inner(&old)).unwrap();
    let client = Client::new();
    let context = [("tenant", "blue"), ("stage", "live")];
    let hidden = client.encrypt_with(&requiring).context(context).bytes(b"text").wait().unwrap().message;
    let stored = client.encrypt(&old.keyring()).context(context).bytes(b"text").wait().unwrap().message;
    let run = |message: &[u8], manager: &dyn MaterialsManager, keep: bool| {
        let from = old.keyring();
        let from = client.decrypt(&from).context([("tenant", "blue")]);
        let mut reencrypt = from.reencrypt(client.encrypt_with(manager));
        if keep {
            reencrypt = reencrypt.keep_context();
        }
        let mut out = Vec::new();
        reencrypt.copy(message, &mut out).map(|_| out)
    };
    let is_refused = |outcome: Result<Vec<u8>>| matches!(outcome, Err(Error::Materials(why)) if why.contains("kept"));
    // A pair that the old message stores, and one that it only authenticates.
    for key in ["tenant", "stage"] {
        assert!(is_refused(run(&stored, &Dropping(inner(&new), key), true)), "{key}");
    }
    assert!(is_refused(run(&hidden, &Dropping(inner(&new), "tenant"), true)));
    let requiring = RequiredContextManager::new(["tenant"], inner(&new)).unwrap();
    assert!(is_refused(run(&hidden, &Dropping(requiring, "stage"), true)));
    assert!(run(&stored, &Dropping(inner(&new), "nothing"), true).is_ok());
    assert!(run(&stored, &Dropping(inner(&new), "tenant"), false).is_ok());
}

#[test]
fn a_file_is_replaced_at_one_stroke_or_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("message");
    let (old, new) = (keys().0.keyring(), keys().1.keyring());
    let client = Client::builder().commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt).build();
    let message = old_message(AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha384EcdsaP384, &pattern(100_000));
    let mut damaged = message.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let run = |overwrite| {
        let to = client.encrypt(&new).frame_length(1 << 16);
        client.decrypt(&old).reencrypt(to).keep_context().file(&file, &file, overwrite)
    };

    fs::write(&file, &damaged).unwrap();
    assert!(matches!(run(Overwrite::Replace), Err(Error::Integrity)));
    assert!(fs::read(&file).unwrap() == damaged);
    fs::write(&file, &message).unwrap();
    assert!(matches!(run(Overwrite::Never), Err(Error::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists));
    assert!(fs::read(&file).unwrap() == message);

    run(Overwrite::Replace).unwrap();
    let opened = Client::new().decrypt(&new).bytes(&fs::read(&file).unwrap()).wait().unwrap();
    assert!(opened.plaintext == pattern(100_000));
    assert_eq!(opened.header.content_type().frame_length(), Some(1 << 16));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

/// A materials manager that sets a pair of its own, as the example of the trait does.
struct Stamping<M>(M, &'static str, &'static str);

impl<M: MaterialsManager> MaterialsManager for Stamping<M> {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(async move {
            let mut context = request.context.clone();
            context.insert(self.1, self.2);
            self.0.encryption_materials(request.with_context(&context)).await
        })
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        self.0.decryption_materials(request)
    }
}

#[test]
fn a_new_manager_that_changes_a_kept_pair_is_refused() {
    let (old, new) = (keys().0, keys().1);
    let inner = |key: &WrappingKey| DefaultMaterialsManager::new(key.keyring());
    let requiring = |key: &WrappingKey| RequiredContextManager::new(["tenant"], inner(key)).unwrap();
    let client = Client::new();
    let context = [("tenant", "blue"), ("stage", "live")];
    let hidden = client.encrypt_with(&requiring(&old)).context(context).bytes(b"text").wait().unwrap().message;
    let stored = client.encrypt(&old.keyring()).context(context).bytes(b"text").wait().unwrap().message;
    let run = |message: &[u8], manager: &dyn MaterialsManager, given: &[(&str, &str)]| {
        let from = old.keyring();
        let to = client.encrypt_with(manager).context(given.iter().copied().collect::<EncryptionContext>());
        let decrypt = client.decrypt(&from).context([("tenant", "blue")]);
        decrypt.reencrypt(to).keep_context().copy(message, io::sink()).map(|_| ())
    };
    let is_refused = |outcome: Result<()>| matches!(outcome, Err(Error::Materials(why)) if why.contains("kept"));
    for key in ["tenant", "stage"] {
        assert!(is_refused(run(&stored, &Stamping(inner(&new), key, "other"), &[])), "{key}");
    }
    assert!(is_refused(run(&hidden, &Stamping(requiring(&new), "tenant", "other"), &[])));
    // A pair that was not in the old message is the manager's to add, and what the caller gives
    // goes before what is kept.
    run(&stored, &Stamping(inner(&new), "service", "billing"), &[]).unwrap();
    run(&stored, &inner(&new), &[("stage", "test")]).unwrap();
    run(&hidden, &requiring(&new), &[("tenant", "green")]).unwrap();
}
