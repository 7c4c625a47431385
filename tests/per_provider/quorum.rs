//! The results of its keyrings that a multi-keyring counts: those that wrapped the given data key,
//! and no others.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use sealwax::{
    AlgorithmSuite, EncryptedDataKey, EncryptionContext, Error, Result, SecretBytes,
    keyring::{
        BoxFuture, KeyReport, Keyring, MultiKeyring, RawAesKeyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped,
    },
};

use super::support::{new_client, provider};

/// What a keyring does when it is asked to wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Fails.
    Fail,
    /// Succeeds without an encrypted data key; generates a data key if requested.
    WrapNothing,
    /// Wraps a data key of its own, whatever it is given.
    WrapAnother,
}

struct Odd(&'static str, Does);

impl Keyring for Odd {
    fn label(&self) -> Arc<str> {
        self.0.into()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move {
            match self.1 {
                Does::Fail => Err(Error::keyring(self.0, "the service is down")),
                Does::WrapNothing => {
                    let length = request.suite.data_key_length();
                    let data_key = request.data_key.is_none().then(|| SecretBytes::zeroed(length));
                    Ok(Wrapped { data_key, encrypted_data_keys: Vec::new(), report: KeyReport::default() })
                }
                Does::WrapAnother => {
                    let request = WrapRequest::new(request.provider, request.suite, request.context);
                    raw(self.0).on_encrypt(request).await
                }
            }
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move { Err(request.attempts(self.label()).into_error()) })
    }
}

fn raw(name: &str) -> RawAesKeyring {
    RawAesKeyring::new("example", name, vec![7; 32]).unwrap()
}

/// Encrypts, and returns the names in the header and the labels of the keyrings reported as failed.
fn encrypt(keyring: &MultiKeyring) -> Result<(Vec<String>, Vec<String>)> {
    let sealed = new_client().encrypt(keyring).bytes(b"text").wait()?;
    let names = sealed.header.encrypted_data_keys().iter().map(|key| key.key_name().unwrap().to_owned()).collect();
    let failed = sealed.key_report.failed().iter().map(|failure| failure.keyring.to_string()).collect();
    Ok((names, failed))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the cause of an error of the keyring with this label.
#[track_caller]
fn cause_from<T>(label: &str, outcome: Result<T>) -> String {
    match outcome {
        Err(Error::Keyring { keyring, source }) if keyring == label => source.to_string(),
        Err(error) => panic!("another error: {error:?}"),
        Ok(_) => panic!("it encrypted"),
    }
}

#[test]
fn a_child_that_returns_a_data_key_of_its_own_is_refused() {
    let children = || MultiKeyring::new(raw("main")).child(raw("here")).child(Odd("odd", Does::WrapAnother));
    let refused = encrypt(&children());
    assert!(matches!(refused, Err(Error::Materials(why)) if why.contains("of its own")), "{refused:?}");
    // With a quorum it counts as failed, and what it wrapped is in no message.
    let (written, failed) = encrypt(&children().require(1)).unwrap();
    assert_eq!((written, failed), (names(&["main", "here"]), names(&["odd"])));
    // A multi-keyring with a generator is such a child.
    let nested = MultiKeyring::new(raw("main")).child(MultiKeyring::new(raw("inner")));
    assert!(matches!(encrypt(&nested), Err(Error::Materials(_))));
}

#[test]
fn attack_30_a_child_that_wraps_nothing_counts_as_one_that_failed() {
    let nothing = || Odd("empty", Does::WrapNothing);
    let all = MultiKeyring::new(raw("main")).child(raw("here")).child(nothing());
    assert!(cause_from("empty", encrypt(&all)).contains("no encrypted data key"));
    // It does not count towards the quorum: a quorum of one is met by the other child, and a quorum
    // of two is not met.
    let (written, failed) = encrypt(&all.require(1)).unwrap();
    assert_eq!((written, failed), (names(&["main", "here"]), names(&["empty"])));
    let two = MultiKeyring::new(raw("main")).child(nothing()).child(raw("here")).child(Odd("down", Does::Fail));
    cause_from("down", encrypt(&two.require(2)));
    let only = MultiKeyring::new(raw("main")).child(nothing()).child(Odd("down", Does::Fail)).require(1);
    cause_from("down", encrypt(&only));
}

#[test]
fn attack_30_a_generator_that_wraps_nothing_is_refused() {
    for required in [None, Some(0), Some(1)] {
        let keyring = MultiKeyring::new(Odd("empty", Does::WrapNothing)).child(raw("here"));
        let keyring = match required {
            Some(required) => keyring.require(required),
            None => keyring,
        };
        assert!(cause_from("empty", encrypt(&keyring)).contains("no encrypted data key"), "{required:?}");
    }
}

#[test]
fn attack_30_a_nested_keyring_with_a_quorum_of_zero_wraps_or_counts_as_failed() {
    let nested = |does| MultiKeyring::without_generator(Odd("inner", does)).require(0);
    for does in [Does::Fail, Does::WrapNothing, Does::WrapAnother] {
        let refused = encrypt(&MultiKeyring::new(raw("main")).child(nested(does)));
        // The cause is that of the child.
        let why = if does == Does::WrapAnother { "a data key of its own" } else { "keyring inner failed" };
        assert!(cause_from("multi(inner)", refused).contains(why), "{does:?}");
        let (written, failed) = encrypt(&MultiKeyring::new(raw("main")).child(nested(does)).require(0)).unwrap();
        assert_eq!((written, failed), (names(&["main"]), names(&["multi(inner)"])));
        let refused = encrypt(&MultiKeyring::new(raw("main")).child(nested(does)).require(1));
        cause_from("multi(inner)", refused);
    }
    // The same if the data key to wrap comes from something other than a multi-keyring.
    let (data_key, context) = (SecretBytes::zeroed(32), EncryptionContext::new());
    let request = WrapRequest::new(provider(), AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, &context);
    let alone = nested(Does::Fail);
    let mut asked = alone.on_encrypt(request.for_key(&data_key));
    let Poll::Ready(answer) = asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("it waits") };
    assert_eq!(cause_from("multi(inner)", answer), "keyring inner failed");
    // One of its children that wraps is enough.
    let inner = MultiKeyring::without_generator(Odd("down", Does::Fail)).child(raw("there")).require(0);
    let (written, failed) = encrypt(&MultiKeyring::new(raw("main")).child(inner)).unwrap();
    assert_eq!((written, failed), (names(&["main", "there"]), names(&["down"])));
}

#[test]
fn attack_30_a_quorum_means_the_same_before_and_after_the_children() {
    let before = |required| {
        let keyring = MultiKeyring::new(raw("main")).require(required);
        keyring.child(raw("here")).child(Odd("down-1", Does::Fail)).child(Odd("down-2", Does::Fail))
    };
    let between = |required| {
        let keyring = MultiKeyring::new(raw("main")).child(raw("here")).require(required);
        keyring.child(Odd("down-1", Does::Fail)).child(Odd("down-2", Does::Fail))
    };
    let after = |required| {
        let keyring = MultiKeyring::new(raw("main")).child(raw("here"));
        keyring.child(Odd("down-1", Does::Fail)).child(Odd("down-2", Does::Fail)).require(required)
    };
    let orders: [&dyn Fn(usize) -> MultiKeyring; 3] = [&before, &between, &after];
    for keyring in orders {
        for required in [0, 1] {
            let expected = (names(&["main", "here"]), names(&["down-1", "down-2"]));
            assert_eq!(encrypt(&keyring(required)).unwrap(), expected);
        }
        // Two of the three children must wrap, and the second failure is one too many.
        cause_from("down-2", encrypt(&keyring(2)));
        cause_from("down-1", encrypt(&keyring(3)));
        // There are three, wherever the quorum was set.
        assert!(
            matches!(encrypt(&keyring(4)), Err(Error::Configuration(why)) if why.contains('4') && why.contains('3'))
        );
    }
    // The quorum set last applies.
    assert!(encrypt(&after(3).require(1)).is_ok());
}

#[test]
fn attack_30_a_quorum_of_more_than_the_children_fails_before_any_keyring_is_asked() {
    let with_generator = MultiKeyring::new(Odd("down", Does::Fail)).child(raw("here")).require(2);
    assert!(matches!(encrypt(&with_generator), Err(Error::Configuration(_))));
    let nested = MultiKeyring::new(raw("main")).child(MultiKeyring::without_generator(raw("here")).require(2));
    assert!(matches!(encrypt(&nested), Err(Error::Configuration(_))));
    // The quorum does not affect reading.
    let message = new_client().encrypt(&raw("here")).bytes(b"text").wait().unwrap().message;
    assert_eq!(new_client().decrypt(&with_generator).bytes(&message).wait().unwrap().plaintext, b"text");
}

/// A keyring that changes what another one wrapped.
struct Editing(MultiKeyring, fn(&mut Vec<EncryptedDataKey>));

impl Keyring for Editing {
    fn label(&self) -> Arc<str> {
        "editing".into()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move {
            let mut wrapped = self.0.on_encrypt(request).await?;
            (self.1)(&mut wrapped.encrypted_data_keys);
            Ok(wrapped)
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        self.0.on_decrypt(request)
    }
}

#[test]
fn the_report_accounts_for_every_encrypted_data_key_once_whatever_a_keyring_changed() {
    let insert: fn(&mut Vec<_>) = |keys| keys.insert(0, EncryptedDataKey::new("other", "key", [1; 5]));
    let remove: fn(&mut Vec<_>) = |keys| drop(keys.remove(0));
    for (edit, left) in [(insert, 3), (remove, 1)] {
        let inner = || MultiKeyring::new(raw("first")).child(raw("second")).child(Odd("down", Does::Fail)).require(1);
        let nested = MultiKeyring::new(Editing(inner(), edit)).child(raw("last"));
        let mut editing = vec!["editing"; left];
        let check = |keyring: &dyn Keyring, expected: &[&str]| {
            let sealed = new_client().encrypt(keyring).bytes(b"text").wait().unwrap();
            let report = sealed.key_report;
            let by: Vec<_> = report.wrapped().iter().map(|by| (&*by.keyring, by.encrypted_data_key)).collect();
            let expected: Vec<_> = expected.iter().enumerate().map(|(index, label)| (*label, index)).collect();
            assert_eq!(by, expected);
            assert_eq!(by.len(), sealed.header.encrypted_data_keys().len());
            // Failed keyrings are still reported.
            let failed: Vec<_> = report.failed().iter().map(|failure| &*failure.keyring).collect();
            assert_eq!(failed, ["down"]);
        };
        check(&Editing(inner(), edit), &editing);
        editing.push("raw-aes://example/last");
        check(&nested, &editing);
    }
    // An unchanged result is reported by the keyrings that wrapped the key.
    let sealed = new_client().encrypt(&MultiKeyring::new(raw("first")).child(raw("second"))).bytes(b"text").wait();
    let report = sealed.unwrap().key_report;
    let labels: Vec<_> = report.wrapped().iter().map(|by| &*by.keyring).collect();
    assert_eq!(labels, ["raw-aes://example/first", "raw-aes://example/second"]);
}
