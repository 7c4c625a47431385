//! The keyring over the keys that the command line gives.

use sealwax::keyring::{Keyring, MultiKeyring};

use crate::{failure::Failure, session::Session, store::Store};

/// Returns the keyring over all the keys, for encryption: the first generates the data key and the
/// others wrap it too, or at least `quorum` of them. Without keys it is the default key of the key
/// store, which the first use creates if `create_store` says so or a terminal shows the warning.
pub(crate) fn to_encrypt(
    session: &Session,
    uris: &[String],
    quorum: Option<usize>,
    create_store: bool,
) -> Result<Box<dyn Keyring>, Failure> {
    let store = Store::new(session);
    match uris.split_first() {
        Some((first, others)) => all_of(store, store.keyring(first)?, others, quorum),
        None => all_of(store, store.default_for_encryption(create_store)?, &[], quorum),
    }
}

/// Returns the keyring over all the keys, for decryption; without keys, the default key of the key
/// store if it exists.
pub(crate) fn to_decrypt(session: &Session, uris: &[String]) -> Result<Box<dyn Keyring>, Failure> {
    let store = Store::new(session);
    match uris.split_first() {
        Some((first, others)) => all_of(store, store.keyring(first)?, others, None),
        None => store.default_for_decryption(),
    }
}

fn all_of(
    store: Store<'_>,
    first: Box<dyn Keyring>,
    others: &[String],
    quorum: Option<usize>,
) -> Result<Box<dyn Keyring>, Failure> {
    if others.is_empty() && quorum.is_none() {
        return Ok(first);
    }
    let add = |all: MultiKeyring, uri: &String| Ok::<_, Failure>(all.child(store.keyring(uri)?));
    let all = others.iter().try_fold(MultiKeyring::new(first), add)?;
    Ok(Box::new(match quorum {
        Some(quorum) => all.require(quorum),
        None => all,
    }))
}
