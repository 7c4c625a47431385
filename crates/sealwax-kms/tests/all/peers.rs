//! Messages under the key store and another key, with the official Python SDK live.

use sealwax::{AlgorithmSuite, EncryptionContext, keyring::MultiKeyring};
use sealwax_kms::LocalKms;

use crate::support::{
    WrappingKey, client_for,
    peer::{Peer, Sdk},
};

#[test]
fn a_message_under_the_key_store_and_a_raw_key_opens_in_python_with_the_raw_key() {
    let Some(mut peer) = Peer::start(Sdk::Python) else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = LocalKms::create(folder.path().join("store")).unwrap();
    store.create_key_with_alias("", "alias/default").unwrap();
    let raw = WrappingKey::new("sealwax", "beside", 32);
    let both = MultiKeyring::new(store.keyring("alias/default").unwrap()).child(raw.keyring());
    let context = EncryptionContext::from([("tenant", "blue")]);
    for suite in [AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384] {
        let message = client_for(suite).encrypt(&both).suite(suite).context(context.clone()).bytes(b"the text").wait();
        let message = message.unwrap().message;
        let opening = peer.decrypt(std::slice::from_ref(&raw), &context, &message).unwrap();
        assert_eq!((opening.plaintext.as_slice(), opening.suite), (&b"the text"[..], suite));
    }
}
