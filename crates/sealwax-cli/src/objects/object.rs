//! Objects, as their store knows them.

use std::{sync::Arc, time::SystemTime};

use object_store::{ObjectMeta, ObjectStore, path::Path};

use crate::failure::Failure;

/// An object, or all objects below a path.
#[derive(Clone)]
pub(crate) struct Object {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) path: Path,
    /// The part of the URL before the path.
    base: String,
}

/// An object in a listing.
pub(crate) struct Listed {
    pub(crate) object: Object,
    /// The length of the object, and not of its plaintext.
    pub(crate) length: u64,
    pub(crate) modified: SystemTime,
}

impl Object {
    pub(super) fn new(store: Arc<dyn ObjectStore>, path: Path, base: String) -> Self {
        Self { store, path, base }
    }

    /// Returns the object with this path in the same store.
    pub(super) fn at(&self, path: Path) -> Self {
        Self { path, ..self.clone() }
    }

    /// Returns the path within the store, which the object is bound to.
    pub(crate) fn path(&self) -> &str {
        self.path.as_ref()
    }

    /// Returns the URL.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.base, self.path)
    }

    /// Returns the segments of the path of this object below another one; none of them for the other
    /// itself is a single empty one.
    pub(crate) fn names_below(&self, other: &Self) -> Vec<&str> {
        let path = self.path().strip_prefix(other.path()).unwrap_or(self.path());
        path.strip_prefix('/').unwrap_or(path).split('/').collect()
    }

    /// Returns the object with this path below this one, whose segments are separated by `/`.
    pub(crate) fn below(&self, path: &str) -> Result<Self, Failure> {
        let joined = if self.path.is_root() { path.to_owned() } else { format!("{}/{path}", self.path) };
        let path = parse(&format!("{}{joined}", self.base), &joined)?;
        Ok(self.at(path))
    }

    pub(super) fn listed(&self, meta: ObjectMeta) -> Listed {
        let (length, modified) = (meta.size, meta.last_modified.into());
        Listed { object: self.at(meta.location), length, modified }
    }
}

/// Parses the path of an object or a prefix, which is literal.
pub(super) fn parse(name: &str, path: &str) -> Result<Path, Failure> {
    let refuse = |why: &str| Failure::usage(format!("{name}: {why}"));
    match Path::parse(path) {
        Ok(parsed) if parsed.as_ref() == path => Ok(parsed),
        Ok(_) => Err(refuse("a path cannot begin or end with /")),
        Err(error) => {
            let why = error.to_string();
            Err(refuse(&format!("a path cannot have empty segments, . or .., or control characters ({why})")))
        }
    }
}
