//! Objects of the Amazon S3 Encryption Client.

mod attacks;
mod formats;
mod peers;
mod reads;

use std::collections::BTreeMap;

use sealwax::{
    CommitmentPolicy, EncryptionContext, SecretBytes,
    crypto::{CryptoProvider, Expand, HashAlgorithm, RustCrypto},
    keyring::{GenerateDataKey, KmsApi},
};
use sealwax_object_store::{S3EncryptionError, S3Key};

use super::{provider::Trick, *};
use crate::{
    fake_kms::FakeKms,
    support::{from_base64, pattern, root, to_base64},
};
use object_store::{Attribute, GetOptions, GetRange, PutOptions};

const ARN: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ALL: [&str; 3] = ["commitment_policy", "legacy_wrapping", "legacy_content"];

type Metadata = BTreeMap<String, String>;

/// An object as it is stored.
#[derive(Clone)]
struct Stored {
    metadata: Metadata,
    file: Option<Metadata>,
    object: Vec<u8>,
}

impl Stored {
    /// Stores the object at a path, with its instruction file.
    async fn at(&self, provider: &Provider, path: &Path) {
        let attributes = self.metadata.iter().map(|(name, value)| {
            (Attribute::Metadata(name.clone().into()), object_store::AttributeValue::from(value.clone()))
        });
        let options = PutOptions { attributes: attributes.collect(), ..PutOptions::default() };
        provider.inner.put_opts(path, self.object.clone().into(), options).await.unwrap();
        let file = Path::from(format!("{path}.instruction"));
        match &self.file {
            Some(file_metadata) => provider.store(&file, serde_json::to_vec(file_metadata).unwrap()).await,
            None => drop(provider.inner.delete(&file).await),
        }
    }

    fn with(&self, pairs: &[(&str, &str)]) -> Self {
        let mut stored = self.clone();
        stored.metadata.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        stored
    }

    fn without(&self, names: &[&str]) -> Self {
        let mut stored = self.clone();
        stored.metadata.retain(|name, _| !names.contains(&name.as_str()));
        stored
    }

    /// Moves metadata into an instruction file.
    fn in_file(&self, names: &[&str]) -> Self {
        let mut stored = self.clone();
        let file = stored.metadata.iter().filter(|(name, _)| names.contains(&name.as_str()));
        stored.file = Some(file.map(|(name, value)| (name.clone(), value.clone())).collect());
        stored.without(names)
    }
}

const WRAPPING_KEY: [u8; 32] = [7; 32];

fn aes() -> S3Key {
    S3Key::aes(WRAPPING_KEY.to_vec()).unwrap()
}

fn metadata<const N: usize>(pairs: [(&str, String); N]) -> Metadata {
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

fn sealed_with(key: &[u8], iv: [u8; 12], aad: &[u8], text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    let tag = RustCrypto.aes_gcm(key).unwrap().seal_in_place(&iv, aad, &mut text).unwrap();
    text.extend_from_slice(&tag);
    text
}

/// Encrypts content as format 3 does. Returns the metadata of it.
fn committed(data_key: &[u8], text: &[u8]) -> (Metadata, Vec<u8>) {
    let message_id = [3; 28];
    let (mut key, mut commitment) = ([0; 32], [0; 28]);
    let mut outputs = [
        Expand { info: [b"\x00\x73", b"DERIVEKEY"], out: &mut key },
        Expand { info: [b"\x00\x73", b"COMMITKEY"], out: &mut commitment },
    ];
    RustCrypto.hkdf(HashAlgorithm::Sha512, &message_id, data_key, &mut outputs).unwrap();
    let pairs =
        [("x-amz-c", "115".to_owned()), ("x-amz-d", to_base64(&commitment)), ("x-amz-i", to_base64(&message_id))];
    (metadata(pairs), sealed_with(&key, [1; 12], b"\x00\x73", text))
}

/// Writes an object of format 3 under [`aes`].
fn format_3(text: &[u8]) -> Stored {
    let data_key = [5; 32];
    let (mut pairs, object) = committed(&data_key, text);
    let wrapped = [&[9; 12][..], &sealed_with(&WRAPPING_KEY, [9; 12], b"115", &data_key)].concat();
    pairs.extend(metadata([("x-amz-3", to_base64(&wrapped)), ("x-amz-w", "02".to_owned())]));
    Stored { metadata: pairs, file: None, object }
}

/// Writes an object of format 2 under [`aes`].
fn format_2(text: &[u8]) -> Stored {
    let data_key = [5; 32];
    let wrapped = [&[9; 12][..], &sealed_with(&WRAPPING_KEY, [9; 12], b"AES/GCM/NoPadding", &data_key)].concat();
    let pairs = [
        ("x-amz-key-v2", to_base64(&wrapped)),
        ("x-amz-iv", to_base64(&[6; 12])),
        ("x-amz-matdesc", "{}".to_owned()),
        ("x-amz-wrap-alg", "AES/GCM".to_owned()),
        ("x-amz-cek-alg", "AES/GCM/NoPadding".to_owned()),
        ("x-amz-tag-len", "128".to_owned()),
    ];
    Stored { metadata: metadata(pairs), file: None, object: sealed_with(&data_key, [6; 12], b"", text) }
}

/// A wrapping by a key management service.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ByKms {
    Format3,
    Format2,
    /// Format 2 with the legacy wrapping.
    Legacy,
}

/// Writes an object under a key of a service, with this context.
async fn by_kms(kms: &FakeKms, way: ByKms, context: &[(&str, &str)], text: &[u8]) -> Stored {
    let mut context: EncryptionContext = context.iter().copied().collect();
    match way {
        ByKms::Format3 => context.insert("aws:x-amz-cek-alg", "115"),
        ByKms::Format2 => context.insert("aws:x-amz-cek-alg", "AES/GCM/NoPadding"),
        ByKms::Legacy => context.insert("kms_cmk_id", ARN),
    };
    let generated = kms.generate_data_key(GenerateDataKey::new(ARN, 32, &context)).await.unwrap();
    let json = serde_json::to_string(&context.iter().collect::<BTreeMap<_, _>>()).unwrap();
    let (data_key, wrapped) = (generated.plaintext.as_bytes(), to_base64(&generated.ciphertext));
    if way == ByKms::Format3 {
        let (mut pairs, object) = committed(data_key, text);
        pairs.extend(metadata([("x-amz-3", wrapped), ("x-amz-w", "12".to_owned()), ("x-amz-t", json)]));
        return Stored { metadata: pairs, file: None, object };
    }
    let mut stored = format_2(text);
    stored.object = sealed_with(data_key, [6; 12], b"", text);
    let wrapping = if way == ByKms::Legacy { "kms" } else { "kms+context" };
    stored.with(&[("x-amz-key-v2", &wrapped), ("x-amz-matdesc", &json), ("x-amz-wrap-alg", wrapping)])
}

type Store = S3EncryptionStore<Arc<Provider>>;

/// Returns a store with these switches on.
fn reader(provider: &Arc<Provider>, key: S3Key, switches: &[&str]) -> Store {
    let mut builder = S3EncryptionStore::builder(provider.clone(), key);
    for switch in switches {
        builder = match *switch {
            "commitment_policy" => builder.commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt),
            "legacy_wrapping" => builder.legacy_wrapping(),
            "legacy_content" => builder.legacy_content(),
            "release_unverified" => builder.release_unverified(),
            "exact" => builder.sizes(Sizes::Exact),
            other => panic!("{other}"),
        };
    }
    builder.build().unwrap()
}

/// Returns the error behind an error of the store.
fn s3ec_error(error: &Error) -> &S3EncryptionError {
    let Error::Generic { store: "sealwax", source } = error else { panic!("{error:?}") };
    source.downcast_ref().unwrap_or_else(|| panic!("{source:?}"))
}

fn is_not_authentic(error: &Error) -> bool {
    matches!(s3ec_error(error), S3EncryptionError::NotAuthentic)
}

fn refused_by(error: &Error) -> &'static str {
    match s3ec_error(error) {
        S3EncryptionError::Refused { switch, .. } => switch,
        other => panic!("{other:?}"),
    }
}

/// Reads an object in every way, and compares it.
async fn reads_all(store: &Store, path: &Path, text: &[u8], ranges: bool, what: &str) {
    let length = text.len() as u64;
    for _ in 0..2 {
        let found = store.get(path).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!((found.meta.size, found.range.clone()), (length, 0..length), "{what}");
        assert!(read(store, path).await.unwrap() == text, "{what}");
        assert_eq!(store.head(path).await.unwrap().size, length, "{what}");
        if !ranges {
            continue;
        }
        if length > 0 {
            let middle = length / 2;
            for range in [0..1, middle..length, 0..length, length - 1..length, middle..middle + 1, 0..length + 100] {
                let end = range.end.min(length);
                let expected = slice(text, range.start..end);
                assert!(store.get_range(path, range.clone()).await.unwrap() == expected, "{what}, {range:?}");
                let found = store.get_ranges(path, &[range.start..end, 0..1]).await.unwrap();
                assert!(found[0] == expected && found[1] == text[..1], "{what}");
            }
        }
        assert!(store.get_range(path, length..length + 1).await.is_err(), "{what}");
        let suffix = GetOptions { range: Some(GetRange::Suffix(3)), ..GetOptions::default() };
        let found = store.get_opts(path, suffix).await.unwrap();
        let start = text.len().saturating_sub(3);
        assert_eq!((found.meta.size, found.range.start), (length, start as u64), "{what}");
        assert!(found.bytes().await.unwrap() == text[start..], "{what}");
    }
}
