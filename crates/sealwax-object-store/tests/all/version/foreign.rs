//! Messages of other programs, and what they make of ours.

use sealwax::{AlgorithmSuite, CommitmentPolicy, ContentType, EncryptionContext};
use sealwax_object_store::Binding;

use super::{provider::Trick, *};
use crate::support::{
    WrappingKey, client_for, pattern,
    peer::{Peer, Sdk, ToWrite},
};
use object_store::{GetOptions, GetRange, memory::InMemory};

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;

fn key() -> WrappingKey {
    WrappingKey::new("sealwax-test", "the key", 32)
}

/// Returns a store for messages that are bound to nothing.
fn foreign(provider: &Arc<Provider>, unverified: bool) -> SealedStore<Arc<Provider>> {
    let client = Client::builder().commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt).build();
    let builder = SealedStore::builder(provider.clone(), client).keyring(key().keyring());
    let builder = builder.binding(Binding::None).sizes(Sizes::Exact);
    if unverified { builder.release_unverified().build() } else { builder.build() }.unwrap()
}

/// Checks that a message is read in every way.
async fn reads(message: Vec<u8>, text: &[u8], what: &str) {
    let (provider, path, length) = (Provider::new(), Path::from("a"), text.len() as u64);
    provider.store(&path, message).await;
    for unverified in [false, true] {
        let store = foreign(&provider, unverified);
        for _ in 0..2 {
            let found = store.get(&path).await.unwrap();
            assert_eq!((found.meta.size, found.range.clone()), (length, 0..length), "{what}");
            assert!(read(&store, &path).await.unwrap() == text, "{what}");
            assert_eq!(listed(&store).await, [("a".to_owned(), length)], "{what}");
            assert_eq!(store.head(&path).await.unwrap().size, length, "{what}");
            if length > 0 {
                let (middle, end) = (length / 2, length);
                for range in [0..1, middle..end, 0..end, end - 1..end] {
                    assert!(
                        store.get_range(&path, range.clone()).await.unwrap() == slice(text, range.clone()),
                        "{what}"
                    );
                    let found = store.get_ranges(&path, &[range.clone(), 0..1]).await.unwrap();
                    assert!(found[0] == slice(text, range.clone()), "{what}");
                }
            }
            assert!(store.get_range(&path, length..length + 1).await.is_err(), "{what}");
            let suffix = GetOptions { range: Some(GetRange::Suffix(3)), ..GetOptions::default() };
            let found = store.get_opts(&path, suffix).await.unwrap().bytes().await.unwrap();
            assert!(found == text[text.len().saturating_sub(3)..], "{what}");
        }
    }
}

#[test]
fn messages_of_every_suite_and_frame_length_are_read() {
    run(async {
        for suite in AlgorithmSuite::ALL {
            for (frame_length, length) in [(1, 5), (4096, 0), (4096, 4096), (4096, 100_000), (200_000, 500_000)] {
                let client = client_for(suite);
                let keyring = key().keyring();
                let encrypt = client.encrypt(&keyring).suite(suite).frame_length(frame_length);
                let text = pattern(length);
                let message = encrypt.context([("tenant", "blue")]).bytes(&text).await.unwrap().message;
                reads(message, &text, &format!("{suite:?}, {length} in {frame_length}")).await;
            }
        }
    });
}

#[test]
fn attack_40_a_signed_object_is_verified_before_any_of_it_is_released() {
    run(async {
        let (provider, path) = (Provider::new(), Path::from("a"));
        let text = pattern(300_000);
        let keyring = key().keyring();
        let mut message = Client::new().encrypt(&keyring).bytes(&text).await.unwrap().message;
        let last = message.len() - 1;
        message[last] ^= 1;
        provider.store(&path, message).await;
        let store = foreign(&provider, false);
        // The listing knows the length, which must not open a way around the signature.
        assert_eq!(listed(&store).await[0].1, 300_000);
        assert!(store.get(&path).await.is_err());
        assert!(store.get_range(&path, 0..10).await.is_err());
        assert!(store.get_ranges(&path, &[0..10]).await.is_err());
        // By name, frames are released, but a whole stream does not end well.
        let unverified = foreign(&provider, true);
        assert_eq!(unverified.get_range(&path, 0..10).await.unwrap(), slice(&text, 0..10));
        let mut stream = unverified.get(&path).await.unwrap().into_stream();
        assert!(stream.next().await.unwrap().is_ok());
        let rest: Vec<_> = stream.collect().await;
        assert!(rest.last().unwrap().is_err());
        assert_eq!(rest.iter().filter(|item| item.is_err()).count(), 1);
    });
}

#[test]
fn a_foreign_object_is_refused_by_default() {
    run(async {
        let (provider, path) = (Provider::new(), Path::from("a"));
        let keyring = key().keyring();
        let message = Client::new().encrypt(&keyring).unsigned().bytes(b"text").await.unwrap().message;
        provider.store(&path, message).await;
        let store = SealedStore::builder(provider.clone(), Client::new()).keyring(key().keyring());
        let store = store.sizes(Sizes::Exact).build().unwrap();
        assert!(store.get(&path).await.is_err());
        assert!(store.get_range(&path, 0..1).await.is_err());
        provider.play(Trick::NoConditions);
        assert!(store.head(&path).await.is_err());
    });
}

#[test]
fn a_signed_object_that_is_replaced_while_it_is_read_is_refused_or_read_again() {
    run(async {
        let (provider, path, other) = (Provider::new(), Path::from("a"), Path::from("b"));
        let keyring = key().keyring();
        for number in 0..8 {
            let texts = [pattern(300_000), pattern(310_000)];
            for (path, text) in [&path, &other].into_iter().zip(&texts) {
                provider.store(path, Client::new().encrypt(&keyring).bytes(text).await.unwrap().message).await;
            }
            provider.play(Trick::Replace(number, other.clone()));
            let store = foreign(&provider, false);
            let found = match store.get_range(&path, 200_000..299_000).await {
                Ok(found) => found,
                Err(error) => {
                    assert!(matches!(error, Error::Precondition { .. }), "{number}: {error}");
                    continue;
                }
            };
            assert_eq!(found, slice(&texts[0], 200_000..299_000));
        }
    });
}

#[test]
fn python_reads_what_the_store_wrote() {
    let Some(mut peer) = Peer::start(Sdk::Python) else { return };
    peer.keyring = "mpl";
    run(async {
        let store = SealedStore::builder(InMemory::new(), Client::new()).keyring(key().keyring());
        let store = store.store_name("lake").build().unwrap();
        for (name, length) in [("a", 0), ("b/c d", 1), ("\u{e9}/\u{1f600}", 65_536), ("e%2Ff", 200_000)] {
            let (path, text) = (Path::from(name), pattern(length));
            store.put(&path, text.clone().into()).await.unwrap();
            let multipart = Path::from(format!("multipart/{name}"));
            let mut upload = store.put_multipart(&multipart).await.unwrap();
            upload.put_part(text.clone().into()).await.unwrap();
            upload.complete().await.unwrap();
            for path in [&path, &multipart] {
                let stored = store.inner().get(path).await.unwrap().bytes().await.unwrap();
                let context = EncryptionContext::from([("sealwax-store", "lake"), ("sealwax-path", path.as_ref())]);
                let opening = peer.decrypt(&[key()], &context, &stored).unwrap_or_else(|refused| panic!("{refused:?}"));
                assert!(opening.plaintext == text && opening.suite == UNSIGNED);
                assert!(opening.context.is_empty());
                let without = peer.decrypt(&[key()], &EncryptionContext::new(), &stored);
                assert!(without.is_err(), "without the required context");
            }
        }
    });
}

#[test]
fn node_reads_what_an_unbound_store_wrote() {
    let Some(mut peer) = Peer::start(Sdk::Node) else { return };
    run(async {
        let store = SealedStore::builder(InMemory::new(), Client::new()).keyring(key().keyring());
        let store = store.binding(Binding::None).context([("tenant", "blue")]).build().unwrap();
        for length in [0, 1, 65_536, 200_000] {
            let (path, text) = (Path::from("a"), pattern(length));
            store.put(&path, text.clone().into()).await.unwrap();
            let stored = store.inner().get(&path).await.unwrap().bytes().await.unwrap();
            let opening = peer.decrypt(&[key()], &[("tenant", "blue")].into(), &stored);
            assert!(opening.unwrap_or_else(|refused| panic!("{refused:?}")).plaintext == text);
        }
    });
}

#[test]
fn the_store_reads_what_python_wrote() {
    let Some(mut peer) = Peer::start(Sdk::Python) else { return };
    run(async {
        for suite in [UNSIGNED, SIGNED, AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha384EcdsaP384] {
            for (frame_length, length) in [(0, 0), (0, 1000), (128, 128), (4096, 100_000), (65_536, 131_072)] {
                let text = pattern(length);
                let request = ToWrite {
                    keys: &[key()],
                    suite,
                    frame_length,
                    context: &[("tenant", "blue")].into(),
                    required: &[],
                    plaintext: &text,
                };
                let message = peer.encrypt(&request).unwrap_or_else(|refused| panic!("{refused:?}"));
                let (received, _) = Client::new().header_decoder().decode(&message).unwrap();
                assert_eq!(received.header().content_type() == ContentType::Unframed, frame_length == 0);
                reads(message, &text, &format!("{suite:?}, {length} in {frame_length}")).await;
            }
        }
        // Bound to a path, by the other program.
        peer.keyring = "mpl";
        let context = EncryptionContext::from([("sealwax-path", "a/b")]);
        let request = ToWrite {
            keys: &[key()],
            suite: UNSIGNED,
            frame_length: 4096,
            context: &context,
            required: &["sealwax-path"],
            plaintext: b"text",
        };
        let message = peer.encrypt(&request).unwrap_or_else(|refused| panic!("{refused:?}"));
        let provider = Provider::new();
        let store = SealedStore::builder(provider.clone(), Client::new()).keyring(key().keyring());
        let store = store.sizes(Sizes::Exact).build().unwrap();
        for (path, opens) in [("a/b", true), ("a/c", false)] {
            provider.store(&Path::from(path), message.clone()).await;
            assert_eq!(read(&store, &Path::from(path)).await.is_ok(), opens);
        }
    });
}
