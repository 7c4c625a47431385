//! A keyring over a key management service, in under 40 lines. The service here is a stand-in that lives in the process;
//! a real one is asked over the network at the two places marked so.

use std::{collections::HashMap, sync::Arc, sync::Mutex};

use sealwax::{
    Client, EncryptedDataKey, Error, Result, SecretBytes, UnwrapReason,
    crypto::{CryptoProvider, RustCrypto},
    keyring::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};

/// Wraps data keys by asking the service for its key of this id.
struct KmsKeyring {
    service: Arc<Service>,
    key_id: String,
}

impl Keyring for KmsKeyring {
    fn label(&self) -> Arc<str> {
        format!("example-kms:{}", self.key_id).into()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move {
            let key = request.data_key_or_generate()?;
            let context = request.context.serialize()?;
            let wrapped = self.service.encrypt(&self.key_id, key.as_bytes(), &context).await; // over the network
            let wrapped = wrapped.map_err(|cause| Error::keyring(&*self.label(), cause))?;
            Ok(key.wrapped_as(EncryptedDataKey::new("example-kms", self.key_id.as_str(), wrapped)))
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let context = request.context.serialize()?;
            let mut attempts = request.attempts(self.label());
            let ours = |key: &EncryptedDataKey| {
                key.provider_id() == "example-kms" && key.provider_info() == self.key_id.as_bytes()
            };
            for (index, key) in request.candidates(ours) {
                let outcome = self.service.decrypt(&self.key_id, key.ciphertext(), &context).await; // over the network
                let outcome = outcome.map(SecretBytes::from).map_err(|cause| UnwrapReason::Failed(cause.into()));
                if let Some(unwrapped) = attempts.record(index, outcome) {
                    return Ok(unwrapped);
                }
            }
            Err(attempts.into_error())
        })
    }
}

fn main() -> Result<()> {
    let service = Arc::new(Service::default());
    let keyring = KmsKeyring { service: service.clone(), key_id: "orders".into() };
    let client = Client::new();
    let sealed = client.encrypt(&keyring).context([("order", "4711")]).bytes(b"two boxes of wax").wait()?;
    let opened = client.decrypt(&keyring).context([("order", "4711")]).bytes(&sealed.message).wait()?;
    println!("{} opened {:?}", opened.opened_by.keyring, String::from_utf8_lossy(&opened.plaintext));

    let elsewhere = KmsKeyring { service, key_id: "invoices".into() };
    let refused = client.decrypt(&elsewhere).bytes(&sealed.message).wait();
    println!("another key: {}", refused.err().ok_or(Error::Integrity)?);
    Ok(())
}

/// The stand-in: keeps what it wraps and gives out a ticket for it. No cryptography, no persistence.
#[derive(Default)]
struct Service {
    kept: Mutex<HashMap<Vec<u8>, Kept>>,
}

struct Kept {
    key_id: String,
    plaintext: Vec<u8>,
    context: Vec<u8>,
}

impl Service {
    async fn encrypt(&self, key_id: &str, plaintext: &[u8], context: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let mut ticket = vec![0; 16];
        RustCrypto.random(&mut ticket).map_err(|error| error.to_string())?;
        let mut kept = self.kept.lock().map_err(|_| "the service is down".to_owned())?;
        let value = Kept { key_id: key_id.to_owned(), plaintext: plaintext.to_owned(), context: context.to_owned() };
        kept.insert(ticket.clone(), value);
        Ok(ticket)
    }

    async fn decrypt(&self, key_id: &str, ticket: &[u8], context: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let kept = self.kept.lock().map_err(|_| "the service is down".to_owned())?;
        match kept.get(ticket) {
            Some(kept) if kept.key_id == key_id && kept.context == context => Ok(kept.plaintext.clone()),
            _ => Err("access denied".to_owned()),
        }
    }
}
