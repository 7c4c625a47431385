//! A key management service in memory, one per region: real AES-GCM inside, and whatever a key pair
//! of its own brings, a record of all calls, and faults on demand.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use sealwax::{
    EncryptionContext, SecretBytes,
    crypto::{CryptoProvider, RustCrypto},
    keyring::{
        BoxFuture, DeriveSharedSecret, GenerateDataKey, GeneratedDataKey, GetPublicKey, KmsAlgorithm, KmsApi,
        KmsCiphertext, KmsDecrypt, KmsEncrypt, KmsError, KmsErrorKind, KmsKeyUsage, KmsOperation, KmsPlaintext,
        KmsPublicKey, KmsReEncrypt, KmsReEncrypted, KmsSharedSecret,
    },
};

/// The material of a key. The replicas of a multi-Region key share it.
pub enum Material {
    Symmetric(SecretBytes),
    Rsa {
        /// The public key as SubjectPublicKeyInfo in DER.
        public: Vec<u8>,
        decrypt: Decrypt,
    },
    Ecdh {
        /// The public key as SubjectPublicKeyInfo in DER.
        public: Vec<u8>,
        agree: Agree,
    },
}

/// Decrypts with a private key.
pub type Decrypt = Box<dyn Fn(KmsAlgorithm, &[u8]) -> Result<SecretBytes, KmsErrorKind> + Send + Sync>;

/// Returns the secret shared with the owner of a public key (SubjectPublicKeyInfo in DER), or `None`
/// if that is not on the curve.
pub type Agree = Box<dyn Fn(&[u8]) -> Option<SecretBytes> + Send + Sync>;

impl Material {
    pub fn symmetric() -> Arc<Self> {
        Arc::new(Self::Symmetric(RustCrypto.random_key(32).unwrap()))
    }
}

/// A fault in the next call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// No fault: a placeholder before others.
    None,
    Error(KmsErrorKind),
    /// The answer names another key.
    KeyId(&'static str),
    /// The answer names another source key.
    SourceKeyId(&'static str),
    /// The answer contains another plaintext, data key, or shared secret.
    Plaintext(Vec<u8>),
    Ciphertext(Vec<u8>),
    PublicKey(Vec<u8>),
    Usage(Option<KmsKeyUsage>),
    /// No answer ever comes.
    Hangs,
}

/// A call to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub operation: KmsOperation,
    pub key_id: String,
    pub context: EncryptionContext,
    pub grant_tokens: Vec<String>,
    pub algorithm: KmsAlgorithm,
    /// The length of the data key to generate, if any.
    pub length: usize,
    /// The peer's public key, if a secret is to be shared.
    pub public_key: Vec<u8>,
}

#[derive(Default)]
pub struct FakeKms {
    keys: Mutex<BTreeMap<String, Arc<Material>>>,
    aliases: Mutex<BTreeMap<String, String>>,
    disabled: Mutex<BTreeSet<String>>,
    faults: Mutex<VecDeque<Fault>>,
    calls: Mutex<Vec<Call>>,
    in_flight: AtomicUsize,
}

impl FakeKms {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Creates a service with new symmetric keys of these ARNs.
    pub fn with_keys(arns: &[&str]) -> Arc<Self> {
        let kms = Self::new();
        for arn in arns {
            kms.add(arn, Material::symmetric());
        }
        kms
    }

    pub fn add(&self, arn: &str, material: Arc<Material>) {
        self.keys.lock().unwrap().insert(arn.to_owned(), material);
    }

    pub fn add_alias(&self, alias: &str, arn: &str) {
        self.aliases.lock().unwrap().insert(alias.to_owned(), arn.to_owned());
    }

    pub fn disable(&self, arn: &str) {
        self.disabled.lock().unwrap().insert(arn.to_owned());
    }

    /// Sets the faults of the next calls, in order.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// Takes the record of the calls since the last time.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Takes the operations and key ids of the calls since the last time.
    pub fn asked(&self) -> Vec<(KmsOperation, String)> {
        self.calls().into_iter().map(|call| (call.operation, call.key_id)).collect()
    }

    /// Returns how many calls have neither ended nor been dropped.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Records a call, waits as a service does, and returns the key and the fault to apply.
    async fn begin(&self, call: Call) -> Result<(String, Arc<Material>, Fault), KmsError> {
        let (operation, key_id) = (call.operation, call.key_id.clone());
        self.calls.lock().unwrap().push(call);
        let _guard = InFlight::new(&self.in_flight);
        let mut waited = false;
        poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        let failed = |kind| KmsError::new(operation, kind).key(key_id.clone());
        let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::Hangs => std::future::pending().await,
            Fault::Error(kind) => return Err(failed(kind).caused_by("the fake was told to")),
            _ => {}
        }
        let alias = self.aliases.lock().unwrap().get(&key_id).cloned();
        let arn = alias.unwrap_or_else(|| key_id.clone());
        let found = self.keys.lock().unwrap().iter().find_map(|(name, material)| {
            let is_it = *name == arn || name.rsplit('/').next() == Some(&arn);
            is_it.then(|| (name.clone(), material.clone()))
        });
        let (arn, material) = found.ok_or_else(|| failed(KmsErrorKind::NotFound))?;
        if self.disabled.lock().unwrap().contains(&arn) {
            return Err(failed(KmsErrorKind::Disabled));
        }
        Ok((arn, material, fault))
    }
}

struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns the first bytes of a ciphertext, which identify its key; a digest of the key would do as
/// well.
fn mark(key: &SecretBytes) -> Vec<u8> {
    RustCrypto.aes_gcm(key.as_bytes()).unwrap().seal_in_place(&[0xff; 12], b"mark", &mut []).unwrap().to_vec()
}

fn seal(key: &SecretBytes, context: &EncryptionContext, plaintext: &[u8]) -> Vec<u8> {
    let mut iv = [0; 12];
    RustCrypto.random(&mut iv).unwrap();
    let mut text = plaintext.to_vec();
    let aad = context.serialize().unwrap();
    let tag = RustCrypto.aes_gcm(key.as_bytes()).unwrap().seal_in_place(&iv, &aad, &mut text).unwrap();
    [&mark(key)[..], &iv, &tag, &text].concat()
}

fn open(key: &SecretBytes, context: &EncryptionContext, ciphertext: &[u8]) -> Result<SecretBytes, KmsErrorKind> {
    let (found, rest) = ciphertext.split_at_checked(16).ok_or(KmsErrorKind::InvalidCiphertext)?;
    if found != mark(key) {
        return Err(KmsErrorKind::IncorrectKey);
    }
    let (iv, rest) = rest.split_first_chunk().ok_or(KmsErrorKind::InvalidCiphertext)?;
    let (tag, text) = rest.split_first_chunk().ok_or(KmsErrorKind::InvalidCiphertext)?;
    let mut text = text.to_vec();
    let aad = context.serialize().unwrap();
    let key = RustCrypto.aes_gcm(key.as_bytes()).unwrap();
    key.open_in_place(iv, &aad, &mut text, tag).map_err(|_| KmsErrorKind::InvalidCiphertext)?;
    Ok(text.into())
}

impl KmsApi for FakeKms {
    fn generate_data_key<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        let GenerateDataKey { key_id, length, context, grant_tokens, .. } = request;
        Box::pin(async move {
            let operation = KmsOperation::GenerateDataKey;
            let call = call(operation, key_id, context, grant_tokens, KmsAlgorithm::Symmetric, length);
            let (key_id, material, fault) = self.begin(call).await?;
            let Material::Symmetric(key) = &*material else { return unsuitable(operation) };
            let plaintext = RustCrypto.random_key(length).unwrap();
            let ciphertext = seal(key, context, plaintext.as_bytes());
            Ok(match fault {
                Fault::KeyId(other) => GeneratedDataKey { key_id: other.to_owned(), plaintext, ciphertext },
                Fault::Plaintext(other) => GeneratedDataKey { key_id, plaintext: other.into(), ciphertext },
                Fault::Ciphertext(other) => GeneratedDataKey { key_id, plaintext, ciphertext: other },
                _ => GeneratedDataKey { key_id, plaintext, ciphertext },
            })
        })
    }

    fn encrypt<'a>(&'a self, request: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        let KmsEncrypt { key_id, plaintext, context, grant_tokens, algorithm, .. } = request;
        Box::pin(async move {
            let operation = KmsOperation::Encrypt;
            let (key_id, material, fault) =
                self.begin(call(operation, key_id, context, grant_tokens, algorithm, 0)).await?;
            let Material::Symmetric(key) = &*material else { return unsuitable(operation) };
            let ciphertext = seal(key, context, plaintext);
            Ok(match fault {
                Fault::KeyId(other) => KmsCiphertext { key_id: other.to_owned(), ciphertext },
                Fault::Ciphertext(other) => KmsCiphertext { key_id, ciphertext: other },
                _ => KmsCiphertext { key_id, ciphertext },
            })
        })
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        let KmsDecrypt { key_id, ciphertext, context, grant_tokens, algorithm, .. } = request;
        Box::pin(async move {
            let operation = KmsOperation::Decrypt;
            let (key_id, material, fault) =
                self.begin(call(operation, key_id, context, grant_tokens, algorithm, 0)).await?;
            let opened = match (&*material, algorithm) {
                (Material::Symmetric(key), KmsAlgorithm::Symmetric) => open(key, context, ciphertext),
                (Material::Rsa { decrypt, .. }, _) => decrypt(algorithm, ciphertext),
                _ => return unsuitable(operation),
            };
            let plaintext = opened.map_err(|kind| KmsError::new(operation, kind).key(&key_id))?;
            Ok(match fault {
                Fault::KeyId(other) => KmsPlaintext { key_id: other.to_owned(), plaintext },
                Fault::Plaintext(other) => KmsPlaintext { key_id, plaintext: other.into() },
                _ => KmsPlaintext { key_id, plaintext },
            })
        })
    }

    fn get_public_key<'a>(&'a self, request: GetPublicKey<'a>) -> BoxFuture<'a, Result<KmsPublicKey, KmsError>> {
        let GetPublicKey { key_id, grant_tokens, .. } = request;
        Box::pin(async move {
            let operation = KmsOperation::GetPublicKey;
            let none = EncryptionContext::new();
            let call = call(operation, key_id, &none, grant_tokens, KmsAlgorithm::Symmetric, 0);
            let (key_id, material, fault) = self.begin(call).await?;
            let (public_key, usage) = match &*material {
                Material::Rsa { public, .. } => (public.clone(), KmsKeyUsage::EncryptDecrypt),
                Material::Ecdh { public, .. } => (public.clone(), KmsKeyUsage::KeyAgreement),
                Material::Symmetric(_) => return unsuitable(operation),
            };
            let answer = KmsPublicKey { key_id, public_key, usage: Some(usage) };
            Ok(match fault {
                Fault::KeyId(other) => KmsPublicKey { key_id: other.to_owned(), ..answer },
                Fault::PublicKey(public_key) => KmsPublicKey { public_key, ..answer },
                Fault::Usage(usage) => KmsPublicKey { usage, ..answer },
                _ => answer,
            })
        })
    }

    fn derive_shared_secret<'a>(
        &'a self,
        request: DeriveSharedSecret<'a>,
    ) -> BoxFuture<'a, Result<KmsSharedSecret, KmsError>> {
        let DeriveSharedSecret { key_id, public_key, grant_tokens, .. } = request;
        Box::pin(async move {
            let operation = KmsOperation::DeriveSharedSecret;
            let none = EncryptionContext::new();
            let call = call(operation, key_id, &none, grant_tokens, KmsAlgorithm::Symmetric, 0);
            let (key_id, material, fault) = self.begin(Call { public_key: public_key.to_vec(), ..call }).await?;
            let Material::Ecdh { agree, .. } = &*material else { return unsuitable(operation) };
            let shared_secret = agree(public_key);
            let invalid = || KmsError::new(operation, KmsErrorKind::InvalidRequest).key(&key_id);
            let shared_secret = shared_secret.ok_or_else(invalid)?;
            Ok(match fault {
                Fault::KeyId(other) => KmsSharedSecret { key_id: other.to_owned(), shared_secret },
                Fault::Plaintext(other) => KmsSharedSecret { key_id, shared_secret: other.into() },
                _ => KmsSharedSecret { key_id, shared_secret },
            })
        })
    }

    fn generate_data_key_without_plaintext<'a>(
        &'a self,
        request: GenerateDataKey<'a>,
    ) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        let GenerateDataKey { key_id, length, context, grant_tokens, .. } = request;
        Box::pin(async move {
            let operation = KmsOperation::GenerateDataKeyWithoutPlaintext;
            let call = call(operation, key_id, context, grant_tokens, KmsAlgorithm::Symmetric, length);
            let (key_id, material, fault) = self.begin(call).await?;
            let Material::Symmetric(key) = &*material else { return unsuitable(operation) };
            let ciphertext = seal(key, context, RustCrypto.random_key(length).unwrap().as_bytes());
            Ok(match fault {
                Fault::KeyId(other) => KmsCiphertext { key_id: other.to_owned(), ciphertext },
                Fault::Ciphertext(other) => KmsCiphertext { key_id, ciphertext: other },
                _ => KmsCiphertext { key_id, ciphertext },
            })
        })
    }

    fn re_encrypt<'a>(&'a self, request: KmsReEncrypt<'a>) -> BoxFuture<'a, Result<KmsReEncrypted, KmsError>> {
        Box::pin(async move {
            let operation = KmsOperation::ReEncrypt;
            assert_eq!(request.source_key_id, request.destination_key_id, "the fake moves within one key");
            let (context, grant_tokens) = (request.source_context, request.grant_tokens);
            let call = call(operation, request.source_key_id, context, grant_tokens, KmsAlgorithm::Symmetric, 0);
            let (key_id, material, fault) = self.begin(call).await?;
            let Material::Symmetric(key) = &*material else { return unsuitable(operation) };
            let opened = open(key, context, request.ciphertext);
            let opened = opened.map_err(|kind| KmsError::new(operation, kind).key(&key_id))?;
            let ciphertext = seal(key, request.destination_context, opened.as_bytes());
            let (source_key_id, moved) = (key_id.clone(), ciphertext);
            Ok(match fault {
                Fault::KeyId(other) => KmsReEncrypted { source_key_id, key_id: other.to_owned(), ciphertext: moved },
                Fault::SourceKeyId(other) => {
                    KmsReEncrypted { source_key_id: other.to_owned(), key_id, ciphertext: moved }
                }
                Fault::Ciphertext(other) => KmsReEncrypted { source_key_id, key_id, ciphertext: other },
                _ => KmsReEncrypted { source_key_id, key_id, ciphertext: moved },
            })
        })
    }
}

fn call(
    operation: KmsOperation,
    key_id: &str,
    context: &EncryptionContext,
    grant_tokens: &[String],
    algorithm: KmsAlgorithm,
    length: usize,
) -> Call {
    let (key_id, grant_tokens) = (key_id.to_owned(), grant_tokens.to_vec());
    Call { operation, key_id, context: context.clone(), grant_tokens, algorithm, length, public_key: Vec::new() }
}

fn unsuitable<T>(operation: KmsOperation) -> Result<T, KmsError> {
    Err(KmsError::new(operation, KmsErrorKind::InvalidRequest))
}
