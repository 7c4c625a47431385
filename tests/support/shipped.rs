//! The test vectors of the project: messages that the official SDKs made.

use std::{collections::BTreeMap, fs};

use sealwax::{AlgorithmSuite, EncryptionContext};
use serde::Deserialize;

use super::{WrappingKey, from_base64, root, suite_of};

/// A message, with everything that is needed to open it.
pub struct Vector {
    pub name: String,
    pub keys: Vec<WrappingKey>,
    pub suite: AlgorithmSuite,
    /// The frame length; `None` means unframed.
    pub frame_length: Option<u32>,
    pub context: EncryptionContext,
    pub plaintext: Vec<u8>,
    pub message: Vec<u8>,
}

#[derive(Deserialize)]
struct File {
    vectors: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    name: String,
    keys: Vec<Key>,
    suite: String,
    frame_length: u32,
    context: BTreeMap<String, String>,
    plaintext: String,
    message: String,
}

#[derive(Deserialize)]
struct Key {
    namespace: String,
    name: String,
    key: String,
}

/// Loads the vectors in `tests/vectors/<name>.json`.
pub fn load(name: &str) -> Vec<Vector> {
    let path = root().join("tests/vectors").join(name).with_extension("json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    file.vectors.into_iter().map(Vector::from).collect()
}

impl From<Record> for Vector {
    fn from(record: Record) -> Self {
        let keys = record.keys.into_iter();
        Self {
            name: record.name,
            keys: keys
                .map(|key| WrappingKey { namespace: key.namespace, name: key.name, bytes: from_base64(&key.key) })
                .collect(),
            suite: suite_of(&record.suite),
            frame_length: Some(record.frame_length).filter(|length| *length != 0),
            context: record.context.into_iter().collect(),
            plaintext: from_base64(&record.plaintext),
            message: from_base64(&record.message),
        }
    }
}
