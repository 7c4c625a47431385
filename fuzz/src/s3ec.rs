//! Objects of the Amazon S3 Encryption Client: whatever their metadata, every way to read one agrees.

use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutOptions, memory::InMemory, path::Path};
use sealwax::CommitmentPolicy;
use sealwax_object_store::{S3EncryptionStore, S3Key, Sizes};

/// The key that wraps the data keys of the seeds.
const KEY: [u8; 32] = [
    0x70, 0x7a, 0x50, 0xf6, 0x75, 0x7f, 0x6a, 0xcd, 0x7e, 0xb4, 0x5e, 0x25, 0xf9, 0x1d, 0x16, 0xf8, 0xd4, 0x15, 0xdd, 0x12, 0x11, 0x5c, 0x37, 0x9b, 0xe3, 0x44, 0x4d, 0xaf, 0xaa, 0x0f, 0xe7, 0xee,
];

/// A bit of the first byte: the object has an instruction file.
pub const FILE: u8 = 1;

/// Reads an object, and returns its plaintext if it is authentic. The input is a byte of options;
/// lines of metadata, as `name value`; an empty line; the instruction file and another empty line, if
/// there is one; and the object.
///
/// # Panics
/// If an invariant does not hold.
pub fn run(input: &[u8]) -> Option<Option<Vec<u8>>> {
    let (options, rest) = input.split_first()?;
    let (head, rest) = split(rest)?;
    let (file, object) = if options & FILE == 0 { (None, rest) } else { split(rest).map(|(a, b)| (Some(a), b))? };
    let lines = std::str::from_utf8(head).ok()?.lines();
    let pairs = lines.filter_map(|line| line.split_once(' '));
    let metadata: Attributes =
        pairs.map(|(name, value)| (Attribute::Metadata(name.to_owned().into()), value.to_owned())).collect();
    Some(pollster::block_on(read(metadata, file, object)))
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    Some((&bytes[..at], &bytes[at + 2..]))
}

async fn read(attributes: Attributes, file: Option<&[u8]>, object: &[u8]) -> Option<Vec<u8>> {
    let (s3, path) = (InMemory::new(), Path::from("a"));
    let options = PutOptions { attributes, ..PutOptions::default() };
    s3.put_opts(&path, object.to_vec().into(), options).await.expect("memory");
    if let Some(file) = file {
        s3.put(&Path::from("a.instruction"), file.to_vec().into()).await.expect("memory");
    }
    let builder = || {
        let key = S3Key::aes(KEY.to_vec()).expect("a key");
        let builder = S3EncryptionStore::builder(s3.clone(), key).sizes(Sizes::Exact).legacy_wrapping().legacy_content();
        builder.commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
    };
    let (safe, unverified) = (builder().build().expect("a store"), builder().release_unverified().build().expect("a store"));
    let text = whole(&safe, &path).await;
    assert_eq!(text, whole(&unverified, &path).await);
    let strict = S3EncryptionStore::builder(s3, S3Key::aes(KEY.to_vec()).expect("a key")).build().expect("a store");
    let strictly = whole(&strict, &path).await;
    assert!(strictly.is_none() || strictly == text);
    let found = text.as_ref()?;
    let length = found.len() as u64;
    assert_eq!(safe.head(&path).await.expect("its length").size, length);
    let range = length / 3..length;
    if !range.is_empty() {
        let expected = &found[range.start as usize..];
        assert_eq!(unverified.get_range(&path, range.clone()).await.expect("a range"), expected);
        if let Ok(part) = safe.get_range(&path, range).await {
            assert_eq!(part, expected);
        }
    }
    text
}

async fn whole(store: &S3EncryptionStore<InMemory>, path: &Path) -> Option<Vec<u8>> {
    let found = store.get(path).await.ok()?;
    let size = found.meta.size;
    let text = found.bytes().await.ok()?;
    assert_eq!(text.len() as u64, size);
    Some(text.into())
}
