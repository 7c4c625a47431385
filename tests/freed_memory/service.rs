//! Round trips through keyrings, and a key service that leaves nothing behind itself. The test
//! programs of other crates include this file.
#![allow(dead_code, reason = "not every program tests a key service")]

use sealwax::{
    Client, SecretBytes,
    crypto::{CryptoProvider, RustCrypto},
    keyring::{
        BoxFuture, GenerateDataKey, GeneratedDataKey, Keyring, KmsApi, KmsCiphertext, KmsDecrypt, KmsEncrypt, KmsError,
        KmsPlaintext,
    },
};
use zeroize::Zeroize;

use super::{
    cases::{Cases, Telling, UNSIGNED, leaked, plaintext},
    scanner::{Kind, Secret, learn},
};

pub(crate) const MESSAGE: [Kind; 3] = [Kind::Plaintext, Kind::DataKey, Kind::MessageKey];

pub(crate) fn client() -> Client {
    Client::builder_with_provider(Telling(RustCrypto)).build()
}

pub(crate) fn seal(keyring: &dyn Keyring) -> &'static [u8] {
    leaked(client().encrypt(keyring).suite(UNSIGNED).bytes(plaintext(100)).wait().unwrap().message)
}

pub(crate) fn open(keyring: &dyn Keyring, message: &[u8]) {
    client().decrypt(keyring).bytes(message).wait().unwrap().plaintext.zeroize();
}

/// Writes a message with one keyring and reads it with another, each created and dropped within a
/// case.
pub(crate) fn round_trip<W: Keyring, R: Keyring>(
    cases: &mut Cases,
    name: &str,
    secrets: &[Secret],
    writer: impl FnOnce() -> W,
    reader: impl FnOnce() -> R,
) {
    let mut message: &[u8] = &[];
    let secrets = cases.run(&format!("{name}: encrypt"), secrets, &MESSAGE, || message = seal(&writer()));
    cases.run(&format!("{name}: decrypt"), &secrets, &MESSAGE, || open(&reader(), message));
}

/// A service that "encrypts" by exclusive-or, and leaves nothing behind itself.
pub(crate) struct Kms;

pub(crate) fn masked(bytes: &[u8]) -> SecretBytes {
    let mut out = SecretBytes::from(bytes);
    out.as_mut().iter_mut().for_each(|byte| *byte ^= 0x55);
    out
}

impl KmsApi for Kms {
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        Box::pin(async move {
            let plaintext = RustCrypto.random_key(request.length).unwrap();
            learn(Kind::DataKey, plaintext.as_bytes());
            let ciphertext = masked(plaintext.as_bytes()).as_bytes().to_vec();
            Ok(GeneratedDataKey { key_id: request.key_id.to_owned(), plaintext, ciphertext })
        })
    }

    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        let ciphertext = masked(request.plaintext).as_bytes().to_vec();
        Box::pin(async move { Ok(KmsCiphertext { key_id: request.key_id.to_owned(), ciphertext }) })
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        Box::pin(async move {
            let plaintext = masked(request.ciphertext);
            Ok(KmsPlaintext { key_id: request.key_id.to_owned(), plaintext })
        })
    }
}

/// A service whose data keys are 16 bytes too long.
pub(crate) struct LongAnswers;

impl KmsApi for LongAnswers {
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        Kms.generate_data_key(GenerateDataKey::new(request.key_id, request.length + 16, request.context))
    }

    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        Kms.encrypt(request)
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        Box::pin(async move {
            let plaintext = SecretBytes::from([masked(request.ciphertext).as_bytes(), &[7; 16]].concat());
            Ok(KmsPlaintext { key_id: request.key_id.to_owned(), plaintext })
        })
    }
}
