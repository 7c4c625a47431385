//! What the tests of keyrings over key services share: calls of a keyring, and what came of them.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use sealwax::{
    AlgorithmSuite, EncryptedDataKey, EncryptionContext, Error, Result, SecretBytes, UnwrapReason,
    crypto::RustCrypto,
    keyring::{Keyring, KmsError, KmsErrorKind, KmsOperation, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};

use crate::{
    fake_kms::{FakeKms, Fault},
    support,
};

pub const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
pub const ANOTHER_KEY: KmsErrorKind = KmsErrorKind::InvalidAnswer("another key answered");

pub fn context() -> EncryptionContext {
    EncryptionContext::from([("tenant", "blue-secret-value")])
}

pub fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Wraps a data key of zeros with these keyrings, one after the other.
pub fn wrap(keyrings: &[&dyn Keyring]) -> Vec<EncryptedDataKey> {
    let (data_key, context) = (SecretBytes::zeroed(32), context());
    let request = WrapRequest::new(&RustCrypto, SUITE, &context);
    let wrap = |keyring: &&dyn Keyring| wait(keyring.on_encrypt(request.for_key(&data_key))).expect("it wraps");
    keyrings.iter().map(wrap).flat_map(|wrapped| wrapped.encrypted_data_keys).collect()
}

pub fn generate(keyring: &dyn Keyring, suite: AlgorithmSuite) -> Result<Wrapped> {
    wait(keyring.on_encrypt(WrapRequest::new(&RustCrypto, suite, &context())))
}

pub fn unwrap(keyring: &dyn Keyring, keys: &[EncryptedDataKey]) -> Result<Unwrapped> {
    wait(keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, SUITE, &context(), keys)))
}

/// Returns the index of the encrypted data key that gave the data key of zeros.
pub fn opened(result: Result<Unwrapped>) -> usize {
    let unwrapped = result.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    assert!(unwrapped.data_key.ct_eq(&[0; 32]), "another data key");
    unwrapped.encrypted_data_key
}

/// Returns all attempts of a failure: the keyring, the encrypted data key, and the reason.
pub fn attempts<T>(result: Result<T>) -> Vec<(String, Option<usize>, String)> {
    let Err(Error::NotUnwrapped(failure)) = result else {
        panic!("{}", result.err().map_or("it opened".to_owned(), |error| error.to_string()))
    };
    let attempt = |attempt: &sealwax::UnwrapAttempt| {
        let why = match &attempt.reason {
            UnwrapReason::Failed(cause) => cause.to_string(),
            other => format!("{other:?}"),
        };
        (attempt.keyring.to_string(), attempt.encrypted_data_key, why)
    };
    failure.attempts().iter().map(attempt).collect()
}

/// Returns why each attempt failed.
pub fn reasons<T>(result: Result<T>) -> Vec<String> {
    attempts(result).into_iter().map(|(_, _, why)| why).collect()
}

/// Returns the error that a keyring met while wrapping.
pub fn refusal<T>(result: Result<T>) -> (KmsOperation, KmsErrorKind) {
    let Err(Error::Keyring { source, .. }) = result else { panic!("{}", support::outcome(&result)) };
    let error = source.downcast_ref::<KmsError>().expect("an error of the service");
    (error.operation(), error.kind())
}

pub fn configuration<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Configuration(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

/// Generates a data key with a keyring, then encrypts one, and returns both results.
pub fn wrap_both_ways(keyring: &dyn Keyring) -> [Result<Vec<EncryptedDataKey>>; 2] {
    let (data_key, context) = (SecretBytes::zeroed(32), EncryptionContext::new());
    let request = WrapRequest::new(&RustCrypto, SUITE, &context);
    [request, request.for_key(&data_key)]
        .map(|request| wait(keyring.on_encrypt(request)).map(|wrapped| wrapped.encrypted_data_keys))
}

/// Asserts that both operations refuse a key that answers in place of the requested one.
#[track_caller]
pub fn refuses_answers_from(lie: &'static str, keyring: &dyn Keyring, kms: &FakeKms) {
    kms.fail([Fault::KeyId(lie), Fault::KeyId(lie)]);
    let found = wrap_both_ways(keyring).map(|outcome| {
        let Err(Error::Keyring { source, .. }) = outcome else { panic!("{lie:?}: {}", support::outcome(&outcome)) };
        let error = source.downcast_ref::<KmsError>().expect("an error of the service");
        (error.operation(), error.kind())
    });
    assert_eq!(found, [(KmsOperation::GenerateDataKey, ANOTHER_KEY), (KmsOperation::Encrypt, ANOTHER_KEY)], "{lie:?}");
}

/// Asserts that the answering key is accepted, and that the message contains its name.
#[track_caller]
pub fn accepts_answers_from(answer: &'static str, keyring: &dyn Keyring, kms: &FakeKms) {
    kms.fail([Fault::KeyId(answer), Fault::KeyId(answer)]);
    for keys in wrap_both_ways(keyring) {
        assert_eq!(keys.unwrap()[0].key_name(), Some(answer));
    }
}

/// Characters that clear a screen, begin a new line in a log, and change the direction of text.
pub const ACTIVE: &str = "k\u{1b}[2J\nINFO all is well\u{202e}\r\u{9b}31m";

/// Returns all texts of an error: its own, those of its sources, and those of the attempts that it
/// lists.
pub fn texts(error: &Error) -> Vec<String> {
    let chain = |error: &dyn std::error::Error| {
        let mut texts = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            texts.push(error.to_string());
            source = error.source();
        }
        texts
    };
    let mut texts = chain(error);
    if let Error::NotUnwrapped(failure) = error {
        for attempt in failure.attempts() {
            texts.push(attempt.reason.to_string());
            if let UnwrapReason::Failed(cause) = &attempt.reason {
                texts.extend(chain(&**cause));
            }
        }
    }
    texts
}

#[track_caller]
pub fn is_harmless(error: &Error) {
    for text in texts(error) {
        let active = text.chars().find(|letter| letter.is_control() || *letter == '\u{202e}');
        assert_eq!(active, None, "{text:?}");
    }
}

/// Unwraps encrypted data keys with a keyring, which must fail.
#[track_caller]
pub fn failure(keyring: &dyn Keyring, keys: &[EncryptedDataKey]) -> Error {
    let context = EncryptionContext::new();
    match wait(keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, SUITE, &context, keys))) {
        Err(error) => error,
        Ok(_) => panic!("it opened"),
    }
}
