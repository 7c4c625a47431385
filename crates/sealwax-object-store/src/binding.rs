//! What an object is bound to.

use sealwax::{EncryptionContext, Error, Result};

/// The key of the encryption context for the name of the store.
pub(crate) const STORE_KEY: &str = "sealwax-store";
/// The key of the encryption context for the path of an object.
pub(crate) const PATH_KEY: &str = "sealwax-path";

/// What an object is bound to. An object opens only where the same values are given.
///
/// The values are in the encryption context: `sealwax-store` is the [name of the
/// store](crate::SealedStoreBuilder::store_name), if it has one, and `sealwax-path` the path. They
/// are authenticated but not stored in the object, so another client must be given them to decrypt
/// it. A key service sees them, and may log them.
///
/// ```
/// use sealwax_object_store::Binding;
/// assert_eq!(Binding::default(), Binding::Path);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binding {
    /// The path within the store, and the name of the store. An object that was moved is refused.
    /// Copying and renaming reads and encrypts it again.
    #[default]
    Path,
    /// The name of the store. Objects can be exchanged within the store.
    Store,
    /// Nothing, as for messages that other programs wrote.
    None,
}

impl Binding {
    /// Fails if objects cannot be bound so to a store of this name.
    pub(crate) fn check(self, store: Option<&str>) -> Result<()> {
        let why = match (self, store) {
            (Self::Store, None) => "objects are bound to a store that has no name; set the store name",
            (Self::None, Some(_)) => "objects are bound to nothing, so the store name has no effect",
            _ => return Ok(()),
        };
        Err(Error::Configuration(why.to_owned()))
    }

    /// Returns the keys of the context that are authenticated but not stored.
    pub(crate) fn keys(self, store: Option<&str>) -> Vec<&'static str> {
        let store = store.map(|_| STORE_KEY);
        match self {
            Self::Path => store.into_iter().chain([PATH_KEY]).collect(),
            Self::Store => store.into_iter().collect(),
            Self::None => Vec::new(),
        }
    }

    /// Adds the values that an object is bound to.
    pub(crate) fn bind(self, context: &mut EncryptionContext, store: Option<&str>, path: &str) {
        if self == Self::None {
            return;
        }
        if let Some(store) = store {
            context.insert(STORE_KEY, store);
        }
        if self == Self::Path {
            context.insert(PATH_KEY, path);
        }
    }
}
