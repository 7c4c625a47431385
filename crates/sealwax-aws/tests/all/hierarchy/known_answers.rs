//! Known answers, which `tests/peers/make_hierarchy_vectors.py` computes from the specification.

use std::sync::{Arc, Mutex};

use sealwax::{
    AlgorithmSuite, EncryptedDataKey, EncryptionContext, Result, SecretBytes,
    crypto::{
        AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, RustCrypto, SignatureAlgorithm, SigningKey,
        VerifyingKey,
    },
    keyring::{
        BoxFuture, GenerateDataKey, GeneratedDataKey, Keyring, KmsApi, KmsCiphertext, KmsDecrypt, KmsEncrypt, KmsError,
        KmsPlaintext, UnwrapRequest, WrapRequest,
    },
    materials::{Cache, CacheEntry, CacheId},
};
use sealwax_aws::{AwsKmsHierarchicalKeyring, BranchKeyCache};
use serde_json::Value;

use super::*;
use crate::support::root;

/// A service that decrypts everything to one key.
struct Always(Vec<u8>);

impl KmsApi for Always {
    fn generate_data_key<'a>(&'a self, _: GenerateDataKey<'a>) -> BoxFuture<'a, Result<GeneratedDataKey, KmsError>> {
        unreachable!("no key is generated")
    }

    fn encrypt<'a>(&'a self, _: KmsEncrypt<'a>) -> BoxFuture<'a, Result<KmsCiphertext, KmsError>> {
        unreachable!("nothing is encrypted")
    }

    fn decrypt<'a>(&'a self, request: KmsDecrypt<'a>) -> BoxFuture<'a, Result<KmsPlaintext, KmsError>> {
        let (key_id, plaintext) = (request.key_id.to_owned(), SecretBytes::from(self.0.as_slice()));
        Box::pin(async move { Ok(KmsPlaintext { key_id, plaintext }) })
    }
}

/// The provider with these random bytes.
#[derive(Debug)]
struct Fixed(Vec<u8>);

impl CryptoProvider for Fixed {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(&self.0);
        Ok(())
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        RustCrypto.aes_gcm(key)
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        RustCrypto.hkdf(hash, salt, key, outputs)
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        RustCrypto.digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        RustCrypto.generate_signing_key(algorithm)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        RustCrypto.verifying_key(algorithm, compressed)
    }
}

fn vectors(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(root().join("tests/vectors/hierarchy.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[name].as_array().unwrap().clone()
}

fn unhex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().expect("text").as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Returns a store with a branch key of this id and version, which the service decrypts to `key`.
fn store_with(id: &str, version: &str, key: Vec<u8>, logical: &str) -> Arc<BranchKeyStore> {
    let table = Table::default();
    let version = format!("branch:version:{version}");
    for kind in [ACTIVE, &version] {
        let mut item = BranchKeyItem::new(id, kind);
        item.insert("enc", ItemValue::Bytes(vec![1; 100]));
        item.insert("kms-arn", text(KEY));
        item.insert("create-time", text("2026-11-25T22:12:39.775015Z"));
        item.insert("hierarchy-version", ItemValue::Number("1".to_owned()));
        if kind == ACTIVE {
            item.insert("version", text(&version));
        }
        table.set(id, kind, item);
    }
    let keys = KmsConfiguration::key(KEY).unwrap();
    Arc::new(BranchKeyStore::new(Arc::new(table), Arc::new(Always(key)), logical, keys).unwrap())
}

fn suite(length: usize) -> AlgorithmSuite {
    match length {
        16 => AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256,
        24 => AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha256,
        _ => UNSIGNED,
    }
}

#[tokio::test]
async fn data_keys_are_wrapped_and_unwrapped_as_the_specification_says() {
    let mut count = 0;
    for vector in vectors("wrapped") {
        let (id, version) = (vector["branch_key_id"].as_str().unwrap(), vector["version"].as_str().unwrap());
        let pairs = vector["context"].as_object().unwrap().iter();
        let context: EncryptionContext = pairs.map(|(key, value)| (key.as_str(), value.as_str().unwrap())).collect();
        let (data_key, wrapped) = (unhex(&vector["data_key"]), unhex(&vector["wrapped"]));
        let suite = suite(data_key.len());
        let keyring =
            AwsKmsHierarchicalKeyring::new(store_with(id, version, unhex(&vector["branch_key"]), LOGICAL), id, MINUTE)
                .unwrap();

        let provider = Fixed(wrapped[..28].to_vec());
        let secret = SecretBytes::from(data_key.as_slice());
        let made = keyring.on_encrypt(WrapRequest::new(&provider, suite, &context).for_key(&secret)).await.unwrap();
        let [key] = &made.encrypted_data_keys[..] else { panic!("one encrypted data key") };
        assert_eq!((key.provider_id(), key.provider_info()), ("aws-kms-hierarchy", id.as_bytes()));
        assert_eq!(key.ciphertext(), wrapped);
        assert!(made.data_key.is_none());

        let keys = [EncryptedDataKey::new("aws-kms-hierarchy", id, wrapped)];
        let opened = keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, suite, &context, &keys)).await.unwrap();
        assert!(opened.data_key.ct_eq(&data_key));
        count += 1;
    }
    assert_eq!(count, 36);
}

/// A cache that records the ids of what it is given, and keeps nothing.
#[derive(Default)]
struct Ids(Mutex<Vec<CacheId>>);

impl Cache for Ids {
    fn get(&self, _: &CacheId, _: Duration) -> Option<Arc<CacheEntry>> {
        None
    }

    fn put(&self, id: CacheId, _: Arc<CacheEntry>) {
        self.0.lock().unwrap().push(id);
    }

    fn remove(&self, _: &CacheId, _: &Arc<CacheEntry>) {}
}

#[tokio::test]
async fn cache_entries_have_the_ids_of_the_specification() {
    const VERSION: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let (mut count, none) = (0, EncryptionContext::new());
    for vector in vectors("cache_ids") {
        let field = |name: &str| vector[name].as_str().unwrap();
        let (id, ids) = (field("branch_key_id"), Arc::new(Ids::default()));
        let store = store_with(id, VERSION, vec![7; 32], field("logical_name"));
        let keyring = AwsKmsHierarchicalKeyring::new(store, id, MINUTE).unwrap();
        let keyring = keyring.cache(Arc::new(BranchKeyCache::new(ids.clone()))).partition(field("partition")).unwrap();
        let made = keyring.on_encrypt(WrapRequest::new(&RustCrypto, UNSIGNED, &none)).await.unwrap();
        if vector["version"].is_string() {
            ids.0.lock().unwrap().clear();
            let keys = made.encrypted_data_keys;
            keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, UNSIGNED, &none, &keys)).await.unwrap();
        }
        let found: Vec<_> = ids.0.lock().unwrap().iter().map(|id| id.as_bytes().to_vec()).collect();
        assert_eq!(found, [unhex(&vector["id"])]);
        count += 1;
    }
    assert_eq!(count, 32);
}
