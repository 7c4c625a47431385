//! Files that are not complete yet, as their names show.

use std::ffi::OsStr;

/// Returns whether a file has the name of one that is written, or that a killed run has left.
pub(crate) fn is_partial(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let random = name.strip_prefix(b".sealwax-").and_then(|name| name.strip_suffix(b".partial"));
    random.is_some_and(|random| random.len() == 6 && random.iter().all(u8::is_ascii_alphanumeric))
}
