//! The key store: its location, its root key, and its creation on first use.

use std::{
    env,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
};

use sealwax::{
    Escaped, SecretBytes,
    keyring::{Keyring, KmsErrorKind},
};
use sealwax_kms::{LocalKms, LocalKmsBuilder, LocalKmsError, Root, RootKind};

use crate::{
    arguments::StoreArguments, failure::Failure, key_uri, notes::say, secrets::passphrase_from, session::Session,
    uri_paths,
};

/// The alias of the key that is used when no key is given.
const DEFAULT_KEY: &str = "alias/default";
/// The name that stands for any key of the store, to decrypt. No alias can have it.
const ANY_KEY: &str = "*";
const PASSPHRASE: &str = "SEALWAX_PASSPHRASE";

/// The key store that options name.
#[derive(Clone, Copy)]
pub(crate) struct Store<'a> {
    session: &'a Session,
    arguments: &'a StoreArguments,
}

impl<'a> Store<'a> {
    /// Returns the store that the command line names.
    pub(crate) fn new(session: &'a Session) -> Self {
        Self { session, arguments: &session.store }
    }

    /// Returns the directory of the store.
    pub(crate) fn directory(self) -> Result<PathBuf, Failure> {
        self.session.settings.store(self.arguments.store.as_deref())
    }

    /// Opens the store.
    pub(crate) fn open(self) -> Result<LocalKms, Failure> {
        let directory = self.directory()?;
        self.session.add_key_files(self.arguments.root_key_file.clone());
        self.session.store_in(directory.clone(), || match LocalKms::root_kind(&directory)? {
            Some(kind) => {
                let kms = self.builder(&directory, self.root_for(kind)?).open().wait()?;
                for warning in kms.warnings()? {
                    say(format!("sealwax: warning: {warning}"));
                }
                Ok(kms)
            }
            // Without a store file this fails, in one way if there is no store and in another if a part of one is
            // missing.
            None => match LocalKms::open(&directory) {
                Ok(_) | Err(LocalKmsError::NoStore { .. }) => Err(Failure::usage(format!(
                    "there is no key store in {}; create it with `sealwax keys create`",
                    directory.display()
                ))),
                Err(error) => Err(error.into()),
            },
        })
    }

    /// Opens the store, or creates it and prints a warning, even with `--quiet`: a user who does not
    /// know of the store loses it, and all data with it.
    pub(crate) fn open_or_create(self) -> Result<LocalKms, Failure> {
        let directory = self.directory()?;
        if LocalKms::root_kind(&directory)?.is_some() {
            return self.open();
        }
        self.session.add_key_files(self.arguments.root_key_file.clone());
        self.session.store_in(directory.clone(), || {
            let root = self.root_to_make()?;
            let kms = self.builder(&directory, root).open_or_create().wait()?;
            say(format!("sealwax: created a key store in {}", Escaped(&directory.display().to_string())));
            say("sealwax: WARNING: without this directory your data cannot be decrypted. \
                 Back it up now: sealwax keys export -o FILE");
            Ok(kms)
        })
    }

    /// Returns the keyring for encryption when no key is given. The first use creates the store and
    /// its default key, if that was asked for or if a terminal shows the warning: a container must
    /// not encrypt under a key that disappears with it.
    pub(crate) fn default_for_encryption(self, create: bool) -> Result<Box<dyn Keyring>, Failure> {
        let directory = self.directory()?;
        if LocalKms::root_kind(&directory)?.is_none() && !create && !io::stderr().is_terminal() {
            return Err(Failure::usage(format!(
                "no --key is given, and there is no key store in {}; use --key, or --create-store to create a key store",
                directory.display()
            )));
        }
        let kms = self.open_or_create()?;
        if kms.keyring(DEFAULT_KEY).is_err() && kms.list_keys()?.is_empty() {
            match kms.create_key_with_alias("the default key", DEFAULT_KEY) {
                // Another process created it first.
                Ok(_) | Err(LocalKmsError::AliasExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.key(&kms, DEFAULT_KEY)
    }

    /// Returns the keyring for decryption when no key is given: any key of the store.
    pub(crate) fn default_for_decryption(self) -> Result<Box<dyn Keyring>, Failure> {
        let directory = self.directory()?;
        if LocalKms::root_kind(&directory)?.is_none() {
            return Err(Failure::usage(format!(
                "no --key is given, and there is no key store in {}; use --key, or --store to name the key store",
                directory.display()
            )));
        }
        self.key(&self.open()?, ANY_KEY)
    }

    /// Returns the keyring of the key with this URI, which may be in the store.
    pub(crate) fn keyring(self, uri: &str) -> Result<Box<dyn Keyring>, Failure> {
        match key_uri::local_name(uri) {
            Some(name) => self.key(&self.open()?, &name?),
            None => {
                self.session.add_key_files(uri_paths::files(uri));
                key_uri::keyring(uri, &self.session.aws)
            }
        }
    }

    /// Returns a root key that is wrapped under the key of a URI.
    pub(crate) fn wrapped_root(self, uri: &str) -> Result<Root, Failure> {
        // The command line describes one store only; a key that wraps that store's root key is in
        // another one, the user's default store.
        let arguments = StoreArguments::default();
        let other = Store { session: self.session, arguments: &arguments };
        Ok(Root::keyring(Arc::from(other.keyring(uri)?)))
    }

    /// Returns the keyring of a key in the store, or of all its keys.
    fn key(self, kms: &LocalKms, name: &str) -> Result<Box<dyn Keyring>, Failure> {
        if name == ANY_KEY {
            return Ok(Box::new(kms.discovery_keyring()));
        }
        match kms.keyring(name) {
            Ok(keyring) => Ok(Box::new(keyring)),
            Err(LocalKmsError::NotFound { .. }) if name == DEFAULT_KEY => Err(Failure::usage(format!(
                "the key store in {} has no default key; choose one with `sealwax keys alias create default KEY`",
                self.directory()?.display()
            ))),
            Err(error) => Err(error.into()),
        }
    }

    fn builder(self, directory: &Path, root: Root) -> LocalKmsBuilder {
        let builder = LocalKms::builder(directory).root(root).allow_read_only(true);
        match &self.arguments.identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        }
    }

    /// Returns the root to open a store of this kind with.
    fn root_for(self, kind: RootKind) -> Result<Root, Failure> {
        let StoreArguments { root_key, root_key_file, .. } = self.arguments;
        Ok(match kind {
            RootKind::Passphrase => {
                self.within_limits(Root::passphrase(self.passphrase("Passphrase of the key store: ")?))
            }
            RootKind::ExternalKeyFile => Root::key_file(root_key_file.as_ref().ok_or_else(|| {
                Failure::usage(
                    "the root key of the store is in a file outside of its directory; use --root-key-file FILE",
                )
            })?),
            RootKind::Keyring => self.wrapped_root(root_key.as_deref().ok_or_else(|| {
                Failure::usage("the root key of the store is wrapped under another key; use --root-key URI")
            })?)?,
            // The kind of root comes from the store file, which is not authenticated yet. A caller that gives
            // a root key expects a store that only its holders can seal, and must not be given one
            // that an attacker with write access put in its place.
            _ => match root_key_file {
                Some(file) => Root::key_file(file),
                None if root_key.is_some() || self.has_passphrase() => {
                    return Err(Failure::new(
                        4,
                        "a passphrase or root key is given, but the root key of this store is in its directory; an attacker \
                         who can write there may have replaced the store. If it is the right store, omit the passphrase or root key"
                            .to_owned(),
                    ));
                }
                None => Root::key_file_in_folder(),
            },
        })
    }

    /// Returns the root for a new store: what the command line names, or a file in the directory.
    fn root_to_make(self) -> Result<Root, Failure> {
        let StoreArguments { root_key, root_key_file, .. } = self.arguments;
        if let Some(uri) = root_key {
            return self.wrapped_root(uri);
        }
        if let Some(file) = root_key_file {
            return Ok(Root::key_file(file));
        }
        if self.has_passphrase() {
            return Ok(Root::passphrase(self.passphrase("")?));
        }
        Ok(Root::key_file_in_folder())
    }

    /// Returns a root that allows the passphrase cost that the command line allows.
    pub(crate) fn within_limits(self, root: Root) -> Root {
        match self.arguments.max_passphrase_cost {
            Some(cost) => root.allow_cost(cost),
            None => root,
        }
    }

    /// Returns whether there is a passphrase that need not be asked for.
    fn has_passphrase(self) -> bool {
        self.arguments.passphrase_file.is_some() || variable().is_some()
    }

    fn passphrase(self, prompt: &str) -> Result<SecretBytes, Failure> {
        let file = self.arguments.passphrase_file.as_deref();
        match variable().filter(|_| file.is_none()) {
            Some(passphrase) => Ok(passphrase),
            None => passphrase_from(&self.session.cleanup, file, prompt, false),
        }
    }
}

/// Returns the passphrase in the environment.
fn variable() -> Option<SecretBytes> {
    env::var_os(PASSPHRASE).filter(|text| !text.is_empty()).map(|text| SecretBytes::from(text.into_encoded_bytes()))
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
            LocalKmsError::Damaged { .. } | LocalKmsError::RolledBack { .. } | LocalKmsError::InvalidBackup { .. } => 3,
            LocalKmsError::UnsafeFile { .. } | LocalKmsError::PassphraseCost { .. } => 5,
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

#[cfg(test)]
mod tests {
    use sealwax_kms::PassphraseCost;

    use super::*;

    #[test]
    fn refusals_have_the_codes_of_their_kinds() {
        let path = || PathBuf::from("file");
        let what = || "altered".to_owned();
        let cost = PassphraseCost::default();
        for (error, code) in [
            (LocalKmsError::Damaged { path: path(), what: what() }, 3),
            (LocalKmsError::InvalidBackup { path: path(), what: what() }, 3),
            (LocalKmsError::RolledBack { path: path(), generation: 1, logged: 2 }, 3),
            (LocalKmsError::UnsafeFile { path: path(), why: "it is a link" }, 5),
            (LocalKmsError::PassphraseCost { path: path(), cost, most: cost }, 5),
            (LocalKmsError::Ambiguous { name: what(), candidates: Vec::new() }, 2),
            (LocalKmsError::ShortPassphrase, 2),
            (LocalKmsError::ReadOnly { path: path() }, 1),
        ] {
            assert_eq!(Failure::from(&error).code, code, "{error}");
        }
    }
}
