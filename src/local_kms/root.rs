//! The root: the one key under which a store is sealed, and where it comes from.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use argon2::{Algorithm, Argon2, Params, Version};

use super::{
    LocalKmsError, PROVIDER_ID,
    disk::{Disk, Step, is_root_key, root_key_name, step},
    record::{Bytes, RootRecord},
    seal::{KEY_LENGTH, random_hex},
};
use crate::{
    context::EncryptionContext,
    crypto::{CryptoProvider, RustCrypto},
    error::Error,
    format::EncryptedDataKey,
    keyring::{Keyring, UnwrapRequest, WrapRequest},
    secret::SecretBytes,
    suite::AlgorithmSuite,
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

/// Its data keys are as long as a root key.
const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SALT_LENGTH: usize = 16;
/// The most memory that a file may have Argon2 take.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 64;
/// The most wrapped copies of a root key: a file that nobody has authenticated must not have a service asked without end.
const MAX_WRAPPED: usize = 64;

/// Where the root key of a store comes from: the key under which all key material in it is sealed.
///
/// Who has the folder and the root has the keys; who has only one of them has nothing. So a key file in the folder, the
/// default, protects no more than the access rights of the folder do. A passphrase, a key file elsewhere, or a keyring over a
/// key service or hardware module protects a folder that is copied.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{keyring::RawAesKeyring, local_kms::{LocalKms, Root}};
///
/// let folder = tempfile::tempdir()?;
/// let keyring = Arc::new(RawAesKeyring::new("example", "root", vec![7; 32])?);
/// let kms = LocalKms::builder(folder.path()).root(Root::keyring(keyring.clone())).create().wait()?;
/// drop(kms);
/// assert!(LocalKms::open(folder.path()).is_err());
/// assert!(LocalKms::builder(folder.path()).root(Root::keyring(keyring)).open().wait().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Root(Source);

#[derive(Default)]
enum Source {
    #[default]
    InFolder,
    File(PathBuf),
    Passphrase(SecretBytes, PassphraseCost),
    Keyring(Arc<dyn Keyring>),
}

/// What it takes to try a passphrase: the parameters of Argon2id, which are stored with the store.
///
/// The default is the second recommendation of RFC 9106: 64 MiB, 3 passes, 4 lanes; about a tenth of a second.
///
/// ```
/// assert_eq!(sealwax::local_kms::PassphraseCost::default().memory_kib, 65_536);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// KiB of memory, up to 1,048,576.
    pub memory_kib: u32,
    /// Passes over the memory, up to 64.
    pub passes: u32,
    /// Lanes, up to 64.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

/// What kind of root a store has: see [`LocalKms::root_kind`](super::LocalKms::root_kind), which has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootKind {
    /// A key file in the folder.
    KeyFile,
    /// A key file elsewhere.
    ExternalKeyFile,
    /// A passphrase.
    Passphrase,
    /// A keyring.
    Keyring,
}

impl Root {
    /// A key file in the folder of the store, with a name of its own, mode 0600: the default.
    ///
    /// ```
    /// use sealwax::local_kms::{LocalKms, Root};
    ///
    /// let folder = tempfile::tempdir()?;
    /// LocalKms::builder(folder.path()).root(Root::key_file_in_folder()).create().wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn key_file_in_folder() -> Self {
        Self(Source::InFolder)
    }

    /// A key file of 32 bytes elsewhere. A store that is made, or gets this root, makes the file if it is not there, with mode 0600.
    ///
    /// ```
    /// use sealwax::local_kms::{LocalKms, Root};
    ///
    /// let (folder, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    /// let file = elsewhere.path().join("root.key");
    /// LocalKms::builder(folder.path()).root(Root::key_file(&file)).create().wait()?;
    /// assert_eq!(std::fs::metadata(&file)?.len(), 32);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key_file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// A passphrase, through Argon2id at its default cost.
    ///
    /// ```no_run
    /// # use sealwax::local_kms::{LocalKms, Root};
    /// let passphrase = "correct horse battery staple".to_owned().into_bytes();
    /// let kms = LocalKms::builder("/srv/keys").root(Root::passphrase(passphrase)).open().wait()?;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn passphrase(passphrase: impl Into<SecretBytes>) -> Self {
        Self::passphrase_with_cost(passphrase, PassphraseCost::default())
    }

    /// A passphrase at a cost of one's own, for a store that is made or gets this root. A store that is opened says itself what it
    /// costs.
    pub fn passphrase_with_cost(passphrase: impl Into<SecretBytes>, cost: PassphraseCost) -> Self {
        Self(Source::Passphrase(passphrase.into(), cost))
    }

    /// Any keyring: the root key is a data key that it wraps, bound to the id of the store. So the root can live in a key
    /// service or a hardware module. The type has an example.
    pub fn keyring(keyring: Arc<dyn Keyring>) -> Self {
        Self(Source::Keyring(keyring))
    }

    /// A new root key, and what the store is to say of it.
    pub(super) async fn establish(&self, disk: &Disk, store_id: &str) -> Result<(RootRecord, SecretBytes)> {
        match &self.0 {
            Source::InFolder => {
                let name = root_key_name(&random_hex::<8>().map_err(LocalKmsError::Crypto)?);
                let key = RustCrypto.random_key(KEY_LENGTH).map_err(LocalKmsError::Crypto)?;
                Ok((RootRecord::KeyFile { name }, key))
            }
            Source::File(path) => {
                if is_swept(path, disk.folder()) {
                    let why = "a file of this name in the folder of the store is removed when the root changes: name one elsewhere";
                    return Err(LocalKmsError::InvalidRequest(why.into()));
                }
                if !path.exists() {
                    let key = RustCrypto.random_key(KEY_LENGTH).map_err(LocalKmsError::Crypto)?;
                    disk.create_private(path, key.as_bytes())?;
                }
                Ok((RootRecord::ExternalKeyFile, read_key(path)?))
            }
            Source::Passphrase(passphrase, cost) => {
                let mut salt = vec![0; SALT_LENGTH];
                RustCrypto.random(&mut salt).map_err(LocalKmsError::Crypto)?;
                let key = stretch(passphrase, &salt, *cost).map_err(LocalKmsError::InvalidRequest)?;
                let PassphraseCost { memory_kib, passes, lanes } = *cost;
                Ok((RootRecord::Passphrase { salt: Bytes(salt), memory_kib, passes, lanes }, key))
            }
            Source::Keyring(keyring) => {
                let context = context_of(store_id);
                let request = WrapRequest::new(&RustCrypto, SUITE, &context);
                let wrapped = keyring.on_encrypt(request).await.map_err(LocalKmsError::Crypto)?;
                let key = wrapped.data_key.filter(|key| key.len() == KEY_LENGTH);
                let key = key.ok_or(LocalKmsError::Crypto(Error::Materials("the root keyring made no data key")))?;
                let parts = |key: &EncryptedDataKey| {
                    let (info, ciphertext) = (key.provider_info().to_vec(), key.ciphertext().to_vec());
                    (key.provider_id().to_owned(), Bytes(info), Bytes(ciphertext))
                };
                if wrapped.encrypted_data_keys.len() > MAX_WRAPPED {
                    let why = format!("a root key is wrapped under {MAX_WRAPPED} keys at most");
                    return Err(LocalKmsError::InvalidRequest(why));
                }
                let encrypted_data_keys = wrapped.encrypted_data_keys.iter().map(parts).collect();
                Ok((RootRecord::Keyring { encrypted_data_keys }, key))
            }
        }
    }

    /// The root key of a store that says this of it. Nothing of what it says is authenticated yet.
    pub(super) async fn acquire(
        &self,
        file: &Path,
        folder: &Path,
        store_id: &str,
        record: &RootRecord,
    ) -> Result<SecretBytes> {
        if let Some(key) = self.reread(file, folder, record)? {
            return Ok(key);
        }
        match (&self.0, record) {
            (Source::Passphrase(passphrase, _), RootRecord::Passphrase { salt, memory_kib, passes, lanes }) => {
                let cost = PassphraseCost { memory_kib: *memory_kib, passes: *passes, lanes: *lanes };
                stretch(passphrase, &salt.0, cost).map_err(|what| LocalKmsError::damaged(file, what))
            }
            (Source::Keyring(keyring), RootRecord::Keyring { encrypted_data_keys }) => {
                if encrypted_data_keys.len() > MAX_WRAPPED {
                    return Err(LocalKmsError::damaged(file, "its head has more wrapped root keys than any store"));
                }
                let context = context_of(store_id);
                let keys: Vec<_> = encrypted_data_keys
                    .iter()
                    .map(|(id, info, ciphertext)| EncryptedDataKey::new(id, &*info.0, &*ciphertext.0))
                    .collect();
                let request = UnwrapRequest::new(&RustCrypto, SUITE, &context, &keys);
                let unwrapped = keyring.on_decrypt(request).await.map_err(LocalKmsError::Crypto)?;
                Ok(unwrapped.data_key)
            }
            (_, record) => Err(LocalKmsError::RootNeeded { path: folder.to_owned(), needed: needed(record) }),
        }
    }

    /// The root key, if it lies in a file and can be read without asking anyone.
    pub(super) fn reread(&self, file: &Path, folder: &Path, record: &RootRecord) -> Result<Option<SecretBytes>> {
        match (&self.0, record) {
            (Source::InFolder, RootRecord::KeyFile { name }) if is_root_key(name) => {
                let key = folder.join(name);
                if !key.exists() {
                    let what = format!("its root key {name} is not there, or its head was altered");
                    return Err(LocalKmsError::damaged(file, what));
                }
                read_key(&key).map(Some)
            }
            (_, RootRecord::KeyFile { name }) if !is_root_key(name) => {
                Err(LocalKmsError::damaged(file, "its head names a root key that cannot be one"))
            }
            (Source::File(path), RootRecord::ExternalKeyFile | RootRecord::KeyFile { .. }) => read_key(path).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn is_in_folder(&self) -> bool {
        matches!(self.0, Source::InFolder)
    }

    /// The same root without what is needed only once, for the life of an open store.
    pub(super) fn for_rereading(&self) -> Self {
        match &self.0 {
            Source::File(path) => Self(Source::File(path.clone())),
            _ => Self(Source::InFolder),
        }
    }
}

impl RootRecord {
    /// Writes the root key into the folder, if that is where it is to be. To be called under the lock, since whoever holds that
    /// may remove root keys that no store names.
    pub(super) fn install(&self, disk: &Disk, key: &SecretBytes) -> Result<()> {
        match self {
            Self::KeyFile { name } => disk.create_private(&disk.path(name), key.as_bytes()),
            _ => Ok(()),
        }
    }

    /// The name of the root key in the folder, if it is there.
    pub(super) fn file_name(&self) -> Option<&str> {
        match self {
            Self::KeyFile { name } => Some(name),
            _ => None,
        }
    }

    /// Whether nothing but keys of a store of this kind, which `is_own` knows, can unwrap it.
    pub(super) fn is_wrapped_only_under(&self, is_own: impl Fn(&str) -> bool) -> bool {
        let Self::Keyring { encrypted_data_keys } = self else { return false };
        encrypted_data_keys
            .iter()
            .all(|(provider_id, info, _)| provider_id == PROVIDER_ID && str::from_utf8(&info.0).is_ok_and(&is_own))
    }

    pub(super) fn kind(&self) -> RootKind {
        match self {
            Self::KeyFile { .. } => RootKind::KeyFile,
            Self::ExternalKeyFile => RootKind::ExternalKeyFile,
            Self::Passphrase { .. } => RootKind::Passphrase,
            Self::Keyring { .. } => RootKind::Keyring,
        }
    }
}

/// Whether a path is, or leads to, what a root key in the folder is called: the next root would remove it.
fn is_swept(path: &Path, folder: &Path) -> bool {
    let lies_there = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        let beside = path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
        let is_there = beside.and_then(|beside| Some(beside.canonicalize().ok()? == folder.canonicalize().ok()?));
        name.is_some_and(is_root_key) && is_there == Some(true)
    };
    lies_there(path) || path.canonicalize().is_ok_and(|target| lies_there(&target))
}

fn needed(record: &RootRecord) -> &'static str {
    match record {
        RootRecord::KeyFile { .. } => "the key file in its folder",
        RootRecord::ExternalKeyFile => "a key file elsewhere",
        RootRecord::Passphrase { .. } => "a passphrase",
        RootRecord::Keyring { .. } => "a keyring",
    }
}

fn context_of(store_id: &str) -> EncryptionContext {
    EncryptionContext::from([("sealwax-store", store_id)])
}

fn read_key(path: &Path) -> Result<SecretBytes> {
    use std::io::Read as _;

    // One byte more than a key has, so that a longer file does not pass for a key.
    let mut key = SecretBytes::zeroed(KEY_LENGTH + 1);
    let opened = step(Step::OpenRoot).and_then(|()| File::open(path));
    let mut file = opened.map_err(LocalKmsError::io("opening the root key", path))?;
    let mut length = 0;
    while let Some(rest) = key.as_mut().get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(LocalKmsError::io("reading the root key", path))? {
            0 => break,
            count => length += count,
        }
    }
    match key.as_bytes().split_at_checked(length) {
        Some((key, _)) if length == KEY_LENGTH => Ok(SecretBytes::from(key)),
        _ => Err(LocalKmsError::damaged(path, "a root key has 32 bytes")),
    }
}

/// Argon2id, within bounds: the parameters may come from a file that nobody has authenticated.
fn stretch(passphrase: &SecretBytes, salt: &[u8], cost: PassphraseCost) -> Result<SecretBytes, String> {
    let PassphraseCost { memory_kib, passes, lanes } = cost;
    if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
        return Err("the cost of its passphrase is beyond the limits (1 GiB, 64 passes, 64 lanes)".into());
    }
    let mut key = SecretBytes::zeroed(KEY_LENGTH);
    let params = Params::new(memory_kib, passes, lanes, Some(KEY_LENGTH));
    params
        .and_then(|params| {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            argon2.hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
        })
        .map_err(|error| format!("the cost of its passphrase cannot be: {error}"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{blocking::Operation, keyring::RawAesKeyring};

    #[test]
    fn a_file_does_not_have_a_keyring_asked_without_end() {
        let keyring: Arc<dyn Keyring> = Arc::new(RawAesKeyring::new("example", "root", vec![7; 32]).unwrap());
        let refused = |count| {
            let wrapped = ("example".to_owned(), Bytes(b"root".to_vec()), Bytes(Vec::new()));
            let record = RootRecord::Keyring { encrypted_data_keys: vec![wrapped; count] };
            let (root, nowhere) = (Root::keyring(keyring.clone()), Path::new(""));
            let asked = async { Ok(root.acquire(nowhere, nowhere, "store", &record).await.err()) };
            Operation::new(asked).wait().unwrap().unwrap()
        };
        assert!(matches!(refused(MAX_WRAPPED), LocalKmsError::Crypto(_)));
        assert!(matches!(refused(MAX_WRAPPED + 1), LocalKmsError::Damaged { .. }));
    }
}
