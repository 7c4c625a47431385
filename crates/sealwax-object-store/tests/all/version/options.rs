//! The options of a store.

use std::future::ready;

use sealwax::{
    AlgorithmSuite, CommitmentPolicy,
    keyring::{BoxFuture, Keyring, MultiKeyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};
use sealwax_object_store::{Binding, Parts};

use super::*;
use crate::support::WrappingKey;
use object_store::memory::InMemory;

fn refused<S: ObjectStore>(built: sealwax::Result<SealedStore<S>>) -> String {
    built.expect_err("a refusal").to_string()
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let builder = || SealedStore::builder(InMemory::new(), Client::new()).keyring(keyring());
    let without = SealedStore::builder(InMemory::new(), Client::new()).build();
    assert!(refused(without).contains("a keyring or a materials manager"));
    assert!(refused(builder().binding(Binding::Store).build()).contains("has no name"));
    assert!(refused(builder().binding(Binding::None).store_name("a").build()).contains("no effect"));
    assert!(refused(builder().frame_length(0).build()).contains("frame length"));
    assert!(refused(builder().parts(Parts::Equal((5 << 20) - 1)).build()).contains("5 MiB"));
    assert!(refused(builder().context([("sealwax-path", "a")]).build()).contains("a key that objects are bound with"));
}

#[test]
fn a_header_that_is_too_short_for_the_keys_is_refused_with_lengths_that_fit() {
    run(async {
        let path = Path::from("a");
        let with = |header_length: u32| {
            let builder = SealedStore::builder(InMemory::new(), Client::new()).keyring(keyring());
            builder.header_length(header_length).build().unwrap()
        };
        let error = with(100).put(&path, "text".into()).await.unwrap_err();
        let text = library_error(&error).unwrap().to_string();
        let numbers = text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok());
        let numbers: Vec<u32> = numbers.collect();
        let [exact, _, named, padded] = numbers[..] else { panic!("{text}") };
        assert_eq!((exact, exact + 23), (named, padded));
        for (length, fits) in
            [(exact - 1, false), (exact, true), (exact + 1, false), (padded - 1, false), (padded, true)]
        {
            let store = with(length);
            let written = store.put(&path, "text".into()).await;
            assert_eq!(written.is_ok(), fits, "{length}");
            if fits {
                let stored = store.inner().get(&path).await.unwrap().bytes().await.unwrap();
                assert_eq!(stored.len(), length as usize + 44);
                assert_eq!(read(&store, &path).await.unwrap(), "text");
                assert_eq!(store.get_range(&path, 1..3).await.unwrap(), "ex");
            }
        }
        let store = with(60_000);
        store.put(&path, "text".into()).await.unwrap();
        assert_eq!(store.get_range(&path, 1..3).await.unwrap(), "ex");
        assert!(with(1 << 20).put(&path, "text".into()).await.is_err());
    });
}

#[test]
fn several_keys_and_a_context_take_the_same_header() {
    run(async {
        let (one, two) = (WrappingKey::new("example", "key-1", 32), WrappingKey::new("other", "another name", 16));
        let provider = Provider::new();
        let builder =
            |keyring: Box<dyn Keyring>| SealedStore::builder(provider.clone(), Client::new()).keyring(keyring);
        let both = MultiKeyring::new(one.keyring()).child(two.keyring());
        let writer = builder(Box::new(both)).context([("tenant", "blue")]).build().unwrap();
        let path = Path::from("a");
        writer.put(&path, "text".into()).await.unwrap();
        assert_eq!(provider.stored(&path).await.len(), 1024 + 44);
        for key in [&one, &two] {
            let reader = builder(Box::new(key.keyring())).build().unwrap();
            assert_eq!(read(&reader, &path).await.unwrap(), "text");
            let reader = builder(Box::new(key.keyring())).context([("tenant", "green")]).build().unwrap();
            assert!(read(&reader, &path).await.is_err());
            assert!(reader.get_range(&path, 0..1).await.is_err());
        }
    });
}

#[test]
fn objects_are_messages_with_a_required_context() {
    run(async {
        let provider = Provider::new();
        let builder = SealedStore::builder(provider.clone(), Client::new()).keyring(keyring());
        let store = builder.store_name("lake").build().unwrap();
        let path = Path::from("a b/c%25d");
        store.put(&path, "text".into()).await.unwrap();
        let stored = provider.stored(&path).await;
        let client = Client::new();
        let context = [("sealwax-store", "lake"), ("sealwax-path", path.as_ref())];
        let opened = client.decrypt(&keyring()).context(context).bytes(&stored).await.unwrap();
        assert_eq!(opened.plaintext, b"text");
        assert_eq!(opened.header.suite(), AlgorithmSuite::Aes256GcmHkdfSha512CommitKey);
        assert!(opened.header.context().is_empty());
        assert_eq!(opened.header.content_type().frame_length(), Some(65_536));
        assert!(client.decrypt(&keyring()).bytes(&stored).await.is_err());
        assert!(client.decrypt(&keyring()).context([context[1]]).bytes(&stored).await.is_err());
    });
}

#[test]
fn another_layout_is_refused_with_the_mode_that_reads_it() {
    run(async {
        let (provider, path) = (Provider::new(), Path::from("a"));
        sealed(&provider, 100, Sizes::Uniform).put(&path, "text".into()).await.unwrap();
        let store = sealed(&provider, 64, Sizes::Uniform);
        for error in [read(&store, &path).await.unwrap_err(), store.get_range(&path, 0..1).await.unwrap_err()] {
            let text = library_error(&error).unwrap().to_string();
            assert!(text.contains("frames of 100 bytes") && text.contains("Sizes::Exact"), "{text}");
        }
        let exact = sealed(&provider, 64, Sizes::Exact);
        assert_eq!(read(&exact, &path).await.unwrap(), "text");
        assert_eq!(exact.get_range(&path, 1..3).await.unwrap(), "ex");
        assert_eq!(exact.head(&path).await.unwrap().size, 4);
    });
}

#[test]
fn a_policy_without_commitment_cannot_write() {
    run(async {
        let client = Client::builder().commitment_policy(CommitmentPolicy::ForbidEncryptAllowDecrypt).build();
        let store = SealedStore::builder(InMemory::new(), client).keyring(keyring()).build().unwrap();
        let error = store.put(&Path::from("a"), "text".into()).await.unwrap_err();
        assert!(matches!(library_error(&error), Some(sealwax::Error::Commitment { .. })), "{error}");
    });
}

/// A keyring whose service is down.
struct Down;

impl Keyring for Down {
    fn label(&self) -> Arc<str> {
        "down".into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, sealwax::Result<Wrapped>> {
        Box::pin(ready(Err(sealwax::Error::keyring("down", "the service is down"))))
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, sealwax::Result<Unwrapped>> {
        Box::pin(ready(Err(request.attempts(self.label()).into_error())))
    }
}

#[test]
fn a_keyring_that_fails_is_an_error_of_this_store_and_nothing_is_written() {
    run(async {
        let provider = Provider::new();
        let store = SealedStore::builder(provider.clone(), Client::new()).keyring(Down).build().unwrap();
        let path = Path::from("a");
        let error = store.put(&path, "text".into()).await.unwrap_err();
        assert!(matches!(library_error(&error), Some(sealwax::Error::Keyring { .. })), "{error}");
        assert!(store.put_multipart(&path).await.is_err());
        assert_eq!((provider.take_others(), provider.take_gets().len()), (0, 0));
        sealed(&provider, 65_536, Sizes::Uniform).put(&path, "text".into()).await.unwrap();
        let error = store.get(&path).await.unwrap_err();
        assert!(matches!(library_error(&error), Some(sealwax::Error::NotUnwrapped(_))), "{error}");
    });
}

#[test]
fn a_store_shows_no_keys() {
    let store = SealedStore::builder(InMemory::new(), Client::new()).keyring(keyring()).build().unwrap();
    assert_eq!(store.to_string(), "SealedStore(InMemory)");
    let text = format!("{store:?}");
    assert!(text.starts_with("SealedStore { inner: InMemory") && text.contains("binding: Path"), "{text}");
    assert!(!text.contains("key-1"), "{text}");
}
