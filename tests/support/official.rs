//! The official test vectors: where they are, and those of format version 1.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use sealwax::{AlgorithmSuite, ContentType, Header, PUBLIC_KEY_ENTRY};
use serde::{Deserialize, de::DeserializeOwned};

use super::{reading_client, root, skip, suite_of};

/// Returns the directory of the official vectors, if it exists.
pub fn vectors() -> Option<PathBuf> {
    let folder = match env::var_os("SEALWAX_VECTORS") {
        Some(folder) => PathBuf::from(folder),
        None => root().join("../shared/vectors"),
    };
    if folder.is_dir() {
        return Some(folder);
    }
    skip("SEALWAX_REQUIRE_VECTORS", "the official vectors are not there");
    None
}

pub fn read_json<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// Format version 1: a manifest and 1,260 messages.

#[derive(Deserialize)]
pub struct Manifest {
    pub test_cases: Vec<Case>,
    /// The keys by algorithm, then by key size.
    pub test_keys: BTreeMap<String, BTreeMap<String, TestKey>>,
}

#[derive(Deserialize)]
pub struct TestKey {
    pub key: Vec<String>,
}

#[derive(Deserialize)]
pub struct Case {
    pub plaintext: File,
    pub master_keys: Vec<MasterKey>,
    pub algorithm: String,
    pub ciphertext: File,
}

#[derive(Deserialize)]
pub struct File {
    pub filename: String,
}

#[derive(Deserialize)]
pub struct MasterKey {
    pub provider_id: String,
    pub decryptable: bool,
    pub encryption_algorithm: Option<String>,
    pub padding_algorithm: Option<String>,
    pub padding_hash: Option<String>,
}

/// The kind of key that wraps a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    RawAes,
    RawRsaPkcs1,
    RawRsaOaepSha1,
    Kms,
}

impl Case {
    pub fn suite(&self) -> AlgorithmSuite {
        suite_of(&self.algorithm)
    }

    /// Returns the kind of the case's keys, which are all of one kind.
    pub fn kind(&self) -> Kind {
        let kinds: Vec<_> = self.master_keys.iter().map(MasterKey::kind).collect();
        assert!(kinds.windows(2).all(|two| two[0] == two[1]), "{}: {kinds:?}", self.ciphertext.filename);
        kinds[0]
    }

    /// Returns the content type for the frame length in the file name: 0 means unframed.
    pub fn content_type(&self) -> ContentType {
        match self.ciphertext.filename.split('/').nth(3).and_then(|length| length.parse().ok()) {
            Some(0) => ContentType::Unframed,
            Some(frame_length) => ContentType::Framed { frame_length },
            None => panic!("{}: no frame length", self.ciphertext.filename),
        }
    }
}

impl MasterKey {
    pub fn kind(&self) -> Kind {
        let padding = (self.padding_algorithm.as_deref(), self.padding_hash.as_deref());
        match (self.provider_id.as_str(), self.encryption_algorithm.as_deref(), padding) {
            ("aws-kms", None, (None, None)) => Kind::Kms,
            (_, Some("AES"), (None, None)) => Kind::RawAes,
            (_, Some("RSA"), (Some("PKCS1"), None)) => Kind::RawRsaPkcs1,
            (_, Some("RSA"), (Some("OAEP-MGF1"), Some("SHA-1"))) => Kind::RawRsaOaepSha1,
            other => panic!("an unknown kind of key: {other:?}"),
        }
    }
}

/// The version 1 vectors, unpacked.
pub struct V1 {
    pub folder: PathBuf,
    pub manifest: Manifest,
}

impl V1 {
    /// Unpacks the vectors, once for all runs.
    pub fn load() -> Option<&'static Self> {
        static V1_: OnceLock<V1> = OnceLock::new();
        let archive = vectors()?.join("esdk-v1.tar.xz");
        Some(V1_.get_or_init(|| {
            let folder = unpack(&archive).join("aws_encryption_sdk_resources");
            let manifest = read_json(&folder.join("manifests/ciphertext.manifest"));
            Self { folder, manifest }
        }))
    }

    pub fn cases(&self, kind: impl Fn(Kind) -> bool) -> Vec<&Case> {
        self.manifest.test_cases.iter().filter(|case| kind(case.kind())).collect()
    }

    pub fn read(&self, file: &File) -> Vec<u8> {
        fs::read(self.folder.join(&file.filename)).unwrap_or_else(|error| panic!("{}: {error}", file.filename))
    }

    /// Parses the header of a case's message, and checks that it is that of the case.
    pub fn header(&self, case: &Case, message: &[u8]) -> Header {
        let what = &case.ciphertext.filename;
        let (received, _) = reading_client().header_decoder().decode(message).expect(what);
        let header = received.header();
        assert_eq!(header.suite(), case.suite(), "{what}");
        assert_eq!(header.content_type(), case.content_type(), "{what}");
        assert_eq!(header.encrypted_data_keys().len(), case.master_keys.len(), "{what}");
        assert_eq!(header.context().contains_key(PUBLIC_KEY_ENTRY), header.suite().is_signed(), "{what}");
        header.clone()
    }
}

/// Unpacks an archive with the system's `tar`, unless it is unpacked already, and returns the
/// directory.
fn unpack(archive: &Path) -> PathBuf {
    let length = fs::metadata(archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display())).len();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("esdk-v1-{length}"));
    if !target.is_dir() {
        // Unpack under another name first, so that the directory is complete once it has its name.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let status = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder.path()).status();
        assert!(status.expect("`tar` runs").success(), "`tar` failed for {}", archive.display());
        let renamed = fs::rename(folder.path(), &target);
        assert!(renamed.is_ok() || target.is_dir(), "{}: {renamed:?}", target.display());
    }
    target
}
