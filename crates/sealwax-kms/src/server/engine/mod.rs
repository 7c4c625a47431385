//! The operations of AWS KMS on the stored keys, without HTTP.

mod aliases;
mod call;
mod cipher;
mod grants;
mod keys;
mod maintenance;
mod policies;
mod rotation;
mod table;
mod tags;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use sealwax::SecretBytes;
use serde_json::{Map, Value};

pub(crate) use self::call::{Call, Operation};
use super::{
    error::{ApiError, Result},
    identity::{Caller, Identities},
    log::{self, Log, Written},
    storage::{Changes, Storage},
    trail,
};
use crate::{LocalKmsError, Root};

/// A source of the time of day.
pub(crate) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The settings of an engine.
pub(crate) struct Settings {
    pub(crate) regions: Vec<String>,
    pub(crate) clock: Clock,
    /// How long a new grant is only known by its token, in milliseconds.
    pub(crate) grant_delay: u64,
}

/// Keys, policies and grants, and what may be done with them.
pub(crate) struct Engine {
    pub(crate) storage: Storage,
    log: Log,
    pub(crate) settings: Settings,
    identities: RwLock<Arc<Identities>>,
    /// Held during a change, until its audit record is on disk.
    writer: Mutex<()>,
    /// The time of the first entry of the agenda.
    next_due: AtomicU64,
    pub(crate) session_key: SecretBytes,
}

/// Where a request came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) address: String,
    pub(crate) user_agent: String,
    pub(crate) is_secure: bool,
    pub(crate) request_id: String,
}

/// A request of an authenticated caller.
pub(crate) struct Request<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) region: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) members: &'a Map<String, Value>,
    pub(crate) source: &'a Source,
}

/// An answer, which must not be sent before its audit record is on disk.
pub(crate) struct Answer {
    pub(crate) result: Result<Value>,
    pub(crate) written: Option<Written>,
}

impl Engine {
    /// Opens the store in a directory, or creates it.
    pub(crate) async fn open(
        directory: PathBuf,
        root: &Root,
        settings: Settings,
        identities: Identities,
    ) -> Result<Self, LocalKmsError> {
        let storage = Storage::open(directory.clone(), root).await?;
        let key = || storage.derived("endpoint audit key");
        let contents = log::read(&directory, &key()?)?;
        let head = storage.head();
        if contents.generation > head.generation {
            let (generation, logged) = (head.generation, contents.generation);
            return Err(LocalKmsError::RolledBack { path: directory, generation, logged });
        }
        let log = Log::open(&directory, key()?, &contents)?;
        // The record of the last change, if the process died before it was in the log.
        let id = |record: &Value| record["eventID"].as_str().map(str::to_owned);
        let last = serde_json::from_str(&head.journal).ok().and_then(|record| id(&record));
        if last.is_some() && !contents.records.iter().rev().any(|record| id(record) == last) {
            let written = log.append(head.journal, head.generation).await;
            if written != Ok(true) {
                return Err(LocalKmsError::damaged(&directory, "the audit log cannot be written"));
            }
        }
        let session_key = storage.derived("endpoint session key")?;
        let identities = RwLock::new(Arc::new(identities));
        let (writer, next_due) = (Mutex::new(()), AtomicU64::new(0));
        Ok(Self { storage, log, settings, identities, writer, next_due, session_key })
    }

    pub(crate) fn now(&self) -> u64 {
        let since = (self.settings.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn identities(&self) -> Arc<Identities> {
        self.identities.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace_identities(&self, identities: Identities) {
        *self.identities.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identities);
    }

    /// Performs an operation. This blocks on the disk if the operation makes a change.
    pub(crate) fn handle(&self, request: &Request<'_>) -> Answer {
        let Some(operation) = table::find(request.operation) else {
            let unknown = ApiError::bare("UnknownOperationException");
            return Answer { result: Err(unknown), written: None };
        };
        if let Err(error) = self.maintain() {
            return Answer { result: Err(error), written: None };
        }
        let guard = operation.changes.then(|| self.writer.lock().unwrap_or_else(PoisonError::into_inner));
        let snapshot = match self.storage.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return Answer { result: Err(error.into()), written: None },
        };
        let mut call = Call::new(self, snapshot, request, operation.cross_account);
        let mut result = (operation.run)(&mut call);
        let changes = std::mem::take(&mut call.changes);
        let record = trail::of_call(&call, operation, &result).to_string();
        if guard.is_none() || result.is_err() || changes.0.is_empty() {
            let written = self.log.append(record, self.storage.head().generation);
            return Answer { result, written: Some(written) };
        }
        if let Err(error) = self.commit(&changes, record) {
            result = Err(error);
        }
        Answer { result, written: None }
    }

    /// Makes changes, and returns when they and their audit record are on disk. Must be called under
    /// the writer's lock: the next change replaces the journal.
    fn commit(&self, changes: &Changes, record: String) -> Result<()> {
        let generation = self.storage.commit(changes, record.clone())?;
        self.next_due.store(0, Ordering::Relaxed);
        match self.log.append(record, generation).blocking_recv() {
            Ok(true) => Ok(()),
            _ => Err(ApiError::internal("the audit log cannot be written")),
        }
    }
}
