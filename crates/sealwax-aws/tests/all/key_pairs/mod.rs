//! The AWS KMS keyrings over key pairs, RSA and ECDH, on a fake that computes with real keys.

#[cfg(feature = "ecdh")]
mod ecdh;
#[cfg(feature = "rsa")]
mod rsa;

use std::sync::Arc;

use sealwax::{
    AlgorithmSuite, EncryptedDataKey, EncryptionContext, Error, Result, SecretBytes, UnwrapReason,
    crypto::RustCrypto,
    keyring::{
        BoxFuture, DeriveSharedSecret, GenerateDataKey, GeneratedDataKey, GetPublicKey, Keyring, KmsApi, KmsCiphertext,
        KmsDecrypt, KmsEncrypt, KmsError, KmsErrorKind, KmsKeyUsage, KmsOperation, KmsPlaintext, UnwrapRequest,
        Unwrapped, WrapRequest,
    },
};

use crate::{
    fake_kms::{FakeKms, Fault},
    support,
};

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER: &str = "arn:aws:kms:eu-west-1:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab";
const ALIAS: &str = "arn:aws:kms:eu-west-1:111122223333:alias/orders";
const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;

fn context() -> EncryptionContext {
    EncryptionContext::from([("tenant", "blue")])
}

fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A data key of zeros, wrapped.
fn wrap(keyring: &dyn Keyring, context: &EncryptionContext) -> EncryptedDataKey {
    let data_key = SecretBytes::zeroed(32);
    let request = WrapRequest::new(&RustCrypto, SUITE, context);
    let wrapped = wait(keyring.on_encrypt(request.for_key(&data_key))).expect("it wraps");
    wrapped.encrypted_data_keys.into_iter().next().expect("an encrypted data key")
}

fn unwrap(keyring: &dyn Keyring, keys: &[EncryptedDataKey]) -> Result<Unwrapped> {
    wait(keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, SUITE, &context(), keys)))
}

/// Returns the index of the encrypted data key that gave the data key of zeros.
fn opened(result: Result<Unwrapped>) -> usize {
    let unwrapped = result.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    assert!(unwrapped.data_key.ct_eq(&[0; 32]), "another data key");
    unwrapped.encrypted_data_key
}

/// Returns why each attempt failed.
fn reasons<T>(result: Result<T>) -> Vec<String> {
    let Err(Error::NotUnwrapped(failure)) = result else {
        panic!("{}", result.err().map_or("it opened".to_owned(), |error| error.to_string()))
    };
    let why = |attempt: &sealwax::UnwrapAttempt| match &attempt.reason {
        UnwrapReason::Failed(cause) => cause.to_string(),
        other => format!("{other:?}"),
    };
    failure.attempts().iter().map(why).collect()
}

/// Returns the cause of a keyring's error, as text.
fn cause<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Keyring { source, .. }) => source.to_string(),
        other => panic!("{}", support::outcome(&other)),
    }
}

fn kind<T>(result: Result<T>) -> (KmsOperation, KmsErrorKind) {
    let Err(Error::Keyring { source, .. }) = result else { panic!("{}", support::outcome(&result)) };
    let error = source.downcast_ref::<KmsError>().expect("an error of the service");
    (error.operation(), error.kind())
}

fn configuration<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Configuration(why)) => why,
        other => panic!("{}", support::outcome(&other)),
    }
}

/// A service with only the operations that every service must have, and no key pairs.
struct SymmetricOnly(Arc<FakeKms>);

impl KmsApi for SymmetricOnly {
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        self.0.generate_data_key(request)
    }

    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        self.0.encrypt(request)
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        self.0.decrypt(request)
    }
}

#[test]
fn a_service_without_key_pairs_says_so() {
    let kms = SymmetricOnly(FakeKms::with_keys(&[KEY]));
    let services: [&dyn KmsApi; 3] = [&kms, &&kms, &Box::new(&kms)];
    for service in services {
        let public = wait(async { Ok(service.get_public_key(GetPublicKey::new(KEY)).await.err()) }).unwrap().unwrap();
        let shared = service.derive_shared_secret(DeriveSharedSecret::new(KEY, &[]));
        let shared = wait(async { Ok(shared.await.err()) }).unwrap().unwrap();
        assert_eq!((public.operation(), public.kind()), (KmsOperation::GetPublicKey, KmsErrorKind::Unsupported));
        assert_eq!((shared.operation(), shared.kind()), (KmsOperation::DeriveSharedSecret, KmsErrorKind::Unsupported));
        assert_eq!((public.key_id(), shared.key_id()), (Some(KEY), Some(KEY)));
    }
}
