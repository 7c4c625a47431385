//! What the commands of one run share.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use sealwax_kms::LocalKms;

use crate::{
    arguments::{GlobalArguments, StoreArguments},
    aws::AwsKms,
    cleanup::Cleanup,
    notes::Notes,
};

/// The options that apply to every command, and the key services that are already open.
pub(crate) struct Session {
    pub(crate) notes: Notes,
    pub(crate) cleanup: Cleanup,
    /// The location of the key store and of its root key.
    pub(crate) store: StoreArguments,
    pub(crate) aws: AwsKms,
    /// The open key stores by directory. Each store is opened once, so that its passphrase is asked
    /// for and stretched once.
    open_stores: Mutex<HashMap<PathBuf, LocalKms>>,
}

impl Session {
    pub(crate) fn new(arguments: GlobalArguments) -> Self {
        let GlobalArguments { quiet, store, aws } = arguments;
        Self {
            notes: Notes::new(quiet),
            cleanup: Cleanup::default(),
            store,
            aws: AwsKms::new(aws),
            open_stores: Mutex::default(),
        }
    }

    /// Returns the directories of the open stores.
    pub(crate) fn store_directories(&self) -> Vec<PathBuf> {
        self.open_stores.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Returns the store in a directory, which `open` opens the first time.
    pub(crate) fn store_in<E>(
        &self,
        directory: PathBuf,
        open: impl FnOnce() -> Result<LocalKms, E>,
    ) -> Result<LocalKms, E> {
        let key = std::path::absolute(&directory).unwrap_or(directory);
        // Do not hold the lock while opening: a root key can be wrapped under a key of another store.
        let known = self.open_stores.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(kms) = known {
            return Ok(kms);
        }
        let kms = open()?;
        self.open_stores.lock().unwrap_or_else(PoisonError::into_inner).insert(key, kms.clone());
        Ok(kms)
    }
}
