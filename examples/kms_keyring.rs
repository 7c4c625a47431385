//! A custom key management service as a keyring, in under 40 lines: implement `KmsApi` for the
//! calls, and `KmsKeyring` does the rest. The service here is a stand-in within the process; a real
//! one is called over the network at the three places marked so.

use std::{collections::HashMap, sync::Arc, sync::Mutex};

use sealwax::{
    Client, EncryptionContext, Error, Result, SecretBytes,
    crypto::{CryptoProvider, RustCrypto},
    keyring::{
        BoxFuture, GenerateDataKey, GeneratedDataKey, KmsApi, KmsCiphertext, KmsDecrypt, KmsEncrypt, KmsError,
        KmsErrorKind, KmsKeyring, KmsOperation, KmsPlaintext,
    },
};

/// The calls to the service.
struct MyKms(Service);

type Answer<'a, T> = BoxFuture<'a, Result<T, KmsError>>;

impl KmsApi for MyKms {
    fn generate_data_key<'a>(&'a self, ask: GenerateDataKey<'a>) -> Answer<'a, GeneratedDataKey> {
        Box::pin(async move {
            let failed = |kind| KmsError::new(KmsOperation::GenerateDataKey, kind).key(ask.key_id);
            let plaintext =
                RustCrypto.random_key(ask.length).map_err(|error| failed(KmsErrorKind::Other).caused_by(error))?;
            let sealed = self.0.encrypt(ask.key_id, plaintext.as_bytes(), ask.context).await.map_err(failed)?; // network
            Ok(GeneratedDataKey { key_id: ask.key_id.to_owned(), plaintext, ciphertext: sealed })
        })
    }

    fn encrypt<'a>(&'a self, ask: KmsEncrypt<'a>) -> Answer<'a, KmsCiphertext> {
        Box::pin(async move {
            let failed = |kind| KmsError::new(KmsOperation::Encrypt, kind).key(ask.key_id);
            let sealed = self.0.encrypt(ask.key_id, ask.plaintext, ask.context).await.map_err(failed)?; // network
            Ok(KmsCiphertext { key_id: ask.key_id.to_owned(), ciphertext: sealed })
        })
    }

    fn decrypt<'a>(&'a self, ask: KmsDecrypt<'a>) -> Answer<'a, KmsPlaintext> {
        Box::pin(async move {
            let failed = |kind| KmsError::new(KmsOperation::Decrypt, kind).key(ask.key_id);
            let plain = self.0.decrypt(ask.key_id, ask.ciphertext, ask.context).await.map_err(failed)?; // network
            Ok(KmsPlaintext { key_id: ask.key_id.to_owned(), plaintext: plain.into() })
        })
    }
}

fn main() -> Result<()> {
    let kms = Arc::new(MyKms(Service::default()));
    let keyring = KmsKeyring::new("example-kms", "orders", kms.clone())?;
    let client = Client::new();
    let sealed = client.encrypt(&keyring).context([("order", "4711")]).bytes(b"two boxes of wax").wait()?;
    let opened = client.decrypt(&keyring).context([("order", "4711")]).bytes(&sealed.message).wait()?;
    println!("{} opened {:?}", opened.opened_by.keyring, String::from_utf8_lossy(&opened.plaintext));

    let elsewhere = KmsKeyring::new("example-kms", "invoices", kms)?;
    let refused = client.decrypt(&elsewhere).bytes(&sealed.message).wait();
    println!("another key: {}", refused.err().ok_or(Error::Integrity)?);
    Ok(())
}

/// The stand-in: keeps what it wraps and returns a ticket for it. No cryptography, no persistence.
#[derive(Default)]
struct Service {
    kept: Mutex<HashMap<Vec<u8>, Kept>>,
}

struct Kept {
    key_id: String,
    plaintext: SecretBytes,
    context: EncryptionContext,
}

impl Service {
    async fn encrypt(
        &self,
        key_id: &str,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, KmsErrorKind> {
        let mut ticket = vec![0; 16];
        RustCrypto.random(&mut ticket).map_err(|_| KmsErrorKind::Unavailable)?;
        let mut kept = self.kept.lock().map_err(|_| KmsErrorKind::Unavailable)?;
        let value = Kept { key_id: key_id.to_owned(), plaintext: plaintext.into(), context: context.clone() };
        kept.insert(ticket.clone(), value);
        Ok(ticket)
    }

    async fn decrypt(&self, key_id: &str, ticket: &[u8], context: &EncryptionContext) -> Result<Vec<u8>, KmsErrorKind> {
        let kept = self.kept.lock().map_err(|_| KmsErrorKind::Unavailable)?;
        match kept.get(ticket) {
            Some(kept) if kept.key_id == key_id && kept.context == *context => Ok(kept.plaintext.as_bytes().to_vec()),
            _ => Err(KmsErrorKind::InvalidCiphertext),
        }
    }
}
