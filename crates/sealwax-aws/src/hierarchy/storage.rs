//! The interface to storages of branch keys.

use std::{fmt, sync::Arc};

use sealwax::{BoxError, keyring::BoxFuture};

use super::BranchKeyItem;

/// A storage of branch keys, such as a table in Amazon DynamoDB.
///
/// A storage is a map from an id and a type to an item. It is not trusted: the key store checks
/// every item, and the key service authenticates all attributes. It must keep every attribute
/// exactly. Timeouts and retries are up to the implementation; dropping a future must cancel its
/// call or complete it, and never half.
///
/// With the feature `conformance`, `conformance::storage` tests an implementation.
///
/// ```
/// use std::{collections::BTreeMap, sync::Mutex};
/// use sealwax::keyring::BoxFuture;
/// use sealwax_aws::{BranchKeyItem, BranchKeyStorage, Condition, PutItem, StorageError, StorageErrorKind};
///
/// #[derive(Default)]
/// struct Memory(Mutex<BTreeMap<(String, String), BranchKeyItem>>);
///
/// impl BranchKeyStorage for Memory {
///     fn name(&self) -> &str {
///         "memory"
///     }
///
///     fn get<'a>(&'a self, id: &'a str, item: &'a str) -> BoxFuture<'a, Result<Option<BranchKeyItem>, StorageError>> {
///         Box::pin(async move { Ok(self.0.lock().unwrap().get(&(id.into(), item.into())).cloned()) })
///     }
///
///     fn put<'a>(&'a self, puts: &'a [PutItem]) -> BoxFuture<'a, Result<(), StorageError>> {
///         Box::pin(async move {
///             let mut items = self.0.lock().unwrap();
///             let key = |put: &PutItem| (put.item.id().to_owned(), put.item.kind().to_owned());
///             if !puts.iter().all(|put| put.condition.holds(items.get(&key(put)))) {
///                 return Err(StorageError::new(StorageErrorKind::ConditionFailed));
///             }
///             items.extend(puts.iter().map(|put| (key(put), put.item.clone())));
///             Ok(())
///         })
///     }
///
///     fn items_of<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Vec<BranchKeyItem>, StorageError>> {
///         Box::pin(async move {
///             Ok(self.0.lock().unwrap().values().filter(|item| item.id() == id).cloned().collect())
///         })
///     }
///
///     fn ids(&self) -> BoxFuture<'_, Result<Vec<String>, StorageError>> {
///         Box::pin(async move {
///             let mut ids: Vec<_> = self.0.lock().unwrap().keys().map(|(id, _)| id.clone()).collect();
///             ids.dedup();
///             Ok(ids)
///         })
///     }
/// }
/// ```
pub trait BranchKeyStorage: Send + Sync {
    /// Returns the name of the table, for labels and errors.
    fn name(&self) -> &str;

    /// Returns the item of this branch key and type, if there is one. The read must see every write
    /// that was completed before it.
    fn get<'a>(&'a self, id: &'a str, item: &'a str) -> BoxFuture<'a, Result<Option<BranchKeyItem>, StorageError>>;

    /// Writes all items if all conditions hold, and none otherwise.
    ///
    /// No other write may come between the conditions and the items. Fails with
    /// [`StorageErrorKind::ConditionFailed`] if a condition does not hold.
    fn put<'a>(&'a self, puts: &'a [PutItem]) -> BoxFuture<'a, Result<(), StorageError>>;

    /// Returns all items of a branch key.
    fn items_of<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Vec<BranchKeyItem>, StorageError>>;

    /// Returns the ids of all branch keys, each once.
    fn ids(&self) -> BoxFuture<'_, Result<Vec<String>, StorageError>>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: BranchKeyStorage + ?Sized> BranchKeyStorage for $pointer {
            fn name(&self) -> &str {
                (**self).name()
            }

            fn get<'a>(
                &'a self,
                id: &'a str,
                item: &'a str,
            ) -> BoxFuture<'a, Result<Option<BranchKeyItem>, StorageError>> {
                (**self).get(id, item)
            }

            fn put<'a>(&'a self, puts: &'a [PutItem]) -> BoxFuture<'a, Result<(), StorageError>> {
                (**self).put(puts)
            }

            fn items_of<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Vec<BranchKeyItem>, StorageError>> {
                (**self).items_of(id)
            }

            fn ids(&self) -> BoxFuture<'_, Result<Vec<String>, StorageError>> {
                (**self).ids()
            }
        }
    )*};
}

forward!(&S, Box<S>, Arc<S>);

/// An item to write, and the condition for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutItem {
    /// The item.
    pub item: BranchKeyItem,
    /// What must hold for the item that it replaces.
    pub condition: Condition,
}

/// A condition for the stored item of the same branch key and type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// There is none.
    Absent,
    /// There is one with this ciphertext in its attribute `enc`.
    Ciphertext(Vec<u8>),
}

impl Condition {
    /// Returns whether the condition holds for the stored item.
    #[must_use]
    pub fn holds(&self, stored: Option<&BranchKeyItem>) -> bool {
        match (self, stored) {
            (Self::Absent, None) => true,
            (Self::Ciphertext(expected), Some(stored)) => stored.ciphertext() == Some(expected),
            _ => false,
        }
    }
}

/// An error of a storage. The cause is the [source](std::error::Error::source); no text may contain
/// a context value, a ciphertext or a credential.
#[derive(Debug, thiserror::Error)]
#[error("the storage of the branch keys failed: {kind}")]
pub struct StorageError {
    kind: StorageErrorKind,
    #[source]
    source: Option<BoxError>,
}

impl StorageError {
    /// Creates an error of this kind.
    #[must_use]
    pub fn new(kind: StorageErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Sets the cause.
    #[must_use]
    pub fn caused_by(self, source: impl Into<BoxError>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Returns the kind of failure.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        self.kind
    }
}

/// The kind of a [`StorageError`], as far as callers need to distinguish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageErrorKind {
    /// A condition of a write does not hold. Nothing was written.
    ConditionFailed,
    /// Another write to the same items was in progress. Nothing was written.
    Conflict,
    /// The table does not exist.
    NotFound,
    /// The caller may not use the table, or could not be authenticated.
    AccessDenied,
    /// The request is invalid.
    InvalidRequest,
    /// The storage limits the rate of requests.
    Throttled,
    /// The call timed out.
    TimedOut,
    /// The storage could not be reached or is temporarily unavailable.
    Unavailable,
    /// The answer does not fit the request or cannot be read.
    InvalidAnswer(&'static str),
    /// Any other failure; the source describes it.
    Other,
}

impl StorageErrorKind {
    /// Returns whether a write that failed this way may nevertheless have been made, now or by an
    /// earlier attempt of the same call.
    pub(super) fn may_have_written(self) -> bool {
        matches!(
            self,
            Self::ConditionFailed
                | Self::Conflict
                | Self::Throttled
                | Self::TimedOut
                | Self::Unavailable
                | Self::InvalidAnswer(_)
                | Self::Other
        )
    }
}

impl fmt::Display for StorageErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConditionFailed => "a condition of the write does not hold",
            Self::Conflict => "another write to the same items was in progress",
            Self::NotFound => "the table does not exist",
            Self::AccessDenied => "access was denied",
            Self::InvalidRequest => "the request is invalid",
            Self::Throttled => "too many requests",
            Self::TimedOut => "the call timed out",
            Self::Unavailable => "it is unavailable",
            Self::InvalidAnswer(why) => return write!(f, "invalid response: {why}"),
            Self::Other => "an unexpected error",
        })
    }
}
