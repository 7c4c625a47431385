//! The URLs of objects.

use std::path::Path;

use sealwax::EncryptionContext;

/// The schemes of stores.
const SCHEMES: [&str; 6] = ["s3", "gs", "az", "http", "https", "file"];

/// Splits a URL of an object into its scheme and what follows `://`.
pub(super) fn split(path: &Path) -> Option<(&'static str, &str)> {
    let (found, rest) = path.to_str()?.split_once("://")?;
    SCHEMES.iter().find(|scheme| **scheme == found).map(|scheme| (*scheme, rest))
}

/// Returns whether an operand is the URL of an object and not the path of a file.
pub(crate) fn is_url(path: &Path) -> bool {
    split(path).is_some()
}

/// Returns a context with the pairs that an object is bound with.
pub(crate) fn with_bound(context: &EncryptionContext, bound: Option<&EncryptionContext>) -> EncryptionContext {
    let mut context = context.clone();
    for (key, value) in bound.into_iter().flat_map(EncryptionContext::iter) {
        context.insert(key, value);
    }
    context
}
