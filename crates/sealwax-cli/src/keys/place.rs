//! The location of the key store, its root key, and its creation on first use.

use std::{
    cell::Cell,
    collections::HashMap,
    env, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use etcetera::BaseStrategy;
use sealwax::{
    Escaped, SecretBytes,
    keyring::{Keyring, KmsErrorKind},
};
use sealwax_kms::{LocalKms, LocalKmsBuilder, LocalKmsError, Root, RootKind};

use super::arguments::StoreArguments;
use crate::{failure::Failure, key_uri, notes};

/// The alias of the key that is used when no key is given.
const DEFAULT_KEY: &str = "alias/default";
/// The name that stands for any key of the store, to decrypt. No alias can have it.
const ANY_KEY: &str = "*";
const STORE: &str = "SEALWAX_STORE";
const PASSPHRASE: &str = "SEALWAX_PASSPHRASE";
/// The longest passphrase, in bytes.
const MAX_PASSPHRASE: usize = 4096;

/// The location of the key store and its root key, from the command line.
static PLACE: OnceLock<StoreArguments> = OnceLock::new();

/// Sets what the command line says about the key store, for all commands.
pub(crate) fn set_place(arguments: StoreArguments) {
    // The command line is parsed once, so this cannot already be set.
    let _ = PLACE.set(arguments);
}

thread_local! {
    /// Whether the key that wraps a root key is being resolved.
    static FOR_A_ROOT: Cell<bool> = const { Cell::new(false) };
}

/// Returns the options that apply. The command line describes one store only; a key that wraps that
/// store's root key is in another one, the user's default store.
fn place() -> &'static StoreArguments {
    static NOTHING: StoreArguments =
        StoreArguments { store: None, passphrase_file: None, root_key_file: None, root_key: None, identity: None };

    if FOR_A_ROOT.get() { &NOTHING } else { PLACE.get_or_init(StoreArguments::default) }
}

/// Returns the directory of the store.
pub(crate) fn folder() -> Result<PathBuf, Failure> {
    let named = place().store.clone().or_else(|| env::var_os(STORE).filter(|path| !path.is_empty()).map(Into::into));
    if let Some(folder) = named {
        return Ok(folder);
    }
    let home = |error| Failure::usage(format!("{error}: say where the key store is with --store or {STORE}"));
    Ok(etcetera::choose_base_strategy().map_err(home)?.data_dir().join("sealwax").join("keys"))
}

/// Opens the store. Each process opens a store once, so that its passphrase is asked for and
/// stretched once.
pub(crate) fn open() -> Result<LocalKms, Failure> {
    let folder = folder()?;
    once(&folder, || match LocalKms::root_kind(&folder)? {
        Some(kind) => {
            let kms = builder(&folder, root_for(kind)?).open().wait()?;
            for warning in kms.warnings()? {
                notes::note(format!("sealwax: warning: {warning}"));
            }
            Ok(kms)
        }
        None => {
            // The error of this call says whether there is a store.
            LocalKms::open(&folder)?;
            Err(Failure::usage(format!("there is no key store in {}", folder.display())))
        }
    })
}

/// Opens the store, or creates it and prints a note.
pub(crate) fn open_or_create() -> Result<LocalKms, Failure> {
    let folder = folder()?;
    if LocalKms::root_kind(&folder)?.is_some() {
        return open();
    }
    once(&folder, || {
        let root = root_to_make()?;
        let kms = builder(&folder, root).open_or_create().wait()?;
        notes::note(format!("sealwax: made a key store in {}", Escaped(&folder.display().to_string())));
        notes::note(
            "sealwax: whoever loses it loses all that is encrypted with its keys; sealwax keys export makes a backup",
        );
        Ok(kms)
    })
}

/// Returns the keyring for encryption when no key is given. The first use creates the store and its
/// default key.
pub(crate) fn default_for_encryption() -> Result<Box<dyn Keyring>, Failure> {
    let kms = open_or_create()?;
    if kms.keyring(DEFAULT_KEY).is_err() && kms.list_keys()?.is_empty() {
        match kms.create_key_with_alias("the default key", DEFAULT_KEY) {
            // Another process created it first.
            Ok(_) | Err(LocalKmsError::AliasExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    keyring(&kms, DEFAULT_KEY)
}

/// Returns the keyring for decryption when no key is given: any key of the store.
pub(crate) fn default_for_decryption() -> Result<Box<dyn Keyring>, Failure> {
    let folder = folder()?;
    if LocalKms::root_kind(&folder)?.is_none() {
        return Err(Failure::usage(format!(
            "no key is given, and there is no key store in {}: say --key raw-aes://NAMESPACE/NAME?file=PATH, or --store",
            folder.display()
        )));
    }
    keyring(&open()?, ANY_KEY)
}

/// Returns the keyring of a key in the store, or of all its keys.
pub(crate) fn keyring(kms: &LocalKms, name: &str) -> Result<Box<dyn Keyring>, Failure> {
    if name == ANY_KEY {
        return Ok(Box::new(kms.discovery_keyring()));
    }
    match kms.keyring(name) {
        Ok(keyring) => Ok(Box::new(keyring)),
        Err(LocalKmsError::NotFound { .. }) if name == DEFAULT_KEY => Err(Failure::usage(format!(
            "the key store in {} has no {DEFAULT_KEY}: sealwax keys alias create default KEY makes one of its keys the default",
            kms.folder().display()
        ))),
        Err(error) => Err(error.into()),
    }
}

/// The stores that this process has open.
static OPEN: Mutex<Option<HashMap<PathBuf, LocalKms>>> = Mutex::new(None);

fn once(folder: &Path, open: impl FnOnce() -> Result<LocalKms, Failure>) -> Result<LocalKms, Failure> {
    let key = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    // Do not hold the lock while opening: a root key can be wrapped under a key of another store.
    let known = OPEN.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().get(&key).cloned();
    if let Some(kms) = known {
        return Ok(kms);
    }
    let kms = open()?;
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(key, kms.clone());
    Ok(kms)
}

fn builder(folder: &Path, root: Root) -> LocalKmsBuilder {
    let builder = LocalKms::builder(folder).root(root);
    match &place().identity {
        Some(identity) => builder.identity(identity),
        None => builder,
    }
}

/// Returns the root to open a store of this kind with.
fn root_for(kind: RootKind) -> Result<Root, Failure> {
    Ok(match kind {
        RootKind::Passphrase => Root::passphrase(passphrase("Passphrase of the key store: ", false)?),
        RootKind::ExternalKeyFile => Root::key_file(place().root_key_file.as_ref().ok_or_else(|| {
            Failure::usage("the root key of the store lies in a file elsewhere: say --root-key-file")
        })?),
        RootKind::Keyring => wrapped(place().root_key.as_deref().ok_or_else(|| {
            Failure::usage("the root key of the store is wrapped under another key: say --root-key")
        })?)?,
        // The file itself says what it needs, and is not authenticated yet. A caller that gives a
        // root key expects a store that only its holders can seal, and must not be given one that
        // an attacker with write access put in its place.
        _ => match &place().root_key_file {
            Some(file) => Root::key_file(file),
            None if place().root_key.is_some() || has_passphrase() => {
                return Err(Failure::new(
                    4,
                    "a passphrase or root key is given, but the root key of the store lies in its folder: whoever can write there \
                     may have exchanged the store; if it is the right one, leave out what is given"
                        .to_owned(),
                ));
            }
            None => Root::key_file_in_folder(),
        },
    })
}

/// Returns the root for a new store: what the command line names, or a file in the directory.
fn root_to_make() -> Result<Root, Failure> {
    if let Some(uri) = &place().root_key {
        return wrapped(uri);
    }
    if let Some(file) = &place().root_key_file {
        return Ok(Root::key_file(file));
    }
    if has_passphrase() {
        return Ok(Root::passphrase(passphrase("", false)?));
    }
    Ok(Root::key_file_in_folder())
}

/// Returns a root key that is wrapped under the key of a URI.
pub(super) fn wrapped(uri: &str) -> Result<Root, Failure> {
    let before = FOR_A_ROOT.replace(true);
    let keyring = key_uri::keyring(&[uri.to_owned()], None);
    FOR_A_ROOT.set(before);
    Ok(Root::keyring(Arc::from(keyring?)))
}

/// Returns whether there is a passphrase that need not be asked for.
fn has_passphrase() -> bool {
    place().passphrase_file.is_some() || env::var_os(PASSPHRASE).is_some_and(|text| !text.is_empty())
}

fn passphrase(prompt: &str, twice: bool) -> Result<SecretBytes, Failure> {
    let told = env::var_os(PASSPHRASE).filter(|text| !text.is_empty() && place().passphrase_file.is_none());
    if let Some(text) = told {
        return Ok(SecretBytes::from(text.into_encoded_bytes()));
    }
    passphrase_from(place().passphrase_file.as_deref(), prompt, twice)
}

/// Returns the first line of a file, or what the user types, which must be typed twice if it is
/// new.
pub(super) fn passphrase_from(file: Option<&Path>, prompt: &str, twice: bool) -> Result<SecretBytes, Failure> {
    let passphrase = match file {
        Some(file) => {
            let bytes = key_uri::read_secret(file, MAX_PASSPHRASE)
                .map_err(|error| Failure::about(&file.display().to_string(), error))?;
            let line = bytes.as_bytes().split(|byte| *byte == b'\n').next().unwrap_or_default();
            SecretBytes::from(line.strip_suffix(b"\r").unwrap_or(line))
        }
        None => {
            let ask = |prompt: &str| {
                rpassword::prompt_password(prompt).map(|text| SecretBytes::from(text.into_bytes())).map_err(|_| {
                    Failure::usage("a passphrase is needed, and there is no terminal to ask at: give it in a file")
                })
            };
            let first = ask(prompt)?;
            if twice && !first.ct_eq(ask("Once more: ")?.as_bytes()) {
                return Err(Failure::usage("the two passphrases are not the same"));
            }
            first
        }
    };
    if passphrase.is_empty() {
        return Err(Failure::usage("the passphrase is empty"));
    }
    Ok(passphrase)
}

impl From<LocalKmsError> for Failure {
    fn from(error: LocalKmsError) -> Self {
        Self::from(&error)
    }
}

impl From<&LocalKmsError> for Failure {
    fn from(error: &LocalKmsError) -> Self {
        let code = match error {
            LocalKmsError::StoreExists { .. } => 6,
            LocalKmsError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => 6,
            LocalKmsError::NoStore { .. } => 2,
            error => match error.kind() {
                KmsErrorKind::NotFound | KmsErrorKind::InvalidRequest => 2,
                KmsErrorKind::InvalidCiphertext => 3,
                KmsErrorKind::Disabled
                | KmsErrorKind::InvalidState
                | KmsErrorKind::IncorrectKey
                | KmsErrorKind::AccessDenied => 4,
                _ => 1,
            },
        };
        Self::of(code, error)
    }
}
