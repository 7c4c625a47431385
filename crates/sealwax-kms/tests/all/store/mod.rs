//! The key store: the life cycle of a key, with a clock that the test sets.

mod backups;
mod keys;
mod log;
mod roots;
mod terminal;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sealwax::{
    Client, EncryptionContext, Error, UnwrapReason,
    keyring::{KmsError, KmsErrorKind},
};
use sealwax_kms::{LocalKms, LocalKmsError, PassphraseCost};
use tempfile::TempDir;

const DAY: u64 = 24 * 60 * 60;
/// 2026-01-01
const START: u64 = 1_767_225_600;
const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };

/// A store with a clock.
struct Place {
    folder: TempDir,
    seconds: Arc<AtomicU64>,
    kms: LocalKms,
}

impl Place {
    fn new() -> Self {
        let (folder, seconds) = (tempfile::tempdir().unwrap(), Arc::new(AtomicU64::new(START)));
        let kms = builder(folder.path(), &seconds).create().wait().unwrap();
        Self { folder, seconds, kms }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn reopened(&self) -> LocalKms {
        self.try_reopened().unwrap()
    }

    fn try_reopened(&self) -> Result<LocalKms, LocalKmsError> {
        builder(self.path(), &self.seconds).open().wait()
    }

    fn days_pass(&self, days: u64) {
        self.seconds.fetch_add(days * DAY, Ordering::Relaxed);
    }

    fn key(&self, alias: &str) -> String {
        let key = self.kms.create_key("").unwrap().key_id;
        self.kms.create_alias(alias, &key).unwrap();
        key
    }
}

fn builder(folder: &Path, seconds: &Arc<AtomicU64>) -> sealwax_kms::LocalKmsBuilder {
    let seconds = seconds.clone();
    LocalKms::builder(folder).clock(move || at(seconds.load(Ordering::Relaxed)))
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn none() -> EncryptionContext {
    EncryptionContext::new()
}

fn seal(kms: &LocalKms, key: &str, text: &[u8]) -> Vec<u8> {
    Client::new().encrypt(&kms.keyring(key).unwrap()).context([("tenant", "blue")]).bytes(text).wait().unwrap().message
}

fn open(kms: &LocalKms, key: &str, message: &[u8]) -> Result<Vec<u8>, Error> {
    let opened = Client::new().decrypt(&kms.keyring(key).unwrap()).bytes(message).wait()?;
    Ok(opened.plaintext.to_vec())
}

/// Opens a message with any key of the store.
fn open_any(kms: &LocalKms, message: &[u8]) -> Result<Vec<u8>, Error> {
    let opened = Client::new().decrypt(&kms.discovery_keyring()).bytes(message).wait()?;
    Ok(opened.plaintext.to_vec())
}

/// Returns whether a message did not open because the keyring has no key for it.
fn no_match(outcome: Result<Vec<u8>, Error>) -> bool {
    let Err(Error::NotUnwrapped(failure)) = outcome else { return false };
    failure.attempts().iter().all(|attempt| matches!(attempt.reason, UnwrapReason::NoMatch))
}

/// Returns the kind of the error with which a message did not open.
fn kind(outcome: Result<Vec<u8>, Error>) -> KmsErrorKind {
    let Err(Error::NotUnwrapped(failure)) = outcome else { panic!("it opened, or failed of something else") };
    let UnwrapReason::Failed(cause) = &failure.attempts()[0].reason else { panic!("{failure}") };
    cause.downcast_ref::<KmsError>().expect("an error of the service").kind()
}
