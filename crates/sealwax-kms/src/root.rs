//! The root key, under which a store is sealed, and where it comes from.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::Arc,
};

use argon2::{Algorithm, Argon2, Params, Version};
use sealwax::{
    AlgorithmSuite, EncryptedDataKey, EncryptionContext, Error, SecretBytes,
    crypto::{CryptoProvider, RustCrypto},
    keyring::{Keyring, UnwrapRequest, WrapRequest},
};

use super::{
    LocalKmsError, PROVIDER_ID,
    cost::{MIN_BACKUP_PASSPHRASE, PassphraseCost},
    disk::{Disk, Step, is_root_key, open_own, root_key_name, step},
    record::{Bytes, RootRecord},
    seal::{KEY_LENGTH, random_hex},
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

/// A suite whose data keys are as long as a root key.
const SUITE: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SALT_LENGTH: usize = 16;
/// The limits for the cost of any passphrase.
const MOST: PassphraseCost = PassphraseCost { memory_kib: 1 << 20, passes: 64, lanes: 64 };
/// The limits for the cost that a file can ask for, unless the caller allows more. The file is not
/// authenticated yet.
const MOST_ASKED: PassphraseCost = PassphraseCost { memory_kib: 256 << 10, passes: 12, lanes: 16 };
/// The limit for wrapped copies of a root key: an unauthenticated file must not cause any number of
/// calls to a service.
const MAX_WRAPPED: usize = 64;

/// The source of a store's root key, under which all its key material is sealed.
///
/// Anyone with both the directory and the root has the keys; either alone gives no keys. The
/// default, a key file in the directory, therefore protects no more than the permissions of the
/// directory do. A passphrase, a key file elsewhere, or a keyring over a key service or hardware
/// module also protects a copy of the directory.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::keyring::RawAesKeyring;
/// use sealwax_kms::{LocalKms, Root};
///
/// let dir = tempfile::tempdir()?;
/// let keyring = Arc::new(RawAesKeyring::new("example", "root", vec![7; 32])?);
/// let kms = LocalKms::builder(dir.path()).root(Root::keyring(keyring.clone())).create().wait()?;
/// drop(kms);
/// assert!(LocalKms::open(dir.path()).is_err());
/// assert!(LocalKms::builder(dir.path()).root(Root::keyring(keyring)).open().wait().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Root(Source);

#[derive(Default)]
enum Source {
    #[default]
    InFolder,
    File(PathBuf),
    Passphrase(Passphrase),
    Keyring(Arc<dyn Keyring>),
}

struct Passphrase {
    text: SecretBytes,
    /// The cost of a store that is created with it.
    cost: PassphraseCost,
    /// The highest cost that an existing file can ask for.
    most: PassphraseCost,
    /// Whether a backup can be sealed under it even if it is short.
    may_be_short: bool,
}

/// The kind of a store's root, from [`LocalKms::root_kind`](super::LocalKms::root_kind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootKind {
    /// A key file in the directory.
    KeyFile,
    /// A key file elsewhere.
    ExternalKeyFile,
    /// A passphrase.
    Passphrase,
    /// A keyring.
    Keyring,
}

impl Root {
    /// A key file in the directory of the store, with a generated name and mode 0600. This is the
    /// default.
    #[must_use]
    pub fn key_file_in_folder() -> Self {
        Self(Source::InFolder)
    }

    /// A 32-byte key file elsewhere. If the file does not exist, creating a store with this root,
    /// or changing to it, creates the file with mode 0600.
    pub fn key_file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// A passphrase, through Argon2id at its default cost.
    pub fn passphrase(passphrase: impl Into<SecretBytes>) -> Self {
        Self::passphrase_with_cost(passphrase, PassphraseCost::default())
    }

    /// A passphrase at another cost, for a store that is created with this root or changed to it.
    /// An existing store records its own cost, which can be as high as this one.
    pub fn passphrase_with_cost(passphrase: impl Into<SecretBytes>, cost: PassphraseCost) -> Self {
        let text = passphrase.into();
        let most = MOST_ASKED.limited_by_memory().or_more(cost);
        Self(Source::Passphrase(Passphrase { text, cost, most, may_be_short: false }))
    }

    /// Allows an existing store or backup to ask for a passphrase cost up to this one, if that is
    /// more than the [default limit](PassphraseCost). Other roots are not affected.
    ///
    /// ```
    /// use sealwax_kms::{LocalKms, PassphraseCost, Root};
    ///
    /// # fn example() -> Result<(), sealwax_kms::LocalKmsError> {
    /// let most = PassphraseCost { memory_kib: 1 << 20, ..PassphraseCost::default() };
    /// let root = Root::passphrase(b"correct horse battery staple".to_vec()).allow_cost(most);
    /// let kms = LocalKms::builder("keys").root(root).open().wait()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn allow_cost(mut self, most: PassphraseCost) -> Self {
        if let Source::Passphrase(passphrase) = &mut self.0 {
            passphrase.most = passphrase.most.or_more(most);
        }
        self
    }

    /// Allows a [backup](super::LocalKms::export) under a passphrase of fewer than
    /// [`MIN_BACKUP_PASSPHRASE`] characters. Other roots are not affected.
    #[must_use]
    pub fn allow_short_passphrase(mut self) -> Self {
        if let Source::Passphrase(passphrase) = &mut self.0 {
            passphrase.may_be_short = true;
        }
        self
    }

    /// Fails if a backup under this root could be opened by guessing.
    pub(super) fn check_for_backup(&self) -> Result<()> {
        let Source::Passphrase(Passphrase { text, may_be_short: false, .. }) = &self.0 else { return Ok(()) };
        let characters = str::from_utf8(text.as_bytes()).map_or(text.len(), |text| text.chars().count());
        if characters < MIN_BACKUP_PASSPHRASE {
            return Err(LocalKmsError::ShortPassphrase);
        }
        Ok(())
    }

    /// A keyring, which lets the root be in a key service or a hardware module. The root key is a
    /// data key that the keyring wraps, bound to the id of the store.
    pub fn keyring(keyring: Arc<dyn Keyring>) -> Self {
        Self(Source::Keyring(keyring))
    }

    /// Generates or reads the root key for a store that gets this root, and returns it with the
    /// record for the header.
    pub(super) async fn establish(&self, disk: &Disk, store_id: &str) -> Result<(RootRecord, SecretBytes)> {
        match &self.0 {
            Source::InFolder => {
                let name = root_key_name(&random_hex::<8>().map_err(LocalKmsError::Crypto)?);
                let key = RustCrypto.random_key(KEY_LENGTH).map_err(LocalKmsError::Crypto)?;
                Ok((RootRecord::KeyFile { name }, key))
            }
            Source::File(path) => {
                if is_swept(path, disk.folder()) {
                    let why = "a file of this name in the directory of the store is removed when the root changes; use one elsewhere";
                    return Err(LocalKmsError::InvalidRequest(why.into()));
                }
                if !path.exists() {
                    let key = RustCrypto.random_key(KEY_LENGTH).map_err(LocalKmsError::Crypto)?;
                    disk.create_private(path, key.as_bytes())?;
                }
                Ok((RootRecord::ExternalKeyFile, read_key(path)?))
            }
            Source::Passphrase(Passphrase { text, cost, .. }) => {
                let mut salt = vec![0; SALT_LENGTH];
                RustCrypto.random(&mut salt).map_err(LocalKmsError::Crypto)?;
                if !cost.is_within(MOST) {
                    let why = format!("the passphrase cost of {cost} exceeds the limit of {MOST}");
                    return Err(LocalKmsError::InvalidRequest(why));
                }
                let key = stretch(text, &salt, *cost).map_err(LocalKmsError::InvalidRequest)?;
                let PassphraseCost { memory_kib, passes, lanes } = *cost;
                Ok((RootRecord::Passphrase { salt: Bytes(salt), memory_kib, passes, lanes }, key))
            }
            Source::Keyring(keyring) => {
                let context = context_of(store_id);
                let request = WrapRequest::new(&RustCrypto, SUITE, &context);
                let wrapped = keyring.on_encrypt(request).await.map_err(LocalKmsError::Crypto)?;
                let key = wrapped.data_key.filter(|key| key.len() == KEY_LENGTH);
                let key =
                    key.ok_or(LocalKmsError::Crypto(Error::Materials("the root keyring returned no data key")))?;
                let parts = |key: &EncryptedDataKey| {
                    let (info, ciphertext) = (key.provider_info().to_vec(), key.ciphertext().to_vec());
                    (key.provider_id().to_owned(), Bytes(info), Bytes(ciphertext))
                };
                if wrapped.encrypted_data_keys.len() > MAX_WRAPPED {
                    let why = format!("a root key must be wrapped under at most {MAX_WRAPPED} keys");
                    return Err(LocalKmsError::InvalidRequest(why));
                }
                let encrypted_data_keys = wrapped.encrypted_data_keys.iter().map(parts).collect();
                Ok((RootRecord::Keyring { encrypted_data_keys }, key))
            }
        }
    }

    /// Returns the root key for a record. Nothing in the record is authenticated yet.
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
            (
                Source::Passphrase(Passphrase { text, most, .. }),
                RootRecord::Passphrase { salt, memory_kib, passes, lanes },
            ) => {
                let cost = PassphraseCost { memory_kib: *memory_kib, passes: *passes, lanes: *lanes };
                if !cost.is_within(*most) {
                    return Err(LocalKmsError::PassphraseCost { path: file.to_owned(), cost, most: *most });
                }
                stretch(text, &salt.0, cost).map_err(|what| LocalKmsError::damaged(file, what))
            }
            (Source::Keyring(keyring), RootRecord::Keyring { encrypted_data_keys }) => {
                if encrypted_data_keys.len() > MAX_WRAPPED {
                    return Err(LocalKmsError::damaged(
                        file,
                        "its header has more wrapped root keys than any valid store",
                    ));
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

    /// Returns the root key if it is in a file, and can be read without a passphrase or a call.
    pub(super) fn reread(&self, file: &Path, folder: &Path, record: &RootRecord) -> Result<Option<SecretBytes>> {
        match (&self.0, record) {
            (Source::InFolder, RootRecord::KeyFile { name }) if is_root_key(name) => {
                let key = folder.join(name);
                if !key.exists() {
                    let what = format!("its root key {name} is missing, or its header was altered");
                    return Err(LocalKmsError::damaged(file, what));
                }
                read_own_key(&key).map(Some)
            }
            (_, RootRecord::KeyFile { name }) if !is_root_key(name) => {
                Err(LocalKmsError::damaged(file, "its header names an invalid root key file"))
            }
            (Source::File(path), RootRecord::ExternalKeyFile | RootRecord::KeyFile { .. }) => read_key(path).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns the file with the root key, if it is in one.
    pub(super) fn file(&self, folder: &Path, record: &RootRecord) -> Option<PathBuf> {
        match (&self.0, record) {
            (Source::File(path), RootRecord::ExternalKeyFile | RootRecord::KeyFile { .. }) => Some(path.clone()),
            (_, RootRecord::KeyFile { name }) => Some(folder.join(name)),
            _ => None,
        }
    }

    pub(super) fn is_in_folder(&self) -> bool {
        matches!(self.0, Source::InFolder)
    }

    /// Returns what an open store keeps of the root: where a root key in a file can be read again.
    pub(super) fn for_rereading(&self) -> Self {
        match &self.0 {
            Source::File(path) => Self(Source::File(path.clone())),
            _ => Self(Source::InFolder),
        }
    }
}

impl RootRecord {
    /// Writes the root key to the directory, if it belongs there. Must be called under the lock,
    /// whose holder may remove root keys that no store names.
    pub(super) fn install(&self, disk: &Disk, key: &SecretBytes) -> Result<()> {
        match self {
            Self::KeyFile { name } => disk.create_private(&disk.path(name), key.as_bytes()),
            _ => Ok(()),
        }
    }

    /// Returns the name of the root key in the directory, if it is there.
    pub(super) fn file_name(&self) -> Option<&str> {
        match self {
            Self::KeyFile { name } => Some(name),
            _ => None,
        }
    }

    /// Returns whether only keys of the store itself, for which `is_own` returns true, can unwrap
    /// the root key.
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

/// Returns whether a path is, or leads to, a root key in the directory, which the next change of
/// the root would remove.
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
        RootRecord::KeyFile { .. } => "the key file in its directory",
        RootRecord::ExternalKeyFile => "a key file elsewhere",
        RootRecord::Passphrase { .. } => "a passphrase",
        RootRecord::Keyring { .. } => "a keyring",
    }
}

fn context_of(store_id: &str) -> EncryptionContext {
    EncryptionContext::from([("sealwax-store", store_id)])
}

/// Reads a root key in the directory of a store.
pub(super) fn read_own_key(path: &Path) -> Result<SecretBytes> {
    step(Step::OpenRoot).map_err(LocalKmsError::io("opening the root key", path))?;
    read_open_key(open_own(path, OpenOptions::new().read(true))?, path)
}

/// Reads a root key elsewhere, which may be a link or a pipe.
fn read_key(path: &Path) -> Result<SecretBytes> {
    let opened = step(Step::OpenRoot).and_then(|()| File::open(path));
    read_open_key(opened.map_err(LocalKmsError::io("opening the root key", path))?, path)
}

fn read_open_key(mut file: File, path: &Path) -> Result<SecretBytes> {
    use std::io::Read as _;

    // One byte more than a key has, so that a longer file does not pass for a key.
    let mut key = SecretBytes::zeroed(KEY_LENGTH + 1);
    let mut length = 0;
    while let Some(rest) = key.as_mut().get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(LocalKmsError::io("reading the root key", path))? {
            0 => break,
            count => length += count,
        }
    }
    match key.as_bytes().split_at_checked(length) {
        Some((key, _)) if length == KEY_LENGTH => Ok(SecretBytes::from(key)),
        _ => Err(LocalKmsError::damaged(path, "a root key must have 32 bytes")),
    }
}

/// Derives a key with Argon2id. The cost must be limited before, because it may come from an
/// unauthenticated file.
fn stretch(passphrase: &SecretBytes, salt: &[u8], cost: PassphraseCost) -> Result<SecretBytes, String> {
    let PassphraseCost { memory_kib, passes, lanes } = cost;
    let mut key = SecretBytes::zeroed(KEY_LENGTH);
    let params = Params::new(memory_kib, passes, lanes, Some(KEY_LENGTH));
    params
        .and_then(|params| {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            argon2.hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
        })
        .map_err(|error| format!("the passphrase cost is invalid: {error}"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use sealwax::{Operation, keyring::RawAesKeyring};

    use super::*;

    #[test]
    fn a_file_does_not_have_a_keyring_asked_without_end() {
        let keyring: Arc<dyn Keyring> = Arc::new(RawAesKeyring::new("example", "root", vec![7; 32]).unwrap());
        let refused = |count| {
            let wrapped = ("example".to_owned(), Bytes(b"root".to_vec()), Bytes(Vec::new()));
            let record = RootRecord::Keyring { encrypted_data_keys: vec![wrapped; count] };
            let (root, nowhere) = (Root::keyring(keyring.clone()), Path::new(""));
            Operation::new(root.acquire(nowhere, nowhere, "store", &record)).wait().err().unwrap()
        };
        assert!(matches!(refused(MAX_WRAPPED), LocalKmsError::Crypto(_)));
        assert!(matches!(refused(MAX_WRAPPED + 1), LocalKmsError::Damaged { .. }));
    }

    #[test]
    fn a_file_does_not_ask_for_any_cost() {
        let cost = |memory_kib, passes, lanes| PassphraseCost { memory_kib, passes, lanes };
        let plain = || Root::passphrase(*b"correct");
        let error = |root: Root, PassphraseCost { memory_kib, passes, lanes }| {
            let record = RootRecord::Passphrase { salt: Bytes(vec![7; SALT_LENGTH]), memory_kib, passes, lanes };
            let nowhere = Path::new("");
            Operation::new(root.acquire(nowhere, nowhere, "store", &record)).wait().err().map(|error| error.to_string())
        };
        let low = cost(256, 12, 16);
        assert_eq!(error(plain(), low), None);
        for high in [cost(1 << 18 | 1, 1, 1), cost(256, 13, 1), cost(256, 1, 17), cost(u32::MAX, u32::MAX, u32::MAX)] {
            let text = error(plain(), high).expect("not refused");
            assert!(text.contains("exceeds the limit of") && text.contains("12 passes and 16 lanes"), "{text}");
        }
        // More, if the caller allows it, in each parameter.
        let high = cost(256, 20, 20);
        assert_eq!(error(plain().allow_cost(high), high), None);
        assert_eq!(error(Root::passphrase_with_cost(*b"correct", high), high), None);
        assert!(error(plain().allow_cost(cost(256, 20, 1)), high).is_some());
        // Allowing less takes nothing away.
        assert_eq!(error(plain().allow_cost(cost(8, 1, 1)), low), None);
    }
}
