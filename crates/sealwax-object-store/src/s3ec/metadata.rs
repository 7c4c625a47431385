//! The metadata of objects: formats 1, 2 and 3, in the object or in an instruction file.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use sealwax::EncryptionContext;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::{S3EncryptionError, gcm::Gcm, rfc2047};

/// Names and values of metadata, without the prefix that HTTP adds to the names.
pub(crate) type Pairs = BTreeMap<String, String>;

/// The maximum length of an instruction file.
pub(crate) const MAX_INSTRUCTION_FILE: u64 = 64 << 10;

const KEY_V1: &str = "x-amz-key";
const KEY_V2: &str = "x-amz-key-v2";
const KEY_V3: &str = "x-amz-3";
const IV: &str = "x-amz-iv";
const DESCRIPTION: &str = "x-amz-matdesc";
const WRAPPING: &str = "x-amz-wrap-alg";
const CONTENT: &str = "x-amz-cek-alg";
const TAG_LENGTH: &str = "x-amz-tag-len";
const CONTENT_V3: &str = "x-amz-c";
const COMMITMENT: &str = "x-amz-d";
const MESSAGE_ID: &str = "x-amz-i";
const WRAPPING_V3: &str = "x-amz-w";
const CONTEXT_V3: &str = "x-amz-t";
const DESCRIPTION_V3: &str = "x-amz-m";

/// The names of formats 1 and 2 beside their keys.
const OLD: [&str; 5] = [IV, DESCRIPTION, WRAPPING, CONTENT, TAG_LENGTH];
/// The names of format 3 that are in the metadata of the object, even with an instruction file.
const IN_OBJECT: [&str; 3] = [CONTENT_V3, COMMITMENT, MESSAGE_ID];
/// The other names of format 3 beside its key.
const IN_EITHER: [&str; 3] = [WRAPPING_V3, CONTEXT_V3, DESCRIPTION_V3];

/// The algorithm of content with key commitment, as format 3 and its wrapping name it.
const COMMITTING: &str = "115";
const GCM_NAME: &str = "AES/GCM/NoPadding";

/// How the content is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Cbc { iv: [u8; 16] },
    Gcm { iv: [u8; 12] },
    Committing { message_id: [u8; 28], commitment: [u8; 28] },
}

/// How the data key is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrapping {
    /// Format 1: by the kind of the configured key.
    Unnamed,
    AesWrap,
    AesGcm,
    Kms,
    KmsContext,
    RsaOaepSha256,
    RsaOaepSha1,
}

impl Wrapping {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "AESWrap" => Self::AesWrap,
            "AES/GCM" => Self::AesGcm,
            "kms" => Self::Kms,
            "kms+context" => Self::KmsContext,
            "RSA/ECB/OAEPWithSHA-256AndMGF1Padding" => Self::RsaOaepSha256,
            "RSA-OAEP-SHA1" => Self::RsaOaepSha1,
            _ => return None,
        })
    }

    /// Returns the wrapping with this number in format 3.
    fn numbered(number: &str) -> Option<Self> {
        Some(match number {
            "02" => Self::AesGcm,
            "12" => Self::KmsContext,
            "22" => Self::RsaOaepSha1,
            _ => return None,
        })
    }

    /// Returns the name for errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unnamed => "the algorithm of format 1",
            Self::AesWrap => "AESWrap",
            Self::AesGcm => "AES/GCM",
            Self::Kms => "kms",
            Self::KmsContext => "kms+context",
            Self::RsaOaepSha256 => "RSA-OAEP with SHA-256 and MGF1 with SHA-1",
            Self::RsaOaepSha1 => "RSA-OAEP-SHA1",
        }
    }

    /// Returns whether only older versions of the client wrapped keys so.
    pub(crate) fn is_legacy(self) -> bool {
        !matches!(self, Self::AesGcm | Self::KmsContext | Self::RsaOaepSha1)
    }
}

/// What the metadata of an object says about its encryption. None of it is authentic yet.
#[derive(Debug, PartialEq)]
pub(crate) struct Envelope {
    pub(crate) suite: Suite,
    /// The name of the content algorithm that the wrapping binds.
    pub(crate) algorithm: &'static str,
    pub(crate) wrapping: Wrapping,
    pub(crate) data_key: Vec<u8>,
    /// The encryption context, or the description of the key.
    pub(crate) context: EncryptionContext,
}

/// Returns whether the data key of an object is not in its own metadata.
pub(crate) fn needs_instruction_file(object: &Pairs) -> bool {
    ![KEY_V1, KEY_V2, KEY_V3].iter().any(|name| object.contains_key(*name))
}

/// Parses an instruction file.
pub(crate) fn instruction_file(json: &[u8]) -> Result<Pairs, S3EncryptionError> {
    let pairs = serde_json::from_slice(json).map(|Unique(pairs)| pairs);
    pairs
        .map_err(|_| S3EncryptionError::Metadata("the instruction file is not a JSON object of unique names and texts"))
}

fn contradiction<T>(why: &'static str) -> Result<T, S3EncryptionError> {
    Err(S3EncryptionError::Metadata(why))
}

/// The error for a value that is not what its name stands for.
const MALFORMED: S3EncryptionError = S3EncryptionError::Metadata("a value is malformed or has a wrong length");

impl Envelope {
    /// Returns the length of the plaintext of an object of this length, if it follows.
    pub(crate) fn length(&self, object: u64) -> Result<Option<u64>, S3EncryptionError> {
        match self.suite {
            Suite::Cbc { .. } => Ok(None),
            Suite::Gcm { .. } | Suite::Committing { .. } => Gcm::plaintext_length(object).map(Some),
        }
    }

    /// Reads the metadata of an object and of its instruction file, if it has one.
    pub(crate) fn parse(object: &Pairs, file: Option<&Pairs>) -> Result<Self, S3EncryptionError> {
        if let Some(file) = file {
            if IN_OBJECT.iter().any(|name| file.contains_key(*name)) {
                return contradiction("the instruction file has what belongs to the metadata of the object");
            }
            // Otherwise half of the metadata could be replaced with the file alone.
            let old = [KEY_V1, KEY_V2].iter().any(|name| file.contains_key(*name));
            let elsewhere = if old { [&OLD[..], &IN_OBJECT, &IN_EITHER].concat() } else { IN_EITHER.to_vec() };
            if elsewhere.iter().any(|name| object.contains_key(*name)) {
                return contradiction("both the object and its instruction file have metadata of the data key");
            }
        }
        let all = Merged { object, file };
        let keys = [KEY_V1, KEY_V2, KEY_V3].map(|name| all.get(name));
        let none_of = |names: &[&str]| {
            let found = names.iter().any(|name| all.get(name).is_some());
            if found { contradiction("it has names of several formats") } else { Ok(()) }
        };
        match keys {
            [Some(key), None, None] => {
                none_of(&[&OLD[2..], &IN_OBJECT, &IN_EITHER].concat())?;
                let suite = Suite::Cbc { iv: bytes(all.required(IV)?)? };
                let context = context(all.required(DESCRIPTION)?)?;
                // Nothing binds a name.
                Ok(Self { suite, algorithm: "", wrapping: Wrapping::Unnamed, data_key: decode(key)?, context })
            }
            [None, Some(key), None] => {
                none_of(&[IN_OBJECT, IN_EITHER].concat())?;
                let (iv, tag_length) = (all.required(IV)?, all.get(TAG_LENGTH));
                let (suite, algorithm) = match (all.required(CONTENT)?, tag_length) {
                    (GCM_NAME, Some("128")) => (Suite::Gcm { iv: bytes(iv)? }, GCM_NAME),
                    ("AES/CBC/PKCS5Padding", None) => (Suite::Cbc { iv: bytes(iv)? }, "AES/CBC/PKCS5Padding"),
                    ("AES/CBC/PKCS7Padding", None) => (Suite::Cbc { iv: bytes(iv)? }, "AES/CBC/PKCS7Padding"),
                    _ => return contradiction("the content algorithm or the length of its tag is unknown"),
                };
                let wrapping = Wrapping::named(all.required(WRAPPING)?);
                let wrapping = wrapping.ok_or(S3EncryptionError::Metadata("the wrapping algorithm is unknown"))?;
                let context = context(all.get(DESCRIPTION).unwrap_or_default())?;
                Ok(Self { suite, algorithm, wrapping, data_key: decode(key)?, context })
            }
            [None, None, Some(key)] => {
                none_of(&OLD)?;
                if all.required(CONTENT_V3)? != COMMITTING {
                    return contradiction("the content algorithm is unknown");
                }
                let commitment = bytes(all.required(COMMITMENT)?)?;
                let suite = Suite::Committing { message_id: bytes(all.required(MESSAGE_ID)?)?, commitment };
                let wrapping = Wrapping::numbered(all.required(WRAPPING_V3)?);
                let wrapping = wrapping.ok_or(S3EncryptionError::Metadata("the wrapping algorithm is unknown"))?;
                // The Go client writes both names, and an empty value for the one that it does not
                // use.
                let name = if wrapping == Wrapping::KmsContext { CONTEXT_V3 } else { DESCRIPTION_V3 };
                let context = context(all.get(name).unwrap_or_default())?;
                Ok(Self { suite, algorithm: COMMITTING, wrapping, data_key: decode(key)?, context })
            }
            [None, None, None] => Err(S3EncryptionError::NotEncrypted),
            _ => contradiction("it has data keys of several formats"),
        }
    }
}

/// The metadata of an object, with that of its instruction file.
struct Merged<'a> {
    object: &'a Pairs,
    file: Option<&'a Pairs>,
}

impl<'a> Merged<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.object.get(name).or_else(|| self.file?.get(name)).map(String::as_str)
    }

    fn required(&self, name: &str) -> Result<&'a str, S3EncryptionError> {
        self.get(name).ok_or(S3EncryptionError::Metadata("a name that its format requires is missing"))
    }
}

fn decode(value: &str) -> Result<Vec<u8>, S3EncryptionError> {
    BASE64_STANDARD.decode(value).map_err(|_| MALFORMED)
}

fn bytes<const N: usize>(value: &str) -> Result<[u8; N], S3EncryptionError> {
    decode(value)?.try_into().map_err(|_| MALFORMED)
}

/// Parses an encryption context or a description. An empty text is one without pairs.
fn context(value: &str) -> Result<EncryptionContext, S3EncryptionError> {
    let value = rfc2047::decode(value).ok_or(MALFORMED)?;
    if value.is_empty() {
        return Ok(EncryptionContext::new());
    }
    let Unique(pairs) = serde_json::from_str(&value).map_err(|_| {
        S3EncryptionError::Metadata("the encryption context is not a JSON object of unique names and texts")
    })?;
    Ok(pairs.into_iter().collect())
}

/// A JSON object of texts in which no name repeats. Readers differ in which of two they take.
struct Unique(Pairs);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut pairs = Pairs::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if pairs.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name repeats"));
                    }
                }
                Ok(Unique(pairs))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
